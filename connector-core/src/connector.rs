//! The connector itself: facts in, effects out.

mod enforcer;
mod measuring;
mod signing_in;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::access::{AccessMap, Content, Denial, Flow, Question, Reason};
use crate::audit::{DecidedBy, Outcome, Record};
use crate::authzen::{AccessRequest, Decision};
use crate::catalogue::Catalogue;
use crate::configuration::{Configuration, IdentityProvider};
use crate::identity::{HostId, Session, SessionId};
use crate::posture::{Check, Facts, Measurement, Verdict};
use crate::time::{Moment, Now};

use self::enforcer::{Enforcer, Grounds};
use self::measuring::Measuring;
use self::signing_in::SigningIn;

/// Decides, from what is known right now, what the device may reach.
///
/// The connector stores facts; what follows from them is derived. Drive it in a
/// loop: [`handle_event`](Self::handle_event) or
/// [`handle_timeout`](Self::handle_timeout), then drain
/// [`poll_effect`](Self::poll_effect), then sleep until
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Connector {
    known: Known,
    measuring: Measuring,
    paused: bool,
    stopping: bool,

    enforcer: Enforcer,
    access: Arc<AccessMap>,
    tunnel: Option<TunnelPlan>,
    effects: VecDeque<Effect>,
}

/// The facts that every answer rests on.
#[derive(Debug, Default)]
struct Known {
    host: Option<HostId>,
    configuration: Option<Configuration>,
    configuration_expired: bool,
    signing_in: SigningIn,
    verdict: Verdict,
}

/// Something that happened in the world.
#[derive(Debug)]
pub enum Event {
    /// A flow waits for an answer.
    AccessRequested(Question),
    /// A signed configuration was verified.
    ConfigurationAccepted(Box<Configuration>),
    /// The policy answered, or could not be asked.
    Evaluated {
        /// The question's attempt.
        attempt: Attempt,
        /// The answer.
        outcome: Result<Decision, PdpFailure>,
        /// How long it took.
        latency: Duration,
    },
    /// A permitted flow is over.
    FlowClosed {
        /// The flow.
        flow: Flow,
        /// Why it was ended, unless it ended by itself.
        cut: Option<Denial>,
    },
    /// A permit was spent.
    FlowOpened(Flow),
    /// A flow was refused without asking the policy.
    FlowRefused {
        /// The flow.
        flow: Flow,
        /// Why.
        denial: Denial,
    },
    /// The control plane admitted this host.
    HostEnrolled(HostId),
    /// The person switched the connector off.
    Paused,
    /// Checks were measured.
    PostureMeasured(Vec<(Check, Measurement)>),
    /// Somebody wants to see fresh findings.
    PostureRefreshRequested,
    /// A decision was written down, or could not be.
    Recorded {
        /// The question's attempt.
        attempt: Attempt,
        /// Whether it was written.
        written: bool,
    },
    /// The person switched the connector on again.
    Resumed,
    /// The control plane admitted a person.
    SessionOpened {
        /// The sign-in's attempt.
        attempt: Attempt,
        /// The session.
        session: Session,
        /// How long ago the person signed in, if it was before this start.
        signed_in_ago: Duration,
    },
    /// A sign-in did not lead to a session.
    SignInFailed {
        /// The sign-in's attempt.
        attempt: Attempt,
        /// Whether trying again by itself may help.
        retry: bool,
    },
    /// Whoever asked for the sign-in under way no longer waits for it.
    SignInAbandoned(Attempt),
    /// Somebody wants to sign in.
    SignInRequested(SignInMethod),
    /// The person signed out.
    SignOutRequested,
    /// The service is about to end.
    Stopping,
}

/// Something the driver must do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Carry traffic by this plan, or none at all.
    ApplyTunnel(Option<TunnelPlan>),
    /// Tell the control plane that the session is over, and drop its keys.
    EndSession(SessionId),
    /// Ask the policy and report [`Event::Evaluated`].
    Evaluate {
        /// To be repeated in the answer.
        attempt: Attempt,
        /// The policy decision point's base URL.
        pdp: Url,
        /// The question.
        request: Box<AccessRequest>,
    },
    /// Forget what an earlier sign-in left for the next start.
    ForgetSignIn,
    /// Measure these checks and report [`Event::PostureMeasured`].
    Measure(Vec<Check>),
    /// Hand a new access map to the tunnel and the proxy.
    PublishAccess(Arc<AccessMap>),
    /// Write this down and, if an attempt is given, report [`Event::Recorded`].
    Record {
        /// To be repeated in the report.
        attempt: Option<Attempt>,
        /// What to write.
        record: Box<Record>,
    },
    /// Sign in and report [`Event::SessionOpened`] or [`Event::SignInFailed`].
    SignIn {
        /// To be repeated in the report.
        attempt: Attempt,
        /// Where.
        provider: IdentityProvider,
        /// How.
        method: SignInMethod,
    },
}

/// How to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInMethod {
    /// The person goes to the identity provider in a browser.
    Browser,
    /// With what an earlier sign-in left in the store.
    Stored,
}

/// What the tunnel needs to carry a session's traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelPlan {
    /// The session, whose key the gateways know.
    pub session: SessionId,
    /// The addresses that the tunnel speaks from.
    pub addresses: Vec<std::net::IpAddr>,
    /// The sites and their gateways.
    pub catalogue: Arc<Catalogue>,
}

/// Ties an answer to its question, so that a late answer is told from a current one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(u64);

impl Attempt {
    fn take(&mut self) -> Self {
        self.0 += 1;
        *self
    }
}

/// Why the policy could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PdpFailure {
    /// No answer within the time allowed.
    Late,
    /// An answer that is no decision.
    Malformed,
    /// An answer with another status than 200.
    Status(u16),
    /// No connection.
    Unreachable,
}

impl From<PdpFailure> for Reason {
    fn from(failure: PdpFailure) -> Self {
        match failure {
            PdpFailure::Late => Self::PdpLate,
            PdpFailure::Malformed => Self::PdpMalformed,
            PdpFailure::Status(status) => Self::PdpStatus(status),
            PdpFailure::Unreachable => Self::PdpUnreachable,
        }
    }
}

/// Where the connector stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No configuration is in force.
    NotConfigured,
    /// Switched off by the person.
    Paused,
    /// Signed in, enforcing.
    Ready,
    /// Nobody is signed in; everything is denied.
    SignedOut,
    /// The person is at the identity provider.
    SigningIn,
}

impl Connector {
    /// Starts with nothing known, so that everything is denied; `builtin` are
    /// the checks that configurations may name.
    #[must_use]
    pub fn new(builtin: Vec<Check>) -> Self {
        Self {
            known: Known::default(),
            measuring: Measuring::new(builtin),
            paused: false,
            stopping: false,
            enforcer: Enforcer::default(),
            access: Arc::default(),
            tunnel: None,
            effects: VecDeque::new(),
        }
    }

    /// Feeds one thing that happened in the world.
    pub fn handle_event(&mut self, event: Event, now: Now) {
        match event {
            Event::AccessRequested(question) => self.request_access(question, now),
            Event::ConfigurationAccepted(configuration) => self.configure(*configuration, now),
            Event::Evaluated {
                attempt,
                outcome,
                latency,
            } => self.note_evaluation(attempt, outcome, latency, now),
            Event::FlowClosed { flow, cut } => self.note_closed(&flow, cut, now),
            Event::FlowOpened(flow) => {
                self.known.signing_in.touch(now.moment);
                self.enforcer.handle_opened(&flow);
            }
            Event::FlowRefused { flow, denial } => self.note_refused(flow, denial, now),
            Event::HostEnrolled(host) => self.known.host = Some(host),
            Event::Paused => self.paused = true,
            Event::PostureMeasured(measurements) => self.measuring.handle_measured(measurements),
            Event::PostureRefreshRequested => self.measuring.refresh(),
            Event::Recorded { attempt, written } => {
                self.enforcer.handle_recorded(attempt, written, now.moment);
            }
            Event::Resumed => self.paused = false,
            Event::SessionOpened {
                attempt,
                session,
                signed_in_ago,
            } => {
                let limits = self.known.configuration.as_ref().map(|known| known.session);
                if self.known.signing_in.handle_opened(
                    attempt,
                    session,
                    signed_in_ago,
                    limits,
                    now.moment,
                ) {
                    self.enforcer.clear();
                }
            }
            Event::SignInAbandoned(attempt) => self.known.signing_in.handle_abandoned(attempt),
            Event::SignInFailed { attempt, retry } => {
                self.known
                    .signing_in
                    .handle_failed(attempt, retry, now.moment);
            }
            Event::SignInRequested(method) => {
                self.known.signing_in.handle_requested(method, now.moment)
            }
            Event::SignOutRequested => self.known.signing_in.handle_signed_out(),
            Event::Stopping => self.stopping = true,
        }

        self.settle(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Now) {
        self.settle(now);
    }

    /// Returns what the driver must do next, until there is nothing left.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let configuration = self.known.configuration.as_ref();
        let expiry = configuration.map(|known| known.expires_at);
        let signing_in = self.known.signing_in.poll_timeout(configuration.is_some());

        expiry
            .into_iter()
            .chain(signing_in)
            .chain(self.measuring.poll_timeout())
            .chain(self.enforcer.poll_timeout())
            .min()
    }

    /// Returns where the connector stands, for people to look at.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.known.configuration.is_none() {
            return Standing::NotConfigured;
        }
        if self.known.signing_in.is_under_way() {
            return Standing::SigningIn;
        }
        match (self.known.signing_in.session(), self.paused) {
            (None, _) => Standing::SignedOut,
            (Some(_), true) => Standing::Paused,
            (Some(_), false) => Standing::Ready,
        }
    }

    /// Returns the open session.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        self.known.signing_in.session()
    }

    /// Returns the configuration in force.
    #[must_use]
    pub fn configuration(&self) -> Option<&Configuration> {
        self.known.configuration.as_ref()
    }

    /// Returns the checks that are measured, in the order of the configuration.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        self.measuring.checks()
    }

    /// Returns what was measured.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        self.measuring.facts()
    }

    /// Returns what the findings add up to.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.known.verdict
    }

    /// Returns the host's identity, once it is enrolled.
    #[must_use]
    pub fn host(&self) -> Option<&HostId> {
        self.known.host.as_ref()
    }

    fn configure(&mut self, configuration: Configuration, now: Now) {
        self.measuring.plan(&configuration.posture, now.moment);
        self.known.configuration = Some(configuration);
        self.known.configuration_expired = false;
        self.reconsider(now);
    }

    fn request_access(&mut self, question: Question, now: Now) {
        self.known.signing_in.touch(now.moment);
        let Some(grounds) = self.known.grounds(now) else {
            return;
        };
        self.enforcer.ask(question, &grounds, &mut self.effects);
    }

    fn note_evaluation(
        &mut self,
        attempt: Attempt,
        outcome: Result<Decision, PdpFailure>,
        latency: Duration,
        now: Now,
    ) {
        let Some(grounds) = self.known.grounds(now) else {
            return;
        };
        self.enforcer
            .handle_evaluated(attempt, outcome, latency, &grounds, &mut self.effects);
    }

    fn note_closed(&mut self, flow: &Flow, cut: Option<Denial>, now: Now) {
        self.enforcer.handle_closed(flow);
        if let Some(denial) = cut {
            let decided_by = self.enforcer.refused_by(flow, &denial);
            self.write(flow.clone(), Outcome::Revoked(denial), decided_by, now);
        }
    }

    fn note_refused(&mut self, flow: Flow, denial: Denial, now: Now) {
        let decided_by = self.enforcer.refused_by(&flow, &denial);
        self.write(flow, Outcome::Denied(denial), decided_by, now);
    }

    /// Writes down what came of a decision that was made before.
    fn write(&mut self, flow: Flow, outcome: Outcome, decided_by: DecidedBy, now: Now) {
        let resource = self.access.catalogue().lookup(&flow).resource().cloned();
        let record = Record {
            time: now.wall,
            flow,
            process: None,
            resource,
            outcome,
            decided_by,
            latency: Duration::ZERO,
            session: self.known.signing_in.session().cloned(),
            host: self.known.host.clone(),
            verdict: self.known.verdict.clone(),
            configuration: self.known.configuration.as_ref().map(|known| known.version),
        };
        self.effects.push_back(Effect::Record {
            attempt: None,
            record: Box::new(record),
        });
    }

    /// Drops facts that have lapsed, and publishes what follows from the rest.
    fn settle(&mut self, now: Now) {
        self.known.expire_configuration(now.moment);
        let provider = self
            .known
            .configuration
            .as_ref()
            .map(|known| &known.identity);
        let in_use = self.enforcer.has_live_flows();
        if self
            .known
            .signing_in
            .settle(provider, in_use, now.moment, &mut self.effects)
        {
            self.enforcer.clear();
        }
        self.measuring.settle(now.moment, &mut self.effects);

        let verdict = self.measuring.verdict(now.moment);
        if verdict != self.known.verdict {
            self.known.verdict = verdict;
            self.reconsider(now);
        }
        if let Some(grounds) = self.known.grounds(now) {
            self.enforcer.settle(&grounds, &mut self.effects);
        }

        if self.closed().is_some() {
            // Open flows end for this reason, before what carries them is gone.
            self.publish_access();
        }
        self.publish_tunnel();
        self.publish_access();
    }

    /// Asks again about everything that is in use, because its grounds changed.
    fn reconsider(&mut self, now: Now) {
        match self.known.grounds(now) {
            Some(grounds) => self.enforcer.reconsider(&grounds, &mut self.effects),
            None => self.enforcer.clear(),
        }
    }

    fn closed(&self) -> Option<Denial> {
        if self.stopping {
            return Some(Reason::Stopping.into());
        }
        if self.known.configuration.is_none() {
            return Some(self.known.why_not_configured().into());
        }
        if self.known.signing_in.session().is_none() {
            return Some(self.known.signing_in.why_signed_out().into());
        }
        self.paused.then(|| Reason::Paused.into())
    }

    fn publish_tunnel(&mut self) {
        let plan = match (self.known.signing_in.session(), &self.known.configuration) {
            (Some(session), Some(configuration)) if !self.paused && !self.stopping => {
                Some(TunnelPlan {
                    session: session.id.clone(),
                    addresses: session.addresses.clone(),
                    catalogue: Arc::clone(&configuration.catalogue),
                })
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        if plan != self.tunnel {
            self.tunnel.clone_from(&plan);
            self.effects.push_back(Effect::ApplyTunnel(plan));
        }
    }

    fn publish_access(&mut self) {
        let catalogue = self
            .known
            .configuration
            .as_ref()
            .map(|known| Arc::clone(&known.catalogue))
            .unwrap_or_default();
        let content = Content {
            closed: self.closed(),
            catalogue,
            answers: Arc::clone(self.enforcer.answers()),
        };
        if let Some(access) = self.access.replace(content) {
            self.access = Arc::new(access);
            self.effects
                .push_back(Effect::PublishAccess(Arc::clone(&self.access)));
        }
    }
}

impl Known {
    fn expire_configuration(&mut self, now: Moment) {
        self.configuration_expired |= self
            .configuration
            .take_if(|known| known.expires_at <= now)
            .is_some();
    }

    fn why_not_configured(&self) -> Reason {
        if self.configuration_expired {
            Reason::ConfigurationExpired
        } else {
            Reason::NotConfigured
        }
    }

    fn grounds(&self, now: Now) -> Option<Grounds<'_>> {
        Some(Grounds {
            session: self.signing_in.session()?,
            configuration: self.configuration.as_ref()?,
            host: self.host.as_ref(),
            verdict: &self.verdict,
            now,
        })
    }
}

#[cfg(test)]
mod tests;

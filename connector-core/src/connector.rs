//! The connector itself: facts in, effects out.

mod enforcer;
mod facts;
mod measuring;
mod pausing;
mod publishing;
mod refusals;
mod rejecting;
mod roaming;
mod signalling;
mod signing_in;
mod trusting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::access::{AccessMap, Concealed, Denial, Flow, Question, Reason};
use crate::audit::{DecidedBy, Outcome, PleaRecord, Pleading, Record, ResumedBy};
use crate::authzen::Decision;
use crate::catalogue::SiteId;
use crate::configuration::Configuration;
use crate::identity::{HostId, Owner, Session};
use crate::network::NetworkKind;
use crate::pausing::PauseRules;
use crate::posture::{Check, Facts, Verdict};
use crate::time::{Moment, Now};
use crate::trust::{Acting, Granted, Refused, TrustId, Wish};

use self::enforcer::{Enforcer, Grounds};
pub use self::facts::{
    Attempt, Compliance, Effect, Event, PdpFailure, SignInMethod, SignalOutcome, SignalRecord,
    Standing, TunnelPlan,
};
use self::measuring::Measuring;
use self::pausing::Pause;
use self::refusals::Refusals;
use self::rejecting::Rejections;
use self::signalling::Signalling;
use self::signing_in::{Opened, SigningIn};
use self::trusting::{Scene, Trusting};

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
    pause: Option<Pause>,
    pause_rules: PauseRules,
    stopping: bool,

    enforcer: Enforcer,
    trusting: Trusting,
    refusals: Refusals,
    rejections: Rejections,
    access: Arc<AccessMap>,
    tunnel: Option<TunnelPlan>,
    effects: VecDeque<Effect>,
    /// Since when answers have changed that have yet to be published.
    unsettled: Option<Now>,
}

/// The facts that every answer rests on.
#[derive(Debug, Default)]
struct Known {
    host: Option<HostId>,
    configuration: Option<Configuration>,
    configuration_expired: bool,
    concealed: Concealed,
    signing_in: SigningIn,
    signalling: Signalling,
    verdict: Verdict,
    network: NetworkKind,
}

impl Connector {
    /// Starts with nothing known, so that everything is denied; `builtin` are
    /// the checks that configurations may name.
    #[must_use]
    pub fn new(builtin: Vec<Check>) -> Self {
        Self {
            known: Known::default(),
            measuring: Measuring::new(builtin),
            pause: None,
            pause_rules: PauseRules::default(),
            stopping: false,
            enforcer: Enforcer::default(),
            trusting: Trusting::default(),
            refusals: Refusals::default(),
            rejections: Rejections::default(),
            access: Arc::default(),
            tunnel: None,
            effects: VecDeque::new(),
            unsettled: None,
        }
    }

    /// Feeds one thing that happened in the world.
    ///
    /// What changes the grounds that answers rest on takes effect at once. Of
    /// single flows and answers many may be fed together: what follows from them
    /// is published once, when no other effect is left.
    pub fn handle_event(&mut self, event: Event, now: Now) {
        let is_of_one_flow = event.is_of_one_flow();
        match event {
            Event::AccessRequested(question) => self.request_access(question, now),
            Event::AccessPleaded(pleading) => self.note_plea(pleading, now),
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
            Event::NetworkChanged(kind) => self.note_network(kind, now),
            Event::OverrideRefused { problem } => self.refuse_override(problem, now),
            Event::Overridden { grant, reason } => self.pause_by_code(grant, reason, now),
            Event::PauseRulesChanged { rules, keys } => self.set_pause_rules(rules, keys, now),
            Event::Paused { until, reason } => self.pause_for_person(until, reason, now),
            Event::PolicyChanged { .. } => self.reconsider(now),
            Event::PostureMeasured(measurements) => self.measuring.handle_measured(measurements),
            Event::PostureRefreshRequested => self.measuring.refresh(),
            Event::Recorded { attempt, written } => {
                self.enforcer.handle_recorded(attempt, written, now.moment);
            }
            Event::Rejected(rejected) => self.note_rejected(rejected, now),
            Event::ResourcesConcealed(concealed) => self.known.concealed = concealed,
            Event::Resumed => self.resume(ResumedBy::Person, now),
            Event::RevocationsRestored(kept) => self.known.signalling.restore(kept, now.wall),
            Event::SessionOpened {
                attempt,
                session,
                signed_in_ago,
                restored_from,
            } => {
                let opened = Opened {
                    session,
                    signed_in_ago,
                    restored_from,
                };
                self.open_session(attempt, opened, now);
            }
            Event::SignInAbandoned(attempt) => self.known.signing_in.handle_abandoned(attempt),
            Event::SignInFailed { attempt, retry } => {
                let now = now.moment;
                self.known.signing_in.handle_failed(attempt, retry, now);
            }
            Event::SignInRequested { method, owner } => {
                let now = now.moment;
                self.known.signing_in.handle_requested(method, owner, now);
            }
            Event::SignOutRequested => self.known.signing_in.handle_signed_out(),
            Event::SignalReceived(event) => self.note_signal(*event, now),
            Event::SignalsHeard => self.known.signalling.vouch(now.moment),
            Event::SignalsRestored(known) => _ = self.known.signalling.note_compliance(known),
            Event::Stopping => self.stop(now),
            Event::TrustEvaluated { attempt, outcome } => {
                self.note_trust_evaluation(attempt, outcome, now);
            }
            Event::TrustRecorded { attempt, written } => {
                self.note_trust_record(attempt, written, now);
            }
            Event::TrustRequested { id, wish } => self.request_trust(id, wish, now),
            Event::TrustRevoked(id) => {
                self.trust(now, |trusting, scene, effects| {
                    trusting.revoke(&id, scene, effects)
                });
            }
        }

        if is_of_one_flow {
            self.unsettled = Some(now);
        } else {
            self.settle(now);
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Now) {
        self.settle(now);
    }

    /// Returns what the driver must do next, until there is nothing left.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        while self.effects.is_empty() {
            if let Some(begun) = self.enforcer.review_begun() {
                self.review_on(begun);
            } else {
                let now = self.unsettled.take()?;
                self.settle(now);
            }
        }
        self.effects.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is next due; to be asked
    /// once no effect is left.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let configuration = self.known.configuration.as_ref();
        let expiry = configuration.map(|known| known.expires_at);
        let signing_in = self.known.signing_in.poll_timeout(configuration.is_some());

        expiry
            .into_iter()
            .chain(signing_in)
            .chain(self.known.signalling.poll_timeout())
            .chain(self.measuring.poll_timeout())
            .chain(self.enforcer.poll_timeout())
            .chain(self.trusting.poll_timeout())
            .chain(self.refusals.poll_timeout())
            .chain(self.rejections.poll_timeout())
            .chain(self.paused_until())
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
        if self.is_overridden() {
            return Standing::Paused;
        }
        match (self.known.signing_in.session(), self.pause.is_some()) {
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

    /// Returns whose session is open, or is about to be.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.known.signing_in.owner()
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

    /// Returns the sites that connections are open to, in order.
    pub fn sites_in_use(&self) -> impl Iterator<Item = &SiteId> {
        self.enforcer.sites_in_use()
    }

    /// Returns the consents and elevations that are in force, the oldest first.
    pub fn granted(&self) -> impl Iterator<Item = &Arc<Granted>> {
        self.trusting.granted()
    }

    /// Returns the latest consents and elevations that were refused.
    pub fn refused(&self) -> impl Iterator<Item = &Arc<Refused>> {
        self.trusting.refused()
    }

    /// Returns the host's identity, once it is enrolled.
    #[must_use]
    pub fn host(&self) -> Option<&HostId> {
        self.known.host.as_ref()
    }

    /// Writes down what was held back, as long as somebody can.
    fn stop(&mut self, now: Now) {
        self.stopping = true;
        let held_back = self.refusals.finish(now.moment);
        self.record_all(held_back);
        self.finish_rejections(now.moment);
        let at = (self.known.host.as_ref(), &self.known.verdict, now);
        self.trusting.finish(at, &mut self.effects);
    }

    fn configure(&mut self, configuration: Configuration, now: Now) {
        self.measuring.plan(&configuration.posture, now.moment);
        let signals = configuration.signals.as_ref();
        self.known
            .signalling
            .follow(signals, now.moment, &mut self.effects);
        self.known.configuration = Some(configuration);
        self.known.configuration_expired = false;
        self.reconsider(now);
    }

    fn open_session(&mut self, attempt: Attempt, opened: Opened, now: Now) {
        let limits = self.known.configuration.as_ref().map(|known| known.session);
        let signing_in = &mut self.known.signing_in;
        let is_stored = signing_in.is_from_the_store(attempt);
        if !signing_in.handle_opened(attempt, opened, limits, now.moment) {
            return;
        }
        self.enforcer.clear();
        // The control plane has just admitted the person.
        self.known.signalling.vouch(now.moment);
        let local = self.known.signing_in.local(self.known.host.as_ref());
        let revoked = self.known.signalling.claim(now.wall, |subject| {
            subject.concerns_session(local) || (is_stored && subject.concerns_any_session(local))
        });
        if let Some(explanation) = revoked {
            self.known.signing_in.handle_revoked(explanation);
        }
    }

    fn request_access(&mut self, question: Question, now: Now) {
        self.known.signing_in.touch(now.moment);
        let Some(grounds) = self.known.grounds(&self.trusting, now) else {
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
        let Some(grounds) = self.known.grounds(&self.trusting, now) else {
            return;
        };
        self.enforcer
            .handle_evaluated(attempt, outcome, latency, &grounds, &mut self.effects);
    }

    fn note_plea(&mut self, pleading: Pleading, now: Now) {
        let record = PleaRecord {
            time: now.wall,
            pleading,
            session: self.session().cloned(),
            host: self.known.host.clone(),
        };
        self.effects.push_back(Effect::RecordPlea(Box::new(record)));
    }

    fn note_closed(&mut self, flow: &Flow, cut: Option<Denial>, now: Now) {
        let acting = self.enforcer.handle_closed(flow);
        if let Some(denial) = cut {
            let decided_by = self.enforcer.refused_by(flow, &denial);
            let record = self.record(flow.clone(), Outcome::Revoked(denial), decided_by, now);
            self.record_all([Record { acting, ..record }]);
        }
    }

    fn note_refused(&mut self, flow: Flow, denial: Denial, now: Now) {
        let (decided_by, reason) = (self.enforcer.refused_by(&flow, &denial), denial.reason);
        let record = self.record(flow, Outcome::Denied(denial), decided_by, now);
        let at_once = self.refusals.take(record, reason, now);
        self.record_all(at_once);
    }

    /// Describes what came of a decision that was made before.
    fn record(&self, flow: Flow, outcome: Outcome, decided_by: DecidedBy, now: Now) -> Record {
        let resource = self.access.catalogue().lookup(&flow).resource().cloned();
        Record {
            time: now.wall,
            flow,
            acting: Acting::Oneself,
            process: None,
            resource,
            outcome,
            decided_by,
            latency: Duration::ZERO,
            session: self.known.signing_in.shared_session().cloned(),
            host: self.known.host.clone(),
            verdict: self.known.verdict.clone(),
            network: self.known.network,
            configuration: self.known.configuration.as_ref().map(|known| known.version),
            repetition: None,
        }
    }

    fn record_all(&mut self, records: impl IntoIterator<Item = Record>) {
        let effects = records.into_iter().map(|record| Effect::Record {
            attempt: None,
            record: Box::new(record),
        });
        self.effects.extend(effects);
    }

    /// Drops facts that have lapsed, and publishes what follows from the rest.
    fn settle(&mut self, now: Now) {
        self.unsettled = None;
        self.settle_pause(now);
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
        // After the sign-in that a revocation ended is forgotten, so that neither is lost.
        self.known.signalling.remember(&mut self.effects);
        self.measuring.settle(now.moment, &mut self.effects);

        if self.known.signalling.settle(now.moment) {
            // What was permitted rested on hearing of it when it no longer is.
            self.enforcer.clear();
        }

        let mut verdict = self.measuring.verdict(now.moment);
        self.known.signalling.worsen(&mut verdict);
        if verdict != self.known.verdict {
            self.known.verdict = verdict;
            self.reconsider(now);
        }
        self.settle_trust(now);
        if let Some(grounds) = self.known.grounds(&self.trusting, now) {
            self.enforcer.settle(&grounds, &mut self.effects);
        }

        let held_back = self.refusals.settle(now.moment);
        self.record_all(held_back);
        self.settle_rejections(now.moment);

        if self.closed().is_some() {
            // Open flows end for this reason, before what carries them is gone.
            self.publish_access();
        }
        self.publish_tunnel();
        self.publish_access();
    }

    /// Does something about consents and elevations; if what is in force changes, so do the
    /// grounds of everything that is in use.
    fn trust(
        &mut self,
        now: Now,
        change: impl FnOnce(&mut Trusting, &Scene<'_>, &mut VecDeque<Effect>) -> bool,
    ) {
        let Some(scene) = self.known.scene(now) else {
            return;
        };
        if change(&mut self.trusting, &scene, &mut self.effects) {
            self.reconsider_flows(now);
        }
    }

    fn request_trust(&mut self, id: TrustId, wish: Wish, now: Now) {
        self.trust(now, |trusting, scene, effects| {
            trusting.request(id, wish, scene, effects);
            false
        });
    }

    fn note_trust_evaluation(
        &mut self,
        attempt: Attempt,
        outcome: Result<Decision, PdpFailure>,
        now: Now,
    ) {
        self.trust(now, |trusting, scene, effects| {
            trusting.handle_evaluated(attempt, outcome, scene, effects)
        });
    }

    fn note_trust_record(&mut self, attempt: Attempt, written: bool, now: Now) {
        self.trust(now, |trusting, scene, effects| {
            trusting.handle_recorded(attempt, written, scene, effects)
        });
    }

    fn settle_trust(&mut self, now: Now) {
        let (host, verdict) = (self.known.host.as_ref(), &self.known.verdict);
        let scene = self.known.scene(now);
        let at = (host, verdict, now);
        if self.trusting.settle(scene.as_ref(), at, &mut self.effects) {
            self.reconsider_flows(now);
        }
    }

    /// Asks again about everything that is in use or in force, because its grounds changed.
    fn reconsider(&mut self, now: Now) {
        if let Some(scene) = self.known.scene(now) {
            self.trusting.review(&scene, &mut self.effects);
        }
        self.reconsider_flows(now);
    }

    fn reconsider_flows(&mut self, now: Now) {
        match self.known.grounds(&self.trusting, now) {
            Some(grounds) => self.enforcer.reconsider(&grounds, &mut self.effects),
            None => self.enforcer.clear(),
        }
    }

    /// Puts the next question of a review.
    fn review_on(&mut self, begun: Now) {
        match self.known.grounds(&self.trusting, begun) {
            Some(grounds) => self.enforcer.review_on(&grounds, &mut self.effects),
            None => self.enforcer.clear(),
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

    fn scene(&self, now: Now) -> Option<Scene<'_>> {
        Some(Scene {
            session: self.signing_in.session()?,
            policy: &self.configuration.as_ref()?.policy,
            host: self.host.as_ref(),
            verdict: &self.verdict,
            network: self.network,
            now,
        })
    }

    fn grounds<'a>(&'a self, trusting: &'a Trusting, now: Now) -> Option<Grounds<'a>> {
        Some(Grounds {
            session: self.signing_in.shared_session()?,
            configuration: self.configuration.as_ref()?,
            concealed: &self.concealed,
            host: self.host.as_ref(),
            verdict: &self.verdict,
            network: self.network,
            trusting,
            now,
        })
    }
}

#[cfg(test)]
mod tests;

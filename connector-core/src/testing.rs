//! A company for tests: the real connector, with everything around it answered at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::access::{AccessMap, Denial, Permit, Question, Verdict};
use crate::authzen::{AccessRequest, Decision};
use crate::catalogue::{Catalogue, Resource, Site};
use crate::configuration::{
    Configuration, IdentityProvider, Organisation, PolicyPlan, PosturePlan, SessionLimits, Version,
};
use crate::connector::{Connector, Effect, Event, SignInMethod};
use crate::identity::{Owner, Person, Session};
use crate::signals::{EventId, SecurityEvent, Signal, Subject};
use crate::time::{Moment, Now, WallTime};

/// The connector of somebody who is signed in, and a policy to ask.
#[expect(missing_debug_implementations, reason = "a policy is a function")]
pub struct Company {
    connector: Connector,
    access: Arc<AccessMap>,
    policy: Policy,
    /// Decisions that were written down.
    pub recorded: usize,
}

type Policy = Box<dyn FnMut(&AccessRequest) -> Result<(), Denial> + Send>;

impl Company {
    /// Signs somebody in whose sessions have `addresses`; the policy permits everything.
    ///
    /// # Panics
    ///
    /// Never, unless the connector is broken.
    #[must_use]
    pub fn new(
        resources: Vec<Resource>,
        sites: Vec<Site>,
        addresses: Vec<IpAddr>,
        now: Moment,
    ) -> Self {
        let mut company = Self {
            connector: Connector::new(vec![]),
            access: Arc::default(),
            policy: Box::new(|_| Ok(())),
            recorded: 0,
        };
        let catalogue = Arc::new(Catalogue::new(resources, sites));
        let configuration = configuration(catalogue, now);
        company.feed(Event::ConfigurationAccepted(Box::new(configuration)), now);
        company.sign_in(addresses, now);
        company
    }

    /// Returns the map in force.
    #[must_use]
    pub fn access(&self) -> Arc<AccessMap> {
        Arc::clone(&self.access)
    }

    /// Replaces the policy; what was answered before stays until it is asked again.
    pub fn set_policy(
        &mut self,
        policy: impl FnMut(&AccessRequest) -> Result<(), Denial> + Send + 'static,
    ) {
        self.policy = Box::new(policy);
    }

    /// Puts a question to the policy and publishes its answer.
    pub fn ask(&mut self, question: Question, now: Moment) {
        self.feed(Event::AccessRequested(question), now);
    }

    /// Returns a permit for `flow`, or why there is none.
    ///
    /// # Errors
    ///
    /// The policy's denial.
    ///
    /// # Panics
    ///
    /// If the connector gives no answer.
    pub fn permit(&mut self, flow: &crate::access::Flow, now: Moment) -> Result<Permit, Denial> {
        if let Verdict::Undecided(question) = self.access.decide(flow, now) {
            self.ask(question, now);
        }
        match self.access.decide(flow, now) {
            Verdict::Permitted(permit) => Ok(permit),
            Verdict::Denied(denial) => Err(denial),
            Verdict::Undecided(_) => panic!("{flow}: nobody answered"),
        }
    }

    /// Has every open flow put to the policy again, as a new configuration does.
    pub fn reconsider(&mut self, now: Moment) {
        let Some(configuration) = self.connector.configuration().cloned() else {
            return;
        };
        let configuration = Configuration {
            version: Version(configuration.version.0 + 1),
            ..configuration
        };
        self.feed(Event::ConfigurationAccepted(Box::new(configuration)), now);
    }

    /// Signs out: nothing is reachable any more.
    pub fn sign_out(&mut self, now: Moment) {
        self.feed(Event::SignOutRequested, now);
    }

    /// Receives the event that the person's sessions are revoked.
    ///
    /// # Panics
    ///
    /// Never: the event is well-formed.
    pub fn revoke(&mut self, now: Moment) {
        let subject = serde_json::json!({
            "format": "iss_sub",
            "iss": ISSUER,
            "sub": "alice",
        });
        let event = SecurityEvent {
            id: EventId::parse("revocation").expect("an id"),
            issued_at: at(now).wall,
            happened_at: at(now).wall,
            subject: Subject::for_tests(&subject),
            signal: Signal::SessionRevoked,
            reason_user: None,
        };
        self.feed(Event::SignalReceived(Box::new(event)), now);
    }

    /// Signs in again.
    pub fn sign_in(&mut self, addresses: Vec<IpAddr>, now: Moment) {
        let effects = self.feed(
            Event::SignInRequested {
                method: SignInMethod::Browser,
                owner: Owner::Machine,
            },
            now,
        );
        for effect in effects {
            if let Effect::SignIn { attempt, .. } = effect {
                let session = session(addresses.clone(), now);
                let signed_in_ago = Duration::ZERO;
                self.feed(
                    Event::SessionOpened {
                        attempt,
                        session,
                        signed_in_ago,
                        restored_from: None,
                    },
                    now,
                );
            }
        }
    }

    /// Feeds an event, answers what the connector asks, and returns what else it wants.
    pub fn feed(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        self.connector.handle_event(event, at(now));
        self.drain(now)
    }

    /// Lets time pass.
    pub fn pass(&mut self, now: Moment) {
        self.connector.handle_timeout(at(now));
        self.drain(now);
    }

    /// Returns when [`pass`](Self::pass) is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.connector.poll_timeout()
    }

    fn drain(&mut self, now: Moment) -> Vec<Effect> {
        let mut others = Vec::new();
        while let Some(effect) = self.connector.poll_effect() {
            match effect {
                Effect::PublishAccess(access) => self.access = access,
                Effect::Evaluate {
                    attempt, request, ..
                } => {
                    let outcome = Ok(Decision {
                        outcome: (self.policy)(&request),
                        ..Decision::permitted()
                    });
                    let latency = Duration::ZERO;
                    let event = Event::Evaluated {
                        attempt,
                        outcome,
                        latency,
                    };
                    self.connector.handle_event(event, at(now));
                }
                Effect::Record { attempt, .. } => {
                    self.recorded += 1;
                    if let Some(attempt) = attempt {
                        let written = true;
                        let event = Event::Recorded { attempt, written };
                        self.connector.handle_event(event, at(now));
                    }
                }
                other @ (Effect::ApplyTunnel(_)
                | Effect::EndSession(_)
                | Effect::EvaluateTrust { .. }
                | Effect::RecordPlea(_)
                | Effect::RecordTrust { .. }
                | Effect::FollowSignals(_)
                | Effect::ForgetSignIn
                | Effect::Measure(_)
                | Effect::RecordProtection(_)
                | Effect::RecordRejection(_)
                | Effect::RecordSignal(_)
                | Effect::RememberCompliance(_)
                | Effect::RememberRevocations(_)
                | Effect::SignIn { .. }) => others.push(other),
            }
        }
        others
    }
}

fn configuration(catalogue: Arc<Catalogue>, now: Moment) -> Configuration {
    let url = |text: &str| text.parse().unwrap_or_else(|_| unreachable!("{text}"));
    Configuration {
        version: Version(1),
        expires_at: now + Duration::from_secs(100_000_000),
        organisation: Organisation {
            name: "Corp".into(),
            support: None,
        },
        identity: IdentityProvider {
            issuer: url(ISSUER),
            client_id: "ztna-connector".into(),
            scopes: vec![],
        },
        policy: Arc::new(PolicyPlan::remote(url("https://pdp.corp.test"))),
        session: SessionLimits {
            idle: Duration::from_secs(10_000_000),
            absolute: Duration::from_secs(50_000_000),
        },
        catalogue,
        posture: PosturePlan::default(),
        signals: None,
    }
}

fn session(addresses: Vec<IpAddr>, now: Moment) -> Session {
    Session {
        id: "s1".into(),
        owner: Owner::Machine,
        person: Arc::new(Person {
            issuer: ISSUER.into(),
            subject: "alice".into(),
            name: None,
            email: None,
            groups: vec![],
        }),
        addresses: addresses.into(),
        expires_at: now + Duration::from_secs(40_000_000),
        expires_wall: WallTime::from_unix_millis(1_835_399_199_999),
        assurance: None,
    }
}

const ISSUER: &str = "https://idp.corp.test";

fn at(moment: Moment) -> Now {
    let wall = WallTime::from_unix_millis(1_795_312_799_999);
    Now { moment, wall }
}

mod leases;
mod owner;
mod pausing;
mod property;
mod refusals;
mod rejecting;
mod roaming;
mod signals;
mod trust;

use std::collections::BTreeMap;

use url::Url;

use super::*;
use crate::access::{Permit, Verdict as Answer};
use crate::audit::{ProtectionChange, Rejected, RejectionRecord, TrustRecord};
use crate::authzen::AccessRequest;
use crate::catalogue::fixture::{catalogue, wiki};
use crate::configuration::{
    IdentityProvider, Organisation, PolicyPlan, PosturePlan, SessionLimits, Version,
};
use crate::identity::{Owner, Person, SessionId};
use crate::posture::{Finding, Measurement};
use crate::signals::Revocation;
use crate::time::WallTime;
use crate::trust::TrustRequest;

#[test]
fn access_follows_sign_in_measurement_and_the_policys_yes() {
    let mut world = World::signed_in();

    let attempt = world.ask(&wiki(80));
    world.answer(attempt, yes());

    assert!(world.decide(&wiki(80)).is_ok());
}

#[test]
fn nothing_opens_before_the_decision_is_written_down() {
    let mut world = World::signed_in();
    let attempt = world.ask(&wiki(80));

    world.feed(Event::Evaluated {
        attempt,
        outcome: yes(),
        latency: Duration::ZERO,
    });

    assert_eq!(world.records.len(), 1);
    assert!(world.decide(&wiki(80)).is_err());
    world.feed(Event::Recorded {
        attempt,
        written: true,
    });
    assert!(world.decide(&wiki(80)).is_ok());
}

#[test]
fn a_decision_that_cannot_be_written_down_is_a_denial() {
    let mut world = World::signed_in();
    let attempt = world.ask(&wiki(80));
    world.feed(Event::Evaluated {
        attempt,
        outcome: yes(),
        latency: Duration::ZERO,
    });

    world.feed(Event::Recorded {
        attempt,
        written: false,
    });

    assert_eq!(world.decide(&wiki(80)), Err(Reason::NotRecorded.into()));
}

#[test]
fn every_way_in_which_the_policy_cannot_be_asked_is_a_denial_of_its_own() {
    for (failure, reason) in [
        (PdpFailure::Late, Reason::PdpLate),
        (PdpFailure::Malformed, Reason::PdpMalformed),
        (PdpFailure::Status(500), Reason::PdpStatus(500)),
        (PdpFailure::Unreachable, Reason::PdpUnreachable),
    ] {
        let mut world = World::signed_in();
        let attempt = world.ask(&wiki(80));

        world.answer(attempt, Err(failure));

        assert_eq!(world.decide(&wiki(80)), Err(reason.into()));
        assert_eq!(world.records.len(), 1);
    }
}

#[test]
fn a_question_that_the_adapter_lost_is_answered_with_a_denial() {
    let mut world = World::signed_in();
    world.ask(&wiki(80));

    world.sleep(Duration::from_secs(2));

    assert_eq!(world.decide(&wiki(80)), Err(Reason::PdpLate.into()));
}

#[test]
fn one_question_is_asked_once_however_many_flows_wait() {
    let mut world = World::signed_in();
    world.ask(&wiki(80));

    let again = world.question(&wiki(80));
    world.feed(Event::AccessRequested(again));

    assert!(world.evaluations.is_empty());
}

#[test]
fn a_flood_of_questions_is_refused_and_bounded() {
    let mut world = World::signed_in();
    for host in 0..1000 {
        let flow = crate::catalogue::fixture::flow(&format!("h{host}.dev.corp.test"), 80);
        let question = world.question(&flow);
        world.feed(Event::AccessRequested(question));
    }

    assert!(world.evaluations.len() <= 256);
    let last = crate::catalogue::fixture::flow("h999.dev.corp.test", 80);
    assert_eq!(world.decide(&last), Err(Reason::TooBusy.into()));
}

#[test]
fn a_failing_check_reviews_live_flows_and_the_policys_no_ends_them() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));

    world.measure(Finding::Fail);

    assert!(world.access.review(&permit, world.now.moment).is_ok());
    assert!(world.decide(&wiki(80)).is_err(), "new flows wait");
    let attempt = world.take_evaluation();
    world.answer(attempt, no());
    assert_eq!(
        world.access.review(&permit, world.now.moment),
        Err(denied())
    );
}

#[test]
fn a_review_that_nobody_answers_ends_the_flow() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));
    world.measure(Finding::Fail);

    world.sleep(Duration::from_secs(1));

    assert!(world.access.review(&permit, world.now.moment).is_err());
}

#[test]
fn grounds_that_keep_changing_do_not_prolong_a_review() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));

    for _ in 0..4 {
        world.measure(Finding::Fail);
        world.sleep(Duration::from_millis(150));
        world.measure(Finding::Unknown);
        world.sleep(Duration::from_millis(150));
    }

    assert!(world.access.review(&permit, world.now.moment).is_err());
}

#[test]
fn the_finding_of_a_query_that_was_replaced_does_not_count() {
    let mut world = World::signed_in();
    let mut next = configuration(2);
    next.posture.builtin.clear();
    next.posture.checks = vec![Check {
        sql: BTreeMap::from([(crate::posture::Platform::Linux, "SELECT 0 AS pass".into())]),
        ..check()
    }];
    world.feed(Event::ConfigurationAccepted(Box::new(next)));

    world.measure(Finding::Pass);

    assert_eq!(world.connector.verdict().unmet().len(), 1);
}

#[test]
fn a_flood_of_names_does_not_lock_out_other_applications() {
    let mut world = World::signed_in();
    for host in 0..5000 {
        let flow = crate::catalogue::fixture::flow(&format!("h{host}.dev.corp.test"), 80);
        let attempt = world.ask(&flow);
        world.answer(attempt, yes());
    }

    let attempt = world.ask(&wiki(80));
    world.answer(attempt, yes());

    assert!(world.decide(&wiki(80)).is_ok());
    assert!(world.access.answers() <= 4096);
}

#[test]
fn every_refusal_leaves_a_record() {
    let mut world = World::signed_in();
    let before = world.records.len();
    for host in 0..300 {
        let flow = crate::catalogue::fixture::flow(&format!("h{host}.dev.corp.test"), 80);
        let question = world.question(&flow);
        world.feed(Event::AccessRequested(question));
    }
    world.sleep(Duration::from_secs(2));

    assert_eq!(world.records.len() - before, 300);
}

#[test]
fn the_record_of_a_decision_names_the_process_that_asked() {
    let mut world = World::signed_in();
    let question = Question {
        process: Some(4711),
        ..world.question(&wiki(80))
    };

    world.feed(Event::AccessRequested(question));
    let attempt = world.take_evaluation();
    world.answer(attempt, yes());

    let record = world.records.last().unwrap();
    assert_eq!(record.process, Some(4711));
}

#[test]
fn an_answer_to_the_question_before_the_change_is_ignored() {
    let mut world = World::signed_in();
    let _ = world.open(&wiki(80));
    world.measure(Finding::Fail);
    let stale = world.take_evaluation();
    world.measure(Finding::Pass);

    world.answer(stale, yes());

    assert!(world.decide(&wiki(80)).is_err());
}

#[test]
fn access_returns_when_the_check_passes_again() {
    let mut world = World::signed_in();
    world.measure(Finding::Fail);
    let attempt = world.ask(&wiki(80));
    world.answer(attempt, no());

    world.measure(Finding::Pass);

    let attempt = world.ask(&wiki(80));
    world.answer(attempt, yes());
    assert!(world.decide(&wiki(80)).is_ok());
}

#[test]
fn a_check_that_nobody_measures_any_more_becomes_unknown_and_is_reconsidered() {
    let mut world = World::signed_in();
    let _ = world.open(&wiki(80));

    world.sleep(Duration::from_secs(61));

    assert_eq!(world.connector.verdict().unmet().len(), 1);
    world.take_evaluation();
}

#[test]
fn a_lease_in_use_is_renewed_before_it_ends_without_a_gap() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));

    world.sleep_measuring(Duration::from_secs(240));

    let attempt = world.take_evaluation();
    world.answer(attempt, yes());
    let renewed = world.access.review(&permit, world.now.moment).unwrap();
    assert!(renewed.lease_ends() > permit.lease_ends());
}

#[test]
fn without_the_policy_a_lease_runs_out_and_not_before() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));
    while world.now.moment < permit.lease_ends() {
        assert!(world.access.review(&permit, world.now.moment).is_ok());
        world.sleep_measuring(Duration::from_secs(1));
        while let Some(attempt) = world.evaluations.pop() {
            world.answer(attempt, Err(PdpFailure::Unreachable));
        }
    }

    assert!(world.access.review(&permit, world.now.moment).is_err());
}

#[test]
fn a_denial_whose_record_takes_too_long_ends_the_flow_all_the_same() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));
    world.sleep_measuring(Duration::from_secs(240));
    let attempt = world.take_evaluation();
    world.feed(Event::Evaluated {
        attempt,
        outcome: no(),
        latency: Duration::ZERO,
    });

    world.sleep(Duration::from_millis(2_100));

    assert!(world.access.review(&permit, world.now.moment).is_err());
    assert_eq!(world.decide(&wiki(80)), Err(Reason::NotRecorded.into()));
}

#[test]
fn a_lease_that_nobody_uses_is_not_renewed() {
    let mut world = World::signed_in();
    let attempt = world.ask(&wiki(80));
    world.answer(attempt, yes());

    world.sleep_measuring(Duration::from_secs(301));

    assert!(world.evaluations.is_empty());
    assert!(world.decide(&wiki(80)).is_err());
}

#[test]
fn signing_out_ends_everything_and_tells_the_control_plane() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));

    world.feed(Event::SignOutRequested);

    assert_eq!(
        world.access.review(&permit, world.now.moment),
        Err(Reason::SignedOut.into())
    );
    assert_eq!(world.ended, [SessionId::from("s1")]);
    assert!(world.forgotten);
    assert_eq!(world.tunnel, None);
}

#[test]
fn a_cut_flow_leaves_a_record_of_its_own() {
    let mut world = World::signed_in();
    let _ = world.open(&wiki(80));
    let before = world.records.len();

    world.feed(Event::FlowClosed {
        flow: wiki(80),
        cut: Some(Reason::SignedOut.into()),
    });

    assert_eq!(world.records.len(), before + 1);
    assert!(matches!(
        world.records.last().unwrap().outcome,
        Outcome::Revoked(_)
    ));
}

#[test]
fn a_site_is_in_use_while_any_connection_to_it_is_open() {
    let mut world = World::signed_in();
    let in_use = |world: &World| world.connector.sites_in_use().count();
    assert_eq!(in_use(&world), 0);

    let permit = world.open(&wiki(80));
    world.feed(Event::FlowOpened(wiki(80)));
    assert_eq!(
        world.connector.sites_in_use().collect::<Vec<_>>(),
        [permit.site()]
    );

    for open in [1, 0] {
        world.feed(Event::FlowClosed {
            flow: wiki(80),
            cut: None,
        });
        assert_eq!(in_use(&world), open);
    }
}

#[test]
fn an_idle_session_expires_but_one_in_use_does_not() {
    let mut idle = World::signed_in();
    idle.sleep_measuring(Duration::from_secs(3600));
    assert_eq!(idle.decide(&wiki(80)), Err(Reason::SessionExpired.into()));

    let mut used = World::signed_in();
    let _ = used.open(&wiki(80));
    used.sleep_measuring(Duration::from_secs(3600));
    assert!(used.connector.session().is_some());
}

#[test]
fn no_session_outlives_its_absolute_limit() {
    let mut world = World::signed_in();
    let _ = world.open(&wiki(80));

    world.sleep_measuring(Duration::from_secs(36_000));

    assert!(world.connector.session().is_none());
}

#[test]
fn a_restart_does_not_renew_the_absolute_limit() {
    let mut world = World::default();
    world.feed(Event::ConfigurationAccepted(Box::new(configuration(1))));
    world.feed(Event::SignInRequested {
        method: SignInMethod::Stored,
        owner: Owner::Machine,
    });
    let attempt = world.sign_ins.pop().unwrap();

    world.feed(Event::SessionOpened {
        attempt,
        session: session(world.now),
        signed_in_ago: Duration::from_secs(35_990),
        restored_from: None,
    });

    assert!(world.connector.session().is_some());
    world.sleep(Duration::from_secs(10));
    assert!(world.connector.session().is_none());
}

#[test]
fn a_sign_in_that_nobody_waits_for_is_given_up() {
    let mut world = World::default();
    world.feed(Event::ConfigurationAccepted(Box::new(configuration(1))));
    world.feed(Event::SignInRequested {
        method: SignInMethod::Browser,
        owner: Owner::Machine,
    });
    assert_eq!(world.connector.standing(), Standing::SigningIn);
    let attempt = world.sign_ins.pop().unwrap();

    world.feed(Event::SignInAbandoned(attempt));

    assert_eq!(world.connector.standing(), Standing::SignedOut);
}

#[test]
fn switching_off_denies_and_switching_on_needs_no_new_sign_in() {
    let mut world = World::signed_in();

    world.feed(Event::Paused {
        until: None,
        reason: None,
    });
    assert_eq!(world.decide(&wiki(80)), Err(Reason::Paused.into()));
    assert_eq!(world.tunnel, None);

    world.feed(Event::Resumed);
    let attempt = world.ask(&wiki(80));
    world.answer(attempt, yes());
    assert!(world.decide(&wiki(80)).is_ok());
    assert!(world.tunnel.is_some());
}

#[test]
fn a_pause_for_a_time_ends_by_itself_and_another_replaces_it() {
    let mut world = World::signed_in();
    let at = |world: &World, seconds| world.now.moment + Duration::from_secs(seconds);

    let until = Some(at(&world, 60));
    world.feed(Event::Paused {
        until,
        reason: None,
    });
    assert_eq!(world.connector.paused_until(), until);
    assert!(world.connector.poll_timeout() <= until);
    world.advance(Duration::from_secs(59));
    assert_eq!(world.connector.standing(), Standing::Paused);

    let until = Some(at(&world, 10));
    world.feed(Event::Paused {
        until,
        reason: None,
    });
    world.advance(Duration::from_secs(9));
    assert_eq!(world.connector.standing(), Standing::Paused);
    assert_eq!(world.tunnel, None);
    world.advance(Duration::from_secs(1));

    assert_eq!(world.connector.standing(), Standing::Ready);
    assert_eq!(world.connector.paused_until(), None);
    assert!(world.tunnel.is_some());
}

#[test]
fn a_stored_sign_in_is_tried_again_and_a_refused_one_is_not() {
    let mut world = World::default();
    world.feed(Event::SignInRequested {
        method: SignInMethod::Stored,
        owner: Owner::Machine,
    });
    assert!(world.sign_ins.is_empty(), "no provider is known yet");
    world.feed(Event::ConfigurationAccepted(Box::new(configuration(1))));

    let attempt = world.sign_ins.pop().unwrap();
    world.feed(Event::SignInFailed {
        attempt,
        retry: true,
    });
    assert!(world.sign_ins.is_empty());
    world.sleep(Duration::from_secs(2));
    let attempt = world.sign_ins.pop().unwrap();
    world.feed(Event::SignInFailed {
        attempt,
        retry: false,
    });
    world.sleep(Duration::from_secs(60));
    assert!(world.sign_ins.is_empty());
}

#[test]
fn a_session_that_comes_too_late_is_given_back() {
    let mut world = World::default();
    world.feed(Event::ConfigurationAccepted(Box::new(configuration(1))));
    world.feed(Event::SignInRequested {
        method: SignInMethod::Browser,
        owner: Owner::Machine,
    });
    let attempt = world.sign_ins.pop().unwrap();
    world.feed(Event::SignOutRequested);

    world.feed(Event::SessionOpened {
        attempt,
        session: session(world.now),
        signed_in_ago: Duration::ZERO,
        restored_from: None,
    });

    assert!(world.connector.session().is_none());
    assert_eq!(world.ended, [SessionId::from("s1")]);
    assert!(world.forgotten, "what the late sign-in left is not kept");
}

#[test]
fn signing_in_again_ends_the_session_before_and_keeps_what_is_stored() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));

    world.feed(Event::SignInRequested {
        method: SignInMethod::Browser,
        owner: Owner::Machine,
    });
    let attempt = world.sign_ins.pop().unwrap();
    let session = Session {
        id: "s2".into(),
        ..session(world.now)
    };
    world.feed(Event::SessionOpened {
        attempt,
        session,
        signed_in_ago: Duration::ZERO,
        restored_from: None,
    });

    assert_eq!(world.ended, [SessionId::from("s1")]);
    assert!(!world.forgotten);
    assert!(world.access.review(&permit, world.now.moment).is_err());
}

#[test]
fn a_resource_that_a_new_configuration_drops_is_cut() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));
    let mut next = configuration(2);
    next.catalogue = Arc::default();

    world.feed(Event::ConfigurationAccepted(Box::new(next)));

    assert_eq!(
        world.access.review(&permit, world.now.moment),
        Err(Reason::UnknownResource.into())
    );
}

#[test]
fn an_expired_configuration_closes_everything() {
    let mut world = World::signed_in();
    let _ = world.open(&wiki(80));
    let mut short = configuration(2);
    short.expires_at = world.now.moment + Duration::from_secs(10);
    world.feed(Event::ConfigurationAccepted(Box::new(short)));

    world.sleep(Duration::from_secs(10));

    assert_eq!(
        world.decide(&wiki(80)),
        Err(Reason::ConfigurationExpired.into())
    );
}

#[test]
fn nothing_is_published_when_nothing_changes() {
    let mut world = World::signed_in();
    let generation = world.access.generation();

    world.measure(Finding::Pass);
    world.connector.handle_timeout(world.now);
    world.drain();

    assert_eq!(world.access.generation(), generation);
}

/// A connector, and everything that its effects did.
struct World {
    connector: Connector,
    now: Now,
    access: Arc<AccessMap>,
    tunnel: Option<TunnelPlan>,
    evaluations: Vec<Attempt>,
    requests: Vec<AccessRequest>,
    sign_ins: Vec<Attempt>,
    ended: Vec<SessionId>,
    forgotten: bool,
    records: Vec<Record>,
    protection: Vec<ProtectionChange>,
    followed: Option<Url>,
    rejections: Vec<RejectionRecord>,
    signals: Vec<SignalOutcome>,
    wishes: Vec<(Attempt, TrustRequest)>,
    trusts: Vec<(Option<Attempt>, TrustRecord)>,
    remembered: Option<Compliance>,
    kept: Vec<Revocation>,
    /// The latest permit of a flow that is watched.
    last: Option<Permit>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            connector: Connector::new(vec![check()]),
            now: Now {
                moment: Moment::from_boot(Duration::from_secs(1000)),
                wall: WallTime::from_unix_millis(1_000_000_000),
            },
            access: Arc::default(),
            tunnel: None,
            evaluations: vec![],
            requests: vec![],
            sign_ins: vec![],
            ended: vec![],
            forgotten: false,
            records: vec![],
            protection: vec![],
            followed: None,
            rejections: vec![],
            signals: vec![],
            wishes: vec![],
            trusts: vec![],
            remembered: None,
            kept: vec![],
            last: None,
        }
    }
}

impl World {
    fn signed_in() -> Self {
        Self::signed_in_for(Owner::Machine)
    }

    fn signed_in_for(owner: Owner) -> Self {
        let mut world = Self::default();
        world.feed(Event::ConfigurationAccepted(Box::new(configuration(1))));
        world.measure(Finding::Pass);
        world.feed(Event::SignInRequested {
            method: SignInMethod::Browser,
            owner,
        });
        let attempt = world.sign_ins.pop().unwrap();
        let session = Session {
            owner,
            ..session(world.now)
        };
        world.feed(Event::SessionOpened {
            attempt,
            session,
            signed_in_ago: Duration::ZERO,
            restored_from: None,
        });
        world
    }

    fn feed(&mut self, event: Event) {
        self.connector.handle_event(event, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.connector.poll_effect() {
            match effect {
                Effect::ApplyTunnel(plan) => self.tunnel = plan,
                Effect::EndSession(id) => self.ended.push(id),
                Effect::FollowSignals(signals) => {
                    self.followed = signals.map(|signals| signals.issuer)
                }
                Effect::Evaluate {
                    attempt, request, ..
                } => {
                    self.evaluations.push(attempt);
                    self.requests.push(Arc::unwrap_or_clone(request));
                }
                Effect::EvaluateTrust {
                    attempt, request, ..
                } => self.wishes.push((attempt, *request)),
                Effect::ForgetSignIn => self.forgotten = true,
                Effect::Measure(_) => {}
                Effect::PublishAccess(access) => self.access = access,
                Effect::Record { record, .. } => self.records.push(*record),
                Effect::RecordTrust { attempt, record } => self.trusts.push((attempt, *record)),
                Effect::RecordPlea(_) => {}
                Effect::RecordProtection(record) => self.protection.push(record.change),
                Effect::RecordRejection(record) => self.rejections.push(*record),
                Effect::RecordSignal(record) => self.signals.push(record.outcome),
                Effect::RememberCompliance(compliance) => self.remembered = Some(compliance),
                Effect::RememberRevocations(kept) => self.kept = kept,
                Effect::SignIn { attempt, .. } => self.sign_ins.push(attempt),
            }
        }
    }

    /// Lets time pass, waking the connector whenever it asked to be woken.
    fn sleep(&mut self, duration: Duration) {
        let end = self.now.moment + duration;
        while let Some(due) = self.connector.poll_timeout().filter(|due| *due <= end) {
            self.advance(due.since(self.now.moment));
            assert!(
                self.connector.poll_timeout() > Some(self.now.moment),
                "a timeout in the past is a bug"
            );
        }
        self.advance(end.since(self.now.moment));
    }

    /// Lets time pass while the device keeps being measured and found healthy.
    fn sleep_measuring(&mut self, duration: Duration) {
        let end = self.now.moment + duration;
        while self.now.moment < end {
            self.sleep(end.since(self.now.moment).min(Duration::from_secs(30)));
            self.measure(Finding::Pass);
        }
    }

    fn advance(&mut self, duration: Duration) {
        self.now.moment = self.now.moment + duration;
        self.now.wall = self.now.wall + duration;
        self.connector.handle_timeout(self.now);
        self.drain();
    }

    fn measure(&mut self, finding: Finding) {
        let measurement = Measurement {
            finding,
            evidence: "".into(),
            taken_at: self.now.moment,
        };
        self.feed(Event::PostureMeasured(vec![(check(), measurement)]));
    }

    fn question(&self, flow: &Flow) -> Question {
        match self.access.decide(flow, self.now.moment) {
            Answer::Undecided(question) => question,
            Answer::Denied(denial) => panic!("{flow}: {denial}"),
            Answer::Permitted(_) => panic!("{flow} is permitted already"),
        }
    }

    fn ask(&mut self, flow: &Flow) -> Attempt {
        let question = self.question(flow);
        self.feed(Event::AccessRequested(question));
        self.take_evaluation()
    }

    fn take_evaluation(&mut self) -> Attempt {
        self.evaluations.pop().expect("the policy was asked")
    }

    fn answer(&mut self, attempt: Attempt, outcome: Result<Decision, PdpFailure>) {
        self.feed(Event::Evaluated {
            attempt,
            outcome,
            latency: Duration::from_millis(1),
        });
        self.feed(Event::Recorded {
            attempt,
            written: true,
        });
    }

    fn open(&mut self, flow: &Flow) -> Permit {
        let attempt = self.ask(flow);
        self.answer(attempt, yes());
        let permit = self.decide(flow).unwrap();
        self.feed(Event::FlowOpened(flow.clone()));
        permit
    }

    fn decide(&self, flow: &Flow) -> Result<Permit, Denial> {
        match self.access.decide(flow, self.now.moment) {
            Answer::Permitted(permit) => Ok(permit),
            Answer::Denied(denial) => Err(denial),
            Answer::Undecided(_) => Err(Denial {
                reason: Reason::TooBusy,
                explanation: Some("undecided".into()),
            }),
        }
    }
}

fn configuration(version: u64) -> Configuration {
    Configuration {
        version: Version(version),
        expires_at: Moment::from_boot(Duration::from_secs(1_000_000)),
        organisation: Organisation {
            name: "Corp".into(),
            support: None,
        },
        identity: IdentityProvider {
            issuer: "https://idp.corp.test".parse().unwrap(),
            client_id: "ztna-connector".into(),
            scopes: vec![],
        },
        policy: Arc::new(PolicyPlan::remote("https://pdp.corp.test".parse().unwrap())),
        session: SessionLimits {
            idle: Duration::from_secs(3600),
            absolute: Duration::from_secs(36_000),
        },
        catalogue: Arc::new(catalogue()),
        posture: PosturePlan {
            builtin: vec![check().id],
            checks: vec![],
        },
        signals: None,
    }
}

fn session(now: Now) -> Session {
    Session {
        id: "s1".into(),
        owner: Owner::Machine,
        person: Arc::new(Person {
            issuer: "https://idp.corp.test".into(),
            subject: "alice".into(),
            name: None,
            email: None,
            groups: vec!["staff".into()],
        }),
        addresses: [[100, 64, 0, 2].into()].into(),
        expires_at: now.moment + Duration::from_secs(86_400),
        expires_wall: now.wall + Duration::from_secs(86_400),
        assurance: None,
    }
}

fn check() -> Check {
    Check {
        id: "disk".into(),
        title: "The disk is encrypted".into(),
        sql: BTreeMap::new(),
        remedy: "Encrypt it".into(),
        interval: Duration::from_secs(30),
        max_age: Duration::from_secs(60),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "reads as the adapter's answer")]
fn yes() -> Result<Decision, PdpFailure> {
    Ok(Decision::permitted())
}

#[expect(clippy::unnecessary_wraps, reason = "reads as the adapter's answer")]
fn no() -> Result<Decision, PdpFailure> {
    Ok(Decision::denied(denied()))
}

fn denied() -> Denial {
    Reason::PostureUnmet.into()
}

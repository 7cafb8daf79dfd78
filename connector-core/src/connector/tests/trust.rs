//! Consents and elevations in a whole world.

use std::collections::BTreeSet;

use super::*;
use crate::access::{Program, Workload};
use crate::audit::{TrustEnd, TrustOutcome};
use crate::trust::{Acting, Delegation, Elevation, PinnedProgram, TrustId, Wish};

#[test]
fn a_consent_counts_once_it_is_written_down_and_for_its_program_and_scope_alone() {
    let mut world = World::signed_in();
    world.wish("d-1", delegation(60));
    let (attempt, request) = world.wishes.pop().unwrap();
    assert_eq!(request.person.subject.as_ref(), "alice");
    world.feed(Event::TrustEvaluated {
        attempt,
        outcome: yes(),
    });
    assert_eq!(acting_of(&mut world, &agent("ab", 80)), Acting::Oneself);

    world.feed(Event::TrustRecorded {
        attempt,
        written: true,
    });

    let delegated = Acting::Delegated(TrustId::from("d-1"));
    assert_eq!(acting_of(&mut world, &agent("ab", 80)), delegated);
    for other in [agent("cd", 80), wiki(80), dev(agent("ab", 80))] {
        assert_eq!(acting_of(&mut world, &other), Acting::Oneself, "{other}");
    }
}

#[test]
fn a_consent_that_cannot_be_written_down_is_none() {
    let mut world = World::signed_in();
    world.wish("d-1", delegation(60));
    let (attempt, _) = world.wishes.pop().unwrap();
    world.feed(Event::TrustEvaluated {
        attempt,
        outcome: yes(),
    });

    world.feed(Event::TrustRecorded {
        attempt,
        written: false,
    });

    assert_eq!(world.connector.granted().count(), 0);
    let refused = world.connector.refused().next().unwrap();
    assert_eq!(refused.denial.reason, Reason::NotRecorded);
}

#[test]
fn what_rests_on_a_consent_ends_with_its_revocation() {
    let mut world = World::signed_in();
    world.grant("d-1", delegation(600));
    let permit = world.open(&agent("ab", 80));

    world.feed(Event::TrustRevoked(TrustId::from("d-1")));

    let request = world.requests.pop().unwrap();
    assert_eq!(request.acting, Acting::Oneself);
    let attempt = world.take_evaluation();
    world.answer(attempt, no());
    assert!(world.access.review(&permit, world.now.moment).is_err());
    let (_, record) = world.trusts.pop().unwrap();
    assert_eq!(record.outcome, TrustOutcome::Ended(TrustEnd::Revoked));
}

#[test]
fn a_consent_ends_on_the_boot_clock_and_so_does_what_rests_on_it() {
    let mut world = World::signed_in();
    world.grant("d-1", delegation(20));
    let permit = world.open(&agent("ab", 80));
    assert!(permit.lease_ends() <= world.now.moment + Duration::from_secs(20));

    world.sleep(Duration::from_secs(19));
    assert_eq!(world.connector.granted().count(), 1);
    world.now.wall = WallTime::from_unix_millis(0);
    world.sleep(Duration::from_secs(1));

    assert_eq!(world.connector.granted().count(), 0);
    assert!(world.access.review(&permit, world.now.moment).is_err());
    let (_, record) = world.trusts.pop().unwrap();
    assert_eq!(record.outcome, TrustOutcome::Ended(TrustEnd::TimeOver));
}

#[test]
fn an_elevation_ends_when_the_policy_no_longer_permits_it_in_this_state() {
    let mut world = World::signed_in();
    world.grant("e-1", elevation());
    assert!(matches!(
        acting_of(&mut world, &wiki(80)),
        Acting::Elevated(elevated) if &*elevated.target == "carol"
    ));

    world.measure(Finding::Fail);
    let (attempt, request) = world.wishes.pop().expect("it is asked about again");
    assert!(!request.verdict.unmet().is_empty());
    world.feed(Event::TrustEvaluated {
        attempt,
        outcome: no(),
    });

    assert_eq!(world.connector.granted().count(), 0);
    assert_eq!(acting_of(&mut world, &wiki(80)), Acting::Oneself);
    let (_, record) = world.trusts.pop().unwrap();
    assert_eq!(
        record.outcome,
        TrustOutcome::Ended(TrustEnd::NoLongerPermitted(denied()))
    );
}

#[test]
fn the_record_of_a_cut_names_the_context_that_the_connection_was_permitted_in() {
    let mut world = World::signed_in();
    world.grant("e-1", elevation());
    let permit = world.open(&wiki(80));
    world.records.clear();

    world.feed(Event::TrustRevoked(TrustId::from("e-1")));
    let attempt = world.take_evaluation();
    world.answer(attempt, no());
    let denial = world.access.review(&permit, world.now.moment).unwrap_err();
    world.feed(Event::FlowClosed {
        flow: wiki(80),
        cut: Some(denial),
    });

    let cut = world.records.pop().unwrap();
    assert!(matches!(cut.outcome, Outcome::Revoked(_)));
    assert!(matches!(
        cut.acting,
        Acting::Elevated(elevated) if &*elevated.target == "carol"
    ));
}

#[test]
fn an_elevation_that_nobody_decides_about_again_ends() {
    let mut world = World::signed_in();
    world.grant("e-1", elevation());
    world.measure(Finding::Fail);

    world.sleep(Duration::from_secs(2));

    assert_eq!(world.connector.granted().count(), 0);
}

#[test]
fn grounds_that_keep_changing_do_not_prolong_an_elevation() {
    let mut world = World::signed_in();
    world.grant("e-1", elevation());

    for finding in [Finding::Fail, Finding::Unknown, Finding::Fail] {
        world.measure(finding);
        world.sleep(Duration::from_secs(1));
    }

    assert_eq!(world.connector.granted().count(), 0);
}

#[test]
fn grounds_that_change_before_the_record_is_written_are_decided_on_again() {
    let mut world = World::signed_in();
    world.wish("e-1", elevation());
    let (attempt, _) = world.wishes.pop().unwrap();
    world.feed(Event::TrustEvaluated {
        attempt,
        outcome: yes(),
    });
    world.measure(Finding::Fail);
    world.feed(Event::TrustRecorded {
        attempt,
        written: true,
    });

    let (again, _) = world.wishes.pop().expect("it is asked about again");
    world.feed(Event::TrustEvaluated {
        attempt: again,
        outcome: no(),
    });

    assert_eq!(world.connector.granted().count(), 0);
}

#[test]
fn everything_ends_with_the_session() {
    let mut world = World::signed_in();
    world.grant("e-1", elevation());
    world.grant("d-1", delegation(600));

    world.feed(Event::SignOutRequested);

    assert_eq!(world.connector.granted().count(), 0);
    let over = TrustOutcome::Ended(TrustEnd::SessionOver);
    let ended = world.trusts.iter().filter(|(_, it)| it.outcome == over);
    assert_eq!(ended.count(), 2);
}

#[test]
fn everything_ends_with_the_service_and_is_written_down() {
    let mut world = World::signed_in();
    world.grant("e-1", elevation());
    world.grant("d-1", delegation(600));

    world.feed(Event::Stopping);

    assert_eq!(world.connector.granted().count(), 0);
    let stopped = TrustOutcome::Ended(TrustEnd::Stopped);
    let ended = world.trusts.iter().filter(|(_, it)| it.outcome == stopped);
    assert_eq!(ended.count(), 2);
}

#[test]
fn nobody_acts_in_two_contexts_at_once_and_an_agent_in_none() {
    let mut world = World::signed_in();
    world.grant("e-1", elevation());
    world.grant("d-1", delegation(600));

    world.wish("e-2", elevation());

    assert!(world.wishes.is_empty());
    let refused = world.connector.refused().next().unwrap();
    assert!(refused.denial.message().contains("--revoke e-1"));
    assert!(matches!(
        acting_of(&mut world, &agent("ab", 80)),
        Acting::Delegated(_)
    ));
}

#[test]
fn wishes_are_bounded() {
    let mut world = World::signed_in();
    for number in 0..1000 {
        world.wish(&format!("d-{number}"), delegation(60));
    }

    assert_eq!(world.wishes.len(), 64);
    assert_eq!(world.connector.refused().count(), 16);
}

impl World {
    fn wish(&mut self, id: &str, wish: Wish) {
        self.feed(Event::TrustRequested {
            id: id.into(),
            wish,
        });
    }

    pub(super) fn grant(&mut self, id: &str, wish: Wish) {
        self.wish(id, wish);
        let (attempt, _) = self.wishes.pop().expect("the policy was asked");
        self.feed(Event::TrustEvaluated {
            attempt,
            outcome: yes(),
        });
        self.feed(Event::TrustRecorded {
            attempt,
            written: true,
        });
    }
}

/// Asks about a flow, and returns in whose name it was asked.
fn acting_of(world: &mut World, flow: &Flow) -> Acting {
    let attempt = world.ask(flow);
    let request = world.requests.pop().unwrap();
    world.answer(attempt, yes());
    request.acting
}

pub(super) fn agent(sha256: &str, port: u16) -> Flow {
    let program = Program {
        path: "/opt/agents/reader".into(),
        user: Some(1000),
        sha256: Some(sha256.into()),
        ancestors: vec![],
    };
    Flow {
        workload: Workload::Known(Arc::new(program)),
        ..wiki(port)
    }
}

pub(super) fn dev(flow: Flow) -> Flow {
    let other = crate::catalogue::fixture::flow("h1.dev.corp.test", 80);
    Flow {
        workload: flow.workload,
        ..other
    }
}

pub(super) fn delegation(seconds: u64) -> Wish {
    Wish::Delegate(Delegation {
        program: PinnedProgram {
            path: "/opt/agents/reader".into(),
            sha256: "ab".into(),
        },
        scope: BTreeSet::from(["wiki".into()]),
        reason: None,
        duration: Duration::from_secs(seconds),
    })
}

pub(super) fn elevation() -> Wish {
    Wish::Elevate(Elevation {
        target: "carol".into(),
        reason: "Carol is ill".into(),
        evidence: BTreeSet::new(),
        duration: Duration::from_secs(600),
    })
}

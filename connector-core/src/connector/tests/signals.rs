use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::configuration::Signals;
use crate::identity::Assurance;
use crate::posture::TrustLevel;
use crate::signals::{EventId, SecurityEvent, Signal, Subject};

#[test]
fn a_revoked_session_ends_in_the_same_step_and_says_so() {
    let mut world = World::followed();
    let permit = world.open(&wiki(80));

    world.signal(Signal::SessionRevoked, &alice());

    let denial = world.access.review(&permit, world.now.moment).unwrap_err();
    assert_eq!(denial.reason, Reason::SessionRevoked);
    assert_eq!(denial.message(), "Your laptop was lost");
    assert!(world.connector.session().is_none());
    assert_eq!(world.ended, [SessionId::from("s1")]);
    assert!(world.forgotten, "the next start must not sign in by itself");
    assert_eq!(world.tunnel, None);
    assert_eq!(world.signals, [SignalOutcome::Applied]);
}

#[test]
fn an_event_about_somebody_else_changes_nothing_and_is_noted() {
    let mut world = World::followed();
    let permit = world.open(&wiki(80));
    let other_session = json!({"format": "opaque", "id": "s9"});

    for subject in [bob(), other_session] {
        for signal in [
            Signal::SessionRevoked,
            Signal::CredentialChange,
            Signal::DeviceComplianceChange {
                is_compliant: false,
            },
        ] {
            world.signal(signal, &subject);
        }
    }

    assert!(world.access.review(&permit, world.now.moment).is_ok());
    assert!(world.evaluations.is_empty());
    assert_eq!(world.signals, [SignalOutcome::Elsewhere; 6]);
}

#[test]
fn an_event_that_is_not_known_is_noted() {
    let mut world = World::followed();

    let event_type = "https://example.test/new".into();
    world.signal(Signal::Other { event_type }, &alice());

    assert_eq!(world.signals, [SignalOutcome::Noted]);
    assert!(world.connector.session().is_some());
}

#[test]
fn a_changed_credential_makes_the_policy_decide_anew_about_live_flows() {
    let mut world = World::followed();
    let permit = world.open(&wiki(80));

    world.signal(Signal::CredentialChange, &alice());

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
fn changed_claims_take_groups_away_and_never_add_any() {
    let mut world = World::followed();
    let _ = world.open(&wiki(80));

    let groups = BTreeSet::from(["admins".into()]);
    world.signal(
        Signal::TokenClaimsChange {
            groups: Some(groups),
        },
        &alice(),
    );

    let request = world.requests.last().unwrap();
    assert!(request.person.groups.is_empty());
}

#[test]
fn a_changed_assurance_level_is_put_to_the_policy() {
    let mut world = World::followed();
    let _ = world.open(&wiki(80));
    let assurance = Arc::new(Assurance {
        namespace: "NIST-AAL".into(),
        level: "nist-aal1".into(),
    });

    world.signal(
        Signal::AssuranceLevelChange(Arc::clone(&assurance)),
        &alice(),
    );

    let request = world.requests.last().unwrap();
    assert_eq!(request.assurance, Some(assurance));
    assert_eq!(
        request.to_json()["context"]["assurance"]["level"],
        "nist-aal1"
    );
}

#[test]
fn a_device_that_does_not_comply_has_the_lowest_trust_until_it_does_again() {
    let mut world = World::followed();
    let _ = world.open(&wiki(80));
    assert_eq!(world.connector.verdict().trust_level(), TrustLevel::High);

    world.signal(
        Signal::DeviceComplianceChange {
            is_compliant: false,
        },
        &device(),
    );

    assert_eq!(world.connector.verdict().trust_level(), TrustLevel::Low);
    let request = world.requests.last().unwrap();
    assert_eq!(
        request.to_json()["subject"]["properties"]["device"]["posture"]["device-compliance"],
        "fail"
    );
    world.now.wall = world.now.wall + Duration::from_secs(5);
    world.signal(
        Signal::DeviceComplianceChange { is_compliant: true },
        &device(),
    );
    assert_eq!(world.connector.verdict().trust_level(), TrustLevel::High);
}

#[test]
fn an_old_all_clear_does_not_lift_newer_news_not_even_after_a_restart() {
    let mut world = World::followed();
    world.signal(
        Signal::DeviceComplianceChange {
            is_compliant: false,
        },
        &device(),
    );
    let remembered = world.remembered.unwrap();
    assert!(!remembered.is_compliant);

    let mut restarted = World::default();
    restarted.feed(Event::SignalsRestored(remembered));
    restarted.enrol();
    restarted.now.wall = WallTime::from_unix_millis(world.now.wall.unix_millis() - 1);
    restarted.signal(
        Signal::DeviceComplianceChange { is_compliant: true },
        &device(),
    );

    assert_eq!(restarted.connector.verdict().trust_level(), TrustLevel::Low);
    assert!(!restarted.connector.verdict().unmet().is_empty());
    assert_eq!(restarted.remembered, None);
}

#[test]
fn silence_for_longer_than_the_lease_ends_everything_until_somebody_is_heard() {
    let mut world = World::followed();
    let permit = world.open(&wiki(80));

    world.sleep_measuring(LEASE - Duration::from_secs(1));
    assert!(world.decide(&wiki(80)).is_ok());
    world.sleep(Duration::from_secs(1));

    assert_eq!(
        world.access.review(&permit, world.now.moment),
        Err(Reason::SignalsSilent.into())
    );
    assert_eq!(world.decide(&wiki(80)), Err(Reason::SignalsSilent.into()));
    assert!(world.connector.session().is_some(), "nobody is signed out");
    world.feed(Event::SignalsHeard);
    let attempt = world.ask(&wiki(80));
    world.answer(attempt, yes());
    assert!(world.decide(&wiki(80)).is_ok());
}

#[test]
fn as_long_as_somebody_is_heard_nothing_ends() {
    let mut world = World::followed();
    let _ = world.open(&wiki(80));

    for _ in 0..20 {
        world.sleep_measuring(LEASE / 2);
        world.feed(Event::SignalsHeard);
        for attempt in std::mem::take(&mut world.evaluations) {
            world.answer(attempt, yes());
        }
    }

    assert!(world.decide(&wiki(80)).is_ok());
}

#[test]
fn without_a_transmitter_silence_means_nothing() {
    let mut world = World::signed_in();
    let _ = world.open(&wiki(80));

    world.sleep_measuring(LEASE * 2);

    assert!(world.connector.session().is_some());
    assert_eq!(world.access.closed(), None);
    assert_eq!(world.followed, None);
}

#[test]
fn another_version_with_the_same_transmitter_does_not_prolong_silence() {
    let mut world = World::followed();
    for version in 3..6 {
        world.sleep_measuring(LEASE / 3);
        world.feed(Event::ConfigurationAccepted(Box::new(following(version))));
    }
    world.sleep(Duration::from_secs(1));

    assert_eq!(world.access.closed(), Some(&Reason::SignalsSilent.into()));
}

#[test]
fn a_revocation_that_arrives_before_a_stored_sign_in_is_done_ends_it() {
    for (subject, is_ended) in [(alice(), true), (bob(), false)] {
        let mut world = World::default();
        world.feed(Event::ConfigurationAccepted(Box::new(following(1))));
        world.feed(Event::SignInRequested {
            method: SignInMethod::Stored,
            owner: Owner::Machine,
        });
        let attempt = world.sign_ins.pop().unwrap();

        world.signal(Signal::SessionRevoked, &subject);
        world.feed(Event::SessionOpened {
            attempt,
            session: session(world.now),
            signed_in_ago: Duration::ZERO,
            restored_from: None,
        });

        assert_eq!(world.connector.session().is_none(), is_ended, "{subject}");
        assert_eq!(world.forgotten, is_ended, "{subject}");
    }
}

#[test]
fn a_revocation_of_a_session_alone_ends_the_sign_in_that_is_restored_from_it() {
    for (id, is_ended) in [("s0", true), ("s1", true), ("s2", false)] {
        for is_early in [true, false] {
            let mut world = World::default();
            let attempt = world.restoring();

            if is_early {
                world.signal(Signal::SessionRevoked, &a_session(id));
                world.restored(attempt);
            } else {
                world.restored(attempt);
                world.signal(Signal::SessionRevoked, &a_session(id));
            }

            assert_eq!(world.connector.session().is_none(), is_ended, "{id}");
            assert_eq!(world.forgotten, is_ended, "{id}");
        }
    }
}

#[test]
fn a_revocation_outlives_a_restart_in_the_middle_of_restoring_a_sign_in() {
    for (subject, is_ended) in [
        (a_session("s0"), true),
        (a_session("s2"), false),
        (alice(), true),
        (bob(), false),
    ] {
        let mut before = World::default();
        let _never_answered = before.restoring();
        before.signal(Signal::SessionRevoked, &subject);

        let mut after = World::default();
        after.kept.clone_from(&before.kept);
        after.feed(Event::RevocationsRestored(before.kept));
        let attempt = after.restoring();
        after.restored(attempt);

        assert_eq!(after.connector.session().is_none(), is_ended, "{subject}");
        assert_eq!(after.forgotten, is_ended, "{subject}");
        assert!(after.kept.is_empty(), "it counts for one sign-in");
        if is_ended {
            let denial = after.access.closed().unwrap();
            assert_eq!(denial.message(), "Your laptop was lost");
        }
    }
}

#[test]
fn what_is_kept_of_a_revocation_goes_after_the_sign_in_that_it_ended() {
    let mut world = World::default();
    let attempt = world.restoring();
    world.signal(Signal::SessionRevoked, &a_session("s0"));
    assert_eq!(world.kept.len(), 1);

    let now = world.now;
    let opened = Event::SessionOpened {
        attempt,
        session: session(now),
        signed_in_ago: Duration::ZERO,
        restored_from: Some("s0".into()),
    };
    world.connector.handle_event(opened, now);

    let effects: Vec<Effect> = std::iter::from_fn(|| world.connector.poll_effect()).collect();
    let place = |wanted: &Effect| effects.iter().position(|effect| effect == wanted).unwrap();
    let forgotten = place(&Effect::ForgetSignIn);
    assert!(forgotten < place(&Effect::RememberRevocations(vec![])));
}

#[test]
fn a_person_who_signs_in_anew_is_not_held_to_what_was_kept_but_for_that_very_session() {
    for (subject, is_ended) in [
        (alice(), false),
        (a_session("s0"), false),
        (a_session("s1"), true),
    ] {
        let mut world = World::default();
        world.feed(Event::ConfigurationAccepted(Box::new(following(1))));
        world.signal(Signal::SessionRevoked, &subject);
        world.feed(Event::SignInRequested {
            method: SignInMethod::Browser,
            owner: Owner::Machine,
        });
        let attempt = world.sign_ins.pop().unwrap();

        world.feed(Event::SessionOpened {
            attempt,
            session: session(world.now),
            signed_in_ago: Duration::ZERO,
            restored_from: None,
        });

        assert_eq!(world.connector.session().is_none(), is_ended, "{subject}");
        assert!(world.kept.is_empty());
    }
}

#[test]
fn revocations_are_kept_up_to_a_number_and_an_age() {
    let mut world = World::default();
    for number in 0..100 {
        world.signal(Signal::SessionRevoked, &a_session(&format!("x{number}")));
        world.signal(Signal::SessionRevoked, &a_session("s0"));
    }
    assert_eq!(world.kept.len(), 64);
    let kept = std::mem::take(&mut world.kept);

    for (days, is_ended) in [(59, true), (61, false)] {
        let mut world = World::default();
        world.now.wall = world.now.wall + Duration::from_secs(days * 24 * 3600);
        let twice = kept.iter().chain(&kept).cloned().collect();
        world.feed(Event::RevocationsRestored(twice));
        let attempt = world.restoring();
        world.restored(attempt);

        assert_eq!(world.connector.session().is_none(), is_ended, "{days} days");
    }
}

#[test]
fn a_person_who_signs_in_anew_is_not_held_to_what_was_said_before() {
    let mut world = World::followed();
    world.signal(Signal::SessionRevoked, &alice());
    world.signal(Signal::SessionRevoked, &alice());

    world.feed(Event::SignInRequested {
        method: SignInMethod::Browser,
        owner: Owner::Machine,
    });
    let attempt = world.sign_ins.pop().unwrap();
    let session = session(world.now);
    world.feed(Event::SessionOpened {
        attempt,
        session,
        signed_in_ago: Duration::ZERO,
        restored_from: None,
    });

    assert!(world.connector.session().is_some());
}

#[test]
fn another_network_and_other_policies_are_reasons_to_decide_anew() {
    let mut world = World::signed_in();
    let _ = world.open(&wiki(80));

    for event in [
        Event::NetworkChanged(NetworkKind::Unknown),
        Event::PolicyChanged {
            commit: "c2".into(),
        },
    ] {
        world.feed(event);
        let attempt = world.take_evaluation();
        world.answer(attempt, yes());
    }

    assert!(world.decide(&wiki(80)).is_ok());
}

#[test]
fn in_another_network_nothing_ends_while_the_policy_is_out_of_reach() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));

    world.feed(Event::NetworkChanged(NetworkKind::Unknown));
    let attempt = world.take_evaluation();
    world.answer(attempt, Err(PdpFailure::Unreachable));
    world.sleep_measuring(Duration::from_secs(3));

    assert!(world.access.review(&permit, world.now.moment).is_ok());
    let attempt = world.evaluations.pop();
    assert_eq!(attempt, None, "asked again in its time, not in a loop");
}

impl World {
    /// A world whose configuration names a transmitter.
    fn followed() -> Self {
        let mut world = Self::signed_in();
        world.enrol();
        world.feed(Event::ConfigurationAccepted(Box::new(following(2))));
        assert_eq!(world.followed, Some(ISSUER.parse().unwrap()));
        world
    }

    /// Begins to restore a sign-in, as at a start.
    fn restoring(&mut self) -> Attempt {
        self.feed(Event::ConfigurationAccepted(Box::new(following(1))));
        self.feed(Event::SignInRequested {
            method: SignInMethod::Stored,
            owner: Owner::Machine,
        });
        self.sign_ins.pop().unwrap()
    }

    /// Opens the session `s1`, which goes on from `s0`.
    fn restored(&mut self, attempt: Attempt) {
        self.feed(Event::SessionOpened {
            attempt,
            session: session(self.now),
            signed_in_ago: Duration::ZERO,
            restored_from: Some("s0".into()),
        });
    }

    fn enrol(&mut self) {
        self.feed(Event::HostEnrolled("host-1".into()));
    }

    pub(super) fn signal(&mut self, signal: Signal, subject: &Value) {
        let event = SecurityEvent {
            id: EventId::parse("e").unwrap(),
            issued_at: self.now.wall,
            happened_at: self.now.wall,
            subject: Subject::for_tests(subject),
            signal,
            reason_user: Some("Your laptop was lost".into()),
        };
        self.feed(Event::SignalReceived(Box::new(event)));
    }
}

pub(super) fn following(version: u64) -> Configuration {
    Configuration {
        signals: Some(Signals {
            issuer: ISSUER.parse().unwrap(),
            lease: LEASE,
        }),
        ..configuration(version)
    }
}

pub(super) fn alice() -> Value {
    json!({"format": "iss_sub", "iss": "https://idp.corp.test", "sub": "alice"})
}

fn bob() -> Value {
    json!({"format": "iss_sub", "iss": "https://idp.corp.test", "sub": "bob"})
}

fn a_session(id: &str) -> Value {
    json!({"format": "complex", "session": {"format": "opaque", "id": id}})
}

pub(super) fn device() -> Value {
    json!({"format": "complex", "device": {"format": "opaque", "id": "host-1"}})
}

const ISSUER: &str = "https://signals.corp.test";

pub(super) const LEASE: Duration = Duration::from_secs(120);

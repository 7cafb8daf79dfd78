use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use serde_json::Value;

use crate::access::{Flow, Program, Reason, Workload};
use crate::audit::chain::{Chain, Link, LogId};
use crate::audit::seal::Cause;
use crate::audit::{
    DecidedBy, Matter, Outcome, Plea, PleaRecord, Pleading, ProtectionChange, ProtectionRecord,
    Record, Rejected, RejectionRecord, Repetition, Said, TrustEnd, TrustOutcome, TrustRecord,
};
use crate::catalogue::fixture::wiki;
use crate::configuration::Version;
use crate::connector::{SignalOutcome, SignalRecord};
use crate::identity::{Owner, Person, Session};
use crate::posture::Verdict;
use crate::signals::{EventId, SecurityEvent, Signal, Subject};
use crate::time::{Moment, WallTime};
use crate::trust::{Acting, Delegation, Elevation, PinnedProgram, Wish};

#[test]
fn every_kind_of_event_is_the_same_line_byte_by_byte_as_ever() {
    let matters = matters().into_iter();
    let written = matters.map(|matter| matter.to_ocsf(&link(), "0.1.0").to_string());
    let written: Vec<String> = written.chain(checkpoints()).collect();

    let expected: Vec<&str> = LINES.lines().collect();
    assert_eq!(written.len(), expected.len());
    for (written, expected) in written.iter().zip(expected) {
        // The members of a value are sorted unless another package wants them in their order.
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(*written, expected.to_string());
    }
}

fn matters() -> [Matter; 11] {
    let protection = |change, session: Option<Session>| {
        Matter::Protection(Box::new(ProtectionRecord {
            time: WallTime::from_unix_millis(1),
            change,
            host: session.is_some().then(|| "host-1".into()),
            session,
        }))
    };
    let plea = |answer, session| {
        Matter::Plea(Box::new(PleaRecord {
            time: WallTime::from_unix_millis(2),
            pleading: Pleading::Asked(Plea {
                resource: "payroll".into(),
                reason: "Pay day".into(),
                seconds: 60,
                answer,
            }),
            session,
            host: Some("host-1".into()),
        }))
    };
    [
        nobodys().into(),
        carols().into(),
        plea(Err("Nobody can approve this.".into()), Some(session())),
        plea(Ok(("request-7".into(), "pending".into())), None),
        protection(
            ProtectionChange::Paused {
                reason: Some("Hotel".into()),
                until: None,
            },
            Some(session()),
        ),
        protection(
            ProtectionChange::OverrideRefused {
                problem: "It is no code.".into(),
            },
            None,
        ),
        Matter::Signal(Box::new(signal())),
        rejection(
            Rejected::Policies {
                problem: "the policy head 3 is older than 4".into(),
            },
            1,
        ),
        rejection(
            Rejected::SecurityEvent {
                name: "jti-2".into(),
                error: "invalid_issuer".into(),
                problem: "it is from somebody else".into(),
            },
            7,
        ),
        trust(
            Wish::Elevate(Elevation {
                target: "carol".into(),
                reason: "Carol is ill".into(),
                evidence: BTreeSet::from(["ticket:4711".into()]),
                duration: Duration::from_secs(60),
            }),
            TrustOutcome::Granted {
                expires_at: WallTime::from_unix_millis(2000),
            },
        ),
        trust(
            Wish::Delegate(Delegation {
                program: PinnedProgram {
                    path: "/opt/agents/reader".into(),
                    sha256: "ab".into(),
                },
                scope: BTreeSet::from(["wiki".into()]),
                reason: None,
                duration: Duration::from_secs(60),
            }),
            TrustOutcome::Ended(TrustEnd::Revoked),
        ),
    ]
}

/// A refusal that has nothing but what every record has.
fn nobodys() -> Record {
    Record {
        time: WallTime::from_unix_millis(1000),
        flow: wiki(80),
        acting: Acting::Oneself,
        process: None,
        resource: None,
        outcome: Outcome::Denied(Reason::UnknownResource.into()),
        decided_by: DecidedBy::Local,
        latency: Duration::from_micros(5),
        session: None,
        host: None,
        verdict: Verdict::default(),
        network: crate::network::NetworkKind::Wireless,
        configuration: None,
        repetition: None,
    }
}

/// A permit that has all that a record can have.
fn carols() -> Record {
    let program = Program {
        path: "/usr/bin/curl".into(),
        user: Some(1000),
        sha256: Some("ab".into()),
        ancestors: vec!["/usr/bin/bash".into()],
    };
    Record {
        flow: Flow {
            workload: Workload::Known(Arc::new(program)),
            ..wiki(443)
        },
        process: Some(4711),
        outcome: Outcome::Permitted {
            lease: Duration::from_secs(60),
        },
        decided_by: DecidedBy::Pdp(Arc::new(said())),
        session: Some(Arc::new(session())),
        host: Some("host-1".into()),
        configuration: Some(Version(7)),
        repetition: Some(Repetition {
            count: 3,
            since: WallTime::from_unix_millis(900),
            is_mixed: true,
        }),
        ..nobodys()
    }
}

fn signal() -> SignalRecord {
    let subject = serde_json::json!({"format": "email", "email": "carol@corp.test"});
    SignalRecord {
        time: WallTime::from_unix_millis(3),
        event: SecurityEvent {
            id: EventId::parse("jti-1").unwrap(),
            issued_at: WallTime::from_unix_millis(2),
            happened_at: WallTime::from_unix_millis(1),
            subject: Subject::for_tests(&subject),
            signal: Signal::Other {
                event_type: "https://schemas.example/event-type/unheard-of".into(),
            },
            reason_user: Some("Ask the help desk.".into()),
        },
        outcome: SignalOutcome::Applied,
        session: Some(session()),
        host: Some("host-1".into()),
    }
}

fn rejection(rejected: Rejected, count: u64) -> Matter {
    Matter::Rejection(Box::new(RejectionRecord {
        time: WallTime::from_unix_millis(5),
        rejected,
        count,
        since: WallTime::from_unix_millis(4),
        host: Some("host-1".into()),
    }))
}

fn trust(wish: Wish, outcome: TrustOutcome) -> Matter {
    Matter::Trust(Box::new(TrustRecord {
        time: WallTime::from_unix_millis(4),
        id: "e-1".into(),
        wish: Arc::new(wish),
        outcome,
        said: Some(Arc::new(said())),
        session: session(),
        host: Some("host-1".into()),
        verdict: Verdict::default(),
    }))
}

fn checkpoints() -> impl Iterator<Item = String> {
    let key = SigningKey::from_bytes(&[1; 32]);
    [Cause::Due, Cause::Torn { bytes: 12 }]
        .map(|cause| {
            let mut chain = Chain::new(link(), "0.1.0");
            let time = WallTime::from_unix_millis(5);
            chain.seal(cause, 1, time, &key).unwrap().event.to_string()
        })
        .into_iter()
}

fn said() -> Said {
    Said {
        policy: Some("staff".into()),
        commit: Some("bafy".into()),
        ..Said::default()
    }
}

fn session() -> Session {
    let person = Person {
        issuer: "https://idp.corp.test".into(),
        subject: "carol".into(),
        name: None,
        email: Some("carol@corp.test".into()),
        groups: vec!["staff".into(), "support".into()],
    };
    Session {
        owner: Owner::Machine,
        id: "s1".into(),
        person: Arc::new(person),
        addresses: Arc::default(),
        expires_at: Moment::default(),
        expires_wall: WallTime::default(),
        assurance: None,
    }
}

fn link() -> Link {
    Link {
        sequence: 3,
        ..Link::first(LogId::from_random(&[7; 16]))
    }
}

const LINES: &str = include_str!("lines.jsonl");

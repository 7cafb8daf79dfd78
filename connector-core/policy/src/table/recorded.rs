//! Decisions of the log, put to another commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_core::time::WallTime;
use serde_json::Value;

use super::line::{RawAssurance, RawCase};
use super::{Case, Expected};
use crate::evaluation::DecisionPoint;
use crate::snapshot::Snapshot;

/// Takes records one by one, and finds what the policies of a commit would decide otherwise.
///
/// A record does not say the person's name for people.
#[derive(Debug)]
pub struct Replay {
    point: DecisionPoint,
    report: Replayed,
}

/// What came of the records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Decisions that were put to the policies.
    pub replayed: u64,
    /// Those of them that come out as they did.
    pub same: u64,
    /// Records that no policy decided, revocations, and what was only asked for.
    pub not_asked: u64,
    /// Records that lack something that policies rest on.
    pub incomplete: u64,
    /// What comes out otherwise.
    pub changes: BTreeMap<Change, Seen>,
    /// Decisions that come out otherwise in more ways than are kept apart.
    pub more: u64,
}

/// One way in which decisions come out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Who asked.
    pub person: Arc<str>,
    /// The resource's id.
    pub resource: String,
    /// The program, where it was known.
    pub program: Option<String>,
    /// Whether it was permitted.
    pub was_permitted: bool,
    /// The policies that decided.
    pub before: Option<Arc<str>>,
    /// The policies that would decide.
    pub after: Option<Arc<str>>,
}

/// How often, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// When first.
    pub first: WallTime,
    /// When last.
    pub last: WallTime,
}

impl Replay {
    /// Begins with nothing, for the policies of a commit.
    #[must_use]
    pub fn new(policies: &Arc<Snapshot>) -> Self {
        Self {
            point: DecisionPoint::new(Arc::clone(policies), None),
            report: Replayed::default(),
        }
    }

    /// Takes one record, as it is in the decision log.
    pub fn take(&mut self, event: &Value) {
        let case = match case(event) {
            Ok(case) => case,
            Err(Unfit::Incomplete) => {
                self.report.incomplete += 1;
                return;
            }
            Err(Unfit::NotAsked) => {
                self.report.not_asked += 1;
                return;
            }
        };
        self.report.replayed += 1;
        let found = self.point.decide(&case.request, &case.circumstances);
        if found.outcome.is_ok() == case.expected.permitted {
            self.report.same += 1;
            return;
        }
        self.report.note(&case, Expected::of(&found));
    }

    /// Returns what came of all of them.
    #[must_use]
    pub fn finish(self) -> Replayed {
        self.report
    }
}

impl Replayed {
    fn note(&mut self, case: &Case, found: Expected) {
        let request = &case.request;
        let change = Change {
            person: Arc::clone(&request.person.subject),
            resource: request.resource.id.to_string(),
            program: request.flow.workload.program().map(|it| it.path.clone()),
            was_permitted: case.expected.permitted,
            before: case.expected.policy.clone(),
            after: found.policy,
        };
        let time = request.time;
        if let Some(seen) = self.changes.get_mut(&change) {
            seen.count += 1;
            seen.first = seen.first.min(time);
            seen.last = seen.last.max(time);
        } else if self.changes.len() < MAX_CHANGES {
            let (count, first, last) = (1, time, time);
            self.changes.insert(change, Seen { count, first, last });
        } else {
            self.more += 1;
        }
    }
}

/// Why a record is not put to policies.
enum Unfit {
    Incomplete,
    NotAsked,
}

/// Reads a record as a request and what was decided.
fn case(event: &Value) -> Result<Case, Unfit> {
    let at = |pointer: &str| event.pointer(pointer);
    let text = |pointer: &str| at(pointer).and_then(Value::as_str).map(str::to_owned);
    let needed = |pointer: &str| text(pointer).ok_or(Unfit::Incomplete);

    let expect = match at("/authorizations/0/decision").and_then(Value::as_str) {
        Some("denied") => "deny",
        Some("permitted") => "permit",
        Some(_) | None => return Err(Unfit::NotAsked),
    };
    let hypothetical = at("/unmapped/hypothetical").is_some();
    if hypothetical || text("/unmapped/decided_by").as_deref() != Some("pdp") {
        return Err(Unfit::NotAsked);
    }
    let checks = at("/unmapped/checks").and_then(Value::as_object);
    let checks = checks.ok_or(Unfit::Incomplete)?.iter();
    let groups = at("/actor/user/groups").and_then(Value::as_array);
    let groups = groups.ok_or(Unfit::Incomplete)?.iter();
    let ancestors = at("/actor/process/ancestry").and_then(Value::as_array);
    let ancestors = ancestors.into_iter().flatten();
    let words = |value: &Value, member: &str| value[member].as_str().unwrap_or_default().to_owned();
    let port = at("/dst_endpoint/port").and_then(Value::as_u64);
    let millis = at("/time").and_then(Value::as_u64);
    let time = WallTime::from_unix_millis(millis.ok_or(Unfit::Incomplete)?);
    let raw = RawCase {
        person: needed("/actor/user/uid")?,
        issuer: needed("/actor/session/issuer")?,
        email: text("/actor/user/email_addr"),
        groups: groups.map(|group| words(group, "name")).collect(),
        session: text("/actor/session/uid"),
        device: text("/device/uid"),
        assurance: at("/unmapped/assurance").map(|assurance| RawAssurance {
            namespace: words(assurance, "namespace"),
            level: words(assurance, "level"),
        }),
        checks: Some(
            checks
                .map(|(id, finding)| (id.clone(), finding.as_str().unwrap_or_default().to_owned()))
                .collect(),
        ),
        resource: needed("/unmapped/resource")?,
        title: text("/unmapped/title"),
        site: Some(needed("/unmapped/site")?),
        host: text("/dst_endpoint/hostname").or_else(|| text("/dst_endpoint/ip")),
        protocol: Some(needed("/connection_info/protocol_name")?),
        port: port.and_then(|port| u16::try_from(port).ok()),
        program: text("/actor/process/file/path"),
        user: text("/actor/process/user/uid").and_then(|user| user.parse().ok()),
        sha256: text("/actor/process/file/hashes/0/value"),
        ancestors: ancestors.map(|program| words(program, "path")).collect(),
        time: Some(time.to_string()),
        network: text("/unmapped/network"),
        offline_for: at("/unmapped/offline_seconds").and_then(Value::as_u64),
        delegated: at("/unmapped/delegation").is_some(),
        acting_as: text("/unmapped/elevation/target"),
        expect: expect.to_owned(),
        policy: text("/authorizations/0/policy/uid"),
        ..RawCase::default()
    };
    if raw.host.is_none() {
        return Err(Unfit::Incomplete);
    }
    raw.parse(0).map_err(|_| Unfit::Incomplete)
}

/// Ways that are kept apart; a person reads no more.
const MAX_CHANGES: usize = 1000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use connector_core::audit::chain::{Link, LogId};
    use connector_core::audit::{DecidedBy, Outcome, Record, Said};
    use connector_core::identity::{Owner, Session};
    use connector_core::posture::Finding;
    use connector_core::time::Moment;

    use super::*;
    use crate::author;
    use crate::testing::Asked;

    const STAFF: &str = r#"@id("wiki") permit(principal in Group::"staff", action == Action::"connect",
        resource == Resource::"wiki") when { context.workload has path && context.workload.path == "/usr/bin/curl" }
        when { context has device && context.device.passed.contains("disk") && context.workload has ancestors && context.workload.ancestors.contains("/bin/sh") }
        when { context.time < datetime("2027-01-01T00:00:00Z") && context has assurance && context.assurance.level == "nist-aal2" }
        when { principal has email && principal.email == "ann@corp.test" && resource.title == "Wiki" && resource in Site::"hq" };"#;

    #[test]
    fn a_record_is_put_to_policies_with_all_that_they_rested_on() {
        let mut replay = Replay::new(&policies(STAFF));

        replay.take(&event(&asked(), true, Said::default()));

        let report = replay.finish();
        assert_eq!((report.replayed, report.same), (1, 1), "{report:?}");
    }

    #[test]
    fn a_decision_that_was_made_offline_is_put_as_one() {
        let lasting = format!("@offline(\"2h\") {STAFF}");
        for (policies_, silence, comes_out) in [
            (STAFF, 3600, false),
            (&*lasting, 3600, true),
            (&*lasting, 10_800, false),
        ] {
            let mut replay = Replay::new(&policies(policies_));
            let said = Said {
                silence: Some(Duration::from_secs(silence)),
                ..Said::default()
            };

            replay.take(&event(&asked(), true, said));

            let report = replay.finish();
            assert_eq!(report.replayed, 1, "{report:?}");
            assert_eq!(report.same == 1, comes_out, "{silence}: {report:?}");
        }
    }

    #[test]
    fn what_comes_out_otherwise_is_grouped_and_counted() {
        let narrowed = STAFF.replace("staff", "admins");
        let mut replay = Replay::new(&policies(&narrowed));
        let said = Said {
            policy: Some("wiki".into()),
            ..Said::default()
        };

        for _ in 0..3 {
            replay.take(&event(&asked(), true, said.clone()));
        }
        let failing = Asked {
            findings: vec![("disk", Finding::Fail)],
            ..asked()
        };
        replay.take(&event(&failing, false, Said::default()));

        let report = replay.finish();
        assert_eq!(
            (report.replayed, report.same, report.changes.len()),
            (4, 1, 1)
        );
        let (change, seen) = report.changes.first_key_value().unwrap();
        assert_eq!(seen.count, 3);
        assert!(change.was_permitted);
        assert_eq!(change.program.as_deref(), Some("/usr/bin/curl"));
        assert_eq!(
            (change.before.as_deref(), &change.after),
            (Some("wiki"), &None)
        );
    }

    #[test]
    fn what_no_policy_decided_and_what_lacks_something_is_counted_apart() {
        let mut replay = Replay::new(&policies(STAFF));
        let mut local = event(&asked(), false, Said::default());
        local["unmapped"]["decided_by"] = "local".into();
        let mut revoked = event(&asked(), false, Said::default());
        revoked["authorizations"][0]["decision"] = "revoked".into();
        let mut older = event(&asked(), false, Said::default());
        older["unmapped"].as_object_mut().unwrap().remove("checks");

        for record in [local, revoked, older, Value::Null, "nonsense".into()] {
            replay.take(&record);
        }

        let report = replay.finish();
        assert_eq!(
            (report.not_asked, report.incomplete, report.replayed),
            (4, 1, 0)
        );
    }

    fn asked() -> Asked {
        Asked {
            assured: true,
            ..Asked::default()
        }
    }

    fn event(asked: &Asked, permitted: bool, said: Said) -> Value {
        let request = asked.request();
        let record = Record {
            time: request.time,
            flow: request.flow.clone(),
            acting: request.acting.clone(),
            process: Some(1),
            resource: Some(Arc::clone(&request.resource)),
            outcome: if permitted {
                Outcome::Permitted {
                    lease: Duration::from_secs(300),
                }
            } else {
                Outcome::Denied(connector_core::access::Reason::PolicyDenied.into())
            },
            decided_by: DecidedBy::Pdp(Arc::new(said)),
            latency: Duration::ZERO,
            session: Some(Arc::new(Session {
                id: request.session.clone(),
                owner: Owner::Machine,
                person: Arc::clone(&request.person),
                addresses: Arc::default(),
                expires_at: Moment::default(),
                expires_wall: request.time,
                assurance: request.assurance.clone(),
            })),
            host: request.host.clone(),
            verdict: request.verdict.clone(),
            network: request.network,
            configuration: None,
            repetition: None,
        };
        let link = Link::first(LogId::from_random(&[7; 16]));
        record.to_ocsf(&link, "0.1.0")
    }

    fn policies(text: &str) -> Arc<Snapshot> {
        Arc::new(author::check([("test.cedar", text)]).unwrap())
    }
}

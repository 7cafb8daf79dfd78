//! What came of a consent or an elevation: OCSF 1.8 User Access Management.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Said;
use super::chain::Link;
use super::event::{USER_ACCESS, actor, device, metadata, user};
use crate::access::{Denial, Reason};
use crate::identity::{HostId, Session};
use crate::posture::Verdict;
use crate::time::WallTime;
use crate::trust::{TrustId, Wish};

/// What came of a consent or an elevation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRecord {
    /// When.
    pub time: WallTime,
    /// Names it.
    pub id: TrustId,
    /// What was wanted.
    pub wish: Arc<Wish>,
    /// What came of it.
    pub outcome: TrustOutcome,
    /// What the policy said that permitted or refused it.
    pub said: Option<Arc<Said>>,
    /// Who wanted it.
    pub session: Session,
    /// On which host.
    pub host: Option<HostId>,
    /// In which state the device was.
    pub verdict: Verdict,
}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustOutcome {
    /// It was in force, and no longer is.
    Ended(TrustEnd),
    /// It is in force.
    Granted {
        /// Until when, at the latest.
        expires_at: WallTime,
    },
    /// It does not come into force.
    Refused(Denial),
}

/// Why a consent or an elevation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustEnd {
    /// The policy was asked again, and does not permit it now.
    NoLongerPermitted(Denial),
    /// The person took it back.
    Revoked,
    /// The session ended.
    SessionOver,
    /// The service stopped.
    Stopped,
    /// Its time was over.
    TimeOver,
}

impl TrustRecord {
    /// Writes the record as an OCSF event; `link` names it within its log.
    #[must_use]
    pub fn to_ocsf(&self, link: &Link, product_version: &str) -> Value {
        let (word, code, detail) = self.outcome.words();
        let (activity, severity, status) = match &self.outcome {
            TrustOutcome::Ended(_) => (REVOKE_PRIVILEGES, 2, 1),
            TrustOutcome::Granted { .. } => (ASSIGN_PRIVILEGES, 2, 1),
            TrustOutcome::Refused(_) => (ASSIGN_PRIVILEGES, 3, 2),
        };
        let mut authorization = json!({"decision": word});
        if let Some(policy) = self.said.as_ref().and_then(|said| said.policy.as_ref()) {
            authorization["policy"] = json!({"uid": &**policy});
        }
        let mut actor = actor(&self.session);
        actor["authorizations"] = json!([authorization]);
        let mut event = json!({
            "class_uid": USER_ACCESS,
            "category_uid": USER_ACCESS / 1000,
            "activity_id": activity,
            "type_uid": USER_ACCESS * 100 + activity,
            "severity_id": severity,
            "time": self.time.unix_millis(),
            "status_id": status,
            "metadata": metadata(link, product_version, &[]),
            "actor": actor,
            "user": match &*self.wish {
                Wish::Delegate(_) => user(&self.session),
                Wish::Elevate(elevation) => json!({"uid": &*elevation.target}),
            },
            "privileges": self.privileges(),
            "unmapped": self.unmapped(link, word),
        });
        if let Some(code) = code {
            event["status_code"] = code.into();
        }
        if let Some(detail) = detail {
            event["status_detail"] = detail.into();
        }
        if let Some(host) = &self.host {
            event["device"] = device(host);
        }
        event
    }

    fn privileges(&self) -> Vec<String> {
        match &*self.wish {
            Wish::Delegate(delegation) => {
                let scope = delegation.scope.iter();
                scope
                    .map(|resource| format!("connect {resource}"))
                    .collect()
            }
            Wish::Elevate(elevation) => vec![format!("act as {}", elevation.target)],
        }
    }

    fn unmapped(&self, link: &Link, word: &str) -> Value {
        let mut trust = json!({
            "id": self.id.as_str(),
            "action": self.wish.action(),
            "outcome": word,
            "seconds": self.wish.duration().as_secs(),
        });
        match &*self.wish {
            Wish::Delegate(delegation) => {
                let scope = delegation.scope.iter().map(|resource| resource.as_str());
                trust["program"] = json!({
                    "path": delegation.program.path,
                    "sha256": delegation.program.sha256,
                });
                trust["scope"] = scope.collect();
                if let Some(reason) = &delegation.reason {
                    trust["reason"] = (&**reason).into();
                }
            }
            Wish::Elevate(elevation) => {
                trust["target"] = (&*elevation.target).into();
                trust["reason"] = (&*elevation.reason).into();
                trust["evidence"] = elevation.evidence.iter().map(|text| &**text).collect();
            }
        }
        if let TrustOutcome::Granted { expires_at } = &self.outcome {
            trust["expires_at"] = expires_at.unix_millis().into();
        }
        let mut unmapped = json!({
            "chain": link.to_json(),
            "trust": trust,
            "trust_level": self.verdict.trust_level().as_str(),
        });
        if let Some(said) = &self.said {
            said.describe(&mut unmapped);
        }
        unmapped
    }
}

impl TrustOutcome {
    /// Returns the outcome in a word, and why it is so as a token and as a sentence.
    fn words(&self) -> (&'static str, Option<&'static str>, Option<&str>) {
        let why = |denial: &Denial| denial.reason.code();
        match self {
            Self::Ended(end) => {
                let (code, detail) = match end {
                    TrustEnd::NoLongerPermitted(denial) => (why(denial), denial.message()),
                    TrustEnd::Revoked => ("revoked", "The person ended it."),
                    TrustEnd::SessionOver => {
                        (Reason::SessionExpired.code(), "The session is over.")
                    }
                    TrustEnd::Stopped => (Reason::Stopping.code(), "The service stopped."),
                    TrustEnd::TimeOver => ("time_over", "Its time is over."),
                };
                ("ended", Some(code), Some(detail))
            }
            Self::Granted { .. } => ("granted", None, None),
            Self::Refused(denial) => ("refused", Some(why(denial)), Some(denial.message())),
        }
    }
}

const ASSIGN_PRIVILEGES: u64 = 1;
const REVOKE_PRIVILEGES: u64 = 2;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::audit::chain::LogId;
    use crate::identity::{Owner, Person};
    use crate::time::Moment;
    use crate::trust::{Delegation, Elevation, PinnedProgram};

    #[test]
    fn a_granted_elevation_names_both_and_all_that_it_rests_on() {
        let event = record(elevation(), granted()).to_ocsf(&link(), "0.1.0");

        assert_eq!(event["type_uid"], 300_501);
        assert_eq!(event["actor"]["user"]["uid"], "dave");
        assert_eq!(event["user"]["uid"], "carol");
        let policy = &event["actor"]["authorizations"][0]["policy"]["uid"];
        assert_eq!(policy, "act-as-carol");
        let unmapped = &event["unmapped"];
        assert_eq!(unmapped["commit"], "bafy");
        assert_eq!(unmapped["trust"]["reason"], "Carol is ill");
        assert_eq!(unmapped["trust"]["evidence"], json!(["ticket:4711"]));
        assert_eq!(unmapped["trust"]["expires_at"], 2000);
        assert_eq!(unmapped["trust_level"], "low");
        assert!(
            event.get("authorizations").is_none(),
            "this is no decision about a connection"
        );
    }

    #[test]
    fn a_consent_is_written_with_the_programs_hash_and_a_refusal_with_its_reason() {
        let refused = TrustOutcome::Refused(Reason::PolicyDenied.into());
        let event = record(delegation(), refused).to_ocsf(&link(), "0.1.0");

        assert_eq!(event["status_id"], 2);
        assert_eq!(event["status_code"], "policy_denied");
        assert_eq!(event["unmapped"]["trust"]["program"]["sha256"], "ab");
        assert_eq!(event["privileges"], json!(["connect wiki"]));

        let ended = TrustOutcome::Ended(TrustEnd::Revoked);
        let event = record(delegation(), ended).to_ocsf(&link(), "0.1.0");

        assert_eq!(event["type_uid"], 300_502);
        assert_eq!(event["status_code"], "revoked");
    }

    fn elevation() -> Wish {
        Wish::Elevate(Elevation {
            target: "carol".into(),
            reason: "Carol is ill".into(),
            evidence: BTreeSet::from(["ticket:4711".into()]),
            duration: Duration::from_secs(60),
        })
    }

    fn delegation() -> Wish {
        Wish::Delegate(Delegation {
            program: PinnedProgram {
                path: "/opt/agents/reader".into(),
                sha256: "ab".into(),
            },
            scope: BTreeSet::from(["wiki".into()]),
            reason: None,
            duration: Duration::from_secs(60),
        })
    }

    fn granted() -> TrustOutcome {
        TrustOutcome::Granted {
            expires_at: WallTime::from_unix_millis(2000),
        }
    }

    fn record(wish: Wish, outcome: TrustOutcome) -> TrustRecord {
        let person = Person {
            issuer: "https://idp.corp.test".into(),
            subject: "dave".into(),
            name: None,
            email: None,
            groups: vec!["support".into()],
        };
        let said = Said {
            policy: Some("act-as-carol".into()),
            commit: Some("bafy".into()),
            ..Said::default()
        };
        TrustRecord {
            time: WallTime::from_unix_millis(1000),
            id: "e-1".into(),
            wish: Arc::new(wish),
            outcome,
            said: Some(Arc::new(said)),
            session: Session {
                owner: Owner::Machine,
                id: "s1".into(),
                person: Arc::new(person),
                addresses: Arc::default(),
                expires_at: Moment::default(),
                expires_wall: WallTime::default(),
                assurance: None,
            },
            host: None,
            verdict: Verdict::default(),
        }
    }

    fn link() -> Link {
        Link::first(LogId::from_random(&[7; 16]))
    }
}

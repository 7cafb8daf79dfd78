//! That a person asked for access: OCSF 1.8 User Access Management.

use std::sync::Arc;

use serde_json::{Value, json};

use super::chain::Link;
use super::{product, user};
use crate::catalogue::ResourceId;
use crate::identity::{HostId, Session};
use crate::time::WallTime;

/// A request for access, and what the control plane said to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plea {
    /// What for.
    pub resource: ResourceId,
    /// Why, in the person's words.
    pub reason: Arc<str>,
    /// For how many seconds.
    pub seconds: u64,
    /// The request's id and its state in a word, or why it was not taken.
    pub answer: Result<(Arc<str>, Arc<str>), Arc<str>>,
}

/// A request for access, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PleaRecord {
    /// When.
    pub time: WallTime,
    /// What was asked for.
    pub plea: Plea,
    /// Who asked.
    pub session: Option<Session>,
    /// On which host.
    pub host: Option<HostId>,
}

impl PleaRecord {
    /// Writes the record as an OCSF event; `link` names it within its log.
    #[must_use]
    pub fn to_ocsf(&self, link: &Link, product_version: &str) -> Value {
        let plea = &self.plea;
        let (severity, status) = if plea.answer.is_ok() { (1, 1) } else { (2, 2) };
        let mut request = json!({
            "resource": plea.resource.as_str(),
            "reason": &*plea.reason,
            "seconds": plea.seconds,
        });
        if let Ok((id, state)) = &plea.answer {
            request["id"] = (&**id).into();
            request["state"] = (&**state).into();
        }
        let mut event = json!({
            "class_uid": USER_ACCESS,
            "category_uid": USER_ACCESS / 1000,
            "activity_id": OTHER,
            "activity_name": "Request access",
            "type_uid": USER_ACCESS * 100 + OTHER,
            "severity_id": severity,
            "time": self.time.unix_millis(),
            "status_id": status,
            "metadata": {
                "version": "1.8.0",
                "product": product(product_version),
                "sequence": link.sequence,
                "uid": link.sequence.to_string(),
            },
            "privileges": [format!("connect {}", plea.resource)],
            "unmapped": {"chain": link.to_json(), "access_request": request},
        });
        if let Err(problem) = &plea.answer {
            event["status_detail"] = (&**problem).into();
        }
        if let Some(session) = &self.session {
            event["user"] = user(session);
            event["actor"] = json!({
                "user": user(session),
                "session": {"uid": session.id.as_str(), "issuer": &*session.person.issuer},
            });
        }
        if let Some(host) = &self.host {
            event["device"] = json!({"uid": host.as_str(), "type_id": 0});
        }
        event
    }
}

const USER_ACCESS: u64 = 3005;
const OTHER: u64 = 99;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::LogId;

    #[test]
    fn a_request_is_written_with_its_id_or_with_why_it_was_not_taken() {
        let taken = record(Ok(("request-7".into(), "pending".into())));
        assert_eq!(taken["unmapped"]["access_request"]["id"], "request-7");
        assert_eq!(taken["unmapped"]["access_request"]["state"], "pending");
        assert_eq!(taken["status_id"], 1);

        let refused = record(Err("Nobody can approve this.".into()));
        assert_eq!(refused["status_detail"], "Nobody can approve this.");
        assert_eq!(refused["status_id"], 2);
        assert!(refused["unmapped"]["access_request"].get("id").is_none());
    }

    fn record(answer: Result<(Arc<str>, Arc<str>), Arc<str>>) -> Value {
        let record = PleaRecord {
            time: WallTime::from_unix_millis(1),
            plea: Plea {
                resource: "payroll".into(),
                reason: "Pay day".into(),
                seconds: 60,
                answer,
            },
            session: None,
            host: None,
        };
        let link = Link::first(LogId::from_random(&[7; 16]));
        record.to_ocsf(&link, "0.1.0")
    }
}

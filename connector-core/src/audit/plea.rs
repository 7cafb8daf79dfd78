//! That a person asked for access, and what became of it: OCSF 1.8 User Access Management.

use std::sync::Arc;

use serde_json::{Value, json};

use super::chain::Link;
use super::event::{OTHER, USER_ACCESS, metadata, user, who_and_where};
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

/// What became of a request for access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The request's id.
    pub id: Arc<str>,
    /// What it is for.
    pub resource: ResourceId,
    /// Its state in a word: approved, denied or expired.
    pub state: Arc<str>,
    /// Who can approve it, as the control plane names them.
    pub approver: Option<Arc<str>>,
    /// When what was approved ends, or has ended.
    pub until: Option<WallTime>,
}

/// What there is to write down of requests for access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pleading {
    /// The person asked.
    Asked(Plea),
    /// What they asked for was approved or denied, or has lapsed.
    Settled(Settlement),
}

/// A request for access, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PleaRecord {
    /// When.
    pub time: WallTime,
    /// What was asked for, or became of it.
    pub pleading: Pleading,
    /// Who is signed in.
    pub session: Option<Session>,
    /// On which host.
    pub host: Option<HostId>,
}

impl PleaRecord {
    /// Writes the record as an OCSF event; `link` names it within its log.
    #[must_use]
    pub fn to_ocsf(&self, link: &Link, product_version: &str) -> Value {
        let (activity, resource, request, problem) = match &self.pleading {
            Pleading::Asked(plea) => {
                let problem = plea.answer.as_ref().err();
                ("Request access", &plea.resource, plea.to_json(), problem)
            }
            Pleading::Settled(settled) => {
                let what = "Settle a request for access";
                (what, &settled.resource, settled.to_json(), None)
            }
        };
        let (severity, status) = if problem.is_none() { (1, 1) } else { (2, 2) };
        let mut event = json!({
            "class_uid": USER_ACCESS,
            "category_uid": USER_ACCESS / 1000,
            "activity_id": OTHER,
            "activity_name": activity,
            "type_uid": USER_ACCESS * 100 + OTHER,
            "severity_id": severity,
            "time": self.time.unix_millis(),
            "status_id": status,
            "metadata": metadata(link, product_version, &[]),
            "privileges": [format!("connect {resource}")],
            "unmapped": {"chain": link.to_json(), "access_request": request},
        });
        if let Some(problem) = problem {
            event["status_detail"] = (&**problem).into();
        }
        if let Some(session) = &self.session {
            event["user"] = user(session);
        }
        who_and_where(&mut event, self.session.as_ref(), self.host.as_ref());
        event
    }
}

impl Plea {
    fn to_json(&self) -> Value {
        let mut request = json!({
            "resource": self.resource.as_str(),
            "reason": &*self.reason,
            "seconds": self.seconds,
        });
        if let Ok((id, state)) = &self.answer {
            request["id"] = (&**id).into();
            request["state"] = (&**state).into();
        }
        request
    }
}

impl Settlement {
    fn to_json(&self) -> Value {
        let mut request = json!({
            "id": &*self.id,
            "resource": self.resource.as_str(),
            "state": &*self.state,
        });
        if let Some(approver) = &self.approver {
            request["approver"] = (&**approver).into();
        }
        if let Some(until) = self.until {
            request["until"] = until.unix_millis().into();
        }
        request
    }
}

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

    #[test]
    fn what_became_of_a_request_is_written_with_its_approver_and_until_when() {
        let settlement = Settlement {
            id: "request-7".into(),
            resource: "payroll".into(),
            state: "approved".into(),
            approver: Some("bob".into()),
            until: Some(WallTime::from_unix_millis(60_000)),
        };

        let approved = written(Pleading::Settled(settlement));

        let expected = json!({"id": "request-7", "resource": "payroll", "state": "approved",
            "approver": "bob", "until": 60_000});
        assert_eq!(approved["unmapped"]["access_request"], expected);
        assert_eq!(approved["activity_name"], "Settle a request for access");
        assert_eq!(approved["privileges"], json!(["connect payroll"]));
    }

    fn record(answer: Result<(Arc<str>, Arc<str>), Arc<str>>) -> Value {
        written(Pleading::Asked(Plea {
            resource: "payroll".into(),
            reason: "Pay day".into(),
            seconds: 60,
            answer,
        }))
    }

    fn written(pleading: Pleading) -> Value {
        let record = PleaRecord {
            time: WallTime::from_unix_millis(1),
            pleading,
            session: None,
            host: None,
        };
        let link = Link::first(LogId::from_random(&[7; 16]));
        record.to_ocsf(&link, "0.1.0")
    }
}

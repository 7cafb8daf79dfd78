//! The policy's question and answer on the wire: OpenID AuthZEN Authorization API 1.0.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::access::{Denial, Destination, Reason, Workload};
use crate::catalogue::Resource;
use crate::identity::{HostId, Person, SessionId};
use crate::posture::Verdict;
use crate::time::WallTime;

/// Everything that a decision is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRequest {
    /// Who asks.
    pub person: Arc<Person>,
    /// In which session.
    pub session: SessionId,
    /// From which host.
    pub host: Option<HostId>,
    /// In which state.
    pub verdict: Verdict,
    /// For what, through which program.
    pub flow: crate::access::Flow,
    /// The resource that this belongs to.
    pub resource: Arc<Resource>,
    /// When.
    pub time: WallTime,
}

impl AccessRequest {
    /// Writes the request as an evaluation (§6.1).
    ///
    /// What policies rest on is in the subject's and the resource's properties,
    /// since not every decision point shows the context to its policies.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "subject": {
                "type": "user",
                "id": &*self.person.subject,
                "properties": self.subject_properties(),
            },
            "action": {
                "name": "connect",
                "properties": {"protocol": self.flow.protocol.transport()},
            },
            "resource": {
                "type": "application",
                "id": self.resource.id.as_str(),
                "properties": self.resource_properties(),
            },
            "context": {
                "time": self.time.to_string(),
                "session_id": self.session.as_str(),
                "posture": {"trust_level": self.verdict.trust_level().as_str()},
            },
        })
    }

    fn resource_properties(&self) -> Value {
        let host = match &self.flow.destination {
            Destination::Address(address) => address.to_string(),
            Destination::Name(name) => name.to_string(),
        };
        let mut properties = Map::new();
        properties.insert("host".into(), host.into());
        if let Some(port) = self.flow.protocol.port() {
            properties.insert("port".into(), port.into());
        }
        properties.insert("site".into(), self.resource.site.as_str().into());
        properties.into()
    }

    fn subject_properties(&self) -> Value {
        let mut device = Map::new();
        if let Some(host) = &self.host {
            device.insert("id".into(), host.as_str().into());
        }
        device.insert(
            "trust_level".into(),
            self.verdict.trust_level().as_str().into(),
        );
        let posture: Map<String, Value> = self
            .verdict
            .findings()
            .map(|(check, finding)| (check.to_string(), finding.as_str().into()))
            .collect();
        device.insert("posture".into(), posture.into());

        let mut properties = Map::new();
        properties.insert("issuer".into(), (&*self.person.issuer).into());
        if let Some(email) = &self.person.email {
            properties.insert("email".into(), (&**email).into());
        }
        let groups: Vec<Value> = self
            .person
            .groups
            .iter()
            .map(|group| (&**group).into())
            .collect();
        properties.insert("groups".into(), groups.into());
        properties.insert("device".into(), device.into());
        properties.insert("workload".into(), self.workload());
        properties.into()
    }

    fn workload(&self) -> Value {
        let Workload::Known(program) = &self.flow.workload else {
            return json!({"known": false});
        };
        let mut workload = Map::new();
        workload.insert("known".into(), true.into());
        workload.insert("path".into(), program.path.as_str().into());
        if let Some(user) = program.user {
            workload.insert("user".into(), user.into());
        }
        if let Some(sha256) = &program.sha256 {
            workload.insert("sha256".into(), sha256.as_str().into());
        }
        workload.insert("ancestors".into(), program.ancestors.clone().into());
        workload.into()
    }
}

/// What the policy said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Permitted, or why not.
    pub outcome: Result<(), Denial>,
    /// The policy that decided, if the answer names it.
    pub policy: Option<Arc<str>>,
}

/// Reads the answer to an evaluation (§6.2). What cannot be read, or obliges
/// the connector to something that it does not know, is no permission.
///
/// # Errors
///
/// [`Malformed`] if the body is no decision.
pub fn parse_decision(body: &[u8]) -> Result<Decision, Malformed> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| Malformed {
        problem: error.to_string(),
    })?;
    let context = answer.context.unwrap_or_default();

    let obliged = context
        .get("obligations")
        .is_some_and(|obligations| obligations.as_array().is_none_or(|list| !list.is_empty()));
    if answer.decision && obliged {
        return Err(Malformed {
            problem: "the permission carries obligations, which this version cannot fulfil".into(),
        });
    }

    let policy = text(&context, "policy");
    if answer.decision {
        return Ok(Decision {
            outcome: Ok(()),
            policy,
        });
    }
    let reason = match context.get("code").and_then(Value::as_str) {
        Some("posture_unmet") => Reason::PostureUnmet,
        Some(_) | None => Reason::PolicyDenied,
    };
    let explanation = reason_for_user(&context);
    Ok(Decision {
        outcome: Err(Denial {
            reason,
            explanation,
        }),
        policy,
    })
}

/// An answer that is no decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy server's answer is no decision: {problem}")]
pub struct Malformed {
    problem: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    decision: bool,
    context: Option<Map<String, Value>>,
}

/// Takes `reason_user` as a text, or as an object of texts keyed by code (§5.5.1).
fn reason_for_user(context: &Map<String, Value>) -> Option<Arc<str>> {
    let reason = match context.get("reason_user")? {
        Value::String(reason) => Some(reason),
        Value::Object(reasons) => reasons.values().find_map(|reason| match reason {
            Value::String(reason) => Some(reason),
            Value::Object(_)
            | Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_) => None,
        }),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => None,
    };
    reason.map(|reason| printable(reason))
}

fn text(context: &Map<String, Value>, member: &str) -> Option<Arc<str>> {
    context.get(member)?.as_str().map(printable)
}

/// Keeps what can be shown on one line, so that an answer can neither flood
/// nor forge what people read.
fn printable(text: &str) -> Arc<str> {
    text.chars()
        .filter(|character| !character.is_control())
        .take(MAX_TEXT)
        .collect::<String>()
        .into()
}

/// The longest explanation that is shown.
const MAX_TEXT: usize = 500;

/// The longest answer that is read.
pub const MAX_ANSWER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Flow, Program, Protocol};
    use crate::catalogue::Lookup;
    use crate::catalogue::fixture::{catalogue, wiki};

    #[test]
    fn a_ping_is_asked_about_without_a_port_and_with_its_program() {
        let program = Program {
            path: "/usr/bin/ping".into(),
            user: Some(1000),
            sha256: None,
            ancestors: vec!["/usr/bin/bash".into()],
        };
        let catalogue = catalogue();
        let Lookup::Offered(resource) = catalogue.lookup(&wiki(80)) else {
            panic!("the wiki is offered");
        };
        let request = AccessRequest {
            person: Arc::new(Person {
                issuer: "https://id.corp.test".into(),
                subject: "ann".into(),
                email: None,
                name: None,
                groups: vec![],
            }),
            session: SessionId::from("s"),
            host: None,
            verdict: Verdict::default(),
            flow: Flow {
                protocol: Protocol::IcmpEcho,
                workload: Workload::Known(Arc::new(program)),
                ..wiki(80)
            },
            resource: Arc::clone(resource),
            time: WallTime::from_unix_millis(0),
        };

        let asked = request.to_json();

        assert_eq!(asked["action"]["properties"]["protocol"], "icmp");
        assert_eq!(asked["resource"]["properties"]["host"], "wiki.corp.test");
        assert!(asked["resource"]["properties"].get("port").is_none());
        let workload = &asked["subject"]["properties"]["workload"];
        assert_eq!(workload["path"], "/usr/bin/ping");
        assert_eq!(workload["ancestors"], json!(["/usr/bin/bash"]));
    }

    #[test]
    fn a_bare_permission_is_understood() {
        let decision = parse_decision(br#"{"decision":true}"#).unwrap();

        assert_eq!(decision.outcome, Ok(()));
        assert_eq!(decision.policy, None);
    }

    #[test]
    fn a_denial_tells_the_person_why_in_any_form_that_is_in_use() {
        for (context, explanation) in [
            ("", None),
            (r#","context":{"reason_user":"no"}"#, Some("no")),
            (r#","context":{"reason_user":{"403":"no"}}"#, Some("no")),
            (
                r#","context":{"reason_user":{"en":{"x":1},"fr":"non"}}"#,
                Some("non"),
            ),
            (r#","context":{"reason_user":[1]}"#, None),
            (
                r#","context":{"reason_user":"a\u001b[31m\nb"}"#,
                Some("a[31mb"),
            ),
        ] {
            let body = format!(r#"{{"decision":false{context}}}"#);

            let decision = parse_decision(body.as_bytes()).unwrap();

            let denial = decision.outcome.unwrap_err();
            assert_eq!(denial.reason, Reason::PolicyDenied);
            assert_eq!(denial.explanation.as_deref(), explanation);
        }
    }

    #[test]
    fn a_denial_for_posture_is_told_apart() {
        let body = br#"{"decision":false,"context":{"code":"posture_unmet","policy":"staff"}}"#;

        let decision = parse_decision(body).unwrap();

        assert_eq!(decision.outcome.unwrap_err().reason, Reason::PostureUnmet);
        assert_eq!(decision.policy.as_deref(), Some("staff"));
    }

    #[test]
    fn what_is_no_decision_permits_nothing() {
        for body in [
            "",
            "null",
            "true",
            "[]",
            "{}",
            "<html>",
            r#"{"decision":"true"}"#,
            r#"{"decision":1}"#,
            r#"{"decision":null}"#,
            r#"{"decision":true"#,
            r#"{"Decision":true}"#,
            r#"{"decision":true,"context":1}"#,
            r#"{"decision":true,"decision":true}"#,
            r#"{"decision":true,"context":{"obligations":[{"type":"step-up"}]}}"#,
            r#"{"decision":true,"context":{"obligations":"x"}}"#,
            &format!("{}true", "[".repeat(100_000)),
        ] {
            assert!(parse_decision(body.as_bytes()).is_err(), "{:.80}", body);
        }
    }
}

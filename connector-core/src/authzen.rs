//! The policy's question and answer on the wire: OpenID AuthZEN Authorization API 1.0.

mod evaluations;
mod metadata;
mod strict;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::access::{Denial, Destination, Reason};
use crate::catalogue::Resource;
use crate::identity::{Assurance, HostId, Person, SessionId};
use crate::network::NetworkKind;
use crate::posture::Verdict;
use crate::time::WallTime;
use crate::trust::Acting;

pub use self::evaluations::{Unanswered, evaluations, parse_evaluations};
pub use self::metadata::{Endpoints, metadata_url};

/// Everything that a decision is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRequest {
    /// Who asks.
    pub person: Arc<Person>,
    /// In which session.
    pub session: SessionId,
    /// How sure the identity provider is of the person, where it has said so.
    pub assurance: Option<Arc<Assurance>>,
    /// From which host.
    pub host: Option<HostId>,
    /// In which state.
    pub verdict: Verdict,
    /// For what, through which program.
    pub flow: crate::access::Flow,
    /// In whose name, beside the person.
    pub acting: Acting,
    /// The resource that this belongs to.
    pub resource: Arc<Resource>,
    /// From which kind of network; a policy server is not told.
    pub network: NetworkKind,
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
        let mut request = json!({
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
        });
        if let Some(assurance) = &self.assurance {
            request["context"]["assurance"] = json!({
                "namespace": &*assurance.namespace,
                "level": &*assurance.level,
            });
        }
        request
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
        let Some(program) = self.flow.workload.program() else {
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
    /// Which server answered, as its kind and its URL; none if no server was asked.
    pub answered_by: Option<Arc<str>>,
    /// The version of the policies, if the answer names it.
    pub commit: Option<Arc<str>>,
    /// How long the answer may be relied on, if the policy has a say in it.
    pub lease: Option<Duration>,
    /// How long a permission still counts without the control plane; absent is not at all.
    pub offline: Option<Duration>,
    /// How long the control plane had been silent, where the answer counts that.
    pub silence: Option<Duration>,
    /// When time alone may change the answer.
    pub valid_until: Option<WallTime>,
    /// What the policy wants the administrator to read.
    pub reason_admin: Option<Arc<str>>,
    /// How the person could get access.
    pub access: Access,
    /// The request for access that it rests on, if it does.
    pub granted: Option<Granted>,
    /// What a candidate for the policies in force says, if it does not agree.
    pub difference: Option<Arc<Difference>>,
}

/// Two commits of policies that do not agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// What the policies in force say.
    pub active: Opinion,
    /// What the candidate says, which does not count.
    pub candidate: Opinion,
}

/// What the policies of one commit say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opinion {
    /// Whether they permit.
    pub permitted: bool,
    /// The policies that decide.
    pub policy: Option<Arc<str>>,
    /// The commit.
    pub commit: Option<Arc<str>>,
}

impl From<&Decision> for Opinion {
    fn from(decision: &Decision) -> Self {
        Self {
            permitted: decision.outcome.is_ok(),
            policy: decision.policy.clone(),
            commit: decision.commit.clone(),
        }
    }
}

impl Decision {
    /// Returns a permission without anything else.
    #[must_use]
    pub fn permitted() -> Self {
        Self {
            outcome: Ok(()),
            policy: None,
            answered_by: None,
            commit: None,
            lease: None,
            offline: None,
            silence: None,
            valid_until: None,
            reason_admin: None,
            access: Access::default(),
            granted: None,
            difference: None,
        }
    }

    /// Returns a refusal without anything else.
    #[must_use]
    pub fn denied(denial: Denial) -> Self {
        Self {
            outcome: Err(denial),
            ..Self::permitted()
        }
    }
}

/// How a person who was refused could get access.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// What the person can do themselves, as a sentence.
    pub remedy: Option<Arc<str>>,
    /// Who can approve a request for access.
    pub requestable: Option<Arc<str>>,
    /// How to sign in again so that it would be enough.
    pub step_up: Option<StepUp>,
}

/// A request for access that was approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Names the request.
    pub request: Arc<str>,
    /// Why the person asked, if the answer says.
    pub reason: Option<Arc<str>>,
}

/// A stronger way of signing in (RFC 9470 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUp {
    /// The authentication contexts, of which one is needed, separated by blanks.
    pub acr_values: Option<Arc<str>>,
    /// How long ago the person may have signed in at most.
    pub max_age: Option<Duration>,
}

/// Reads the answer to an evaluation (§6.2). What cannot be read, or obliges
/// the connector to something that it does not know, is no permission.
///
/// # Errors
///
/// [`Malformed`] if the body is no decision.
pub fn parse_decision(body: &[u8]) -> Result<Decision, Malformed> {
    decision_of(strict::parse(body)?)
}

fn decision_of(answer: Value) -> Result<Decision, Malformed> {
    // Serde would take an array for the members in their order.
    if !answer.is_object() {
        return Err(Malformed::new("it is no object"));
    }
    let answer: Answer =
        serde_json::from_value(answer).map_err(|error| Malformed::new(error.to_string()))?;
    let context = answer.context.unwrap_or_default();

    let obliged = context
        .get("obligations")
        .is_some_and(|obligations| obligations.as_array().is_none_or(|list| !list.is_empty()));
    if answer.decision && obliged {
        return Err(Malformed::new(
            "the permission carries obligations, which this version cannot fulfil",
        ));
    }

    let valid_until = seconds(&context, "valid_until")?.map(|since_1970| {
        let epoch = WallTime::from_unix_millis(0);
        epoch + since_1970
    });
    let described = Decision {
        policy: text(&context, "policy"),
        commit: text(&context, "commit"),
        lease: seconds(&context, "lease")?,
        offline: seconds(&context, "offline")?,
        valid_until,
        reason_admin: reason(&context, "reason_admin"),
        access: Access {
            remedy: text(&context, "remedy"),
            requestable: text(&context, "requestable"),
            step_up: step_up(&context),
        },
        granted: granted(&context),
        ..Decision::permitted()
    };
    if answer.decision {
        return Ok(described);
    }
    let code = match context.get("code").and_then(Value::as_str) {
        Some("posture_unmet") => Reason::PostureUnmet,
        Some(_) | None => Reason::PolicyDenied,
    };
    let denial = Denial {
        reason: code,
        explanation: reason(&context, "reason_user"),
    };
    Ok(Decision {
        outcome: Err(denial),
        ..described
    })
}

/// An answer that is no decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy server's answer is no decision: {problem}")]
pub struct Malformed {
    problem: Arc<str>,
}

impl Malformed {
    fn new(problem: impl AsRef<str>) -> Self {
        Self {
            problem: printable(problem.as_ref()),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    decision: bool,
    context: Option<Map<String, Value>>,
}

/// Takes a reason as a text, or as an object of texts keyed by code (§5.5.1).
fn reason(context: &Map<String, Value>, member: &str) -> Option<Arc<str>> {
    let reason = match context.get(member)? {
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

/// Takes a number of seconds. What limits a permission and cannot be read must
/// not be left out.
fn seconds(context: &Map<String, Value>, member: &str) -> Result<Option<Duration>, Malformed> {
    match context.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .map(|seconds| Some(Duration::from_secs(seconds)))
            .ok_or_else(|| Malformed::new(format!("its {member} is no whole number of seconds"))),
    }
}

fn granted(context: &Map<String, Value>) -> Option<Granted> {
    let request = context.get("request")?.as_object()?;
    Some(Granted {
        request: text(request, "id")?,
        reason: text(request, "reason"),
    })
}

/// Takes a way to step up as an object with RFC 9470's members, or as its
/// `acr_values` alone.
fn step_up(context: &Map<String, Value>) -> Option<StepUp> {
    let step_up = match context.get("step_up")? {
        Value::String(values) => StepUp {
            acr_values: Some(printable(values)),
            max_age: None,
        },
        Value::Object(members) => StepUp {
            acr_values: text(members, "acr_values"),
            max_age: members
                .get("max_age")
                .and_then(Value::as_u64)
                .map(Duration::from_secs),
        },
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => return None,
    };
    (step_up.acr_values.is_some() || step_up.max_age.is_some()).then_some(step_up)
}

/// Keeps what can be shown on one line, so that an answer can neither flood
/// nor forge what people read.
#[must_use]
pub fn printable(text: &str) -> Arc<str> {
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
    use crate::access::{Flow, Program, Protocol, Workload};
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
            assurance: None,
            host: None,
            verdict: Verdict::default(),
            network: NetworkKind::Unknown,
            flow: Flow {
                protocol: Protocol::IcmpEcho,
                workload: Workload::Known(Arc::new(program)),
                ..wiki(80)
            },
            acting: Acting::Oneself,
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
    fn an_answer_may_limit_a_permission_and_say_how_to_get_one() {
        let permission = parse_decision(
            br#"{"decision":true,"context":{"lease":60,"offline":7200,"valid_until":1700000000,"commit":"bafy"}}"#,
        )
        .unwrap();
        assert_eq!(permission.lease, Some(Duration::from_secs(60)));
        assert_eq!(permission.offline, Some(Duration::from_secs(7200)));
        let until = WallTime::from_unix_millis(1_700_000_000_000);
        assert_eq!(permission.valid_until, Some(until));
        assert_eq!(permission.commit.as_deref(), Some("bafy"));

        let refusal = parse_decision(
            br#"{"decision":false,"context":{"remedy":"do","requestable":"leads",
                "reason_admin":{"en":"x"},"step_up":{"acr_values":"mfa","max_age":300}}}"#,
        )
        .unwrap();
        assert_eq!(refusal.reason_admin.as_deref(), Some("x"));
        assert_eq!(refusal.access.remedy.as_deref(), Some("do"));
        assert_eq!(refusal.access.requestable.as_deref(), Some("leads"));
        let step_up = refusal.access.step_up.unwrap();
        assert_eq!(step_up.acr_values.as_deref(), Some("mfa"));
        assert_eq!(step_up.max_age, Some(Duration::from_secs(300)));
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
            "[true]",
            "[true,null]",
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
            r#"{"decision":true,"context":{"lease":"60"}}"#,
            r#"{"decision":true,"context":{"lease":-1}}"#,
            r#"{"decision":true,"context":{"valid_until":1.5}}"#,
            r#"{"decision":true,"context":{"obligations":["x"],"obligations":[]}}"#,
            &format!("{}true", "[".repeat(100_000)),
        ] {
            assert!(parse_decision(body.as_bytes()).is_err(), "{:.80}", body);
        }
    }
}

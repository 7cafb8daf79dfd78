//! What was decided, as it is written down: OCSF 1.8 Network Activity with the
//! security-control profile, in a chain that cannot be quietly edited.

pub mod chain;
mod event;
mod matter;
mod plea;
mod protection;
mod rejection;
pub mod seal;
mod signal;
mod trust;
pub mod verification;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

pub use self::matter::Matter;
pub use self::plea::{Plea, PleaRecord, Pleading, Settlement};
pub use self::protection::{ProtectionChange, ProtectionRecord, ResumedBy};
pub use self::rejection::{Rejected, RejectionRecord};
pub use self::trust::{TrustEnd, TrustOutcome, TrustRecord};

use self::chain::Link;
use self::event::{OTHER, actor, device, metadata};
use crate::access::{Denial, Destination, Flow, Reason, Workload};
use crate::authzen::{Access, Decision, Difference, Granted, Opinion};
use crate::catalogue::{Resource, ResourceId};
use crate::configuration::Version;
use crate::identity::{HostId, Session};
use crate::network::NetworkKind;
use crate::posture::Verdict;
use crate::time::WallTime;
use crate::trust::Acting;

/// One decision, written down before anything comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was made.
    pub time: WallTime,
    /// What was asked for.
    pub flow: Flow,
    /// In whose name, beside the person.
    pub acting: Acting,
    /// The process that asked, where that is known.
    pub process: Option<u32>,
    /// The resource, if there is one.
    pub resource: Option<Arc<Resource>>,
    /// What was decided.
    pub outcome: Outcome,
    /// Who decided.
    pub decided_by: DecidedBy,
    /// How long the answer took.
    pub latency: Duration,
    /// Who was signed in.
    pub session: Option<Arc<Session>>,
    /// On which host.
    pub host: Option<HostId>,
    /// In which state the device was.
    pub verdict: Verdict,
    /// In which kind of network it was.
    pub network: NetworkKind,
    /// Under which configuration.
    pub configuration: Option<Version>,
    /// For how many decisions it stands, if for more than its own.
    pub repetition: Option<Repetition>,
}

/// Decisions that one record stands for; it describes the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repetition {
    /// How many there were.
    pub count: u64,
    /// When the first was made.
    pub since: WallTime,
    /// Whether they were about different flows or had different reasons.
    pub is_mixed: bool,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The flow may not open.
    Denied(Denial),
    /// Nothing follows from this: a candidate for the policies in force does not agree with them.
    Differs(Arc<Difference>),
    /// The flow may open, for as long as the lease runs.
    Permitted {
        /// How long the permit may be relied on.
        lease: Duration,
    },
    /// The flow was open and was ended.
    Revoked(Denial),
}

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecidedBy {
    /// This device alone: no policy had to be asked, or none could be.
    Local,
    /// The policy decision point.
    Pdp(Arc<Said>),
}

/// What a policy decision point said beside its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The policy that it named.
    pub policy: Option<Arc<str>>,
    /// The version of the policies.
    pub commit: Option<Arc<str>>,
    /// The server, as its kind and its URL.
    pub server: Option<Arc<str>>,
    /// How a person who was refused could get access.
    pub access: Access,
    /// The request for access that the answer rests on.
    pub granted: Option<Granted>,
    /// How long the control plane had been silent.
    pub silence: Option<Duration>,
    /// When time alone may change the answer.
    pub valid_until: Option<WallTime>,
    /// What the administrator should read.
    pub reason_admin: Option<Arc<str>>,
}

impl Record {
    /// Writes the record as an OCSF event; `link` names it within its log.
    #[must_use]
    pub fn to_ocsf(&self, link: &Link, product_version: &str) -> Value {
        let (activity, action, disposition, severity, status) = match &self.outcome {
            Outcome::Denied(_) => (REFUSE, 2, 2, 2, 2),
            Outcome::Differs(_) => (OTHER, 3, 17, 1, 1),
            Outcome::Permitted { .. } => (OPEN, 1, 1, 1, 1),
            Outcome::Revoked(_) => (RESET, 2, 24, 3, 1),
        };
        let mut event = json!({
            "class_uid": NETWORK_ACTIVITY,
            "category_uid": NETWORK_ACTIVITY / 1000,
            "activity_id": activity,
            "type_uid": NETWORK_ACTIVITY * 100 + activity,
            "severity_id": severity,
            "time": self.time.unix_millis(),
            "action_id": action,
            "disposition_id": disposition,
            "status_id": status,
            "metadata": metadata(link, product_version, &["security_control"]),
            "dst_endpoint": self.destination(),
            "connection_info": {"direction_id": 2, "protocol_name": self.flow.protocol.transport()},
            "authorizations": [{"decision": self.word()}],
            "unmapped": self.unmapped(link),
        });
        if let Some(actor) = self.actor() {
            event["actor"] = actor;
        }
        if let Some(repetition) = &self.repetition {
            event["count"] = repetition.count.into();
            event["start_time"] = repetition.since.unix_millis().into();
            event["end_time"] = self.time.unix_millis().into();
        }
        if let Some(host) = &self.host {
            event["device"] = device(host);
        }
        if let Some(denial) = self.denial() {
            event["status_code"] = denial.reason.code().into();
            event["status_detail"] = denial.message().into();
        }
        if let DecidedBy::Pdp(said) = &self.decided_by
            && let Some(policy) = &said.policy
        {
            event["authorizations"][0]["policy"] = json!({"uid": &**policy});
        }
        event
    }

    /// Returns why the flow was refused or ended, if it was.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial> {
        match &self.outcome {
            Outcome::Denied(denial) | Outcome::Revoked(denial) => Some(denial),
            Outcome::Differs(_) | Outcome::Permitted { .. } => None,
        }
    }

    fn word(&self) -> &'static str {
        match &self.outcome {
            Outcome::Denied(_) => "denied",
            Outcome::Differs(_) => "differs",
            Outcome::Permitted { .. } => "permitted",
            Outcome::Revoked(_) => "revoked",
        }
    }

    fn destination(&self) -> Value {
        let mut destination = match &self.flow.destination {
            Destination::Address(address) => json!({"ip": address.to_string()}),
            Destination::Name(name) => json!({"hostname": name.as_str()}),
        };
        if let Some(port) = self.flow.protocol.port() {
            destination["port"] = port.into();
        }
        destination
    }

    fn actor(&self) -> Option<Value> {
        let mut actor = self.session.as_deref().map(actor);
        if let Some(process) = self.process() {
            actor.get_or_insert_with(|| json!({}))["process"] = process;
        }
        actor
    }

    fn process(&self) -> Option<Value> {
        let mut process = Map::new();
        if let Some(pid) = self.process {
            process.insert("pid".into(), pid.into());
        }
        if let Some(program) = self.flow.workload.program() {
            let mut file = json!({"path": program.path, "type_id": 1});
            if let Some(sha256) = &program.sha256 {
                file["hashes"] = json!([{"algorithm_id": 3, "value": sha256}]);
            }
            process.insert("file".into(), file);
            if let Some(user) = program.user {
                process.insert("user".into(), json!({"uid": user.to_string()}));
            }
            let ancestry = program.ancestors.iter().map(|path| json!({"path": path}));
            process.insert("ancestry".into(), ancestry.collect());
        }
        (!process.is_empty()).then(|| process.into())
    }

    fn unmapped(&self, link: &Link) -> Value {
        let mut unmapped = json!({
            "chain": link.to_json(),
            "target": self.flow.to_string(),
            "decided_by": match self.decided_by {
                DecidedBy::Local => "local",
                DecidedBy::Pdp(_) => "pdp",
            },
            "latency_micros": u64::try_from(self.latency.as_micros()).unwrap_or(u64::MAX),
            "trust_level": self.verdict.trust_level().as_str(),
            "network": self.network.as_str(),
            "checks": self.checks(),
            "checks_unmet": self.verdict.unmet().iter().map(|check| check.as_str()).collect::<Vec<_>>(),
        });
        if let DecidedBy::Pdp(said) = &self.decided_by {
            said.describe(&mut unmapped);
        }
        if let Some(resource) = &self.resource {
            unmapped["resource"] = ResourceId::as_str(&resource.id).into();
            unmapped["site"] = resource.site.as_str().into();
            unmapped["title"] = (&*resource.title).into();
        }
        match &self.acting {
            Acting::Delegated(id) => unmapped["delegation"] = id.as_str().into(),
            Acting::Elevated(elevated) => {
                unmapped["elevation"] =
                    json!({"id": elevated.id.as_str(), "target": &*elevated.target});
            }
            Acting::Oneself => {}
        }
        if let Workload::Supposed(_) = &self.flow.workload {
            unmapped["hypothetical"] = true.into();
        }
        let assurance = self.session.as_ref().and_then(|it| it.assurance.as_ref());
        if let Some(assurance) = assurance {
            unmapped["assurance"] =
                json!({"namespace": &*assurance.namespace, "level": &*assurance.level});
        }
        if let Some(Version(version)) = self.configuration {
            unmapped["configuration_version"] = version.into();
        }
        if self
            .repetition
            .is_some_and(|repetition| repetition.is_mixed)
        {
            unmapped["is_mixed"] = true.into();
        }
        match &self.outcome {
            Outcome::Denied(denial) | Outcome::Revoked(denial) => {
                unmapped["remedy"] = self.remedy(denial).into();
                if denial.reason == Reason::Hidden {
                    unmapped["hidden"] = true.into();
                }
            }
            Outcome::Differs(difference) => {
                unmapped["shadow"] = json!({
                    "active": opinion(&difference.active),
                    "candidate": opinion(&difference.candidate),
                });
            }
            Outcome::Permitted { lease } => unmapped["lease_seconds"] = lease.as_secs().into(),
        }
        unmapped
    }

    /// The policy's own advice counts before ours; what is hidden has none.
    fn remedy<'a>(&'a self, denial: &'a Denial) -> &'a str {
        match &self.decided_by {
            DecidedBy::Pdp(said) if denial.reason != Reason::Hidden => {
                let own = said.access.remedy.as_deref();
                own.unwrap_or_else(|| denial.reason.remedy())
            }
            DecidedBy::Local | DecidedBy::Pdp(_) => denial.reason.remedy(),
        }
    }

    fn checks(&self) -> Map<String, Value> {
        let findings = self.verdict.findings();
        findings
            .map(|(check, finding)| (check.to_string(), finding.as_str().into()))
            .collect()
    }
}

impl From<Decision> for Said {
    fn from(decision: Decision) -> Self {
        Self {
            policy: decision.policy,
            commit: decision.commit,
            server: decision.answered_by,
            access: decision.access,
            granted: decision.granted,
            silence: decision.silence,
            valid_until: decision.valid_until,
            reason_admin: decision.reason_admin,
        }
    }
}

impl Said {
    fn describe(&self, unmapped: &mut Value) {
        let texts = [
            ("commit", &self.commit),
            ("pdp", &self.server),
            ("reason_admin", &self.reason_admin),
            ("requestable", &self.access.requestable),
        ];
        for (member, text) in texts {
            if let Some(text) = text {
                unmapped[member] = (&**text).into();
            }
        }
        if let Some(step_up) = &self.access.step_up {
            unmapped["step_up"] = json!({
                "acr_values": step_up.acr_values.as_deref(),
                "max_age": step_up.max_age.map(|age| age.as_secs()),
            });
        }
        if let Some(granted) = &self.granted {
            unmapped["request"] = json!({"id": &*granted.request});
            if let Some(reason) = &granted.reason {
                unmapped["request"]["reason"] = (&**reason).into();
            }
        }
        if let Some(silence) = self.silence {
            unmapped["offline_seconds"] = silence.as_secs().into();
        }
        if let Some(until) = self.valid_until {
            unmapped["valid_until"] = until.unix_millis().into();
        }
    }
}

fn opinion(opinion: &Opinion) -> Value {
    json!({
        "commit": opinion.commit.as_deref(),
        "decision": if opinion.permitted { "permitted" } else { "denied" },
        "policy": opinion.policy.as_deref(),
    })
}

const NETWORK_ACTIVITY: u64 = 4001;
const OPEN: u64 = 1;
const RESET: u64 = 3;
const REFUSE: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Program, Protocol};
    use crate::authzen::StepUp;
    use crate::catalogue::fixture::wiki;

    #[test]
    fn a_record_has_every_member_that_the_class_requires() {
        let event = record(wiki(80), None).to_ocsf(&link(3), "0.1.0");

        assert_eq!(event["class_uid"], 4001);
        assert_eq!(event["category_uid"], 4);
        assert_eq!(event["type_uid"], 400_105);
        assert_eq!(event["metadata"]["sequence"], 3);
        assert_eq!(event["status_code"], "unknown_resource");
        assert_eq!(event["dst_endpoint"]["hostname"], "wiki.corp.test");
        assert!(event.get("actor").is_none());
    }

    #[test]
    fn a_record_names_the_process_and_where_it_comes_from() {
        let program = Program {
            path: "/usr/bin/ping".into(),
            user: Some(1000),
            sha256: Some("ab".into()),
            ancestors: vec!["/usr/bin/bash".into(), "/usr/lib/systemd/systemd".into()],
        };
        let ping = Flow {
            protocol: Protocol::IcmpEcho,
            workload: Workload::Known(Arc::new(program)),
            ..wiki(0)
        };

        let event = record(ping, Some(4711)).to_ocsf(&link(1), "0.1.0");

        let process = &event["actor"]["process"];
        assert_eq!(process["pid"], 4711);
        assert_eq!(process["user"]["uid"], "1000");
        assert_eq!(process["file"]["path"], "/usr/bin/ping");
        assert_eq!(process["file"]["hashes"][0]["value"], "ab");
        assert_eq!(process["ancestry"][1]["path"], "/usr/lib/systemd/systemd");
        assert_eq!(event["connection_info"]["protocol_name"], "icmp");
        assert!(event["dst_endpoint"].get("port").is_none());
    }

    #[test]
    fn a_record_says_what_the_policy_offers_and_by_which_commit_it_decided() {
        let said = Said {
            policy: Some("payroll".into()),
            commit: Some("bafy".into()),
            access: Access {
                remedy: Some("Ask finance.".into()),
                requestable: Some("finance-leads".into()),
                step_up: Some(StepUp {
                    acr_values: Some("urn:mfa".into()),
                    max_age: None,
                }),
            },
            granted: Some(Granted {
                request: "request-7".into(),
                reason: Some("Pay day".into()),
            }),
            valid_until: Some(WallTime::from_unix_millis(5)),
            ..Said::default()
        };
        let denied = Record {
            outcome: Outcome::Denied(Reason::PolicyDenied.into()),
            decided_by: DecidedBy::Pdp(Arc::new(said)),
            ..record(wiki(80), None)
        };

        let event = denied.to_ocsf(&link(1), "0.1.0");

        let unmapped = &event["unmapped"];
        assert_eq!(unmapped["commit"], "bafy");
        assert_eq!(unmapped["remedy"], "Ask finance.");
        assert_eq!(unmapped["requestable"], "finance-leads");
        assert_eq!(unmapped["step_up"]["acr_values"], "urn:mfa");
        assert_eq!(
            unmapped["request"],
            json!({"id": "request-7", "reason": "Pay day"})
        );
        assert_eq!(unmapped["valid_until"], 5);
    }

    #[test]
    fn what_is_hidden_reads_as_what_is_not_there_but_for_the_mark() {
        let hidden = Record {
            outcome: Outcome::Denied(Reason::Hidden.into()),
            ..record(wiki(80), None)
        };

        let mut hidden = hidden.to_ocsf(&link(1), "0.1.0");
        let mark = hidden["unmapped"].as_object_mut().unwrap().remove("hidden");

        assert_eq!(mark, Some(true.into()));
        assert_eq!(hidden, record(wiki(80), None).to_ocsf(&link(1), "0.1.0"));
    }

    #[test]
    fn a_difference_is_a_record_of_its_own_kind_and_no_decision() {
        let opinion = |permitted, commit: &str| Opinion {
            permitted,
            policy: None,
            commit: Some(commit.into()),
        };
        let differs = Record {
            outcome: Outcome::Differs(Arc::new(Difference {
                active: opinion(true, "bafya"),
                candidate: opinion(false, "bafyc"),
            })),
            ..record(wiki(80), None)
        };

        let event = differs.to_ocsf(&link(1), "0.1.0");

        assert_eq!(event["type_uid"], 400_199);
        assert_eq!(event["disposition_id"], 17);
        assert_eq!(event["authorizations"][0]["decision"], "differs");
        assert_eq!(
            event["unmapped"]["shadow"]["active"]["decision"],
            "permitted"
        );
        assert_eq!(event["unmapped"]["shadow"]["candidate"]["commit"], "bafyc");
        assert!(event.get("status_code").is_none());
    }

    fn link(sequence: u64) -> Link {
        Link {
            sequence,
            ..Link::first(chain::LogId::from_random(&[7; 16]))
        }
    }

    fn record(flow: Flow, process: Option<u32>) -> Record {
        Record {
            time: WallTime::from_unix_millis(1000),
            flow,
            acting: Acting::Oneself,
            process,
            resource: None,
            outcome: Outcome::Denied(Reason::UnknownResource.into()),
            decided_by: DecidedBy::Local,
            latency: Duration::from_micros(5),
            session: None,
            host: None,
            verdict: Verdict::default(),
            network: NetworkKind::Unknown,
            configuration: None,
            repetition: None,
        }
    }
}

//! One case on one line of JSON.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connector_core::access::{Destination, Flow, Program, Protocol, Workload};
use connector_core::authzen::AccessRequest;
use connector_core::catalogue::{Ports, Resource};
use connector_core::identity::{Assurance, Person};
use connector_core::network::NetworkKind;
use connector_core::posture::{Check, Facts, Finding, Measurement, Verdict};
use connector_core::time::{Moment, WallTime};
use connector_core::trust::{Acting, Elevated, TrustId};
use serde::{Deserialize, Serialize};

use super::{Case, Expected};
use crate::evaluation::Circumstances;

/// Reads a case.
pub(super) fn read(number: usize, line: &str) -> Result<Case, InvalidLine> {
    let refused = |problem| InvalidLine {
        line: number,
        problem,
    };
    let raw: RawCase = serde_json::from_str(line)
        .map_err(|error| refused(LineProblem::Malformed(error.to_string())))?;
    raw.parse(number).map_err(refused)
}

/// Writes a case.
pub(super) fn write(case: &Case) -> String {
    serde_json::to_string(&RawCase::of(case)).unwrap_or_default()
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCase {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    pub(super) person: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) issuer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) assurance: Option<RawAssurance>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) checks: Option<BTreeMap<String, String>>,
    pub(super) resource: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) site: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) program: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ancestors: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<String>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) offline_for: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) delegated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) acting_as: Option<String>,
    pub(super) expect: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAssurance {
    pub(super) namespace: String,
    pub(super) level: String,
}

impl RawCase {
    pub(super) fn parse(self, number: usize) -> Result<Case, LineProblem> {
        let permitted = match &*self.expect {
            "deny" => false,
            "permit" => true,
            _ => return Err(LineProblem::Expect(self.expect)),
        };
        let circumstances = Circumstances {
            offline_for: self.offline_for.map(Duration::from_secs),
        };
        let name = if self.name.is_empty() {
            format!("line {number}")
        } else {
            self.name.clone()
        };
        let expected = Expected {
            permitted,
            policy: self.policy.as_deref().map(Arc::from),
        };
        Ok(Case {
            name,
            request: self.request()?,
            circumstances,
            expected,
        })
    }

    fn request(self) -> Result<AccessRequest, LineProblem> {
        let network = self.network()?;
        let host = self.host.as_deref().unwrap_or("app.example");
        let destination = match host.parse() {
            Ok(address) => Destination::Address(address),
            Err(_) => Destination::Name(
                host.parse()
                    .map_err(|_| LineProblem::Host(host.to_owned()))?,
            ),
        };
        let port = self.port.unwrap_or(443);
        let protocol = match self.protocol.as_deref().unwrap_or("tcp") {
            "icmp" => Protocol::IcmpEcho,
            "tcp" => Protocol::Tcp(port),
            "udp" => Protocol::Udp(port),
            other => return Err(LineProblem::Protocol(other.to_owned())),
        };
        let time = self.time.as_deref().unwrap_or(DEFAULT_TIME);
        let time = moment(time).ok_or_else(|| LineProblem::Time(time.to_owned()))?;
        let verdict = verdict(self.checks.as_ref())?;
        let acting = match (self.delegated, self.acting_as) {
            (false, None) => Acting::Oneself,
            (true, None) => Acting::Delegated(TrustId::from("test")),
            (false, Some(target)) => Acting::Elevated(Elevated {
                id: TrustId::from("test"),
                target: target.into(),
            }),
            (true, Some(_)) => return Err(LineProblem::Acting),
        };
        let (user, sha256, ancestors) = (self.user, self.sha256, self.ancestors);
        let workload = self.program.map_or(Workload::Unknown, |path| {
            Workload::Known(Arc::new(Program {
                path,
                user,
                sha256,
                ancestors,
            }))
        });
        Ok(AccessRequest {
            person: Arc::new(Person {
                issuer: self.issuer.into(),
                subject: self.person.into(),
                name: None,
                email: self.email.map(Into::into),
                groups: self.groups.into_iter().map(Into::into).collect(),
            }),
            session: self.session.as_deref().unwrap_or("test").into(),
            assurance: self.assurance.map(|assurance| {
                Arc::new(Assurance {
                    namespace: assurance.namespace.into(),
                    level: assurance.level.into(),
                })
            }),
            host: self.device.as_deref().map(Into::into),
            verdict,
            flow: Flow {
                destination,
                protocol,
                workload,
            },
            acting,
            resource: Arc::new(Resource {
                id: (&*self.resource).into(),
                title: self.title.unwrap_or_else(|| self.resource.clone()).into(),
                names: vec![],
                prefixes: vec![],
                ports: Ports::default(),
                site: self.site.as_deref().unwrap_or("hq").into(),
                lease: Duration::from_secs(300),
            }),
            network,
            time,
        })
    }

    fn network(&self) -> Result<NetworkKind, LineProblem> {
        match self.network.as_deref() {
            None | Some("unknown") => Ok(NetworkKind::Unknown),
            Some("cellular") => Ok(NetworkKind::Cellular),
            Some("wired") => Ok(NetworkKind::Wired),
            Some("wireless") => Ok(NetworkKind::Wireless),
            Some(other) => Err(LineProblem::Network(other.to_owned())),
        }
    }

    fn of(case: &Case) -> Self {
        let request = &case.request;
        let checks = request.verdict.findings();
        let checks = checks.map(|(id, finding)| (id.to_string(), finding.as_str().to_owned()));
        let mut raw = Self {
            name: case.name.clone(),
            person: request.person.subject.to_string(),
            issuer: request.person.issuer.to_string(),
            email: request.person.email.as_deref().map(str::to_owned),
            groups: request
                .person
                .groups
                .iter()
                .map(ToString::to_string)
                .collect(),
            session: Some(request.session.to_string()),
            device: request.host.as_ref().map(ToString::to_string),
            assurance: request.assurance.as_deref().map(|assurance| RawAssurance {
                namespace: assurance.namespace.to_string(),
                level: assurance.level.to_string(),
            }),
            checks: Some(checks.collect()),
            resource: request.resource.id.to_string(),
            title: Some(request.resource.title.to_string()),
            site: Some(request.resource.site.to_string()),
            host: Some(request.flow.destination.to_string()),
            protocol: Some(request.flow.protocol.transport().to_owned()),
            port: request.flow.protocol.port(),
            time: Some(request.time.to_string()),
            network: Some(request.network.as_str().to_owned()),
            offline_for: case.circumstances.offline_for.map(|time| time.as_secs()),
            delegated: matches!(request.acting, Acting::Delegated(_)),
            acting_as: match &request.acting {
                Acting::Elevated(elevated) => Some(elevated.target.to_string()),
                Acting::Delegated(_) | Acting::Oneself => None,
            },
            expect: if case.expected.permitted {
                "permit"
            } else {
                "deny"
            }
            .to_owned(),
            policy: case.expected.policy.as_deref().map(str::to_owned),
            ..Self::default()
        };
        if let Some(program) = request.flow.workload.program() {
            raw.program = Some(program.path.clone());
            raw.user = program.user;
            raw.sha256.clone_from(&program.sha256);
            raw.ancestors.clone_from(&program.ancestors);
        }
        raw
    }
}

/// Takes findings by check; without any, the device meets one check.
fn verdict(checks: Option<&BTreeMap<String, String>>) -> Result<Verdict, LineProblem> {
    let default = BTreeMap::from([("device".to_owned(), "pass".to_owned())]);
    let mut facts = Facts::default();
    let mut measured = Vec::new();
    for (id, finding) in checks.unwrap_or(&default) {
        let finding = match &**finding {
            "fail" => Finding::Fail,
            "pass" => Finding::Pass,
            "unknown" => Finding::Unknown,
            other => return Err(LineProblem::Finding(other.to_owned())),
        };
        let measurement = Measurement {
            finding,
            evidence: "the table".into(),
            taken_at: Moment::default(),
        };
        facts.insert((&**id).into(), measurement);
        measured.push(Check::unavailable((&**id).into()));
    }
    Ok(facts.verdict(&measured, Moment::default()))
}

/// Reads a time as in `2026-11-22T12:00:00Z`, with or without milliseconds.
fn moment(text: &str) -> Option<WallTime> {
    let text = text.strip_suffix('Z')?;
    let (text, millis) = text.split_once('.').unwrap_or((text, "000"));
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let millis: u64 = millis.parse().ok().filter(|_| millis.len() == 3)?;
    let date = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !date || !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year.
    let (shifted, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400;
    let days = days + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let read = WallTime::from_unix_millis(seconds * 1000 + millis);
    // A day that its month does not have comes out as another.
    read.to_string().starts_with(text).then_some(read)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = text
        .split(separator)
        .map(|number| number.parse().ok())
        .collect();
    numbers?.try_into().ok()
}

/// A line that is no case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct InvalidLine {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: LineProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// A program that acts by consent acts for nobody else.
    #[error("delegated and acting_as exclude each other")]
    Acting,
    /// Neither permit nor deny.
    #[error("{0:?} cannot be expected; write permit or deny")]
    Expect(String),
    /// Not a finding.
    #[error("{0:?} is no finding; write pass, fail or unknown")]
    Finding(String),
    /// Neither a name nor an address.
    #[error("{0:?} is neither a name nor an address")]
    Host(String),
    /// Not the JSON of a case.
    #[error("the case cannot be read: {0}")]
    Malformed(String),
    /// Not a network.
    #[error("{0:?} is no network; write wired, wireless, cellular or unknown")]
    Network(String),
    /// Not a protocol.
    #[error("{0:?} is no protocol; write tcp, udp or icmp")]
    Protocol(String),
    /// Not a time.
    #[error("{0:?} is no time; write it as in 2026-11-22T12:00:00Z")]
    Time(String),
}

/// A Monday at noon.
const DEFAULT_TIME: &str = "2026-11-23T12:00:00Z";

//! A request to vary in tests.

use std::sync::Arc;
use std::time::Duration;

use connector_core::access::{Destination, Flow, Program, Protocol, Workload};
use connector_core::authzen::AccessRequest;
use connector_core::catalogue::{Ports, Resource};
use connector_core::identity::{Assurance, Person};
use connector_core::network::NetworkKind;
use connector_core::posture::{Check, Facts, Finding, Measurement, Verdict};
use connector_core::time::{Moment, WallTime};

/// Ann of the staff, with curl, on a device in order, for the wiki, at noon of a Sunday.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) groups: Vec<&'static str>,
    pub(crate) program: Option<&'static str>,
    pub(crate) findings: Vec<(&'static str, Finding)>,
    pub(crate) protocol: Protocol,
    pub(crate) time: WallTime,
    pub(crate) assured: bool,
    pub(crate) host: Option<&'static str>,
    pub(crate) network: NetworkKind,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            groups: vec!["staff", "everyone"],
            program: Some("/usr/bin/curl"),
            findings: vec![("disk", Finding::Pass)],
            protocol: Protocol::Tcp(443),
            time: at("12:00"),
            assured: false,
            host: Some("laptop"),
            network: NetworkKind::Unknown,
        }
    }
}

impl Asked {
    pub(crate) fn request(&self) -> AccessRequest {
        let program = |path: &str| {
            Workload::Known(Arc::new(Program {
                path: path.to_owned(),
                user: Some(1000),
                sha256: Some("ab".repeat(32)),
                ancestors: vec!["/bin/sh".into()],
            }))
        };
        AccessRequest {
            person: Arc::new(Person {
                issuer: "https://id.corp.test".into(),
                subject: "ann".into(),
                name: None,
                email: Some("ann@corp.test".into()),
                groups: self.groups.iter().map(|group| (*group).into()).collect(),
            }),
            session: "s1".into(),
            assurance: self.assured.then(|| {
                Arc::new(Assurance {
                    namespace: "NIST-AAL".into(),
                    level: "nist-aal2".into(),
                })
            }),
            host: self.host.map(Into::into),
            verdict: verdict(&self.findings),
            network: self.network,
            flow: Flow {
                destination: Destination::Name("wiki.corp.test".parse().unwrap()),
                protocol: self.protocol,
                workload: self.program.map_or(Workload::Unknown, program),
            },
            acting: connector_core::trust::Acting::Oneself,
            resource: Arc::new(Resource {
                id: "wiki".into(),
                title: "Wiki".into(),
                names: vec!["wiki.corp.test".parse().unwrap()],
                prefixes: vec![],
                ports: Ports::default(),
                site: "hq".into(),
                lease: Duration::from_secs(300),
            }),
            time: self.time,
        }
    }
}

fn verdict(findings: &[(&str, Finding)]) -> Verdict {
    let mut facts = Facts::default();
    let mut checks = Vec::new();
    for (id, finding) in findings {
        let measurement = Measurement {
            finding: *finding,
            evidence: "seen".into(),
            taken_at: Moment::default(),
        };
        facts.insert((*id).into(), measurement);
        checks.push(Check::unavailable((*id).into()));
    }
    facts.verdict(&checks, Moment::default())
}

/// A time of 22 November 2026, a Sunday.
pub(crate) fn at(time: &str) -> WallTime {
    let (hour, minute) = time.split_once(':').unwrap();
    let minutes = hour.parse::<u64>().unwrap() * 60 + minute.parse::<u64>().unwrap();
    WallTime::from_unix_millis(1_795_305_600_000 + minutes * 60_000)
}

//! One type of the core into one of the front-ends'.

use std::ops::RangeInclusive;
use std::time::Duration;

use connector_core::catalogue::Resource;
use connector_core::identity::Session;
use connector_core::posture::{Check, Facts, Finding, TrustLevel};
use connector_core::time::{Moment, Now, WallTime};
use connector_ipc as ipc;
use tunnel_proto::gateways::{Behind, GatewayState, GatewayStatus};

use crate::adapters::interception::State;

pub(super) fn identity(session: &Session) -> ipc::Identity {
    let person = &session.person;
    ipc::Identity {
        subject: person.subject.to_string(),
        name: person.name.as_ref().map(ToString::to_string),
        email: person.email.as_ref().map(ToString::to_string),
        groups: person.groups.iter().map(ToString::to_string).collect(),
        issuer: person.issuer.to_string(),
        session_id: session.id.to_string(),
        expires_at: session.expires_wall.to_string(),
    }
}

pub(super) fn check(check: &Check, facts: &Facts, now: Now) -> ipc::CheckReport {
    let measurement = facts.measurement(&check.id);
    let finding = facts.finding(check, now.moment);
    let evidence = match measurement {
        Some(measurement) if finding == measurement.finding => measurement.evidence.to_string(),
        Some(measurement) => format!(
            "too long ago to be relied on; then: {}",
            measurement.evidence
        ),
        None => "not measured yet".to_owned(),
    };
    ipc::CheckReport {
        id: check.id.to_string(),
        title: check.title.to_string(),
        finding: match finding {
            Finding::Fail => ipc::Finding::Fail,
            Finding::Pass => ipc::Finding::Pass,
            Finding::Unknown => ipc::Finding::Unknown,
        },
        evidence,
        remedy: check.remedy.to_string(),
        measured_at: measurement.map(|known| wall(known.taken_at, now).to_string()),
    }
}

pub(super) fn interception(state: State) -> ipc::InterceptionReport {
    match state {
        State::Down => ipc::InterceptionReport::Down,
        State::Failed(problem) => ipc::InterceptionReport::Failed { problem },
        State::Up {
            device,
            addresses,
            names,
            mended,
        } => ipc::InterceptionReport::Up {
            device,
            addresses,
            names: names.iter().map(ToString::to_string).collect(),
            mended,
        },
    }
}

pub(crate) fn trust_level(level: TrustLevel) -> ipc::TrustLevel {
    match level {
        TrustLevel::High => ipc::TrustLevel::High,
        TrustLevel::Low => ipc::TrustLevel::Low,
        TrustLevel::Medium => ipc::TrustLevel::Medium,
    }
}

pub(crate) fn gateway_state(state: GatewayState) -> ipc::GatewayState {
    match state {
        GatewayState::Calling => ipc::GatewayState::Connecting,
        GatewayState::Idle => ipc::GatewayState::Standby,
        GatewayState::InUse => ipc::GatewayState::Active,
        GatewayState::Silent => ipc::GatewayState::Down,
    }
}

pub(super) fn gateway(status: &GatewayStatus, now: Now) -> ipc::GatewayReport {
    ipc::GatewayReport {
        id: status.id.to_string(),
        endpoint: status.endpoint.to_string(),
        state: gateway_state(status.state),
        last_handshake: status.last_handshake.map(|at| wall(at, now).to_string()),
        handshake_micros: status
            .handshake_took
            .map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
        behind: behind(status, now.moment),
        rx_bytes: status.received_bytes,
        tx_bytes: status.sent_bytes,
    }
}

/// Returns what is behind a gateway, if that was asked lately.
pub(crate) fn behind(status: &GatewayStatus, now: Moment) -> Option<ipc::BehindReport> {
    let (at, report) = match status.behind? {
        Behind::Answers { at, took } => {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            (at, ipc::BehindReport::Answers { micros })
        }
        Behind::Asked { .. } => return None,
        Behind::Silent { at } => (at, ipc::BehindReport::Silent),
    };
    (now.since(at) < LATELY).then_some(report)
}

/// Longer than the pause between two questions while somebody watches.
const LATELY: Duration = Duration::from_secs(30);

pub(super) fn resource(resource: &Resource, state: ipc::ResourceState) -> ipc::ResourceReport {
    let ports = |transport: &str, ranges: &[RangeInclusive<u16>]| -> Vec<String> {
        ranges
            .iter()
            .map(|range| {
                if range.start() == range.end() {
                    format!("{transport}/{}", range.start())
                } else {
                    format!("{transport}/{}-{}", range.start(), range.end())
                }
            })
            .collect()
    };
    let mut offered = ports("tcp", &resource.ports.tcp);
    offered.extend(ports("udp", &resource.ports.udp));
    let names = resource.names.iter().map(ToString::to_string);
    let prefixes = resource.prefixes.iter().map(ToString::to_string);
    ipc::ResourceReport {
        id: resource.id.to_string(),
        title: resource.title.to_string(),
        names: names.chain(prefixes).collect(),
        ports: offered,
        site: resource.site.to_string(),
        state,
    }
}

/// Returns what the wall clock will show at `moment`, to the second, so that the two clocks'
/// unsteadiness is not shown as news.
pub(crate) fn ahead(moment: Moment, now: Now) -> String {
    let at = now.wall + moment.since(now.moment) + Duration::from_millis(500);
    WallTime::from_unix_millis(at.unix_seconds().saturating_mul(1000)).to_string()
}

/// Returns the wall clock's time at `moment`.
fn wall(moment: Moment, now: Now) -> WallTime {
    let ago = u64::try_from(now.moment.since(moment).as_millis()).unwrap_or(u64::MAX);
    WallTime::from_unix_millis(now.wall.unix_millis().saturating_sub(ago))
}

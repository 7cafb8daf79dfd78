//! Asks about one destination without connecting.

use std::time::Duration;

use connector_core::access::{Destination, Flow, Protocol, Reason, Workload};
use connector_core::catalogue::Resource;
use connector_core::time::WallTime;
use connector_ipc::{AccessReport, DecisionReport, Outcome};
use connector_platform::clock;

use crate::view::View;

/// Asks the policy about `host`, on `port` or the first one that it offers.
pub(super) async fn ask(
    view: &View,
    host: &str,
    port: Option<u16>,
) -> Result<AccessReport, String> {
    let flow = flow(view, host, port)?;
    let (_, mut feed) = view.decisions.follow();
    let asked_at = clock::now().wall;
    let answer = view.authorizer.authorize(&flow, None).await;
    let lease_seconds = answer
        .as_ref()
        .ok()
        .map(|permit| permit.lease_ends().since(clock::moment()).as_secs());
    let answer = answer.map(drop);

    let target = flow.to_string();
    let outcome = if answer.is_ok() {
        Outcome::Permitted
    } else {
        Outcome::Denied
    };
    let matches = |report: &DecisionReport| {
        report.target == target && report.outcome == outcome && report.workload.is_none()
    };
    let written = async {
        loop {
            match feed.recv().await {
                Ok(report) if matches(&report) => return Some(report),
                Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return None,
            }
        }
    };
    let decision = match tokio::time::timeout(WRITTEN_LIMIT, written).await {
        Ok(Some(report)) => report,
        // The answer was known already: its record is an earlier one.
        Ok(None) | Err(_) => {
            let (past, _) = view.decisions.follow();
            let earlier = past.into_iter().rev().find(matches);
            earlier.unwrap_or_else(|| unrecorded(&target, &answer, asked_at))
        }
    };

    let resource = resource(view, &flow);
    let (past, _) = view.decisions.follow();
    let last_refused = past.into_iter().rev().find(|report| {
        report.target == target && report.outcome != Outcome::Permitted && report.workload.is_some()
    });
    Ok(AccessReport {
        last_refused: last_refused.map(Box::new),
        title: resource.as_ref().map(|resource| resource.title.to_string()),
        site: resource.map(|resource| resource.site.to_string()),
        lease_seconds,
        checks_unmet: match answer {
            Err(denial) if denial.reason == Reason::PostureUnmet => view.checks_unmet(),
            Ok(()) | Err(_) => vec![],
        },
        decision,
    })
}

fn flow(view: &View, host: &str, port: Option<u16>) -> Result<Flow, String> {
    let destination = match host.parse() {
        Ok(address) => Destination::Address(address),
        Err(_) => Destination::Name(
            host.parse()
                .map_err(|error: connector_core::name::InvalidName| error.to_string())?,
        ),
    };
    let flow = |port| Flow {
        destination: destination.clone(),
        protocol: Protocol::Tcp(port),
        workload: Workload::Unknown,
    };
    let port = port.unwrap_or_else(|| {
        let any = resource(view, &flow(0));
        any.and_then(|resource| Some(*resource.ports.tcp.first()?.start()))
            .unwrap_or(DEFAULT_PORT)
    });
    Ok(flow(port))
}

fn resource(view: &View, flow: &Flow) -> Option<std::sync::Arc<Resource>> {
    let access = view.authorizer.access();
    access.catalogue().lookup(flow).resource().cloned()
}

/// Describes an answer whose record is no longer among the latest.
fn unrecorded(
    target: &str,
    answer: &Result<(), connector_core::access::Denial>,
    time: WallTime,
) -> DecisionReport {
    let denial = answer.as_ref().err();
    DecisionReport {
        id: "-".to_owned(),
        time: time.to_string(),
        target: target.to_owned(),
        resource: None,
        outcome: if denial.is_some() {
            Outcome::Denied
        } else {
            Outcome::Permitted
        },
        reason: denial
            .map_or("permitted", |denial| denial.reason.code())
            .to_owned(),
        message: denial
            .map_or("The policy permits this.", |denial| denial.message())
            .to_owned(),
        remedy: denial.map(|denial| denial.reason.remedy().to_owned()),
        workload: None,
        subject: None,
        decided_by: "local".to_owned(),
        latency_micros: 0,
        count: 1,
        is_mixed: false,
    }
}

/// A record is written before the answer comes, or right after.
const WRITTEN_LIMIT: Duration = Duration::from_millis(100);

/// What people mean by a name alone.
const DEFAULT_PORT: u16 = 443;

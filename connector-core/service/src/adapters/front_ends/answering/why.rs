//! Asks about one destination without connecting.

use std::sync::Arc;
use std::time::Duration;

use connector_core::access::{Denial, Destination, Flow, Program, Protocol, Reason, Workload};
use connector_core::authzen::{StepUp, printable};
use connector_core::catalogue::Resource;
use connector_core::connector::Event;
use connector_core::identity::Owner;
use connector_core::time::WallTime;
use connector_ipc::{AccessReport, DecisionReport, Outcome, SaidReport};
use connector_platform::clock;

use crate::adapters::Events;
use crate::view::View;

/// Asks the policy about `host`, on `port` or the first one that it offers, for `program` or
/// one that nobody knows.
///
/// What the policy hides from the person is answered, and written down, as a name that is not
/// there: nobody is asked, and neither its ports nor anything else of it counts.
pub(super) async fn ask(
    view: &View,
    events: &Events,
    host: &str,
    port: Option<u16>,
    program: Option<String>,
) -> Result<AccessReport, String> {
    let owner = view.authorizer.access().owner();
    let flow = flow(view, host, port, workload(program, owner)?)?;
    let (_, mut feed) = view.decisions.follow();
    let asked_at = clock::now().wall;
    let answer = match hidden(view, &flow) {
        Some(denial) => {
            let (flow, denial) = (flow.clone(), denial);
            let refused = Event::FlowRefused {
                flow,
                denial: denial.clone(),
            };
            // A service that stops writes nothing down.
            let _ = events.send(refused).await;
            Err(denial)
        }
        None => view.authorizer.authorize(&flow, None).await,
    };
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
    let asked_for = flow.workload.program().map(|program| program.path.as_str());
    let matches = |report: &DecisionReport| {
        let program = report
            .workload
            .as_ref()
            .map(|program| program.path.as_str());
        report.target == target
            && report.outcome == outcome
            && program == asked_for
            && report.said.hypothetical == asked_for.is_some()
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
        report.target == target
            && report.outcome != Outcome::Permitted
            && report.workload.is_some()
            && !report.said.hypothetical
    });
    Ok(AccessReport {
        last_refused: last_refused.map(Box::new),
        title: resource.as_ref().map(|resource| resource.title.to_string()),
        is_site_silent: resource
            .as_ref()
            .is_some_and(|resource| view.is_silent(&resource.site)),
        site: resource.map(|resource| resource.site.to_string()),
        lease_seconds,
        checks_unmet: match answer {
            Err(denial) if denial.reason == Reason::PostureUnmet => view.checks_unmet(),
            Ok(()) | Err(_) => vec![],
        },
        decision,
    })
}

/// Asks which sign-in the policy wants for `host`: for any program, or for the one that was
/// refused there last.
pub(super) async fn step_up(
    view: &View,
    events: &Events,
    host: &str,
    port: Option<u16>,
) -> Result<StepUp, String> {
    let report = ask(view, events, host, port, None).await?;
    if report.decision.outcome == Outcome::Permitted {
        return Err(format!("{host} is permitted already"));
    }
    let refused = report.last_refused.map(|refused| refused.said);
    let wanted = report.decision.said.step_up;
    let wanted = wanted.or_else(|| refused?.step_up);
    let wanted = wanted.ok_or_else(|| {
        format!("the policy says of no sign-in that it would open {host}; `ztna why {host}` tells what would")
    })?;
    Ok(StepUp {
        acr_values: wanted.acr_values.map(Into::into),
        max_age: wanted.max_age.map(Duration::from_secs),
    })
}

/// Takes a program that somebody asks about. Nothing is opened or read: the policy is asked
/// about the path alone.
fn workload(program: Option<String>, owner: Owner) -> Result<Workload, String> {
    let Some(path) = program else {
        return Ok(match owner {
            Owner::Machine => Workload::Unknown,
            Owner::User(user) => Workload::UnknownOf(user),
        });
    };
    let is_plain = path.len() <= MAX_PATH && !path.chars().any(char::is_control);
    if !is_plain || !std::path::Path::new(&path).is_absolute() {
        let shown = printable(&path);
        return Err(format!("{shown:?} is no absolute path of a program"));
    }
    Ok(Workload::Supposed(Arc::new(Program {
        path,
        user: None,
        sha256: None,
        ancestors: vec![],
    })))
}

/// Returns the denial for what the person must not learn of; while nothing at all is reachable,
/// the reason for that goes first, as for every other name.
fn hidden(view: &View, flow: &Flow) -> Option<Denial> {
    let access = view.authorizer.access();
    let resource = access.catalogue().lookup(flow).resource()?;
    let is_hidden = access.closed().is_none() && view.hides(resource);
    is_hidden.then(|| Reason::Hidden.into())
}

fn flow(view: &View, host: &str, port: Option<u16>, workload: Workload) -> Result<Flow, String> {
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
        workload: workload.clone(),
    };
    let port = port.unwrap_or_else(|| {
        let any = resource(view, &flow(0));
        any.and_then(|resource| Some(*resource.ports.tcp.first()?.start()))
            .unwrap_or(DEFAULT_PORT)
    });
    Ok(flow(port))
}

/// Returns the resource, unless the person must not learn of it.
fn resource(view: &View, flow: &Flow) -> Option<Arc<Resource>> {
    let access = view.authorizer.access();
    let resource = access.catalogue().lookup(flow).resource().cloned();
    resource.filter(|resource| !view.hides(resource))
}

/// Describes an answer whose record is no longer among the latest.
fn unrecorded(target: &str, answer: &Result<(), Denial>, time: WallTime) -> DecisionReport {
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
        said: SaidReport::default(),
    }
}

/// A record is written before the answer comes, or right after.
const WRITTEN_LIMIT: Duration = Duration::from_millis(100);

/// The longest path of a program: what Linux takes.
const MAX_PATH: usize = 4096;

/// What people mean by a name alone.
const DEFAULT_PORT: u16 = 443;

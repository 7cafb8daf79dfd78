//! Asks for access, and tells what became of it.

use connector_core::access::{Destination, Flow, Protocol, Workload};
use connector_core::audit::{Plea, Pleading};
use connector_core::authzen::printable;
use connector_core::catalogue::{Lookup, Resource, ResourceId};
use connector_core::connector::Event;
use connector_core::control::{
    GrantAction, GrantContext, GrantEntity, GrantRequest, GrantStatus, GrantTask, GrantTerms,
    MAX_REASON, is_reason,
};
use connector_core::time::WallTime;
use connector_ipc::{AccessRequestReport, AccessRequestStatus, FailureKind, Reply};

use super::failed;
use crate::adapters::Events;
use crate::adapters::control::ApiError;
use crate::adapters::granting::{Granting, NotAsked};
use crate::view::View;

/// What a front-end wants to ask for.
pub(super) struct Wish<'a> {
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    pub(super) reason: String,
    pub(super) seconds: u64,
}

/// Asks for access to what the person may know of.
pub(super) async fn ask(
    view: &View,
    granting: &Granting,
    events: &Events,
    wish: Wish<'_>,
) -> Reply {
    let Some(session) = view.snapshot.borrow().session.clone() else {
        return signed_out();
    };
    if !is_reason(&wish.reason) {
        let message = format!("the reason has to be one line of 1 to {MAX_REASON} characters");
        return failed(FailureKind::BadRequest, &message, None);
    }
    let resource = match wanted(view, wish.host, wish.port) {
        Ok(resource) => resource,
        Err(problem) => return failed(FailureKind::BadRequest, &problem, Some(SEE_RESOURCES)),
    };
    let entity = |kind: &str, id: &str| GrantEntity {
        kind: kind.to_owned(),
        id: id.to_owned(),
    };
    let request = GrantRequest {
        subject: entity("user", &session.person.subject),
        action: GrantAction {
            name: "connect".to_owned(),
        },
        resource: entity("application", resource.as_str()),
        context: GrantContext {
            reason: wish.reason.clone(),
        },
        requested_access: GrantTerms {
            seconds: wish.seconds,
        },
    };
    let answer = granting.ask(&session.id, &request).await;
    let plea = Plea {
        resource,
        reason: wish.reason.into(),
        seconds: wish.seconds,
        answer: match &answer {
            Ok(task) => Ok((printable(&task.id), task.status.as_str().into())),
            Err(error) => Err(printable(&error.to_string())),
        },
    };
    // A service that stops writes nothing down.
    let asked = Event::AccessPleaded(Pleading::Asked(plea));
    let _ = events.send(asked).await;
    match answer {
        Ok(task) => {
            tracing::info!(request = %printable(&task.id), "Access was asked for");
            Reply::AccessRequest(report(view, task))
        }
        Err(error) => not_asked(&error),
    }
}

/// Tells what became of the person's requests.
pub(super) async fn list(view: &View, granting: &Granting) -> Reply {
    let Some(session) = view.snapshot.borrow().session.clone() else {
        return signed_out();
    };
    match granting.list(&session.id).await {
        Ok(tasks) => {
            let tasks = tasks.into_iter().take(MAX_SHOWN);
            Reply::AccessRequests(tasks.map(|task| report(view, task)).collect())
        }
        Err(error) => not_asked(&error),
    }
}

/// Finds the resource; what the person must not learn of is not there.
pub(super) fn wanted(view: &View, host: &str, port: Option<u16>) -> Result<ResourceId, String> {
    let destination = match host.parse() {
        Ok(address) => Destination::Address(address),
        Err(_) => Destination::Name(
            host.parse()
                .map_err(|error: connector_core::name::InvalidName| error.to_string())?,
        ),
    };
    let flow = Flow {
        destination,
        protocol: Protocol::Tcp(port.unwrap_or_default()),
        workload: Workload::Unknown,
    };
    let access = view.authorizer.access();
    let found = access.catalogue().lookup(&flow);
    let shown = |resource: &Resource| !view.hides(resource);
    match found {
        Lookup::Offered(resource) if shown(resource) => Ok(resource.id.clone()),
        Lookup::PortNotOffered(resource) if shown(resource) => match port {
            None => Ok(resource.id.clone()),
            Some(port) => Err(format!(
                "{host} is protected, but port {port} is not offered"
            )),
        },
        Lookup::Offered(_) | Lookup::PortNotOffered(_) | Lookup::Unknown => {
            Err(format!("no protected application has the name {host}"))
        }
    }
}

fn report(view: &View, task: GrantTask) -> AccessRequestReport {
    let access = view.authorizer.access();
    let known = access
        .shown()
        .find(|resource| resource.id.as_str() == task.resource.id);
    let time = |seconds: u64| WallTime::from_unix_millis(seconds.saturating_mul(1000)).to_string();
    AccessRequestReport {
        id: printable(&task.id).to_string(),
        status: match task.status {
            GrantStatus::Approved => AccessRequestStatus::Approved,
            GrantStatus::Denied => AccessRequestStatus::Denied,
            GrantStatus::Expired => AccessRequestStatus::Expired,
            GrantStatus::Pending => AccessRequestStatus::Pending,
            GrantStatus::Unknown => AccessRequestStatus::Unknown,
        },
        title: known.map(|resource| resource.title.to_string()),
        resource: printable(&task.resource.id).to_string(),
        reason: printable(&task.reason).to_string(),
        seconds: task.seconds,
        requested_at: time(task.requested_at),
        until: task.expires_at.map(time),
        approver: task.approver.map(|who| printable(&who).to_string()),
    }
}

fn not_asked(error: &NotAsked) -> Reply {
    let message = error.to_string();
    match error {
        NotAsked::Api(error) if error.is_refusal() => {
            failed(FailureKind::BadRequest, &error.advice(), None)
        }
        NotAsked::Api(ApiError::Http(_)) => failed(
            FailureKind::Offline,
            &message,
            Some("Check the network; nothing was asked for."),
        ),
        NotAsked::Api(_) => failed(FailureKind::Internal, &message, None),
        NotAsked::NobodyToAsk => failed(
            FailureKind::BadRequest,
            &message,
            Some("Tell your administrator what you need."),
        ),
        NotAsked::SessionOver => signed_out(),
    }
}

pub(super) fn signed_out() -> Reply {
    failed(
        FailureKind::NotSignedIn,
        "nobody is signed in",
        Some("Run `ztna login`."),
    )
}

pub(super) const SEE_RESOURCES: &str = "Run `ztna resources` to see what there is.";

/// More than the control plane's API promises to send.
const MAX_SHOWN: usize = 100;

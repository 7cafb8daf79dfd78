//! Consents and elevations: asked for, listed, taken back.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use connector_core::access::Reason;
use connector_core::authzen::printable;
use connector_core::catalogue::ResourceId;
use connector_core::connector::Event;
use connector_core::control::{MAX_REASON, is_reason};
use connector_core::trust::{
    Delegation, Elevation, Granted, PinnedProgram, Refused, TrustId, Wish,
};
use connector_ipc::{DelegationReport, ElevationReport, FailureKind, Reply};
use connector_platform::executable::Executable;

use super::{Answering, failed, granting};
use crate::adapters::keys;
use crate::view::{View, convert};

/// Consents that a program acts for the person.
pub(super) async fn delegate(
    answering: &Answering,
    program: String,
    scope: &[String],
    seconds: u64,
    reason: Option<String>,
) -> Reply {
    if let Some(reply) = obstacle(&answering.view, seconds) {
        return reply;
    }
    if reason.as_ref().is_some_and(|text| !is_reason(text)) {
        return bad_reason();
    }
    let scope = match find(&answering.view, scope) {
        Ok(scope) => scope,
        Err(problem) => {
            return failed(
                FailureKind::BadRequest,
                &problem,
                Some(granting::SEE_RESOURCES),
            );
        }
    };
    let read = tokio::task::spawn_blocking(move || Executable::read(Path::new(&program)));
    let program = match read.await {
        Ok(Ok(program)) => program,
        Ok(Err(error)) => {
            let problem = printable(&error.to_string());
            return failed(FailureKind::BadRequest, &problem, Some(NAME_A_PROGRAM));
        }
        Err(_) => return stopping(),
    };
    let wish = Wish::Delegate(Delegation {
        program: PinnedProgram {
            path: program.path,
            sha256: program.sha256,
        },
        scope,
        reason: reason.map(Into::into),
        duration: Duration::from_secs(seconds),
    });
    ask(answering, "d", wish).await
}

/// Acts in the context of another identity.
pub(super) async fn elevate(
    answering: &Answering,
    target: &str,
    reason: &str,
    evidence: &[String],
    seconds: u64,
) -> Reply {
    if let Some(reply) = obstacle(&answering.view, seconds) {
        return reply;
    }
    if !is_reason(reason) {
        return bad_reason();
    }
    let is_word = |text: &str| is_reason(text) && text.chars().count() <= MAX_WORD;
    if evidence.len() > MAX_EVIDENCE || !evidence.iter().all(|text| is_word(text)) {
        let message = format!(
            "the evidence has to be up to {MAX_EVIDENCE} texts of 1 to {MAX_WORD} characters"
        );
        return failed(FailureKind::BadRequest, &message, None);
    }
    if !is_word(target) {
        let message = format!("the target has to be a name of 1 to {MAX_WORD} characters");
        return failed(FailureKind::BadRequest, &message, None);
    }
    let wish = Wish::Elevate(Elevation {
        target: target.into(),
        reason: reason.into(),
        evidence: evidence.iter().map(|text| Arc::from(&**text)).collect(),
        duration: Duration::from_secs(seconds),
    });
    ask(answering, "e", wish).await
}

/// Lists the consents that are in force.
pub(super) fn delegations(view: &View) -> Reply {
    let granted = view.snapshot.borrow().granted.clone();
    let reports = granted.iter().map(|granted| report(granted));
    let reports = reports.filter_map(|reply| match reply {
        Reported::Delegation(report) => Some(report),
        Reported::Elevation(_) => None,
    });
    Reply::Delegations(reports.collect())
}

/// Lists the elevations that are in force.
pub(super) fn elevations(view: &View) -> Reply {
    let granted = view.snapshot.borrow().granted.clone();
    let reports = granted.iter().map(|granted| report(granted));
    let reports = reports.filter_map(|reply| match reply {
        Reported::Delegation(_) => None,
        Reported::Elevation(report) => Some(report),
    });
    Reply::Elevations(reports.collect())
}

/// Ends what is in force; `action` keeps one verb from ending what is another's.
pub(super) async fn revoke(answering: &Answering, action: &str, id: &str) -> Reply {
    let granted = answering.view.snapshot.borrow().granted.clone();
    let known = granted
        .iter()
        .find(|granted| granted.id.as_str() == id && granted.wish.action() == action);
    let Some(known) = known else {
        let (what, list) = match action {
            "delegate" => ("consent", "Run `ztna delegations` to see what is in force."),
            _ => (
                "elevation",
                "Run `ztna elevations` to see what is in force.",
            ),
        };
        let message = format!("no {what} {:?} is in force", printable(id));
        return failed(FailureKind::BadRequest, &message, Some(list));
    };
    answering.order(Event::TrustRevoked(known.id.clone())).await
}

/// Puts a wish to the policy, and waits until it is in force or refused.
async fn ask(answering: &Answering, prefix: &str, wish: Wish) -> Reply {
    let Ok(random) = keys::random::<4>() else {
        return failed(
            FailureKind::Internal,
            "the system gives no randomness",
            None,
        );
    };
    let number = u32::from_be_bytes(*random);
    let id = TrustId::from(&*format!("{prefix}-{number:08x}"));
    let mut snapshot = answering.view.snapshot.clone();
    let requested = Event::TrustRequested {
        id: id.clone(),
        wish,
    };
    if answering.events.send(requested).await.is_err() {
        return stopping();
    }
    let settled = snapshot.wait_for(|known| {
        let mut granted = known.granted.iter().map(|granted| &granted.id);
        let mut refused = known.refused.iter().map(|refused| &refused.id);
        granted.any(|known| *known == id) || refused.any(|known| *known == id)
    });
    let known = match tokio::time::timeout(DECISION_LIMIT, settled).await {
        Ok(Ok(known)) => Arc::clone(&known),
        Ok(Err(_)) => return stopping(),
        Err(_) => {
            let message = "no decision was made; the session may have ended meanwhile";
            return failed(FailureKind::TimedOut, message, None);
        }
    };
    let granted = known.granted.iter().find(|granted| granted.id == id);
    match granted.map(|granted| report(granted)) {
        Some(Reported::Delegation(report)) => Reply::Delegation(report),
        Some(Reported::Elevation(report)) => Reply::Elevation(report),
        None => match known.refused.iter().find(|refused| refused.id == id) {
            Some(refused) => refusal(refused),
            None => stopping(),
        },
    }
}

/// Returns why nothing can be asked for at all, if so.
fn obstacle(view: &View, seconds: u64) -> Option<Reply> {
    if view.snapshot.borrow().session.is_none() {
        return Some(granting::signed_out());
    }
    if !view.decides_here() {
        return Some(failed(FailureKind::BadRequest, DECIDED_ELSEWHERE, None));
    }
    if !(1..=MAX_SECONDS).contains(&seconds) {
        let message = format!("the time has to be 1 to {MAX_SECONDS} seconds");
        return Some(failed(FailureKind::BadRequest, &message, None));
    }
    None
}

/// Finds the resources, by their ids or by their names.
fn find(view: &View, names: &[String]) -> Result<BTreeSet<ResourceId>, String> {
    if names.is_empty() || names.len() > MAX_SCOPE {
        return Err(format!("the scope has to be 1 to {MAX_SCOPE} applications"));
    }
    let access = view.authorizer.access();
    names
        .iter()
        .map(|name| {
            let mut resources = access.catalogue().resources();
            let known = resources.find(|resource| resource.id.as_str() == name);
            match known {
                Some(resource) if !view.hides(resource) => Ok(resource.id.clone()),
                Some(_) | None => granting::wanted(view, name, None),
            }
        })
        .collect()
}

enum Reported {
    Delegation(DelegationReport),
    Elevation(ElevationReport),
}

fn report(granted: &Granted) -> Reported {
    let (id, expires_at) = (granted.id.to_string(), granted.expires_at.to_string());
    let text = |text: &Option<Arc<str>>| text.as_ref().map(ToString::to_string);
    let (policy, commit) = (text(&granted.said.policy), text(&granted.said.commit));
    match &*granted.wish {
        Wish::Delegate(delegation) => Reported::Delegation(DelegationReport {
            id,
            program: delegation.program.path.clone(),
            sha256: delegation.program.sha256.clone(),
            scope: delegation.scope.iter().map(ToString::to_string).collect(),
            reason: text(&delegation.reason),
            expires_at,
            policy,
            commit,
        }),
        Wish::Elevate(elevation) => Reported::Elevation(ElevationReport {
            id,
            target: elevation.target.to_string(),
            reason: elevation.reason.to_string(),
            evidence: elevation.evidence.iter().map(ToString::to_string).collect(),
            trust_level: convert::trust_level(granted.trust_level),
            expires_at,
            policy,
            commit,
        }),
    }
}

fn refusal(refused: &Refused) -> Reply {
    let (denial, reason) = (&refused.denial, refused.denial.reason);
    if reason == Reason::Hidden {
        // In the same words for whom nobody may act for and for whom there is not.
        let message = "The policies know of no such thing that you could ask for.";
        return failed(FailureKind::Denied, message, None);
    }
    if reason == Reason::PdpUnreachable {
        let message = "no policies are in force on this device";
        let remedy = "Check that the control plane can be reached; `ztna status` shows it.";
        return failed(FailureKind::Offline, message, Some(remedy));
    }
    if matches!(
        reason,
        Reason::NotRecorded | Reason::PdpLate | Reason::TooBusy
    ) {
        return failed(FailureKind::Internal, denial.message(), None);
    }
    let said = refused.said.as_ref();
    let own = said.and_then(|said| said.access.remedy.as_deref());
    let posture = (reason == Reason::PostureUnmet).then(|| reason.remedy());
    failed(FailureKind::Denied, denial.message(), own.or(posture))
}

pub(super) fn bad_reason() -> Reply {
    let message = format!("the reason has to be one line of 1 to {MAX_REASON} characters");
    failed(FailureKind::BadRequest, &message, None)
}

fn stopping() -> Reply {
    failed(FailureKind::Internal, "the service is stopping", None)
}

const DECIDED_ELSEWHERE: &str = "consents and elevations are decided by the policies on this device alone (policy.mode = \"proximity\"), and here a policy server decides";

const NAME_A_PROGRAM: &str = "Give the absolute path of an executable.";

/// A week; policies say how much less.
const MAX_SECONDS: u64 = 7 * 86_400;

const MAX_SCOPE: usize = 64;
const MAX_EVIDENCE: usize = 16;
const MAX_WORD: usize = 200;

/// The core gives up on a decision, and on its record, after two seconds each.
const DECISION_LIMIT: Duration = Duration::from_secs(5);

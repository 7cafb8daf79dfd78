//! What Permguard is asked, and what its answer means.

use std::sync::Arc;

use connector_core::access::{Denial, Reason, Workload};
use connector_core::authzen::{AccessRequest, Decision, printable};
use connector_core::configuration::Ledger;

use super::super::Failure;
use super::message::{
    self, Action, AuthorizationCheckRequest, AuthorizationCheckResponse, AuthorizationModel,
    Context, Entities, PolicyStore, Principal, Resource, Struct, Subject,
};

/// Writes the question: the person is the subject, the program on this device the principal.
pub(super) fn write(
    request: &AccessRequest,
    ledger: &Ledger,
    request_id: &str,
) -> AuthorizationCheckRequest {
    let evaluation = request.to_json();
    let properties = |member: &str| object(&evaluation[member]["properties"]);
    AuthorizationCheckRequest {
        authorization_model: Some(AuthorizationModel {
            zone_id: ledger.zone,
            policy_store: Some(PolicyStore {
                kind: "ledger".to_owned(),
                id: ledger.id.to_string(),
            }),
            principal: Some(principal(request)),
            entities: Some(Entities {
                schema: "cedar".to_owned(),
                items: Vec::new(),
            }),
        }),
        request_id: Some(request_id.to_owned()),
        subject: Some(Subject {
            kind: "user".to_owned(),
            id: request.person.subject.to_string(),
            source: Some(request.person.issuer.to_string()),
            properties: Some(properties("subject")),
        }),
        resource: Some(Resource {
            kind: "application".to_owned(),
            id: request.resource.id.as_str().to_owned(),
            properties: Some(properties("resource")),
        }),
        action: Some(Action {
            name: ACTION.to_owned(),
            properties: Some(properties("action")),
        }),
        context: Some(object(&evaluation["context"])),
    }
}

/// Who acts for the person: the program, on which device.
fn principal(request: &AccessRequest) -> Principal {
    let program = match &request.flow.workload {
        Workload::Known(program) | Workload::Supposed(program) => program.path.as_str(),
        Workload::Unknown | Workload::UnknownOf(_) => "unknown",
    };
    Principal {
        kind: "workload".to_owned(),
        id: program.to_owned(),
        source: request.host.as_ref().map(|host| host.as_str().to_owned()),
    }
}

fn object(value: &serde_json::Value) -> Struct {
    value.as_object().map(Struct::from).unwrap_or_default()
}

/// Reads the answer to the question `request_id`.
///
/// Permguard reports its own failures as denials, too: only the code "403",
/// or none, is the policy's word.
pub(super) fn read(
    answer: AuthorizationCheckResponse,
    request_id: &str,
) -> Result<Decision, Failure> {
    check(&answer, request_id)?;
    let item = answer.evaluations.into_iter().next();
    let context = answer
        .context
        .or_else(|| item.and_then(|item| item.context))
        .unwrap_or_default();
    match (answer.decision, code(&context)) {
        (true, None) => Ok(Decision::permitted()),
        (true, Some(code)) => Err(Failure::malformed(format!(
            "a permission with the reason {code:?}"
        ))),
        (false, None | Some(DENIED)) => Ok(denied(&context)),
        (false, Some(code)) => Err(match code.parse() {
            Ok(status) => {
                let words = words(context.reason_admin.as_ref());
                Failure::status(status, format!("{code}: {}", words.unwrap_or_default()))
            }
            Err(_) => Failure::malformed(format!("a denial with the reason {code:?}")),
        }),
    }
}

/// Refuses answers that contradict themselves, or answer something else.
fn check(answer: &AuthorizationCheckResponse, request_id: &str) -> Result<(), Failure> {
    let is_foreign = |id: &Option<String>| {
        id.as_deref()
            .is_some_and(|id| !id.is_empty() && id != request_id)
    };
    if answer.evaluations.len() > 1 {
        let count = answer.evaluations.len();
        return Err(Failure::malformed(format!(
            "{count} answers to one question"
        )));
    }
    let items = || answer.evaluations.iter();
    if is_foreign(&answer.request_id) || items().any(|item| is_foreign(&item.request_id)) {
        return Err(Failure::malformed("the answer to another request"));
    }
    if answer.decision {
        let reported =
            |context: &Option<Context>| context.as_ref().is_some_and(|it| code(it).is_some());
        if items().any(|item| !item.decision || reported(&item.context)) {
            return Err(Failure::malformed(
                "a permission whose parts are no permission",
            ));
        }
    }
    Ok(())
}

fn code(context: &Context) -> Option<&str> {
    let reasons = [&context.reason_admin, &context.reason_user];
    let mut codes = reasons
        .into_iter()
        .flatten()
        .map(|reason| reason.code.as_str());
    codes.find(|code| !code.is_empty())
}

fn denied(context: &Context) -> Decision {
    Decision {
        reason_admin: words(context.reason_admin.as_ref()),
        ..Decision::denied(Denial {
            reason: Reason::PolicyDenied,
            explanation: words(context.reason_user.as_ref()),
        })
    }
}

fn words(reason: Option<&message::Reason>) -> Option<Arc<str>> {
    let words = &reason?.message;
    (!words.is_empty()).then(|| printable(words))
}

/// Permguard splits an action's name at the last `::` into Cedar's type and id.
const ACTION: &str = "Action::connect";

/// The policy's no.
const DENIED: &str = "403";

#[cfg(test)]
mod tests {
    use connector_core::connector::PdpFailure;

    use super::super::super::tests::request;
    use super::super::message::{Evaluation, Kind};
    use super::*;

    #[test]
    fn the_program_on_the_device_acts_for_the_person() {
        let ledger = Ledger {
            zone: 273_165_098_782,
            id: "fd1a".into(),
        };

        let question = write(&request("wiki"), &ledger, "q1");

        let model = question.authorization_model.unwrap();
        assert_eq!(model.zone_id, 273_165_098_782);
        assert_eq!(model.policy_store.unwrap().kind, "ledger");
        let principal = model.principal.unwrap();
        assert_eq!(principal.kind, "workload");
        assert_eq!(principal.id, "/usr/bin/curl");
        assert_eq!(principal.source.as_deref(), Some("host-1"));
        let subject = question.subject.unwrap();
        assert_eq!((&*subject.kind, &*subject.id), ("user", "ann"));
        let properties = subject.properties.unwrap();
        let Some(Kind::List(groups)) = &properties.fields["groups"].kind else {
            panic!("groups are a list");
        };
        assert_eq!(groups.values[0].kind, Some(Kind::Text("staff".to_owned())));
        assert_eq!(question.action.unwrap().name, "Action::connect");
        assert_eq!(question.request_id.as_deref(), Some("q1"));
    }

    #[test]
    fn only_the_policy_s_no_is_a_denial() {
        let denied = read(refused("403", "Staff only."), "q1").unwrap();
        let denial = denied.outcome.unwrap_err();
        assert_eq!(denial.reason, Reason::PolicyDenied);
        assert_eq!(denial.explanation.as_deref(), Some("Staff only."));
        let silent = read(AuthorizationCheckResponse::default(), "q1").unwrap();
        assert!(silent.outcome.is_err());

        for (code, kind) in [
            ("400", PdpFailure::Status(400)),
            ("401", PdpFailure::Status(401)),
            ("500", PdpFailure::Status(500)),
            ("teapot", PdpFailure::Malformed),
            ("99999", PdpFailure::Malformed),
        ] {
            assert_eq!(read(refused(code, "x"), "q1").unwrap_err().kind, kind);
        }
    }

    #[test]
    fn a_permission_that_contradicts_itself_is_none() {
        let permitted = || AuthorizationCheckResponse {
            decision: true,
            ..AuthorizationCheckResponse::default()
        };
        let item = |decision| Evaluation {
            decision,
            ..Evaluation::default()
        };
        assert_eq!(read(permitted(), "q1").unwrap().outcome, Ok(()));
        let plain = AuthorizationCheckResponse {
            request_id: Some("q1".into()),
            evaluations: vec![item(true)],
            ..permitted()
        };
        assert_eq!(read(plain, "q1").unwrap().outcome, Ok(()));

        for contradiction in [
            AuthorizationCheckResponse {
                evaluations: vec![item(false)],
                ..permitted()
            },
            AuthorizationCheckResponse {
                evaluations: vec![item(true), item(true)],
                ..permitted()
            },
            AuthorizationCheckResponse {
                request_id: Some("q2".into()),
                ..permitted()
            },
            AuthorizationCheckResponse {
                evaluations: vec![Evaluation {
                    request_id: Some("q2".into()),
                    ..item(true)
                }],
                ..permitted()
            },
            AuthorizationCheckResponse {
                context: refused("403", "no").context,
                ..permitted()
            },
            AuthorizationCheckResponse {
                evaluations: vec![Evaluation {
                    context: refused("500", "no").context,
                    ..item(true)
                }],
                ..permitted()
            },
        ] {
            let failure = read(contradiction.clone(), "q1").unwrap_err();
            assert_eq!(failure.kind, PdpFailure::Malformed, "{contradiction:?}");
        }
    }

    fn refused(code: &str, message: &str) -> AuthorizationCheckResponse {
        let reason = message::Reason {
            code: code.to_owned(),
            message: message.to_owned(),
        };
        AuthorizationCheckResponse {
            context: Some(Context {
                reason_admin: Some(reason.clone()),
                reason_user: Some(reason),
                ..Context::default()
            }),
            ..AuthorizationCheckResponse::default()
        }
    }
}

//! Consents and elevations, put to policies by the actions `delegate` and `elevate`.

use std::sync::Arc;

use cedar_policy::{Entity, EntityUid, RestrictedExpression};
use connector_core::access::{Program, Workload};
use connector_core::authzen::Decision;
use connector_core::trust::{TrustRequest, Wish};

use crate::evaluation::facts::{self, TYPES, described, entity, reference, text, texts};
use crate::evaluation::{Circumstances, Facts, Standing, Subject, Unanswerable};
use crate::snapshot::{Action, Snapshot};

impl Snapshot {
    /// Decides whether a person may consent that a program acts for them, or may act in the
    /// context of another identity.
    #[must_use]
    pub fn decide_wish(
        &self,
        subject: &Subject,
        request: &TrustRequest,
        circumstances: &Circumstances,
    ) -> Decision {
        self.answer(subject, |standing| {
            let facts = facts_of(subject, standing, request, circumstances)?;
            self.question(facts, request.time, circumstances)
        })
    }
}

fn facts_of(
    subject: &Subject,
    standing: &Standing,
    request: &TrustRequest,
    circumstances: &Circumstances,
) -> Result<Facts, Unanswerable> {
    let (action, resource, described) = about(&request.wish, subject)?;
    let mut facts = Facts::new(action, subject, standing, vec![resource], described)?;
    facts.surround(standing, (request.time, request.network), circumstances)?;
    let seconds = i64::try_from(request.wish.duration().as_secs()).unwrap_or(i64::MAX);
    facts.say("seconds", RestrictedExpression::new_long(seconds));
    match &*request.wish {
        Wish::Delegate(delegation) => {
            let scope = delegation.scope.iter();
            let scope = scope.map(|it| reference(entity(&TYPES.resource, it.as_str())));
            facts.say("scope", RestrictedExpression::new_set(scope));
        }
        Wish::Elevate(elevation) => {
            let evidence = elevation.evidence.iter().map(ToString::to_string);
            facts.say("reason", text(&elevation.reason));
            facts.say("evidence", texts(evidence));
        }
    }
    Ok(facts)
}

/// Returns the action and the resource of a wish, and what is known of the resource.
fn about(
    wish: &Wish,
    subject: &Subject,
) -> Result<(Action, EntityUid, Option<Entity>), Unanswerable> {
    match wish {
        Wish::Delegate(delegation) => {
            let program = Workload::Known(Arc::new(Program {
                path: delegation.program.path.clone(),
                user: None,
                sha256: Some(delegation.program.sha256.clone()),
                ancestors: vec![],
            }));
            let uid = facts::workload(&program);
            let described = described(uid.clone(), facts::known(&program), [])?;
            Ok((Action::Delegate, uid, Some(described)))
        }
        Wish::Elevate(elevation) => {
            let (uid, described) = facts::target(&elevation.target, subject)?;
            Ok((Action::Elevate, uid, described))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use connector_core::access::{Denial, Reason};
    use connector_core::authzen::AccessRequest;
    use connector_core::posture::Finding;
    use connector_core::trust::{Acting, Delegation, Elevated, Elevation, PinnedProgram};

    use super::*;
    use crate::author;
    use crate::evaluation::DecisionPoint;
    use crate::testing::{Asked, at};

    #[test]
    fn an_elevation_needs_a_policy_of_the_target_a_trust_level_and_evidence() {
        let policy = r#"@id("support") permit(principal in Group::"support", action == Action::"elevate",
                resource == Person::"bob")
            when { context.trust_level >= 3 && context.seconds <= 3600 && context.reason != "" }
            when { context.evidence.containsAny(["ticket:1"]) };"#;
        let supporter = Asked {
            groups: vec!["support"],
            ..Asked::default()
        };
        let low = Asked {
            findings: vec![("disk", Finding::Fail)],
            ..supporter.clone()
        };
        let decide = |asked: &Asked, target: &str, evidence: &str, minutes: u64| {
            let wish = Wish::Elevate(Elevation {
                target: target.into(),
                reason: "asked to".into(),
                evidence: BTreeSet::from([evidence.into()]),
                duration: Duration::from_secs(minutes * 60),
            });
            decided(policy, asked, wish).outcome
        };

        assert_eq!(decide(&supporter, "bob", "ticket:1", 60), Ok(()));
        assert!(decide(&supporter, "eve", "ticket:1", 60).is_err());
        assert!(decide(&supporter, "bob", "hearsay", 60).is_err());
        assert!(decide(&supporter, "bob", "ticket:1", 61).is_err());
        let unmet = decide(&low, "bob", "ticket:1", 60).unwrap_err();
        assert_eq!(unmet.reason, Reason::PostureUnmet);
        assert!(decide(&Asked::default(), "bob", "ticket:1", 60).is_err());
    }

    #[test]
    fn nobody_learns_whom_they_could_never_act_for() {
        let policy = r#"@id("support") permit(principal in Group::"support", action == Action::"elevate",
                resource == Person::"bob");"#;
        let elevate = |target: &str| {
            let wish = Wish::Elevate(Elevation {
                target: target.into(),
                reason: "curious".into(),
                evidence: BTreeSet::new(),
                duration: Duration::from_secs(60),
            });
            decided(policy, &Asked::default(), wish).outcome
        };

        assert_eq!(elevate("bob").unwrap_err().reason, Reason::Hidden);
        assert_eq!(elevate("bob"), elevate("nobody"));
    }

    #[test]
    fn a_delegation_is_decided_by_program_content_scope_and_time() {
        let policy = r#"@id("agents") permit(principal, action == Action::"delegate", resource)
            when { resource has path && resource.path like "/opt/agents/*" && resource has sha256 && resource.sha256 == "ab" }
            when { [Resource::"wiki"].containsAll(context.scope) && context.seconds <= 3600 };"#;
        let decide = |path: &str, sha256: &str, scope: &[&str], seconds| {
            let wish = Wish::Delegate(Delegation {
                program: PinnedProgram {
                    path: path.into(),
                    sha256: sha256.into(),
                },
                scope: scope.iter().map(|id| (*id).into()).collect(),
                reason: None,
                duration: Duration::from_secs(seconds),
            });
            decided(policy, &Asked::default(), wish).outcome.is_ok()
        };

        assert!(decide("/opt/agents/a", "ab", &["wiki"], 600));
        assert!(!decide("/opt/agents/a", "cd", &["wiki"], 600));
        assert!(!decide("/opt/agents/a", "ab", &["wiki", "mail"], 600));
        assert!(!decide("/opt/agents/a", "ab", &["wiki"], 3601));
        assert!(!decide("/usr/bin/curl", "ab", &["wiki"], 600));
    }

    #[test]
    fn a_program_that_needs_a_consent_is_told_so_and_others_are_not() {
        let policy = r#"@id("wiki") permit(principal, action == Action::"connect", resource == Resource::"wiki");
            @id("agents") forbid(principal, action == Action::"connect", resource)
            when { context.workload has path && context.workload.path like "/opt/agents/*" }
            unless { context.delegated };
            @id("closed") forbid(principal, action == Action::"connect", resource)
            when { context.workload has path && context.workload.path == "/opt/agents/closed" };"#;
        let decide = |program: Option<&'static str>, acting: Acting| {
            let asked = Asked {
                program,
                ..Asked::default()
            };
            connect(policy, &asked, acting)
        };
        let consent = || Acting::Delegated("d-1".into());
        let agent = Some("/opt/agents/reader");

        let refused = decide(agent, Acting::Oneself).unwrap_err();
        assert_eq!(refused.reason, Reason::DelegationNeeded);
        assert_eq!(decide(agent, consent()), Ok(()));
        let closed = decide(Some("/opt/agents/closed"), Acting::Oneself);
        assert_eq!(closed.unwrap_err().reason, Reason::PolicyDenied);
        assert_eq!(decide(Some("/usr/bin/curl"), Acting::Oneself), Ok(()));
    }

    #[test]
    fn a_connection_carries_whose_context_the_person_acts_in() {
        let policy = r#"@id("wiki") permit(principal, action == Action::"connect", resource == Resource::"wiki")
            when { context has acting_as && context.acting_as == Person::"carol" && context.acting_as.issuer != "" };"#;
        let decide = |target: &str| {
            let acting = Acting::Elevated(Elevated {
                id: "e-1".into(),
                target: target.into(),
            });
            connect(policy, &Asked::default(), acting).is_ok()
        };

        assert!(decide("carol"));
        assert!(!decide("bob"));
        assert!(connect(policy, &Asked::default(), Acting::Oneself).is_err());
    }

    fn connect(policy: &str, asked: &Asked, acting: Acting) -> Result<(), Denial> {
        let request = AccessRequest {
            acting,
            ..asked.request()
        };
        let circumstances = Circumstances::default();
        let mut point = DecisionPoint::new(Arc::new(snapshot(policy)), None);
        point.decide(&request, &circumstances).outcome
    }

    fn decided(policy: &str, asked: &Asked, wish: Wish) -> Decision {
        let request = asked.request();
        let request = TrustRequest {
            person: request.person,
            session: request.session,
            assurance: request.assurance,
            host: request.host,
            verdict: request.verdict,
            wish: Arc::new(wish),
            network: request.network,
            time: at("12:00"),
        };
        let subject = Subject::of_wish(&request).unwrap();
        snapshot(policy).decide_wish(&subject, &request, &Circumstances::default())
    }

    fn snapshot(policy: &str) -> Snapshot {
        author::check([("test.cedar", policy)]).unwrap()
    }
}

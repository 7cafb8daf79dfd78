//! Acting for somebody else: in their context, or with their consent.
//!
//! Both are requests of their own, which policies decide by the actions
//! `elevate` and `delegate`. What is granted ends by itself and can be revoked;
//! what is here are the requests, and what is written down about them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cedar_policy::RestrictedExpression;
use connector_core::access::Workload;
use connector_core::authzen::{AccessRequest, Decision};
use connector_core::catalogue::ResourceId;
use connector_core::identity::Person;
use connector_core::posture::TrustLevel;
use connector_core::time::WallTime;

use crate::evaluation::facts::{self, TYPES, described, entity, reference, text, texts};
use crate::evaluation::{Circumstances, Facts, Standing, Subject, Unanswerable};
use crate::snapshot::{Action, Snapshot};

/// Somebody wants to act in the context of another identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elevation {
    /// Whose context.
    pub target: Arc<Person>,
    /// Why, in their words.
    pub reason: Arc<str>,
    /// What proves it, as in `ticket:4711`.
    pub evidence: BTreeSet<String>,
    /// For how long.
    pub duration: Duration,
}

/// A person consents that a program acts for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The program.
    pub workload: Workload,
    /// The applications.
    pub scope: BTreeSet<ResourceId>,
    /// For how long.
    pub duration: Duration,
}

/// What is written down about a granted elevation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElevationRecord {
    /// Names it, so that it can be revoked.
    pub id: Arc<str>,
    /// Who acts.
    pub actor: Arc<Person>,
    /// What was asked.
    pub elevation: Elevation,
    /// How far the device could be relied on.
    pub trust_level: TrustLevel,
    /// The policies that permitted it, and their commit.
    pub decided_by: DecidedBy,
    /// When it ends.
    pub expires_at: WallTime,
}

/// What is written down about a granted delegation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationRecord {
    /// Names it, so that it can be revoked.
    pub id: Arc<str>,
    /// Who consents.
    pub person: Arc<Person>,
    /// What to.
    pub delegation: Delegation,
    /// The policies that permitted it, and their commit.
    pub decided_by: DecidedBy,
    /// When it ends.
    pub expires_at: WallTime,
}

/// The policies that decided, and their commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecidedBy {
    /// The policies' ids.
    pub policy: Option<Arc<str>>,
    /// Their commit.
    pub commit: Option<Arc<str>>,
}

impl DelegationRecord {
    /// Returns whether this consent covers a connection: the same person and
    /// program, an application in its scope, before its end. A program that is
    /// not known is covered by nothing.
    #[must_use]
    pub fn covers(&self, request: &AccessRequest) -> bool {
        let Workload::Known(program) = &request.flow.workload else {
            return false;
        };
        let Workload::Known(consented) = &self.delegation.workload else {
            return false;
        };
        let hash = consented.sha256.is_none() || consented.sha256 == program.sha256;
        let person = &request.person;
        (&person.issuer, &person.subject) == (&self.person.issuer, &self.person.subject)
            && program.path == consented.path
            && program.user == consented.user
            && hash
            && self.delegation.scope.contains(&request.resource.id)
            && request.time < self.expires_at
    }
}

impl Snapshot {
    /// Decides whether somebody may act in the context of another identity.
    #[must_use]
    pub fn decide_elevation(
        &self,
        actor: &Subject,
        elevation: &Elevation,
        time: WallTime,
        circumstances: &Circumstances,
    ) -> Decision {
        self.answer(actor, |standing| {
            let (target, described) = facts::person(&elevation.target)?;
            let mut resources = vec![target];
            resources.extend(facts::groups(&elevation.target));
            let about = About {
                action: Action::Elevate,
                resources,
                entity: Some(described),
                duration: elevation.duration,
            };
            let mut facts = about.facts(actor, standing, time, circumstances)?;
            facts.say("reason", text(&elevation.reason));
            facts.say("evidence", texts(elevation.evidence.iter().cloned()));
            self.question(facts, time, circumstances)
        })
    }

    /// Decides whether a person may let a program act for them.
    #[must_use]
    pub fn decide_delegation(
        &self,
        person: &Subject,
        delegation: &Delegation,
        time: WallTime,
        circumstances: &Circumstances,
    ) -> Decision {
        self.answer(person, |standing| {
            let program = facts::workload(&delegation.workload);
            let known = facts::known(&delegation.workload);
            let about = About {
                action: Action::Delegate,
                entity: Some(described(program.clone(), known, [])?),
                resources: vec![program],
                duration: delegation.duration,
            };
            let mut facts = about.facts(person, standing, time, circumstances)?;
            let scope = delegation.scope.iter();
            let scope = scope.map(|resource| reference(entity(&TYPES.resource, resource.as_str())));
            facts.say("scope", RestrictedExpression::new_set(scope));
            self.question(facts, time, circumstances)
        })
    }
}

/// What elevation and delegation have in common.
struct About {
    action: Action,
    resources: Vec<cedar_policy::EntityUid>,
    entity: Option<cedar_policy::Entity>,
    duration: Duration,
}

impl About {
    fn facts(
        self,
        subject: &Subject,
        standing: &Standing,
        time: WallTime,
        circumstances: &Circumstances,
    ) -> Result<Facts, Unanswerable> {
        let mut facts = Facts::new(self.action, subject, standing, self.resources, self.entity)?;
        facts.surround(standing, time, circumstances)?;
        let seconds = i64::try_from(self.duration.as_secs()).unwrap_or(i64::MAX);
        facts.say("seconds", RestrictedExpression::new_long(seconds));
        Ok(facts)
    }
}

#[cfg(test)]
mod tests {
    use connector_core::posture::Finding;

    use super::*;
    use crate::author;
    use crate::testing::{Asked, at};

    #[test]
    fn an_elevation_needs_a_policy_of_the_target_a_trust_level_and_evidence() {
        let policy = r#"@id("support") permit(principal in Group::"support", action == Action::"elevate",
                resource in Group::"staff")
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
        let decide = |asked: &Asked, target: &Arc<Person>, evidence: &str, minutes: u64| {
            let elevation = Elevation {
                target: Arc::clone(target),
                reason: "asked to".into(),
                evidence: BTreeSet::from([evidence.to_owned()]),
                duration: Duration::from_secs(minutes * 60),
            };
            let subject = Subject::of(&asked.request()).unwrap();
            let decision = snapshot(policy).decide_elevation(
                &subject,
                &elevation,
                at("12:00"),
                &Circumstances::default(),
            );
            decision.outcome.is_ok()
        };
        let (bob, boss) = (person("bob", &["staff"]), person("eve", &["board"]));

        assert!(decide(&supporter, &bob, "ticket:1", 60));
        assert!(!decide(&supporter, &boss, "ticket:1", 60));
        assert!(!decide(&supporter, &bob, "hearsay", 60));
        assert!(!decide(&supporter, &bob, "ticket:1", 61));
        assert!(!decide(&low, &bob, "ticket:1", 60));
        assert!(!decide(&Asked::default(), &bob, "ticket:1", 60));
    }

    #[test]
    fn a_delegation_is_decided_by_program_scope_and_time() {
        let policy = r#"@id("agents") permit(principal, action == Action::"delegate", resource)
            when { resource has path && resource.path like "/opt/agents/*" }
            when { [Resource::"wiki"].containsAll(context.scope) && context.seconds <= 3600 };"#;
        let decide = |program: &'static str, scope: &[&str]| {
            let asked = Asked {
                program: Some(program),
                ..Asked::default()
            };
            let request = asked.request();
            let delegation = Delegation {
                workload: request.flow.workload.clone(),
                scope: scope.iter().map(|id| (*id).into()).collect(),
                duration: Duration::from_secs(600),
            };
            let subject = Subject::of(&request).unwrap();
            let decision = snapshot(policy).decide_delegation(
                &subject,
                &delegation,
                at("12:00"),
                &Circumstances::default(),
            );
            decision.outcome.is_ok()
        };

        assert!(decide("/opt/agents/a", &["wiki"]));
        assert!(!decide("/opt/agents/a", &["wiki", "mail"]));
        assert!(!decide("/usr/bin/curl", &["wiki"]));
    }

    #[test]
    fn a_consent_covers_its_program_its_scope_and_its_time_only() {
        let request = Asked::default().request();
        let record = DelegationRecord {
            id: "1".into(),
            person: Arc::clone(&request.person),
            delegation: Delegation {
                workload: request.flow.workload.clone(),
                scope: BTreeSet::from(["wiki".into()]),
                duration: Duration::from_secs(600),
            },
            decided_by: DecidedBy::default(),
            expires_at: at("12:10"),
        };

        assert!(record.covers(&request));
        for other in [
            Asked {
                program: Some("/usr/bin/wget"),
                ..Asked::default()
            },
            Asked {
                program: None,
                ..Asked::default()
            },
            Asked {
                time: at("12:10"),
                ..Asked::default()
            },
        ] {
            assert!(!record.covers(&other.request()), "{other:?}");
        }
        let mut unknown = record.clone();
        unknown.delegation.workload = Workload::Unknown;
        assert!(!unknown.covers(&request));
        let mut elsewhere = record.clone();
        elsewhere.delegation.scope = BTreeSet::from(["mail".into()]);
        assert!(!elsewhere.covers(&request));
    }

    fn person(subject: &str, groups: &[&str]) -> Arc<Person> {
        Arc::new(Person {
            issuer: "https://id.corp.test".into(),
            subject: subject.into(),
            name: None,
            email: None,
            groups: groups.iter().map(|group| (*group).into()).collect(),
        })
    }

    fn snapshot(policy: &str) -> Snapshot {
        author::check([("test.cedar", policy)]).unwrap()
    }
}

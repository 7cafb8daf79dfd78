//! Requests put to the policies of one commit.

mod explanation;
pub(crate) mod facts;

use std::sync::Arc;
use std::time::Duration;

use cedar_policy::{Authorizer, Decision as Verdict, Entities, Request};
use connector_core::access::{Denial, Reason};
use connector_core::authzen::{
    Access, AccessRequest, Decision, Difference, Granted, Opinion, StepUp,
};
use connector_core::catalogue::Resource;
use connector_core::identity::Person;
use connector_core::time::WallTime;
use connector_core::trust::{Acting, TrustId, TrustRequest};

use crate::policy::Policy;
use crate::snapshot::{Action, Bucket, Snapshot};

pub use self::explanation::{Candidate, Explanation, Outcome};
pub use self::facts::{Circumstances, Subject, Unanswerable};
pub(crate) use self::facts::{Facts, Standing};

impl Snapshot {
    /// Decides about a connection.
    #[must_use]
    pub fn decide(
        &self,
        subject: &Subject,
        request: &AccessRequest,
        circumstances: &Circumstances,
    ) -> Decision {
        let question = |standing: &Standing| {
            let facts = Facts::of_connection(subject, standing, request, circumstances)?;
            self.question(facts, request.time, circumstances)
        };
        let mut decision = self.answer(subject, question);
        if let Err(denial) = &mut decision.outcome
            && denial.reason == Reason::PolicyDenied
            && self.consent_would_do(subject, request, circumstances)
        {
            denial.reason = Reason::DelegationNeeded;
        }
        decision
    }

    /// Returns whether a program that acts by itself could do so with the person's consent.
    fn consent_would_do(
        &self,
        subject: &Subject,
        request: &AccessRequest,
        circumstances: &Circumstances,
    ) -> bool {
        let is_delegated = matches!(request.acting, Acting::Delegated(_));
        if is_delegated || request.flow.workload.program().is_none() {
            return false;
        }
        let delegated = AccessRequest {
            acting: Acting::Delegated(TrustId::from("supposed")),
            ..request.clone()
        };
        let facts = Facts::of_connection(subject, subject.standing(), &delegated, circumstances);
        let question = facts.and_then(|facts| self.question(facts, request.time, circumstances));
        question.is_ok_and(|question| self.put(&question).outcome.is_ok())
    }

    /// Decides, and looks what a better device would change if the answer is no.
    pub(crate) fn answer(
        &self,
        subject: &Subject,
        question: impl Fn(&Standing) -> Result<Question, Unanswerable>,
    ) -> Decision {
        let asked = match question(subject.standing()) {
            Ok(asked) => asked,
            Err(error) => return self.failed(None, error.to_string()),
        };
        let mut decision = self.put(&asked);
        if let Err(denial) = &mut decision.outcome
            && denial.reason == Reason::PolicyDenied
            && let Some(compliant) = subject.compliant()
            && let Ok(better) = question(compliant)
            && self.put(&better).outcome.is_ok()
        {
            denial.reason = Reason::PostureUnmet;
        }
        decision
    }

    /// Makes a request of facts.
    pub(crate) fn question(
        &self,
        mut facts: Facts,
        time: WallTime,
        circumstances: &Circumstances,
    ) -> Result<Question, Unanswerable> {
        if self.candidates(&facts).any(|it| it.edges.tells_time) {
            facts.tell_time(time);
        }
        let (request, entities) = facts.take_request()?;
        Ok(Question {
            facts,
            request,
            entities,
            time,
            offline_for: circumstances.offline_for,
        })
    }

    fn put(&self, question: &Question) -> Decision {
        let mut found = Found::default();
        for bucket in self.candidates(&question.facts) {
            found.take(question.ask(bucket));
            found.edge(bucket, question.time);
        }
        let valid_until = found.valid_until;
        let decision = self.judge(found, question);
        Decision {
            commit: Some(self.commit_name()),
            valid_until,
            ..decision
        }
    }

    fn candidates<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a Bucket> {
        self.index()
            .candidates(facts.action, &facts.resources, &facts.principals)
    }

    /// Unlike Cedar, which leaves out a policy that fails, refuses if any fails:
    /// it might have been the one that forbids.
    fn judge(&self, mut found: Found, question: &Question) -> Decision {
        if let Some((policy, error)) = found.errors.first() {
            let failed = self.failed(Some(policy), error.clone());
            if !self.offers(&question.facts) {
                let outcome = Err(Reason::Hidden.into());
                return Decision { outcome, ..failed };
            }
            return failed;
        }
        if !found.forbids.is_empty() {
            let policies = self.named(&mut found.forbids);
            if !self.offers(&question.facts) {
                return hidden(&policies);
            }
            return refusal(Reason::PolicyDenied, &policies, &policies);
        }
        if found.permits.is_empty() {
            if !self.offers(&question.facts) {
                return hidden(&[]);
            }
            let near = self.near_misses(question);
            return refusal(Reason::PolicyDenied, &[], &near);
        }
        let policies = self.named(&mut found.permits);
        let Some(offline_for) = question.offline_for else {
            return permission(&policies, None);
        };
        let lasting: Vec<&Policy> = policies
            .iter()
            .filter(|policy| policy.annotations.offline > Some(offline_for))
            .copied()
            .collect();
        if lasting.is_empty() {
            return refusal(Reason::Offline, &policies, &[]);
        }
        permission(&lasting, Some(offline_for))
    }

    /// Returns the permits that are about this, and say what to do, but whose
    /// conditions are not met.
    fn near_misses(&self, question: &Question) -> Vec<&Policy> {
        let candidates = self.candidates(&question.facts);
        let policies = candidates.flat_map(|bucket| bucket.policies.policies());
        let known = policies.filter_map(|policy| self.policy(policy.id().as_ref()));
        known
            .filter(|policy| policy.is_permit() && policy.has_hints())
            .take(1)
            .collect()
    }

    /// Returns whether any permit is about this, whatever its conditions say now.
    fn offers(&self, facts: &Facts) -> bool {
        self.candidates(facts).any(|bucket| bucket.has_permit)
    }

    /// Returns whether a person must not learn that a resource is there: no permit is about
    /// them and it, so that nothing which they could do or wait for would open it.
    #[must_use]
    pub fn hides(&self, person: &Person, resource: &Resource) -> bool {
        let principals = facts::principals(person);
        let resources = facts::resources(resource);
        let mut candidates = self
            .index()
            .candidates(Action::Connect, &resources, &principals);
        !candidates.any(|bucket| bucket.has_permit)
    }

    fn named(&self, ids: &mut Vec<String>) -> Vec<&Policy> {
        ids.sort_unstable();
        ids.dedup();
        ids.iter().filter_map(|id| self.policy(id)).collect()
    }

    fn failed(&self, policy: Option<&str>, error: String) -> Decision {
        let denial = Denial {
            reason: Reason::PolicyDenied,
            explanation: Some("A policy could not be evaluated; tell your administrator.".into()),
        };
        Decision {
            policy: policy.map(Into::into),
            commit: Some(self.commit_name()),
            reason_admin: Some(error.into()),
            ..Decision::denied(denial)
        }
    }
}

/// A request as Cedar takes it.
#[derive(Debug)]
pub(crate) struct Question {
    facts: Facts,
    request: Request,
    entities: Arc<Entities>,
    time: WallTime,
    offline_for: Option<Duration>,
}

impl Question {
    fn ask(&self, bucket: &Bucket) -> cedar_policy::Response {
        Authorizer::new().is_authorized(&self.request, &bucket.policies, &self.entities)
    }
}

/// What the candidates said.
#[derive(Debug, Default)]
struct Found {
    permits: Vec<String>,
    forbids: Vec<String>,
    errors: Vec<(String, String)>,
    valid_until: Option<WallTime>,
}

impl Found {
    fn take(&mut self, response: cedar_policy::Response) {
        let diagnostics = response.diagnostics();
        for error in diagnostics.errors() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(failed) = error;
            let id = failed.policy_id().to_string();
            self.errors.push((id, error.to_string()));
        }
        let policies = diagnostics.reason().map(ToString::to_string);
        match response.decision() {
            Verdict::Allow => self.permits.extend(policies),
            Verdict::Deny => self.forbids.extend(policies),
        }
    }

    fn edge(&mut self, bucket: &Bucket, now: WallTime) {
        let next = bucket.edges.next(now);
        self.valid_until = self.valid_until.into_iter().chain(next).min();
    }
}

impl Policy {
    fn has_hints(&self) -> bool {
        let said = &self.annotations;
        [
            &said.reason_user,
            &said.reason_admin,
            &said.remedy,
            &said.step_up,
            &said.requestable,
        ]
        .iter()
        .any(|hint| hint.is_some())
    }
}

/// Grants what all of these permit: the shortest lease of any, and offline the
/// longest, since each of them alone would do.
fn permission(policies: &[&Policy], offline_for: Option<Duration>) -> Decision {
    let said = || policies.iter().map(|policy| &policy.annotations);
    let lease = said().filter_map(|said| said.lease).min();
    let offline = said().filter_map(|said| said.offline).max();
    let request = said().find_map(|said| said.request.clone());
    let rest = offline_for.map(|so_far| offline.unwrap_or_default().saturating_sub(so_far));
    Decision {
        policy: names(policies),
        lease: lease.into_iter().chain(rest).min(),
        offline,
        granted: request.map(|request| Granted {
            request,
            reason: None,
        }),
        ..Decision::permitted()
    }
}

/// Refuses, with the first text of each kind that the advising policies have.
fn refusal(reason: Reason, deciding: &[&Policy], advising: &[&Policy]) -> Decision {
    let said = || advising.iter().map(|policy| &policy.annotations);
    let denial = Denial {
        reason,
        explanation: said().find_map(|said| said.reason_user.clone()),
    };
    let step_up = said().find_map(|said| said.step_up.clone());
    Decision {
        policy: names(deciding),
        reason_admin: said().find_map(|said| said.reason_admin.clone()),
        access: Access {
            remedy: said().find_map(|said| said.remedy.clone()),
            requestable: said().find_map(|said| said.requestable.clone()),
            step_up: step_up.map(|values| StepUp {
                acr_values: Some(values),
                max_age: None,
            }),
        },
        ..Decision::denied(denial)
    }
}

/// Refuses in the words for what is not there; the record names the policies all the same.
fn hidden(deciding: &[&Policy]) -> Decision {
    Decision {
        policy: names(deciding),
        ..Decision::denied(Reason::Hidden.into())
    }
}

fn names(policies: &[&Policy]) -> Option<Arc<str>> {
    let names: Vec<&str> = policies.iter().map(|policy| &*policy.id).collect();
    (!names.is_empty()).then(|| names.join(", ").into())
}

/// The policies in force, and a candidate beside them.
///
/// Keeps what it made of the last person and device, so that only what differs
/// between their requests is made anew.
#[derive(Debug)]
pub struct DecisionPoint {
    active: Arc<Snapshot>,
    shadow: Option<Arc<Snapshot>>,
    subject: Option<Subject>,
}

impl DecisionPoint {
    /// Decides by `active`, and compares with `shadow`.
    #[must_use]
    pub fn new(active: Arc<Snapshot>, shadow: Option<Arc<Snapshot>>) -> Self {
        Self {
            active,
            shadow,
            subject: None,
        }
    }

    /// Returns the policies in force.
    #[must_use]
    pub fn active(&self) -> &Arc<Snapshot> {
        &self.active
    }

    /// Decides about a connection.
    pub fn decide(&mut self, request: &AccessRequest, circumstances: &Circumstances) -> Decision {
        match Self::subject(&mut self.subject, request) {
            Ok(subject) => self.active.decide(subject, request, circumstances),
            Err(error) => self.active.failed(None, error.to_string()),
        }
    }

    /// Decides about a consent or an elevation.
    #[must_use]
    pub fn decide_wish(&self, request: &TrustRequest, circumstances: &Circumstances) -> Decision {
        match Subject::of_wish(request) {
            Ok(subject) => self.active.decide_wish(&subject, request, circumstances),
            Err(error) => self.active.failed(None, error.to_string()),
        }
    }

    /// Returns what the candidate says, if it does not agree with what was decided.
    pub fn differs(
        &mut self,
        decided: &Decision,
        request: &AccessRequest,
        circumstances: &Circumstances,
    ) -> Option<Difference> {
        let shadow = self.shadow.as_ref()?;
        let candidate = match Self::subject(&mut self.subject, request) {
            Ok(subject) => shadow.decide(subject, request, circumstances),
            Err(error) => shadow.failed(None, error.to_string()),
        };
        (candidate.outcome.is_ok() != decided.outcome.is_ok()).then(|| Difference {
            active: Opinion::from(decided),
            candidate: Opinion::from(&candidate),
        })
    }

    /// Decides, and tells what each policy had to say.
    ///
    /// # Errors
    ///
    /// [`Unanswerable`] if the request cannot be put to policies.
    pub fn explain(
        &mut self,
        request: &AccessRequest,
        circumstances: &Circumstances,
    ) -> Result<Explanation, Unanswerable> {
        let subject = Self::subject(&mut self.subject, request)?;
        self.active.explain(subject, request, circumstances)
    }

    fn subject<'a>(
        kept: &'a mut Option<Subject>,
        request: &AccessRequest,
    ) -> Result<&'a Subject, Unanswerable> {
        let fits = kept.as_ref().is_some_and(|kept| kept.fits(request));
        match kept.take().filter(|_| fits) {
            Some(subject) => Ok(kept.insert(subject)),
            None => Ok(kept.insert(Subject::of(request)?)),
        }
    }
}

#[cfg(test)]
mod tests;

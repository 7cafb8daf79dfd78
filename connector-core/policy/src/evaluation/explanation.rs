//! What each policy had to say about a request.

use std::sync::Arc;

use cedar_policy::pst::{self, Clause};
use cedar_policy::{Decision as Verdict, PolicyId, PolicySet};
use connector_core::authzen::{AccessRequest, Decision};

use super::{Circumstances, Facts, Question, Subject, Unanswerable};
use crate::policy::{Place, Policy};
use crate::snapshot::{Bucket, Snapshot};

/// A decision, and what each policy that is about the request had to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The policies whose scope the request is in, in the order of their ids.
    pub candidates: Vec<Candidate>,
}

/// One policy whose scope the request is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The policy's id.
    pub policy: Arc<str>,
    /// Where it is written.
    pub place: Place,
    /// Whether it permits or forbids.
    pub permits: bool,
    /// What came of its conditions.
    pub outcome: Outcome,
}

/// What came of a policy's conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// They could not be evaluated.
    Failed(String),
    /// They are met.
    Satisfied,
    /// This condition is the first that is not met.
    Unsatisfied {
        /// As it is written in Cedar.
        condition: String,
    },
}

impl Snapshot {
    /// Decides about a connection, and tells what each policy had to say.
    ///
    /// Slower than [`decide`](Self::decide): each policy and each condition is
    /// evaluated by itself.
    ///
    /// # Errors
    ///
    /// [`Unanswerable`] if the request cannot be put to policies.
    pub fn explain(
        &self,
        subject: &Subject,
        request: &AccessRequest,
        circumstances: &Circumstances,
    ) -> Result<Explanation, Unanswerable> {
        let facts = Facts::of_connection(subject, subject.standing(), request, circumstances)?;
        let question = self.question(facts, request.time, circumstances)?;
        let candidates = self.candidates(&question.facts);
        let policies = candidates.flat_map(|bucket| bucket.policies.policies());
        let known = policies.filter_map(|policy| self.policy(policy.id().as_ref()));
        let mut candidates: Vec<Candidate> = known
            .map(|policy| Candidate {
                policy: Arc::clone(&policy.id),
                place: policy.place.clone(),
                permits: policy.is_permit(),
                outcome: outcome(policy, &question),
            })
            .collect();
        candidates.sort_by(|one, other| one.policy.cmp(&other.policy));
        Ok(Explanation {
            decision: self.decide(subject, request, circumstances),
            candidates,
        })
    }
}

fn outcome(policy: &Policy, question: &Question) -> Outcome {
    match is_met(policy.cedar.clone(), question) {
        Ok(true) => return Outcome::Satisfied,
        Ok(false) => {}
        Err(error) => return Outcome::Failed(error),
    }
    let clauses = policy.cedar.to_pst();
    let clauses = clauses.map_or_else(|_| Vec::new(), |tree| tree.body().clauses().clone());
    let unmet = clauses.iter().find(|clause| {
        let alone = alone(policy, clause);
        alone.is_some_and(|alone| is_met(alone, question) == Ok(false))
    });
    Outcome::Unsatisfied {
        condition: unmet.map(Clause::to_string).unwrap_or_default(),
    }
}

/// Returns the policy with one of its conditions only.
fn alone(policy: &Policy, clause: &Clause) -> Option<cedar_policy::Policy> {
    let tree = policy.cedar.to_pst().ok()?;
    let body = tree.body().clone();
    let body = body.try_with_clauses([clause.clone()]).ok()?;
    let policy = pst::StaticPolicy::try_from(body).ok()?;
    cedar_policy::Policy::from_pst(pst::Policy::Static(policy)).ok()
}

fn is_met(policy: cedar_policy::Policy, question: &Question) -> Result<bool, String> {
    let permits = policy.effect() == cedar_policy::Effect::Permit;
    let policy = policy.new_id(PolicyId::new("alone"));
    let policies = PolicySet::from_policies([policy]).map_err(|error| error.to_string())?;
    let bucket = Bucket {
        policies,
        ..Bucket::default()
    };
    let response = question.ask(&bucket);
    if let Some(error) = response.diagnostics().errors().next() {
        return Err(error.to_string());
    }
    let spoke = response.diagnostics().reason().next().is_some();
    Ok(spoke && (response.decision() == Verdict::Allow) == permits)
}

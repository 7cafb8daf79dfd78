//! Asks policy decision points: which of them, how often, and for how long.

mod authzen;
mod breaker;
mod deciding;
mod pace;
mod permguard;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_core::authzen::{AccessRequest, Decision};
use connector_core::configuration::{PolicyMode, PolicyPlan};
use connector_core::connector::{Attempt, Event, PdpFailure};
use connector_core::trust::TrustRequest;
use tokio::task::JoinSet;

use self::deciding::Deciding;
#[cfg(feature = "testing")]
pub(crate) use self::permguard::read_message as read_permguard;
use super::Events;
use super::http::Http;
use super::policies::Embedded;

/// Puts questions to the policy, many at a time.
#[derive(Debug)]
pub(crate) struct Pdp {
    http: Http,
    events: Events,
    /// What the administrator fixed on this device, in place of what documents say.
    mode: Option<PolicyMode>,
    embedded: Embedded,
    deciding: Option<(Arc<PolicyPlan>, Arc<Deciding>)>,
    questions: JoinSet<()>,
}

impl Pdp {
    pub(crate) fn new(
        http: Http,
        mode: Option<PolicyMode>,
        embedded: Embedded,
        events: Events,
    ) -> Self {
        Self {
            http,
            events,
            mode,
            embedded,
            deciding: None,
            questions: JoinSet::new(),
        }
    }

    /// Puts `request` to whom `policy` names; the answer comes as an event.
    pub(crate) fn ask(
        &mut self,
        policy: &Arc<PolicyPlan>,
        attempt: Attempt,
        request: Arc<AccessRequest>,
    ) {
        while self.questions.try_join_next().is_some() {}

        let deciding = self.deciding(policy);
        let events = self.events.clone();
        self.questions.spawn(async move {
            let asked_at = Instant::now();
            let outcome = within_limit(&deciding, &request).await;
            let latency = asked_at.elapsed();
            let _ = events
                .send(Event::Evaluated {
                    attempt,
                    outcome,
                    latency,
                })
                .await;
        });
    }

    /// Puts a wish to the policies on this device, if they alone decide; the answer comes as
    /// an event.
    pub(crate) fn ask_trust(
        &mut self,
        policy: &PolicyPlan,
        attempt: Attempt,
        request: Box<TrustRequest>,
    ) {
        while self.questions.try_join_next().is_some() {}

        let mode = self.mode.unwrap_or(policy.mode);
        let (embedded, events) = (self.embedded.clone(), self.events.clone());
        self.questions.spawn(async move {
            let decision = match mode {
                PolicyMode::Proximity => embedded.decide_wish(&request),
                // A policy server knows nothing of consents and elevations.
                PolicyMode::ProximityThenRemote | PolicyMode::Remote => None,
            };
            let outcome = decision.ok_or(PdpFailure::Unreachable);
            let _ = events
                .send(Event::TrustEvaluated { attempt, outcome })
                .await;
        });
    }

    /// Keeps connections and experience for as long as the policy is the same.
    fn deciding(&mut self, policy: &Arc<PolicyPlan>) -> Arc<Deciding> {
        if let Some((known, deciding)) = &self.deciding
            && known == policy
        {
            return Arc::clone(deciding);
        }
        let mode = self.mode.unwrap_or(policy.mode);
        let deciding = Arc::new(Deciding::new(
            &self.http,
            mode,
            self.embedded.clone(),
            policy,
        ));
        self.deciding = Some((Arc::clone(policy), Arc::clone(&deciding)));
        deciding
    }
}

async fn within_limit(
    deciding: &Deciding,
    request: &AccessRequest,
) -> Result<Decision, PdpFailure> {
    let outcome = tokio::time::timeout(ANSWER_LIMIT, deciding.decide(request)).await;
    outcome.unwrap_or_else(|_elapsed| {
        tracing::warn!(limit = ?ANSWER_LIMIT, "No policy server answered in time");
        Err(PdpFailure::Late)
    })
}

/// Why one decision point gave no decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
struct Failure {
    kind: PdpFailure,
    detail: String,
}

impl Failure {
    fn malformed(detail: impl ToString) -> Self {
        Self {
            kind: PdpFailure::Malformed,
            detail: detail.to_string(),
        }
    }

    fn status(status: u16, detail: impl ToString) -> Self {
        Self {
            kind: PdpFailure::Status(status),
            detail: detail.to_string(),
        }
    }
}

impl From<super::http::HttpError> for Failure {
    fn from(error: super::http::HttpError) -> Self {
        use super::http::HttpError;

        let kind = match error {
            HttpError::Failed(_) => PdpFailure::Unreachable,
            HttpError::Late(_) => PdpFailure::Late,
            HttpError::TooLong(_) => PdpFailure::Malformed,
        };
        Self {
            kind,
            detail: error.to_string(),
        }
    }
}

/// A person waits; later is a denial.
const ANSWER_LIMIT: Duration = Duration::from_millis(800);

//! Gets an answer for one flow, waiting for the policy if need be.

use std::sync::Arc;
use std::time::Duration;

use connector_core::access::{AccessMap, Denial, Flow, Permit, Reason, Verdict};
use connector_core::connector::Event;
use connector_platform::clock;
use tokio::sync::watch;

use super::Events;

/// Asks the published access map, and the policy through the driver.
#[derive(Debug, Clone)]
pub(crate) struct Authorizer {
    access: watch::Receiver<Arc<AccessMap>>,
    events: Events,
}

impl Authorizer {
    pub(crate) fn new(access: watch::Receiver<Arc<AccessMap>>, events: Events) -> Self {
        Self { access, events }
    }

    /// Returns the map in force.
    pub(crate) fn access(&self) -> Arc<AccessMap> {
        Arc::clone(&self.access.borrow())
    }

    /// Returns the permit for `flow`, or why there is none; every refusal is
    /// written down, by the driver if the policy was asked, otherwise here.
    /// `process` is who opens it, for the record.
    pub(crate) async fn authorize(
        &self,
        flow: &Flow,
        process: Option<u32>,
    ) -> Result<Permit, Denial> {
        match tokio::time::timeout(DECISION_LIMIT, self.decide(flow, process)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let denial = Denial::from(Reason::PdpLate);
                self.report(flow, &denial).await;
                Err(denial)
            }
        }
    }

    async fn decide(&self, flow: &Flow, process: Option<u32>) -> Result<Permit, Denial> {
        let mut access = self.access.clone();
        let mut asked = false;
        loop {
            let verdict = access.borrow_and_update().decide(flow, clock::moment());
            match verdict {
                Verdict::Permitted(permit) => return Ok(permit),
                Verdict::Denied(denial) => {
                    if !asked {
                        self.report(flow, &denial).await;
                    }
                    return Err(denial);
                }
                Verdict::Undecided(mut question) => {
                    if !asked {
                        question.process = process;
                        let event = Event::AccessRequested(question);
                        if self.events.send(event).await.is_err() {
                            return Err(Reason::Stopping.into());
                        }
                    }
                    asked = true;
                }
            }
            if access.changed().await.is_err() {
                return Err(Reason::Stopping.into());
            }
        }
    }

    async fn report(&self, flow: &Flow, denial: &Denial) {
        let _ = self
            .events
            .send(Event::FlowRefused {
                flow: flow.clone(),
                denial: denial.clone(),
            })
            .await;
    }
}

/// Somewhat more than the core waits for a lost question.
const DECISION_LIMIT: Duration = Duration::from_secs(3);

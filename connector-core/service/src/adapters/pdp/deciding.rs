//! Two decision points, and whose word counts.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use connector_core::authzen::{AccessRequest, Decision};
use connector_core::configuration::{PdpProtocol, PolicyMode, PolicyPlan, RemotePdp};
use connector_core::connector::PdpFailure;
use url::Url;

use super::Failure;
use super::authzen::AuthZen;
use super::breaker::{Admission, Breaker};
use super::pace::{Budget, Pace};
use super::permguard::Permguard;
use crate::adapters::http::Http;
use crate::adapters::policies::Embedded;

/// Whom a policy names, with what is known of them.
///
/// The first well-formed decision counts, whatever it is: after a denial nobody
/// else is asked, so that nobody is asked until somebody permits. What is no
/// decision does not count, and sends the question on at once.
#[derive(Debug)]
pub(super) struct Deciding {
    /// The policies on this device, where they are asked.
    embedded: Option<Embedded>,
    remote: Option<Remote>,
}

#[derive(Debug)]
struct Remote {
    first: Asked,
    second: Option<Asked>,
    budget: Mutex<Budget>,
}

impl Deciding {
    /// Prepares to ask; connects to nobody yet.
    pub(super) fn new(
        http: &Http,
        mode: PolicyMode,
        embedded: Embedded,
        policy: &PolicyPlan,
    ) -> Self {
        let (embedded, remote) = match mode {
            PolicyMode::Proximity => (Some(embedded), None),
            PolicyMode::ProximityThenRemote => (Some(embedded), policy.remote.as_ref()),
            PolicyMode::Remote => (None, policy.remote.as_ref()),
        };
        Self {
            embedded,
            remote: remote.map(|remote| Remote::new(http, remote)),
        }
    }

    pub(super) async fn decide(&self, request: &AccessRequest) -> Result<Decision, PdpFailure> {
        let mut difference = None;
        if let Some(embedded) = &self.embedded {
            let decided = embedded.decide(request);
            // What the policies here name nobody for is put to the server; what they
            // forbid, or permit, is decided.
            let is_final = |decision: &Decision| {
                self.remote.is_none() || decision.outcome.is_ok() || decision.policy.is_some()
            };
            match decided {
                Some(decision) if is_final(&decision) => return Ok(decision),
                Some(decision) => difference = decision.difference,
                None => tracing::warn!("The policy store has no policies in force"),
            }
        }
        let Some(remote) = &self.remote else {
            tracing::warn!("No policy server is asked in this policy.mode");
            return Err(PdpFailure::Unreachable);
        };
        Ok(Decision {
            difference,
            ..remote.decide(request).await?
        })
    }
}

impl Remote {
    fn new(http: &Http, remote: &RemotePdp) -> Self {
        let asked = |base: &Url| Asked::new(http, &remote.protocol, base);
        Self {
            first: asked(&remote.first),
            second: remote.second.as_ref().map(asked),
            budget: Mutex::default(),
        }
    }

    async fn decide(&self, request: &AccessRequest) -> Result<Decision, PdpFailure> {
        let Some(second) = &self.second else {
            return self.first.ask(request).await;
        };
        lock(&self.budget).earn();
        let mut first = pin!(self.first.ask(request));
        let patience = self.first.patience();
        tokio::select! {
            biased;
            outcome = &mut first => {
                return match outcome {
                    Ok(decision) => Ok(decision),
                    Err(failure) => second.ask(request).await.map_err(|_| failure),
                };
            }
            () = tokio::time::sleep(patience) => {}
        }

        // A server that is tried again costs one question, whatever the budget says.
        if !patience.is_zero() && !lock(&self.budget).spend() {
            return first.await;
        }
        let mut second = pin!(second.ask(request));
        tokio::select! {
            outcome = &mut first => match outcome {
                Ok(decision) => Ok(decision),
                Err(failure) => second.await.map_err(|_| failure),
            },
            outcome = &mut second => match outcome {
                Ok(decision) => Ok(decision),
                Err(_) => first.await,
            },
        }
    }
}

/// One decision point, and what is known of it.
#[derive(Debug)]
struct Asked {
    point: Point,
    base: Url,
    name: Arc<str>,
    breaker: Mutex<Breaker>,
    pace: Mutex<Pace>,
}

#[derive(Debug)]
enum Point {
    AuthZen(AuthZen),
    Permguard(Permguard),
}

impl Asked {
    fn new(http: &Http, protocol: &PdpProtocol, base: &Url) -> Self {
        let (point, kind) = match protocol {
            PdpProtocol::AuthZen => (
                Point::AuthZen(AuthZen::new(http.clone(), base.clone())),
                "authzen",
            ),
            PdpProtocol::Permguard(ledger) => (
                Point::Permguard(Permguard::new(base, ledger.clone())),
                "permguard",
            ),
        };
        Self {
            point,
            base: base.clone(),
            name: format!("{kind} {base}").into(),
            breaker: Mutex::default(),
            pace: Mutex::default(),
        }
    }

    /// Returns how long the answer may take before somebody else is asked as well.
    fn patience(&self) -> Duration {
        if lock(&self.breaker).is_in_doubt() {
            return Duration::ZERO;
        }
        lock(&self.pace).patience()
    }

    async fn ask(&self, request: &AccessRequest) -> Result<Decision, PdpFailure> {
        let asked_at = Instant::now();
        match lock(&self.breaker).admit(asked_at) {
            Admission::Ask => {}
            Admission::Probe => tracing::debug!(pdp = %self.base, "Trying the policy server again"),
            Admission::Rest(failure) => return Err(failure),
        }
        let hearing = Hearing {
            asked: Some(self),
            asked_at,
        };
        let outcome = match &self.point {
            Point::AuthZen(point) => point.evaluate(request.to_json()).await,
            Point::Permguard(point) => point.check(request).await,
        };
        hearing.heard(outcome.as_ref().err());
        match outcome {
            Ok(decision) => Ok(Decision {
                answered_by: Some(Arc::clone(&self.name)),
                ..decision
            }),
            Err(Failure { kind, detail }) => {
                tracing::warn!(failure = ?kind, detail, pdp = %self.base, "The policy server gave no decision");
                Err(kind)
            }
        }
    }

    fn learn(&self, failure: Option<PdpFailure>, took: Duration, now: Instant) {
        // A refused connection is quick, but no answer.
        if matches!(failure, None | Some(PdpFailure::Late)) {
            lock(&self.pace).note(took);
        }
        lock(&self.breaker).note(failure, jitter(), now);
    }
}

/// One question on its way. Let go of before it was answered, it counts as
/// late, if the wait was longer than usual: others were quicker, or it was too long.
#[derive(Debug)]
struct Hearing<'a> {
    asked: Option<&'a Asked>,
    asked_at: Instant,
}

impl Hearing<'_> {
    fn heard(mut self, failure: Option<&Failure>) {
        if let Some(asked) = self.asked.take() {
            let kind = failure.map(|failure| failure.kind);
            asked.learn(kind, self.asked_at.elapsed(), Instant::now());
        }
    }
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        let Some(asked) = self.asked.take() else {
            return;
        };
        let waited = self.asked_at.elapsed();
        let usual = lock(&asked.pace).patience();
        if waited >= usual {
            asked.learn(Some(PdpFailure::Late), waited, Instant::now());
        }
    }
}

/// A number that is not the same on every machine; without one all come back at once.
fn jitter() -> u8 {
    let mut byte = [0];
    match getrandom::fill(&mut byte) {
        Ok(()) => byte[0],
        Err(_) => 0,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

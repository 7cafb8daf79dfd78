//! Polls one transmitter for as long as it is listened to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connector_core::audit::Rejected;
use connector_core::configuration::Signals as Transmitter;
use connector_core::connector::Event;
use connector_core::signals::{
    EventId, PollAnswer, PollRequest, RefusedToken, SecurityEvent, SetError, Signal,
};
use connector_platform::clock;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Config;
use super::kept::Kept;
use super::stream::{Stream, StreamError};
use crate::adapters::control::HostCredential;
use crate::adapters::{Order, keys};

/// Listens until dropped, or until nobody takes events any more.
pub(super) async fn listen(transmitter: Transmitter, config: Config, kept: Arc<Kept>) {
    kept.follow(transmitter.issuer.as_str());
    let mut control = config.control.clone();
    let enrolled = control.wait_for(|state| state.credential.is_some());
    let credential = enrolled
        .await
        .ok()
        .and_then(|state| state.credential.clone());
    let Some(credential) = credential else {
        return;
    };
    let mut listener = Listener {
        transmitter,
        config,
        kept,
        credential,
        failures: 0,
        answers: Answers::default(),
    };
    loop {
        let outcome = listener.follow_one_stream().await;
        match outcome {
            Ok(Ended::Stopping) => return,
            Err(error) => {
                listener.failures += 1;
                let issuer = &listener.transmitter.issuer;
                tracing::warn!(%error, %issuer, "Signals cannot be heard");
                tokio::time::sleep(pause(listener.failures)).await;
            }
        }
    }
}

struct Listener {
    transmitter: Transmitter,
    config: Config,
    kept: Arc<Kept>,
    credential: Arc<HostCredential>,
    /// How often nothing was heard in a row.
    failures: u32,
    answers: Answers,
}

/// What the transmitter has yet to be told; kept until it has answered.
#[derive(Debug, Default)]
struct Answers {
    acknowledged: Vec<String>,
    refused: BTreeMap<String, SetError>,
}

/// Why listening is over for good.
enum Ended {
    Stopping,
}

/// What became of one token.
enum Dealt {
    /// It took effect, or need not; it is not to be sent again.
    Done(EventId),
    /// The same again, or one to pass over.
    Passed,
    /// It is not what it should be.
    Refused(&'static str, String),
    /// It may be good later: it is to be sent again, and nothing counts as heard until then.
    Later(String),
}

impl Listener {
    /// Opens the stream and polls it until something goes wrong.
    async fn follow_one_stream(&mut self) -> Result<Ended, StreamError> {
        let (http, issuer) = (self.config.http.clone(), self.transmitter.issuer.clone());
        let credential = Arc::clone(&self.credential);
        let mut stream = Stream::open(&http, &issuer, &credential).await?;
        let mut is_enabled = true;
        // The first answer shall come at once, whether or not there are events.
        let mut prove = true;
        loop {
            let (request, limit) = self.next_poll(prove);
            let asked_at = Instant::now();
            let answer = match stream.poll(&request, limit).await {
                Ok(answer) => answer,
                // A long poll may outlast its time, or have been swallowed on the way: the
                // next one has to come back at once to show which.
                Err(error) if error.is_late() && !prove => {
                    prove = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !prove && answer.sets.is_empty() {
                // A transmitter that does not let polls wait is asked once in a while.
                tokio::time::sleep_until(asked_at + BETWEEN_EMPTY_POLLS).await;
            }
            prove = false;
            self.answers.forget(&request);
            let Some(problem) = self.deal_with(&mut stream, answer, &mut is_enabled).await else {
                return Ok(Ended::Stopping);
            };
            match problem {
                Some(problem) => {
                    self.failures += 1;
                    tracing::error!(
                        problem,
                        "A signal has to wait; until then nothing counts as heard"
                    );
                    tokio::time::sleep(pause(self.failures)).await;
                    prove = true;
                }
                None if is_enabled => {
                    self.failures = 0;
                    if self.config.events.send(Event::SignalsHeard).await.is_err() {
                        return Ok(Ended::Stopping);
                    }
                }
                None => {}
            }
        }
    }

    fn next_poll(&self, prove: bool) -> (PollRequest, Duration) {
        let request = PollRequest {
            max_events: Some(PollAnswer::MAX_EVENTS),
            return_immediately: prove,
            ack: self.answers.acknowledged.clone(),
            set_errs: self.answers.refused.clone(),
        };
        // With a short poll behind it, a long one still ends well within the lease.
        let limit = if prove { SHORT_POLL } else { LONG_POLL };
        (request, limit.min(self.transmitter.lease / 4))
    }

    /// Deals with each token; returns what has to wait, if anything, and nothing
    /// at all when the service is stopping.
    async fn deal_with(
        &mut self,
        stream: &mut Stream<'_>,
        answer: PollAnswer,
        is_enabled: &mut bool,
    ) -> Option<Option<String>> {
        let mut done = Vec::new();
        let mut acknowledged = Vec::new();
        let mut problem = None;
        for (name, token) in answer.sets {
            match self
                .deal_with_one(stream, &name, &token, is_enabled)
                .await?
            {
                Dealt::Done(id) => {
                    done.push(id);
                    acknowledged.push(name);
                }
                Dealt::Passed => acknowledged.push(name),
                Dealt::Refused(error, description) => {
                    tracing::warn!(error, description, "A signal was refused");
                    let rejected = Rejected::SecurityEvent {
                        name: name.as_str().into(),
                        error: error.into(),
                        problem: description.as_str().into(),
                    };
                    let rejected = Event::Rejected(rejected);
                    self.config.events.send(rejected).await.ok()?;
                    let refused = SetError {
                        err: error.to_owned(),
                        description,
                    };
                    self.answers.refused.insert(name, refused);
                }
                Dealt::Later(why) => problem = Some(why),
            }
        }
        if !done.is_empty()
            && let Err(error) = self.kept.save(done)
        {
            // Not acknowledged: it is sent again, and takes effect again.
            return Some(Some(error.to_string()));
        }
        self.answers.acknowledged.append(&mut acknowledged);
        Some(problem)
    }

    async fn deal_with_one(
        &self,
        stream: &mut Stream<'_>,
        name: &str,
        token: &str,
        is_enabled: &mut bool,
    ) -> Option<Dealt> {
        let event = match verify(stream, token).await {
            Ok(event) => event,
            Err(dealt) => return Some(dealt),
        };
        if event.id.as_str() != name {
            let problem = "the token's jti is not the name that it was sent under".to_owned();
            return Some(Dealt::Refused("invalid_request", problem));
        }
        if self.kept.has_seen(&event.id) {
            return Some(Dealt::Passed);
        }
        match &event.signal {
            Signal::StreamUpdated { is_enabled: now } if event.subject.is_stream(stream.id()) => {
                *is_enabled = *now;
                tracing::warn!(is_enabled, "The transmitter has changed the stream");
            }
            Signal::Verification { state } if event.subject.is_stream(stream.id()) => {
                let is_asked = state.as_deref() == stream.asked_state.as_deref();
                // One without a state may come unasked (SSF 1.0 §8.1.4).
                if state.is_some() && !is_asked {
                    let problem = "nobody asked for this state".to_owned();
                    return Some(Dealt::Refused("invalid_state", problem));
                }
                tracing::info!("The stream of signals is verified");
            }
            Signal::AssuranceLevelChange(_)
            | Signal::CredentialChange
            | Signal::DeviceComplianceChange { .. }
            | Signal::Other { .. }
            | Signal::SessionRevoked
            | Signal::StreamUpdated { .. }
            | Signal::TokenClaimsChange { .. }
            | Signal::Verification { .. } => {}
        }
        let id = event.id.clone();
        self.take_effect(event).await?;
        Some(Dealt::Done(id))
    }

    /// Hands the event over, before whatever else waits, and returns when what
    /// follows from it was started.
    async fn take_effect(&self, event: SecurityEvent) -> Option<()> {
        let (done, started) = oneshot::channel();
        let event = Event::SignalReceived(Box::new(event));
        let order = Order { event, done };
        self.config.orders.send(order).await.ok()?;
        started.await.ok()
    }
}

impl Answers {
    /// Forgets what the transmitter has been told.
    fn forget(&mut self, told: &PollRequest) {
        self.acknowledged.retain(|name| !told.ack.contains(name));
        self.refused
            .retain(|name, _| !told.set_errs.contains_key(name));
    }
}

/// Verifies a token, by keys that are read anew if its key is not known.
async fn verify(stream: &mut Stream<'_>, token: &str) -> Result<SecurityEvent, Dealt> {
    let now = clock::now().wall;
    let mut verified = stream.verifier.verify(token, &stream.keys, now);
    // A key may be new, under a name of its own or another's.
    let is_unknown = matches!(verified, Err(RefusedToken::UnknownKey(_)));
    if is_unknown || matches!(verified, Err(RefusedToken::WrongSignature)) {
        match stream.refresh_keys().await {
            Ok(true) => verified = stream.verifier.verify(token, &stream.keys, now),
            Ok(false) if !is_unknown => {}
            Ok(false) => return Err(Dealt::Later("its key is not known yet".to_owned())),
            Err(error) => return Err(Dealt::Later(error.to_string())),
        }
    }
    verified.map_err(|refused| match (&refused, refused.set_error()) {
        (_, Some(error)) => Dealt::Refused(error, refused.to_string()),
        (RefusedToken::FromTheFuture { .. }, None) => Dealt::Later(refused.to_string()),
        (_, None) => {
            tracing::info!(reason = %refused, "A signal was passed over");
            Dealt::Passed
        }
    })
}

/// Doubles from a quarter of a second to half a minute, less up to a half, so that
/// not all devices come back at once.
fn pause(failures: u32) -> Duration {
    let longest = Duration::from_millis(250 << failures.min(7));
    let chance = keys::random::<1>().map_or(0, |bytes| bytes[0]);
    longest - longest.mul_f32(f32::from(chance) / 512.0)
}

/// Below the idle limits of usual proxies.
const LONG_POLL: Duration = Duration::from_secs(25);

/// What waits for an event is told of it at once all the same.
const BETWEEN_EMPTY_POLLS: Duration = Duration::from_secs(1);

/// Enough for a slow network.
const SHORT_POLL: Duration = Duration::from_secs(10);

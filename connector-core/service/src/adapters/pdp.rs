//! Asks an AuthZEN policy decision point (OpenID AuthZEN Authorization API 1.0).

use std::time::{Duration, Instant};

use connector_core::authzen::{AccessRequest, Decision, MAX_ANSWER, parse_decision};
use connector_core::connector::{Attempt, Event, PdpFailure};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::task::JoinSet;
use url::Url;

use super::Events;
use super::http::{self as web, Http, HttpError};
use super::keys;

/// Asks the policy, many questions at a time.
#[derive(Debug)]
pub(crate) struct Pdp {
    http: Http,
    events: Events,
    questions: JoinSet<()>,
}

impl Pdp {
    pub(crate) fn new(http: Http, events: Events) -> Self {
        Self {
            http,
            events,
            questions: JoinSet::new(),
        }
    }

    /// Puts `request` to the decision point at `base`; the answer comes as an event.
    pub(crate) fn ask(&mut self, base: Url, attempt: Attempt, request: &AccessRequest) {
        while self.questions.try_join_next().is_some() {}

        let (http, events) = (self.http.clone(), self.events.clone());
        let body = request.to_json();
        self.questions.spawn(async move {
            let asked_at = Instant::now();
            let outcome = evaluate(&http, &base, &body).await;
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
}

async fn evaluate(
    http: &Http,
    base: &Url,
    body: &serde_json::Value,
) -> Result<Decision, PdpFailure> {
    let outcome = ask(http, base, body).await;
    if let Err((failure, detail)) = &outcome {
        tracing::warn!(?failure, detail, pdp = %base, "The policy server gave no decision");
    }
    outcome.map_err(|(failure, _)| failure)
}

async fn ask(
    http: &Http,
    base: &Url,
    body: &serde_json::Value,
) -> Result<Decision, (PdpFailure, String)> {
    let malformed = |detail: String| (PdpFailure::Malformed, detail);
    let endpoint = evaluation_endpoint(base).map_err(malformed)?;
    let request_id =
        keys::unguessable().map_err(|error| (PdpFailure::Unreachable, error.to_string()))?;
    let request = http
        .client()
        .post(endpoint)
        .header(CONTENT_TYPE, "application/json")
        .header("X-Request-ID", request_id)
        .body(body.to_string());

    let answer =
        web::send(request, ANSWER_LIMIT, MAX_ANSWER)
            .await
            .map_err(|error| match error {
                HttpError::Failed(_) => (PdpFailure::Unreachable, error.to_string()),
                HttpError::Late(_) => (PdpFailure::Late, error.to_string()),
                HttpError::TooLong(_) => (PdpFailure::Malformed, error.to_string()),
            })?;
    if answer.status != StatusCode::OK {
        let status = answer.status.as_u16();
        return Err((PdpFailure::Status(status), format!("status {status}")));
    }
    let content_type = answer.headers.get(CONTENT_TYPE);
    let media_type = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    if !media_type.is_some_and(|found| found.trim().eq_ignore_ascii_case("application/json")) {
        return Err(malformed(format!("content type {content_type:?}")));
    }
    parse_decision(&answer.body).map_err(|error| malformed(error.to_string()))
}

/// Appends the default path to the base URL (§10.1).
fn evaluation_endpoint(base: &Url) -> Result<Url, String> {
    let mut endpoint = base.clone();
    endpoint
        .path_segments_mut()
        .map_err(|()| "the policy server's URL has no path".to_owned())?
        .pop_if_empty()
        .extend(["access", "v1", "evaluation"]);
    Ok(endpoint)
}

/// A person waits; later is a denial.
const ANSWER_LIMIT: Duration = Duration::from_millis(800);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_lies_below_the_base() {
        for (base, endpoint) in [
            (
                "http://127.0.0.1:1",
                "http://127.0.0.1:1/access/v1/evaluation",
            ),
            (
                "https://pdp.test/tenant/",
                "https://pdp.test/tenant/access/v1/evaluation",
            ),
            (
                "https://pdp.test/tenant",
                "https://pdp.test/tenant/access/v1/evaluation",
            ),
        ] {
            let found = evaluation_endpoint(&base.parse().unwrap()).unwrap();

            assert_eq!(found.as_str(), endpoint);
        }
    }
}

//! OpenID AuthZEN Authorization API 1.0 over HTTP.

mod boxcar;
mod directory;

use connector_core::authzen::{Decision, MAX_ANSWER};
use connector_core::connector::PdpFailure;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use url::Url;

use self::boxcar::Passenger;
use self::directory::Directory;
use super::{ANSWER_LIMIT, Failure};
use crate::adapters::http::{self as web, Answer, Http};
use crate::adapters::{Task, keys};

/// One decision point.
#[derive(Debug)]
pub(super) struct AuthZen {
    waiting: mpsc::Sender<Passenger>,
    _dispatcher: Task,
}

impl AuthZen {
    /// Prepares to ask the decision point at `base`, and reads what it says about itself.
    pub(super) fn new(http: Http, base: Url) -> Self {
        let directory = Directory::start(http.clone(), base);
        let (waiting, questions) = mpsc::channel(WAITING);
        Self {
            waiting,
            _dispatcher: Task::spawn(boxcar::dispatch(http, directory, questions)),
        }
    }

    /// Puts one evaluation, alone or beside others that wait at the same time.
    pub(super) async fn evaluate(&self, question: Value) -> Result<Decision, Failure> {
        let (answer, answered) = oneshot::channel();
        let passenger = Passenger { question, answer };
        let gone = |_| Failure {
            kind: PdpFailure::Unreachable,
            detail: "nobody dispatches questions any more".to_owned(),
        };
        self.waiting
            .send(passenger)
            .await
            .map_err(|error| gone(error.to_string()))?;
        answered
            .await
            .unwrap_or_else(|error| Err(gone(error.to_string())))
    }
}

/// Puts `body` to `endpoint` and returns what may be a decision.
async fn exchange(http: &Http, endpoint: &Url, body: &Value) -> Result<Vec<u8>, Failure> {
    let request_id = keys::unguessable().map_err(|error| Failure {
        kind: PdpFailure::Unreachable,
        detail: error.to_string(),
    })?;
    let request = http
        .client()
        .post(endpoint.clone())
        .header(CONTENT_TYPE, "application/json")
        .header(REQUEST_ID, &request_id)
        .body(body.to_string());

    let answer = web::send(request, ANSWER_LIMIT, MAX_ANSWER).await?;
    check(&answer, &request_id)?;
    Ok(answer.body)
}

fn check(answer: &Answer, request_id: &str) -> Result<(), Failure> {
    if answer.status != StatusCode::OK {
        let status = answer.status.as_u16();
        return Err(Failure::status(status, format!("status {status}")));
    }
    if !is_json(answer) {
        let kind = answer.headers.get(CONTENT_TYPE);
        return Err(Failure::malformed(format!("content type {kind:?}")));
    }
    if let Some(coding) = answer.headers.get(CONTENT_ENCODING) {
        let problem = format!("content coding {coding:?}, which nobody asked for");
        return Err(Failure::malformed(problem));
    }
    // Not everybody returns it, as §10.1.3 demands; another one is another question's answer.
    let mut echoed = answer.headers.get_all(REQUEST_ID).iter();
    if echoed.any(|echo| echo.as_bytes() != request_id.as_bytes()) {
        return Err(Failure::malformed("the answer to another request"));
    }
    Ok(())
}

fn is_json(answer: &Answer) -> bool {
    answer
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

const REQUEST_ID: &str = "X-Request-ID";

/// Questions that wait for a place; the connector asks no more at one time.
const WAITING: usize = 256;

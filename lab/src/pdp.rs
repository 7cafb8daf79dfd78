//! A policy decision point: OpenID AuthZEN Authorization API 1.0 over HTTP.

mod interference;
mod request;
mod rules;

use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::request::{Batch, Evaluation, Malformed, RawEvaluations, Semantic};
use crate::control_plane::is_json;
use crate::http_server::{self, BodyError, Task};

pub use self::interference::{CannedAnswer, Interference};
pub use self::rules::RuleBook;

/// A running decision point; it stops when dropped.
#[derive(Debug)]
pub struct Pdp {
    point: Arc<Point>,
    base: String,
    _server: Task,
}

impl Pdp {
    /// Starts to serve on `listener`.
    ///
    /// # Errors
    ///
    /// Fails if the listener has no address.
    pub fn start(listener: TcpListener, rules: RuleBook) -> anyhow::Result<Self> {
        let base = format!("http://{}", listener.local_addr()?);
        let point = Arc::new(Point {
            base: base.clone(),
            rules: RwLock::new(Arc::new(rules)),
            interference: watch::Sender::default(),
            counts: Mutex::default(),
        });
        Ok(Self {
            _server: http_server::serve(listener, router(Arc::clone(&point))),
            base,
            point,
        })
    }

    /// Returns the base URL.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Changes the rules.
    pub fn change_rules(&self, change: impl FnOnce(&mut RuleBook)) {
        let mut rules = self
            .point
            .rules
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        change(Arc::make_mut(&mut rules));
    }

    /// Returns the rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<RuleBook> {
        self.point.rules()
    }

    /// Delays, holds or replaces answers from now on.
    pub fn interfere(&self, interference: Interference) {
        self.point.interference.send_replace(interference);
    }

    /// Returns how many decisions were made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.point.counts()
    }
}

/// How many decisions were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Yes.
    pub permits: u64,
    /// No.
    pub denials: u64,
    /// Requests that could not be read.
    pub malformed: u64,
    /// Answers that were replaced by a canned one.
    pub replaced: u64,
    /// Requests that carried several questions.
    pub together: u64,
}

#[derive(Debug)]
struct Point {
    base: String,
    rules: RwLock<Arc<RuleBook>>,
    interference: watch::Sender<Interference>,
    counts: Mutex<Counts>,
}

impl Point {
    fn rules(&self) -> Arc<RuleBook> {
        let rules = self
            .rules
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        Arc::clone(&rules)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn decide(&self, evaluation: &Evaluation) -> Decision {
        let decision = self.rules().decide(evaluation);
        let mut counts = self.counts();
        if decision.decision {
            counts.permits += 1;
        } else {
            counts.denials += 1;
        }
        decision
    }
}

/// One answer (AuthZEN §6.2).
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Decision {
    decision: bool,
    context: Value,
}

fn router(point: Arc<Point>) -> Router {
    Router::new()
        .route("/.well-known/authzen-configuration", get(metadata))
        .route("/access/v1/evaluation", post(evaluation))
        .route("/access/v1/evaluations", post(evaluations))
        .layer(middleware::from_fn(echo_request_id))
        .with_state(point)
}

/// Returns the request's id with its answer, whatever that is (AuthZEN §10.1.3).
async fn echo_request_id(request: Request, next: Next) -> Response {
    let id = request.headers().get(&REQUEST_ID).cloned();
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn metadata(State(point): State<Arc<Point>>) -> Json<Value> {
    let base = &point.base;
    Json(json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
    }))
}

async fn evaluation(State(point): State<Arc<Point>>, headers: HeaderMap, body: Body) -> Response {
    let answer = read(&headers, body).await.and_then(|request| {
        let evaluation = request.into_single()?;
        Ok(Json(point.decide(&evaluation)).into_response())
    });
    point.answer(answer).await
}

async fn evaluations(State(point): State<Arc<Point>>, headers: HeaderMap, body: Body) -> Response {
    let answer = read(&headers, body).await.and_then(|request| {
        Ok(match request.into_batch()? {
            Batch::Many(items, semantic) => {
                Json(json!({"evaluations": point.decide_all(items, semantic)})).into_response()
            }
            Batch::Single(evaluation) => Json(point.decide(&evaluation)).into_response(),
        })
    });
    point.answer(answer).await
}

impl Point {
    fn decide_all(
        &self,
        items: Vec<Result<Evaluation, Malformed>>,
        semantic: Semantic,
    ) -> Vec<Decision> {
        self.counts().together += u64::from(items.len() > 1);
        let mut decisions = Vec::with_capacity(items.len());
        for item in items {
            let decision = match item {
                Ok(evaluation) => self.decide(&evaluation),
                Err(malformed) => Decision {
                    decision: false,
                    context: json!({"error": {"status": 400, "message": malformed.to_string()}}),
                },
            };
            let last = semantic.stops_at(decision.decision);
            decisions.push(decision);
            if last {
                break;
            }
        }
        decisions
    }

    /// Turns an outcome into a response, unless somebody interferes.
    async fn answer(&self, answer: Result<Response, Refused>) -> Response {
        if answer.is_err() {
            self.counts().malformed += 1;
        }
        match interference::pass(&self.interference).await {
            Some(canned) => {
                self.counts().replaced += 1;
                canned.into_response()
            }
            None => answer.unwrap_or_else(IntoResponse::into_response),
        }
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<RawEvaluations, Refused> {
    if !is_json(headers) {
        return Err(Malformed::new("send the request as application/json").into());
    }
    let body = http_server::read_body(body).await?;
    serde_json::from_slice(&body).map_err(|error| Malformed::new(error.to_string()).into())
}

/// A request that is not decided about. The body of the answer is a message
/// for people (AuthZEN §10.1.2).
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Body(BodyError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyError::Broken) | Self::Malformed(_) => StatusCode::BAD_REQUEST,
        };
        (status, self.to_string()).into_response()
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

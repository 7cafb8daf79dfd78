//! The lab's own levers, for demonstrations and tests; no part of any product's API.
//!
//! Served on a loopback address of its own. Requests that a web page caused
//! (they carry `Origin`) or that use another host name are refused.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use connector_core::configuration::{RawPosture, RawResource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::company::{self, Rule};
use crate::control_plane::{ControlPlane, Misleading, NotCommitted, Sessions, is_json};
use crate::http_server::{self, Task};
use crate::overrides::Wanted;
use crate::pdp::{Interference, Pdp};
use crate::problem::Refusal;
use crate::ruling::Ruling;
use crate::ssf::{Emission, Transmitter};

/// What the levers move.
#[derive(Debug)]
pub struct AdminConfig {
    /// The control plane.
    pub control_plane: Arc<ControlPlane>,
    /// The open sessions.
    pub sessions: Arc<Sessions>,
    /// The rules, the requests for access, and what follows from them.
    pub ruling: Arc<Ruling>,
    /// The transmitter of security events.
    pub signals: Arc<Transmitter>,
    /// The gateways that can be stopped.
    pub gateways: Arc<dyn GatewaySwitch>,
    /// The protected applications.
    pub resources: Vec<RawResource>,
    /// What is measured at first.
    pub posture: RawPosture,
}

/// Gateways that can be stopped and started.
pub trait GatewaySwitch: std::fmt::Debug + Send + Sync {
    /// Stops or starts the gateway `id`.
    ///
    /// # Errors
    ///
    /// Fails if there is no such gateway, or its port was taken meanwhile.
    fn set_running(&self, id: &str, running: bool) -> anyhow::Result<()>;

    /// Returns every gateway.
    fn list(&self) -> Vec<GatewayView>;
}

/// A gateway, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GatewayView {
    /// Names the gateway.
    pub id: String,
    /// Where it listens.
    pub endpoint: SocketAddr,
    /// Whether it listens.
    pub running: bool,
}

/// The running levers; they stop when dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    _server: Task,
}

impl Admin {
    /// Starts to serve on `listener`.
    ///
    /// # Errors
    ///
    /// Fails if the listener has no address.
    pub fn start(listener: TcpListener, config: AdminConfig) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let levers = Arc::new(Levers {
            host: address.to_string(),
            posture: Mutex::new(config.posture.clone()),
            config,
        });
        Ok(Self {
            address,
            _server: http_server::serve(listener, router(levers)),
        })
    }

    /// Returns the base URL.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}/", self.address)
    }
}

#[derive(Debug)]
struct Levers {
    host: String,
    config: AdminConfig,
    posture: Mutex<RawPosture>,
}

fn router(levers: Arc<Levers>) -> Router {
    Router::new()
        .route("/lab/state", get(state))
        .route("/lab/decisions", get(decisions))
        .route("/lab/peers", get(peers))
        .route("/lab/records", get(records))
        .route("/lab/sessions", get(sessions))
        .route("/lab/sessions/{id}/revoke", post(revoke_session))
        .route("/lab/gateways/{id}/{verb}", post(switch_gateway))
        .route("/lab/configuration", post(publish))
        .route("/lab/control-plane/away", post(leave))
        .route("/lab/enrolment-tokens", post(make_token))
        .route("/lab/overrides", post(make_override))
        .route("/lab/pdp", post(interfere))
        .route("/lab/posture", post(change_posture))
        .route("/lab/policies", post(commit_policies))
        .route("/lab/policies/candidate", post(propose_policies))
        .route("/lab/policies/mislead", post(mislead))
        .route("/lab/requests", get(requests))
        .route("/lab/requests/{id}/{verb}", post(answer_request))
        .route("/lab/rules", post(change_rules))
        .route("/lab/signals", get(signals).post(emit_signal))
        .route("/lab/signals/lease", post(set_signals_lease))
        .route("/lab/signals/mute", post(mute_signals))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&levers),
            refuse_browsers,
        ))
        .with_state(levers)
}

async fn refuse_browsers(
    State(levers): State<Arc<Levers>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    if headers.contains_key(header::ORIGIN) || host != Some(&levers.host) {
        return Refusal::new(
            StatusCode::FORBIDDEN,
            "The lab takes no orders from web pages",
            format!(
                "Use a program such as curl, and the address {}.",
                levers.host
            ),
        )
        .into_response();
    }
    next.run(request).await
}

async fn state(State(levers): State<Arc<Levers>>) -> Json<Value> {
    let config = &levers.config;
    Json(json!({
        "version": config.ruling.feed().version(),
        "gateways": config.gateways.list(),
        "sessions": config.sessions.list().await,
        "peers": config.ruling.peers().list(),
        "decisions": config.ruling.pdp().map(|pdp| pdp.counts()),
        "rules": config.ruling.pdp().map(|pdp| pdp.rules().rules().to_vec()),
        "posture": *levers.posture(),
    }))
}

async fn decisions(State(levers): State<Arc<Levers>>) -> Result<Response, Refusal> {
    Ok(Json(levers.pdp()?.counts()).into_response())
}

async fn peers(State(levers): State<Arc<Levers>>) -> Response {
    Json(levers.config.ruling.peers().list()).into_response()
}

async fn records(State(levers): State<Arc<Levers>>) -> Response {
    Json(levers.config.control_plane.records()).into_response()
}

async fn sessions(State(levers): State<Arc<Levers>>) -> Response {
    Json(levers.config.sessions.list().await).into_response()
}

async fn revoke_session(
    State(levers): State<Arc<Levers>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    levers
        .config
        .sessions
        .end(&id)
        .await
        .map_err(|error| not_found(error.to_string()))?;
    if let Some(pdp) = levers.config.ruling.pdp() {
        pdp.change_rules(|rules| rules.end_session(id));
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn switch_gateway(
    State(levers): State<Arc<Levers>>,
    Path((id, verb)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let running = match verb.as_str() {
        "start" => true,
        "stop" => false,
        _ => return Err(not_found(format!("{verb:?} is neither start nor stop"))),
    };
    levers
        .config
        .gateways
        .set_running(&id, running)
        .map_err(|error| not_found(format!("{error:#}")))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn publish(State(levers): State<Arc<Levers>>) -> Result<Json<Value>, Refusal> {
    levers.publish(|_| {})
}

async fn leave(
    State(levers): State<Arc<Levers>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let is_away: bool = read(&headers, body).await?;
    levers.config.control_plane.set_away(is_away);
    Ok(StatusCode::NO_CONTENT)
}

async fn make_token(State(levers): State<Arc<Levers>>) -> Result<Json<Value>, Refusal> {
    let token = levers.config.control_plane.make_enrolment_token()?;
    Ok(Json(json!({"token": token})))
}

async fn make_override(
    State(levers): State<Arc<Levers>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let wanted: Wanted = read(&headers, body).await?;
    let code = levers.config.ruling.feed().make_override(wanted);
    let code = code.map_err(|error| Refusal::malformed(error.to_string()))?;
    Ok(Json(json!({"code": code})))
}

async fn interfere(
    State(levers): State<Arc<Levers>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let interference: Interference = read(&headers, body).await?;
    if interference
        .answer
        .as_ref()
        .is_some_and(|answer| !answer.is_sendable())
    {
        return Err(Refusal::malformed(
            "answer: status must be 200 to 599, content_type a media type",
        ));
    }
    levers.pdp()?.interfere(interference);
    Ok(StatusCode::NO_CONTENT)
}

async fn change_posture(
    State(levers): State<Arc<Levers>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let posture: RawPosture = read(&headers, body).await?;
    let mut current = levers.posture();
    if let Some(pdp) = levers.config.ruling.pdp() {
        levers.check(pdp.rules().rules(), &posture)?;
    }
    let answer = levers.publish(|document| document.posture = posture.clone())?;
    if let Some(pdp) = levers.config.ruling.pdp() {
        pdp.change_rules(|rules| rules.set_posture(&posture));
    }
    *current = posture;
    Ok(answer)
}

async fn change_rules(
    State(levers): State<Arc<Levers>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let rules: Vec<Rule> = read(&headers, body).await?;
    let posture = levers.posture();
    levers.check(&rules, &posture)?;
    levers.pdp()?;
    let version = levers.config.ruling.set_rules(rules);
    let version = version.map_err(|error| Refusal::malformed(error.to_string()))?;
    Ok(Json(json!({"version": version})))
}

async fn requests(State(levers): State<Arc<Levers>>) -> Response {
    Json(levers.config.ruling.requests()).into_response()
}

async fn answer_request(
    State(levers): State<Arc<Levers>>,
    Path((id, verb)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let task = match verb.as_str() {
        "approve" => levers.config.ruling.approve(&id)?,
        "deny" => levers.config.ruling.deny(&id)?,
        _ => return Err(not_found(format!("{verb:?} is neither approve nor deny"))),
    };
    Ok(Json(task).into_response())
}

/// Commits files of Cedar, by name.
async fn commit_policies(
    State(levers): State<Arc<Levers>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let files = read_files(&headers, body).await?;
    let policies = levers.config.ruling.policies();
    committed(policies.commit(&files, "from the lab's admin"))
}

/// Has files of Cedar evaluated beside those in force.
async fn propose_policies(
    State(levers): State<Arc<Levers>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let files = read_files(&headers, body).await?;
    let policies = levers.config.ruling.policies();
    committed(policies.propose(&files, "a candidate from the lab's admin"))
}

/// Offers connectors policies that none should follow.
async fn mislead(
    State(levers): State<Arc<Levers>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let how: Misleading = read(&headers, body).await?;
    let misled = levers.config.ruling.policies().mislead(how);
    misled.map_err(|error| Refusal::malformed(error.to_string()))?;
    Ok(Json(json!({"misled": true})))
}

async fn read_files(headers: &HeaderMap, body: Body) -> Result<Vec<(String, String)>, Refusal> {
    let files: std::collections::BTreeMap<String, String> = read(headers, body).await?;
    Ok(files.into_iter().collect())
}

fn committed(commit: Result<String, NotCommitted>) -> Result<Json<Value>, Refusal> {
    let commit = commit.map_err(|error| Refusal::malformed(error.to_string()))?;
    Ok(Json(json!({"commit": commit})))
}

async fn signals(State(levers): State<Arc<Levers>>) -> Json<Value> {
    Json(levers.config.signals.view())
}

async fn emit_signal(
    State(levers): State<Arc<Levers>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let emission: Emission = read(&headers, body).await?;
    if let Some(person) = emission.revoked_person() {
        // The gateways are not asked to trust the device with it.
        levers.config.sessions.end_all_of(person).await;
    }
    let jti = levers.config.signals.emit(&emission);
    Ok(Json(json!({"jti": jti})))
}

async fn mute_signals(
    State(levers): State<Arc<Levers>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let is_mute: bool = read(&headers, body).await?;
    levers.config.signals.set_mute(is_mute);
    Ok(StatusCode::NO_CONTENT)
}

async fn set_signals_lease(
    State(levers): State<Arc<Levers>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let seconds: u64 = read(&headers, body).await?;
    levers.publish(|document| {
        if let Some(signals) = &mut document.signals {
            signals.lease_seconds = seconds;
        }
    })
}

impl Levers {
    fn pdp(&self) -> Result<Arc<Pdp>, Refusal> {
        self.config
            .ruling
            .pdp()
            .ok_or_else(|| not_found("decisions are somebody else's here (--pdp)"))
    }

    fn posture(&self) -> MutexGuard<'_, RawPosture> {
        self.posture
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn check(&self, rules: &[Rule], posture: &RawPosture) -> Result<(), Refusal> {
        company::check_rules(rules, &self.config.resources, posture)
            .map_err(|error| Refusal::malformed(error.to_string()))
    }

    fn publish(
        &self,
        change: impl FnOnce(&mut connector_core::configuration::Document),
    ) -> Result<Json<Value>, Refusal> {
        let version = self
            .config
            .ruling
            .feed()
            .change(change)
            .map_err(|error| Refusal::malformed(error.to_string()))?;
        Ok(Json(json!({"version": version})))
    }
}

async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Refusal> {
    if !is_json(headers) {
        return Err(Refusal::malformed("send application/json"));
    }
    let body = http_server::read_body(body).await?;
    serde_json::from_slice(&body).map_err(|error| Refusal::malformed(error.to_string()))
}

fn not_found(detail: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "There is no such thing", detail)
}

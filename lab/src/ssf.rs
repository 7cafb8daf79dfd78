//! A transmitter of security events: OpenID Shared Signals Framework 1.0 with
//! CAEP 1.0 events, delivered by poll (RFC 8936). Each host has one stream.

mod streams;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connector_core::signals::{PollAnswer, PollRequest, event_type};
use ed25519_dalek::{Signer, SigningKey};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::Url;

use self::streams::Streams;
use crate::clock::Clock;
use crate::control_plane::{Assertions, ControlPlane, claimed_issuer, is_json};
use crate::http_server::{self, Task};
use crate::problem::Refusal;
use crate::random;

/// A running transmitter; it stops when dropped.
#[derive(Debug)]
pub struct Transmitter {
    shared: Arc<Shared>,
    _server: Task,
}

#[derive(Debug)]
struct Shared {
    issuer: Url,
    key: SigningKey,
    clock: Clock,
    hosts: Arc<ControlPlane>,
    assertions: Mutex<Assertions>,
    streams: Mutex<Streams>,
    /// Moves whenever there is something new to send.
    changed: watch::Sender<u64>,
    is_mute: AtomicBool,
}

/// An event to send.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emission {
    /// The event's type: a CAEP name as in `session-revoked`, or a URI.
    pub event: String,
    /// Whom it is about, as a subject identifier.
    pub subject: Value,
    /// The event's members.
    #[serde(default)]
    pub members: Map<String, Value>,
    /// The host whose stream it goes to; all unless told.
    #[serde(default)]
    pub host: Option<String>,
    /// Claims that are put over the usual ones, to see what receivers make of them.
    #[serde(default)]
    pub claims: Map<String, Value>,
}

impl Emission {
    /// Returns the person whose sessions this ends, unless it is sent in a form that no receiver should believe,
    /// or to one host alone.
    #[must_use]
    pub fn revoked_person(&self) -> Option<&str> {
        let is_meant = event_uri(&self.event) == event_type::SESSION_REVOKED
            && self.claims.is_empty()
            && self.host.is_none();
        let member = |name| self.subject.get(name).and_then(Value::as_str);
        member("sub").filter(|_| is_meant && member("format") == Some("iss_sub"))
    }
}

impl Transmitter {
    /// Returns the issuer identifier of a transmitter that will listen there.
    ///
    /// # Errors
    ///
    /// Fails if the listener has no address.
    pub fn issuer_at(listener: &TcpListener) -> anyhow::Result<Url> {
        Ok(format!("http://{}/ssf", listener.local_addr()?).parse()?)
    }

    /// Starts to serve on `listener`, for the hosts that `hosts` has admitted.
    ///
    /// # Errors
    ///
    /// Fails if the listener has no address.
    pub fn start(
        listener: TcpListener,
        hosts: Arc<ControlPlane>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let issuer = Self::issuer_at(&listener)?;
        let shared = Arc::new(Shared {
            assertions: Mutex::new(Assertions::new(issuer.clone())),
            issuer,
            key: SigningKey::from_bytes(&random::bytes()),
            clock,
            hosts,
            streams: Mutex::default(),
            changed: watch::Sender::new(0),
            is_mute: AtomicBool::new(false),
        });
        Ok(Self {
            _server: http_server::serve(listener, router(Arc::clone(&shared))),
            shared,
        })
    }

    /// Sends an event, and returns its `jti`.
    #[must_use]
    pub fn emit(&self, emission: &Emission) -> String {
        self.shared.emit(emission)
    }

    /// Makes every poll wait for nothing, as if the network swallowed it, or ends that.
    pub fn set_mute(&self, is_mute: bool) {
        self.shared.is_mute.store(is_mute, Ordering::Relaxed);
        self.shared.changed.send_modify(|changes| *changes += 1);
    }

    /// Returns each stream, what waits in it, and what receivers refused.
    #[must_use]
    pub fn view(&self) -> Value {
        lock(&self.shared.streams).view()
    }
}

impl Shared {
    fn emit(&self, emission: &Emission) -> String {
        let jti = random::identifier();
        let uri = event_uri(&emission.event);
        let mut members = emission.members.clone();
        // To the millisecond: of two events, receivers believe the later one.
        members.entry("event_timestamp").or_insert_with(|| {
            json!(Duration::from_millis(self.clock.unix_millis()).as_secs_f64())
        });
        let sign = |audience: &str| {
            let mut claims = json!({
                "iss": self.issuer,
                "aud": audience,
                "iat": self.clock.unix_seconds(),
                "jti": jti,
                "txn": jti,
                "sub_id": emission.subject,
                "events": {&uri: members},
            });
            for (name, value) in &emission.claims {
                claims[name] = value.clone();
            }
            self.sign(&claims)
        };
        lock(&self.streams).queue(emission.host.as_deref(), &jti, sign);
        self.changed.send_modify(|changes| *changes += 1);
        tracing::info!(event = uri, jti, "event sent");
        jti
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "kid": KEY_ID, "typ": "secevent+jwt"});
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    /// Finds out which host asks.
    fn authenticate(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let jws = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .ok_or_else(|| Refusal::unauthenticated("send Authorization: Bearer ASSERTION"))?;
        let host = claimed_issuer(jws)?;
        let key = self
            .hosts
            .host_key(&host)
            .ok_or_else(|| Refusal::unauthenticated("no host has the id in iss"))?;
        lock(&self.assertions).spend(jws, key, self.clock.unix_seconds())?;
        Ok(host)
    }

    fn endpoint(&self, name: &str) -> String {
        format!("{}/{name}", self.issuer)
    }

    fn stream(&self, host: &str) -> Value {
        json!({
            "stream_id": format!("stream-{host}"),
            "iss": self.issuer,
            "aud": host,
            "delivery": {"method": POLL, "endpoint_url": self.endpoint("poll")},
            "events_supported": EVENTS.map(|(_, uri)| uri),
            "events_delivered": EVENTS.map(|(_, uri)| uri),
            "min_verification_interval": 1,
        })
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/.well-known/ssf-configuration/ssf", get(metadata))
        .route("/ssf/jwks", get(jwks))
        .route("/ssf/streams", post(create_stream).get(read_streams))
        .route("/ssf/status", get(read_status))
        .route("/ssf/verify", post(verify))
        .route("/ssf/poll", post(poll))
        .with_state(shared)
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({
        "spec_version": "1_0",
        "issuer": shared.issuer,
        "jwks_uri": shared.endpoint("jwks"),
        "delivery_methods_supported": [POLL],
        "configuration_endpoint": shared.endpoint("streams"),
        "status_endpoint": shared.endpoint("status"),
        "verification_endpoint": shared.endpoint("verify"),
        "default_subjects": "ALL",
    }))
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let x = URL_SAFE_NO_PAD.encode(shared.key.verifying_key().as_bytes());
    Json(json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": KEY_ID, "use": "sig", "alg": "EdDSA"},
    ]}))
}

async fn create_stream(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let host = shared.authenticate(&headers)?;
    if !lock(&shared.streams).open(&host) {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "There is a stream already",
            "A host has one; GET it.",
        ));
    }
    Ok((StatusCode::CREATED, Json(shared.stream(&host))).into_response())
}

async fn read_streams(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let host = shared.authenticate(&headers)?;
    let is_open = lock(&shared.streams).is_open(&host);
    let streams: Vec<Value> = is_open.then(|| shared.stream(&host)).into_iter().collect();
    Ok(Json(json!(streams)))
}

#[derive(Debug, Deserialize)]
struct StreamName {
    stream_id: String,
}

async fn read_status(
    State(shared): State<Arc<Shared>>,
    Query(name): Query<StreamName>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let host = shared.authenticate(&headers)?;
    if name.stream_id != format!("stream-{host}") {
        return Err(not_found());
    }
    Ok(Json(
        json!({"stream_id": name.stream_id, "status": "enabled"}),
    ))
}

async fn verify(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    #[derive(Deserialize)]
    struct Verification {
        stream_id: String,
        state: Option<String>,
    }

    let host = shared.authenticate(&headers)?;
    let wanted: Verification = read(&headers, body).await?;
    if wanted.stream_id != format!("stream-{host}") {
        return Err(not_found());
    }
    let mut members = Map::new();
    if let Some(state) = wanted.state {
        members.insert("state".to_owned(), state.into());
    }
    let _jti = shared.emit(&Emission {
        event: event_type::VERIFICATION.to_owned(),
        subject: json!({"format": "opaque", "id": wanted.stream_id}),
        members,
        host: Some(host),
        claims: Map::new(),
    });
    Ok(StatusCode::NO_CONTENT)
}

async fn poll(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PollAnswer>, Refusal> {
    let host = shared.authenticate(&headers)?;
    let request: PollRequest = read(&headers, body).await?;
    if !lock(&shared.streams).settle(&host, &request) {
        return Err(not_found());
    }
    let mut changed = shared.changed.subscribe();
    let deadline = tokio::time::Instant::now() + LONG_POLL;
    loop {
        let is_mute = shared.is_mute.load(Ordering::Relaxed);
        let answer = lock(&shared.streams).waiting(&host, request.max_events);
        if !is_mute && (request.return_immediately || !answer.sets.is_empty()) {
            return Ok(Json(answer));
        }
        let waited = tokio::time::timeout_at(deadline, changed.changed()).await;
        if waited.is_err() && !shared.is_mute.load(Ordering::Relaxed) {
            return Ok(Json(PollAnswer::default()));
        }
        if waited.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn read<T: serde::de::DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refusal> {
    if !is_json(headers) {
        return Err(Refusal::malformed("send application/json"));
    }
    let body = http_server::read_body(body).await?;
    serde_json::from_slice(&body).map_err(|error| Refusal::malformed(error.to_string()))
}

fn not_found() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "There is no such stream",
        "Open one first.",
    )
}

fn event_uri(name: &str) -> String {
    let known = EVENTS.iter().find(|(short, _)| *short == name);
    known.map_or_else(|| name.to_owned(), |(_, uri)| (*uri).to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What can be sent under a short name.
const EVENTS: [(&str, &str); 5] = [
    ("assurance-level-change", event_type::ASSURANCE_LEVEL_CHANGE),
    ("credential-change", event_type::CREDENTIAL_CHANGE),
    (
        "device-compliance-change",
        event_type::DEVICE_COMPLIANCE_CHANGE,
    ),
    ("session-revoked", event_type::SESSION_REVOKED),
    ("token-claims-change", event_type::TOKEN_CLAIMS_CHANGE),
];

const KEY_ID: &str = "signals-1";

/// RFC 8936.
const POLL: &str = "urn:ietf:rfc:8936";

/// Below what receivers wait.
const LONG_POLL: Duration = Duration::from_secs(20);

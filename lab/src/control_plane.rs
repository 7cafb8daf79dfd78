//! The control plane: exactly what `docs/control-plane.openapi.yaml` describes.

mod admission;
mod assertions;
mod configuration;
mod granting;
mod id_tokens;
mod misleading;
mod policies;
mod records;
mod sessions;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Json, Router};
use connector_core::control::{
    Challenge, Discovery, Enrolled, Enrolment, ObjectsRequest, RECORDS_TYPE, RecordsAccepted,
    SessionGrant, SessionRequest,
};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::{Url, form_urlencoded};

use self::admission::{Admission, CHALLENGE_LIFETIME};
use self::assertions::Asserter;
pub(crate) use self::assertions::{Assertions, claimed_issuer};
use self::configuration::Published;
use self::records::Records;
use self::sessions::Opening;
use crate::clock::Clock;
use crate::http_server::{self, Task};
use crate::problem::Refusal;
use crate::ruling::Ruling;

pub use self::admission::HostStore;
pub use self::configuration::{Feed, NotPublished};
pub use self::id_tokens::{IdTokens, Identity, InvalidIdToken};
pub use self::misleading::Misleading;
pub use self::policies::{NotCommitted, Policies, in_cedar};
pub use self::records::RecordsView;
pub use self::sessions::{NoSuchSession, SessionView, Sessions};

/// What the control plane is made of.
#[derive(Debug)]
pub struct ControlPlaneConfig {
    /// The time.
    pub clock: Clock,
    /// Where admitted hosts are remembered.
    pub hosts: HostStore,
    /// Who may verify people.
    pub id_tokens: IdTokens,
    /// The rules and what follows from them: the signed configuration, the policies, requests for access.
    pub ruling: Arc<Ruling>,
    /// The open sessions.
    pub sessions: Arc<Sessions>,
}

/// A running control plane; it stops when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    plane: Arc<Plane>,
    _server: Task,
    _housekeeping: Task,
}

impl ControlPlane {
    /// Starts to serve on `listener`.
    ///
    /// # Errors
    ///
    /// Fails if the listener has no address or the hosts cannot be read.
    pub fn start(listener: TcpListener, config: ControlPlaneConfig) -> anyhow::Result<Self> {
        let base: Url = format!("http://{}/", listener.local_addr()?).parse()?;
        let plane = Arc::new(Plane {
            admission: Mutex::new(Admission::open(config.hosts)?),
            assertions: Mutex::new(Assertions::new(base.clone())),
            base,
            clock: config.clock,
            id_tokens: config.id_tokens,
            is_away: AtomicBool::new(false),
            records: Mutex::default(),
            ruling: config.ruling,
            sessions: config.sessions,
        });
        Ok(Self {
            _server: http_server::serve(listener, router(Arc::clone(&plane))),
            _housekeeping: Task::spawn(keep_house(Arc::clone(&plane))),
            plane,
        })
    }

    /// Returns the base URL.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.plane.base
    }

    /// Refuses everybody with 503 from now on, also those who wait, or answers again.
    pub fn set_away(&self, is_away: bool) {
        self.plane.is_away.store(is_away, Ordering::Relaxed);
    }

    /// Returns the decision logs that hosts have handed over.
    #[must_use]
    pub fn records(&self) -> Vec<RecordsView> {
        self.plane.records().list()
    }

    /// Returns the key of an admitted host.
    pub(crate) fn host_key(&self, host: &str) -> Option<connector_core::jws::PublicKey> {
        self.plane.admission().key_of(host)
    }

    /// Makes a one-time enrolment token, good for ten minutes.
    ///
    /// # Errors
    ///
    /// Fails if too many tokens wait to be used.
    pub fn make_enrolment_token(&self) -> Result<String, crate::expiring::Full> {
        let now = self.plane.clock.unix_seconds();
        self.plane.admission().make_token(now)
    }
}

/// The paths that are served, with their methods.
pub const ROUTES: [(&str, &str); 11] = [
    ("get", "/.well-known/ztna-control-plane"),
    ("post", "/v1/challenges"),
    ("post", "/v1/hosts"),
    ("get", "/v1/configuration"),
    ("post", "/v1/sessions"),
    ("delete", "/v1/sessions/{id}"),
    ("post", "/v1/records"),
    ("get", "/v1/policy/head"),
    ("post", "/v1/policy/objects"),
    ("post", "/v1/access-requests"),
    ("get", "/v1/access-requests"),
];

#[derive(Debug)]
struct Plane {
    base: Url,
    clock: Clock,
    admission: Mutex<Admission>,
    assertions: Mutex<Assertions>,
    id_tokens: IdTokens,
    /// It answers nobody, as if something before it were broken.
    is_away: AtomicBool,
    records: Mutex<Records>,
    ruling: Arc<Ruling>,
    sessions: Arc<Sessions>,
}

fn router(plane: Arc<Plane>) -> Router {
    let operations: [MethodRouter<Arc<Plane>>; ROUTES.len()] = [
        on(MethodFilter::GET, discover),
        on(MethodFilter::POST, create_challenge),
        on(MethodFilter::POST, enrol_host),
        on(MethodFilter::GET, read_configuration),
        on(MethodFilter::POST, open_session),
        on(MethodFilter::DELETE, end_session),
        on(MethodFilter::POST, accept_records),
        on(MethodFilter::GET, read_policy_head),
        on(MethodFilter::POST, read_policy_objects),
        on(MethodFilter::POST, granting::ask),
        on(MethodFilter::GET, granting::list),
    ];
    ROUTES
        .into_iter()
        .zip(operations)
        .fold(Router::new(), |router, ((_, path), operation)| {
            router.route(path, operation)
        })
        .fallback(async || {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "There is nothing here",
                "See docs/control-plane.openapi.yaml for what there is.",
            )
        })
        .method_not_allowed_fallback(async || {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "This cannot be done here",
                "See docs/control-plane.openapi.yaml for what can.",
            )
        })
        .layer(middleware::from_fn_with_state(
            Arc::clone(&plane),
            answer_unless_away,
        ))
        .with_state(plane)
}

async fn answer_unless_away(
    State(plane): State<Arc<Plane>>,
    request: Request,
    next: Next,
) -> Response {
    let answer = next.run(request).await;
    // Looked at last: a request may have waited for long.
    if !plane.is_away.load(Ordering::Relaxed) {
        return answer;
    }
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "The control plane is away",
        "Try again later.",
    )
    .into_response()
}

async fn discover(State(plane): State<Arc<Plane>>) -> Result<Json<Discovery>, Refusal> {
    let endpoint = |path: &str| {
        plane.base.join(path).map_err(|error| {
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The base URL is wrong",
                error.to_string(),
            )
        })
    };
    Ok(Json(Discovery {
        control_plane: plane.base.clone(),
        challenge_endpoint: endpoint("v1/challenges")?,
        host_endpoint: endpoint("v1/hosts")?,
        session_endpoint: endpoint("v1/sessions")?,
        configuration_endpoint: endpoint("v1/configuration")?,
        records_endpoint: Some(endpoint("v1/records")?),
        policy_head_endpoint: Some(endpoint("v1/policy/head")?),
        policy_objects_endpoint: Some(endpoint("v1/policy/objects")?),
        access_request_endpoint: Some(endpoint("v1/access-requests")?),
    }))
}

async fn create_challenge(State(plane): State<Arc<Plane>>) -> Result<Response, Refusal> {
    let challenge = Challenge {
        challenge: plane.admission().make_challenge(plane.now())?,
        expires_in: CHALLENGE_LIFETIME,
    };
    Ok((not_stored(), Json(challenge)).into_response())
}

async fn enrol_host(
    State(plane): State<Arc<Plane>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Enrolled>, Refusal> {
    let enrolment: Enrolment = read_json(&headers, body).await?;
    let host_id = plane
        .admission()
        .enrol(&enrolment, plane.base.as_str(), plane.now())?;
    tracing::info!(host = host_id, name = enrolment.name, "host enrolled");
    Ok(Json(Enrolled { host_id }))
}

async fn read_configuration(
    State(plane): State<Arc<Plane>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    plane
        .read_signed(plane.ruling.feed().published(), &headers, query)
        .await
}

async fn read_policy_head(
    State(plane): State<Arc<Plane>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    plane
        .read_signed(plane.ruling.policies().published(), &headers, query)
        .await
}

async fn read_policy_objects(
    State(plane): State<Arc<Plane>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (Asserter::Host(_) | Asserter::Session(_)) = plane.authenticate_host(&headers).await?;
    let request: ObjectsRequest = read_json(&headers, body).await?;
    let headers = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    )];
    Ok((headers, plane.ruling.policies().objects(&request.objects)).into_response())
}

async fn open_session(
    State(plane): State<Arc<Plane>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let host = plane.authenticate_host(&headers).await?.into_id();
    let request: SessionRequest = read_json(&headers, body).await?;
    let session_key = request
        .session_key
        .parse()
        .map_err(|error| Refusal::malformed(format!("session_key: {error}")))?;
    let wireguard_key = request
        .wireguard_key
        .parse()
        .map_err(|error| Refusal::malformed(format!("wireguard_key: {error}")))?;
    let identity = plane
        .id_tokens
        .verify(&request.id_token)
        .await
        .map_err(|error| {
            tracing::warn!(%error, "ID token refused");
            Refusal::new(
                StatusCode::FORBIDDEN,
                "The ID token is not accepted",
                format!("{error}; sign in again"),
            )
        })?;

    let opening = Opening {
        host,
        subject: identity.subject,
        groups: identity.groups,
        session_key,
        wireguard_key,
    };
    let grant: SessionGrant = plane.sessions.open(opening).await?;
    Ok((not_stored(), Json(grant)).into_response())
}

async fn accept_records(
    State(plane): State<Arc<Plane>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Json<RecordsAccepted>, Refusal> {
    let host = plane.authenticate_host(&headers).await?.into_id();
    if !is_of_type(&headers, RECORDS_TYPE) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The request is no list of records",
            format!("Send it as {RECORDS_TYPE}."),
        ));
    }
    let query = query.unwrap_or_default();
    let after = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "after");
    let after = records::read_after(after.as_ref().map(|(_, text)| text.as_ref()))?;
    let body = http_server::read_body_within(body, records::MAX_RECORDS).await?;
    let key = plane.admission().key_of(&host);
    let key = key.ok_or_else(|| Refusal::unauthenticated("the host is gone; enrol again"))?;
    let accepted = plane.records().accept(&host, key, after, &body)?;
    Ok(Json(accepted))
}

async fn end_session(
    State(plane): State<Arc<Plane>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let asserter = plane.authenticate(&headers).await?;
    let owned = match &asserter {
        Asserter::Host(host) => plane.sessions.belongs_to(&id, host).await,
        Asserter::Session(session) => *session == id,
    };
    let not_found = || {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "There is no such session",
            "It may be over already; open a new one.",
        )
    };
    if !owned {
        return Err(not_found());
    }
    plane.sessions.end(&id).await.map_err(|_| not_found())?;
    Ok(StatusCode::NO_CONTENT)
}

impl Plane {
    fn now(&self) -> u64 {
        self.clock.unix_seconds()
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Answers a host with a signed document, unless it has it already: then with
    /// the next one, if that comes while it waits.
    async fn read_signed(
        &self,
        published: watch::Receiver<Published>,
        headers: &HeaderMap,
        query: Option<String>,
    ) -> Result<Response, Refusal> {
        let (Asserter::Host(_) | Asserter::Session(_)) = self.authenticate_host(headers).await?;
        let wait = read_wait(query.as_deref().unwrap_or_default())?;
        let known = headers
            .get(header::IF_NONE_MATCH)
            .and_then(|value| value.to_str().ok());

        let published = Published::newer_than(published, known, wait).await;
        let etag = HeaderValue::from_str(&published.etag())
            .map_err(|error| Refusal::malformed(error.to_string()))?;
        if known.is_some_and(|known| published.matches(known)) {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
        }
        let headers = [
            (header::ETAG, etag),
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/jose"),
            ),
        ];
        Ok((headers, published.jws).into_response())
    }

    async fn authenticate_host(&self, headers: &HeaderMap) -> Result<Asserter, Refusal> {
        match self.authenticate(headers).await? {
            Asserter::Host(host) => Ok(Asserter::Host(host)),
            Asserter::Session(_) => Err(Refusal::unauthenticated(
                "this needs an assertion of the host key, not of a session key",
            )),
        }
    }

    /// Finds out who made the request's assertion, and spends it.
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Asserter, Refusal> {
        let jws = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .ok_or_else(|| Refusal::unauthenticated("send Authorization: Bearer ASSERTION"))?;

        let claimed = claimed_issuer(jws)?;
        let host = self.admission().key_of(&claimed);
        let (key, asserter) = match host {
            Some(key) => (key, Asserter::Host(claimed)),
            None => match self.sessions.key_of(&claimed).await {
                Some(key) => (key, Asserter::Session(claimed)),
                None => {
                    return Err(Refusal::unauthenticated(
                        "no host and no session has the id in iss; enrol or sign in again",
                    ));
                }
            },
        };
        self.assertions
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .spend(jws, key, self.now())?;
        Ok(asserter)
    }
}

/// Ends sessions whose time is over, and signs the configuration afresh before it lapses.
async fn keep_house(plane: Arc<Plane>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING_INTERVAL);
    loop {
        ticks.tick().await;
        plane.sessions.end_expired().await;
        plane.ruling.end_lapsed();
        if let Err(error) = plane.ruling.feed().renew_if_due() {
            tracing::error!(%error, "the configuration cannot be renewed");
        }
        if let Err(error) = plane.ruling.policies().renew_if_due() {
            tracing::error!(%error, "the policy head cannot be renewed");
        }
    }
}

/// Reads a JSON body into the type that an operation expects.
async fn read_json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Refusal> {
    if !is_json(headers) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The request is not JSON",
            "Send it as application/json.",
        ));
    }
    let body = http_server::read_body(body).await?;
    serde_json::from_slice(&body).map_err(|error| Refusal::malformed(error.to_string()))
}

/// Returns whether the headers announce JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    is_of_type(headers, "application/json")
}

fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(expected))
}

fn read_wait(query: &str) -> Result<Duration, Refusal> {
    let Some((_, text)) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "wait")
    else {
        return Ok(Duration::ZERO);
    };
    let seconds: u64 = text
        .parse()
        .map_err(|_| Refusal::malformed(format!("wait={text:?} is not a number of seconds")))?;
    Ok(Duration::from_secs(seconds.min(MAX_WAIT)))
}

fn not_stored() -> [(header::HeaderName, HeaderValue); 1] {
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}

/// Seconds that a long poll lasts at most: below the idle timeouts of common proxies.
const MAX_WAIT: u64 = 60;

/// Sessions end this exactly.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(250);

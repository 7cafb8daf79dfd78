//! The control plane's API, as `docs/control-plane.openapi.yaml` describes it.

use std::sync::Arc;
use std::time::Duration;

use connector_core::authzen::printable;
use connector_core::control::{
    ASSERTION_TYPE, Assertion, Challenge, DISCOVERY_PATH, Discovery, Enrolled, Enrolment,
    GrantAnswer, GrantRequest, GrantTask, GrantTasks, ObjectsRequest, Problem, RECORDS_TYPE,
    RecordsAccepted, SessionGrant, SessionRequest, is_secure,
};
use connector_core::identity::HostId;
use connector_core::jws;
use connector_platform::clock;
use ed25519_dalek::SigningKey;
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, StatusCode};
use reqwest::RequestBuilder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use url::Url;

use crate::adapters::http::{self as web, Answer, Http, HttpError};
use crate::adapters::keys::{self, KeyError};

/// Speaks to one control plane.
#[derive(Debug, Clone)]
pub(crate) struct ControlPlane {
    http: Http,
    base: Url,
    discovery: Arc<OnceCell<Discovery>>,
}

/// What proves that a request comes from this host.
#[derive(Debug)]
pub(crate) struct HostCredential {
    pub(crate) id: HostId,
    pub(crate) key: SigningKey,
}

/// Names a version of a signed document, to ask for the next one with.
#[derive(Debug, Clone)]
pub(crate) struct Validator(HeaderValue);

/// What asking for a signed document brought.
#[derive(Debug)]
pub(crate) enum Fetched {
    Document {
        jws: String,
        validator: Option<Validator>,
    },
    NotModified,
}

impl ControlPlane {
    pub(crate) fn new(http: Http, base: Url) -> Self {
        Self {
            http,
            base,
            discovery: Arc::default(),
        }
    }

    /// Returns the base URL, which proofs and assertions are made out to.
    pub(super) fn audience(&self) -> String {
        self.base.to_string()
    }

    pub(super) async fn challenge(&self) -> Result<Challenge, ApiError> {
        let endpoint = &self.discover().await?.challenge_endpoint;
        self.ask(self.http.client().post(endpoint.clone())).await
    }

    pub(super) async fn enrol(&self, enrolment: &Enrolment) -> Result<Enrolled, ApiError> {
        let endpoint = &self.discover().await?.host_endpoint;
        let request = self.http.client().post(endpoint.clone());
        self.ask(with_json(request, enrolment)?).await
    }

    /// Waits for a configuration other than the one that `validator` names, for
    /// at most `patience`.
    pub(super) async fn configuration(
        &self,
        credential: &HostCredential,
        validator: Option<&Validator>,
        patience: Duration,
    ) -> Result<Fetched, ApiError> {
        let endpoint = self.discover().await?.configuration_endpoint.clone();
        self.document(endpoint, credential, validator, patience)
            .await
    }

    /// Waits for a policy head other than the one that `validator` names, for at
    /// most `patience`; none if this control plane has no policy store.
    pub(crate) async fn policy_head(
        &self,
        credential: &HostCredential,
        validator: Option<&Validator>,
        patience: Duration,
    ) -> Result<Option<Fetched>, ApiError> {
        let Some(endpoint) = self.discover().await?.policy_head_endpoint.clone() else {
            return Ok(None);
        };
        self.document(endpoint, credential, validator, patience)
            .await
            .map(Some)
    }

    /// Fetches objects of the policy store, as one pack.
    pub(crate) async fn policy_objects(
        &self,
        credential: &HostCredential,
        missing: Vec<String>,
    ) -> Result<Vec<u8>, ApiError> {
        let Some(endpoint) = self.discover().await?.policy_objects_endpoint.clone() else {
            return Err(ApiError::Unreadable(
                "it names a policy head and nowhere to fetch its objects".into(),
            ));
        };
        let post = self
            .http
            .client()
            .post(endpoint)
            .bearer_auth(self.assertion(credential.id.as_str(), &credential.key)?);
        let request = with_json(post, &ObjectsRequest { objects: missing })?;
        let answer = web::send(request, TRANSFER_LIMIT, MAX_TRANSFER).await?;
        if answer.status == StatusCode::OK {
            Ok(answer.body)
        } else {
            Err(refused(&answer))
        }
    }

    async fn document(
        &self,
        mut endpoint: Url,
        credential: &HostCredential,
        validator: Option<&Validator>,
        patience: Duration,
    ) -> Result<Fetched, ApiError> {
        if validator.is_some() {
            endpoint
                .query_pairs_mut()
                .append_pair("wait", &patience.as_secs().to_string());
        }
        let mut request = self
            .http
            .client()
            .get(endpoint)
            .bearer_auth(self.assertion(credential.id.as_str(), &credential.key)?);
        if let Some(Validator(etag)) = validator {
            request = request.header(IF_NONE_MATCH, etag);
        }

        let answer = web::send(request, REQUEST_LIMIT + patience, MAX_DOCUMENT).await?;
        match answer.status {
            StatusCode::OK => Ok(Fetched::Document {
                jws: String::from_utf8(answer.body)
                    .map_err(|_| ApiError::Unreadable("the signed document is no text".into()))?,
                validator: answer.headers.get(ETAG).cloned().map(Validator),
            }),
            StatusCode::NOT_MODIFIED => Ok(Fetched::NotModified),
            _ => Err(refused(&answer)),
        }
    }

    pub(crate) async fn open_session(
        &self,
        credential: &HostCredential,
        request: &SessionRequest,
    ) -> Result<SessionGrant, ApiError> {
        let endpoint = &self.discover().await?.session_endpoint;
        let post = self
            .http
            .client()
            .post(endpoint.clone())
            .bearer_auth(self.assertion(credential.id.as_str(), &credential.key)?);
        self.ask(with_json(post, request)?).await
    }

    pub(crate) async fn end_session(&self, id: &str, key: &SigningKey) -> Result<(), ApiError> {
        let mut endpoint = self.discover().await?.session_endpoint.clone();
        endpoint
            .path_segments_mut()
            .map_err(|()| ApiError::Unreadable("the session endpoint has no path".into()))?
            .push(id);
        let request = self
            .http
            .client()
            .delete(endpoint)
            .bearer_auth(self.assertion(id, key)?);
        let answer = web::send(request, REQUEST_LIMIT, MAX_ANSWER).await?;
        // A session that the control plane no longer knows has ended already.
        let unknown = [StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED];
        if answer.status.is_success() || unknown.contains(&answer.status) {
            Ok(())
        } else {
            Err(refused(&answer))
        }
    }

    /// Asks for access in a session's name; none if nobody takes such requests.
    pub(crate) async fn request_access(
        &self,
        session: &str,
        key: &SigningKey,
        request: &GrantRequest,
    ) -> Result<Option<GrantTask>, ApiError> {
        let Some(endpoint) = self.discover().await?.access_request_endpoint.clone() else {
            return Ok(None);
        };
        let post = self
            .http
            .client()
            .post(endpoint)
            .bearer_auth(self.assertion(session, key)?);
        let answer: GrantAnswer = self.ask(with_json(post, request)?).await?;
        Ok(Some(answer.task))
    }

    /// Returns what a session's person has asked for; none if nobody takes such requests.
    pub(crate) async fn access_requests(
        &self,
        session: &str,
        key: &SigningKey,
    ) -> Result<Option<Vec<GrantTask>>, ApiError> {
        let Some(endpoint) = self.discover().await?.access_request_endpoint.clone() else {
            return Ok(None);
        };
        let get = self
            .http
            .client()
            .get(endpoint)
            .bearer_auth(self.assertion(session, key)?);
        let answer: GrantTasks = self.ask(get).await?;
        Ok(Some(answer.tasks))
    }

    /// Hands over lines of the decision log that follow on `after`; none if nobody takes them.
    pub(crate) async fn deliver_records(
        &self,
        credential: &HostCredential,
        after: u64,
        lines: Vec<u8>,
    ) -> Result<Option<RecordsAccepted>, ApiError> {
        let Some(mut endpoint) = self.discover().await?.records_endpoint.clone() else {
            return Ok(None);
        };
        endpoint
            .query_pairs_mut()
            .append_pair("after", &after.to_string());
        let request = self
            .http
            .client()
            .post(endpoint)
            .bearer_auth(self.assertion(credential.id.as_str(), &credential.key)?)
            .header(CONTENT_TYPE, RECORDS_TYPE)
            .body(lines);
        self.ask(request).await.map(Some)
    }

    async fn discover(&self) -> Result<&Discovery, ApiError> {
        self.discovery
            .get_or_try_init(|| async {
                let endpoint = self
                    .base
                    .join(DISCOVERY_PATH)
                    .map_err(|error| ApiError::Unreadable(printable(&error.to_string())))?;
                let found: Discovery = self.ask(self.http.client().get(endpoint)).await?;
                self.check(found)
            })
            .await
    }

    /// A document that was written for another base, or leads elsewhere, is refused.
    fn check(&self, found: Discovery) -> Result<Discovery, ApiError> {
        if found.control_plane != self.base {
            return Err(ApiError::WrongControlPlane {
                found: Box::new(found.control_plane),
                expected: Box::new(self.base.clone()),
            });
        }
        for endpoint in [
            &found.challenge_endpoint,
            &found.host_endpoint,
            &found.session_endpoint,
            &found.configuration_endpoint,
        ]
        .into_iter()
        .chain(&found.records_endpoint)
        .chain(&found.policy_head_endpoint)
        .chain(&found.policy_objects_endpoint)
        .chain(&found.access_request_endpoint)
        {
            if !is_secure(endpoint) {
                return Err(ApiError::InsecureEndpoint(endpoint.clone()));
            }
        }
        Ok(found)
    }

    fn assertion(&self, issuer: &str, key: &SigningKey) -> Result<String, ApiError> {
        let now = clock::now().wall.unix_seconds();
        let claims = Assertion {
            iss: issuer.to_owned(),
            aud: self.audience(),
            iat: now,
            exp: now + ASSERTION_LIFETIME.as_secs(),
            jti: keys::unguessable()?,
        };
        Ok(jws::sign(key, ASSERTION_TYPE, &claims)?)
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        let answer = web::send(request, REQUEST_LIMIT, MAX_ANSWER).await?;
        if !answer.status.is_success() {
            return Err(refused(&answer));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| ApiError::Unreadable(printable(&error.to_string())))
    }
}

fn with_json(request: RequestBuilder, body: &impl Serialize) -> Result<RequestBuilder, ApiError> {
    Ok(request
        .header(CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(body)?))
}

fn refused(answer: &Answer) -> ApiError {
    let problem: Option<Problem> = serde_json::from_slice(&answer.body).ok();
    let (title, detail) = match problem {
        Some(problem) => (problem.title, problem.detail),
        None => ("it gave no reason".to_owned(), None),
    };
    ApiError::Refused {
        status: answer.status,
        title: printable(&title),
        detail: detail.map(|detail| printable(&detail)),
    }
}

/// Why a request to the control plane failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the control plane cannot be asked: {0}")]
    Http(#[from] HttpError),
    #[error("the control plane names the endpoint {0}, which would send secrets in clear")]
    InsecureEndpoint(Url),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the control plane refused ({status}): {title}{}", detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default())]
    Refused {
        status: StatusCode,
        title: Arc<str>,
        detail: Option<Arc<str>>,
    },
    #[error("the control plane's answer cannot be read: {0}")]
    Unreadable(Arc<str>),
    #[error("a request cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
    #[error("the discovery document is for {found}, not for {expected}")]
    WrongControlPlane { found: Box<Url>, expected: Box<Url> },
}

impl ApiError {
    /// Returns what people read: a refusal's own words, and nothing around them.
    pub(crate) fn advice(&self) -> String {
        match self {
            Self::Refused { title, detail, .. } => {
                let detail = detail.as_ref().map(|detail| format!(": {detail}"));
                printable(&format!("{title}{}", detail.unwrap_or_default())).to_string()
            }
            Self::Http(_)
            | Self::InsecureEndpoint(_)
            | Self::Key(_)
            | Self::Unreadable(_)
            | Self::Unwritable(_)
            | Self::WrongControlPlane { .. } => self.to_string(),
        }
    }

    /// Returns whether the control plane itself said no, so that asking again does not help.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.is_client_error())
    }
}

const REQUEST_LIMIT: Duration = Duration::from_secs(15);

/// How long the control plane may hold a request for the next configuration.
pub(super) const POLL: Duration = Duration::from_secs(50);

/// Long enough for clocks that differ a little, well below the 120 s that are accepted.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

const MAX_ANSWER: usize = 64 * 1024;

/// All objects of the largest policy store, over a slow line.
const MAX_TRANSFER: usize = 52 * 1024 * 1024;
const TRANSFER_LIMIT: Duration = Duration::from_secs(120);

/// A configuration with thousands of resources stays well below.
const MAX_DOCUMENT: usize = 8 * 1024 * 1024;

//! One stream of events at one transmitter.

use std::time::{Duration, Instant};

use connector_core::authzen::printable;
use connector_core::control::{ASSERTION_TYPE, Assertion};
use connector_core::jws;
use connector_core::signals::{
    InvalidAnswer, InvalidKeySet, InvalidTransmitter, KeySet, PollAnswer, PollRequest,
    StreamConfiguration, StreamRequest, TokenVerifier, Transmitter, metadata_url,
};
use connector_platform::clock;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use reqwest::RequestBuilder;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::signatures::CHECKS;
use crate::adapters::control::HostCredential;
use crate::adapters::http::{self as web, Answer, Http, HttpError};
use crate::adapters::keys::{self, KeyError};

/// An open stream, and whose signatures count on it.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    http: &'a Http,
    issuer: &'a Url,
    credential: &'a HostCredential,
    transmitter: Transmitter,
    stream: StreamConfiguration,
    pub(super) verifier: TokenVerifier,
    pub(super) keys: KeySet,
    keys_read_at: Instant,
    /// What the transmitter was asked to repeat.
    pub(super) asked_state: Option<String>,
}

impl<'a> Stream<'a> {
    /// Finds the transmitter, and opens this host's stream there or goes on with it.
    pub(super) async fn open(
        http: &'a Http,
        issuer: &'a Url,
        credential: &'a HostCredential,
    ) -> Result<Self, StreamError> {
        let metadata = fetch(http, &metadata_url(issuer)).await?;
        let transmitter = Transmitter::parse(&metadata, issuer)?;
        let keys = KeySet::parse(&fetch(http, &transmitter.jwks).await?, CHECKS)?;
        let bearer = assertion(issuer, credential)?;

        let wanted = StreamRequest::poll("ZTNA Connector");
        let post = with_json(http.client().post(transmitter.streams.clone()), &wanted)?;
        let mut answer = send(post.bearer_auth(&bearer)).await?;
        if answer.status == StatusCode::CONFLICT {
            // A receiver has one stream: it is there from an earlier run (SSF 1.0 §8.1.1.1).
            let get = http.client().get(transmitter.streams.clone());
            answer = send(get.bearer_auth(assertion(issuer, credential)?)).await?;
        }
        if !answer.status.is_success() {
            return Err(StreamError::Status(answer.status));
        }
        let stream = StreamConfiguration::parse(&answer.body, issuer)?;
        let verifier = TokenVerifier::new(
            issuer,
            stream.audience.clone(),
            transmitter.critical_members.clone(),
        );
        let mut opened = Self {
            http,
            issuer,
            credential,
            transmitter,
            stream,
            verifier,
            keys,
            keys_read_at: Instant::now(),
            asked_state: None,
        };
        opened.check_status().await?;
        opened.ask_for_verification().await;
        Ok(opened)
    }

    /// Returns the stream's name at the transmitter.
    pub(super) fn id(&self) -> &str {
        &self.stream.id
    }

    /// Asks for events, for at most `limit`.
    pub(super) async fn poll(
        &self,
        request: &PollRequest,
        limit: Duration,
    ) -> Result<PollAnswer, StreamError> {
        let post = self.http.client().post(self.stream.endpoint.clone());
        let post = with_json(post, request)?
            .header("Content-Language", "en")
            .bearer_auth(assertion(self.issuer, self.credential)?);
        let answer = web::send(post, limit, PollAnswer::MAX_LENGTH).await?;
        if answer.status != StatusCode::OK {
            return Err(StreamError::Status(answer.status));
        }
        Ok(PollAnswer::parse(&answer.body)?)
    }

    /// Reads the issuer's keys anew, unless that was done a moment ago: tokens by
    /// made-up keys must not make this host a flood. Returns whether it did.
    pub(super) async fn refresh_keys(&mut self) -> Result<bool, StreamError> {
        if self.keys_read_at.elapsed() < BETWEEN_KEYS {
            return Ok(false);
        }
        self.keys_read_at = Instant::now();
        let document = fetch(self.http, &self.transmitter.jwks).await?;
        self.keys = KeySet::parse(&document, CHECKS)?;
        Ok(true)
    }

    /// Makes sure that events are sent at all: a paused stream is as quiet as a good one.
    async fn check_status(&self) -> Result<(), StreamError> {
        let Some(mut endpoint) = self.transmitter.status.clone() else {
            return Ok(());
        };
        endpoint
            .query_pairs_mut()
            .append_pair("stream_id", &self.stream.id);
        let get = self.http.client().get(endpoint);
        let answer = send(get.bearer_auth(assertion(self.issuer, self.credential)?)).await?;
        if answer.status != StatusCode::OK {
            return Err(StreamError::Status(answer.status));
        }
        read_status(&answer.body)
    }

    /// Asks for an event that shows that the stream works; a transmitter need not.
    async fn ask_for_verification(&mut self) {
        let Some(endpoint) = self.transmitter.verification.clone() else {
            return;
        };
        let asked = async {
            let state = keys::unguessable()?;
            let body = json!({"stream_id": self.stream.id, "state": state});
            let post = with_json(self.http.client().post(endpoint), &body)?;
            let bearer = assertion(self.issuer, self.credential)?;
            let answer = send(post.bearer_auth(bearer)).await?;
            match answer.status.is_success() {
                true => Ok(state),
                false => Err(StreamError::Status(answer.status)),
            }
        };
        match asked.await {
            Ok(state) => self.asked_state = Some(state),
            Err(error) => {
                tracing::warn!(%error, "The transmitter was not asked to verify the stream")
            }
        }
    }
}

/// Takes a stream that is enabled, and no other.
pub(super) fn read_status(body: &[u8]) -> Result<(), StreamError> {
    let found: RawStatus = serde_json::from_slice(body)?;
    match found.status.as_str() {
        "enabled" => Ok(()),
        _ => Err(StreamError::NotEnabled(
            found.status.chars().take(40).collect(),
        )),
    }
}

/// Proves that a request comes from this host, to this transmitter and nobody else.
fn assertion(issuer: &Url, credential: &HostCredential) -> Result<String, StreamError> {
    let now = clock::now().wall.unix_seconds();
    let claims = Assertion {
        iss: credential.id.as_str().to_owned(),
        aud: issuer.as_str().to_owned(),
        iat: now,
        exp: now + ASSERTION_LIFETIME.as_secs(),
        jti: keys::unguessable()?,
    };
    Ok(jws::sign(&credential.key, ASSERTION_TYPE, &claims)?)
}

async fn fetch(http: &Http, url: &Url) -> Result<Vec<u8>, StreamError> {
    let answer = send(http.client().get(url.clone())).await?;
    if answer.status != StatusCode::OK {
        return Err(StreamError::Status(answer.status));
    }
    Ok(answer.body)
}

async fn send(request: RequestBuilder) -> Result<Answer, StreamError> {
    Ok(web::send(request, REQUEST_LIMIT, MAX_DOCUMENT).await?)
}

fn with_json(
    request: RequestBuilder,
    body: &impl Serialize,
) -> Result<RequestBuilder, StreamError> {
    Ok(request
        .header(CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(body)?))
}

#[derive(Deserialize)]
struct RawStatus {
    status: String,
}

/// Why events cannot be listened to.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    Answer(#[from] InvalidAnswer),
    #[error("the transmitter cannot be asked: {0}")]
    Http(#[from] HttpError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the transmitter's keys cannot be used: {0}")]
    Keys(#[from] InvalidKeySet),
    #[error("the stream is {0:?}; ask your administrator to enable it")]
    NotEnabled(String),
    #[error("the transmitter answered with status {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Transmitter(#[from] InvalidTransmitter),
    #[error("JSON cannot be read or written: {}", printable(&.0.to_string()))]
    Json(#[from] serde_json::Error),
}

impl StreamError {
    /// Returns whether nothing came within the time that was given.
    pub(super) fn is_late(&self) -> bool {
        matches!(self, Self::Http(HttpError::Late(_)))
    }
}

const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Long enough for clocks that differ a little.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// Keys are changed days apart.
const BETWEEN_KEYS: Duration = Duration::from_secs(30);

const MAX_DOCUMENT: usize = 128 * 1024;

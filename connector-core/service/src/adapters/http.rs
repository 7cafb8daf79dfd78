//! HTTP towards the control plane, the identity provider and the policy: no
//! redirects, bounded time, bounded answers.

use std::time::Duration;

use http::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::tls::TlsInfo;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response};
use rustls::{ClientConfig, RootCertStore};

/// Asks servers.
#[derive(Debug, Clone)]
pub(crate) struct Http(Client);

impl Http {
    /// Prepares to ask servers; trusts the system's certificate authorities.
    /// A system without any can still ask servers on its own loopback.
    pub(crate) fn new() -> Result<Self, HttpError> {
        Self::build(|| builder().http1_only())
    }

    /// Prepares to ask servers that speak HTTP/2 and nothing else, in the clear too, as gRPC does.
    pub(crate) fn http2() -> Result<Self, HttpError> {
        Self::build(|| {
            builder()
                .http2_prior_knowledge()
                .http2_keep_alive_interval(PING_AFTER)
                .http2_keep_alive_timeout(PING_LIMIT)
        })
    }

    fn build(builder: impl Fn() -> ClientBuilder) -> Result<Self, HttpError> {
        let trusting = builder().build().or_else(|error| {
            let error = HttpError::new(error);
            tracing::warn!(%error, "This system's certificate authorities cannot be read; no https server is trusted");
            builder().tls_backend_preconfigured(trust_nobody()).build()
        });
        trusting.map(Self).map_err(HttpError::new)
    }

    /// Returns the client to build a request with.
    pub(crate) fn client(&self) -> &Client {
        &self.0
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_LIMIT)
        .tls_info(true)
        .user_agent(concat!("ztnad/", env!("CARGO_PKG_VERSION")))
}

fn trust_nobody() -> ClientConfig {
    ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: http::StatusCode,
    pub(crate) headers: HeaderMap,
    /// What the server has shown for itself; none without TLS.
    pub(crate) tls: Option<TlsInfo>,
    pub(crate) body: Vec<u8>,
}

/// Sends `request` and reads the answer, whatever its status, if it comes within
/// `limit` and has at most `max_body` bytes.
pub(crate) async fn send(
    request: RequestBuilder,
    limit: Duration,
    max_body: usize,
) -> Result<Answer, HttpError> {
    let exchange = async {
        let response = request.send().await.map_err(HttpError::new)?;
        read(response, max_body).await
    };
    tokio::time::timeout(limit, exchange)
        .await
        .map_err(|_| HttpError::Late(limit))?
}

async fn read(mut response: Response, max_body: usize) -> Result<Answer, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(HttpError::new)? {
        if body.len() + chunk.len() > max_body {
            return Err(HttpError::TooLong(max_body));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status(),
        headers: response.headers().clone(),
        tls: response.extensions_mut().remove(),
        body,
    })
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("{0}")]
    Failed(String),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl HttpError {
    /// Keeps the whole chain of causes: the first alone never tells why.
    pub(crate) fn new(error: reqwest::Error) -> Self {
        Self::Failed(format!("{:#}", anyhow::Error::new(error)))
    }
}

/// All requests share one connection; one that leads nowhere any more must not
/// be kept. Asked about only while somebody waits for an answer.
const PING_AFTER: Duration = Duration::from_millis(300);
const PING_LIMIT: Duration = Duration::from_secs(1);

/// Long enough for a slow network, short enough to try again while somebody waits.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

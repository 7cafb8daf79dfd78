//! An OpenID provider: authorization code with PKCE for one public client.
//!
//! Follows OpenID Connect Core and Discovery 1.0, RFC 6749, RFC 7636 (S256
//! only), RFC 7009, RFC 8252 (loopback redirects), RFC 9126 and RFC 9207.

mod authorize;
mod form;
mod grants;
mod keys;
mod pages;
mod redirect;
mod token;

use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use self::grants::Grants;
use self::keys::IdTokenKey;
use crate::clock::Clock;
use crate::company::Person;
use crate::http_server::{self, Task};

pub(crate) use self::pages::escape;

/// What the provider is made of.
#[derive(Debug)]
pub struct IdpConfig {
    /// What the company is called.
    pub organisation: String,
    /// The one client.
    pub client_id: String,
    /// Who can sign in.
    pub people: Vec<Person>,
    /// The time.
    pub clock: Clock,
}

/// A running provider; it stops when dropped.
#[derive(Debug)]
pub struct Idp {
    issuer: Url,
    _server: Task,
}

impl Idp {
    /// Starts to serve on `listener`.
    ///
    /// # Errors
    ///
    /// Fails if the listener has no address.
    pub fn start(listener: TcpListener, config: IdpConfig) -> anyhow::Result<Self> {
        let issuer: Url = format!("http://{}/idp", listener.local_addr()?).parse()?;
        let provider = Arc::new(Provider {
            issuer: issuer.as_str().to_owned(),
            config,
            key: IdTokenKey::generate(),
            grants: Mutex::default(),
        });

        Ok(Self {
            issuer,
            _server: http_server::serve(listener, router(provider)),
        })
    }

    /// Returns the issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> &Url {
        &self.issuer
    }
}

#[derive(Debug)]
struct Provider {
    issuer: String,
    config: IdpConfig,
    key: IdTokenKey,
    grants: Mutex<Grants>,
}

impl Provider {
    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn now(&self) -> u64 {
        self.config.clock.unix_seconds()
    }

    fn person(&self, login: &str) -> Option<&Person> {
        self.config
            .people
            .iter()
            .find(|person| person.login == login)
    }
}

fn router(provider: Arc<Provider>) -> Router {
    Router::new()
        .route("/idp/.well-known/openid-configuration", get(discovery))
        .route("/idp/jwks", get(jwks))
        .route("/idp/authorize", get(authorize::show))
        .route("/idp/login", post(authorize::login))
        .route("/idp/par", post(authorize::push))
        .route("/idp/token", post(token::exchange))
        .route("/idp/revoke", post(token::revoke))
        .route(
            "/idp/userinfo",
            get(token::user_info).post(token::user_info),
        )
        .with_state(provider)
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let issuer = &provider.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "pushed_authorization_request_endpoint": format!("{issuer}/par"),
        "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/jwks"),
        "scopes_supported": SCOPES,
        "acr_values_supported": [SECOND_FACTOR],
        "claims_supported": ["sub", "email", "name", "groups", "nonce", "acr", "auth_time", "iat", "exp"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    }))
}

async fn jwks(State(provider): State<Arc<Provider>>) -> Json<Value> {
    Json(json!({"keys": [provider.key.public_jwk()]}))
}

/// How people sign in who show a second factor.
const SECOND_FACTOR: &str = "urn:corp:mfa";

/// An error in the form of RFC 6749 §5.2.
#[derive(Debug)]
struct OAuthError {
    status: StatusCode,
    code: &'static str,
    description: String,
}

impl OAuthError {
    fn new(code: &'static str, description: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            description: description.into(),
        }
    }

    fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

impl From<crate::expiring::Full> for OAuthError {
    fn from(full: crate::expiring::Full) -> Self {
        Self::new("temporarily_unavailable", full.to_string())
            .with_status(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = json!({"error": self.code, "error_description": self.description});
        (self.status, not_stored(), Json(body)).into_response()
    }
}

/// Returns the headers of an answer that carries secrets (RFC 6749 §5.1).
fn not_stored() -> HeaderMap {
    HeaderMap::from_iter([
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::PRAGMA, HeaderValue::from_static("no-cache")),
    ])
}

const SCOPES: [&str; 5] = ["openid", "profile", "email", "groups", "offline_access"];

//! Verifies ID tokens of the identity provider (OpenID Connect Core §3.1.3.7).

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use chrono::DateTime;
use openidconnect::core::{
    CoreGenderClaim, CoreIdTokenVerifier, CoreJsonWebKey, CoreJsonWebKeySet, CoreJsonWebKeyType,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata,
};
use openidconnect::{
    AdditionalClaims, AsyncHttpClient, ClaimsVerificationError, ClientId, HttpRequest,
    HttpResponse, IdToken, IssuerUrl, JsonWebKey, Nonce, SignatureVerificationError,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::http_server::MAX_BODY;

/// Verifies the tokens that one provider issues to one client.
#[derive(Debug)]
pub struct IdTokens {
    issuer: IssuerUrl,
    client_id: ClientId,
    clock: Clock,
    http: HttpClient,
    keys: Mutex<Option<FetchedKeys>>,
}

/// Who an ID token speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The subject.
    pub subject: String,
    /// The groups; none where the provider does not tell.
    pub groups: BTreeSet<String>,
}

/// The claims beside the standard ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Groups {
    #[serde(default)]
    groups: BTreeSet<String>,
}

impl AdditionalClaims for Groups {}

#[derive(Debug, Clone)]
struct FetchedKeys {
    keys: CoreJsonWebKeySet,
    fetched_at: Instant,
}

type Token =
    IdToken<Groups, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

impl IdTokens {
    /// Returns a verifier for tokens of `issuer` for `client_id`. The provider
    /// is asked for its keys when the first token comes.
    ///
    /// # Errors
    ///
    /// Fails if the issuer is no URL, or no HTTP client can be made.
    pub fn new(issuer: &str, client_id: &str, clock: Clock) -> anyhow::Result<Self> {
        // Fails only if a provider of cryptography is installed already, which will do as well.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let issuer = IssuerUrl::new(issuer.to_owned())?;
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PROVIDER_TIMEOUT);
        if connector_core::control::is_secure(issuer.url()) && issuer.url().scheme() == "http" {
            // Loopback: a proxy would look for the provider on its own machine.
            http = http.no_proxy();
        }
        Ok(Self {
            issuer,
            client_id: ClientId::new(client_id.to_owned()),
            clock,
            http: HttpClient(http.build()?),
            keys: Mutex::new(None),
        })
    }

    /// Returns who `text` speaks of, if it is a good token.
    ///
    /// # Errors
    ///
    /// [`InvalidIdToken`] if it is not, or the provider's keys cannot be had.
    pub async fn verify(&self, text: &str) -> Result<Identity, InvalidIdToken> {
        let token: Token = text
            .parse()
            .map_err(|error| InvalidIdToken::Malformed(format!("{error}")))?;

        let keys = self.keys(None).await?;
        match self.check(&token, keys.keys) {
            // The provider may have begun to sign with another key.
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            )) => {
                let keys = self.keys(Some(keys.fetched_at)).await?;
                Ok(self.check(&token, keys.keys)?)
            }
            result => Ok(result?),
        }
    }

    fn check(
        &self,
        token: &Token,
        keys: CoreJsonWebKeySet,
    ) -> Result<Identity, ClaimsVerificationError> {
        let clock = self.clock.clone();
        let verifier: CoreIdTokenVerifier<'_> = CoreIdTokenVerifier::new_public_client(
            self.client_id.clone(),
            self.issuer.clone(),
            keys,
        )
        .set_allowed_algs(ALLOWED_ALGORITHMS)
        .set_time_fn(move || {
            let seconds = i64::try_from(clock.unix_seconds()).unwrap_or(i64::MAX);
            DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<chrono::Utc>::MAX_UTC)
        });
        // The nonce belongs to the connector's own exchange with the provider; it checked it.
        let claims = token.claims(&verifier, |_: Option<&Nonce>| Ok(()))?;
        Ok(Identity {
            subject: claims.subject().to_string(),
            groups: claims.additional_claims().groups.clone(),
        })
    }

    /// Returns the provider's keys, fetched afresh if those of `stale` will not do.
    async fn keys(&self, stale: Option<Instant>) -> Result<FetchedKeys, InvalidIdToken> {
        let mut known = self.keys.lock().await;
        if let Some(keys) = &*known
            && (stale != Some(keys.fetched_at) || keys.fetched_at.elapsed() < REFETCH_INTERVAL)
        {
            return Ok(keys.clone());
        }
        let metadata = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http)
            .await
            .map_err(|error| InvalidIdToken::Provider {
                issuer: self.issuer.to_string(),
                error: error.to_string(),
            })?;
        let fetched = FetchedKeys {
            keys: usable(metadata.jwks()),
            fetched_at: Instant::now(),
        };
        *known = Some(fetched.clone());
        Ok(fetched)
    }
}

/// Returns the keys without the symmetric ones, which no public client can share.
fn usable(keys: &CoreJsonWebKeySet) -> CoreJsonWebKeySet {
    let asymmetric = |key: &&CoreJsonWebKey| *key.key_type() != CoreJsonWebKeyType::Symmetric;
    CoreJsonWebKeySet::new(keys.keys().iter().filter(asymmetric).cloned().collect())
}

/// Why an ID token was refused.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIdToken {
    /// The signature or a claim is wrong.
    #[error("the ID token is not good: {0}")]
    Claims(#[from] ClaimsVerificationError),
    /// It is no JWT.
    #[error("the ID token is no JWT: {0}")]
    Malformed(String),
    /// The provider's keys cannot be had.
    #[error("the keys of {issuer} cannot be fetched: {error}")]
    Provider {
        /// The provider.
        issuer: String,
        /// What went wrong.
        error: String,
    },
}

#[derive(Debug)]
struct HttpClient(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for HttpClient {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Self::Error>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(fetch(&self.0, request))
    }
}

async fn fetch(client: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, FetchError> {
    let mut response = client.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let mut answer = HttpResponse::new(body);
    *answer.status_mut() = response.status();
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    Ok(answer)
}

/// Why the provider could not be asked.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the answer is larger than {MAX_BODY} bytes")]
    TooLarge,
}

/// What every provider signs with, and nothing that a public client could sign itself.
const ALLOWED_ALGORITHMS: [CoreJwsSigningAlgorithm; 3] = [
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EdDsa,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
];

/// A person waits for the session meanwhile.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(5);

/// Tokens with invented key ids must not make the lab ask the provider for each.
const REFETCH_INTERVAL: Duration = Duration::from_secs(10);

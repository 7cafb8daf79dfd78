//! An OpenID provider.

use std::sync::Arc;
use std::time::Duration;

use connector_core::authzen::{StepUp, printable};
use connector_core::configuration::IdentityProvider;
use connector_core::identity::{Assurance, Person};
use connector_platform::clock;
use http::header::CONTENT_TYPE;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClaimName, CoreClaimType,
    CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm,
    CoreResponseMode, CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreSubjectIdentifierType, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AdditionalProviderMetadata, AuthenticationContextClass, AuthorizationCode,
    ClientId, CsrfToken, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    HttpRequest, HttpResponse, IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, ProviderMetadata, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    StandardErrorResponse, StandardTokenResponse, TokenResponse,
};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::callback::{Callback, Parameters, Returned};
use super::stepping_up::{self, TooWeak};
use crate::adapters::http::{self as web, Http, HttpError};

/// A provider whose metadata and keys were fetched and checked.
pub(super) struct Provider {
    http: Http,
    client: OidcClient,
    metadata: Metadata,
    config: IdentityProvider,
}

/// Who signed in, and the proof of it.
pub(super) struct SignedIn {
    pub(super) person: Person,
    /// How the provider says that the person signed in, if it does.
    pub(super) assurance: Option<Arc<Assurance>>,
    /// When the person showed who they are, in seconds since 1970.
    auth_time: Option<u64>,
    pub(super) id_token: String,
    pub(super) refresh_token: Option<Zeroizing<String>>,
}

impl Provider {
    /// Fetches the provider's metadata (OpenID Connect Discovery 1.0 §4) and keys.
    pub(super) async fn discover(
        http: Http,
        config: &IdentityProvider,
    ) -> Result<Self, ProviderError> {
        // The issuer is compared as text; a URL type would add a slash to a bare host.
        let issuer = config.issuer.as_str();
        let issuer = match config.issuer.path() {
            "/" => issuer.trim_end_matches('/'),
            _ => issuer,
        };
        let issuer = IssuerUrl::new(issuer.to_owned()).map_err(ProviderError::new)?;
        let metadata = Metadata::discover_async(issuer, &transport(&http))
            .await
            .map_err(ProviderError::unavailable)?;
        for endpoint in [
            Some(metadata.authorization_endpoint().url()),
            Some(metadata.jwks_uri().url()),
            metadata.token_endpoint().map(|endpoint| endpoint.url()),
            metadata
                .additional_metadata()
                .pushed_authorization_request_endpoint
                .as_ref(),
        ]
        .into_iter()
        .flatten()
        {
            if !connector_core::control::is_secure(endpoint) {
                return Err(ProviderError::Insecure(endpoint.clone()));
            }
        }
        let client_id = ClientId::new(config.client_id.to_string());
        let client = OidcClient::from_provider_metadata(metadata.clone(), client_id, None);
        Ok(Self {
            http,
            client,
            metadata,
            config: config.clone(),
        })
    }

    /// Sends the person to the provider, by the page given to `show`, and waits
    /// for them to come back; `step_up` is what the sign-in has to amount to. Their
    /// browser is put into `returned`, and waits to show how it ended.
    pub(super) async fn sign_in_with_browser(
        self,
        step_up: Option<&StepUp>,
        show: impl FnOnce(String),
        returned: &mut Option<Returned>,
    ) -> Result<SignedIn, ProviderError> {
        let callback = Callback::listen().await.map_err(ProviderError::new)?;
        let redirect = RedirectUrl::from_url(callback.redirect().clone());
        let client = self.client.clone().set_redirect_uri(redirect);

        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut request = client.authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            CsrfToken::new_random,
            Nonce::new_random,
        );
        for context in step_up.into_iter().flat_map(stepping_up::contexts) {
            let context = AuthenticationContextClass::new(context.to_owned());
            request = request.add_auth_context_value(context);
        }
        if let Some(age) = step_up.and_then(|step_up| step_up.max_age) {
            request = request.set_max_age(age);
        }
        let (url, state, nonce) = request
            .add_scopes(self.scopes())
            .add_prompt(CoreAuthPrompt::Consent)
            .set_pkce_challenge(challenge)
            .url();
        show(self.push(url).await?.to_string());

        let came = tokio::time::timeout(PERSON_LIMIT, callback.wait(state.secret()))
            .await
            .map_err(|_| ProviderError::NobodyCame(PERSON_LIMIT))?;
        let (parameters, browser) = came.map_err(ProviderError::new)?;
        *returned = Some(browser);
        let code = self.take_code(parameters)?;

        let response = client
            .exchange_code(code)
            .map_err(ProviderError::new)?
            .set_pkce_verifier(verifier)
            .request_async(&transport(&self.http))
            .await
            .map_err(ProviderError::token)?;
        let nonce = |found: Option<&Nonce>| match found {
            Some(found) if found.secret() == nonce.secret() => Ok(()),
            Some(_) | None => Err("the nonce is not the one that was sent".to_owned()),
        };
        let signed_in = self.read(&response, nonce)?;
        if let Some(step_up) = step_up {
            let assurance = signed_in.assurance.as_deref();
            stepping_up::check(step_up, assurance, signed_in.auth_time, clock::now().wall)?;
        }
        Ok(signed_in)
    }

    /// Signs in with what an earlier sign-in left (RFC 6749 §6).
    pub(super) async fn refresh(self, token: Zeroizing<String>) -> Result<SignedIn, ProviderError> {
        let token = RefreshToken::new(token.to_string());
        let response = self
            .client
            .exchange_refresh_token(&token)
            .map_err(ProviderError::new)?
            .request_async(&transport(&self.http))
            .await
            .map_err(ProviderError::token)?;
        // A refreshed token repeats the old nonce or has none (OpenID Connect Core §12.2).
        self.read(&response, |_: Option<&Nonce>| Ok(()))
    }

    /// Hands the request to the provider directly where it demands that (RFC 9126).
    /// Elsewhere the page's address holds the request itself, since a pushed one
    /// lapses within a minute or two, long before people have found their browser.
    async fn push(&self, url: Url) -> Result<Url, ProviderError> {
        let additional = self.metadata.additional_metadata();
        let Some(endpoint) = additional
            .pushed_authorization_request_endpoint
            .as_ref()
            .filter(|_| additional.require_pushed_authorization_requests)
        else {
            return Ok(url);
        };
        let form = url.query().unwrap_or_default().to_owned();
        let request = self
            .http
            .client()
            .post(endpoint.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let answer = web::send(request, REQUEST_LIMIT, MAX_ANSWER)
            .await
            .map_err(ProviderError::unavailable)?;
        if answer.status != http::StatusCode::CREATED {
            return Err(ProviderError::Refused(format!(
                "it did not take the request ({}): {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            )));
        }
        let pushed: Pushed = serde_json::from_slice(&answer.body).map_err(ProviderError::new)?;
        let mut url = self.metadata.authorization_endpoint().url().clone();
        url.query_pairs_mut()
            .append_pair("client_id", &self.config.client_id)
            .append_pair("request_uri", &pushed.request_uri);
        Ok(url)
    }

    fn take_code(&self, mut parameters: Parameters) -> Result<AuthorizationCode, ProviderError> {
        let promised = self
            .metadata
            .additional_metadata()
            .authorization_response_iss_parameter_supported;
        match parameters.get("iss") {
            Some(found) if *found != **self.metadata.issuer() => {
                return Err(ProviderError::Mixup {
                    found: found.clone(),
                });
            }
            None if promised => {
                return Err(ProviderError::Mixup {
                    found: "nobody".to_owned(),
                });
            }
            Some(_) | None => {}
        }
        if let Some(error) = parameters.remove("error") {
            let description = parameters.remove("error_description");
            return Err(ProviderError::Refused(description.unwrap_or(error)));
        }
        parameters
            .remove("code")
            .map(AuthorizationCode::new)
            .ok_or_else(|| ProviderError::Refused("it sent neither a code nor an error".to_owned()))
    }

    fn read(
        &self,
        response: &Response,
        nonce: impl openidconnect::NonceVerifier,
    ) -> Result<SignedIn, ProviderError> {
        let id_token = response.id_token().ok_or(ProviderError::NoIdToken)?;
        let verifier = self.client.id_token_verifier().set_allowed_algs(ALGORITHMS);
        let claims = id_token
            .claims(&verifier, nonce)
            .map_err(|error| ProviderError::BadIdToken(error.to_string()))?;

        let text = |text: &str| Arc::from(text);
        let person = Person {
            issuer: text(claims.issuer()),
            subject: text(claims.subject()),
            name: claims
                .name()
                .and_then(|name| name.get(None))
                .map(|name| text(name)),
            email: claims.email().map(|email| text(email)),
            groups: claims
                .additional_claims()
                .groups
                .iter()
                .map(|group| text(group))
                .collect(),
        };
        let context = claims.auth_context_ref();
        let auth_time = claims.auth_time().map(|time| time.timestamp());
        Ok(SignedIn {
            person,
            assurance: context.map(|context| {
                Arc::new(Assurance {
                    namespace: text(CONTEXTS),
                    level: printable(context.as_str()),
                })
            }),
            auth_time: auth_time.and_then(|seconds| u64::try_from(seconds).ok()),
            id_token: id_token.to_string(),
            refresh_token: response
                .refresh_token()
                .map(|token| Zeroizing::new(token.secret().clone())),
        })
    }

    fn scopes(&self) -> impl Iterator<Item = Scope> {
        // `openid` is added by the client itself.
        let others = self
            .config
            .scopes
            .iter()
            .filter(|scope| &***scope != "openid");
        others.map(|scope| Scope::new(scope.to_string()))
    }
}

/// Carries the library's requests.
fn transport(
    http: &Http,
) -> impl Fn(
    HttpRequest,
) -> std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send>>
+ '_ {
    move |request: HttpRequest| {
        let (parts, body) = request.into_parts();
        let request = http
            .client()
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .body(body);
        Box::pin(async move {
            let answer = web::send(request, REQUEST_LIMIT, MAX_ANSWER).await?;
            let mut response = HttpResponse::new(answer.body);
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

/// Why the provider did not sign anybody in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    #[error("the identity provider's ID token is not acceptable: {0}")]
    BadIdToken(String),
    #[error("the identity provider names the endpoint {0}, which would send secrets in clear")]
    Insecure(Url),
    #[error(
        "the answer to the sign-in came from {found}, not from the identity provider; nothing was sent there"
    )]
    Mixup { found: String },
    #[error("nobody signed in within {0:?}")]
    NobodyCame(Duration),
    #[error("the identity provider sent no ID token")]
    NoIdToken,
    #[error("the identity provider refused: {0}")]
    Refused(String),
    #[error("the identity provider cannot be used: {0}")]
    Unavailable(String),
    #[error(transparent)]
    TooWeak(#[from] TooWeak),
    #[error("the sign-in failed: {0}")]
    Unexpected(String),
}

impl ProviderError {
    fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unexpected(format!("{:#}", anyhow::Error::new(error)))
    }

    fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(format!("{:#}", anyhow::Error::new(error)))
    }

    fn token<T>(error: RequestTokenError<HttpError, T>) -> Self
    where
        T: openidconnect::ErrorResponse + std::fmt::Display + Send + Sync + 'static,
    {
        match error {
            RequestTokenError::ServerResponse(response) => Self::Refused(response.to_string()),
            RequestTokenError::Request(error) => Self::unavailable(error),
            RequestTokenError::Parse(error, _) => Self::new(error),
            RequestTokenError::Other(error) => Self::Unexpected(error),
        }
    }

    /// Returns whether the same may work later without the person's help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::BadIdToken(_)
            | Self::Insecure(_)
            | Self::Mixup { .. }
            | Self::NobodyCame(_)
            | Self::NoIdToken
            | Self::Refused(_)
            | Self::TooWeak(_)
            | Self::Unexpected(_) => false,
        }
    }
}

/// The claims that decisions rest on beside the standard ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Groups {
    #[serde(default)]
    groups: Vec<String>,
}

impl AdditionalClaims for Groups {}

/// Metadata beside the standard set: RFC 9126 §5 and RFC 9207 §3.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Additional {
    pushed_authorization_request_endpoint: Option<Url>,
    #[serde(default)]
    require_pushed_authorization_requests: bool,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Additional {}

/// The answer of RFC 9126 §2.2.
#[derive(Debug, Deserialize)]
struct Pushed {
    request_uri: String,
}

type Metadata = ProviderMetadata<
    Additional,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

type Response = StandardTokenResponse<
    IdTokenFields<
        Groups,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

type OidcClient = openidconnect::Client<
    Groups,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Response,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Public-key signatures only: with a shared secret, whoever can check could also forge.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 8] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What CAEP calls authentication context classes: names that are registered by RFC 6711.
const CONTEXTS: &str = "RFC6711";

/// Long enough for a person who has to find their second factor first.
const PERSON_LIMIT: Duration = Duration::from_secs(290);

const REQUEST_LIMIT: Duration = Duration::from_secs(15);

const MAX_ANSWER: usize = 256 * 1024;

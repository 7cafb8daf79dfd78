//! The authorization endpoint, the pushed one, and the login form behind them.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::form::Parameters;
use super::grants::{
    AuthorizationRequest, CodeGrant, Grant, INTERACTION_LIFETIME, PUSHED_LIFETIME,
    REQUEST_URI_PREFIX,
};
use super::pages::{self, LoginPage};
use super::redirect::is_registered_redirect;
use super::{OAuthError, Provider, SCOPES, SECOND_FACTOR};
use crate::http_server::{self, BodyError};

/// `GET /idp/authorize`: checks the request and shows the login page.
pub(super) async fn show(
    State(provider): State<Arc<Provider>>,
    RawQuery(query): RawQuery,
) -> Response {
    match begin(&provider, query.as_deref().unwrap_or_default()) {
        Ok((interaction, csrf)) => login_page(&provider, StatusCode::OK, &interaction, &csrf, None),
        Err(refused) => refused.into_response(&provider),
    }
}

/// `POST /idp/login`: the form on the login page.
pub(super) async fn login(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match http_server::read_body(body).await {
        Ok(body) => Parameters::parse_form(&headers, &body),
        Err(error) => return pages::error_page(body_status(error), &error.to_string()),
    };
    let form = match form {
        Ok(form) => form,
        Err(error) => return pages::error_page(error.status, &error.description),
    };
    let (Some(interaction), Some(csrf)) = (form.find("interaction"), form.find("csrf")) else {
        return pages::error_page(StatusCode::BAD_REQUEST, "The form is incomplete.");
    };

    let now = provider.now();
    let mut grants = provider.grants();
    let Some(known) = grants.interaction(interaction, now) else {
        return pages::error_page(
            StatusCode::BAD_REQUEST,
            "This page was used already, or was open for too long.",
        );
    };
    if known.csrf != csrf || cookie(&headers, interaction) != Some(csrf) {
        return pages::error_page(
            StatusCode::FORBIDDEN,
            "The form was not sent by the browser that it was shown to; allow cookies for this address.",
        );
    }
    let cancelled = form.find("action") == Some("cancel");
    let login = form.find("login").unwrap_or_default().trim();
    if !cancelled && provider.person(login).is_none() {
        let error = format!("There is no person with the user name \u{201c}{login}\u{201d} here.");
        drop(grants);
        return login_page(
            &provider,
            StatusCode::BAD_REQUEST,
            interaction,
            csrf,
            Some(&error),
        );
    }

    let Some(request) = grants.finish(interaction, now) else {
        return pages::error_page(StatusCode::BAD_REQUEST, "This page was used already.");
    };
    if cancelled {
        let error = OAuthError::new("access_denied", "the person did not sign in");
        return redirect_error(
            &provider,
            &request.redirect_uri,
            request.state.as_deref(),
            &error,
        );
    }
    let grant = CodeGrant {
        redirect_uri: request.redirect_uri.clone(),
        challenge: request.challenge,
        grant: Grant {
            login: login.to_owned(),
            scope: request.scope,
            nonce: request.nonce,
            auth_time: now,
            second_factor: request.second_factor
                && form.find("code").is_some_and(|code| !code.is_empty()),
        },
    };
    match grants.make_code(grant, now) {
        Ok(code) => redirect(
            &provider,
            &request.redirect_uri,
            request.state.as_deref(),
            &[("code", &code)],
        ),
        Err(full) => pages::error_page(StatusCode::SERVICE_UNAVAILABLE, &full.to_string()),
    }
}

/// `POST /idp/par`: takes the request ahead of the browser (RFC 9126).
pub(super) async fn push(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OAuthError> {
    let body = http_server::read_body(body).await.map_err(body_error)?;
    let parameters = Parameters::parse_form(&headers, &body)?;
    if parameters.find("request_uri").is_some() {
        return Err(OAuthError::new(
            "invalid_request",
            "request_uri must not be pushed",
        ));
    }
    let request = match read_request(&provider, &parameters) {
        Ok(request) => request,
        Err(Refused::Page(error) | Refused::Redirect { error, .. }) => return Err(error),
    };

    let now = provider.now();
    let request_uri = provider.grants().push(request, now)?;
    let body = json!({"request_uri": request_uri, "expires_in": PUSHED_LIFETIME});
    Ok((StatusCode::CREATED, super::not_stored(), Json(body)).into_response())
}

pub(super) fn body_error(error: BodyError) -> OAuthError {
    OAuthError::new("invalid_request", error.to_string()).with_status(body_status(error))
}

fn body_status(error: BodyError) -> StatusCode {
    match error {
        BodyError::Broken => StatusCode::BAD_REQUEST,
        BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
    }
}

fn begin(provider: &Provider, query: &str) -> Result<(String, String), Refused> {
    let parameters = Parameters::parse(query.as_bytes())?;
    let now = provider.now();
    let request = match parameters.find("request_uri") {
        Some(uri) => {
            check_client(provider, &parameters)?;
            if !uri.starts_with(REQUEST_URI_PREFIX) {
                return Err(Refused::Page(OAuthError::new(
                    "request_uri_not_supported",
                    "only pushed requests are accepted by reference",
                )));
            }
            provider.grants().take_pushed(uri, now).ok_or_else(|| {
                OAuthError::new(
                    "invalid_request_uri",
                    "the pushed request was used already or has expired",
                )
            })?
        }
        None => read_request(provider, &parameters)?,
    };
    Ok(provider
        .grants()
        .begin(request, now)
        .map_err(OAuthError::from)?)
}

/// Reads an authorization request. Errors go to the redirect URI only once that
/// is known to be the client's.
fn read_request(
    provider: &Provider,
    parameters: &Parameters,
) -> Result<AuthorizationRequest, Refused> {
    check_client(provider, parameters)?;
    let redirect_uri = parameters.require("redirect_uri")?;
    if !is_registered_redirect(redirect_uri) {
        return Err(Refused::Page(OAuthError::new(
            "invalid_request",
            format!(
                "redirect_uri {redirect_uri:?} is not registered; use http://127.0.0.1:PORT/callback or http://[::1]:PORT/callback"
            ),
        )));
    }

    let state = parameters.find("state").map(str::to_owned);
    match read_grant(parameters) {
        Ok((scope, challenge)) => Ok(AuthorizationRequest {
            redirect_uri: redirect_uri.to_owned(),
            state,
            nonce: parameters.find("nonce").map(str::to_owned),
            scope,
            challenge,
            second_factor: parameters
                .find("acr_values")
                .is_some_and(|values| values.split(' ').any(|value| value == SECOND_FACTOR)),
        }),
        Err(error) => Err(Refused::Redirect {
            redirect_uri: redirect_uri.to_owned(),
            state,
            error,
        }),
    }
}

fn check_client(provider: &Provider, parameters: &Parameters) -> Result<(), OAuthError> {
    let client_id = parameters.require("client_id")?;
    if client_id == provider.config.client_id {
        Ok(())
    } else {
        let description = format!("there is no client {client_id:?} here");
        Err(OAuthError::new("invalid_client", description).with_status(StatusCode::UNAUTHORIZED))
    }
}

fn read_grant(parameters: &Parameters) -> Result<(Vec<String>, String), OAuthError> {
    if parameters.find("request").is_some() {
        return Err(OAuthError::new(
            "request_not_supported",
            "request objects are not supported",
        ));
    }
    match parameters.require("response_type")? {
        "code" => {}
        other => {
            return Err(OAuthError::new(
                "unsupported_response_type",
                format!("response_type {other:?} is not supported; use code"),
            ));
        }
    }
    if parameters
        .find("response_mode")
        .is_some_and(|mode| mode != "query")
    {
        return Err(OAuthError::new(
            "invalid_request",
            "only response_mode=query is supported",
        ));
    }
    if parameters.find("prompt") == Some("none") {
        return Err(OAuthError::new(
            "login_required",
            "nobody stays signed in here; the person has to see the page",
        ));
    }

    let challenge = parameters.require("code_challenge")?;
    if parameters.find("code_challenge_method") != Some("S256") {
        return Err(OAuthError::new(
            "invalid_request",
            "code_challenge_method must be S256",
        ));
    }
    if URL_SAFE_NO_PAD.decode(challenge).map(|hash| hash.len()) != Ok(32) {
        return Err(OAuthError::new(
            "invalid_request",
            "code_challenge must be a SHA-256 hash in base64url",
        ));
    }

    let asked: BTreeSet<&str> = parameters
        .find("scope")
        .unwrap_or_default()
        .split(' ')
        .collect();
    if !asked.contains("openid") {
        return Err(OAuthError::new(
            "invalid_scope",
            "the scope must contain openid",
        ));
    }
    let scope = SCOPES
        .into_iter()
        .filter(|scope| asked.contains(scope))
        .map(str::to_owned)
        .collect();
    Ok((scope, challenge.to_owned()))
}

#[derive(Debug)]
enum Refused {
    /// There is nowhere safe to send the browser.
    Page(OAuthError),
    Redirect {
        redirect_uri: String,
        state: Option<String>,
        error: OAuthError,
    },
}

impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        Self::Page(error)
    }
}

impl Refused {
    fn into_response(self, provider: &Provider) -> Response {
        match self {
            Self::Page(error) => {
                let message = format!("{} ({})", error.description, error.code);
                pages::error_page(error.status, &message)
            }
            Self::Redirect {
                redirect_uri,
                state,
                error,
            } => redirect_error(provider, &redirect_uri, state.as_deref(), &error),
        }
    }
}

fn redirect_error(
    provider: &Provider,
    redirect_uri: &str,
    state: Option<&str>,
    error: &OAuthError,
) -> Response {
    redirect(
        provider,
        redirect_uri,
        state,
        &[
            ("error", error.code),
            ("error_description", &error.description),
        ],
    )
}

/// Sends the browser back to the client, with `iss` (RFC 9207).
fn redirect(
    provider: &Provider,
    redirect_uri: &str,
    state: Option<&str>,
    answer: &[(&str, &str)],
) -> Response {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(answer);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    query.append_pair("iss", &provider.issuer);
    let location = format!("{redirect_uri}?{}", query.finish());

    let mut headers = pages::headers();
    match HeaderValue::try_from(location) {
        Ok(location) => {
            headers.insert(header::LOCATION, location);
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        Err(_) => pages::error_page(StatusCode::BAD_REQUEST, "The request is too large."),
    }
}

fn login_page(
    provider: &Provider,
    status: StatusCode,
    interaction: &str,
    csrf: &str,
    error: Option<&str>,
) -> Response {
    let html = LoginPage {
        organisation: &provider.config.organisation,
        interaction,
        csrf,
        second_factor: provider
            .grants()
            .interaction(interaction, provider.now())
            .is_some_and(|known| known.request.second_factor),
        error,
    }
    .html();
    let cookie = format!(
        "{COOKIE_PREFIX}{interaction}={csrf}; Path=/idp; Max-Age={INTERACTION_LIFETIME}; HttpOnly; SameSite=Strict"
    );
    let mut headers = pages::headers();
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    (status, headers, Html(html)).into_response()
}

fn cookie<'a>(headers: &'a HeaderMap, interaction: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| {
            pair.trim()
                .strip_prefix(COOKIE_PREFIX)?
                .strip_prefix(interaction)?
                .strip_prefix('=')
        })
}

/// One cookie per page, so that two windows do not disturb each other.
const COOKIE_PREFIX: &str = "login-";

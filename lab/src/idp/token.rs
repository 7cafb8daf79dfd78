//! The token, revocation and user-info endpoints.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::authorize::body_error;
use super::form::Parameters;
use super::grants::{ACCESS_LIFETIME, CodeGrant, Grant, ID_TOKEN_LIFETIME, Issued};
use super::{OAuthError, Provider, SECOND_FACTOR, not_stored};
use crate::http_server;

/// `POST /idp/token`: exchanges a code or a refresh token.
pub(super) async fn exchange(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OAuthError> {
    let form = client_form(&provider, &headers, body).await?;
    let now = provider.now();

    let issued = match form.require("grant_type")? {
        "authorization_code" => {
            let code = form.require("code")?;
            let verifier = form.require("code_verifier")?;
            let redirect_uri = form.require("redirect_uri")?;
            provider
                .grants()
                .redeem(code, now, |grant| accept(grant, verifier, redirect_uri))?
        }
        "refresh_token" => {
            let token = form.require("refresh_token")?;
            provider.grants().refresh(token, now)?
        }
        other => {
            return Err(OAuthError::new(
                "unsupported_grant_type",
                format!("grant_type {other:?} is not supported"),
            ));
        }
    };
    let issued = issued.ok_or_else(|| {
        OAuthError::new(
            "invalid_grant",
            "it is unknown, was used already, has expired or was revoked",
        )
    })?;
    Ok((not_stored(), Json(provider.token_answer(issued, now))).into_response())
}

/// `POST /idp/revoke`: ends the grant that a token belongs to (RFC 7009).
pub(super) async fn revoke(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OAuthError> {
    let form = client_form(&provider, &headers, body).await?;
    let token = form.require("token")?;
    provider.grants().revoke(token, provider.now());
    Ok((StatusCode::OK, not_stored()).into_response())
}

/// `GET` or `POST /idp/userinfo`: tells who an access token stands for.
pub(super) async fn user_info(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
) -> Response {
    let claims = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .and_then(|token| {
            let grants = provider.grants();
            let grant = grants.access(token, provider.now())?;
            Some(provider.person_claims(grant))
        });
    match claims {
        Some(claims) => (not_stored(), Json(claims)).into_response(),
        None => {
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            let mut headers = not_stored();
            headers.insert(header::WWW_AUTHENTICATE, challenge);
            (StatusCode::UNAUTHORIZED, headers).into_response()
        }
    }
}

/// Reads a form that the client sent for itself; it is public and has no secret.
async fn client_form(
    provider: &Provider,
    headers: &HeaderMap,
    body: Body,
) -> Result<Parameters, OAuthError> {
    let body = http_server::read_body(body).await.map_err(body_error)?;
    let form = Parameters::parse_form(headers, &body)?;
    let client_id = form.require("client_id")?;
    let secret = headers.contains_key(header::AUTHORIZATION)
        || form.find("client_secret").is_some()
        || form.find("client_assertion").is_some();
    if client_id != provider.config.client_id || secret {
        return Err(OAuthError::new(
            "invalid_client",
            format!(
                "the only client is {:?}, and it is public: it sends its client_id and no secret",
                provider.config.client_id
            ),
        )
        .with_status(StatusCode::UNAUTHORIZED));
    }
    Ok(form)
}

fn accept(grant: &CodeGrant, verifier: &str, redirect_uri: &str) -> Result<(), OAuthError> {
    let well_formed = (43..=128).contains(&verifier.len())
        && verifier
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    if !well_formed || URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != grant.challenge {
        return Err(OAuthError::new(
            "invalid_grant",
            "code_verifier does not match the code_challenge",
        ));
    }
    if redirect_uri != grant.redirect_uri {
        return Err(OAuthError::new(
            "invalid_grant",
            "redirect_uri is not the one that the code was sent to",
        ));
    }
    Ok(())
}

impl Provider {
    fn token_answer(&self, issued: Issued, now: u64) -> Value {
        let mut claims = self.person_claims(&issued.grant);
        claims.extend(object(json!({
            "iss": self.issuer,
            "aud": self.config.client_id,
            "iat": now,
            "exp": now + ID_TOKEN_LIFETIME,
            "auth_time": issued.grant.auth_time,
        })));
        if issued.grant.second_factor {
            claims.insert("acr".to_owned(), json!(SECOND_FACTOR));
        }
        if let Some(nonce) = &issued.grant.nonce {
            claims.insert("nonce".to_owned(), json!(nonce));
        }

        let mut answer = json!({
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": ACCESS_LIFETIME,
            "scope": issued.grant.scope.join(" "),
            "id_token": self.key.sign(&Value::Object(claims)),
        });
        if let Some(refresh_token) = issued.refresh_token {
            answer["refresh_token"] = json!(refresh_token);
        }
        answer
    }

    /// Returns the claims about a person that the scope allows.
    fn person_claims(&self, grant: &Grant) -> Map<String, Value> {
        let mut claims = object(json!({"sub": grant.login}));
        let Some(person) = self.person(&grant.login) else {
            return claims;
        };
        for scope in &grant.scope {
            let (name, value) = match scope.as_str() {
                "email" => ("email", json!(person.email)),
                "groups" => ("groups", json!(person.groups)),
                "profile" => ("name", json!(person.name)),
                _ => continue,
            };
            claims.insert(name.to_owned(), value);
        }
        claims
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        Value::Array(_) | Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {
            Map::new()
        }
    }
}

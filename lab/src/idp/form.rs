//! Parameters of OAuth requests, in queries and forms.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use url::form_urlencoded;

use super::OAuthError;

/// The parameters of one request, none of them repeated.
#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Parses `application/x-www-form-urlencoded` text.
    pub(super) fn parse(text: &[u8]) -> Result<Self, OAuthError> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text).into_owned() {
            if parameters.contains_key(&name) {
                return Err(OAuthError::new(
                    "invalid_request",
                    format!("{name:?} must not be sent more than once"),
                ));
            }
            parameters.insert(name, value);
        }
        Ok(Self(parameters))
    }

    /// Parses the body of a form post.
    pub(super) fn parse_form(headers: &HeaderMap, body: &[u8]) -> Result<Self, OAuthError> {
        let form = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|kind| {
                kind.trim()
                    .eq_ignore_ascii_case("application/x-www-form-urlencoded")
            });
        if !form {
            return Err(OAuthError::new(
                "invalid_request",
                "send the parameters as application/x-www-form-urlencoded",
            ));
        }
        Self::parse(body)
    }

    /// Returns a parameter; an empty one counts as absent (RFC 6749 §3.1).
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Returns a parameter that has to be there.
    pub(super) fn require(&self, name: &str) -> Result<&str, OAuthError> {
        self.find(name)
            .ok_or_else(|| OAuthError::new("invalid_request", format!("{name} is missing")))
    }
}

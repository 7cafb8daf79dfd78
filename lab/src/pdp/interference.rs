//! Disturbances of the decision point, to see what connectors make of them.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::watch;

/// What happens to answers before they leave.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Interference {
    /// Answers wait until this is switched off.
    pub hold: bool,
    /// Answers are late by so many milliseconds.
    pub delay_ms: u64,
    /// Goes out in place of every answer.
    pub answer: Option<CannedAnswer>,
}

/// An answer that nobody thought about.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CannedAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// The media type.
    #[serde(default = "json")]
    pub content_type: String,
}

impl CannedAnswer {
    /// Returns whether the answer can be sent at all.
    #[must_use]
    pub fn is_sendable(&self) -> bool {
        (200..=599).contains(&self.status) && HeaderValue::from_str(&self.content_type).is_ok()
    }
}

/// Waits as long as told and returns what to send in place of the answer.
pub(super) async fn pass(interference: &watch::Sender<Interference>) -> Option<CannedAnswer> {
    let mut current = interference.subscribe();
    let interference = current.wait_for(|now| !now.hold).await.ok()?.clone();
    // A sleep of nothing lasts a millisecond.
    if interference.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(interference.delay_ms)).await;
    }
    interference.answer
}

impl IntoResponse for CannedAnswer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match HeaderValue::try_from(self.content_type) {
            Ok(kind) => (status, [(header::CONTENT_TYPE, kind)], self.body).into_response(),
            Err(_) => (status, self.body).into_response(),
        }
    }
}

fn json() -> String {
    "application/json".to_owned()
}

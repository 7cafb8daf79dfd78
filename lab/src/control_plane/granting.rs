//! Requests for access: a person asks, on the session's own word.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use connector_core::control::{GrantAnswer, GrantRequest, GrantTasks};

use super::{Asserter, Plane, read_json};
use crate::problem::Refusal;
use crate::requests::Plea;

/// Takes a request.
pub(super) async fn ask(
    State(plane): State<Arc<Plane>>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<GrantAnswer>), Refusal> {
    let person = plane.authenticate_person(&headers).await?;
    let request: GrantRequest = read_json(&headers, body).await?;
    if request.subject.kind != "user" || request.subject.id != person {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "The session is somebody else's",
            "Everybody asks for themselves: sign in as the person who needs access.",
        ));
    }
    if request.action.name != "connect" || request.resource.kind != "application" {
        return Err(Refusal::malformed(
            "what can be asked for is to connect to an application",
        ));
    }
    let task = plane.ruling.ask(Plea {
        person,
        resource: request.resource.id,
        reason: request.context.reason,
        seconds: request.requested_access.seconds,
    })?;
    Ok((StatusCode::CREATED, Json(GrantAnswer { task })))
}

/// Lists the person's requests.
pub(super) async fn list(
    State(plane): State<Arc<Plane>>,
    headers: HeaderMap,
) -> Result<Json<GrantTasks>, Refusal> {
    let person = plane.authenticate_person(&headers).await?;
    let tasks = plane.ruling.requests_of(&person);
    Ok(Json(GrantTasks { tasks }))
}

impl Plane {
    /// Finds out whose session made the request's assertion.
    async fn authenticate_person(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let session = match self.authenticate(headers).await? {
            Asserter::Session(session) => session,
            Asserter::Host(_) => {
                return Err(Refusal::unauthenticated(
                    "this needs an assertion of the session key, not of the host key",
                ));
            }
        };
        let person = self.sessions.person_of(&session).await;
        person.ok_or_else(|| Refusal::unauthenticated("the session is over; sign in again"))
    }
}

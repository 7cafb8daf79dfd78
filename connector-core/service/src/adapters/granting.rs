//! Requests for access: asks the control plane in the name of whoever is signed in.

use connector_core::control::{GrantRequest, GrantTask};
use connector_core::identity::SessionId;

use super::control::{ApiError, ControlPlane};
use super::keys::KeyRing;

/// The way to ask for access.
#[derive(Debug)]
pub(crate) struct Granting {
    api: ControlPlane,
    keys: KeyRing,
}

impl Granting {
    pub(crate) fn new(api: ControlPlane, keys: KeyRing) -> Self {
        Self { api, keys }
    }

    /// Asks for access on the session's own word.
    pub(crate) async fn ask(
        &self,
        session: &SessionId,
        request: &GrantRequest,
    ) -> Result<GrantTask, NotAsked> {
        let keys = self.keys.find(session).ok_or(NotAsked::SessionOver)?;
        let answer = self
            .api
            .request_access(session.as_str(), &keys.signing, request);
        answer.await?.ok_or(NotAsked::NobodyToAsk)
    }

    /// Returns what the session's person has asked for, the latest first.
    pub(crate) async fn list(&self, session: &SessionId) -> Result<Vec<GrantTask>, NotAsked> {
        let keys = self.keys.find(session).ok_or(NotAsked::SessionOver)?;
        let answer = self.api.access_requests(session.as_str(), &keys.signing);
        answer.await?.ok_or(NotAsked::NobodyToAsk)
    }
}

/// Why nothing was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAsked {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("your company takes no requests for access here")]
    NobodyToAsk,
    #[error("the session is over")]
    SessionOver,
}

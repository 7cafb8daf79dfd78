//! What a sign-in leaves for the next start: the refresh token.

use connector_platform::private::{PrivateDir, PrivateError};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A refresh token and who issued it.
pub(super) struct StoredSignIn {
    pub(super) issuer: String,
    pub(super) refresh_token: Zeroizing<String>,
    /// When the person was last at the provider, in Unix seconds.
    pub(super) signed_in_at: u64,
}

pub(super) fn read(state: &PrivateDir) -> Result<Option<StoredSignIn>, StoreError> {
    let Some(bytes) = state.read(SIGN_IN)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let raw: RawSignIn = serde_json::from_slice(&bytes).map_err(|_| StoreError::Damaged)?;
    Ok(Some(StoredSignIn {
        issuer: raw.issuer,
        refresh_token: Zeroizing::new(raw.refresh_token),
        signed_in_at: raw.signed_in_at,
    }))
}

/// Replaces the stored token, before the new one is used: the provider takes
/// the old one back as soon as it has handed out the new.
pub(super) fn write(
    state: &PrivateDir,
    issuer: &str,
    refresh_token: &str,
    signed_in_at: u64,
) -> Result<(), StoreError> {
    let raw = RawSignIn {
        issuer: issuer.to_owned(),
        refresh_token: refresh_token.to_owned(),
        signed_in_at,
    };
    let bytes = Zeroizing::new(serde_json::to_vec(&raw).map_err(|_| StoreError::Damaged)?);
    Ok(state.write(SIGN_IN, &bytes)?)
}

pub(super) fn forget(state: &PrivateDir) -> Result<(), StoreError> {
    Ok(state.remove(SIGN_IN)?)
}

/// Why the stored sign-in cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the stored sign-in cannot be read; sign in again")]
    Damaged,
    #[error(transparent)]
    Private(#[from] PrivateError),
}

#[derive(Serialize, Deserialize)]
struct RawSignIn {
    issuer: String,
    refresh_token: String,
    signed_in_at: u64,
}

const SIGN_IN: &str = "sign-in.json";

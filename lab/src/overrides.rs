//! Codes that switch a connector off for a time, as the company's help desk makes them.

use std::path::Path;

use anyhow::Context;
use connector_core::jws;
use connector_core::overriding::{CODE_TYPE, OverrideClaims};
use ed25519_dalek::SigningKey;
use serde::Deserialize;

use crate::{random, state_file};

/// What the help desk was told, and what it allows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The device, as `ztna override` shows it.
    pub device: String,
    /// The challenge, as `ztna override` shows it.
    pub challenge: String,
    /// For how long.
    pub minutes: u32,
    /// Why it is allowed.
    pub reason: String,
    /// Who allows it.
    #[serde(default = "help_desk")]
    pub by: String,
}

/// Makes a code with the policy key of a lab's state folder.
///
/// # Errors
///
/// Fails if there is no key.
pub fn make(state: &Path, wanted: Wanted) -> anyhow::Result<String> {
    let path = state.join(POLICY_KEY);
    let key = state_file::read(&path)?.with_context(|| {
        format!(
            "{} is missing; start the lab with --state first",
            path.display()
        )
    })?;
    let key: [u8; 32] = key
        .try_into()
        .ok()
        .with_context(|| format!("{} is no key of 32 bytes", path.display()))?;
    sign(&SigningKey::from_bytes(&key), wanted)
}

/// Makes a code.
///
/// # Errors
///
/// Fails only if the code cannot be written as JSON.
pub(crate) fn sign(key: &SigningKey, wanted: Wanted) -> anyhow::Result<String> {
    let claims = OverrideClaims {
        jti: format!("override-{}", random::identifier()),
        device: wanted.device,
        nonce: wanted.challenge,
        minutes: wanted.minutes,
        reason: wanted.reason,
        by: wanted.by,
    };
    Ok(jws::sign(key, CODE_TYPE, &claims)?)
}

/// Who makes codes unless somebody else is named.
#[must_use]
pub fn help_desk() -> String {
    "Help desk".to_owned()
}

/// The file of the policy key in the state folder.
pub(crate) const POLICY_KEY: &str = "policy-key";

//! Assertions: one-time proofs of a host's or a session's key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connector_core::control::{ASSERTION_TYPE, Assertion};
use connector_core::jws::PublicKey;
use url::Url;

use crate::expiring::Expiring;
use crate::problem::Refusal;

/// Who made an assertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asserter {
    /// The host with this id.
    Host(String),
    /// The session with this id.
    Session(String),
}

impl Asserter {
    pub(super) fn into_id(self) -> String {
        match self {
            Self::Host(id) | Self::Session(id) => id,
        }
    }
}

/// Checks assertions, and remembers them until they lapse.
#[derive(Debug)]
pub(crate) struct Assertions {
    audience: Url,
    spent: Expiring<()>,
}

impl Assertions {
    pub(crate) fn new(audience: Url) -> Self {
        Self {
            audience,
            spent: Expiring::new(REPLAY_CAPACITY),
        }
    }

    /// Accepts `jws` if `key` made it for this server, lately, and it is new.
    pub(crate) fn spend(&mut self, jws: &str, key: PublicKey, now: u64) -> Result<(), Refusal> {
        let payload = key
            .verify(jws, ASSERTION_TYPE)
            .map_err(|error| Refusal::unauthenticated(error.to_string()))?;
        let assertion: Assertion = serde_json::from_slice(&payload)
            .map_err(|error| Refusal::unauthenticated(error.to_string()))?;

        if assertion.aud != self.audience.as_str() {
            return Err(Refusal::unauthenticated(format!(
                "it was made for {:?}; this is {:?}",
                assertion.aud,
                self.audience.as_str()
            )));
        }
        if assertion.exp.saturating_add(SKEW) <= now {
            return Err(Refusal::unauthenticated(format!(
                "it lapsed at {}; the time here is {now}",
                assertion.exp
            )));
        }
        if assertion.iat > now + SKEW {
            return Err(Refusal::unauthenticated(format!(
                "it was made in the future, at {}; the time here is {now}",
                assertion.iat
            )));
        }
        if assertion.exp.saturating_sub(assertion.iat) > MAX_LIFETIME
            || assertion.exp < assertion.iat
        {
            return Err(Refusal::unauthenticated(format!(
                "it is good for {} to {}; {MAX_LIFETIME} seconds is the limit",
                assertion.iat, assertion.exp
            )));
        }
        if assertion.jti.is_empty() || assertion.jti.len() > MAX_JTI {
            return Err(Refusal::unauthenticated(format!(
                "jti must have 1 to {MAX_JTI} characters"
            )));
        }

        let name = format!("{} {}", assertion.iss, assertion.jti);
        if self.spent.find(&name, now).is_some() {
            return Err(Refusal::unauthenticated(
                "it was used already; make one for each request",
            ));
        }
        self.spent
            .insert(name, (), assertion.exp + SKEW, now)
            .map_err(Refusal::from)
    }
}

/// Returns who an assertion claims to be from, which says whose key to check it with.
pub(crate) fn claimed_issuer(jws: &str) -> Result<String, Refusal> {
    #[derive(serde::Deserialize)]
    struct Claimed {
        iss: String,
    }

    jws.split('.')
        .nth(1)
        .and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok())
        .and_then(|payload| serde_json::from_slice::<Claimed>(&payload).ok())
        .map(|claimed| claimed.iss)
        .ok_or_else(|| Refusal::unauthenticated("it is no JWS with an iss"))
}

/// Seconds that an assertion may be good for.
const MAX_LIFETIME: u64 = 120;

/// Seconds that clocks may differ by.
const SKEW: u64 = 60;

/// Longer names would make the memory of spent assertions grow.
const MAX_JTI: usize = 128;

/// Four minutes of a thousand requests a second by devices that behave.
const REPLAY_CAPACITY: usize = 262_144;

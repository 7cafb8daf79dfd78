//! The signed head: which commit is in force, for how long.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use connector_core::jws::{self, InvalidSignature, PublicKey};
use connector_core::time::WallTime;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use crate::oid::Oid;

/// What the company's policy key says is in force.
///
/// Commits carry no signature of their own: a head vouches for its commit, and
/// the commit's name for everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Which store this is about.
    pub ledger: LedgerId,
    /// The commit that decides.
    pub commit: Oid,
    /// Counts heads; never goes back.
    pub sequence: Sequence,
    /// When it was signed.
    pub issued_at: WallTime,
    /// When it stops being good.
    pub expires_at: WallTime,
    /// A commit that is evaluated beside the one in force, for its differences only.
    pub shadow: Option<Oid>,
    /// Whether the commit may lack the last one among its ancestors.
    pub reset: bool,
}

impl Head {
    /// Verifies that `key` signed `jws` as the head of `ledger`, and reads it.
    ///
    /// # Errors
    ///
    /// [`InvalidHead`] if it did not, or if the head contradicts itself.
    pub fn verify(key: &PublicKey, ledger: &LedgerId, jws: &str) -> Result<Self, InvalidHead> {
        if jws.len() > MAX_HEAD {
            return Err(InvalidHead::TooLong(jws.len()));
        }
        let payload = key.verify(jws, HEAD_TYPE)?;
        Self::parse(&payload, ledger)
    }

    /// Reads a head's payload, which somebody verified.
    fn parse(payload: &[u8], ledger: &LedgerId) -> Result<Self, InvalidHead> {
        let raw: RawHead =
            serde_json::from_slice(payload).map_err(|error| InvalidHead::Malformed {
                error: error.to_string(),
            })?;
        if raw.ledger_id != ledger.as_str() {
            return Err(InvalidHead::OtherLedger {
                found: raw.ledger_id.chars().take(80).collect(),
                expected: ledger.clone(),
            });
        }
        if raw.commit.is_zero() || raw.shadow.is_some_and(|shadow| shadow.is_zero()) {
            return Err(InvalidHead::NoCommit);
        }
        if raw.expires_at <= raw.issued_at {
            return Err(InvalidHead::NeverGood);
        }
        Ok(Self {
            ledger: ledger.clone(),
            commit: raw.commit,
            sequence: Sequence(raw.sequence),
            issued_at: seconds(raw.issued_at),
            expires_at: seconds(raw.expires_at),
            shadow: raw.shadow,
            reset: raw.reset,
        })
    }

    /// Signs the head.
    ///
    /// # Errors
    ///
    /// Fails only if the head cannot be written as JSON.
    pub fn sign(&self, key: &SigningKey) -> Result<String, serde_json::Error> {
        let raw = RawHead {
            ledger_id: self.ledger.as_str().to_owned(),
            commit: self.commit,
            sequence: self.sequence.0,
            issued_at: self.issued_at.unix_seconds(),
            expires_at: self.expires_at.unix_seconds(),
            shadow: self.shadow,
            reset: self.reset,
        };
        jws::sign(key, HEAD_TYPE, &raw)
    }

    /// Returns whether the head is good at `now`; a clock may be a little slow.
    #[must_use]
    pub fn is_good(&self, now: WallTime) -> bool {
        self.issued_at <= now + SKEW && now < self.expires_at
    }
}

/// Names a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerId(Arc<str>);

impl LedgerId {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for LedgerId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Counts the heads of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a head is no head of this store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHead {
    /// Signed, but not a head.
    #[error("the policy head cannot be read: {error}")]
    Malformed {
        /// What the JSON parser says.
        error: String,
    },
    /// It expires before it was issued.
    #[error("the policy head expires before it was issued; sign it again")]
    NeverGood,
    /// It names no commit.
    #[error("the policy head names no commit; sign it again")]
    NoCommit,
    /// It belongs to another store.
    #[error(
        "the policy head is of ledger {found:?}, expected {expected}; check which store is synced"
    )]
    OtherLedger {
        /// The ledger in the head.
        found: String,
        /// The one that was asked for.
        expected: LedgerId,
    },
    /// Not signed by the pinned key.
    #[error("the policy head is refused: {0}")]
    Signature(#[from] InvalidSignature),
    /// Longer than any head.
    #[error("the policy head has {0} bytes; the limit is 8192")]
    TooLong(usize),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHead {
    ledger_id: String,
    commit: Oid,
    sequence: u64,
    /// Seconds since 1970.
    issued_at: u64,
    /// Seconds since 1970.
    expires_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shadow: Option<Oid>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reset: bool,
}

fn seconds(seconds: u64) -> WallTime {
    WallTime::from_unix_millis(seconds.saturating_mul(1000))
}

/// The `typ` of a signed head.
pub const HEAD_TYPE: &str = "ztna-policy-head+jws";

/// A head has a dozen short members.
pub const MAX_HEAD: usize = 8192;

/// How far this clock may be behind the signer's.
const SKEW: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_key_signed_is_read_back() {
        let head = head();
        let signed = head.sign(&key(1)).unwrap();

        assert_eq!(
            Head::verify(&public(1), &"policies".into(), &signed),
            Ok(head)
        );
    }

    #[test]
    fn another_key_another_ledger_and_another_type_are_refused() {
        let signed = head().sign(&key(1)).unwrap();
        let other = jws::sign(&key(1), "ztna-configuration+jws", &json!({})).unwrap();

        assert!(matches!(
            Head::verify(&public(2), &"policies".into(), &signed),
            Err(InvalidHead::Signature(_))
        ));
        assert!(matches!(
            Head::verify(&public(1), &"others".into(), &signed),
            Err(InvalidHead::OtherLedger { .. })
        ));
        assert!(matches!(
            Head::verify(&public(1), &"policies".into(), &other),
            Err(InvalidHead::Signature(_))
        ));
    }

    #[test]
    fn a_signed_head_that_makes_no_sense_is_refused() {
        let commit = Oid::of(b"c").to_string();
        let zero = Oid::ZERO.to_string();
        let good = json!({"ledger_id": "policies", "commit": commit, "sequence": 1,
            "issued_at": 10, "expires_at": 20});
        let with = |member: &str, value: serde_json::Value| {
            let mut changed = good.clone();
            changed[member] = value;
            changed
        };
        assert!(verify(&good).is_ok());
        for bad in [
            json!({}),
            json!([]),
            with("commit", json!(zero)),
            with("shadow", json!(zero)),
            with("commit", json!("main")),
            with("sequence", json!(-1)),
            with("sequence", json!(1.5)),
            with("expires_at", json!(10)),
            with("reset", json!("yes")),
            with("rest", json!(true)),
        ] {
            assert!(verify(&bad).is_err(), "{bad}");
        }
        assert!(matches!(
            Head::verify(&public(1), &"policies".into(), &"x".repeat(MAX_HEAD + 1)),
            Err(InvalidHead::TooLong(_))
        ));
    }

    #[test]
    fn a_head_is_good_from_a_little_before_it_was_issued_until_it_expires() {
        let head = head();

        assert!(!head.is_good(seconds(100)));
        assert!(head.is_good(seconds(700)));
        assert!(head.is_good(seconds(1_999)));
        assert!(!head.is_good(seconds(2_000)));
    }

    fn verify(payload: &serde_json::Value) -> Result<Head, InvalidHead> {
        let signed = jws::sign(&key(1), HEAD_TYPE, payload).unwrap_or_default();
        Head::verify(&public(1), &"policies".into(), &signed)
    }

    fn head() -> Head {
        Head {
            ledger: "policies".into(),
            commit: Oid::of(b"commit"),
            sequence: Sequence(7),
            issued_at: seconds(1000),
            expires_at: seconds(2000),
            shadow: Some(Oid::of(b"shadow")),
            reset: true,
        }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn public(seed: u8) -> PublicKey {
        PublicKey::of(&key(seed))
    }
}

//! What a checkpoint says and how it is signed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::chain::{LineHash, Link, LogId, from_hex, to_hex};
use super::event::{base, metadata};
use crate::jws::{self, PublicKey};
use crate::time::WallTime;

/// Why there is a checkpoint; several causes tell of a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Cause {
    /// Lines that had been sealed were gone when the service started.
    Cut {
        /// The first of them.
        from: u64,
        /// The last of them.
        through: u64,
    },
    /// Rotation removed lines that nobody had taken yet.
    Dropped {
        /// The first of them.
        from: u64,
        /// The last of them.
        through: u64,
    },
    /// Enough lines, or time, since the last one.
    Due,
    /// Decisions came faster than they could be written; they were refused.
    Overflow(Lost),
    /// The file was full, and another one begins.
    Rotated,
    /// The service started.
    Started,
    /// The service stopped in order.
    Stopped,
    /// The end of the file was no whole line; it was taken off.
    Torn {
        /// How much was taken off.
        bytes: u64,
    },
    /// The last run did not end in order: its latest decisions may be missing.
    Unclean,
    /// Decisions could not be written, as with a full disk; they were refused.
    Unwritten(Lost),
}

/// Decisions that are not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// When the first was lost, in milliseconds since the Unix epoch.
    pub since: u64,
    /// When the last was lost, in milliseconds since the Unix epoch.
    pub until: u64,
}

impl Lost {
    /// Counts `count` more, lost at `time`.
    #[must_use]
    pub fn and(lost: Option<Self>, count: u64, time: WallTime) -> Self {
        let until = time.unix_millis();
        Self {
            count: lost.map_or(0, |lost| lost.count) + count,
            since: lost.map_or(until, |lost| lost.since),
            until,
        }
    }
}

impl Cause {
    /// Returns whether something that was decided may not be in the log.
    #[must_use]
    pub const fn is_gap(&self) -> bool {
        match self {
            Self::Cut { .. }
            | Self::Dropped { .. }
            | Self::Overflow(_)
            | Self::Torn { .. }
            | Self::Unclean
            | Self::Unwritten(_) => true,
            Self::Due | Self::Rotated | Self::Started | Self::Stopped => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |lost: &Lost| {
            let [since, until] = [lost.since, lost.until].map(WallTime::from_unix_millis);
            format!("{} from {since} to {until}", lost.count)
        };
        match self {
            Self::Cut { from, through } => write!(
                f,
                "records {from} to {through} were gone when the service started, although they had been sealed"
            ),
            Self::Dropped { from, through } => write!(
                f,
                "records {from} to {through} made room for new ones before anybody had taken them"
            ),
            Self::Due => f.write_str("enough records or time since the last checkpoint"),
            Self::Overflow(lost) => write!(
                f,
                "decisions came faster than they could be written; refused without a record: {}",
                span(lost)
            ),
            Self::Rotated => f.write_str("the file was full, and another one begins"),
            Self::Started => f.write_str("the service started"),
            Self::Stopped => f.write_str("the service stopped"),
            Self::Torn { bytes } => write!(
                f,
                "the file ended with {bytes} bytes that were no whole line; they were taken off"
            ),
            Self::Unclean => f.write_str(
                "the last run did not end in order; its latest decisions may be missing",
            ),
            Self::Unwritten(lost) => write!(
                f,
                "decisions could not be written; refused without a record: {}",
                span(lost)
            ),
        }
    }
}

/// What a checkpoint signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Why it was made.
    pub cause: Cause,
    /// The log.
    pub log: LogId,
    /// The number of the oldest line that was kept at that time.
    pub oldest: u64,
    /// The hash of the line before, and through it everything before.
    pub previous: LineHash,
    /// The checkpoint's own number.
    pub sequence: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub time: u64,
}

/// A seal with its signature, not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSeal {
    /// What is signed.
    pub seal: Seal,
    /// Who says to have signed it.
    pub key: PublicKey,
    signature: [u8; 64],
}

impl SignedSeal {
    pub(super) fn new(seal: Seal, key: &SigningKey) -> Result<Self, serde_json::Error> {
        let jws = jws::sign(key, SEAL_TYPE, &seal)?;
        let signature = jws
            .rsplit('.')
            .next()
            .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok())
            .and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            seal,
            key: PublicKey::of(key),
            signature: signature.unwrap_or([0; 64]),
        })
    }

    /// Reads the key and the signature as they are in a line.
    pub(super) fn parse(seal: Seal, key: &str, signature: &str) -> Option<Self> {
        Some(Self {
            seal,
            key: key.parse().ok()?,
            signature: from_hex(signature)?,
        })
    }

    /// Returns whether `key` signed it.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let Ok(payload) = serde_json::to_vec(&self.seal) else {
            return false;
        };
        let header = format!(r#"{{"alg":"EdDSA","typ":"{SEAL_TYPE}"}}"#);
        let [header, payload, signature] =
            [header.as_bytes(), &payload, &self.signature].map(|part| URL_SAFE_NO_PAD.encode(part));
        let jws = format!("{header}.{payload}.{signature}");
        key.verify(&jws, SEAL_TYPE).is_ok()
    }

    /// Writes it as an OCSF base event.
    pub(super) fn to_ocsf(&self, link: &Link, product_version: &str) -> Value {
        let (name, severity) = if self.seal.cause.is_gap() {
            ("Gap", 3)
        } else {
            ("Checkpoint", 1)
        };
        let time = WallTime::from_unix_millis(self.seal.time);
        let mut event = base(name, severity, time);
        event["message"] = self.seal.cause.to_string().into();
        event["metadata"] = metadata(link, product_version, &[]);
        event["unmapped"] = json!({
            "chain": link.to_json(),
            "checkpoint": self.seal,
            "signature": to_hex(&self.signature),
            "signed_by": self.key.to_string(),
        });
        event
    }
}

/// The `typ` of the JWS that a seal is the payload of.
pub const SEAL_TYPE: &str = "ztna-audit-seal+jws";

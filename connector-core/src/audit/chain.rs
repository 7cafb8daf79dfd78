//! The chain that makes a changed, missing or reordered line of the decision
//! log show, and the signed checkpoints that keep it from being made anew.
//!
//! Each line names the log, its own number and the SHA-256 of the line before,
//! over its exact bytes with the line break. A checkpoint is a line as well;
//! its seal is signed by the host's key as the payload of a JWS of type
//! [`SEAL_TYPE`](super::seal::SEAL_TYPE), whose signature alone is written down.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Matter;
use super::seal::{Cause, Seal, SignedSeal};
use crate::time::WallTime;

/// The writing end of a log's chain.
#[derive(Debug, Clone)]
pub struct Chain {
    link: Link,
    product_version: &'static str,
}

impl Chain {
    /// Goes on where `next` says; a new log begins with [`Link::first`].
    #[must_use]
    pub const fn new(next: Link, product_version: &'static str) -> Self {
        Self {
            link: next,
            product_version,
        }
    }

    /// Returns what the next line will carry.
    #[must_use]
    pub const fn next(&self) -> &Link {
        &self.link
    }

    /// Makes the line of what is written down.
    #[must_use]
    pub fn append(&mut self, matter: &Matter) -> Line {
        let event = matter.to_ocsf(&self.link, self.product_version);
        self.line(event)
    }

    /// Makes a checkpoint: everything before it, and what it says itself, is signed by `key`.
    ///
    /// # Errors
    ///
    /// Fails only if the seal cannot be written as JSON.
    pub fn seal(
        &mut self,
        cause: Cause,
        oldest: u64,
        time: WallTime,
        key: &SigningKey,
    ) -> Result<Line, serde_json::Error> {
        let seal = Seal {
            cause,
            log: self.link.log.clone(),
            oldest,
            previous: self.link.previous,
            sequence: self.link.sequence,
            time: time.unix_millis(),
        };
        let signed = SignedSeal::new(seal, key)?;
        let event = signed.to_ocsf(&self.link, self.product_version);
        Ok(self.line(event))
    }

    fn line(&mut self, event: Value) -> Line {
        let mut bytes = event.to_string().into_bytes();
        bytes.push(b'\n');
        self.link.previous = LineHash::of(&bytes);
        self.link.sequence += 1;
        Line { event, bytes }
    }
}

/// A line that is to be written.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it says.
    pub event: Value,
    /// Its exact bytes with the line break.
    pub bytes: Vec<u8>,
}

/// What ties a line to the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The log that the line belongs to.
    pub log: LogId,
    /// The line's number, from 1.
    pub sequence: u64,
    /// The hash of the line before.
    pub previous: LineHash,
}

impl Link {
    /// Returns the link of the first line of a log.
    #[must_use]
    pub const fn first(log: LogId) -> Self {
        Self {
            log,
            sequence: 1,
            previous: LineHash::START,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"log": self.log, "previous": self.previous})
    }
}

/// Names the log of one installation: random, and the same for as long as its state is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogId(Arc<str>);

impl LogId {
    /// Makes the id from random bytes.
    #[must_use]
    pub fn from_random(bytes: &[u8; 16]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bytes).into())
    }
}

impl FromStr for LogId {
    type Err = InvalidChain;

    fn from_str(text: &str) -> Result<Self, InvalidChain> {
        match URL_SAFE_NO_PAD.decode(text) {
            Ok(bytes) if bytes.len() == 16 => Ok(Self(text.into())),
            Ok(_) | Err(_) => Err(InvalidChain(
                "the log's id is not 22 characters of base64url",
            )),
        }
    }
}

impl TryFrom<String> for LogId {
    type Error = InvalidChain;

    fn try_from(text: String) -> Result<Self, InvalidChain> {
        text.parse()
    }
}

impl From<LogId> for String {
    fn from(id: LogId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of a line, written as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LineHash([u8; 32]);

impl LineHash {
    /// What the first line of a log states in place of a hash.
    pub const START: Self = Self([0; 32]);

    /// Returns the hash of a line with its line break.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }
}

impl FromStr for LineHash {
    type Err = InvalidChain;

    fn from_str(text: &str) -> Result<Self, InvalidChain> {
        from_hex(text).map(Self).ok_or(InvalidChain(
            "a hash is not 64 lower-case hexadecimal digits",
        ))
    }
}

impl TryFrom<String> for LineHash {
    type Error = InvalidChain;

    fn try_from(text: String) -> Result<Self, InvalidChain> {
        text.parse()
    }
}

impl From<LineHash> for String {
    fn from(hash: LineHash) -> Self {
        to_hex(&hash.0)
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

/// A line of a log, as far as the chain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What ties it to the one before.
    pub link: Link,
    /// Its own hash.
    pub hash: LineHash,
    /// Its seal, if it is a checkpoint.
    pub seal: Option<SignedSeal>,
}

impl Entry {
    /// Reads a line with its line break.
    ///
    /// # Errors
    ///
    /// [`InvalidEntry`] if it is no JSON, is no link of a chain, or is a
    /// checkpoint that contradicts its own line.
    pub fn parse(line: &[u8]) -> Result<Self, InvalidEntry> {
        let raw: RawLine = serde_json::from_slice(line)?;
        let link = Link {
            log: raw.unmapped.chain.log,
            sequence: raw.metadata.sequence,
            previous: raw.unmapped.chain.previous,
        };
        let seal = match raw.unmapped.checkpoint {
            None => None,
            Some(seal) => {
                let agrees = seal.log == link.log
                    && seal.sequence == link.sequence
                    && seal.previous == link.previous;
                if !agrees {
                    return Err(InvalidEntry::Contradiction);
                }
                let key = raw.unmapped.signed_by.unwrap_or_default();
                let signature = raw.unmapped.signature.unwrap_or_default();
                Some(SignedSeal::parse(seal, &key, &signature).ok_or(InvalidEntry::Unsigned)?)
            }
        };
        Ok(Self {
            link,
            hash: LineHash::of(line),
            seal,
        })
    }

    /// Returns what the line after this one carries.
    #[must_use]
    pub fn following(&self) -> Link {
        Link {
            log: self.link.log.clone(),
            sequence: self.link.sequence.saturating_add(1),
            previous: self.hash,
        }
    }
}

#[derive(Deserialize)]
struct RawLine {
    metadata: RawMetadata,
    unmapped: RawUnmapped,
}

#[derive(Deserialize)]
struct RawMetadata {
    sequence: u64,
}

#[derive(Deserialize)]
struct RawUnmapped {
    chain: RawChain,
    checkpoint: Option<Seal>,
    signature: Option<String>,
    signed_by: Option<String>,
}

#[derive(Deserialize)]
struct RawChain {
    log: LogId,
    previous: LineHash,
}

/// Why a line is no link of a chain.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEntry {
    /// The seal is for another line.
    #[error("its checkpoint is for another line")]
    Contradiction,
    /// It is no JSON, or a member is missing.
    #[error("it cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is a checkpoint without a signature or without a key.
    #[error("its checkpoint is not signed")]
    Unsigned,
}

/// A text that is no id or hash of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidChain(&'static str);

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

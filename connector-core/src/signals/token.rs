use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::event::{SecurityEvent, Signal, common};
use super::keys::KeySet;
use super::seen::EventId;
use super::subject::{Subject, Unreadable};
use crate::time::WallTime;

/// Verifies security event tokens of one stream.
#[derive(Debug, Clone)]
pub struct TokenVerifier {
    issuer: String,
    audience: Vec<String>,
    critical_members: Vec<String>,
}

impl TokenVerifier {
    /// Accepts tokens by `issuer` for one of `audience`; subjects may not have
    /// a member among `critical_members` that cannot be compared here.
    #[must_use]
    pub fn new(issuer: &Url, audience: Vec<String>, critical_members: Vec<String>) -> Self {
        Self {
            issuer: issuer.as_str().to_owned(),
            audience,
            critical_members,
        }
    }

    /// Returns what `token` says if one of `keys` signed it for this stream.
    ///
    /// # Errors
    ///
    /// [`RefusedToken`] if anything is not as RFC 8417 and the profile of SSF 1.0
    /// §4 want it; [`RefusedToken::set_error`] says what to answer the transmitter.
    pub fn verify(
        &self,
        token: &str,
        keys: &KeySet,
        now: WallTime,
    ) -> Result<SecurityEvent, RefusedToken> {
        if token.len() > MAX_TOKEN {
            return Err(RefusedToken::TooLong(token.len()));
        }
        let claims: RawClaims = read(&signed_payload(token, keys)?, "claims")?;
        self.check_addressee(&claims)?;
        let issued_at = WallTime::from_unix_millis(claims.iat.saturating_mul(1000));
        if issued_at.unix_seconds() > now.unix_seconds().saturating_add(SKEW) {
            return Err(RefusedToken::FromTheFuture { issued_at, now });
        }
        self.read_event(claims, issued_at)
    }

    fn check_addressee(&self, claims: &RawClaims) -> Result<(), RefusedToken> {
        if !is_same_issuer(&claims.iss, &self.issuer) {
            return Err(RefusedToken::WrongIssuer(shown(&claims.iss)));
        }
        let audience = match &claims.aud {
            RawAudience::Many(audience) => audience.as_slice(),
            RawAudience::One(audience) => std::slice::from_ref(audience),
        };
        if !audience.iter().any(|one| self.audience.contains(one)) {
            return Err(RefusedToken::WrongAudience(shown(&audience.join(" "))));
        }
        for (member, is_there) in [("exp", claims.exp.is_some()), ("sub", claims.sub.is_some())] {
            if is_there {
                // It might be an access token that somebody wants to pass off (RFC 8417 §4.2, §4.6).
                return Err(RefusedToken::Forbidden(member));
            }
        }
        Ok(())
    }

    fn read_event(
        &self,
        claims: RawClaims,
        issued_at: WallTime,
    ) -> Result<SecurityEvent, RefusedToken> {
        let id = EventId::parse(&claims.jti)
            .ok_or_else(|| malformed("jti is no text of 1 to 256 printable bytes"))?;
        let mut events = claims.events.into_iter();
        let (Some((event_type, payload)), None) = (events.next(), events.next()) else {
            return Err(malformed("a token must have exactly one event"));
        };
        let Value::Object(payload) = payload else {
            return Err(malformed("the event is no object"));
        };
        let subject =
            Subject::parse(&claims.sub_id, &self.critical_members).map_err(|unreadable| {
                match unreadable {
                    Unreadable::Critical(member) => RefusedToken::CriticalMember(shown(&member)),
                    Unreadable::Malformed => malformed("sub_id is no subject identifier"),
                }
            })?;
        let (happened_at, reason_user) = common(&payload);
        let signal = Signal::parse(&event_type, payload).map_err(|problem| {
            malformed(&format!("the event {}: {problem}", shown(&event_type)))
        })?;
        Ok(SecurityEvent {
            id,
            issued_at,
            // Nobody reports what has not happened yet; `iat` names the second only.
            happened_at: happened_at
                .unwrap_or(issued_at)
                .min(issued_at + Duration::from_millis(999)),
            subject,
            signal,
            reason_user,
        })
    }
}

/// Checks header and signature, and returns the bytes that were signed.
fn signed_payload(token: &str, keys: &KeySet) -> Result<Vec<u8>, RefusedToken> {
    let (signed, signature) = token.rsplit_once('.').ok_or(RefusedToken::NotJwt)?;
    let (header, payload) = signed.split_once('.').ok_or(RefusedToken::NotJwt)?;
    let header: RawHeader = read(&decode(header)?, "header")?;
    if !is_event_token(&header.typ) {
        return Err(RefusedToken::WrongType(shown(&header.typ)));
    }
    if header.crit.is_some() {
        return Err(malformed("the header has crit, which nothing here knows"));
    }
    if !ALGORITHMS.contains(&header.alg.as_str()) {
        return Err(RefusedToken::WrongAlgorithm(shown(&header.alg)));
    }
    let signature = decode(signature)?;
    match keys.verify(&header.kid, &header.alg, signed.as_bytes(), &signature) {
        Some(true) => decode(payload),
        Some(false) => Err(RefusedToken::WrongSignature),
        None => Err(RefusedToken::UnknownKey(shown(&header.kid))),
    }
}

/// Compares issuers as text, but for a final slash that a URL parser adds to an empty path.
pub(super) fn is_same_issuer(found: &str, expected: &str) -> bool {
    found == expected
        || found.strip_suffix('/').unwrap_or(found)
            == expected.strip_suffix('/').unwrap_or(expected)
}

/// RFC 8417 §2.3; `application/` may be left out (RFC 7515 §4.1.9).
fn is_event_token(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    kind.strip_prefix("application/").unwrap_or(&kind) == "secevent+jwt"
}

fn decode(part: &str) -> Result<Vec<u8>, RefusedToken> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| RefusedToken::NotJwt)
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T, RefusedToken> {
    serde_json::from_slice(bytes).map_err(|error| malformed(&format!("{what}: {error}")))
}

fn malformed(problem: &str) -> RefusedToken {
    RefusedToken::Malformed(shown(problem))
}

/// Keeps what fits into a line of a log.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(200)
        .collect()
}

/// Why a security event token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedToken {
    /// The subject has a member that must be compared and cannot be; the event is passed over.
    #[error("the subject's {0:?} is critical, and nothing here can be compared with it")]
    CriticalMember(String),
    /// A claim that no event token has.
    #[error("the claim {0:?} makes it a token of another kind")]
    Forbidden(&'static str),
    /// Signed, but at a time that has not come yet.
    #[error("it was issued at {issued_at}, and the time here is {now}; check this device's clock")]
    FromTheFuture {
        /// When it says that it was issued.
        issued_at: WallTime,
        /// The time here.
        now: WallTime,
    },
    /// A part is missing or has a wrong form.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// No three parts in base64url.
    #[error("it is no signed JWT in compact serialisation")]
    NotJwt,
    /// Longer than any event.
    #[error("it has {0} bytes; {MAX_TOKEN} are the limit")]
    TooLong(usize),
    /// Signed by a key that the issuer's set does not have.
    #[error("the issuer has no usable key {0:?}")]
    UnknownKey(String),
    /// Signed with an algorithm that is not accepted.
    #[error("the algorithm {0:?} is not accepted; use EdDSA, ES256 or RS256")]
    WrongAlgorithm(String),
    /// For somebody else.
    #[error("it is for {0:?}, not for this stream")]
    WrongAudience(String),
    /// By somebody else.
    #[error("its issuer is {0:?}, not the configured one")]
    WrongIssuer(String),
    /// The key did not make this signature, or not with this algorithm.
    #[error("the signature is wrong, or the key is not for this algorithm")]
    WrongSignature,
    /// Another kind of token.
    #[error("its type is {0:?}, not \"secevent+jwt\"")]
    WrongType(String),
}

impl RefusedToken {
    /// Returns the error to answer with (RFC 8935 §2.4); none if the token is
    /// acknowledged and passed over, or not answered at all.
    #[must_use]
    pub fn set_error(&self) -> Option<&'static str> {
        match self {
            Self::CriticalMember(_) | Self::FromTheFuture { .. } => None,
            Self::Forbidden(_)
            | Self::Malformed(_)
            | Self::NotJwt
            | Self::TooLong(_)
            | Self::WrongType(_) => Some("invalid_request"),
            Self::UnknownKey(_) | Self::WrongAlgorithm(_) => Some("invalid_key"),
            Self::WrongAudience(_) => Some("invalid_audience"),
            Self::WrongIssuer(_) => Some("invalid_issuer"),
            Self::WrongSignature => Some("authentication_failed"),
        }
    }
}

/// Further members are ignored, `jwk`, `jku` and their like among them: keys come from the issuer alone.
#[derive(Debug, Deserialize)]
struct RawHeader {
    alg: String,
    kid: String,
    typ: String,
    crit: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct RawClaims {
    iss: String,
    aud: RawAudience,
    iat: u64,
    jti: String,
    sub_id: Map<String, Value>,
    events: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "is_there")]
    exp: Option<()>,
    #[serde(default, deserialize_with = "is_there")]
    sub: Option<()>,
}

/// Notes that a member is there, even as `null`.
fn is_there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<()>, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| Some(()))
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawAudience {
    Many(Vec<String>),
    One(String),
}

/// What CAEP's interoperability profile wants, and what newer issuers use.
const ALGORITHMS: [&str; 3] = ["EdDSA", "ES256", "RS256"];

/// Seconds that clocks may differ by.
const SKEW: u64 = 120;

/// Events are a few hundred bytes; claims that changed may be more.
const MAX_TOKEN: usize = 32 * 1024;

#[cfg(test)]
mod tests;

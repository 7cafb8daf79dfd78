use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::seen::EventId;
use super::subject::Subject;
use crate::identity::Assurance;
use crate::time::WallTime;

/// A verified security event token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvent {
    /// Names the event, so that it counts once.
    pub id: EventId,
    /// When the transmitter wrote it down.
    pub issued_at: WallTime,
    /// When it happened, as far as the transmitter says.
    pub happened_at: WallTime,
    /// Whom or what it is about.
    pub subject: Subject,
    /// What happened.
    pub signal: Signal,
    /// What the transmitter wants the person to read.
    pub reason_user: Option<Arc<str>>,
}

/// What a security event says (CAEP 1.0 §3, SSF 1.0 §8.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The provider is more or less sure of the person than before.
    AssuranceLevelChange(Arc<Assurance>),
    /// A password, key or the like was added, changed or taken away.
    CredentialChange,
    /// Another system has found that the device complies, or that it does not.
    DeviceComplianceChange {
        /// Whether it complies now.
        is_compliant: bool,
    },
    /// Something that this version does not act upon.
    Other {
        /// The event's type URI.
        event_type: Arc<str>,
    },
    /// A session is over.
    SessionRevoked,
    /// The transmitter has paused, disabled or enabled the stream.
    StreamUpdated {
        /// Whether events are still sent.
        is_enabled: bool,
    },
    /// Claims about the person are no longer what a token says.
    TokenClaimsChange {
        /// The person's groups now, if it is these that changed.
        groups: Option<BTreeSet<Arc<str>>>,
    },
    /// The transmitter shows that the stream works.
    Verification {
        /// What the receiver asked it to repeat.
        state: Option<Arc<str>>,
    },
}

impl Signal {
    /// Returns the event's type in a word, for records.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let uri = match self {
            Self::AssuranceLevelChange(_) => ASSURANCE_LEVEL_CHANGE,
            Self::CredentialChange => CREDENTIAL_CHANGE,
            Self::DeviceComplianceChange { .. } => DEVICE_COMPLIANCE_CHANGE,
            Self::Other { event_type } => event_type,
            Self::SessionRevoked => SESSION_REVOKED,
            Self::StreamUpdated { .. } => STREAM_UPDATED,
            Self::TokenClaimsChange { .. } => TOKEN_CLAIMS_CHANGE,
            Self::Verification { .. } => VERIFICATION,
        };
        uri.rsplit('/').next().unwrap_or(uri)
    }

    /// Reads the one event of a token.
    pub(super) fn parse(event_type: &str, payload: Map<String, Value>) -> Result<Self, String> {
        Ok(match event_type {
            ASSURANCE_LEVEL_CHANGE => {
                let raw: RawAssurance = members(payload)?;
                Self::AssuranceLevelChange(Arc::new(Assurance {
                    namespace: word("namespace", &raw.namespace)?,
                    level: word("current_level", &raw.current_level)?,
                }))
            }
            CREDENTIAL_CHANGE => {
                let RawCredential {
                    credential_type,
                    change_type,
                } = members(payload)?;
                word("credential_type", &credential_type)?;
                word("change_type", &change_type)?;
                Self::CredentialChange
            }
            DEVICE_COMPLIANCE_CHANGE => {
                let raw: RawCompliance = members(payload)?;
                Self::DeviceComplianceChange {
                    is_compliant: raw.current_status == Compliance::Compliant,
                }
            }
            SESSION_REVOKED => Self::SessionRevoked,
            STREAM_UPDATED => {
                let raw: RawStream = members(payload)?;
                Self::StreamUpdated {
                    is_enabled: raw.status == "enabled",
                }
            }
            TOKEN_CLAIMS_CHANGE => {
                let raw: RawClaims = members(payload)?;
                let groups = raw.claims.get("groups").map(groups).transpose()?;
                Self::TokenClaimsChange { groups }
            }
            VERIFICATION => {
                let raw: RawVerification = members(payload)?;
                Self::Verification {
                    state: raw.state.map(Arc::from),
                }
            }
            other => Self::Other {
                event_type: word("the event type", other)?,
            },
        })
    }
}

/// Reads the members that every event may have: when it happened, and why in the person's words.
pub(super) fn common(payload: &Map<String, Value>) -> (Option<WallTime>, Option<Arc<str>>) {
    let happened_at = payload.get("event_timestamp").and_then(numeric_date);
    let reason = payload
        .get("reason_user")
        .and_then(Value::as_object)
        .and_then(|texts| texts.get("en").or_else(|| texts.values().next())?.as_str())
        .map(|text| {
            text.chars()
                .filter(|character| !character.is_control())
                .take(MAX_REASON)
                .collect::<String>()
                .into()
        });
    (happened_at, reason)
}

/// Reads a time that may have fractions of a second (NumericDate, RFC 7519 §2).
fn numeric_date(value: &Value) -> Option<WallTime> {
    let since_epoch = match value.as_u64() {
        Some(seconds) => Duration::from_secs(seconds),
        None => Duration::try_from_secs_f64(value.as_f64()?).ok()?,
    };
    Some(WallTime::from_unix_millis(0) + since_epoch)
}

fn members<T: DeserializeOwned>(payload: Map<String, Value>) -> Result<T, String> {
    T::deserialize(Value::Object(payload)).map_err(|error| error.to_string())
}

fn groups(claim: &Value) -> Result<BTreeSet<Arc<str>>, String> {
    let texts = claim
        .as_array()
        .filter(|groups| groups.len() <= MAX_GROUPS)
        .map(|groups| groups.iter().map(Value::as_str));
    texts
        .and_then(|texts| texts.map(|text| text.map(Arc::from)).collect())
        .ok_or_else(|| format!("claims.groups is no list of at most {MAX_GROUPS} texts"))
}

/// Takes a short text that may appear in records.
fn word(member: &str, text: &str) -> Result<Arc<str>, String> {
    let fits = !text.is_empty() && text.len() <= MAX_WORD && !text.chars().any(char::is_control);
    fits.then(|| text.into())
        .ok_or_else(|| format!("{member} is no text of 1 to {MAX_WORD} printable bytes"))
}

#[derive(Debug, Deserialize)]
struct RawAssurance {
    namespace: String,
    current_level: String,
}

#[derive(Debug, Deserialize)]
struct RawCredential {
    credential_type: String,
    change_type: String,
}

#[derive(Debug, Deserialize)]
struct RawCompliance {
    current_status: Compliance,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Compliance {
    Compliant,
    NotCompliant,
}

#[derive(Debug, Deserialize)]
struct RawStream {
    status: String,
}

#[derive(Debug, Deserialize)]
struct RawClaims {
    claims: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct RawVerification {
    state: Option<String>,
}

/// CAEP 1.0 §3.4.
pub const ASSURANCE_LEVEL_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change";
/// CAEP 1.0 §3.3.
pub const CREDENTIAL_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/credential-change";
/// CAEP 1.0 §3.5.
pub const DEVICE_COMPLIANCE_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/device-compliance-change";
/// CAEP 1.0 §3.1.
pub const SESSION_REVOKED: &str =
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/// SSF 1.0 §8.1.5.
pub const STREAM_UPDATED: &str =
    "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";
/// CAEP 1.0 §3.2.
pub const TOKEN_CLAIMS_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/token-claims-change";
/// SSF 1.0 §8.1.4.
pub const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

const MAX_WORD: usize = 256;
const MAX_REASON: usize = 500;
const MAX_GROUPS: usize = 1024;

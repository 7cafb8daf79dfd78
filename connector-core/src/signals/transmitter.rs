use serde::{Deserialize, Serialize};
use url::Url;

use super::event;
use super::token::is_same_issuer;
use crate::authzen::printable;
use crate::control::is_secure;

/// Returns where an issuer describes itself (SSF 1.0 §7.2): the well-known path
/// goes between host and path.
#[must_use]
pub fn metadata_url(issuer: &Url) -> Url {
    let mut url = issuer.clone();
    let path = issuer.path().trim_end_matches('/');
    url.set_path(&format!("/.well-known/ssf-configuration{path}"));
    url
}

/// What a transmitter says about itself, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmitter {
    /// Where its keys are.
    pub jwks: Url,
    /// Where streams are made.
    pub streams: Url,
    /// Where it is told whether a stream is enabled, if it is.
    pub status: Option<Url>,
    /// Where a verification is asked for, if it can be.
    pub verification: Option<Url>,
    /// Members of a subject that must be compared.
    pub critical_members: Vec<String>,
}

impl Transmitter {
    /// Reads the metadata of `issuer`.
    ///
    /// # Errors
    ///
    /// [`InvalidTransmitter`] if the document is another issuer's, leads to a
    /// place that secrets must not be sent to, or knows no delivery by poll.
    pub fn parse(document: &[u8], issuer: &Url) -> Result<Self, InvalidTransmitter> {
        let raw: RawMetadata =
            serde_json::from_slice(document).map_err(|error| malformed(&error))?;
        if !is_same_issuer(&raw.issuer, issuer.as_str()) {
            return Err(InvalidTransmitter::WrongIssuer {
                found: raw.issuer.chars().take(200).collect(),
                expected: issuer.to_string(),
            });
        }
        if !raw.delivery_methods_supported.is_empty()
            && !raw
                .delivery_methods_supported
                .iter()
                .any(|method| method == POLL)
        {
            return Err(InvalidTransmitter::NoPoll);
        }
        if raw.critical_subject_members.len() > 16 {
            return Err(InvalidTransmitter::Malformed {
                error: "more than 16 critical_subject_members".to_owned(),
            });
        }
        let secure = |text: &str| secure(text, issuer);
        let optional = |text: Option<&str>| text.map(secure).transpose();
        Ok(Self {
            jwks: secure(&raw.jwks_uri)?,
            streams: secure(&raw.configuration_endpoint)?,
            status: optional(raw.status_endpoint.as_deref())?,
            verification: optional(raw.verification_endpoint.as_deref())?,
            critical_members: raw.critical_subject_members,
        })
    }
}

/// Asks for a stream that is polled (SSF 1.0 §8.1.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRequest {
    /// How events are delivered.
    pub delivery: Delivery,
    /// The events that are wanted, by type URI.
    pub events_requested: Vec<String>,
    /// What the stream is for.
    pub description: String,
}

impl StreamRequest {
    /// Asks for a polled stream of everything that is acted upon.
    #[must_use]
    pub fn poll(description: &str) -> Self {
        Self {
            delivery: Delivery {
                method: POLL.to_owned(),
                endpoint_url: None,
            },
            events_requested: WANTED.map(str::to_owned).to_vec(),
            description: description.to_owned(),
        }
    }
}

/// How events are delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// `urn:ietf:rfc:8936` for polling.
    pub method: String,
    /// Where to poll; the transmitter says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
}

/// A stream, as its transmitter describes it, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfiguration {
    /// Names the stream.
    pub id: String,
    /// Whom its events are for.
    pub audience: Vec<String>,
    /// Where to poll.
    pub endpoint: Url,
}

impl StreamConfiguration {
    /// Reads one stream, or the first of a list that can be polled.
    ///
    /// # Errors
    ///
    /// [`InvalidTransmitter`] if it is another issuer's, has no audience, or cannot be polled.
    pub fn parse(document: &[u8], issuer: &Url) -> Result<Self, InvalidTransmitter> {
        let raw: OneOrMany = serde_json::from_slice(document).map_err(|error| malformed(&error))?;
        let mut streams = match raw {
            OneOrMany::Many(streams) => streams,
            OneOrMany::One(stream) => vec![*stream],
        };
        let polled = streams
            .iter()
            .position(|stream| {
                stream
                    .delivery
                    .as_ref()
                    .is_none_or(|delivery| delivery.method == POLL)
            })
            .ok_or(InvalidTransmitter::NoPoll)?;
        let stream = streams.swap_remove(polled);
        if !is_same_issuer(&stream.iss, issuer.as_str()) {
            return Err(InvalidTransmitter::WrongIssuer {
                found: stream.iss.chars().take(200).collect(),
                expected: issuer.to_string(),
            });
        }
        let audience = match stream.aud {
            RawAudience::Many(audience) => audience,
            RawAudience::One(audience) => vec![audience],
        };
        if audience.is_empty() || audience.len() > 16 || audience.iter().any(String::is_empty) {
            return Err(InvalidTransmitter::Malformed {
                error: "aud is not 1 to 16 names".to_owned(),
            });
        }
        let endpoint = stream.delivery.and_then(|delivery| delivery.endpoint_url);
        Ok(Self {
            id: stream.stream_id,
            audience,
            endpoint: secure(&endpoint.ok_or(InvalidTransmitter::NoPoll)?, issuer)?,
        })
    }
}

/// Reads where to send secrets to. What the network says of an issuer that is elsewhere
/// leads to no service of this machine.
fn secure(text: &str, issuer: &Url) -> Result<Url, InvalidTransmitter> {
    let insecure = || InvalidTransmitter::InsecureEndpoint(text.chars().take(200).collect());
    let url: Url = text.parse().map_err(|_| insecure())?;
    let is_as_safe = url.scheme() == "https" || issuer.scheme() == "http";
    (is_secure(&url) && is_as_safe)
        .then_some(url)
        .ok_or_else(insecure)
}

fn malformed(error: &serde_json::Error) -> InvalidTransmitter {
    InvalidTransmitter::Malformed {
        error: printable(&error.to_string()).to_string(),
    }
}

/// Why a transmitter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransmitter {
    /// An endpoint that secrets must not be sent to.
    #[error(
        "the transmitter names the endpoint {0:?}; use https; http is for an issuer on a loopback address"
    )]
    InsecureEndpoint(String),
    /// No such document.
    #[error("the transmitter's answer cannot be read: {error}")]
    Malformed {
        /// What the JSON parser says.
        error: String,
    },
    /// Events cannot be polled for.
    #[error("the transmitter offers no delivery by poll (RFC 8936)")]
    NoPoll,
    /// The document is another issuer's.
    #[error("the transmitter says that it is {found:?}; the configuration names {expected:?}")]
    WrongIssuer {
        /// Who it says it is.
        found: String,
        /// Who it should be.
        expected: String,
    },
}

#[derive(Debug, Deserialize)]
struct RawMetadata {
    issuer: String,
    jwks_uri: String,
    configuration_endpoint: String,
    status_endpoint: Option<String>,
    verification_endpoint: Option<String>,
    #[serde(default)]
    delivery_methods_supported: Vec<String>,
    #[serde(default)]
    critical_subject_members: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<RawStream>),
    One(Box<RawStream>),
}

#[derive(Debug, Deserialize)]
struct RawStream {
    stream_id: String,
    iss: String,
    aud: RawAudience,
    delivery: Option<Delivery>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawAudience {
    Many(Vec<String>),
    One(String),
}

/// RFC 8936.
const POLL: &str = "urn:ietf:rfc:8936";

/// Verification and stream-updated come unasked (SSF 1.0 §8.1.4, §8.1.5).
const WANTED: [&str; 5] = [
    event::ASSURANCE_LEVEL_CHANGE,
    event::CREDENTIAL_CHANGE,
    event::DEVICE_COMPLIANCE_CHANGE,
    event::SESSION_REVOKED,
    event::TOKEN_CLAIMS_CHANGE,
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_well_known_path_goes_between_host_and_path() {
        for (issuer, found) in [
            (
                "https://t.test/",
                "https://t.test/.well-known/ssf-configuration",
            ),
            (
                "https://t.test/a/b/",
                "https://t.test/.well-known/ssf-configuration/a/b",
            ),
            (
                "http://127.0.0.1:1/ssf",
                "http://127.0.0.1:1/.well-known/ssf-configuration/ssf",
            ),
        ] {
            assert_eq!(metadata_url(&issuer.parse().unwrap()).as_str(), found);
        }
    }

    #[test]
    fn metadata_of_another_issuer_or_with_places_in_clear_is_refused() {
        assert!(transmitter(&metadata()).is_ok());
        for (member, value) in [
            ("issuer", json!("https://evil.test")),
            ("jwks_uri", json!("http://t.test/jwks")),
            ("jwks_uri", json!("http://127.0.0.1:8080/jwks")),
            ("configuration_endpoint", json!("ftp://t.test/")),
            ("status_endpoint", json!("http://10.0.0.1/")),
            ("verification_endpoint", json!("no url")),
            ("delivery_methods_supported", json!(["urn:ietf:rfc:8935"])),
            ("critical_subject_members", json!(vec!["x"; 17])),
            ("jwks_uri", json!(null)),
        ] {
            let mut metadata = metadata();
            metadata[member] = value.clone();
            assert!(transmitter(&metadata).is_err(), "{member}: {value}");
        }
    }

    #[test]
    fn a_stream_is_read_alone_or_from_a_list_and_must_be_the_issuers_own() {
        let polled = json!({"stream_id": "s", "iss": "https://t.test", "aud": "host-1",
            "delivery": {"method": POLL, "endpoint_url": "https://t.test/poll"}});
        let pushed = json!({"stream_id": "p", "iss": "https://t.test", "aud": "host-1",
            "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://r.test/"}});

        let list = stream(&json!([pushed.clone(), polled.clone()])).unwrap();
        assert_eq!(
            (list.id.as_str(), list.audience),
            ("s", vec!["host-1".to_owned()])
        );
        assert!(stream(&polled).is_ok());
        assert_eq!(stream(&pushed), Err(InvalidTransmitter::NoPoll));
        for (member, value) in [
            ("iss", json!("https://evil.test")),
            ("aud", json!([])),
            ("delivery", json!({"method": POLL})),
            (
                "delivery",
                json!({"method": POLL, "endpoint_url": "http://t.test/"}),
            ),
        ] {
            let mut bad = polled.clone();
            bad[member] = value.clone();
            assert!(stream(&bad).is_err(), "{member}: {value}");
        }
    }

    fn metadata() -> Value {
        json!({
            "issuer": "https://t.test",
            "jwks_uri": "https://t.test/jwks",
            "configuration_endpoint": "https://t.test/streams",
            "status_endpoint": "https://t.test/status",
            "verification_endpoint": "https://t.test/verify",
            "delivery_methods_supported": [POLL],
        })
    }

    fn transmitter(metadata: &Value) -> Result<Transmitter, InvalidTransmitter> {
        Transmitter::parse(metadata.to_string().as_bytes(), &issuer())
    }

    fn stream(document: &Value) -> Result<StreamConfiguration, InvalidTransmitter> {
        StreamConfiguration::parse(document.to_string().as_bytes(), &issuer())
    }

    fn issuer() -> Url {
        "https://t.test/".parse().unwrap()
    }
}

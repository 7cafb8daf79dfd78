use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::authzen::printable;

/// Asks for events, and says what came of the last ones (RFC 8936 §2.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollRequest {
    /// How many events to send at most; none is wanted if 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_events: Option<usize>,
    /// Whether to answer at once even if there is nothing.
    #[serde(default)]
    pub return_immediately: bool,
    /// The events that need not be sent again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ack: Vec<String>,
    /// The events that could not be accepted, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set_errs: BTreeMap<String, SetError>,
}

/// Why an event was not accepted (RFC 8935 §2.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetError {
    /// A code, as in `invalid_key`.
    pub err: String,
    /// What is wrong, in English.
    pub description: String,
}

/// Events, by `jti` (RFC 8936 §2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollAnswer {
    /// Each event's token.
    pub sets: BTreeMap<String, String>,
    /// Whether there are more.
    #[serde(default)]
    pub more_available: bool,
}

impl PollAnswer {
    /// How many events are asked for at a time.
    pub const MAX_EVENTS: usize = 32;

    /// The longest answer that is read, in bytes.
    pub const MAX_LENGTH: usize = 1024 * 1024;

    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// [`InvalidAnswer`] if it is none, or has more events than were asked for.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidAnswer> {
        let answer: Self =
            serde_json::from_slice(body).map_err(|error| InvalidAnswer::Malformed {
                error: printable(&error.to_string()).to_string(),
            })?;
        if answer.sets.len() > Self::MAX_EVENTS {
            return Err(InvalidAnswer::TooMany(answer.sets.len()));
        }
        Ok(answer)
    }
}

/// Why an answer to a poll cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// No answer of RFC 8936.
    #[error("the answer to the poll cannot be read: {error}")]
    Malformed {
        /// What the JSON parser says.
        error: String,
    },
    /// More events than were asked for.
    #[error("the answer to the poll has {0} events; {max} were asked for", max = PollAnswer::MAX_EVENTS)]
    TooMany(usize),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_poll_reads_as_the_standard_writes_it() {
        let request = PollRequest {
            max_events: Some(5),
            return_immediately: false,
            ack: vec!["a".into()],
            set_errs: BTreeMap::from([(
                "b".to_owned(),
                SetError {
                    err: "invalid_key".into(),
                    description: "no such key".into(),
                },
            )]),
        };

        assert_eq!(
            serde_json::to_value(request).unwrap(),
            json!({
                "maxEvents": 5,
                "returnImmediately": false,
                "ack": ["a"],
                "setErrs": {"b": {"err": "invalid_key", "description": "no such key"}},
            })
        );
    }

    #[test]
    fn answers_are_read_strictly_and_within_bounds() {
        let answer =
            PollAnswer::parse(br#"{"sets":{"a":"t"},"moreAvailable":true,"x":1}"#).unwrap();
        assert!(answer.more_available);
        assert!(
            PollAnswer::parse(br#"{"sets":{}}"#)
                .unwrap()
                .sets
                .is_empty()
        );

        let many: BTreeMap<_, _> = (0..33).map(|n| (n.to_string(), "t")).collect();
        let many = json!({"sets": many}).to_string();
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"sets":[]}"#,
            r#"{"sets":{"a":1}}"#,
            &many,
            &"[".repeat(100_000),
        ] {
            assert!(PollAnswer::parse(bad.as_bytes()).is_err(), "{bad:.40}");
        }
    }
}

//! That something was sent in the company's name and is not followed: an OCSF 1.8 base event.

use std::sync::Arc;

use serde_json::{Value, json};

use super::chain::Link;
use super::event::{base, metadata, who_and_where};
use crate::identity::HostId;
use crate::time::WallTime;

/// Something that was sent in the company's name and is not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// A head of the policy store, or what it leads to. What was in force before stays.
    Policies {
        /// Why.
        problem: Arc<str>,
    },
    /// A security event token (RFC 8417). It changes nothing.
    SecurityEvent {
        /// The name that it was sent under, which is its `jti` if it tells the truth.
        name: Arc<str>,
        /// What the transmitter was told (RFC 8935 §2.4).
        error: Arc<str>,
        /// Why.
        problem: Arc<str>,
    },
}

impl Rejected {
    /// Returns it with no more of what others sent than a line should hold.
    pub(crate) fn shortened(self) -> Self {
        match self {
            Self::Policies { problem } => Self::Policies {
                problem: short(&problem),
            },
            Self::SecurityEvent {
                name,
                error,
                problem,
            } => Self::SecurityEvent {
                name: short(&name),
                error,
                problem: short(&problem),
            },
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Policies { problem } => json!({"document": "policies", "problem": &**problem}),
            Self::SecurityEvent {
                name,
                error,
                problem,
            } => json!({
                "document": "security_event",
                "name": &**name,
                "error": &**error,
                "problem": &**problem,
            }),
        }
    }
}

/// What was not followed, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionRecord {
    /// When.
    pub time: WallTime,
    /// What; of several, the last.
    pub rejected: Rejected,
    /// For how many of the same kind it stands.
    pub count: u64,
    /// When the first of them was rejected.
    pub since: WallTime,
    /// On which host.
    pub host: Option<HostId>,
}

impl RejectionRecord {
    /// Writes the record as an OCSF event; `link` names it within its log.
    #[must_use]
    pub fn to_ocsf(&self, link: &Link, product_version: &str) -> Value {
        let mut event = base("Reject", 3, self.time);
        event["metadata"] = metadata(link, product_version, &[]);
        event["unmapped"] = json!({"chain": link.to_json(), "rejected": self.rejected.to_json()});
        who_and_where(&mut event, None, self.host.as_ref());
        if self.count > 1 {
            event["count"] = self.count.into();
            event["start_time"] = self.since.unix_millis().into();
            event["end_time"] = self.time.unix_millis().into();
        }
        event
    }
}

fn short(text: &str) -> Arc<str> {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// Room for a path, a line and a hash with their sentence.
const MAX_CHARS: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_sent_takes_no_more_room_than_a_line_should_have() {
        let endless = Rejected::SecurityEvent {
            name: "ä".repeat(100_000).into(),
            error: "invalid_request".into(),
            problem: "x".repeat(100_000).into(),
        };

        let Rejected::SecurityEvent { name, problem, .. } = endless.shortened() else {
            panic!("it stays what it is");
        };

        assert_eq!(name.chars().count(), MAX_CHARS + 1);
        assert_eq!(problem.chars().count(), MAX_CHARS + 1);
        assert_eq!(&*short("as it was"), "as it was");
    }
}

use std::sync::Arc;

use serde_json::{Value, json};

use super::subject::Subject;
use crate::time::WallTime;

/// That a session is over, kept until it is known whether a sign-in that is being restored is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Whom or what it is about.
    pub subject: Subject,
    /// What the transmitter wants the person to read.
    pub reason_user: Option<Arc<str>>,
    /// When it arrived.
    pub arrived_at: WallTime,
}

impl Revocation {
    /// Writes it down for the next start.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "sub_id": self.subject.to_json(),
            "reason_user": self.reason_user.as_deref(),
            "arrived_at_millis": self.arrived_at.unix_millis(),
        })
    }

    /// Reads what [`to_json`](Self::to_json) wrote; nothing if it is damaged.
    #[must_use]
    pub fn parse(raw: &Value) -> Option<Self> {
        let subject = raw.get("sub_id")?.as_object()?;
        let reason_user = raw.get("reason_user")?;
        let reason_user = match reason_user.as_str() {
            Some(text) => Some(text.into()),
            None if reason_user.is_null() => None,
            None => return None,
        };
        let arrived_at = raw.get("arrived_at_millis")?.as_u64()?;
        Some(Self {
            subject: Subject::parse(subject, &[]).ok()?,
            reason_user,
            arrived_at: WallTime::from_unix_millis(arrived_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_subject_is_read_as_it_was_written() {
        for subject in [
            json!({"format": "opaque", "id": "session-1"}),
            json!({"format": "email", "email": "alice@corp.test"}),
            json!({"format": "account", "uri": "acct:alice@corp.test"}),
            json!({"format": "iss_sub", "iss": "https://idp.test", "sub": "alice"}),
            json!({"format": "phone_number", "phone_number": "+1"}),
            json!({"format": "aliases", "identifiers": [
                {"format": "opaque", "id": "session-1"},
                {"format": "uri", "uri": "urn:x"},
            ]}),
            json!({"format": "complex",
                "user": {"format": "email", "email": "alice@corp.test"},
                "device": {"format": "opaque", "id": "host-1"},
                "group": {"format": "opaque", "id": "staff"},
                "session": {"format": "opaque", "id": "session-1"},
                "tenant": {"format": "opaque", "id": "corp"}}),
        ] {
            for reason_user in [None, Some("Your laptop was lost".into())] {
                let revocation = Revocation {
                    subject: Subject::for_tests(&subject),
                    reason_user,
                    arrived_at: WallTime::from_unix_millis(7),
                };

                assert_eq!(Revocation::parse(&revocation.to_json()), Some(revocation));
            }
        }
    }

    #[test]
    fn what_is_damaged_is_no_revocation() {
        for damaged in [
            json!(null),
            json!({}),
            json!({"sub_id": {}, "reason_user": null, "arrived_at_millis": 1}),
            json!({"sub_id": {"format": "opaque", "id": "s"}, "arrived_at_millis": 1}),
            json!({"sub_id": {"format": "opaque", "id": "s"}, "reason_user": 1, "arrived_at_millis": 1}),
            json!({"sub_id": {"format": "opaque", "id": "s"}, "reason_user": null, "arrived_at_millis": -1}),
        ] {
            assert_eq!(Revocation::parse(&damaged), None, "{damaged}");
        }
    }
}

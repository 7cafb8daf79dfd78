//! That a signal arrived, and what came of it: an OCSF 1.8 base event.

use serde_json::{Value, json};

use super::chain::Link;
use super::event::{base, metadata, who_and_where};
use crate::connector::{SignalOutcome, SignalRecord};

impl SignalRecord {
    /// Writes the record as an OCSF event; `link` names it within its log.
    ///
    /// Whom it is about is said only if that is somebody or something here.
    #[must_use]
    pub fn to_ocsf(&self, link: &Link, product_version: &str) -> Value {
        let mut signal = json!({
            "type": self.event.signal.as_str(),
            "jti": self.event.id.as_str(),
            "outcome": self.outcome.as_str(),
            "issued_at": self.event.issued_at.unix_millis(),
            "happened_at": self.event.happened_at.unix_millis(),
        });
        if let Some(reason) = &self.event.reason_user {
            signal["reason_user"] = (&**reason).into();
        }
        let severity = match self.outcome {
            SignalOutcome::Applied => 3,
            SignalOutcome::Elsewhere | SignalOutcome::Noted => 1,
        };
        let mut event = base("Signal", severity, self.time);
        event["metadata"] = metadata(link, product_version, &[]);
        event["unmapped"] = json!({"chain": link.to_json(), "signal": signal});
        who_and_where(&mut event, self.session.as_ref(), self.host.as_ref());
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::LogId;
    use crate::signals::{EventId, SecurityEvent, Signal, Subject};
    use crate::time::WallTime;

    #[test]
    fn a_signal_is_written_with_its_name_and_effect_and_without_a_stranger() {
        let stranger = json!({"format": "email", "email": "mallory@corp.test"});
        let record = SignalRecord {
            time: WallTime::from_unix_millis(3),
            event: SecurityEvent {
                id: EventId::parse("jti-1").unwrap(),
                issued_at: WallTime::from_unix_millis(2),
                happened_at: WallTime::from_unix_millis(1),
                subject: Subject::for_tests(&stranger),
                signal: Signal::Other {
                    event_type: "https://schemas.example/event-type/unheard-of".into(),
                },
                reason_user: None,
            },
            outcome: SignalOutcome::Noted,
            session: None,
            host: None,
        };
        let link = Link::first(LogId::from_random(&[7; 16]));

        let event = record.to_ocsf(&link, "0.1.0");

        assert_eq!(event["unmapped"]["signal"]["jti"], "jti-1");
        assert_eq!(event["unmapped"]["signal"]["type"], "unheard-of");
        assert_eq!(event["unmapped"]["signal"]["outcome"], "noted");
        assert!(!event.to_string().contains("mallory"));
    }
}

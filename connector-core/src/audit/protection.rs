//! That protection was switched off or on, or its settings changed: an OCSF 1.8 base event.

use std::sync::Arc;

use serde_json::{Value, json};

use super::chain::Link;
use super::event::{base, metadata, who_and_where};
use crate::identity::{HostId, Session};
use crate::time::WallTime;

/// Something that happened to the protection of this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtectionChange {
    /// A code of the company switched it off.
    Overridden {
        /// The code's name.
        code: Arc<str>,
        /// Who made it.
        by: Arc<str>,
        /// Why the company allowed it.
        allowed_for: Arc<str>,
        /// Why the person needs it.
        reason: Arc<str>,
        /// When it is on again.
        until: WallTime,
    },
    /// A code was refused.
    OverrideRefused {
        /// Why.
        problem: Arc<str>,
    },
    /// A person switched it off.
    Paused {
        /// Why, where they said so.
        reason: Option<Arc<str>>,
        /// When it is on again, unless only a person switches it on.
        until: Option<WallTime>,
    },
    /// It is on again.
    Resumed(ResumedBy),
    /// The administrator changed settings.
    SettingsChanged {
        /// Which ones; their values are not told.
        keys: Vec<Arc<str>>,
        /// Who fixed them.
        managed_by: Option<Arc<str>>,
    },
}

/// Who or what switched the protection on again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumedBy {
    /// The administrator's settings permit no pause any more.
    Administrator,
    /// A person.
    Person,
    /// The time was over.
    Time,
}

impl ResumedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Person => "person",
            Self::Time => "time",
        }
    }
}

/// Something that happened to the protection, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectionRecord {
    /// When.
    pub time: WallTime,
    /// What.
    pub change: ProtectionChange,
    /// Who was signed in.
    pub session: Option<Session>,
    /// On which host.
    pub host: Option<HostId>,
}

impl ProtectionRecord {
    /// Writes the record as an OCSF event; `link` names it within its log.
    #[must_use]
    pub fn to_ocsf(&self, link: &Link, product_version: &str) -> Value {
        let (name, severity, protection) = self.change.describe();
        let mut event = base(name, severity, self.time);
        event["metadata"] = metadata(link, product_version, &[]);
        event["unmapped"] = json!({"chain": link.to_json(), "protection": protection});
        who_and_where(&mut event, self.session.as_ref(), self.host.as_ref());
        event
    }
}

impl ProtectionChange {
    /// Returns the activity's name, its severity, and the rest.
    fn describe(&self) -> (&'static str, u8, Value) {
        match self {
            Self::Overridden {
                code,
                by,
                allowed_for,
                reason,
                until,
            } => (
                "Override",
                4,
                json!({
                    "change": "overridden",
                    "code": &**code,
                    "by": &**by,
                    "allowed_for": &**allowed_for,
                    "reason": &**reason,
                    "until": until.unix_millis(),
                }),
            ),
            Self::OverrideRefused { problem } => (
                "Refuse override",
                3,
                json!({"change": "override_refused", "problem": &**problem}),
            ),
            Self::Paused { reason, until } => (
                "Pause",
                2,
                json!({
                    "change": "paused",
                    "reason": reason.as_deref(),
                    "until": until.map(WallTime::unix_millis),
                }),
            ),
            Self::Resumed(by) => ("Resume", 1, json!({"change": "resumed", "by": by.as_str()})),
            Self::SettingsChanged { keys, managed_by } => {
                let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
                (
                    "Change settings",
                    2,
                    json!({
                        "change": "settings_changed",
                        "keys": keys,
                        "managed_by": managed_by.as_deref(),
                    }),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::LogId;

    #[test]
    fn an_override_is_written_with_its_code_its_maker_and_both_reasons() {
        let event = record(ProtectionChange::Overridden {
            code: "code-1".into(),
            by: "Help desk".into(),
            allowed_for: "Hotel network".into(),
            reason: "The portal does not open".into(),
            until: WallTime::from_unix_millis(60_000),
        });

        let protection = &event["unmapped"]["protection"];
        assert_eq!(protection["change"], "overridden");
        assert_eq!(protection["code"], "code-1");
        assert_eq!(protection["by"], "Help desk");
        assert_eq!(protection["reason"], "The portal does not open");
        assert_eq!(protection["until"], 60_000);
        assert_eq!(event["severity_id"], 4);
        assert_eq!(event["device"]["uid"], "host-1");
    }

    #[test]
    fn changed_settings_are_written_by_their_names() {
        let event = record(ProtectionChange::SettingsChanged {
            keys: vec!["always_on.enabled".into()],
            managed_by: Some("Corp IT".into()),
        });

        let protection = &event["unmapped"]["protection"];
        assert_eq!(protection["keys"], json!(["always_on.enabled"]));
        assert_eq!(protection["managed_by"], "Corp IT");
    }

    fn record(change: ProtectionChange) -> Value {
        let record = ProtectionRecord {
            time: WallTime::from_unix_millis(1),
            change,
            session: None,
            host: Some("host-1".into()),
        };
        record.to_ocsf(&Link::first(LogId::from_random(&[7; 16])), "0.1.0")
    }
}

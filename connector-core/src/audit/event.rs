//! What the events of the decision log have in common, as OCSF 1.8 has it.

use serde_json::{Value, json};

use super::chain::Link;
use crate::identity::{HostId, Session};
use crate::time::WallTime;

/// Begins a base event, which is of no class of its own.
pub(super) fn base(activity: &str, severity: u8, time: WallTime) -> Value {
    json!({
        "class_uid": 0,
        "category_uid": 0,
        "activity_id": OTHER,
        "activity_name": activity,
        "type_uid": OTHER,
        "severity_id": severity,
        "time": time.unix_millis(),
    })
}

/// Tells who wrote the event, to which profiles it keeps, and where it is in its log.
pub(super) fn metadata(link: &Link, product_version: &str, profiles: &[&str]) -> Value {
    let mut metadata = json!({
        "version": "1.8.0",
        "product": {
            "name": "ZTNA Connector",
            "vendor_name": "ZTNA Connector",
            "version": product_version,
        },
    });
    if !profiles.is_empty() {
        metadata["profiles"] = profiles.into();
    }
    metadata["sequence"] = link.sequence.into();
    metadata["uid"] = link.sequence.to_string().into();
    metadata
}

/// Adds who was signed in and on which host, as far as they are known.
pub(super) fn who_and_where(event: &mut Value, session: Option<&Session>, host: Option<&HostId>) {
    if let Some(session) = session {
        event["actor"] = actor(session);
    }
    if let Some(host) = host {
        event["device"] = device(host);
    }
}

/// Describes who is signed in as the one who acts.
pub(super) fn actor(session: &Session) -> Value {
    json!({
        "user": user(session),
        "session": {"uid": session.id.as_str(), "issuer": &*session.person.issuer},
    })
}

/// Describes who is signed in.
pub(super) fn user(session: &Session) -> Value {
    let person = &session.person;
    let groups = person.groups.iter().map(|group| json!({"name": &**group}));
    let mut user = json!({"uid": &*person.subject, "groups": groups.collect::<Vec<_>>()});
    if let Some(email) = &person.email {
        user["email_addr"] = (&**email).into();
    }
    user
}

/// Describes this host.
pub(super) fn device(host: &HostId) -> Value {
    json!({"uid": host.as_str(), "type_id": 0})
}

/// The class of consents, elevations and requests for access.
pub(super) const USER_ACCESS: u64 = 3005;

/// "Other", for an activity that its class does not name.
pub(super) const OTHER: u64 = 99;

#[cfg(test)]
mod tests;

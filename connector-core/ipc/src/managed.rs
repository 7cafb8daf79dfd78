use serde::{Deserialize, Serialize};

/// What the administrator manages on this device. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedReport {
    /// Who, for people.
    pub by: String,
    /// Whether the connector stays on; only a code of the company switches it off.
    pub always_on: bool,
    /// Whether people may switch the connector off.
    pub pause_allowed: bool,
    /// Whether whoever switches it off has to say why.
    pub reason_required: bool,
    /// The longest pause, in minutes, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_limit: Option<u64>,
    /// Whether the tray stays when it is started at login.
    pub tray_autostart: bool,
    /// Where packages come from, as far as the administrator has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_channel: Option<String>,
    /// How often the managed settings have changed since the service started.
    pub changes: u64,
    /// Why the managed settings as they are now cannot be used; the last good ones are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a person reads to the help desk for a code that switches the connector off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideChallengeReport {
    /// This device, as the control plane names it.
    pub device: String,
    /// What the code has to answer.
    pub challenge: String,
    /// When the challenge lapses.
    pub expires_at: String,
    /// Where to get help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support: Option<String>,
}

/// A code of the company that has switched the connector off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideReport {
    /// Names the code.
    pub code: String,
    /// Who allowed it.
    pub by: String,
    /// When the connector is on again.
    pub until: String,
}

use serde::{Deserialize, Serialize};

use crate::status::TrustLevel;

/// A consent that a program acts for the person, while it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegationReport {
    /// Names it, in records as well.
    pub id: String,
    /// The absolute path of the executable.
    pub program: String,
    /// The SHA-256 that the executable had when the person consented, and has to have.
    pub sha256: String,
    /// The resources.
    pub scope: Vec<String>,
    /// Why, if the person said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ends at the latest.
    pub expires_at: String,
    /// The policy that permits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The commit of that policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A person's acting in the context of another identity, while it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElevationReport {
    /// Names it, in records as well.
    pub id: String,
    /// Whose context.
    pub target: String,
    /// Why.
    pub reason: String,
    /// What proves it.
    pub evidence: Vec<String>,
    /// How far the device could be relied on when it was granted.
    pub trust_level: TrustLevel,
    /// When it ends at the latest.
    pub expires_at: String,
    /// The policy that permits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The commit of that policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

//! Requests for access, in the shapes of AuthZEN's access-request profile (draft of 2026-06).

use serde::{Deserialize, Serialize};

/// Asks that the person of a session be given access for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRequest {
    /// The person, as `user` and their subject identifier; must be the session's.
    pub subject: GrantEntity,
    /// What they want to do: `connect`.
    pub action: GrantAction,
    /// What they want to reach, as `application` and its id.
    pub resource: GrantEntity,
    /// Why.
    pub context: GrantContext,
    /// For how long.
    pub requested_access: GrantTerms,
}

/// A subject or a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantEntity {
    /// What sort of thing it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which one.
    pub id: String,
}

/// What somebody wants to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantAction {
    /// Its name.
    pub name: String,
}

/// Why somebody asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantContext {
    /// In their own words.
    pub reason: String,
}

/// For how long somebody asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantTerms {
    /// Seconds, counted from the approval.
    pub seconds: u64,
}

/// The answer to a [`GrantRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantAnswer {
    /// What became of it so far.
    pub task: GrantTask,
}

/// A person's requests, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantTasks {
    /// Each with what became of it.
    pub tasks: Vec<GrantTask>,
}

/// A request for access, and what became of it. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantTask {
    /// Names the request, in policies and records as well.
    pub id: String,
    /// What became of it.
    pub status: GrantStatus,
    /// What it is about.
    pub resource: GrantEntity,
    /// Why the person asked.
    pub reason: String,
    /// For how long.
    pub seconds: u64,
    /// When the person asked.
    pub requested_at: u64,
    /// When the request lapses, if it waits; when access ends or has ended, if it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Who can approve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
}

/// What became of a request for access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantStatus {
    /// Somebody agreed, and its time is not over.
    Approved,
    /// Somebody refused.
    Denied,
    /// Its time is over, or nobody answered in time.
    Expired,
    /// Nobody has answered.
    Pending,
    /// Something that this version has no word for; no access.
    #[serde(other)]
    Unknown,
}

impl GrantStatus {
    /// Returns the status as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
        }
    }
}

/// The longest reason, in characters.
pub const MAX_REASON: usize = 500;

/// Returns whether a text can be the reason of a request: one line that people can read.
#[must_use]
pub fn is_reason(text: &str) -> bool {
    !text.trim().is_empty()
        && text.chars().take(MAX_REASON + 1).count() <= MAX_REASON
        && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_some_length() {
        for text in ["Payroll run", "Löhne"] {
            assert!(is_reason(text), "{text}");
        }
        for text in [
            "",
            "  ",
            "two\nlines",
            "\u{1b}[31m",
            &"x".repeat(MAX_REASON + 1),
        ] {
            assert!(!is_reason(text), "{text:?}");
        }
    }

    #[test]
    fn a_status_of_another_version_is_no_approval() {
        let status: GrantStatus = serde_json::from_str("\"partial\"").unwrap();

        assert_eq!(status, GrantStatus::Unknown);
    }
}

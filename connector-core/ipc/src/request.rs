use serde::{Deserialize, Serialize};

/// A request for access, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRequestReport {
    /// Names the request, in policies and records as well.
    pub id: String,
    /// What became of it.
    pub status: AccessRequestStatus,
    /// The resource.
    pub resource: String,
    /// The resource's title, unless it is no longer there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Why the person asked.
    pub reason: String,
    /// For how many seconds they asked.
    pub seconds: u64,
    /// When they asked.
    pub requested_at: String,
    /// When the request lapses, if it is pending; when access ends, if it is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Who can approve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
}

/// What became of a request for access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessRequestStatus {
    /// Somebody agreed, and its time is not over.
    Approved,
    /// Somebody refused.
    Denied,
    /// Its time is over, or nobody answered in time.
    Expired,
    /// Nobody has answered.
    Pending,
    /// Something that the service has no word for.
    Unknown,
}

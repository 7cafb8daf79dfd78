//! What people are shown of policies. Times are RFC 3339 in UTC.

use serde::{Deserialize, Serialize};

/// The commits of the policy store that this device knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLogReport {
    /// What puts the active commit in force; none if no policies are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadReport>,
    /// The commits, newest first.
    pub commits: Vec<CommitReport>,
}

/// The signed head of the policy store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadReport {
    /// Its number, which never goes back.
    pub sequence: u64,
    /// When it was signed.
    pub issued_at: String,
    /// When the policies stop being in force.
    pub expires_at: String,
    /// The company's policy key, which signed it.
    pub signed_by: String,
}

/// One version of all policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitReport {
    /// The commit's name, which is its content, hashed.
    pub commit: String,
    /// What it is to this device.
    pub state: CommitState,
    /// Who wrote it, as the commit itself says: only the head is signed.
    pub author: String,
    /// When it was put into the store, as the commit itself says.
    pub committed_at: String,
    /// Why, on one line.
    pub message: String,
}

/// What a commit is to this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitState {
    /// It decides.
    Active,
    /// It is evaluated beside the one that decides.
    Candidate,
    /// It came before; its files are not kept here.
    Past,
}

/// What a commit holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyCommitReport {
    /// The commit.
    pub commit: CommitReport,
    /// Its files, in the order of their names.
    pub files: Vec<PolicyFileReport>,
    /// How many files were left out, since they do not fit a message.
    #[serde(default)]
    pub more_files: usize,
    /// Why it cannot decide, if it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One file of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFileReport {
    /// The file's name.
    pub name: String,
    /// `cedar`, `cedar-json`, `schema`, or `unknown`.
    pub language: String,
    /// Its length.
    pub bytes: u64,
}

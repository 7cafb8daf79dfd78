//! What people are shown of policies. Times are RFC 3339 in UTC.

use serde::{Deserialize, Serialize};

/// The commits of the policy store that this device knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLogReport {
    /// What puts the active commit in force; none if no policies are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadReport>,
    /// What the control plane offered last, if that is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_followed: Option<NotFollowedReport>,
    /// The commits, newest first.
    pub commits: Vec<CommitReport>,
}

/// Policies that were offered and are not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotFollowedReport {
    /// When they were offered.
    pub offered_at: String,
    /// Why they are not followed.
    pub problem: String,
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

/// What came of a table of requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyTestReport {
    /// The commit that it was put to.
    pub commit: String,
    /// How many answers were the expected ones.
    pub met: usize,
    /// How many were not.
    pub unmet: usize,
    /// Those that were not, in the order of the table, as many as fit a message.
    pub rows: Vec<RowReport>,
}

/// A request of a table whose answer was not the expected one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowReport {
    /// What the table calls it.
    pub name: String,
    /// What the table expects.
    pub expected: VerdictReport,
    /// What the policies say.
    pub got: VerdictReport,
    /// The reason, as a token, if it is a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An answer, and the policies that decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictReport {
    /// Whether it is a permission.
    pub permitted: bool,
    /// The policies; none if nothing permits, or if the table has no opinion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// What a commit would decide otherwise than what was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReplayReport {
    /// The commit.
    pub commit: String,
    /// Decisions that were put to it.
    pub replayed: u64,
    /// Those of them that come out as they did.
    pub same: u64,
    /// Records that no policy decided, revocations, and what was only asked for.
    pub not_asked: u64,
    /// Records that lack something that policies rest on.
    pub incomplete: u64,
    /// What comes out otherwise, the most frequent first, as many as fit a message.
    pub changes: Vec<ReplayChange>,
    /// Decisions that come out otherwise and fit no message.
    pub more: u64,
}

/// Decisions that come out otherwise in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayChange {
    /// Who asked.
    pub person: String,
    /// What for.
    pub resource: String,
    /// Through which program, where that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// What was decided.
    pub before: VerdictReport,
    /// What the commit says.
    pub after: VerdictReport,
    /// How often.
    pub count: u64,
    /// When first.
    pub first: String,
    /// When last.
    pub last: String,
}

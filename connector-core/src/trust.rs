//! Acting for somebody else: a program with a person's consent, or a person in
//! the context of another identity.
//!
//! Both are asked for, decided by policy, written down, and end: by themselves,
//! when they are revoked, when the policy no longer permits them, and with the
//! session.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::access::{Denial, Workload};
use crate::audit::Said;
use crate::catalogue::ResourceId;
use crate::identity::{Assurance, HostId, Person, SessionId};
use crate::network::NetworkKind;
use crate::posture::{TrustLevel, Verdict};
use crate::time::WallTime;

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A person consents that a program acts for them.
    Delegate(Delegation),
    /// A person wants to act in the context of another identity.
    Elevate(Elevation),
}

impl Wish {
    /// Returns the action by which policies decide.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Delegate(_) => "delegate",
            Self::Elevate(_) => "elevate",
        }
    }

    /// Returns for how long it is wanted.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self {
            Self::Delegate(delegation) => delegation.duration,
            Self::Elevate(elevation) => elevation.duration,
        }
    }
}

/// A person consents that a program acts for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The program, as it was when the person consented.
    pub program: PinnedProgram,
    /// The applications.
    pub scope: BTreeSet<ResourceId>,
    /// Why, in the person's words.
    pub reason: Option<Arc<str>>,
    /// For how long.
    pub duration: Duration,
}

impl Delegation {
    /// Returns whether the consent is about this program, with this content, and this resource.
    /// A program that is not known, or has not been hashed, is covered by nothing.
    #[must_use]
    pub fn covers(&self, workload: &Workload, resource: &ResourceId) -> bool {
        let Some(program) = workload.program() else {
            return false;
        };
        // Nothing is read of a program that is only asked about, and nothing opens by the answer.
        let is_same = match workload {
            Workload::Supposed(_) => true,
            Workload::Known(_) => program.sha256.as_ref() == Some(&self.program.sha256),
            Workload::Unknown | Workload::UnknownOf(_) => false,
        };
        is_same && program.path == self.program.path && self.scope.contains(resource)
    }
}

/// A program with one content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedProgram {
    /// The absolute path of the executable.
    pub path: String,
    /// The SHA-256 of the executable in lower-case hex.
    pub sha256: String,
}

/// A person wants to act in the context of another identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elevation {
    /// Whose context: what the provider calls `sub`.
    pub target: Arc<str>,
    /// Why, in the person's words.
    pub reason: Arc<str>,
    /// What proves it, as in `ticket:4711`.
    pub evidence: BTreeSet<Arc<str>>,
    /// For how long.
    pub duration: Duration,
}

/// A wish, as it is put to the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRequest {
    /// Who wants it.
    pub person: Arc<Person>,
    /// In which session.
    pub session: SessionId,
    /// How sure the identity provider is of the person, where it has said so.
    pub assurance: Option<Arc<Assurance>>,
    /// From which host.
    pub host: Option<HostId>,
    /// In which state.
    pub verdict: Verdict,
    /// What is wanted.
    pub wish: Arc<Wish>,
    /// From which kind of network.
    pub network: NetworkKind,
    /// When.
    pub time: WallTime,
}

/// In whose name a connection is made, beside the person who is signed in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Acting {
    /// The program acts for the person, with their consent.
    Delegated(TrustId),
    /// The person acts in the context of another identity.
    Elevated(Elevated),
    /// Nobody else is concerned.
    #[default]
    Oneself,
}

/// An elevation that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elevated {
    /// Which one.
    pub id: TrustId,
    /// Whose context.
    pub target: Arc<str>,
}

/// A wish that was granted and is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Names it, so that it can be revoked.
    pub id: TrustId,
    /// What was wanted.
    pub wish: Arc<Wish>,
    /// How far the device could be relied on when it was granted.
    pub trust_level: TrustLevel,
    /// The policy that permits it.
    pub said: Arc<Said>,
    /// When it ends at the latest.
    pub expires_at: WallTime,
}

/// A wish that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which one.
    pub id: TrustId,
    /// Why.
    pub denial: Denial,
    /// What the policy said, if one decided.
    pub said: Option<Arc<Said>>,
}

/// Names a delegation or an elevation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustId(Arc<str>);

impl TrustId {
    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TrustId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for TrustId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Program;

    #[test]
    fn a_consent_covers_its_program_with_its_content_and_its_scope_only() {
        let consent = Delegation {
            program: PinnedProgram {
                path: "/opt/agents/reader".into(),
                sha256: "ab".into(),
            },
            scope: BTreeSet::from(["wiki".into()]),
            reason: None,
            duration: Duration::from_secs(60),
        };
        let covers = |path: &str, sha256: Option<&str>, resource: &str| {
            let program = Program {
                path: path.into(),
                user: Some(1000),
                sha256: sha256.map(str::to_owned),
                ancestors: vec!["/bin/sh".into()],
            };
            consent.covers(&Workload::Known(Arc::new(program)), &resource.into())
        };

        assert!(covers("/opt/agents/reader", Some("ab"), "wiki"));
        assert!(!covers("/opt/agents/reader", Some("cd"), "wiki"));
        assert!(!covers("/opt/agents/reader", None, "wiki"));
        assert!(!covers("/opt/agents/other", Some("ab"), "wiki"));
        assert!(!covers("/opt/agents/reader", Some("ab"), "payroll"));
        assert!(!consent.covers(&Workload::Unknown, &"wiki".into()));
    }
}

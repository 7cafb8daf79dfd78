//! Who is using this device, and for how long.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::access::Workload;
use crate::time::{Moment, WallTime};

/// A person, as the identity provider describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The provider.
    pub issuer: Arc<str>,
    /// The provider's stable identifier for the person.
    pub subject: Arc<str>,
    /// The name for people.
    pub name: Option<Arc<str>>,
    /// The e-mail address.
    pub email: Option<Arc<str>>,
    /// The groups that the provider asserted.
    pub groups: Vec<Arc<str>>,
}

/// A person on this host, as the control plane admitted them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Names the session.
    pub id: SessionId,
    /// Whose session it is.
    pub person: Arc<Person>,
    /// Whose programs it carries.
    pub owner: Owner,
    /// The addresses that the tunnel speaks from.
    pub addresses: Arc<[IpAddr]>,
    /// When the session ends at the latest.
    pub expires_at: Moment,
    /// The same, for people.
    pub expires_wall: WallTime,
    /// How sure the identity provider is of the person, where it has said so since.
    pub assurance: Option<Arc<Assurance>>,
}

/// Whose programs a session carries: those of the person who signed in, and nobody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Everybody's: the administrator signed in, for the machine as a whole, or the system
    /// does not number its users.
    Machine,
    /// Those of the user with this number, and the administrator's, who could be anybody.
    User(u32),
}

impl Owner {
    /// Returns the owner of a session that the given user asks for.
    #[must_use]
    pub fn of(user: Option<u32>) -> Self {
        match user {
            None | Some(ADMINISTRATOR) => Self::Machine,
            Some(user) => Self::User(user),
        }
    }

    /// Returns whether the session carries what `workload` opens. Of a program whose user is
    /// not known nobody can say whose it is; of one that is only asked about, it does not matter.
    #[must_use]
    pub fn admits(self, workload: &Workload) -> bool {
        let Self::User(owner) = self else {
            return true;
        };
        match workload.user() {
            Some(user) => user == owner || user == ADMINISTRATOR,
            None => matches!(workload, Workload::Supposed(_)),
        }
    }
}

/// The administrator's number on systems that have such numbers.
const ADMINISTRATOR: u32 = 0;

/// A level of assurance in the words of the framework that defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assurance {
    /// The framework, as in `NIST-AAL`.
    pub namespace: Arc<str>,
    /// The level in it, as in `nist-aal2`.
    pub level: Arc<str>,
}

impl Session {
    /// Shortens the session to `limit` from `now` if it would last longer.
    pub(crate) fn limit(&mut self, limit: Duration, now: Moment) {
        let latest = now + limit;
        if latest < self.expires_at {
            let cut = self.expires_at.since(latest);
            let millis = u64::try_from(cut.as_millis()).unwrap_or(u64::MAX);
            self.expires_wall =
                WallTime::from_unix_millis(self.expires_wall.unix_millis().saturating_sub(millis));
            self.expires_at = latest;
        }
    }
}

/// Identifies a session, which lasts from signing in to signing out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SessionId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies this installation, whose key stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(Arc<str>);

impl HostId {
    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for HostId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Program;

    #[test]
    fn a_session_carries_its_owners_programs_and_the_administrators() {
        for (user, workload, is_carried) in [
            (Some(1000), known(Some(1000)), true),
            (Some(1000), known(Some(0)), true),
            (Some(1000), known(Some(1001)), false),
            (Some(1000), known(None), false),
            (Some(1000), Workload::UnknownOf(1000), true),
            (Some(1000), Workload::UnknownOf(1001), false),
            (Some(1000), Workload::Unknown, false),
            (Some(1000), Workload::Supposed(program(None)), true),
            (Some(0), known(Some(1001)), true),
            (Some(0), Workload::Unknown, true),
            (None, Workload::Unknown, true),
        ] {
            let owner = Owner::of(user);

            assert_eq!(
                owner.admits(&workload),
                is_carried,
                "{owner:?} {workload:?}"
            );
        }
    }

    fn known(user: Option<u32>) -> Workload {
        Workload::Known(program(user))
    }

    fn program(user: Option<u32>) -> Arc<Program> {
        Arc::new(Program {
            path: "/usr/bin/curl".into(),
            user,
            sha256: None,
            ancestors: Vec::new(),
        })
    }
}

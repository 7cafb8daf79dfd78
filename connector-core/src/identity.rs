//! Who is using this device, and for how long.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

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
    /// The addresses that the tunnel speaks from.
    pub addresses: Vec<IpAddr>,
    /// When the session ends at the latest.
    pub expires_at: Moment,
    /// The same, for people.
    pub expires_wall: WallTime,
    /// How sure the identity provider is of the person, where it has said so since.
    pub assurance: Option<Arc<Assurance>>,
}

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

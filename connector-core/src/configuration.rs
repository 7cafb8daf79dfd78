//! The signed configuration: what the company offers and requires.

mod document;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::catalogue::Catalogue;
use crate::jws::{InvalidSignature, PublicKey};
use crate::name::DomainName;
use crate::posture::{Check, CheckId};
use crate::time::{Moment, Now};

pub use self::document::{
    Document, RawCheck, RawGateway, RawIdentity, RawOrganisation, RawPorts, RawPosture,
    RawResource, RawSession, RawSignals, RawSite,
};
pub use self::policy::{
    Ledger, PdpProtocol, PolicyMode, PolicyPlan, RawPermguard, RawPolicy, RemotePdp, UnknownMode,
};

/// A verified and parsed configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Counts changes; never goes back.
    pub version: Version,
    /// When the document stops being good.
    pub expires_at: Moment,
    /// Whose configuration this is.
    pub organisation: Organisation,
    /// Where people sign in.
    pub identity: IdentityProvider,
    /// Who decides.
    pub policy: Arc<PolicyPlan>,
    /// When sessions end.
    pub session: SessionLimits,
    /// The protected applications, and where they live.
    pub catalogue: Arc<Catalogue>,
    /// What is measured about the device.
    pub posture: PosturePlan,
    /// Who says when access ends, if anybody does.
    pub signals: Option<Signals>,
}

/// The company that manages this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// What people call it.
    pub name: Arc<str>,
    /// Where its people get help, as an address or a sentence.
    pub support: Option<Arc<str>>,
}

/// An OpenID provider, and this product's registration with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityProvider {
    /// The provider's issuer identifier.
    pub issuer: Url,
    /// The public client that the connector is registered as.
    pub client_id: Arc<str>,
    /// The scopes to ask for; `openid` is always among them.
    pub scopes: Vec<Arc<str>>,
}

/// A transmitter of security events (OpenID Shared Signals Framework 1.0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signals {
    /// The transmitter's issuer identifier; nobody else's events count.
    pub issuer: Url,
    /// How long the transmitter may stay silent before nothing is permitted any more.
    pub lease: Duration,
}

/// The two clocks that end a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Ends this long after the last use.
    pub idle: Duration,
    /// Ends this long after signing in.
    pub absolute: Duration,
}

/// What to measure: checks by name from the built-in set, and checks in full.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PosturePlan {
    /// Checks of the built-in set.
    pub builtin: Vec<CheckId>,
    /// Checks that the company wrote.
    pub checks: Vec<Check>,
}

impl PosturePlan {
    /// Returns every check to measure. A built-in check that does not exist
    /// here stays in the list without a query, so that its finding is unknown.
    #[must_use]
    pub fn resolve(&self, builtin: &[Check]) -> Vec<Check> {
        let named = self.builtin.iter().map(|id| {
            let found = builtin.iter().find(|check| check.id == *id).cloned();
            found.unwrap_or_else(|| Check::unavailable(id.clone()))
        });
        named.chain(self.checks.iter().cloned()).collect()
    }
}

/// Counts changes of a configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What the administrator fixed on this device, which no document can lift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The company's policy key.
    pub key: PublicKey,
    /// The DNS suffixes that the company may claim.
    pub suffixes: Vec<DomainName>,
}

impl Trust {
    /// Verifies `jws` and parses it into a configuration.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if the signature, the version, the expiry or the content
    /// cannot be accepted; the configuration in force then stays in force.
    pub fn accept(&self, jws: &str, floor: Version, now: Now) -> Result<Configuration, Rejected> {
        let payload = self.key.verify(jws, DOCUMENT_TYPE)?;
        let document: Document =
            serde_json::from_slice(&payload).map_err(|error| Rejected::Malformed {
                error: error.to_string(),
            })?;

        let version = Version(document.version);
        if version < floor {
            return Err(Rejected::OlderVersion { version, floor });
        }
        document.parse(&self.suffixes, now)
    }
}

/// Why a configuration was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Signed, but past its expiry.
    #[error(
        "the configuration (version {version}) expired; check this device's clock and the control plane"
    )]
    Expired {
        /// The document's version.
        version: Version,
    },
    /// Signed, but a value breaks a rule.
    #[error("the configuration's {path} is not acceptable: {problem}")]
    Invalid {
        /// The member, as in `resources[wiki].names`.
        path: String,
        /// What is wrong with which value.
        problem: String,
    },
    /// Signed, but not a configuration document.
    #[error("the configuration cannot be read: {error}")]
    Malformed {
        /// What the JSON parser says.
        error: String,
    },
    /// Signed, but older than one that was accepted before.
    #[error(
        "the configuration has version {version}, but version {floor} was already accepted; versions never go back"
    )]
    OlderVersion {
        /// The document's version.
        version: Version,
        /// The highest version accepted so far.
        floor: Version,
    },
    /// Not signed by the pinned key.
    #[error("the configuration is refused: {0}")]
    Signature(#[from] InvalidSignature),
}

/// The `typ` of a signed configuration.
pub const DOCUMENT_TYPE: &str = "ztna-configuration+jws";

//! The control-plane API on the wire; `docs/control-plane.openapi.yaml` describes it.

mod requests;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::audit::chain::LogId;
use crate::network::Prefix;

pub use self::requests::{
    GrantAction, GrantAnswer, GrantContext, GrantEntity, GrantRequest, GrantStatus, GrantTask,
    GrantTasks, GrantTerms, MAX_REASON, is_reason,
};

/// Where a control plane is discovered, below its base URL.
pub const DISCOVERY_PATH: &str = ".well-known/ztna-control-plane";

/// The `typ` of an assertion by which a host or a session proves its key.
pub const ASSERTION_TYPE: &str = "ztna-assertion+jwt";

/// The media type of lines of the decision log.
pub const RECORDS_TYPE: &str = "application/x-ndjson";

/// The `typ` of an enrolment proof.
pub const ENROLMENT_TYPE: &str = "ztna-enrolment+jwt";

/// The discovery document: where each endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    /// The base URL that the document was asked for under; must be equal.
    pub control_plane: Url,
    /// `POST`: returns a [`Challenge`].
    pub challenge_endpoint: Url,
    /// `POST` an [`Enrolment`]: returns [`Enrolled`].
    pub host_endpoint: Url,
    /// `POST` a [`SessionRequest`]: returns [`SessionGrant`]. `DELETE` below it ends a session.
    pub session_endpoint: Url,
    /// `GET`: returns the signed configuration; `ETag`, `If-None-Match` and `?wait=SECONDS`.
    pub configuration_endpoint: Url,
    /// `POST` lines of the decision log: returns [`RecordsAccepted`]. None where nobody takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_endpoint: Option<Url>,
    /// `GET`: returns the signed head of the policy store, like the configuration. None where there is no store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_head_endpoint: Option<Url>,
    /// `POST` [`ObjectsRequest`]: returns objects of the policy store, as a pack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_objects_endpoint: Option<Url>,
    /// `POST` a [`GrantRequest`]: returns [`GrantAnswer`]. `GET`: returns the session's [`GrantTasks`]. None where
    /// nobody can ask for access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_request_endpoint: Option<Url>,
}

/// Asks for objects of the policy store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectsRequest {
    /// Their names.
    pub objects: Vec<String>,
}

/// A one-time value that a proof has to contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The value.
    pub challenge: String,
    /// Seconds until it lapses.
    pub expires_in: u64,
}

/// A request to admit a host key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The host's Ed25519 public key in base64url.
    pub public_key: String,
    /// What people call the device.
    pub name: String,
    /// The operating system, as in `linux`.
    pub os: String,
    /// The administrator's one-time token, where the control plane asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A JWS of type [`ENROLMENT_TYPE`] over [`EnrolmentProof`], by the host key.
    pub proof: String,
}

/// What the host key signs to enrol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentProof {
    /// The control plane's base URL.
    pub aud: String,
    /// The value from [`Challenge`].
    pub challenge: String,
}

/// The answer to an [`Enrolment`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Names the host from here on.
    pub host_id: String,
}

/// The claims of an assertion, sent as `Authorization: Bearer`. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertion {
    /// The host or session id whose key signs.
    pub iss: String,
    /// The control plane's base URL.
    pub aud: String,
    /// When it was made.
    pub iat: u64,
    /// When it lapses, at most 120 s later.
    pub exp: u64,
    /// Makes it unique.
    pub jti: String,
}

/// A request for a session: this person, on this host, with these keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRequest {
    /// The OpenID provider's ID token.
    pub id_token: String,
    /// The session's Ed25519 public key in base64url.
    pub session_key: String,
    /// The tunnel's Curve25519 public key in base64, as `wg` prints it.
    pub wireguard_key: String,
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionGrant {
    /// Names the session.
    pub session_id: String,
    /// The addresses that the tunnel speaks from.
    pub addresses: Vec<IpAddr>,
    /// Seconds until the session ends at the latest.
    pub expires_in: u64,
}

/// How far the control plane has the lines of a host's decision log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsAccepted {
    /// The log.
    pub log: LogId,
    /// The number of the last line up to which it has every one, or knows that it is gone.
    pub through: u64,
}

/// An error that the control plane explains (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What happened, in a few words.
    pub title: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Returns whether secrets may be sent to `url`: HTTPS, or HTTP to a loopback
/// address written as a number.
#[must_use]
pub fn is_secure(url: &Url) -> bool {
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    plain
        && match (url.scheme(), url.host()) {
            ("https", Some(_)) => true,
            ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
            ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
            _ => false,
        }
}

/// Returns whether a tunnel may speak from `address`.
#[must_use]
pub fn is_assignable(address: IpAddr) -> bool {
    Prefix::host(address).reserved().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_travel_over_https_or_stay_on_this_machine() {
        for url in [
            "https://cp.example/",
            "http://127.0.0.1:1/",
            "http://[::1]:1/base/",
        ] {
            assert!(is_secure(&url.parse().unwrap()), "{url}");
        }
        for url in [
            "http://cp.example/",
            "http://localhost/",
            "http://10.0.0.1/",
            "ftp://127.0.0.1/",
            "https://user@cp.example/",
            "https://u:p@cp.example/",
            "https://cp.example/#x",
            "unix:/run/x",
        ] {
            assert!(!is_secure(&url.parse().unwrap()), "{url}");
        }
    }
}

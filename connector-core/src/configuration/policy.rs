//! Who decides: the document's `policy` member.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Rejected;
use super::document::{invalid, secure_url};

/// Who decides about flows, and how they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyPlan {
    /// Which of the two ways to decide is taken.
    pub mode: PolicyMode,
    /// The decision points in the network, unless nobody there is asked.
    pub remote: Option<RemotePdp>,
}

impl PolicyPlan {
    /// Returns the plan to ask the AuthZEN decision point at `base` and nobody else.
    #[must_use]
    pub fn remote(base: Url) -> Self {
        Self {
            mode: PolicyMode::Remote,
            remote: Some(RemotePdp {
                protocol: PdpProtocol::AuthZen,
                first: base,
                second: None,
            }),
        }
    }
}

/// Where decisions are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PolicyMode {
    /// On this device alone, by the policy store.
    Proximity,
    /// On this device first; what it leaves open is asked remotely.
    ProximityThenRemote,
    /// By a decision point in the network alone.
    #[default]
    Remote,
}

impl PolicyMode {
    /// Returns the mode as documents and settings write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proximity => "proximity",
            Self::ProximityThenRemote => "proximity-then-remote",
            Self::Remote => "remote",
        }
    }
}

impl fmt::Display for PolicyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PolicyMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        [Self::Proximity, Self::ProximityThenRemote, Self::Remote]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or(UnknownMode)
    }
}

/// A mode that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write remote, proximity or proximity-then-remote")]
pub struct UnknownMode;

/// Decision points in the network; the second is asked when the first is slow or away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePdp {
    /// What both of them speak.
    pub protocol: PdpProtocol,
    /// The base URL of the first.
    pub first: Url,
    /// The base URL of the second, if there is one.
    pub second: Option<Url>,
}

/// What a decision point speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PdpProtocol {
    /// OpenID AuthZEN Authorization API 1.0 over HTTP.
    AuthZen,
    /// Permguard's gRPC, by the policies of one ledger.
    Permguard(Ledger),
}

/// Where Permguard keeps the policies that decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The zone's number.
    pub zone: i64,
    /// The ledger's id.
    pub id: Arc<str>,
}

/// Who decides.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RawPolicy {
    /// `remote` unless told, `proximity` or `proximity-then-remote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// What the decision points speak: `authzen` unless told, or `permguard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The base URL of the policy decision point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pdp: Option<String>,
    /// The base URL of a second one, which is asked when the first is slow or away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_pdp: Option<String>,
    /// Which policies decide, for the kind `permguard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permguard: Option<RawPermguard>,
}

/// Where Permguard keeps the policies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawPermguard {
    /// The zone's number.
    pub zone: i64,
    /// The ledger's id.
    pub ledger: String,
}

impl RawPolicy {
    /// Returns the member that names an AuthZEN decision point and nothing else.
    #[must_use]
    pub fn remote(pdp: impl Into<String>) -> Self {
        Self {
            pdp: Some(pdp.into()),
            ..Self::default()
        }
    }

    pub(super) fn parse(self) -> Result<PolicyPlan, Rejected> {
        let mode = match &self.mode {
            None => PolicyMode::default(),
            Some(text) => text.parse().map_err(|error: UnknownMode| {
                invalid("policy.mode", format!("{text:?} is no mode: {error}"))
            })?,
        };
        let remote = match &self.pdp {
            Some(base) => Some(RemotePdp {
                protocol: self.protocol()?,
                first: base_url("policy.pdp", base)?,
                second: self
                    .second_pdp
                    .as_deref()
                    .map(|base| base_url("policy.second_pdp", base))
                    .transpose()?,
            }),
            None => None,
        };
        match &remote {
            None if mode != PolicyMode::Proximity => Err(invalid(
                "policy.pdp",
                format!("is missing, but the mode is {mode}"),
            )),
            None if self.second_pdp.is_some() => Err(invalid(
                "policy.second_pdp",
                "there is no first one: name it in policy.pdp".to_owned(),
            )),
            Some(remote) if remote.second.as_ref() == Some(&remote.first) => Err(invalid(
                "policy.second_pdp",
                format!("{} is the first one already", remote.first),
            )),
            Some(_) | None => Ok(PolicyPlan { mode, remote }),
        }
    }

    fn protocol(&self) -> Result<PdpProtocol, Rejected> {
        match (self.kind.as_deref(), &self.permguard) {
            (None | Some("authzen"), None) => Ok(PdpProtocol::AuthZen),
            (Some("permguard"), Some(raw)) => raw.parse().map(PdpProtocol::Permguard),
            (Some("permguard"), None) => Err(invalid(
                "policy.permguard",
                "is missing: name the zone and the ledger whose policies decide".to_owned(),
            )),
            (None | Some("authzen"), Some(_)) => Err(invalid(
                "policy.permguard",
                "is for the kind \"permguard\" only".to_owned(),
            )),
            (Some(other), _) => Err(invalid(
                "policy.kind",
                format!("{other:?} is none of authzen, permguard"),
            )),
        }
    }
}

impl RawPermguard {
    fn parse(&self) -> Result<Ledger, Rejected> {
        if !ZONES.contains(&self.zone) {
            return Err(invalid(
                "policy.permguard.zone",
                format!("{} is not within 1 and {}", self.zone, ZONES.end()),
            ));
        }
        let is_id = (1..=256).contains(&self.ledger.len())
            && self.ledger.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_id {
            return Err(invalid(
                "policy.permguard.ledger",
                format!("{:?} is no ledger's id", self.ledger),
            ));
        }
        Ok(Ledger {
            zone: self.zone,
            id: self.ledger.as_str().into(),
        })
    }
}

/// Parses the URL that paths are appended to.
fn base_url(path: &str, text: &str) -> Result<Url, Rejected> {
    let url = secure_url(path, text)?;
    match url.query() {
        None => Ok(url),
        Some(_) => Err(invalid(path, format!("{text:?}: a base URL has no query"))),
    }
}

/// Permguard numbers zones with up to twelve digits.
const ZONES: std::ops::RangeInclusive<i64> = 1..=999_999_999_999;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_that_names_a_decision_point_and_nothing_else_means_what_it_always_meant() {
        let plan = parse(&json!({"pdp": "https://pdp.test/a"})).unwrap();

        assert_eq!(
            plan,
            PolicyPlan::remote("https://pdp.test/a".parse().unwrap())
        );
        let written = serde_json::to_value(RawPolicy::remote("https://pdp.test/a")).unwrap();
        assert_eq!(written, json!({"pdp": "https://pdp.test/a"}));
    }

    #[test]
    fn each_way_to_decide_can_be_named() {
        let plan = parse(&json!({
            "mode": "proximity-then-remote", "kind": "permguard", "pdp": "https://a.test",
            "second_pdp": "https://b.test", "permguard": {"zone": 273165098782_i64, "ledger": "f81a"}
        }))
        .unwrap();

        assert_eq!(plan.mode, PolicyMode::ProximityThenRemote);
        let remote = plan.remote.unwrap();
        assert_eq!(remote.second.unwrap().as_str(), "https://b.test/");
        let ledger = Ledger {
            zone: 273_165_098_782,
            id: "f81a".into(),
        };
        assert_eq!(remote.protocol, PdpProtocol::Permguard(ledger));
        let alone = parse(&json!({"mode": "proximity"})).unwrap();
        assert_eq!(alone.remote, None);
    }

    #[test]
    fn a_member_that_cannot_be_meant_is_refused_by_name() {
        for (raw, path) in [
            (json!({}), "policy.pdp"),
            (json!({"mode": "remote"}), "policy.pdp"),
            (json!({"mode": "proximity-then-remote"}), "policy.pdp"),
            (
                json!({"mode": "off", "pdp": "https://a.test"}),
                "policy.mode",
            ),
            (json!({"pdp": "http://a.test"}), "policy.pdp"),
            (json!({"pdp": "https://a.test/?x"}), "policy.pdp"),
            (
                json!({"pdp": "https://a.test", "kind": "opa"}),
                "policy.kind",
            ),
            (
                json!({"pdp": "https://a.test", "kind": "permguard"}),
                "policy.permguard",
            ),
            (
                json!({"pdp": "https://a.test", "permguard": {"zone": 1, "ledger": "x"}}),
                "policy.permguard",
            ),
            (
                json!({"pdp": "https://a.test", "kind": "permguard", "permguard": {"zone": 0, "ledger": "x"}}),
                "policy.permguard.zone",
            ),
            (
                json!({"pdp": "https://a.test", "kind": "permguard", "permguard": {"zone": 1, "ledger": "a b"}}),
                "policy.permguard.ledger",
            ),
            (
                json!({"pdp": "https://a.test", "second_pdp": "ftp://b.test"}),
                "policy.second_pdp",
            ),
            (
                json!({"pdp": "https://a.test", "second_pdp": "https://a.test/"}),
                "policy.second_pdp",
            ),
            (
                json!({"mode": "proximity", "second_pdp": "https://b.test"}),
                "policy.second_pdp",
            ),
        ] {
            let problem = parse(&raw).unwrap_err().to_string();

            let named = format!("the configuration's {path} is not acceptable");
            assert!(problem.starts_with(&named), "{raw}: {problem}");
        }
    }

    fn parse(raw: &serde_json::Value) -> Result<PolicyPlan, Rejected> {
        let raw = RawPolicy::deserialize(raw);
        raw.unwrap_or_else(|error| panic!("{error}")).parse()
    }
}

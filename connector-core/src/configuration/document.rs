//! The configuration as it is written on the wire, and its conversion.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    Configuration, IdentityProvider, Organisation, PosturePlan, RawPolicy, Rejected, SessionLimits,
    Signals, Version,
};
use crate::catalogue::{Catalogue, Endpoint, Gateway, Ports, Resource, Site};
use crate::name::{DomainName, NamePattern};
use crate::network::Prefix;
use crate::posture::{Check, Platform};
use crate::time::Now;

/// The payload of a signed configuration. Times are Unix seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// Counts changes; never goes back.
    pub version: u64,
    /// When the document was signed.
    pub issued_at: u64,
    /// When the document stops being good.
    pub expires_at: u64,
    /// The company.
    pub organisation: RawOrganisation,
    /// Where people sign in.
    pub identity: RawIdentity,
    /// Who decides.
    pub policy: RawPolicy,
    /// When sessions end.
    pub session: RawSession,
    /// The networks behind gateways.
    pub sites: Vec<RawSite>,
    /// The protected applications.
    pub resources: Vec<RawResource>,
    /// What is measured about the device.
    pub posture: RawPosture,
    /// Who says when access ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<RawSignals>,
}

/// The company.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawOrganisation {
    /// What people call it.
    pub name: String,
    /// Where its people get help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support: Option<String>,
}

/// Where people sign in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawIdentity {
    /// The OpenID provider's issuer identifier.
    pub issuer: String,
    /// The public client that the connector is registered as.
    pub client_id: String,
    /// The scopes to ask for.
    pub scopes: Vec<String>,
}

/// A transmitter of security events.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawSignals {
    /// The transmitter's issuer identifier.
    pub issuer: String,
    /// Seconds that it may stay silent, 300 unless told.
    #[serde(default = "default_lease")]
    pub lease_seconds: u64,
}

/// When sessions end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawSession {
    /// Seconds after the last use.
    pub idle_seconds: u64,
    /// Seconds after signing in.
    pub absolute_seconds: u64,
}

/// A network behind gateways.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawSite {
    /// Names the site.
    pub id: String,
    /// Its name servers, reached through the tunnel.
    pub resolvers: Vec<IpAddr>,
    /// Its gateways in the order in which they are tried.
    pub gateways: Vec<RawGateway>,
}

/// A WireGuard gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawGateway {
    /// Names the gateway.
    pub id: String,
    /// Where it listens, as `ADDRESS:PORT` or `NAME:PORT`.
    pub endpoint: String,
    /// Its Curve25519 public key in base64, as `wg` prints it.
    pub public_key: String,
    /// The inner prefixes that it may send from.
    pub allowed_ips: Vec<String>,
}

/// A protected application.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawResource {
    /// Names it in policies and records.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// The names it is reached by: exact, or `*.` and a suffix.
    #[serde(default)]
    pub names: Vec<String>,
    /// The prefixes it is reached by, inside its site.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// The ports it offers.
    pub ports: RawPorts,
    /// The site where it lives.
    pub site: String,
    /// Seconds that one permit may be relied on, 300 unless told.
    #[serde(default = "default_lease")]
    pub lease_seconds: u64,
}

/// Ports, each as `80` or `8000-8099`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RawPorts {
    /// TCP ports.
    #[serde(default)]
    pub tcp: Vec<String>,
    /// UDP ports.
    #[serde(default)]
    pub udp: Vec<String>,
}

/// What is measured about the device.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RawPosture {
    /// Checks of the built-in set, by id.
    #[serde(default)]
    pub builtin: Vec<String>,
    /// Checks that the company wrote.
    #[serde(default)]
    pub checks: Vec<RawCheck>,
}

/// A check in full.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawCheck {
    /// Names it in policies and records.
    pub id: String,
    /// What should be true, for people.
    pub title: String,
    /// The query by platform: `linux`, `darwin`, `windows`.
    pub sql: BTreeMap<String, String>,
    /// What the person does when it fails.
    pub remedy: String,
    /// Seconds between measurements.
    pub interval_seconds: u64,
    /// Seconds that a finding is relied on.
    pub max_age_seconds: u64,
}

impl Document {
    pub(super) fn parse(
        self,
        suffixes: &[DomainName],
        now: Now,
    ) -> Result<Configuration, Rejected> {
        let version = Version(self.version);
        let lifetime = self
            .expires_at
            .checked_sub(now.wall.unix_seconds())
            .filter(|seconds| *seconds > 0)
            .ok_or(Rejected::Expired { version })?;

        let sites = self
            .sites
            .into_iter()
            .map(RawSite::parse)
            .collect::<Result<Vec<_>, _>>()?;
        let resources = self
            .resources
            .into_iter()
            .map(|resource| resource.parse(suffixes, &sites))
            .collect::<Result<Vec<_>, _>>()?;
        unique(
            "resources",
            resources.iter().map(|resource| resource.id.as_str()),
        )?;
        unique("sites", sites.iter().map(|site| site.id.as_str()))?;

        Ok(Configuration {
            version,
            expires_at: now.moment + Duration::from_secs(lifetime),
            organisation: Organisation {
                name: self.organisation.name.into(),
                support: self.organisation.support.map(Arc::from),
            },
            identity: self.identity.parse()?,
            policy: Arc::new(self.policy.parse()?),
            session: self.session.parse()?,
            catalogue: Arc::new(Catalogue::new(resources, sites)),
            posture: self.posture.parse()?,
            signals: self.signals.map(|signals| signals.parse()).transpose()?,
        })
    }
}

impl RawIdentity {
    fn parse(self) -> Result<IdentityProvider, Rejected> {
        let mut scopes: Vec<Arc<str>> = self.scopes.into_iter().map(Arc::from).collect();
        if !scopes.iter().any(|scope| &**scope == "openid") {
            scopes.insert(0, "openid".into());
        }
        Ok(IdentityProvider {
            issuer: secure_url("identity.issuer", &self.issuer)?,
            client_id: self.client_id.into(),
            scopes,
        })
    }
}

impl RawSignals {
    fn parse(&self) -> Result<Signals, Rejected> {
        let issuer = secure_url("signals.issuer", &self.issuer)?;
        if issuer.query().is_some() {
            let problem = format!("{:?}: an issuer has no query", self.issuer);
            return Err(invalid("signals.issuer", problem));
        }
        if !(MIN_SILENCE..=MAX_SILENCE).contains(&self.lease_seconds) {
            let problem = format!(
                "{} is not within {MIN_SILENCE} and {MAX_SILENCE}",
                self.lease_seconds
            );
            return Err(invalid("signals.lease_seconds", problem));
        }
        Ok(Signals {
            issuer,
            lease: Duration::from_secs(self.lease_seconds),
        })
    }
}

impl RawSession {
    fn parse(&self) -> Result<SessionLimits, Rejected> {
        let seconds = |path: &str, seconds: u64| {
            if (60..=30 * 86_400).contains(&seconds) {
                Ok(Duration::from_secs(seconds))
            } else {
                Err(invalid(
                    path,
                    format!("{seconds} is not within 60 and 2592000"),
                ))
            }
        };
        Ok(SessionLimits {
            idle: seconds("session.idle_seconds", self.idle_seconds)?,
            absolute: seconds("session.absolute_seconds", self.absolute_seconds)?,
        })
    }
}

impl RawSite {
    fn parse(self) -> Result<Site, Rejected> {
        let path = format!("sites[{}]", self.id);
        for resolver in &self.resolvers {
            routable(&format!("{path}.resolvers"), Prefix::host(*resolver))?;
        }
        if self.gateways.is_empty() {
            return Err(invalid(
                &path,
                "a site needs at least one gateway".to_owned(),
            ));
        }
        unique(
            &format!("{path}.gateways"),
            self.gateways.iter().map(|gateway| &gateway.id),
        )?;
        let gateways = self
            .gateways
            .into_iter()
            .map(|gateway| gateway.parse(&path))
            .collect::<Result<_, _>>()?;
        Ok(Site {
            id: self.id.as_str().into(),
            resolvers: self.resolvers,
            gateways,
        })
    }
}

impl RawGateway {
    fn parse(self, site: &str) -> Result<Gateway, Rejected> {
        let path = format!("{site}.gateways[{}]", self.id);
        let public_key = STANDARD
            .decode(&self.public_key)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| {
                let problem = format!("{:?} is not 32 bytes in base64", self.public_key);
                invalid(&format!("{path}.public_key"), problem)
            })?;
        let endpoint: Endpoint = self
            .endpoint
            .parse()
            .map_err(|error| invalid(&format!("{path}.endpoint"), format!("{error}")))?;
        Ok(Gateway {
            id: self.id.as_str().into(),
            endpoint,
            public_key,
            allowed_sources: prefixes(&format!("{path}.allowed_ips"), &self.allowed_ips)?,
        })
    }
}

impl RawResource {
    fn parse(self, suffixes: &[DomainName], sites: &[Site]) -> Result<Resource, Rejected> {
        let path = format!("resources[{}]", self.id);
        if !sites.iter().any(|site| site.id.as_str() == self.site) {
            let problem = format!("there is no site {:?}", self.site);
            return Err(invalid(&format!("{path}.site"), problem));
        }
        if !(MIN_LEASE..=MAX_LEASE).contains(&self.lease_seconds) {
            let problem = format!(
                "{} is not within {MIN_LEASE} and {MAX_LEASE}",
                self.lease_seconds
            );
            return Err(invalid(&format!("{path}.lease_seconds"), problem));
        }
        let names = self
            .names
            .iter()
            .map(|name| claimed_name(&format!("{path}.names"), name, suffixes))
            .collect::<Result<_, _>>()?;
        Ok(Resource {
            id: self.id.as_str().into(),
            title: self.title.into(),
            names,
            prefixes: prefixes(&format!("{path}.prefixes"), &self.prefixes)?,
            ports: Ports {
                tcp: ports(&format!("{path}.ports.tcp"), &self.ports.tcp)?,
                udp: ports(&format!("{path}.ports.udp"), &self.ports.udp)?,
            },
            site: self.site.as_str().into(),
            lease: Duration::from_secs(self.lease_seconds),
        })
    }
}

impl RawPosture {
    fn parse(self) -> Result<PosturePlan, Rejected> {
        let checks = self
            .checks
            .into_iter()
            .map(RawCheck::parse)
            .collect::<Result<Vec<_>, _>>()?;
        unique(
            "posture",
            self.builtin
                .iter()
                .map(String::as_str)
                .chain(checks.iter().map(|check| check.id.as_str())),
        )?;
        Ok(PosturePlan {
            builtin: self.builtin.iter().map(|id| id.as_str().into()).collect(),
            checks,
        })
    }
}

impl RawCheck {
    fn parse(self) -> Result<Check, Rejected> {
        let path = format!("posture.checks[{}]", self.id);
        if self.interval_seconds == 0 || self.max_age_seconds < self.interval_seconds {
            let problem = format!(
                "a finding must outlive the interval: interval {} s, age {} s",
                self.interval_seconds, self.max_age_seconds
            );
            return Err(invalid(&path, problem));
        }
        let sql = self
            .sql
            .into_iter()
            .map(|(platform, sql)| {
                let parsed = match platform.as_str() {
                    "darwin" => Platform::Darwin,
                    "linux" => Platform::Linux,
                    "windows" => Platform::Windows,
                    _ => {
                        let problem = format!("{platform:?} is none of linux, darwin, windows");
                        return Err(invalid(&format!("{path}.sql"), problem));
                    }
                };
                Ok((parsed, Arc::from(sql)))
            })
            .collect::<Result<_, _>>()?;
        Ok(Check {
            id: self.id.as_str().into(),
            title: self.title.into(),
            sql,
            remedy: self.remedy.into(),
            interval: Duration::from_secs(self.interval_seconds),
            max_age: Duration::from_secs(self.max_age_seconds),
        })
    }
}

/// Parses a URL that may carry secrets: HTTPS, or HTTP to a loopback address.
pub(super) fn secure_url(path: &str, text: &str) -> Result<Url, Rejected> {
    let problem = match Url::parse(text) {
        Ok(url) if crate::control::is_secure(&url) => return Ok(url),
        Ok(_) => "use https; http is accepted for loopback addresses only".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(invalid(path, format!("{text:?}: {problem}")))
}

fn claimed_name(path: &str, text: &str, suffixes: &[DomainName]) -> Result<NamePattern, Rejected> {
    let pattern: NamePattern = text
        .parse()
        .map_err(|error| invalid(path, format!("{error}")))?;
    if suffixes
        .iter()
        .any(|suffix| pattern.anchor().is_within(suffix))
    {
        Ok(pattern)
    } else {
        let allowed: Vec<_> = suffixes.iter().map(DomainName::as_str).collect();
        let problem = format!(
            "{text:?} is outside the enrolled suffixes ({})",
            allowed.join(", ")
        );
        Err(invalid(path, problem))
    }
}

fn prefixes(path: &str, texts: &[String]) -> Result<Vec<Prefix>, Rejected> {
    texts
        .iter()
        .map(|text| {
            let prefix = text
                .parse()
                .map_err(|error| invalid(path, format!("{error}")))?;
            routable(path, prefix)
        })
        .collect()
}

fn routable(path: &str, prefix: Prefix) -> Result<Prefix, Rejected> {
    match prefix.reserved() {
        Some(range) => Err(invalid(path, format!("{prefix} reaches into {range}"))),
        None => Ok(prefix),
    }
}

fn ports(path: &str, texts: &[String]) -> Result<Vec<RangeInclusive<u16>>, Rejected> {
    texts
        .iter()
        .map(|text| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            match (first.parse::<u16>(), last.parse::<u16>()) {
                (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(first..=last),
                _ => Err(invalid(
                    path,
                    format!("{text:?} is no port: write 443 or 8000-8099"),
                )),
            }
        })
        .collect()
}

fn unique(path: &str, ids: impl Iterator<Item = impl AsRef<str>>) -> Result<(), Rejected> {
    let mut seen = BTreeSet::new();
    for id in ids {
        let id = id.as_ref();
        let well_formed = (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !well_formed {
            let problem = format!("{id:?} is no id: use up to 64 letters, digits, '-', '_' or '.'");
            return Err(invalid(path, problem));
        }
        if !seen.insert(id.to_owned()) {
            return Err(invalid(path, format!("{id:?} appears twice")));
        }
    }
    Ok(())
}

pub(super) fn invalid(path: &str, problem: String) -> Rejected {
    Rejected::Invalid {
        path: path.to_owned(),
        problem,
    }
}

fn default_lease() -> u64 {
    300
}

/// Shorter leases would renew faster than a policy server can be asked.
const MIN_LEASE: u64 = 5;

/// Longer leases would leave a cut-off device connected for too long.
const MAX_LEASE: u64 = 86_400;

/// Shorter silences happen whenever a laptop changes its network.
const MIN_SILENCE: u64 = 5;

/// Longer ones would make revocation a matter of luck.
const MAX_SILENCE: u64 = 900;

#[cfg(test)]
mod tests;

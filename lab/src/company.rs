//! What there is to know about the company: people, sites, resources, rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use connector_core::configuration::{RawOrganisation, RawPosture, RawResource, RawSession};
use connector_core::name::DomainName;
use serde::{Deserialize, Serialize};

use crate::apps::App;

/// A company, as its TOML file describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Company {
    /// The DNS suffixes that the company may claim.
    pub suffixes: Vec<String>,
    /// Seconds that a signed configuration is good for.
    pub configuration_lifetime_seconds: u64,
    /// What the company is called.
    pub organisation: RawOrganisation,
    /// The connector's registration with the identity provider.
    pub identity: Registration,
    /// When sessions end, and the addresses they are given.
    pub session: SessionTerms,
    /// Who can sign in.
    pub people: Vec<Person>,
    /// The networks behind gateways.
    pub sites: Vec<CompanySite>,
    /// The protected applications.
    pub resources: Vec<RawResource>,
    /// Who may reach what.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Files of Cedar beside what the rules amount to, for connectors that decide by themselves.
    #[serde(default)]
    pub policies: BTreeMap<String, String>,
    /// What is measured about devices.
    #[serde(default)]
    pub posture: RawPosture,
}

/// The connector's registration with the identity provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The public client.
    pub client_id: String,
    /// The scopes that it asks for.
    pub scopes: Vec<String>,
}

/// When sessions end, and the addresses they are given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionTerms {
    /// Seconds after the last use.
    pub idle_seconds: u64,
    /// Seconds after signing in.
    pub absolute_seconds: u64,
    /// The IPv4 prefix that inner addresses are taken from.
    pub addresses: String,
}

impl SessionTerms {
    /// Returns the part that connectors are told.
    #[must_use]
    pub fn limits(&self) -> RawSession {
        RawSession {
            idle_seconds: self.idle_seconds,
            absolute_seconds: self.absolute_seconds,
        }
    }
}

/// Somebody who can sign in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The user name, which is also the subject of the ID token.
    pub login: String,
    /// The full name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// The groups that rules speak of.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// A network behind gateways.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompanySite {
    /// Names the site.
    pub id: String,
    /// The prefixes that its gateways may send from.
    pub prefixes: Vec<String>,
    /// Its name server, reached through the tunnel.
    pub resolver: IpAddr,
    /// The gateways that the lab runs, in the order in which they are tried.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// What the name server knows.
    #[serde(default)]
    pub records: BTreeMap<String, IpAddr>,
    /// What runs there.
    #[serde(default)]
    pub applications: Vec<Application>,
}

/// A program behind the gateways.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Which of the lab's programs it is.
    pub app: App,
    /// Where it listens inside the site.
    pub address: SocketAddr,
}

/// Permits the members of groups to reach resources from devices in good state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names the rule in answers and records.
    pub id: String,
    /// One of these groups is needed.
    pub groups: BTreeSet<String>,
    /// The resources that it is about.
    pub resources: BTreeSet<String>,
    /// The checks that have to pass.
    #[serde(default)]
    pub checks: BTreeSet<String>,
    /// The trust level that is needed at least.
    #[serde(default)]
    pub trust_level: Level,
    /// Who can approve that somebody outside of the groups is let in for a time; nobody unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requestable: Option<String>,
    /// Whose context the person has to act in. Only policies on the device can tell: the decision point never
    /// permits by such a rule, and the gateways open to the groups what connectors then narrow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acting_as: Option<String>,
}

/// Permits one person to reach one resource for a time, as an approved request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Names the grant in answers and records.
    pub id: String,
    /// The request.
    pub request: String,
    /// Why the person asked.
    pub reason: String,
    /// The person's subject identifier.
    pub person: String,
    /// The resource that it is about.
    pub resource: String,
    /// The checks that have to pass.
    pub checks: BTreeSet<String>,
    /// The trust level that is needed at least.
    pub trust_level: Level,
    /// When it ends, in Unix seconds.
    pub until: u64,
}

/// How far a device's state can be relied on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is asked of the device.
    #[default]
    Low,
    /// No check fails.
    Medium,
    /// Every check passes.
    High,
}

impl Company {
    /// Reads a company from the text of its TOML file.
    ///
    /// # Errors
    ///
    /// [`InvalidCompany`] with the place and the rule that is broken.
    pub fn parse(text: &str) -> Result<Self, InvalidCompany> {
        let company: Self =
            toml::from_str(text).map_err(|error| InvalidCompany(error.to_string()))?;
        company.suffixes()?;
        check_rules(&company.rules, &company.resources, &company.posture)?;
        if company.sites.is_empty() {
            return Err(InvalidCompany(
                "a company needs at least one [[sites]]".to_owned(),
            ));
        }
        if company.configuration_lifetime_seconds < MIN_LIFETIME {
            return Err(InvalidCompany(format!(
                "configuration_lifetime_seconds = {} is too short; use {MIN_LIFETIME} or more",
                company.configuration_lifetime_seconds
            )));
        }
        Ok(company)
    }

    /// Returns the company that comes with the lab.
    ///
    /// # Panics
    ///
    /// Never: a test reads the same text.
    #[must_use]
    pub fn built_in() -> Self {
        Self::parse(include_str!("../company.toml")).expect("the built-in company is well-formed")
    }

    /// Returns the DNS suffixes that the company may claim.
    ///
    /// # Errors
    ///
    /// [`InvalidCompany`] if one of them is no name.
    pub fn suffixes(&self) -> Result<Vec<DomainName>, InvalidCompany> {
        self.suffixes
            .iter()
            .map(|suffix| {
                suffix
                    .parse()
                    .map_err(|error| InvalidCompany(format!("suffixes: {error}")))
            })
            .collect()
    }

    /// Returns how long a signed configuration is good for.
    #[must_use]
    pub fn configuration_lifetime(&self) -> Duration {
        Duration::from_secs(self.configuration_lifetime_seconds)
    }
}

/// Checks that `rules` speak of resources and checks that exist.
///
/// # Errors
///
/// [`InvalidCompany`] naming the rule and the word that means nothing.
pub fn check_rules(
    rules: &[Rule],
    resources: &[RawResource],
    posture: &RawPosture,
) -> Result<(), InvalidCompany> {
    let mut seen = BTreeSet::new();
    for rule in rules {
        if !seen.insert(&rule.id) {
            return Err(InvalidCompany(format!(
                "rules: {:?} appears twice",
                rule.id
            )));
        }
        for wanted in &rule.resources {
            if !resources.iter().any(|resource| resource.id == *wanted) {
                return Err(InvalidCompany(format!(
                    "rules[{}].resources: there is no resource {wanted:?}",
                    rule.id
                )));
            }
        }
        for wanted in &rule.checks {
            let own = posture.checks.iter().any(|check| check.id == *wanted);
            if !own && !posture.builtin.contains(wanted) {
                return Err(InvalidCompany(format!(
                    "rules[{}].checks: {wanted:?} is not measured; add it to [posture]",
                    rule.id
                )));
            }
        }
    }
    Ok(())
}

/// A company description that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the company cannot be read: {0}")]
pub struct InvalidCompany(String);

/// Shorter-lived configurations would lapse between two long polls.
const MIN_LIFETIME: u64 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_company_is_well_formed() {
        let company = Company::built_in();

        assert_eq!(company.suffixes, ["corp.test"]);
        assert_eq!(company.sites[0].gateways, ["hq-1", "hq-2"]);
    }

    #[test]
    fn a_misspelt_key_and_a_dangling_reference_are_refused() {
        let text = include_str!("../company.toml");
        for (from, to, expected) in [
            ("suffixes =", "sufixes =", "sufixes"),
            ("checks = [\"demo-tool\"]", "checks = [\"x\"]", "\"x\""),
            (
                "resources = [\"payroll\"]",
                "resources = [\"pay\"]",
                "\"pay\"",
            ),
            ("id = \"finance-payroll\"", "id = \"staff-tools\"", "twice"),
            ("app = \"echo\"", "app = \"ecco\"", "ecco"),
            ("= [\"corp.test\"]", "= [\"corp..test\"]", "corp..test"),
        ] {
            assert!(text.contains(from), "{from}");

            let error = Company::parse(&text.replacen(from, to, 1)).unwrap_err();

            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}

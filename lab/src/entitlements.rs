//! What the gateways open to each session, decided without the device.
//!
//! An endpoint is not inside the trust boundary: what a session may reach at all follows from what the company knows
//! by itself, the groups that the identity provider vouches for and the rules. What only the device can tell, its
//! state and the program, stays the decision point's to ask about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use connector_core::access::{Destination, Flow, Protocol, Workload};
use connector_core::catalogue::{Catalogue, Lookup, Ports, Resource, SiteId};
use connector_core::name::DomainName;
use connector_core::network::Prefix;
use tunnel_proto::reach::{Opening, Openings, Reach};

use crate::company::{Grant, Rule};
use crate::peers::Guest;

/// Who may reach what, as far as a gateway can tell; nobody anything, unless told.
#[derive(Debug, Clone, Default)]
pub struct Entitlements {
    catalogue: Arc<Catalogue>,
    basis: Basis,
    grants: Vec<Grant>,
}

/// What entitlements follow from.
#[derive(Debug, Clone)]
pub enum Basis {
    /// The catalogue alone: who may reach which resource is somebody else's decision.
    Catalogue,
    /// These rules: a member of their groups may reach their resources.
    Rules(Vec<Rule>),
}

/// What is behind one site's gateways.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The site.
    pub site: SiteId,
    /// Its name server, which is open to every session.
    pub resolver: IpAddr,
    /// What the name server knows.
    pub records: BTreeMap<DomainName, Vec<IpAddr>>,
}

impl Default for Basis {
    fn default() -> Self {
        Self::Rules(Vec::new())
    }
}

impl Entitlements {
    /// Returns what `basis` grants of the resources of `catalogue`.
    #[must_use]
    pub fn new(catalogue: Arc<Catalogue>, basis: Basis) -> Self {
        Self {
            catalogue,
            basis,
            grants: Vec::new(),
        }
    }

    /// Replaces the rules, if it is rules that decide.
    pub fn set_rules(&mut self, rules: &[Rule]) {
        if let Basis::Rules(current) = &mut self.basis {
            *current = rules.to_vec();
        }
    }

    /// Replaces what is open to single people for a time.
    pub fn set_grants(&mut self, grants: &[Grant]) {
        self.grants = grants.to_vec();
    }

    /// Returns what a session may reach in these surroundings.
    #[must_use]
    pub fn reach(&self, guest: &Guest, surroundings: &Surroundings) -> Reach {
        let resolver = Opening {
            prefix: Prefix::host(surroundings.resolver),
            ports: Ports {
                tcp: vec![DNS..=DNS],
                udp: vec![DNS..=DNS],
            },
            is_open: true,
        };
        let names = surroundings.records.iter().flat_map(|(name, addresses)| {
            let destination = Destination::Name(name.clone());
            let ports = self.open_ports(guest, &surroundings.site, &destination);
            addresses.iter().map(move |address| Opening {
                prefix: Prefix::host(*address),
                ports: ports.clone(),
                is_open: true,
            })
        });
        let own = |resource: &&Arc<Resource>| resource.site == surroundings.site;
        let prefixes = self.catalogue.resources().filter(own).flat_map(|resource| {
            let is_open = self.entitles(guest, resource);
            resource.prefixes.iter().map(move |prefix| Opening {
                prefix: *prefix,
                ports: resource.ports.clone(),
                is_open,
            })
        });
        Reach::Only(Openings::new(
            [resolver].into_iter().chain(names).chain(prefixes),
        ))
    }

    /// Of several resources with the same name, the most specific one that offers a port has it.
    fn open_ports(&self, guest: &Guest, site: &SiteId, destination: &Destination) -> Ports {
        let is_open = |protocol| {
            let flow = Flow {
                destination: destination.clone(),
                protocol,
                workload: Workload::Unknown,
            };
            match self.catalogue.lookup(&flow) {
                Lookup::Offered(resource) => {
                    resource.site == *site && self.entitles(guest, resource)
                }
                Lookup::PortNotOffered(_) | Lookup::Unknown => false,
            }
        };
        let ranges = |of: fn(&Ports) -> &[RangeInclusive<u16>]| {
            let resources = self.catalogue.resources();
            pieces(resources.flat_map(move |resource| of(&resource.ports).iter().cloned()))
        };
        let (tcp, udp) = (ranges(|ports| &ports.tcp), ranges(|ports| &ports.udp));
        Ports {
            tcp: tcp
                .into_iter()
                .filter(|piece| is_open(Protocol::Tcp(*piece.start())))
                .collect(),
            udp: udp
                .into_iter()
                .filter(|piece| is_open(Protocol::Udp(*piece.start())))
                .collect(),
        }
    }

    fn entitles(&self, guest: &Guest, resource: &Resource) -> bool {
        let is_granted =
            |grant: &Grant| grant.person == guest.person && grant.resource == resource.id.as_str();
        match &self.basis {
            Basis::Catalogue => true,
            Basis::Rules(rules) => {
                self.grants.iter().any(is_granted)
                    || rules.iter().any(|rule| {
                        rule.resources.contains(resource.id.as_str())
                            && rule.groups.iter().any(|group| guest.groups.contains(group))
                    })
            }
        }
    }
}

/// Cuts `ranges` where any of them begins or ends, so that no resource offers a part of a piece.
fn pieces(ranges: impl Iterator<Item = RangeInclusive<u16>>) -> Vec<RangeInclusive<u16>> {
    let mut starts = BTreeSet::new();
    for range in ranges {
        starts.insert(*range.start());
        starts.extend(range.end().checked_add(1));
    }
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| *start..=end)
        .collect()
}

const DNS: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_opens_its_resources_to_its_groups_and_nothing_else() {
        let entitlements = entitlements(&[("staff", &["wiki", "files"])]);
        let staff = entitlements.reach(&guest(&["staff"]), &surroundings());
        let guest = entitlements.reach(&guest(&["guests"]), &surroundings());

        assert!(permits(&staff, WIKI, 80));
        assert!(permits(&staff, "10.20.5.9", 445));
        for (address, port) in [
            (WIKI, 81),
            (PAYROLL, 80),
            ("10.20.5.9", 80),
            ("10.20.9.9", 80),
        ] {
            assert!(!permits(&staff, address, port), "{address}:{port}");
        }
        assert!(!permits(&guest, WIKI, 80));
        assert!(permits(&guest, RESOLVER, 53), "names are for every session");
    }

    #[test]
    fn a_narrower_resource_keeps_its_ports_from_a_wider_one() {
        let entitlements = entitlements(&[("staff", &["dev", "files"])]);
        let staff = entitlements.reach(&guest(&["staff"]), &surroundings());

        // `vault` is `vault.dev.corp.test:443` alone, and 10.20.5.7:445.
        assert!(permits(&staff, VAULT, 442));
        assert!(!permits(&staff, VAULT, 443));
        assert!(permits(&staff, VAULT, 444));
        assert!(!permits(&staff, "10.20.5.7", 445));
        assert!(permits(&staff, "10.20.5.8", 445));
    }

    #[test]
    fn without_rules_of_its_own_a_gateway_opens_the_catalogue_and_no_more() {
        let catalogue = Arc::clone(&entitlements(&[]).catalogue);
        let anybody =
            Entitlements::new(catalogue, Basis::Catalogue).reach(&guest(&[]), &surroundings());

        assert!(permits(&anybody, PAYROLL, 80));
        assert!(!permits(&anybody, PAYROLL, 22));
        assert!(!permits(&anybody, "10.20.9.9", 80));
    }

    #[test]
    fn another_sites_resources_are_not_open_here() {
        let entitlements = entitlements(&[("staff", &["wiki", "files"])]);
        let elsewhere = Surroundings {
            site: "branch".into(),
            ..surroundings()
        };

        let staff = entitlements.reach(&guest(&["staff"]), &elsewhere);

        assert!(!permits(&staff, WIKI, 80));
        assert!(!permits(&staff, "10.20.5.9", 445));
    }

    #[test]
    fn nobody_is_entitled_before_anything_is_known() {
        let nobody = Entitlements::default().reach(&guest(&["staff"]), &surroundings());

        assert!(!permits(&nobody, WIKI, 80));
    }

    #[test]
    fn a_grant_opens_one_resource_to_one_person() {
        let mut entitlements = entitlements(&[("finance", &["payroll"])]);
        let grant = Grant {
            id: "request-1".into(),
            request: "request-1".into(),
            reason: "Pay day".into(),
            person: "alice".into(),
            resource: "payroll".into(),
            checks: BTreeSet::new(),
            trust_level: crate::company::Level::Low,
            until: 60,
        };
        let other = Guest {
            person: "bob".into(),
            ..guest(&["staff"])
        };

        entitlements.set_grants(&[grant]);
        let alice = entitlements.reach(&guest(&["staff"]), &surroundings());
        let bob = entitlements.reach(&other, &surroundings());
        entitlements.set_grants(&[]);
        let later = entitlements.reach(&guest(&["staff"]), &surroundings());

        assert!(permits(&alice, PAYROLL, 80));
        assert!(!permits(&alice, WIKI, 80));
        assert!(!permits(&bob, PAYROLL, 80));
        assert!(!permits(&later, PAYROLL, 80));
    }

    fn entitlements(rules: &[(&str, &[&str])]) -> Entitlements {
        let resource = |id: &str, names: &[&str], prefixes: &[&str], tcp| Resource {
            id: id.into(),
            title: id.into(),
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            prefixes: prefixes.iter().map(|it| it.parse().unwrap()).collect(),
            ports: Ports {
                tcp: vec![tcp],
                udp: vec![],
            },
            site: "hq".into(),
            lease: std::time::Duration::from_secs(300),
        };
        let resources = vec![
            resource("wiki", &["wiki.corp.test"], &[], 80..=80),
            resource("payroll", &["payroll.corp.test"], &[], 80..=80),
            resource("dev", &["*.dev.corp.test"], &[], 400..=500),
            resource("files", &[], &["10.20.5.0/24"], 445..=445),
            resource("vault-files", &[], &["10.20.5.7/32"], 445..=445),
            resource("vault", &["vault.dev.corp.test"], &[], 443..=443),
        ];
        let rule = |(group, resources): &(&str, &[&str])| Rule {
            id: (*group).to_owned(),
            groups: groups(&[group]),
            resources: groups(resources),
            checks: BTreeSet::new(),
            trust_level: crate::company::Level::High,
            requestable: None,
            acting_as: None,
        };
        let rules = rules.iter().map(rule).collect();
        Entitlements::new(
            Arc::new(Catalogue::new(resources, vec![])),
            Basis::Rules(rules),
        )
    }

    fn surroundings() -> Surroundings {
        let records = [
            ("wiki.corp.test", WIKI),
            ("payroll.corp.test", PAYROLL),
            ("vault.dev.corp.test", VAULT),
            ("unlisted.corp.test", "10.20.9.9"),
        ];
        Surroundings {
            site: "hq".into(),
            resolver: RESOLVER.parse().unwrap(),
            records: records
                .into_iter()
                .map(|(name, address)| (name.parse().unwrap(), vec![address.parse().unwrap()]))
                .collect(),
        }
    }

    fn permits(reach: &Reach, address: &str, port: u16) -> bool {
        let Reach::Only(openings) = reach else {
            return true;
        };
        openings.permit(address.parse().unwrap(), Protocol::Tcp(port))
    }

    fn guest(names: &[&str]) -> Guest {
        Guest {
            person: "alice".into(),
            addresses: vec![],
            groups: groups(names),
        }
    }

    fn groups(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const WIKI: &str = "10.20.0.10";
    const PAYROLL: &str = "10.20.0.12";
    const VAULT: &str = "10.20.0.14";
    const RESOLVER: &str = "10.20.0.53";
}

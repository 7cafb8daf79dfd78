//! The protected applications, and where they live.

mod endpoint;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::access::{Destination, Flow, Protocol};
use crate::name::{DomainName, NamePattern};
use crate::network::Prefix;

pub use self::endpoint::{Endpoint, InvalidEndpoint};

/// Every resource and site of one configuration, indexed for look-ups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    resources: BTreeMap<ResourceId, Arc<Resource>>,
    sites: BTreeMap<SiteId, Arc<Site>>,

    by_name: BTreeMap<DomainName, Vec<Arc<Resource>>>,
    by_suffix: BTreeMap<DomainName, Vec<Arc<Resource>>>,
    by_prefix: Vec<(Prefix, Arc<Resource>)>,
}

impl Catalogue {
    /// Indexes `resources` and `sites`.
    #[must_use]
    pub fn new(resources: Vec<Resource>, sites: Vec<Site>) -> Self {
        let mut catalogue = Self {
            sites: sites
                .into_iter()
                .map(|site| (site.id.clone(), Arc::new(site)))
                .collect(),
            ..Self::default()
        };
        for resource in resources {
            catalogue.insert(Arc::new(resource));
        }
        catalogue
            .by_prefix
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.length()));
        catalogue
    }

    /// Returns the resource that `flow` wants to reach: the most specific name
    /// or prefix that matches and offers the port.
    #[must_use]
    pub fn lookup(&self, flow: &Flow) -> Lookup<'_> {
        match &flow.destination {
            Destination::Address(address) => {
                let matching = self.by_prefix.iter();
                let matching = matching.filter(|(prefix, _)| prefix.contains(*address));
                offered(matching.map(|(_, resource)| resource), flow.protocol)
            }
            Destination::Name(name) => offered(self.named(name), flow.protocol),
        }
    }

    /// Returns all resources in the order of their ids.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// Returns all sites in the order of their ids.
    pub fn sites(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.sites.values()
    }

    /// Returns one site.
    #[must_use]
    pub fn site(&self, id: &SiteId) -> Option<&Arc<Site>> {
        self.sites.get(id)
    }

    fn named(&self, name: &DomainName) -> impl Iterator<Item = &Arc<Resource>> {
        let exact = self.by_name.get(name).into_iter().flatten();
        let suffixes = std::iter::successors(parent(name.as_str()), |suffix| parent(suffix));
        let below = suffixes
            .filter_map(|suffix| self.by_suffix.get(suffix))
            .flatten();
        exact.chain(below)
    }

    fn insert(&mut self, resource: Arc<Resource>) {
        for pattern in &resource.names {
            let index = match pattern {
                NamePattern::Below(_) => &mut self.by_suffix,
                NamePattern::Exactly(_) => &mut self.by_name,
            };
            index
                .entry(pattern.anchor().clone())
                .or_default()
                .push(Arc::clone(&resource));
        }
        for prefix in &resource.prefixes {
            self.by_prefix.push((*prefix, Arc::clone(&resource)));
        }
        self.resources.insert(resource.id.clone(), resource);
    }
}

/// Returns the first of these that offers a port.
fn offered<'a>(
    mut candidates: impl Iterator<Item = &'a Arc<Resource>>,
    protocol: Protocol,
) -> Lookup<'a> {
    let Some(first) = candidates.next() else {
        return Lookup::Unknown;
    };
    std::iter::once(first)
        .chain(candidates)
        .find(|resource| resource.ports.offer(protocol))
        .map_or(Lookup::PortNotOffered(first), Lookup::Offered)
}

fn parent(name: &str) -> Option<&str> {
    let dot = name.bytes().position(|byte| byte == b'.')?;
    name.get(dot + 1..)
}

/// What a catalogue knows about a flow's destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// This resource offers the port.
    Offered(&'a Arc<Resource>),
    /// This resource has the name, but neither it nor another offers the port.
    PortNotOffered(&'a Arc<Resource>),
    /// No resource has the name or address.
    Unknown,
}

impl<'a> Lookup<'a> {
    /// Returns the resource that has the name, on whatever port.
    #[must_use]
    pub fn resource(self) -> Option<&'a Arc<Resource>> {
        match self {
            Self::Offered(resource) | Self::PortNotOffered(resource) => Some(resource),
            Self::Unknown => None,
        }
    }
}

/// A protected application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Names the resource in policies and records.
    pub id: ResourceId,
    /// What people call it.
    pub title: Arc<str>,
    /// The names it is reached by.
    pub names: Vec<NamePattern>,
    /// The addresses it is reached by, inside its site.
    pub prefixes: Vec<Prefix>,
    /// The ports it offers.
    pub ports: Ports,
    /// Where it lives.
    pub site: SiteId,
    /// How long one permit for it may be relied on.
    pub lease: Duration,
}

/// The ports that a resource offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ports {
    /// TCP ports.
    pub tcp: Vec<RangeInclusive<u16>>,
    /// UDP ports.
    pub udp: Vec<RangeInclusive<u16>>,
}

impl Ports {
    /// Returns whether `protocol` is offered; a ping is by whoever offers any port.
    #[must_use]
    pub fn offer(&self, protocol: Protocol) -> bool {
        let covers =
            |ranges: &[RangeInclusive<u16>], port| ranges.iter().any(|range| range.contains(&port));
        match protocol {
            Protocol::IcmpEcho => !(self.tcp.is_empty() && self.udp.is_empty()),
            Protocol::Tcp(port) => covers(&self.tcp, port),
            Protocol::Udp(port) => covers(&self.udp, port),
        }
    }
}

/// A network behind gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Names the site.
    pub id: SiteId,
    /// The name servers behind the gateways, reached through the tunnel.
    pub resolvers: Vec<IpAddr>,
    /// The gateways in the order in which they are tried.
    pub gateways: Vec<Gateway>,
}

/// A WireGuard gateway in front of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Names the gateway.
    pub id: GatewayId,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Its WireGuard public key (Curve25519).
    pub public_key: [u8; 32],
    /// The inner source addresses that it may send from.
    pub allowed_sources: Vec<Prefix>,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// Identifies a gateway.
    GatewayId
}
text_id! {
    /// Identifies a protected resource.
    ResourceId
}
text_id! {
    /// Identifies a site.
    SiteId
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;
    use crate::access::Workload;

    pub(crate) fn catalogue() -> Catalogue {
        Catalogue::new(
            vec![
                resource("wiki", &["wiki.corp.test"], &[80]),
                resource("admin", &["wiki.corp.test"], &[8443]),
                resource("dev", &["*.dev.corp.test"], &[80]),
                resource("team", &["*.team.dev.corp.test"], &[80]),
            ],
            vec![],
        )
    }

    pub(crate) fn wiki(port: u16) -> Flow {
        flow("wiki.corp.test", port)
    }

    pub(crate) fn flow(name: &str, port: u16) -> Flow {
        Flow {
            destination: Destination::Name(name.parse().unwrap()),
            protocol: Protocol::Tcp(port),
            workload: Workload::Unknown,
        }
    }

    fn resource(id: &str, names: &[&str], ports: &[u16]) -> Resource {
        Resource {
            id: id.into(),
            title: id.into(),
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            prefixes: vec![],
            ports: Ports {
                tcp: ports.iter().map(|port| *port..=*port).collect(),
                udp: vec![],
            },
            site: "hq".into(),
            lease: Duration::from_secs(300),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::{catalogue, flow, wiki};
    use super::*;

    #[test]
    fn two_resources_may_share_a_name_on_different_ports() {
        assert_eq!(found(&wiki(80)).as_deref(), Some("wiki"));
        assert_eq!(found(&wiki(8443)).as_deref(), Some("admin"));
        assert_eq!(found(&wiki(22)), None);
    }

    #[test]
    fn the_most_specific_wildcard_wins() {
        assert_eq!(found(&flow("a.dev.corp.test", 80)).as_deref(), Some("dev"));
        assert_eq!(
            found(&flow("b.a.team.dev.corp.test", 80)).as_deref(),
            Some("team")
        );
    }

    #[test]
    fn a_wildcard_does_not_cover_its_anchor() {
        assert_eq!(
            catalogue().lookup(&flow("dev.corp.test", 80)),
            Lookup::Unknown
        );
    }

    #[test]
    fn a_ping_is_offered_by_whoever_offers_any_port() {
        let offered = |tcp: &[u16], udp: &[u16]| {
            let ranges = |ports: &[u16]| ports.iter().map(|port| *port..=*port).collect();
            let ports = Ports {
                tcp: ranges(tcp),
                udp: ranges(udp),
            };
            ports.offer(Protocol::IcmpEcho)
        };

        assert!(offered(&[80], &[]));
        assert!(offered(&[], &[53]));
        assert!(!offered(&[], &[]));
    }

    fn found(flow: &Flow) -> Option<String> {
        match catalogue().lookup(flow) {
            Lookup::Offered(resource) => Some(resource.id.to_string()),
            Lookup::PortNotOffered(_) | Lookup::Unknown => None,
        }
    }
}

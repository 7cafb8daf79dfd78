//! Where in the tree of names a question lies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use connector_core::access::Concealed;
use connector_core::catalogue::Catalogue;
use connector_core::name::{DomainName, NamePattern};
use connector_core::network::Prefix;

use crate::dns::{QuestionName, Reverse};
use crate::synthetic::SyntheticRange;

/// What names are kept on this machine.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    /// The resources, whose names get addresses.
    pub catalogue: Arc<Catalogue>,
    /// Those of them that are not to be learned of: their names do not exist, and stay here.
    pub concealed: Concealed,
    /// The zones of which no name leaves the machine.
    pub zones: Vec<DomainName>,
    /// Names that are asked about outside although they lie in a zone: those
    /// of gateways, without which there is no tunnel to ask in.
    pub outside: BTreeSet<DomainName>,
    /// Whether the session has an IPv6 address inside the tunnel.
    pub v6: bool,
}

/// The same, arranged for one look-up a question. Names are bytes in lower
/// case here, since questions are not all about names of hosts.
#[derive(Debug, Default)]
pub(super) struct Index {
    zones: BTreeMap<Box<[u8]>, DomainName>,
    /// Zones that resources' names make where no zone covers them.
    anchors: BTreeMap<Box<[u8]>, DomainName>,
    resources: BTreeSet<Box<[u8]>>,
    wildcards: BTreeSet<Box<[u8]>>,
    /// The anchors of wildcards that are not to be learned of.
    concealed: BTreeSet<Box<[u8]>>,
    /// Names below which there are resources.
    parents: BTreeSet<Box<[u8]>>,
    outside: BTreeSet<Box<[u8]>>,
    prefixes: Vec<Prefix>,
    v6: bool,
}

/// A place that questions do not leave the machine about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// There are names below it; denying it would deny those too (RFC 8020).
    Parent { zone: DomainName },
    /// There is nothing.
    Nothing { zone: DomainName },
    /// A resource has this name.
    Resource { name: DomainName, zone: DomainName },
    /// Addresses that we give, or that lie behind gateways.
    Reverse { reverse: Reverse, zone: DomainName },
}

impl Index {
    pub(super) fn new(protection: &Protection) -> Self {
        let mut index = Self {
            zones: protection.zones.iter().map(named).collect(),
            outside: protection.outside.iter().map(bytes).collect(),
            v6: protection.v6,
            ..Self::default()
        };
        for resource in protection.catalogue.resources() {
            index.prefixes.extend(&resource.prefixes);
            let is_concealed = protection.concealed.contains(&resource.id);
            for pattern in &resource.names {
                if is_concealed {
                    index.conceal(pattern);
                } else {
                    index.insert(pattern);
                }
            }
        }
        index.prefixes.sort_unstable();
        index.prefixes.dedup();
        index
    }

    /// Finds where a name lies; `None` if that is none of our business.
    pub(super) fn place(&self, name: &QuestionName, range: &SyntheticRange) -> Option<Place> {
        let text = name.text();
        if let Some(reverse) = name.reverse() {
            return self.reverse(reverse, range);
        }
        let domain = name.to_domain();
        if domain.is_some() && self.outside.contains(text) {
            return None;
        }
        if let Some(place) = local(text) {
            return Some(place);
        }

        if self.is_bare_anchor(text) {
            return None;
        }
        let in_zone = ancestors(text).find_map(|ancestor| self.zones.get(ancestor));
        let at_anchor = || ancestors(text).find_map(|ancestor| self.anchors.get(ancestor));
        let Some(zone) = in_zone.or_else(at_anchor).cloned() else {
            // A resolver that appends the machine's search suffixes tells them all the same.
            let zone = self.expanded(text)?;
            return Some(Place::Nothing { zone });
        };
        let is_resource = self.resources.contains(text)
            || ancestors(text)
                .skip(1)
                .any(|ancestor| self.wildcards.contains(ancestor));
        Some(match domain {
            Some(name) if is_resource => Place::Resource { name, zone },
            Some(_) if self.zones.contains_key(text) || self.parents.contains(text) => {
                Place::Parent { zone }
            }
            Some(_) | None => Place::Nothing { zone },
        })
    }

    /// Returns whether a name has resources below it, but is none and lies in
    /// no zone: it may well be a name of the outside world.
    fn is_bare_anchor(&self, text: &[u8]) -> bool {
        let is_covered = |name: &[u8]| {
            self.zones.contains_key(name)
                || self.resources.contains(name)
                || name != text && self.wildcards.contains(name)
        };
        let is_anchor = self.wildcards.contains(text) || self.concealed.contains(text);
        is_anchor && !ancestors(text).any(is_covered)
    }

    /// Finds a resource's name with more labels after it.
    fn expanded(&self, text: &[u8]) -> Option<DomainName> {
        ancestors(text).find_map(|tail| {
            let mut head = tail;
            loop {
                let end = head.iter().rposition(|byte| *byte == b'.')?;
                head = &head[..end];
                let is_below = tail.len() < text.len();
                if self.resources.contains(head) || is_below && self.wildcards.contains(head) {
                    return self.anchors.get(head).cloned();
                }
            }
        })
    }

    pub(super) fn offers_v6(&self) -> bool {
        self.v6
    }

    fn reverse(&self, reverse: Reverse, range: &SyntheticRange) -> Option<Place> {
        let ours = [range.v4(), range.v6()];
        let prefix = ours
            .iter()
            .chain(&self.prefixes)
            .find(|prefix| reverse.is_inside(**prefix))?;
        let zone = if prefix.address().is_ipv4() {
            "in-addr.arpa"
        } else {
            "ip6.arpa"
        };
        zone.parse()
            .ok()
            .map(|zone| Place::Reverse { reverse, zone })
    }

    /// Keeps names on this machine that are denied, as if by whoever has the zone around them.
    fn conceal(&mut self, pattern: &NamePattern) {
        let anchor = pattern.anchor();
        let text = anchor.as_str();
        let around = text.split_once('.').and_then(|(_, zone)| zone.parse().ok());
        let zone = around.unwrap_or_else(|| anchor.clone());
        self.anchors.entry(bytes(anchor)).or_insert(zone);
        if let NamePattern::Below(_) = pattern {
            self.concealed.insert(text.as_bytes().into());
        }
    }

    fn insert(&mut self, pattern: &NamePattern) {
        let anchor = pattern.anchor();
        let text = anchor.as_str().as_bytes();
        self.anchors.extend([named(anchor)]);
        match pattern {
            NamePattern::Below(_) => {
                self.wildcards.insert(text.into());
                self.parents.extend(ancestors(text).map(Box::from));
            }
            NamePattern::Exactly(_) => {
                self.resources.insert(text.into());
                self.parents.extend(ancestors(text).skip(1).map(Box::from));
            }
        }
    }
}

/// Finds names that mean this machine's own resolver wherever they are asked.
fn local(text: &[u8]) -> Option<Place> {
    // Browsers that find this name leave the system's resolver, and protected
    // names with it, for one of their own.
    if text == CANARY.as_bytes() {
        let zone = CANARY.parse().ok()?;
        return Some(Place::Nothing { zone });
    }
    // Whoever follows an upstream's designation (RFC 9462) leaves us as well;
    // we designate nobody.
    if ancestors(text).any(|ancestor| ancestor == DESIGNATIONS.as_bytes()) {
        let zone = DESIGNATIONS.parse().ok()?;
        return Some(Place::Parent { zone });
    }
    None
}

/// Lists a name and every name that it lies below, the nearest first.
fn ancestors(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(text), |name| {
        let dot = name.iter().position(|byte| *byte == b'.')?;
        name.get(dot + 1..)
    })
}

fn named(name: &DomainName) -> (Box<[u8]>, DomainName) {
    (bytes(name), name.clone())
}

fn bytes(name: &DomainName) -> Box<[u8]> {
    name.as_str().as_bytes().into()
}

const CANARY: &str = "use-application-dns.net";
const DESIGNATIONS: &str = "resolver.arpa";

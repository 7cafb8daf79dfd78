//! A map of flows that is cheap to change while somebody else keeps what it was.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Destination, Flow, Protocol};

/// A map of flows in parts, each of which is shared until it changes.
///
/// A change copies one part and not the whole, and a look-up walks a small tree.
/// The parts are chosen by destination and protocol; whoever picks destinations
/// that all fall into one part gets a plain tree, and no worse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ByFlow<V> {
    parts: Vec<Arc<Part<V>>>,
    length: usize,
}

/// Flows by their hash, so that a search goes by numbers and reads a name once, at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part<V> {
    by_hash: BTreeMap<u64, (Flow, V)>,
    /// Flows whose place by hash another flow had taken when they came.
    others: BTreeMap<Flow, V>,
}

impl<V> Part<V> {
    fn len(&self) -> usize {
        self.by_hash.len() + self.others.len()
    }

    fn get(&self, hash: u64, flow: &Flow) -> Option<&V> {
        match self.by_hash.get(&hash) {
            Some((known, value)) if known == flow => Some(value),
            Some(_) | None => self.others.get(flow),
        }
    }

    fn get_mut(&mut self, hash: u64, flow: &Flow) -> Option<&mut V> {
        match self.by_hash.get_mut(&hash) {
            Some((known, value)) if known == flow => Some(value),
            Some(_) | None => self.others.get_mut(flow),
        }
    }

    fn insert(&mut self, hash: u64, flow: Flow, value: V) -> Option<V> {
        if let Some(known) = self.others.get_mut(&flow) {
            return Some(std::mem::replace(known, value));
        }
        match self.by_hash.entry(hash) {
            Entry::Vacant(place) => {
                place.insert((flow, value));
                None
            }
            Entry::Occupied(mut place) if place.get().0 == flow => {
                Some(std::mem::replace(&mut place.get_mut().1, value))
            }
            Entry::Occupied(_) => self.others.insert(flow, value),
        }
    }

    fn remove(&mut self, hash: u64, flow: &Flow) -> Option<V> {
        match self.by_hash.entry(hash) {
            Entry::Occupied(place) if place.get().0 == *flow => Some(place.remove().1),
            Entry::Occupied(_) | Entry::Vacant(_) => self.others.remove(flow),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&Flow, &V)> {
        let by_hash = self.by_hash.values().map(|(flow, value)| (flow, value));
        by_hash.chain(&self.others)
    }

    fn retain(&mut self, mut is_kept: impl FnMut(&Flow, &V) -> bool) {
        self.by_hash.retain(|_, (flow, value)| is_kept(flow, value));
        self.others.retain(|flow, value| is_kept(flow, value));
    }
}

impl<V> Default for Part<V> {
    fn default() -> Self {
        Self {
            by_hash: BTreeMap::new(),
            others: BTreeMap::new(),
        }
    }
}

impl<V: Clone> ByFlow<V> {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn get(&self, flow: &Flow) -> Option<&V> {
        let hash = hash(flow);
        self.parts[part(hash)].get(hash, flow)
    }

    /// Returns a value to be changed, in a part of its own.
    pub(crate) fn get_mut(&mut self, flow: &Flow) -> Option<&mut V> {
        let hash = hash(flow);
        Arc::make_mut(&mut self.parts[part(hash)]).get_mut(hash, flow)
    }

    pub(crate) fn contains(&self, flow: &Flow) -> bool {
        self.get(flow).is_some()
    }

    pub(crate) fn insert(&mut self, flow: Flow, value: V) -> Option<V> {
        let hash = hash(&flow);
        let part = Arc::make_mut(&mut self.parts[part(hash)]);
        let before = part.insert(hash, flow, value);
        self.length += usize::from(before.is_none());
        before
    }

    pub(crate) fn remove(&mut self, flow: &Flow) -> Option<V> {
        let hash = hash(flow);
        let part = &mut self.parts[part(hash)];
        if Arc::get_mut(part).is_none() && part.get(hash, flow).is_none() {
            return None;
        }
        let removed = Arc::make_mut(part).remove(hash, flow);
        self.length -= usize::from(removed.is_some());
        removed
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(&Flow, &V) -> bool) {
        for part in &mut self.parts {
            if !part.iter().all(|(flow, value)| is_kept(flow, value)) {
                Arc::make_mut(part).retain(&mut is_kept);
            }
        }
        self.length = self.parts.iter().map(|part| part.len()).sum();
    }

    /// Keeps the values whose flows `others` has, and that `is_kept` accepts; what stays
    /// whole is not copied.
    pub(crate) fn retain_common<W: Clone>(
        &mut self,
        others: &ByFlow<W>,
        is_kept: impl Fn(&V) -> bool,
    ) {
        self.retain(|flow, value| others.contains(flow) && is_kept(value));
    }

    /// Returns all flows, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Flow, &V)> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    pub(crate) fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.iter().map(|(flow, _)| flow)
    }
}

impl<V> Default for ByFlow<V> {
    fn default() -> Self {
        Self {
            parts: vec![Arc::default(); PARTS],
            length: 0,
        }
    }
}

#[cfg(test)]
impl<V: Clone> FromIterator<(Flow, V)> for ByFlow<V> {
    fn from_iter<I: IntoIterator<Item = (Flow, V)>>(pairs: I) -> Self {
        let mut map = Self::default();
        for (flow, value) in pairs {
            map.insert(flow, value);
        }
        map
    }
}

/// Returns the part that flows of this hash fall into.
fn part(hash: u64) -> usize {
    usize::from(hash.to_be_bytes()[0]) % PARTS
}

/// Returns what tells most flows apart: whoever picks destinations with one hash gets the order of flows.
fn hash(flow: &Flow) -> u64 {
    let protocol = match flow.protocol {
        Protocol::IcmpEcho => 0,
        Protocol::Tcp(port) => 1 << 16 | u64::from(port),
        Protocol::Udp(port) => 1 << 17 | u64::from(port),
    };
    match &flow.destination {
        Destination::Address(IpAddr::V4(address)) => mix(protocol, u64::from(address.to_bits())),
        Destination::Address(IpAddr::V6(address)) => mix_all(protocol, &address.octets()),
        Destination::Name(name) => mix_all(protocol, name.as_str().as_bytes()),
    }
}

fn mix_all(mut hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    for word in words {
        hash = mix(hash, u64::from_be_bytes(*word));
    }
    mix(hash, rest.iter().fold(0, join))
}

fn join(word: u64, byte: &u8) -> u64 {
    word << 8 | u64::from(*byte)
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(29) ^ word).wrapping_mul(SPREAD)
}

/// Few enough to be counted up for each change; with ten thousand flows, some 80 are in each.
const PARTS: usize = 128;

/// An odd number with its bits spread: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Workload;
    use crate::catalogue::fixture::{flow, wiki};

    #[test]
    fn a_change_leaves_what_somebody_else_kept_as_it_was_and_shares_the_rest() {
        let before: ByFlow<u16> = (1..1000).map(|port| (wiki(port), port)).collect();
        let mut after = before.clone();

        after.insert(wiki(7), 70);
        after.remove(&wiki(8));

        assert_eq!(
            (before.get(&wiki(7)), before.get(&wiki(8))),
            (Some(&7), Some(&8))
        );
        assert_eq!(
            (after.get(&wiki(7)), after.get(&wiki(8))),
            (Some(&70), None)
        );
        assert_eq!((before.len(), after.len()), (999, 998));
        let parts = before.parts.iter().zip(&after.parts);
        let shared = parts.filter(|(one, other)| Arc::ptr_eq(one, other));
        assert!(shared.count() >= PARTS - 2);
    }

    #[test]
    fn it_holds_what_a_plain_tree_holds() {
        let mut map = ByFlow::default();
        let mut tree = BTreeMap::new();
        for step in 0..5000_u16 {
            let flow = wiki(step.wrapping_mul(7919) % 600);
            if step % 3 == 0 {
                assert_eq!(map.remove(&flow), tree.remove(&flow));
            } else {
                assert_eq!(map.insert(flow.clone(), step), tree.insert(flow, step));
            }
            assert_eq!(map.len(), tree.len());
        }
        let is_even = |value: &u16| value.is_multiple_of(2);

        let mut common = map.clone();
        let some: ByFlow<()> = (0..600)
            .filter(|port| port % 4 < 3)
            .map(|port| (wiki(port), ()))
            .collect();
        common.retain_common(&some, is_even);
        map.retain(|_, value| is_even(value));
        tree.retain(|_, value| is_even(value));

        let in_both = tree.iter().filter(|(flow, _)| some.contains(flow));
        assert!(in_both.eq(common.iter().collect::<BTreeMap<_, _>>()));
        assert_eq!(common.len(), common.iter().count());
        let held: BTreeMap<Flow, u16> = map.iter().map(|(flow, at)| (flow.clone(), *at)).collect();
        assert_eq!((held, map.len()), (tree.clone(), tree.len()));
    }

    #[test]
    fn flows_of_one_hash_are_told_apart() {
        let by = |user: u32| Flow {
            workload: Workload::UnknownOf(user),
            ..wiki(80)
        };
        assert_eq!(hash(&by(1)), hash(&by(2)));
        let mut map: ByFlow<u32> = (0..4).map(|user| (by(user), user)).collect();

        assert_eq!(map.insert(by(3), 30), Some(3));
        assert_eq!(map.insert(by(0), 10), Some(0));
        assert_eq!(map.remove(&by(0)), Some(10));
        // Whoever had the place by hash is gone; the others stay where they are.
        assert_eq!(map.insert(by(1), 11), Some(1));
        assert_eq!(map.insert(by(4), 4), None);
        *map.get_mut(&by(4)).unwrap() += 40;
        *map.get_mut(&by(2)).unwrap() += 20;

        let held: BTreeMap<Flow, u32> = map
            .iter()
            .map(|(flow, value)| (flow.clone(), *value))
            .collect();
        assert_eq!(
            held,
            BTreeMap::from([(by(1), 11), (by(2), 22), (by(3), 30), (by(4), 44)])
        );
        assert_eq!((map.len(), map.get(&by(0))), (4, None));
        map.retain(|_, value| *value > 20);
        assert_eq!(
            (map.len(), map.remove(&by(1)), map.remove(&by(3))),
            (3, None, Some(30))
        );
    }

    #[test]
    fn names_ports_and_addresses_are_spread_over_the_parts() {
        let address = |last: u8| Flow {
            destination: Destination::Address([10, 0, 0, last].into()),
            ..wiki(443)
        };
        let names = (0..4000).map(|number| flow(&format!("h{number}.corp.test"), 443));
        let filled = |flows: &mut dyn Iterator<Item = Flow>| {
            let parts: std::collections::BTreeSet<usize> =
                flows.map(|flow| part(hash(&flow))).collect();
            parts.len()
        };

        assert!(filled(&mut names.into_iter()) > PARTS / 2);
        assert!(filled(&mut (1..4000).map(wiki)) > PARTS / 2);
        assert!(filled(&mut (0..=255).map(address)) > 32);
    }
}

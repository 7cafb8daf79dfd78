//! A map of flows that is cheap to change while somebody else keeps what it was.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
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

type Part<V> = BTreeMap<Key, V>;

/// A flow in the order of its hash, so that a search goes by numbers and reads names
/// once, at its end; flows of one hash are in their own order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    hash: u64,
    flow: Flow,
}

/// What a key is looked up by.
trait AsKey {
    fn as_key(&self) -> (u64, &Flow);
}

impl AsKey for Key {
    fn as_key(&self) -> (u64, &Flow) {
        (self.hash, &self.flow)
    }
}

impl AsKey for (u64, &Flow) {
    fn as_key(&self) -> (u64, &Flow) {
        *self
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_key().cmp(&other.as_key())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn AsKey + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_key().cmp(&other.as_key())
    }
}

impl PartialOrd for dyn AsKey + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn AsKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn AsKey + '_ {}

impl<'a> Borrow<dyn AsKey + 'a> for Key {
    fn borrow(&self) -> &(dyn AsKey + 'a) {
        self
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
        self.parts[part(hash)].get(&(hash, flow) as &dyn AsKey)
    }

    /// Returns a value to be changed, in a part of its own.
    pub(crate) fn get_mut(&mut self, flow: &Flow) -> Option<&mut V> {
        let hash = hash(flow);
        Arc::make_mut(&mut self.parts[part(hash)]).get_mut(&(hash, flow) as &dyn AsKey)
    }

    pub(crate) fn contains(&self, flow: &Flow) -> bool {
        self.get(flow).is_some()
    }

    pub(crate) fn insert(&mut self, flow: Flow, value: V) -> Option<V> {
        let hash = hash(&flow);
        let part = Arc::make_mut(&mut self.parts[part(hash)]);
        let before = part.insert(Key { hash, flow }, value);
        self.length += usize::from(before.is_none());
        before
    }

    pub(crate) fn remove(&mut self, flow: &Flow) -> Option<V> {
        let hash = hash(flow);
        let part = &mut self.parts[part(hash)];
        let key = &(hash, flow) as &dyn AsKey;
        if Arc::get_mut(part).is_none() && !part.contains_key(key) {
            return None;
        }
        let removed = Arc::make_mut(part).remove(key);
        self.length -= usize::from(removed.is_some());
        removed
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(&Flow, &V) -> bool) {
        for part in &mut self.parts {
            if !part.iter().all(|(key, value)| is_kept(&key.flow, value)) {
                Arc::make_mut(part).retain(|key, value| is_kept(&key.flow, value));
            }
        }
        self.length = self.parts.iter().map(|part| part.len()).sum();
    }

    /// Keeps the values whose flows `others` has, and that `is_kept` accepts; what stays
    /// whole is not copied.
    pub(crate) fn retain_common<W>(
        &mut self,
        others: &ByFlow<W>,
        mut is_kept: impl FnMut(&V) -> bool,
    ) {
        for (part, other) in self.parts.iter_mut().zip(&others.parts) {
            // Both are in order, so that one walk along both replaces the look-ups.
            let mut ahead = other.keys().peekable();
            let mut is_common = |key: &Key| {
                while ahead.next_if(|other| *other < key).is_some() {}
                ahead.next_if(|other| *other == key).is_some()
            };
            if !part
                .iter()
                .all(|(key, value)| is_common(key) && is_kept(value))
            {
                Arc::make_mut(part).retain(|key, value| other.contains_key(key) && is_kept(value));
            }
        }
        self.length = self.parts.iter().map(|part| part.len()).sum();
    }

    /// Returns all flows, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Flow, &V)> {
        let parts = self.parts.iter().flat_map(|part| part.iter());
        parts.map(|(key, value)| (&key.flow, value))
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

/// Few enough to be counted up for each change; with ten thousand flows, some 160 are in each.
const PARTS: usize = 64;

/// An odd number with its bits spread: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
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
    fn names_ports_and_addresses_are_spread_over_the_parts() {
        let address = |last: u8| Flow {
            destination: Destination::Address([10, 0, 0, last].into()),
            ..wiki(443)
        };
        let names = (0..1000).map(|number| flow(&format!("h{number}.corp.test"), 443));
        let filled = |flows: &mut dyn Iterator<Item = Flow>| {
            let parts: std::collections::BTreeSet<usize> =
                flows.map(|flow| part(hash(&flow))).collect();
            parts.len()
        };

        assert!(filled(&mut names.into_iter()) > PARTS / 2);
        assert!(filled(&mut (1..1000).map(wiki)) > PARTS / 2);
        assert!(filled(&mut (0..=255).map(address)) > PARTS / 4);
    }
}

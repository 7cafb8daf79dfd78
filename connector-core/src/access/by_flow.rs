//! A map of flows that is cheap to change while somebody else keeps what it was.

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

type Part<V> = BTreeMap<Flow, V>;

impl<V: Clone> ByFlow<V> {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn get(&self, flow: &Flow) -> Option<&V> {
        self.parts[part(flow)].get(flow)
    }

    /// Returns a value to be changed, in a part of its own.
    pub(crate) fn get_mut(&mut self, flow: &Flow) -> Option<&mut V> {
        Arc::make_mut(&mut self.parts[part(flow)]).get_mut(flow)
    }

    pub(crate) fn contains(&self, flow: &Flow) -> bool {
        self.get(flow).is_some()
    }

    pub(crate) fn insert(&mut self, flow: Flow, value: V) -> Option<V> {
        let before = Arc::make_mut(&mut self.parts[part(&flow)]).insert(flow, value);
        self.length += usize::from(before.is_none());
        before
    }

    pub(crate) fn remove(&mut self, flow: &Flow) -> Option<V> {
        let part = &mut self.parts[part(flow)];
        if Arc::get_mut(part).is_none() && !part.contains_key(flow) {
            return None;
        }
        let removed = Arc::make_mut(part).remove(flow);
        self.length -= usize::from(removed.is_some());
        removed
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(&Flow, &V) -> bool) {
        for part in &mut self.parts {
            if !part.iter().all(|(flow, value)| is_kept(flow, value)) {
                Arc::make_mut(part).retain(|flow, value| is_kept(flow, value));
            }
        }
        self.length = self.parts.iter().map(|part| part.len()).sum();
    }

    /// Makes a map of those values that `change` turns into others.
    pub(crate) fn filter_map(&self, mut change: impl FnMut(&Flow, &V) -> Option<V>) -> Self {
        let parts = self.parts.iter().map(|part| {
            let kept = part.iter();
            let kept = kept.filter_map(|(flow, value)| Some((flow.clone(), change(flow, value)?)));
            Arc::new(kept.collect::<Part<V>>())
        });
        let parts: Vec<_> = parts.collect();
        Self {
            length: parts.iter().map(|part| part.len()).sum(),
            parts,
        }
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

/// Returns the part that a flow falls into.
fn part(flow: &Flow) -> usize {
    let protocol = match flow.protocol {
        Protocol::IcmpEcho => 0,
        Protocol::Tcp(port) => 1 << 16 | u64::from(port),
        Protocol::Udp(port) => 1 << 17 | u64::from(port),
    };
    let hash = match &flow.destination {
        Destination::Address(IpAddr::V4(address)) => mix(protocol, u64::from(address.to_bits())),
        Destination::Address(IpAddr::V6(address)) => mix_all(protocol, &address.octets()),
        Destination::Name(name) => mix_all(protocol, name.as_str().as_bytes()),
    };
    usize::from(hash.to_be_bytes()[0]) % PARTS
}

fn mix_all(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        hash = mix(hash, word.iter().fold(0, join));
    }
    mix(hash, words.remainder().iter().fold(0, join))
}

fn join(word: u64, byte: &u8) -> u64 {
    word << 8 | u64::from(*byte)
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(29) ^ word).wrapping_mul(SPREAD)
}

/// As many as one byte tells apart: with ten thousand flows, some forty are in each.
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

        let halves = map.filter_map(|_, value| is_even(value).then_some(*value));
        map.retain(|_, value| is_even(value));
        tree.retain(|_, value| is_even(value));

        assert_eq!(halves, map);
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
            let parts: std::collections::BTreeSet<usize> = flows.map(|flow| part(&flow)).collect();
            parts.len()
        };

        assert!(filled(&mut names.into_iter()) > PARTS / 2);
        assert!(filled(&mut (1..1000).map(wiki)) > PARTS / 2);
        assert!(filled(&mut (0..=255).map(address)) > PARTS / 4);
    }
}

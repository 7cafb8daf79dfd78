//! The flows that are live, found by what their packets look like on either side.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use connector_core::access::Permit;
use connector_core::time::Moment;
use foldhash::fast::FixedState;

use super::SiteIndex;
use super::tcp::Conversation;
use crate::packet::{Carried, Ends, Rewrite};

/// One live flow.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its ends as this machine's programs see them, from the program to the application.
    pub(super) inside: Ends,
    pub(super) site: SiteIndex,
    pub(super) outward: Rewrite,
    pub(super) inward: Rewrite,
    pub(super) permit: Permit,
    pub(super) lease_ends: Moment,
    pub(super) conversation: Conversation,
    pub(super) last_seen: Moment,
    /// The flow is over for its owner; late packets are still carried until then.
    pub(super) lingers_until: Option<Moment>,
}

impl Entry {
    /// Returns the flow's ends as the site sees them, from us to the application.
    pub(super) fn outside(&self) -> Ends {
        self.outward.to()
    }

    /// Returns when an entry that nobody uses is dropped.
    pub(super) fn lapses_at(&self) -> Moment {
        self.lingers_until
            .unwrap_or_else(|| self.last_seen + self.conversation.patience(self.inside.carried))
    }
}

/// Names an entry while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlowId(u32);

/// Every live flow; bounded by whoever inserts.
#[derive(Debug)]
pub(super) struct FlowTable {
    entries: Vec<Option<Entry>>,
    free: Vec<FlowId>,
    by_inside: HashMap<InsideKey, FlowId, FixedState>,
    by_outside: HashMap<OutsideKey, FlowId, FixedState>,
    /// The flow that was asked for last on either side: packets come in bursts.
    last_inside: Option<(InsideKey, FlowId)>,
    last_outside: Option<(OutsideKey, FlowId)>,
}

impl FlowTable {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            by_inside: HashMap::with_hasher(FixedState::with_seed(seed)),
            by_outside: HashMap::with_hasher(FixedState::with_seed(!seed)),
            last_inside: None,
            last_outside: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_inside.len()
    }

    /// Adds a flow whose ends on both sides are free.
    pub(super) fn insert(&mut self, entry: Entry) -> FlowId {
        let inside = InsideKey::new(entry.inside);
        let outside = OutsideKey::new(entry.site, entry.outside());
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.entries.push(None);
                FlowId(u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX))
            }
        };
        if let Some(place) = self.place(id) {
            *place = Some(entry);
        }
        self.by_inside.insert(inside, id);
        self.by_outside.insert(outside, id);
        id
    }

    pub(super) fn remove(&mut self, id: FlowId) -> Option<Entry> {
        let entry = self.place(id)?.take()?;
        self.by_inside.remove(&InsideKey::new(entry.inside));
        self.by_outside
            .remove(&OutsideKey::new(entry.site, entry.outside()));
        self.last_inside = None;
        self.last_outside = None;
        self.free.push(id);
        Some(entry)
    }

    /// Finds a flow by a packet from a program.
    pub(super) fn find_inside(&mut self, ends: Ends) -> Option<FlowId> {
        let key = InsideKey::new(ends);
        if let Some((last, id)) = self.last_inside
            && last == key
        {
            return Some(id);
        }
        let id = *self.by_inside.get(&key)?;
        self.last_inside = Some((key, id));
        Some(id)
    }

    /// Finds a flow by its ends as the site sees them, from us to the application.
    pub(super) fn find_outside(&mut self, site: SiteIndex, ends: Ends) -> Option<FlowId> {
        let key = OutsideKey::new(site, ends);
        if let Some((last, id)) = self.last_outside
            && last == key
        {
            return Some(id);
        }
        let id = *self.by_outside.get(&key)?;
        self.last_outside = Some((key, id));
        Some(id)
    }

    pub(super) fn get_mut(&mut self, id: FlowId) -> Option<&mut Entry> {
        self.place(id)?.as_mut()
    }

    pub(super) fn get(&self, id: FlowId) -> Option<&Entry> {
        self.entries.get(usize::try_from(id.0).ok()?)?.as_ref()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (FlowId, &Entry)> {
        self.entries.iter().enumerate().filter_map(|(at, entry)| {
            let id = FlowId(u32::try_from(at).ok()?);
            Some((id, entry.as_ref()?))
        })
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = (FlowId, &mut Entry)> {
        self.entries
            .iter_mut()
            .enumerate()
            .filter_map(|(at, entry)| {
                let id = FlowId(u32::try_from(at).ok()?);
                Some((id, entry.as_mut()?))
            })
    }

    fn place(&mut self, id: FlowId) -> Option<&mut Option<Entry>> {
        self.entries.get_mut(usize::try_from(id.0).ok()?)
    }
}

/// What a packet from a program is told by, packed for quick comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InsideKey {
    source: u128,
    destination: u128,
    ports: u64,
}

impl InsideKey {
    fn new(ends: Ends) -> Self {
        Self {
            source: bits(ends.source.ip()),
            destination: bits(ends.destination.ip()),
            ports: ports(ends),
        }
    }
}

impl Hash for InsideKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.source);
        state.write_u128(self.destination);
        state.write_u64(self.ports);
    }
}

/// What a packet from a site is told by. Our own address there is one for each
/// IP version, so it tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OutsideKey {
    theirs: u128,
    ports: u64,
    site: SiteIndex,
}

impl OutsideKey {
    fn new(site: SiteIndex, ends: Ends) -> Self {
        Self {
            theirs: bits(ends.destination.ip()),
            ports: ports(ends),
            site,
        }
    }
}

impl Hash for OutsideKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.theirs);
        state.write_u64(self.ports ^ (u64::from(self.site.0) << 40));
    }
}

fn ports(ends: Ends) -> u64 {
    let carried = match ends.carried {
        Carried::Echo => 1,
        Carried::Tcp => 2,
        Carried::Udp => 3,
    };
    (carried << 32) | (port(ends.source) << 16) | port(ends.destination)
}

fn port(end: SocketAddr) -> u64 {
    u64::from(end.port())
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

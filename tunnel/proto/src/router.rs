//! Packets of programs on this machine, decided about and carried to sites.
//!
//! A packet from the device belongs to a live flow, or opens one: then it waits
//! while it is found out which program sent it, the policy is asked and the
//! name is resolved behind the gateway. What may not pass is answered at once.
//! A packet from a site belongs to a live flow or is dropped, so a site can
//! never open anything towards this machine.
//!
//! The table holds 65,536 flows. When it is full, a flow that is over, or else
//! the echo or UDP flow that would lapse first, makes room; connections are
//! never put out, so a new flow is refused if there are only those.

mod fragments;
mod inward;
mod opening;
mod refusing;
mod sites;
mod table;
mod tcp;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use connector_core::access::{AccessMap, Denial, Flow, Question};
use connector_core::catalogue::SiteId;
use connector_core::name::DomainName;
use connector_core::time::Moment;
use foldhash::fast::FixedState;

use self::fragments::Fragments;
use self::opening::{Expected, Opening};
use self::refusing::Refused;
use self::sites::{SiteState, lower_mtu, mtu};
use self::table::{FlowId, FlowTable};
use crate::offload::{GsoType, VirtioHeader};
use crate::packet::{self, Ends, Headers, Kind};
use crate::random::Seed;
use crate::resolving::{Failure, ResolveError, Resolved, Resolving};

pub use self::inward::Inward;

/// Carries the packets of permitted flows between the device and the sites.
pub struct Router {
    settings: Settings,
    sites: Vec<Option<SiteState>>,
    access: Arc<AccessMap>,

    table: FlowTable,
    fragments: Fragments,
    openings: BTreeMap<Ends, Opening>,
    expected: BTreeMap<Ends, Expected>,
    refused: HashMap<Ends, Refused, FixedState>,
    resolving: Resolving,

    outputs: VecDeque<Output>,
    counters: Counters,
    /// Remembered flows that are over.
    lingering: usize,
    /// When leases and silent flows are looked at next.
    sweep_at: Option<Moment>,
    seed: Seed,
}

/// What stays the same for the life of a router.
pub struct Settings {
    /// The device's own addresses: packets of programs come from these.
    pub device: Vec<IpAddr>,
    /// The largest packet inside the tunnel, in bytes.
    pub mtu: u16,
    /// Tells the name that a synthetic address stands for.
    pub name_of: Box<dyn Fn(IpAddr) -> Option<DomainName> + Send>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("device", &self.device)
            .field("mtu", &self.mtu)
            .finish_non_exhaustive()
    }
}

/// A site that packets can be carried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Which one.
    pub id: SiteId,
    /// Our own addresses inside its tunnel.
    pub addresses: Vec<IpAddr>,
    /// The name servers behind its gateways.
    pub resolvers: Vec<IpAddr>,
}

/// A site's number while it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteIndex(pub u16);

/// What becomes of a packet from the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outward {
    /// It was rewritten and goes to this site.
    Forward {
        /// Which one.
        site: SiteIndex,
        /// Whether a live peer would answer it soon.
        expects_answer: bool,
    },
    /// It waits, was answered, or was dropped.
    Kept,
}

/// Something that the driver has to carry out or to tell.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Put this question to the policy; the answer comes in an access map.
    Asked(Question),
    /// Find out which program has the socket with these ends, and report it
    /// with [`Router::handle_attributed`].
    Attribute(Ends),
    /// A flow ended.
    Closed {
        /// Which one.
        flow: Flow,
        /// Why it was cut, if it did not end by itself.
        denial: Option<Denial>,
    },
    /// A permit was spent.
    Opened(Flow),
    /// A flow was refused without asking the policy.
    Refused {
        /// Which one.
        flow: Flow,
        /// Why.
        denial: Denial,
    },
    /// It is known now what a name means behind a site's gateways.
    Resolved(Resolved),
    /// Give this packet to the device.
    ToDevice(Vec<u8>),
    /// Seal this packet for a site, split as its header says.
    ToSite {
        /// Which one.
        site: SiteIndex,
        /// How to split it.
        header: VirtioHeader,
        /// The packet.
        packet: Vec<u8>,
    },
    /// Somebody wants to send to a site that cannot be reached: call its gateways.
    Wanted(SiteIndex),
    /// A permitted flow could not be carried.
    Unreachable {
        /// Which one.
        flow: Flow,
        /// Why.
        problem: Unreachable,
    },
}

/// Why a permitted flow cannot be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// No gateway of the site answers.
    #[error("no gateway of its site answers")]
    NoGateway,
    /// The name could not be resolved behind the gateway.
    #[error("{0}")]
    NameServer(#[from] Failure),
    /// The name has no address of the kind that the program uses.
    #[error("its site knows no address of this kind for the name")]
    NoAddress,
    /// The site does not know the name.
    #[error("its site does not know the name")]
    NoSuchName,
    /// There is no tunnel to the site, or none with an address of this kind.
    #[error("there is no tunnel to its site that carries this kind of address")]
    NoTunnel,
    /// The name could not even be asked for.
    #[error("{0}")]
    Unresolvable(#[from] ResolveError),
}

/// What was dropped or refused, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets of the device from an address that is not its own.
    pub foreign: u64,
    /// Packets that make no sense.
    pub malformed: u64,
    /// Packets that had to wait while others waited already.
    pub overflowed: u64,
    /// Packets that were refused.
    pub refused: u64,
    /// Packets from sites that belong to no flow.
    pub strangers: u64,
    /// Packets that are too big for the way to their site.
    pub too_big: u64,
}

impl Router {
    /// Starts without sites and with everything denied.
    #[must_use]
    pub fn new(settings: Settings, mut seed: Seed) -> Self {
        Self {
            settings,
            sites: Vec::new(),
            access: Arc::default(),
            table: FlowTable::new(seed.draw()),
            fragments: Fragments::default(),
            openings: BTreeMap::new(),
            expected: BTreeMap::new(),
            refused: HashMap::with_hasher(FixedState::with_seed(seed.draw())),
            resolving: Resolving::new(Seed::new(seed.draw())),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            lingering: 0,
            sweep_at: None,
            seed,
        }
    }

    /// Puts every flow to a new access map, at once.
    pub fn set_access(&mut self, access: Arc<AccessMap>, now: Moment) {
        self.access = access;
        self.refused.clear();
        let access = Arc::clone(&self.access);
        let mut cut = Vec::new();
        for (id, entry) in self.table.entries_mut() {
            if entry.lingers_until.is_some() {
                continue;
            }
            match access.review(&entry.permit, now) {
                Ok(permit) => {
                    entry.lease_ends = permit.lease_ends();
                    entry.permit = permit;
                }
                Err(denial) => cut.push((id, denial)),
            }
        }
        for (id, denial) in cut {
            self.cut(id, denial);
        }
        self.review_openings(now);
        self.sweep_soon(now);
    }

    /// Decides about a packet that a program sent through the device, and
    /// rewrites it if it goes on. `header` says how it is to be split.
    pub fn handle_outward(
        &mut self,
        header: &VirtioHeader,
        packet: &mut [u8],
        now: Moment,
    ) -> Outward {
        let Some(headers) = Headers::parse(packet) else {
            self.counters.malformed += 1;
            return Outward::Kept;
        };
        if !self.settings.device.contains(&headers.source) {
            self.counters.foreign += 1;
            return Outward::Kept;
        }
        if let Some(ends) = headers.ends() {
            if let Some(id) = self.table.find_inside(ends)
                && !self.is_reopened(id, &headers)
            {
                return self.forward(id, header, packet, &headers, now);
            }
            self.open(ends, header, packet, &headers, now);
            return Outward::Kept;
        }
        match headers.kind {
            Kind::LaterFragment => {
                if let Some(id) = self.fragments.find_outward(&headers, now) {
                    return self.forward(id, header, packet, &headers, now);
                }
                self.counters.refused += 1;
            }
            Kind::Error { quoted } => return self.forward_error(packet, &headers, quoted),
            Kind::Echo { .. } | Kind::Other(_) | Kind::Tcp(_) | Kind::Udp { .. } => {
                self.counters.refused += 1;
                self.answer(packet::prohibited(packet, &headers));
            }
        }
        Outward::Kept
    }

    /// Returns the next thing to carry out, until there is nothing left.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        self.transmit_queries();
        self.outputs.pop_front()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.settle_openings(now);
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let openings = self.openings.values().map(Opening::deadline);
        openings
            .chain(self.sweep_at)
            .chain(self.resolving.poll_timeout())
            .min()
    }

    /// Returns whether there is a flow with these ends.
    pub fn knows(&mut self, ends: Ends) -> bool {
        self.table.find_inside(ends).is_some()
    }

    /// Returns how many flows are live.
    #[must_use]
    pub fn live_flows(&self) -> usize {
        self.table.len() - self.lingering
    }

    /// Returns how many flows are remembered, those that are over included.
    #[must_use]
    pub fn remembered_flows(&self) -> usize {
        self.table.len()
    }

    /// Returns how many flows wait to be opened.
    #[must_use]
    pub fn waiting_flows(&self) -> usize {
        self.openings.len()
    }

    /// Returns what was dropped or refused.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns whether the packet opens a connection anew with the ends of one that is over.
    fn is_reopened(&self, id: FlowId, headers: &Headers) -> bool {
        let Kind::Tcp(tcp) = headers.kind else {
            return false;
        };
        tcp.flags.syn()
            && !tcp.flags.ack()
            && self
                .table
                .get(id)
                .is_some_and(|entry| entry.lingers_until.is_some())
    }

    /// Rewrites a packet of a live flow.
    fn forward(
        &mut self,
        id: FlowId,
        header: &VirtioHeader,
        packet: &mut [u8],
        headers: &Headers,
        now: Moment,
    ) -> Outward {
        let Some(entry) = self.table.get_mut(id) else {
            return Outward::Kept;
        };
        if entry.lease_ends <= now {
            let lapse = entry.permit.lapse();
            self.cut(id, lapse);
            return Outward::Kept;
        }
        let site = entry.site;
        if headers.can_be_first() && !sites::is_reachable(&self.sites, site) {
            self.outputs.push_back(Output::Wanted(site));
            self.answer_refused(packet, headers, true);
            return Outward::Kept;
        }
        let longest = largest_packet(header, headers);
        if let Kind::Tcp(tcp) = headers.kind {
            let is_long = longest > usize::from(LEAST_MTU);
            entry.conversation.note_outward(&tcp, is_long);
            if is_long && entry.conversation.loses_long_segments() {
                if mtu(&mut self.sites, site, now) > LEAST_MTU {
                    lower_mtu(&mut self.sites, site, now);
                    self.ask_for_short_segments(site);
                }
                return self.refuse_long(packet, headers);
            }
        }
        let mtu = mtu(&mut self.sites, site, now).min(self.settings.mtu);
        if headers.whole && longest > usize::from(mtu) {
            self.counters.too_big += 1;
            self.answer(packet::too_big(packet, headers, mtu));
            return Outward::Kept;
        }

        entry.last_seen = now;
        if let Kind::Tcp(tcp) = headers.kind
            && tcp.flags.syn()
        {
            let largest = entry.inside.segment_size(usize::from(mtu));
            let largest = largest.unwrap_or(u16::MAX);
            packet::clamp_mss(packet, headers, largest, header.is_partial());
        }
        entry.outward.apply(packet, headers, header.is_partial());
        let is_over = entry.conversation.is_over();
        if headers.fragment.is_some_and(|fragment| fragment.is_first) {
            self.fragments.note_outward(headers, id, now);
        }
        if is_over {
            self.let_linger(id, now);
        }
        Outward::Forward {
            site,
            expects_answer: headers.expects_answer(),
        }
    }

    /// Answers a packet that is too long for the way.
    fn refuse_long(&mut self, packet: &[u8], headers: &Headers) -> Outward {
        self.counters.too_big += 1;
        self.answer(packet::too_big(packet, headers, LEAST_MTU));
        Outward::Kept
    }

    /// Notes that a flow is over; its last packets are still carried.
    fn let_linger(&mut self, id: FlowId, now: Moment) {
        if let Some(entry) = self.table.get_mut(id)
            && entry.lingers_until.is_none()
        {
            entry.lingers_until = Some(tcp::lingers_until(now));
            self.lingering += 1;
            let flow = entry.permit.flow().clone();
            self.outputs
                .push_back(Output::Closed { flow, denial: None });
            self.sweep_soon(now);
        }
    }

    /// Ends a flow in both directions.
    fn cut(&mut self, id: FlowId, denial: Denial) {
        let Some(entry) = self.remove(id) else {
            return;
        };
        if entry.lingers_until.is_some() {
            return;
        }
        if entry.inside.carried == packet::Carried::Tcp {
            let conversation = &entry.conversation;
            let [expected, delivered] = conversation.resets_inward();
            let sent = conversation.sent();
            let inward = entry.inside.reversed();
            self.outputs
                .push_back(Output::ToDevice(packet::reset_towards(
                    inward,
                    expected,
                    Some(sent),
                )));
            if delivered != expected {
                let reset = packet::reset_towards(inward, delivered, Some(sent));
                self.outputs.push_back(Output::ToDevice(reset));
            }
            self.outputs.push_back(Output::ToSite {
                site: entry.site,
                header: VirtioHeader::default(),
                packet: packet::reset_towards(entry.outside(), sent, Some(delivered)),
            });
        }
        self.outputs.push_back(Output::Closed {
            flow: entry.permit.flow().clone(),
            denial: Some(denial),
        });
    }

    fn cut_where(&mut self, now: Moment, mut reason: impl FnMut(&table::Entry) -> Option<Denial>) {
        let cut: Vec<(FlowId, Denial)> = self
            .table
            .entries()
            .filter_map(|(id, entry)| Some((id, reason(entry)?)))
            .collect();
        for (id, denial) in cut {
            self.cut(id, denial);
        }
        self.sweep_soon(now);
    }

    /// Ends leases and forgets what is over or silent.
    fn sweep(&mut self, now: Moment) {
        let mut over = Vec::new();
        let mut next: Option<Moment> = None;
        for (id, entry) in self.table.entries() {
            let lapses = entry.lapses_at();
            let ends = match entry.lingers_until {
                Some(_) => lapses,
                None => lapses.min(entry.lease_ends),
            };
            if ends <= now {
                over.push((id, lapses <= now, entry.permit.lapse()));
            } else {
                next = Some(next.map_or(ends, |next| next.min(ends)));
            }
        }
        self.suspect_lost_segments(now, &mut next);
        for (id, lapsed, lapse) in over {
            if lapsed {
                self.forget(id);
            } else {
                self.cut(id, lapse);
            }
        }
        self.refused.retain(|_, refused| refused.until > now);
        self.expected.retain(|_, expected| expected.until > now);
        let refused = self.refused.values().map(|refused| refused.until).min();
        let expected = self.expected.values().map(|expected| expected.until).min();
        self.sweep_at = [next, refused, expected]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.max(now + SWEEP_PAUSE));
    }

    /// Asks applications that broke off in the middle for shorter packets: if
    /// theirs were too long for the way, nobody else may have told them.
    fn suspect_lost_segments(&mut self, now: Moment, next: &mut Option<Moment>) {
        let mut narrow = Vec::new();
        for (_, entry) in self.table.entries_mut() {
            let state = self
                .sites
                .get(usize::from(entry.site.0))
                .and_then(Option::as_ref);
            let is_proven = state.is_none_or(|state| state.is_proven);
            let Some(at) = entry.conversation.suspect_at(is_proven) else {
                continue;
            };
            if at > now {
                *next = Some(next.map_or(at, |next| next.min(at)));
                continue;
            }
            if entry.conversation.suspected() {
                narrow.push(entry.site);
            } else {
                self.outputs.extend(complaint(entry));
            }
        }
        narrow.dedup();
        for site in narrow {
            lower_mtu(&mut self.sites, site, now);
            self.ask_for_short_segments(site);
        }
    }

    /// Asks every application of a site for shorter packets.
    fn ask_for_short_segments(&mut self, site: SiteIndex) {
        let flows = self.table.entries().filter(|(_, entry)| {
            entry.site == site
                && entry.inside.carried == packet::Carried::Tcp
                && entry.lingers_until.is_none()
        });
        for (_, entry) in flows {
            self.outputs.extend(complaint(entry));
        }
    }

    fn forget(&mut self, id: FlowId) {
        if let Some(entry) = self.remove(id)
            && entry.lingers_until.is_none()
        {
            let flow = entry.permit.flow().clone();
            self.outputs
                .push_back(Output::Closed { flow, denial: None });
        }
    }

    fn remove(&mut self, id: FlowId) -> Option<table::Entry> {
        self.fragments.forget(id);
        let entry = self.table.remove(id)?;
        self.lingering -= usize::from(entry.lingers_until.is_some());
        Some(entry)
    }

    fn sweep_soon(&mut self, now: Moment) {
        let soon = now + SWEEP_PAUSE;
        self.sweep_at = Some(self.sweep_at.map_or(soon, |at| at.min(soon)));
    }

    fn answer(&mut self, reply: Option<Vec<u8>>) {
        self.outputs.extend(reply.map(Output::ToDevice));
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router")
            .field("flows", &self.table.len())
            .field("waiting", &self.openings.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Returns what asks an application for shorter packets, as if the next one
/// that it owes had been too long.
fn complaint(entry: &table::Entry) -> Option<Output> {
    let awaited = entry.conversation.awaited();
    let lost = packet::reset_towards(entry.outside().reversed(), awaited, None);
    let headers = Headers {
        kind: Kind::Other(0),
        ..Headers::parse(&lost)?
    };
    Some(Output::ToSite {
        site: entry.site,
        header: VirtioHeader::default(),
        packet: packet::too_big(&lost, &headers, LEAST_MTU)?,
    })
}

/// Returns how long the longest packet is that a super-packet is split into.
fn largest_packet(header: &VirtioHeader, headers: &Headers) -> usize {
    let repeated = match headers.kind {
        Kind::Tcp(tcp) => headers.length - tcp.payload,
        Kind::Udp { .. } => headers.transport + 8,
        Kind::Echo { .. } | Kind::Error { .. } | Kind::LaterFragment | Kind::Other(_) => 0,
    };
    match header.gso_type {
        GsoType::None => headers.length,
        GsoType::TcpV4 | GsoType::TcpV6 | GsoType::Udp => repeated + usize::from(header.gso_size),
    }
}

/// What every network carries (RFC 8200, section 5).
const LEAST_MTU: u16 = 1280;

/// How precisely leases end and silent flows are forgotten; packets of a flow
/// whose lease has ended are stopped at once all the same.
const SWEEP_PAUSE: Duration = Duration::from_millis(50);

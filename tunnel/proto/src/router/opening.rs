//! Flows that are about to open: attributed, decided about, resolved.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use connector_core::access::{
    Denial, Destination, Flow, Permit, Protocol, Reason, Verdict, Workload,
};
use connector_core::catalogue::SiteId;
use connector_core::time::Moment;

use super::sites;
use super::table::{Entry, FlowId};
use super::tcp::Conversation;
use super::{Output, Outward, Router, SiteIndex, Unreachable};
use crate::offload::VirtioHeader;
use crate::packet::{self, Carried, Ends, Headers, Kind, Rewrite};
use crate::resolving::{Failure, Outcome, Resolved};

/// A flow whose first packets wait.
#[derive(Debug)]
pub(super) struct Opening {
    stage: Stage,
    pub(super) parked: Vec<Parked>,
    process: Option<u32>,
    deadline: Moment,
}

impl Opening {
    pub(super) fn deadline(&self) -> Moment {
        self.deadline
    }
}

#[derive(Debug)]
enum Stage {
    /// It is found out which program it belongs to.
    Attributing,
    /// The policy is asked.
    Deciding(Flow),
    /// The name is resolved behind the gateway.
    Resolving(Permit),
}

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Parked {
    header: VirtioHeader,
    pub(super) packet: Vec<u8>,
}

/// A flow that was permitted before its first packet: a proxied connection.
#[derive(Debug)]
pub(super) struct Expected {
    permit: Permit,
    pub(super) until: Moment,
}

impl Router {
    /// Announces a connection with these ends, for which there is a permit already.
    pub fn expect(&mut self, ends: Ends, permit: Permit, now: Moment) {
        let until = now + EXPECTED_FOR;
        self.expected.insert(ends, Expected { permit, until });
        self.sweep_soon(now);
    }

    /// Takes in which program has the socket with these ends.
    pub fn handle_attributed(
        &mut self,
        ends: Ends,
        workload: Workload,
        process: Option<u32>,
        now: Moment,
    ) {
        let Some(opening) = self.openings.get_mut(&ends) else {
            return;
        };
        if !matches!(opening.stage, Stage::Attributing) {
            return;
        }
        opening.process = process;
        let flow = self.flow(ends, workload);
        if let Some(opening) = self.openings.get_mut(&ends) {
            opening.stage = Stage::Deciding(flow.clone());
            opening.deadline = now + DECISION_LIMIT;
        }
        self.decide(ends, &flow, Asked::No, now);
    }

    /// Takes the first packet of a flow.
    pub(super) fn open(
        &mut self,
        ends: Ends,
        header: &VirtioHeader,
        packet: &[u8],
        headers: &Headers,
        now: Moment,
    ) {
        if !self.may_open(ends, packet, headers, now) {
            return;
        }
        let parked = Parked {
            header: *header,
            packet: packet[..headers.length].to_vec(),
        };
        if let Some(opening) = self.openings.get_mut(&ends) {
            // A repeated SYN is the same packet again.
            if ends.carried == Carried::Tcp || opening.parked.len() >= MAX_PARKED {
                self.counters.overflowed += 1;
            } else {
                opening.parked.push(parked);
            }
            return;
        }
        if self.openings.len() >= MAX_OPENINGS || !self.make_room() {
            let flow = self.flow(ends, Workload::Unknown);
            self.refuse_packets(ends, vec![parked], false, now);
            let denial = Reason::TooBusy.into();
            self.outputs.push_back(Output::Refused { flow, denial });
            return;
        }
        let opening = Opening {
            stage: Stage::Attributing,
            parked: vec![parked],
            process: None,
            deadline: now + ATTRIBUTION_LIMIT,
        };
        self.openings.insert(ends, opening);
        match self.expected.remove(&ends) {
            Some(expected) => self.admit(ends, expected.permit, now),
            None => self.outputs.push_back(Output::Attribute(ends)),
        }
    }

    /// Puts the flows that wait to a new access map.
    pub(super) fn review_openings(&mut self, now: Moment) {
        let waiting: Vec<Ends> = self.openings.keys().copied().collect();
        for ends in waiting {
            match self.openings.get(&ends).map(|opening| &opening.stage) {
                Some(Stage::Deciding(flow)) => {
                    let flow = flow.clone();
                    self.decide(ends, &flow, Asked::Yes, now);
                }
                Some(Stage::Resolving(permit)) => {
                    if let Err(denial) = self.access.review(permit, now) {
                        let flow = permit.flow().clone();
                        self.reconsider(ends, flow, denial, now);
                    }
                }
                Some(Stage::Attributing) | None => {}
            }
        }
    }

    /// Ends the waiting of flows that waited long enough.
    pub(super) fn settle_openings(&mut self, now: Moment) {
        for resolved in self.resolving.handle_timeout(now) {
            self.take_resolved(resolved, now);
        }
        let late: Vec<Ends> = self
            .openings
            .iter()
            .filter(|(_, opening)| opening.deadline <= now)
            .map(|(ends, _)| *ends)
            .collect();
        for ends in late {
            match self.openings.get(&ends).map(|opening| &opening.stage) {
                // Nobody found out; that is an answer too.
                Some(Stage::Attributing) => {
                    self.handle_attributed(ends, Workload::Unknown, None, now);
                }
                Some(Stage::Deciding(flow)) => {
                    let flow = flow.clone();
                    self.refuse(ends, flow, Reason::PdpLate.into(), Asked::No, now);
                }
                Some(Stage::Resolving(permit)) => {
                    let flow = permit.flow().clone();
                    let problem = Unreachable::NameServer(Failure::Silent);
                    self.give_up(ends, flow, problem, now);
                }
                None => {}
            }
        }
    }

    /// Ends the waiting of flows whose names no gateway of the site can be asked for.
    pub(super) fn give_up_resolving(&mut self, site: &SiteId, now: Moment) {
        let waiting: Vec<(Ends, Flow)> = self
            .openings
            .iter()
            .filter_map(|(ends, opening)| match &opening.stage {
                Stage::Resolving(permit) if permit.site() == site => {
                    Some((*ends, permit.flow().clone()))
                }
                Stage::Resolving(_) | Stage::Attributing | Stage::Deciding(_) => None,
            })
            .collect();
        for (ends, flow) in waiting {
            self.give_up(ends, flow, Unreachable::NoGateway, now);
        }
    }

    /// Goes on with the flows that wait for a name.
    pub(super) fn take_resolved(&mut self, resolved: Resolved, now: Moment) {
        let waiting: Vec<Ends> = self
            .openings
            .iter()
            .filter(|(_, opening)| match &opening.stage {
                Stage::Resolving(permit) => {
                    *permit.site() == resolved.site
                        && permit.flow().destination == Destination::Name(resolved.name.clone())
                }
                Stage::Attributing | Stage::Deciding(_) => false,
            })
            .map(|(ends, _)| *ends)
            .collect();
        for ends in waiting {
            self.continue_resolved(ends, now);
        }
        self.outputs.push_back(Output::Resolved(resolved));
    }

    /// Hands the questions to name servers to their sites.
    pub(super) fn transmit_queries(&mut self) {
        while let Some(query) = self.resolving.poll_transmit() {
            let Some((site, known)) = self.site_called(&query.site) else {
                continue;
            };
            let own = known
                .addresses
                .iter()
                .find(|own| own.is_ipv4() == query.server.is_ipv4());
            let Some(own) = own else { continue };
            let packet = packet::udp_packet(
                SocketAddr::new(*own, query.source_port),
                SocketAddr::new(query.server, DNS_PORT),
                &query.message,
            );
            self.outputs.push_back(Output::ToSite {
                site,
                header: VirtioHeader::default(),
                packet,
            });
        }
    }

    /// Returns whether a packet that belongs to no flow may open one.
    fn may_open(&mut self, ends: Ends, packet: &[u8], headers: &Headers, now: Moment) -> bool {
        if let Some(refused) = self.refused.get(&ends).copied()
            && now < refused.until
        {
            self.answer_refused(packet, headers, refused.is_unreachable);
            return false;
        }
        match headers.kind {
            Kind::Tcp(tcp) if !tcp.flags.syn() || tcp.flags.ack() => {
                self.counters.refused += 1;
                self.answer(packet::reset_of(ends, &tcp));
                false
            }
            Kind::Echo {
                is_request: false, ..
            } => {
                self.counters.refused += 1;
                false
            }
            Kind::Tcp(_)
            | Kind::Udp { .. }
            | Kind::Echo { .. }
            | Kind::Error { .. }
            | Kind::LaterFragment
            | Kind::Other(_) => true,
        }
    }

    /// Makes room for one more flow; returns whether there is some.
    fn make_room(&mut self) -> bool {
        if self.table.len() < MAX_FLOWS {
            return true;
        }
        let first = self
            .table
            .entries()
            .filter(|(_, entry)| {
                entry.lingers_until.is_some() || entry.inside.carried != Carried::Tcp
            })
            .min_by_key(|(_, entry)| (entry.lingers_until.is_none(), entry.lapses_at()))
            .map(|(id, _)| id);
        first.inspect(|id| self.forget(*id)).is_some()
    }

    fn flow(&self, ends: Ends, workload: Workload) -> Flow {
        let address = ends.destination.ip();
        let destination = match (self.settings.name_of)(address) {
            Some(name) => Destination::Name(name),
            None => Destination::Address(address),
        };
        let port = ends.destination.port();
        Flow {
            destination,
            protocol: match ends.carried {
                Carried::Echo => Protocol::IcmpEcho,
                Carried::Tcp => Protocol::Tcp(port),
                Carried::Udp => Protocol::Udp(port),
            },
            workload,
        }
    }

    fn decide(&mut self, ends: Ends, flow: &Flow, asked: Asked, now: Moment) {
        match self.access.decide(flow, now) {
            Verdict::Permitted(permit) => self.admit(ends, permit, now),
            Verdict::Denied(denial) => self.refuse(ends, flow.clone(), denial, asked, now),
            Verdict::Undecided(mut question) => {
                if asked == Asked::No {
                    question.process = self.openings.get(&ends).and_then(|opening| opening.process);
                    self.outputs.push_back(Output::Asked(question));
                }
            }
        }
    }

    /// Asks again about a flow whose permit ended before it could be used, unless somebody said no.
    fn reconsider(&mut self, ends: Ends, flow: Flow, denial: Denial, now: Moment) {
        let Some(opening) = self.openings.get_mut(&ends) else {
            return;
        };
        if denial.reason != Reason::LeaseExpired {
            return self.refuse(ends, flow, denial, Asked::No, now);
        }
        opening.stage = Stage::Deciding(flow.clone());
        opening.deadline = now + DECISION_LIMIT;
        self.decide(ends, &flow, Asked::No, now);
    }

    /// Goes on with a flow that has its permit.
    fn admit(&mut self, ends: Ends, permit: Permit, now: Moment) {
        let Some((site, known)) = self.site_called(permit.site()) else {
            let flow = permit.flow().clone();
            return self.give_up(ends, flow, Unreachable::NoTunnel, now);
        };
        let (id, resolvers) = (known.id.clone(), known.resolvers.clone());
        if !sites::is_reachable(&self.sites, site) {
            self.outputs.push_back(Output::Wanted(site));
            let flow = permit.flow().clone();
            return self.give_up(ends, flow, Unreachable::NoGateway, now);
        }
        match &permit.flow().destination {
            Destination::Address(address) => {
                let address = *address;
                self.establish(ends, site, permit, address, now);
            }
            Destination::Name(name) => {
                let name = name.clone();
                if let Err(error) = self.resolving.resolve(id, name, &resolvers, now) {
                    let flow = permit.flow().clone();
                    return self.give_up(ends, flow, error.into(), now);
                }
                if let Some(opening) = self.openings.get_mut(&ends) {
                    opening.stage = Stage::Resolving(permit);
                    opening.deadline = now + RESOLUTION_LIMIT;
                }
                self.continue_resolved(ends, now);
            }
        }
    }

    /// Establishes a flow if its name is known by now.
    fn continue_resolved(&mut self, ends: Ends, now: Moment) {
        let Some(Opening {
            stage: Stage::Resolving(permit),
            ..
        }) = self.openings.get(&ends)
        else {
            return;
        };
        let Destination::Name(name) = &permit.flow().destination else {
            return;
        };
        let flow = permit.flow().clone();
        let found = match self.resolving.answer(permit.site(), name, now) {
            None => return,
            Some(Outcome::Found(found)) => found
                .first(ends.destination.is_ipv4())
                .ok_or(Unreachable::NoAddress),
            Some(Outcome::NoSuchName) => Err(Unreachable::NoSuchName),
            Some(Outcome::Failed(failure)) => Err(Unreachable::NameServer(*failure)),
        };
        let site = self.site_called(permit.site()).map(|(site, _)| site);
        let (address, site) = match (found, site) {
            (Ok(address), Some(site)) => (address, site),
            (Err(problem), _) => return self.give_up(ends, flow, problem, now),
            (Ok(_), None) => return self.give_up(ends, flow, Unreachable::NoTunnel, now),
        };
        let permit = match self.openings.get_mut(&ends) {
            Some(Opening {
                stage: stage @ Stage::Resolving(_),
                ..
            }) => match std::mem::replace(stage, Stage::Attributing) {
                Stage::Resolving(permit) => permit,
                Stage::Attributing | Stage::Deciding(_) => return,
            },
            Some(_) | None => return,
        };
        self.establish(ends, site, permit, address, now);
    }

    /// Enters the flow into the table and lets its packets go.
    fn establish(
        &mut self,
        inside: Ends,
        site: SiteIndex,
        permit: Permit,
        address: IpAddr,
        now: Moment,
    ) {
        let own = self.site(site).and_then(|known| {
            let mut own = known.site.addresses.iter().copied();
            own.find(|own| own.is_ipv4() == address.is_ipv4())
        });
        let flow = permit.flow().clone();
        let Some(own) = own.filter(|_| address.is_ipv4() == inside.destination.is_ipv4()) else {
            return self.give_up(inside, flow, Unreachable::NoTunnel, now);
        };
        // The map may have changed while the name was looked up.
        let permit = match self.access.review(&permit, now) {
            Ok(permit) => permit,
            Err(denial) => return self.reconsider(inside, flow, denial, now),
        };
        let remote = SocketAddr::new(address, inside.destination.port());
        let outside = self.free_ends(site, inside.carried, own, inside.source.port(), remote);
        let parked = self.openings.remove(&inside);
        let lease_ends = permit.lease_ends();
        let id = self.table.insert(Entry {
            inside,
            site,
            outward: Rewrite::new(inside, outside),
            inward: Rewrite::new(outside.reversed(), inside.reversed()),
            permit,
            lease_ends,
            conversation: Conversation::default(),
            last_seen: now,
            lingers_until: None,
        });
        self.outputs.push_back(Output::Opened(flow));
        for parked in parked.into_iter().flat_map(|opening| opening.parked) {
            self.release(id, parked, now);
        }
        if let Some(entry) = self.table.get(id) {
            let at = entry.lapses_at().min(lease_ends);
            self.sweep_at = Some(self.sweep_at.map_or(at, |before| before.min(at)));
        }
    }

    fn release(&mut self, id: FlowId, mut parked: Parked, now: Moment) {
        let Some(headers) = Headers::parse(&parked.packet) else {
            return;
        };
        if let Outward::Forward { site, .. } =
            self.forward(id, &parked.header, &mut parked.packet, &headers, now)
        {
            self.outputs.push_back(Output::ToSite {
                site,
                header: parked.header,
                packet: parked.packet,
            });
        }
    }

    /// Returns ends that no other flow to the site has: with the program's own
    /// port if it is free, since two names may lead to one address.
    fn free_ends(
        &mut self,
        site: SiteIndex,
        carried: Carried,
        own: IpAddr,
        port: u16,
        remote: SocketAddr,
    ) -> Ends {
        let mut ends = Ends {
            carried,
            source: SocketAddr::new(own, port),
            destination: remote,
        };
        for _ in 0..MAX_PORT_TRIES {
            if self.table.find_outside(site, ends).is_none() {
                return ends;
            }
            let [a, b, ..] = self.seed.draw().to_le_bytes();
            let drawn = u16::from_le_bytes([a, b]);
            ends.source.set_port(FIRST_FREE_PORT | drawn);
        }
        // Sixty-four tries all taken: the oldest holder makes way.
        if let Some(taken) = self.table.find_outside(site, ends) {
            self.cut(taken, Reason::TooBusy.into());
        }
        ends
    }
}

/// Whether the policy was asked, and so has written its answer down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    No,
    Yes,
}

/// Flows that may wait at one time.
const MAX_OPENINGS: usize = 512;

/// Packets of one flow that wait.
const MAX_PARKED: usize = 4;

/// Flows that are remembered at one time.
const MAX_FLOWS: usize = 65_536;

const MAX_PORT_TRIES: usize = 64;
const FIRST_FREE_PORT: u16 = 0x8000;
const DNS_PORT: u16 = 53;

/// How long finding the program may take.
const ATTRIBUTION_LIMIT: Duration = Duration::from_secs(1);

/// Somewhat more than the core waits for a lost question.
const DECISION_LIMIT: Duration = Duration::from_secs(3);

/// Somewhat more than the resolver tries.
const RESOLUTION_LIMIT: Duration = Duration::from_secs(5);

/// A connection that was announced begins at once or never.
const EXPECTED_FOR: Duration = Duration::from_secs(5);

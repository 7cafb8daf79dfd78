//! Packets from sites: only what answers a live flow comes in.

use std::net::SocketAddr;
use std::time::Duration;

use connector_core::time::Moment;

use super::sites::mtu;
use super::{LEAST_MTU, Outward, Router, SiteIndex};
use crate::checksum;
use crate::packet::{self, Ends, Headers, ICMP_V6, Kind, Rewrite};

/// What becomes of a packet from a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inward {
    /// It was rewritten and goes to the device.
    Deliver,
    /// It was ours, or was dropped.
    Kept,
}

impl Router {
    /// Takes a packet that came out of a site's tunnel; it goes to our own
    /// address there, which the tunnel has checked.
    pub fn handle_inward(&mut self, site: SiteIndex, packet: &mut [u8], now: Moment) -> Inward {
        let Some(headers) = Headers::parse(packet) else {
            self.counters.malformed += 1;
            return Inward::Kept;
        };
        let known = match (headers.kind, headers.ends()) {
            (Kind::Error { quoted }, _) => return self.take_error(site, packet, &headers, quoted),
            (Kind::LaterFragment, _) => self.fragments.find_inward(site, &headers, now),
            (_, Some(ends)) => {
                let known = self.table.find_outside(site, ends.reversed());
                if known.is_none() && self.take_name_server(site, ends, packet, &headers, now) {
                    return Inward::Kept;
                }
                known
            }
            (_, None) => None,
        };
        let Some((id, entry)) = known.and_then(|id| Some((id, self.table.get_mut(id)?))) else {
            self.counters.strangers += 1;
            return Inward::Kept;
        };
        if entry.lease_ends <= now {
            return Inward::Kept;
        }
        entry.last_seen = now;
        match headers.kind {
            Kind::Tcp(tcp) => {
                let is_long = headers.length > usize::from(LEAST_MTU);
                entry.conversation.note_inward(&tcp, is_long, now);
                let state = self
                    .sites
                    .get_mut(usize::from(site.0))
                    .and_then(Option::as_mut);
                let is_proven = state.is_some_and(|state| {
                    state.is_proven |= is_long;
                    state.is_proven
                });
                if entry.conversation.suspect_at(is_proven).is_some() {
                    let at = now + SWEEP_SOON;
                    self.sweep_at = Some(self.sweep_at.map_or(at, |before| before.min(at)));
                }
                if tcp.flags.syn() {
                    let mtu = mtu(&mut self.sites, site, now).min(self.settings.mtu);
                    let largest = entry.inside.segment_size(usize::from(mtu));
                    packet::clamp_mss(packet, &headers, largest.unwrap_or(u16::MAX), false);
                }
            }
            Kind::Echo { .. } | Kind::Udp { .. } => entry.conversation.note_answer(),
            Kind::Error { .. } | Kind::LaterFragment | Kind::Other(_) => {}
        }
        entry.inward.apply(packet, &headers, false);
        let is_over = entry.conversation.is_over();
        if headers.fragment.is_some_and(|fragment| fragment.is_first) {
            self.fragments.note_inward(site, &headers, id, now);
        }
        if is_over {
            self.let_linger(id, now);
        }
        Inward::Deliver
    }

    /// Carries an ICMP error of this machine's to the site whose packet it is about.
    pub(super) fn forward_error(
        &mut self,
        packet: &mut [u8],
        headers: &Headers,
        quoted: usize,
    ) -> Outward {
        let found = packet
            .get(quoted..)
            .and_then(Headers::parse_quoted)
            .and_then(|quoted| quoted.ends())
            .and_then(|ends| self.table.find_inside(ends.reversed()))
            .and_then(|id| self.table.get(id));
        let Some(entry) = found.filter(|entry| entry.lingers_until.is_none()) else {
            self.counters.refused += 1;
            return Outward::Kept;
        };
        let (site, outside) = (entry.site, entry.outside());
        rewrite_error(packet, headers, quoted, outside, outside.reversed());
        Outward::Forward {
            site,
            expects_answer: false,
        }
    }

    /// Delivers an ICMP error about a packet of a live flow.
    fn take_error(
        &mut self,
        site: SiteIndex,
        packet: &mut [u8],
        headers: &Headers,
        quoted: usize,
    ) -> Inward {
        let found = packet
            .get(quoted..)
            .and_then(Headers::parse_quoted)
            .and_then(|quoted| quoted.ends())
            .and_then(|ends| self.table.find_outside(site, ends))
            .and_then(|id| self.table.get(id));
        let Some(entry) = found else {
            self.counters.strangers += 1;
            return Inward::Kept;
        };
        let inside = entry.inside;
        raise_mtu(packet, headers);
        rewrite_error(packet, headers, quoted, inside.reversed(), inside);
        Inward::Deliver
    }

    /// Takes the answer to a question of ours.
    fn take_name_server(
        &mut self,
        site: SiteIndex,
        ends: Ends,
        packet: &[u8],
        headers: &Headers,
        now: Moment,
    ) -> bool {
        let Kind::Udp { destination, .. } = headers.kind else {
            return false;
        };
        let Some(id) = self.site(site).map(|state| state.site.id.clone()) else {
            return false;
        };
        let Some(message) = packet.get(headers.transport + 8..headers.length) else {
            return false;
        };
        if headers.fragment.is_some() || !self.resolving.expects(&id, destination) {
            return false;
        }
        let taken = self
            .resolving
            .handle_response(&id, ends.source, destination, message, now);
        if let Some(resolved) = taken {
            self.take_resolved(resolved, now);
        }
        true
    }
}

/// Makes an ICMP error, which comes from or goes to `outer`, quote `inner`.
fn rewrite_error(packet: &mut [u8], headers: &Headers, quoted: usize, outer: Ends, inner: Ends) {
    if let Some(quoted) = packet.get_mut(quoted..headers.length) {
        packet::rewrite_quoted(quoted, inner);
    }
    // A router on the way has no address on the other side: the far end speaks for it.
    let port_less = |end: SocketAddr| SocketAddr::new(end.ip(), 0);
    let from = Ends {
        source: SocketAddr::new(headers.source, 0),
        destination: SocketAddr::new(headers.destination, 0),
        ..outer
    };
    let to = Ends {
        source: port_less(outer.source),
        destination: port_less(outer.destination),
        ..outer
    };
    Rewrite::new(from, to).apply(packet, headers, false);
    let Some(message) = packet.get_mut(headers.transport..headers.length) else {
        return;
    };
    if let Some(place) = message.get_mut(2..4) {
        place.fill(0);
    }
    let sum = if outer.source.is_ipv4() {
        !checksum::fold(checksum::sum(message))
    } else {
        checksum::transport(to.source.ip(), to.destination.ip(), ICMP_V6, message)
    };
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Raises what a "too big" asks for to what every network carries: less would
/// only serve to slow this machine down.
fn raise_mtu(packet: &mut [u8], headers: &Headers) {
    let Some(message) = packet.get_mut(headers.transport..) else {
        return;
    };
    let least: u16 = match (headers.source.is_ipv4(), message.first_chunk::<2>()) {
        (true, Some([3, 4])) => LEAST_MTU_V4,
        (false, Some([2, 0])) => LEAST_MTU_V6,
        _ => return,
    };
    if let Some(field) = message.get_mut(4..8)
        && let [a, b, c, d] = field
    {
        let asked = u32::from_be_bytes([*a, *b, *c, *d]);
        if asked < u32::from(least) {
            field.copy_from_slice(&u32::from(least).to_be_bytes());
        }
    }
}

/// When it is looked whether a transfer broke off; late enough to cost nothing.
const SWEEP_SOON: Duration = Duration::from_millis(1500);

/// RFC 791 and RFC 8200, section 5.
const LEAST_MTU_V4: u16 = 576;
const LEAST_MTU_V6: u16 = 1280;

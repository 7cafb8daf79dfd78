//! The gateways of one site: which one carries packets right now.
//!
//! Gateways are called in the order of the configuration until one answers. The
//! one in use is doubted when it owes an answer and is silent; then it is
//! called again, which every WireGuard gateway answers, and left for the next
//! one when it does not. Packets wait meanwhile, so that nothing is thrown at
//! a dead gateway.
//!
//! **When nobody answers**, all are called every few seconds, for a quarter of
//! an hour without traffic; after that twice a minute.
//!
//! **An idle tunnel** that is to stay open speaks every keepalive interval, and
//! makes a handshake when nothing was heard for two minutes, WireGuard's own age
//! of a key: so the way back stays open, a dead gateway is not called alive for
//! longer than that, and the first packet after a pause finds a fresh session.
//! With a keepalive of 25 s this is 400 bytes of datagrams every two minutes, 0.29 MB a day.
//!
//! **While somebody watches**, a name server behind the gateway in use is asked every four
//! seconds, whether the tunnel is to stay open or not, and the gateway is called when there is
//! no answer: what they see is at most some six seconds old where an answer takes a quarter of a
//! second at most, and ten where it takes longer, and true from end to end. This is 210 bytes
//! every four seconds, 4.5 MB a day. Where no name server answers, the gateway is called every
//! ten seconds; where a site has none, after ten seconds of silence.
//!
//! **The return to a better gateway** waits until that one has answered for half
//! a minute and no flow is live, or for five minutes while flows are live: a
//! connection that never ends must not hold a site on its last resort. Nothing
//! here or in the translation of addresses belongs to one gateway of a site, so
//! moving breaks no flow where the site finds its way back by the inner address:
//! the answer to a call has just come through the better gateway, a keepalive goes
//! through it before the first packet, and what still comes through the old one is
//! taken. Flows break where each gateway translates addresses for itself, once, as
//! they did when the better gateway failed.
//!
//! **A device that moves** says so with [`Gateways::network_changed`] and
//! [`Gateways::resumed`]; the session is kept where its keys are good.
//!
//! **Names** of gateways are looked up by the driver, outside the tunnel, when
//! [`Gateways::poll_resolve`] asks for it: at the start, when a gateway falls
//! silent, and when the device moved. A gateway without an address is waited for
//! as long as for one that does not answer.

mod choice;
mod inquiry;
mod moving;
mod path;
mod status;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use connector_core::catalogue::Gateway;
use connector_core::network::Prefix;
use connector_core::time::Moment;

use self::choice::{Phase, RECHECK};
pub use self::inquiry::Behind;
use self::inquiry::Inquiry;
use self::moving::Settling;
use self::path::Path;
pub use self::status::{GatewayState, GatewayStatus};
use crate::keys::{PrivateKey, PublicKey};
use crate::noise::{Control, InnerFilter, Opened, PeerConfig, Rejected, SealError, SessionIndex};
use crate::random::Seed;

/// The gateways of one site, as a state machine.
///
/// After every call that takes the time, drain [`poll_control`](Self::poll_control)
/// before the next [`seal`](Self::seal), and [`poll_resolve`](Self::poll_resolve);
/// then ask [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Gateways {
    paths: Vec<Path>,
    phase: Phase,
    keepalive: Option<Duration>,
    /// Somebody has something to send.
    wanted: bool,
    /// Somebody looks at how the gateways are.
    watched: bool,
    /// Flows are live, which changing the gateway might break.
    busy: bool,
    /// Rounds of calls that nobody answered.
    lost_rounds: u32,
    /// Whether nobody has answered since several rounds were lost.
    lost: bool,
    recheck_at: Moment,
    settling: Settling,
    inquiry: Inquiry,
    /// A question is to be asked as soon as there is a session.
    owes_inquiry: bool,
    seed: Seed,
}

/// What one site's tunnel needs to know about this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelConfig {
    /// Our key.
    pub private_key: PrivateKey,
    /// Our own addresses inside the tunnel.
    pub addresses: Vec<IpAddr>,
    /// The largest packet, in bytes.
    pub mtu: usize,
    /// How often an idle tunnel speaks, if at all.
    pub keepalive: Option<Duration>,
    /// Name servers behind the gateways, which are asked whether the tunnel leads there.
    pub resolvers: Vec<IpAddr>,
}

impl Gateways {
    /// Starts to call the first of `gateways`.
    ///
    /// The session numbers are drawn from `seed`. Where several sites share a
    /// socket, start anew with another seed while [`owns`](Self::owns) tells
    /// that one of them is taken.
    #[must_use]
    pub fn new(config: &TunnelConfig, gateways: &[Gateway], mut seed: Seed, now: Moment) -> Self {
        let destinations: Vec<Prefix> =
            config.addresses.iter().copied().map(Prefix::host).collect();
        let mut paths: Vec<Path> = Vec::with_capacity(gateways.len());
        for gateway in gateways {
            let index = loop {
                let index = SessionIndex::new(seed.draw());
                if paths.iter().all(|path| path.index != index) {
                    break index;
                }
            };
            let peer = PeerConfig {
                private_key: config.private_key.clone(),
                remote: PublicKey::from_bytes(gateway.public_key),
                index,
                filter: InnerFilter {
                    sources: gateway.allowed_sources.clone(),
                    destinations: destinations.clone(),
                },
                mtu: config.mtu,
            };
            paths.push(Path::new(gateway, peer, now));
        }
        // An answer from elsewhere would be dropped.
        let servers = config.resolvers.iter().copied().filter(|server| {
            let mut admitted = gateways.iter().flat_map(|gateway| &gateway.allowed_sources);
            admitted.any(|prefix| prefix.contains(*server))
        });
        let mut machine = Self {
            paths,
            phase: Phase::Resting { until: None },
            keepalive: config.keepalive,
            wanted: false,
            watched: false,
            busy: false,
            lost_rounds: 0,
            lost: false,
            recheck_at: now + RECHECK,
            settling: Settling::default(),
            inquiry: Inquiry::new(&config.addresses, servers),
            owes_inquiry: false,
            seed,
        };
        machine.start_calling(0, 0, now);
        machine
    }

    /// Returns whether datagrams that carry `index` are for this site.
    #[must_use]
    pub fn owns(&self, index: SessionIndex) -> bool {
        self.number_of(index).is_some()
    }

    /// Returns the numbers that datagrams for this site carry: one for each
    /// gateway, the same for as long as this machine lives.
    pub fn session_indices(&self) -> impl Iterator<Item = SessionIndex> {
        self.paths.iter().map(|path| path.index)
    }

    /// Returns whether a packet can be sealed now.
    #[must_use]
    pub fn can_send(&self) -> bool {
        match self.phase {
            Phase::Using { path, doubt: None } => self
                .paths
                .get(path)
                .is_some_and(|path| path.peer.has_session()),
            Phase::Using { .. } | Phase::Calling { .. } | Phase::Resting { .. } => false,
        }
    }

    /// Returns whether all gateways were called in vain, more than once, and none has
    /// answered since.
    #[must_use]
    pub fn are_lost(&self) -> bool {
        self.lost
    }

    /// Tells whether something waits to be sent, and whether flows are live.
    pub fn set_demand(&mut self, wanted: bool, busy: bool, now: Moment) {
        self.busy = busy;
        let newly = wanted && !self.wanted;
        self.wanted = wanted;
        match self.phase {
            Phase::Resting { .. } if newly => {
                self.lost_rounds = 0;
                self.start_calling(0, 0, now);
            }
            Phase::Using { path, doubt: None } if wanted && !self.can_send() => {
                self.start_calling(path, 0, now);
            }
            Phase::Using { .. } | Phase::Calling { .. } | Phase::Resting { .. } => {}
        }
    }

    /// Tells whether somebody looks at how the gateways are.
    pub fn set_watched(&mut self, watched: bool, now: Moment) {
        if watched == self.watched {
            return;
        }
        self.watched = watched;
        match self.phase {
            Phase::Resting { until: None } if watched => self.start_round(now),
            Phase::Using { path, doubt: None } if watched && !self.can_send() => {
                self.start_calling(path, 0, now);
            }
            Phase::Using { .. } if watched => self.ask_behind(now),
            Phase::Using { .. } | Phase::Calling { .. } | Phase::Resting { .. } => {}
        }
    }

    /// Calls every gateway, and asks behind the one in use, for somebody who wants to know what
    /// answers now: that has a [`last_handshake`](GatewayStatus::last_handshake) after this, and
    /// something [`behind`](GatewayStatus::behind) it. Nothing else changes.
    pub fn call_all(&mut self, now: Moment) {
        for path in &mut self.paths {
            path.ask(now);
        }
        self.ask_behind(now);
    }

    /// Encrypts the packet in the first `length` bytes of `plain` into `out`;
    /// returns where to send the datagram and how long it is. Bytes of `plain`
    /// after the packet are overwritten with padding.
    ///
    /// `expects_answer` tells whether a live peer would answer the packet soon;
    /// it is from the silence after such packets that a dead gateway is known.
    ///
    /// # Errors
    ///
    /// No gateway is in use, or a buffer is too short.
    pub fn seal(
        &mut self,
        plain: &mut [u8],
        length: usize,
        expects_answer: bool,
        out: &mut [u8],
        now: Moment,
    ) -> Result<(SocketAddr, usize), SealError> {
        let Phase::Using { path, doubt: None } = self.phase else {
            return Err(SealError::NoSession);
        };
        let path = self.paths.get_mut(path).ok_or(SealError::NoSession)?;
        let to = path.address.ok_or(SealError::NoSession)?;

        let sealed = path.peer.seal(plain, length, out, now)?;
        path.packet_sent(sealed, expects_answer, now);
        Ok((to, sealed))
    }

    /// Decrypts one datagram into `out`; returns the packet in it, if there is one.
    ///
    /// # Errors
    ///
    /// Why the datagram was dropped.
    pub fn handle_datagram<'a>(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        out: &'a mut [u8],
        now: Moment,
    ) -> Result<Option<&'a [u8]>, Rejected> {
        let Some(index) = SessionIndex::of(datagram) else {
            return self.handle_initiation(datagram, from, out, now);
        };
        let number = self.number_of(index).ok_or(Rejected::UnknownSession)?;
        let path = &mut self.paths[number];
        let mut opened = path.peer.open(datagram, from.ip(), out, now)?;
        if let Opened::Packet(packet) = opened
            && self.inquiry.take(packet, now)
        {
            // Which is no more traffic than a keepalive is.
            opened = Opened::Keepalive;
        }

        path.packet_received(datagram.len(), opened, now);
        let packet = match opened {
            Opened::Packet(packet) => Some(packet),
            Opened::Handshake | Opened::Keepalive => None,
            Opened::Cookie => return Ok(None),
        };
        self.heard_from(number, now);
        Ok(packet)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Moment) {
        for path in &mut self.paths {
            path.handle_timeout(&mut self.seed, now);
        }
        if self.settling.is_due(now) {
            self.look_around(now);
        }
        match self.phase {
            Phase::Calling { path, passed, call } => self.go_on_calling(path, passed, call, now),
            Phase::Resting { until } => {
                if until.is_some_and(|until| until <= now) {
                    self.start_round(now);
                }
            }
            Phase::Using { path, doubt } => {
                match doubt {
                    Some(doubt) => self.go_on_doubting(path, doubt, now),
                    None => self.look_after(path, now),
                }
                self.recheck_preferred(now);
            }
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.paths
            .iter()
            .filter_map(Path::poll_timeout)
            .chain(self.settling.due())
            .chain(self.phase_due())
            .min()
    }

    /// Returns the next handshake message or keepalive to send, and where to.
    #[must_use]
    pub fn poll_control(&mut self) -> Option<(SocketAddr, Control)> {
        self.paths
            .iter_mut()
            .find_map(|path| Some((path.address?, path.poll_control()?)))
    }

    /// A handshake initiation does not say whom it is for.
    fn handle_initiation<'a>(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        out: &mut [u8],
        now: Moment,
    ) -> Result<Option<&'a [u8]>, Rejected> {
        let number = self
            .paths
            .iter_mut()
            .position(|path| path.peer.open(datagram, from.ip(), out, now).is_ok())
            .ok_or(Rejected::UnknownSession)?;
        self.paths[number].packet_received(datagram.len(), Opened::Handshake, now);
        self.heard_from(number, now);
        Ok(None)
    }

    /// Returns the path that `index` belongs to; the one in use is found at once.
    fn number_of(&self, index: SessionIndex) -> Option<usize> {
        if let Phase::Using { path, .. } = self.phase
            && self.paths.get(path).is_some_and(|path| path.index == index)
        {
            return Some(path);
        }
        self.paths.iter().position(|path| path.index == index)
    }
}

/// Keeps devices that lost the same gateway from calling in step (WireGuard, section 6.1).
const JITTER: Duration = Duration::from_millis(333);

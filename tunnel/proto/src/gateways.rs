//! The gateways of one site: which one carries packets right now.
//!
//! Gateways are called in the order of the configuration until one answers. The
//! one in use is doubted when it owes an answer and is silent; then it is
//! called again, which every WireGuard gateway answers, and left for the next
//! one when it does not. Packets wait meanwhile, so that nothing is thrown at
//! a dead gateway. It is not left for a better one while flows are live.

mod path;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use connector_core::catalogue::{Gateway, GatewayId};
use connector_core::network::Prefix;
use connector_core::time::Moment;

use self::path::Path;
use crate::ip::IpView;
use crate::keys::{PrivateKey, PublicKey};
use crate::noise::{Control, InnerFilter, Opened, PeerConfig, Rejected, SealError, SessionIndex};
use crate::random::Seed;

/// The gateways of one site, as a state machine.
#[derive(Debug)]
pub struct Gateways {
    paths: Vec<Path>,
    phase: Phase,
    keepalive: Option<Duration>,
    /// Somebody has something to send.
    wanted: bool,
    /// Flows are live, which changing the gateway might break.
    busy: bool,
    /// Rounds of calls that nobody answered.
    lost_rounds: u32,
    recheck_at: Moment,
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for an answer to the calls to one gateway; `passed` others of
    /// this round gave none.
    Calling {
        path: usize,
        passed: usize,
        call: Call,
    },
    /// Nobody answered; the next round starts then, or when it is wanted.
    Resting { until: Option<Moment> },
    /// One gateway carries the packets.
    Using { path: usize, doubt: Option<Call> },
}

/// A series of handshake initiations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    since: Moment,
    calls: u32,
}

impl Gateways {
    /// Starts to call the first of `gateways`.
    #[must_use]
    pub fn new(config: &TunnelConfig, gateways: &[Gateway], mut seed: Seed, now: Moment) -> Self {
        let destinations: Vec<Prefix> =
            config.addresses.iter().copied().map(Prefix::host).collect();
        let paths = gateways
            .iter()
            .map(|gateway| {
                let peer = PeerConfig {
                    private_key: config.private_key.clone(),
                    remote: PublicKey::from_bytes(gateway.public_key),
                    index: SessionIndex::new(seed.draw()),
                    filter: InnerFilter {
                        sources: gateway.allowed_sources.clone(),
                        destinations: destinations.clone(),
                    },
                    mtu: config.mtu,
                };
                Path::new(gateway, peer, now)
            })
            .collect();
        let mut machine = Self {
            paths,
            phase: Phase::Resting { until: None },
            keepalive: config.keepalive,
            wanted: false,
            busy: false,
            lost_rounds: 0,
            recheck_at: now + RECHECK,
            seed,
        };
        machine.start_calling(0, 0, now);
        machine
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

    /// Encrypts the packet in the first `length` bytes of `plain` into `out`;
    /// returns where to send the datagram and how long it is.
    ///
    /// # Errors
    ///
    /// No gateway is in use, or a buffer is too short.
    pub fn seal(
        &mut self,
        plain: &mut [u8],
        length: usize,
        out: &mut [u8],
        now: Moment,
    ) -> Result<(SocketAddr, usize), SealError> {
        let Phase::Using { path, doubt: None } = self.phase else {
            return Err(SealError::NoSession);
        };
        let path = self.paths.get_mut(path).ok_or(SealError::NoSession)?;
        let expects_answer = plain
            .get(..length)
            .and_then(IpView::parse)
            .is_some_and(|packet| packet.expects_answer());

        let sealed = path.peer.seal(plain, length, out, now)?;
        path.packet_sent(sealed, expects_answer, now);
        Ok((path.endpoint, sealed))
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
        let index = SessionIndex::of(datagram);
        let found = match index {
            Some(index) => self.paths.iter().position(|path| path.index == index),
            // A handshake initiation does not say whom it is for.
            None => self
                .paths
                .iter_mut()
                .position(|path| path.peer.open(datagram, from.ip(), out, now).is_ok()),
        };
        let number = found.ok_or(Rejected::UnknownSession)?;
        let path = &mut self.paths[number];
        let opened = if index.is_some() {
            path.peer.open(datagram, from.ip(), out, now)?
        } else {
            Opened::Handshake
        };

        path.packet_received(datagram.len(), opened, now);
        let packet = match opened {
            Opened::Packet(packet) => Some(packet),
            Opened::Cookie | Opened::Handshake | Opened::Keepalive => None,
        };
        if opened != Opened::Cookie {
            self.heard_from(number, now);
        }
        Ok(packet)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Moment) {
        for path in &mut self.paths {
            path.handle_timeout(&mut self.seed, now);
        }
        match self.phase {
            Phase::Calling { path, passed, call } => self.go_on_calling(path, passed, call, now),
            Phase::Resting { until } => {
                if until.is_some_and(|until| until <= now) {
                    self.start_calling(0, 0, now);
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
        let ticks = self.paths.iter().filter_map(Path::poll_timeout);
        let phase = match self.phase {
            Phase::Calling { call, .. } => Some(call.due(CALL_AGAIN, CALL_GIVES_UP)),
            Phase::Resting { until } => until,
            Phase::Using {
                path,
                doubt: Some(doubt),
            } => Some(doubt.due(DOUBT_AGAIN, self.patience(path))),
            Phase::Using { path, doubt: None } => {
                let path = &self.paths[path];
                let keepalive = self
                    .keepalive
                    .map(|interval| path.last_sent.unwrap_or_default() + interval);
                path.doubtful_at().into_iter().chain(keepalive).min()
            }
        };
        let recheck = self.rechecks().then_some(self.recheck_at);
        ticks.chain(phase).chain(recheck).min()
    }

    /// Returns the next handshake message or keepalive to send, and where to.
    #[must_use]
    pub fn poll_control(&mut self) -> Option<(SocketAddr, Control)> {
        self.paths
            .iter_mut()
            .find_map(|path| Some((path.endpoint, path.poll_control()?)))
    }

    /// Returns how each gateway is, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<GatewayStatus> {
        let state = |number: usize, path: &Path| match self.phase {
            Phase::Calling { path, .. } if path == number => GatewayState::Calling,
            Phase::Using { path: used, doubt } if used == number => match doubt {
                None if path.peer.has_session() => GatewayState::InUse,
                None => GatewayState::Idle,
                Some(_) => GatewayState::Calling,
            },
            Phase::Calling { .. } | Phase::Resting { .. } | Phase::Using { .. } => {
                if path.silent_since.is_some() {
                    GatewayState::Silent
                } else {
                    GatewayState::Idle
                }
            }
        };
        self.paths
            .iter()
            .enumerate()
            .map(|(number, path)| path.status(state(number, path)))
            .collect()
    }

    fn start_calling(&mut self, path: usize, passed: usize, now: Moment) {
        let Some(called) = self.paths.get_mut(path) else {
            self.phase = Phase::Resting { until: None };
            return;
        };
        called.call(now);
        self.phase = Phase::Calling {
            path,
            passed,
            call: Call {
                since: now,
                calls: 1,
            },
        };
    }

    fn go_on_calling(&mut self, path: usize, passed: usize, call: Call, now: Moment) {
        if call.due(CALL_AGAIN, CALL_GIVES_UP) > now {
            return;
        }
        if now.since(call.since) < CALL_GIVES_UP {
            self.paths[path].call(now);
            let call = call.repeated();
            self.phase = Phase::Calling { path, passed, call };
            return;
        }

        self.paths[path].fell_silent(now);
        if passed + 1 < self.paths.len() {
            self.start_calling((path + 1) % self.paths.len(), passed + 1, now);
            return;
        }
        let rest = FIRST_REST
            .saturating_mul(1 << self.lost_rounds.min(10))
            .min(LONGEST_REST);
        self.lost_rounds += 1;
        // Without anybody who waits, a tunnel that need not stay open is silent.
        let until =
            (self.wanted || self.keepalive.is_some()).then(|| now + rest + self.seed.below(JITTER));
        self.phase = Phase::Resting { until };
    }

    /// Looks whether the gateway in use still deserves it.
    fn look_after(&mut self, path: usize, now: Moment) {
        let used = &mut self.paths[path];
        if used.doubtful_at().is_some_and(|at| at <= now) {
            used.doubted();
            used.call(now);
            let doubt = Some(Call {
                since: now,
                calls: 1,
            });
            self.phase = Phase::Using { path, doubt };
            return;
        }
        let Some(interval) = self.keepalive else {
            return;
        };
        if now.since(used.last_sent.unwrap_or_default()) < interval {
            return;
        }
        used.last_sent = Some(now);
        if used.peer.has_session() {
            used.peer.keep_alive(now);
        } else {
            self.start_calling(path, 0, now);
        }
    }

    fn go_on_doubting(&mut self, path: usize, doubt: Call, now: Moment) {
        let patience = self.patience(path);
        if doubt.due(DOUBT_AGAIN, patience) > now {
            return;
        }
        let others = self.paths.len();
        let next = (path + 1) % others;
        if now.since(doubt.since) < patience {
            self.paths[path].call(now);
            // Call the next one too, so that it is ready when this one is given up.
            if next != path && doubt.calls == 1 {
                self.paths[next].call(now);
            }
            let doubt = Some(doubt.repeated());
            self.phase = Phase::Using { path, doubt };
            return;
        }

        self.paths[path].fell_silent(now);
        let ready = next != path
            && self.paths[next].peer.has_session()
            && self.paths[next].heard_since(doubt.since);
        if ready {
            self.use_path(next, now);
        } else {
            self.start_calling(next, usize::from(next != path), now);
        }
    }

    /// Returns how long the gateway in doubt may take to answer.
    fn patience(&self, path: usize) -> Duration {
        let took = self.paths[path]
            .peer
            .last_handshake()
            .and_then(|last| last.took);
        took.map_or(DOUBT_GIVES_UP, |took| {
            (took * 4).clamp(DOUBT_GIVES_UP, CALL_GIVES_UP * 2)
        })
    }

    fn heard_from(&mut self, number: usize, now: Moment) {
        match self.phase {
            Phase::Calling { .. } | Phase::Resting { .. } => {
                if self.paths[number].peer.has_session() {
                    self.use_path(number, now);
                }
            }
            Phase::Using {
                path,
                doubt: Some(_),
            } if path == number => self.phase = Phase::Using { path, doubt: None },
            Phase::Using { .. } => {}
        }
    }

    fn use_path(&mut self, path: usize, now: Moment) {
        self.lost_rounds = 0;
        self.recheck_at = now + RECHECK + self.seed.below(JITTER);
        self.phase = Phase::Using { path, doubt: None };
        let used = &mut self.paths[path];
        used.taken_into_use(now);
        // Whatever comes back for us has to find this gateway now.
        used.peer.keep_alive(now);
    }

    /// Calls the gateways before the one in use from time to time, and returns
    /// to one that has answered for a while, once no flow is live.
    fn recheck_preferred(&mut self, now: Moment) {
        let Phase::Using { path, doubt: None } = self.phase else {
            return;
        };
        if !self.rechecks() || self.recheck_at > now {
            return;
        }
        self.recheck_at = now + RECHECK + self.seed.below(JITTER);
        let steady = self.paths[..path]
            .iter()
            .position(|path| path.steady_since(now) >= STEADY && path.peer.has_session());
        if let Some(preferred) = steady.filter(|_| !self.busy) {
            self.use_path(preferred, now);
            return;
        }
        for preferred in &mut self.paths[..path] {
            preferred.recheck(RECHECK * 2, now);
        }
    }

    fn rechecks(&self) -> bool {
        match self.phase {
            Phase::Using { path, doubt: None } => {
                path > 0 && (self.keepalive.is_some() || self.wanted || self.busy)
            }
            Phase::Using { .. } | Phase::Calling { .. } | Phase::Resting { .. } => false,
        }
    }
}

impl Call {
    fn due(self, again: Duration, gives_up: Duration) -> Moment {
        self.since + (again * self.calls).min(gives_up)
    }

    fn repeated(self) -> Self {
        Self {
            calls: self.calls + 1,
            ..self
        }
    }
}

/// How one gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayStatus {
    /// Which one.
    pub id: GatewayId,
    /// Where it listens.
    pub endpoint: SocketAddr,
    /// What it is doing for us.
    pub state: GatewayState,
    /// When the last handshake with it was done.
    pub last_handshake: Option<Moment>,
    /// How long the last handshake that we started took: one round trip and
    /// the gateway's thinking.
    pub handshake_took: Option<Duration>,
    /// Bytes of datagrams received from it.
    pub received_bytes: u64,
    /// Bytes of datagrams sent to it.
    pub sent_bytes: u64,
}

/// What a gateway is doing for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayState {
    /// We called it and wait for its answer.
    Calling,
    /// It is not needed.
    Idle,
    /// It carries the site's packets.
    InUse,
    /// It did not answer when it was last called.
    Silent,
}

/// Three calls find a gateway through a path that loses every second packet,
/// and an application that waits at most five seconds still gets to the next.
const CALL_AGAIN: Duration = Duration::from_millis(500);
const CALL_GIVES_UP: Duration = Duration::from_millis(1500);

/// A gateway in doubt has talked to us a second ago, so it is given less time.
const DOUBT_AGAIN: Duration = Duration::from_millis(400);
const DOUBT_GIVES_UP: Duration = Duration::from_millis(1200);

/// How long to rest after a round without an answer: twice as long each time.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// How often a better gateway is called, and how long it must have answered.
const RECHECK: Duration = Duration::from_secs(30);
const STEADY: Duration = Duration::from_secs(30);

/// Keeps devices that lost the same gateway from calling in step (WireGuard, section 6.1).
const JITTER: Duration = Duration::from_millis(333);

use std::net::SocketAddr;
use std::time::Duration;

use connector_core::catalogue::{Gateway, GatewayId};
use connector_core::time::Moment;

use super::{GatewayState, GatewayStatus, JITTER};
use crate::noise::{Control, Opened, Peer, PeerConfig, SessionIndex};
use crate::random::Seed;

/// The way through one gateway, and what was seen of it.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) id: GatewayId,
    pub(super) endpoint: SocketAddr,
    pub(super) index: SessionIndex,
    pub(super) peer: Peer,

    pub(super) last_sent: Option<Moment>,
    /// When something happened that boringtun's short timers wait on.
    last_active: Option<Moment>,
    pub(super) silent_since: Option<Moment>,
    last_received: Option<Moment>,
    received_bytes: u64,
    sent_bytes: u64,

    /// When something was sent that a living gateway would let be answered.
    unanswered_since: Option<Moment>,
    /// How long an answer may be missing before the gateway is doubted.
    tolerance: Duration,
    burst: Burst,
    steady_from: Option<Moment>,
    tick_at: Option<Moment>,
}

/// Notices that packets come in quick succession, so that their sudden end means something.
#[derive(Debug, Default)]
struct Burst {
    since: Moment,
    packets: u32,
}

impl Path {
    pub(super) fn new(gateway: &Gateway, config: PeerConfig, now: Moment) -> Self {
        Self {
            id: gateway.id.clone(),
            endpoint: gateway.endpoint,
            index: config.index,
            peer: Peer::new(config, now),
            last_sent: None,
            last_active: None,
            silent_since: None,
            last_received: None,
            received_bytes: 0,
            sent_bytes: 0,
            unanswered_since: None,
            tolerance: TOLERANCE,
            burst: Burst::default(),
            steady_from: None,
            tick_at: None,
        }
    }

    /// Starts a handshake, or repeats the one under way.
    pub(super) fn call(&mut self, now: Moment) {
        self.peer.initiate(now);
        self.last_active = Some(now);
        self.tick_soon(now);
    }

    pub(super) fn packet_sent(&mut self, length: usize, expects_answer: bool, now: Moment) {
        self.last_sent = Some(now);
        self.last_active = Some(now);
        self.sent_bytes += as_u64(length);
        if expects_answer {
            self.unanswered_since.get_or_insert(now);
        }
        self.tick_soon(now);
    }

    pub(super) fn packet_received(&mut self, length: usize, opened: Opened<'_>, now: Moment) {
        self.last_received = Some(now);
        self.received_bytes += as_u64(length);
        self.silent_since = None;
        self.steady_from.get_or_insert(now);
        self.unanswered_since = None;
        if opened != Opened::Keepalive {
            self.last_active = Some(now);
            self.tick_soon(now);
        }
        if let Opened::Packet(_) = opened {
            self.tolerance = TOLERANCE;
            self.burst.packet_received(now);
        }
    }

    /// Returns when the gateway is to be doubted unless something arrives.
    pub(super) fn doubtful_at(&self) -> Option<Moment> {
        let owed = self.unanswered_since.map(|since| since + self.tolerance);
        let broken_off = self
            .last_received
            .filter(|_| self.burst.is_on())
            .map(|last| last + TOLERANCE);
        owed.into_iter().chain(broken_off).min()
    }

    /// Notes a doubt. If the gateway dispels it, but no packets follow, the
    /// fault is further away, and the next doubt may wait twice as long.
    pub(super) fn doubted(&mut self) {
        self.unanswered_since = None;
        self.burst = Burst::default();
        self.tolerance = (self.tolerance * 2).min(LONGEST_TOLERANCE);
    }

    pub(super) fn fell_silent(&mut self, now: Moment) {
        self.silent_since.get_or_insert(now);
        self.steady_from = None;
    }

    pub(super) fn taken_into_use(&mut self, now: Moment) {
        self.last_sent = Some(now);
        self.unanswered_since = None;
        self.tolerance = TOLERANCE;
        self.burst = Burst::default();
    }

    pub(super) fn heard_since(&self, since: Moment) -> bool {
        self.last_received.is_some_and(|last| last >= since)
    }

    /// Returns for how long the gateway has answered without fail.
    pub(super) fn steady_since(&self, now: Moment) -> Duration {
        self.steady_from
            .map_or(Duration::ZERO, |from| now.since(from))
    }

    /// Calls a gateway that is not in use; forgets its steadiness if it has
    /// not been heard for `limit`.
    pub(super) fn recheck(&mut self, limit: Duration, now: Moment) {
        if self
            .last_received
            .is_none_or(|last| now.since(last) > limit)
        {
            self.steady_from = None;
        }
        self.call(now);
    }

    pub(super) fn handle_timeout(&mut self, seed: &mut Seed, now: Moment) {
        if self.tick_at.is_none_or(|at| at > now) {
            return;
        }
        self.peer.handle_timeout(now);
        let quiet = now.since(self.last_active.unwrap_or_default());
        let period = match quiet {
            _ if quiet < ACTIVE => QUICK_TICK,
            _ if quiet < KEYS_GONE => SLOW_TICK,
            _ => {
                self.tick_at = None;
                return;
            }
        };
        // Ticks at uneven times are what spreads boringtun's own retries.
        self.tick_at = Some(now + period + seed.below(JITTER / 4));
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        self.tick_at
    }

    pub(super) fn poll_control(&mut self) -> Option<Control> {
        let control = self.peer.poll_control()?;
        self.sent_bytes += as_u64(control.as_bytes().len());
        Some(control)
    }

    pub(super) fn status(&self, state: GatewayState) -> GatewayStatus {
        let handshake = self.peer.last_handshake();
        GatewayStatus {
            id: self.id.clone(),
            endpoint: self.endpoint,
            state,
            last_handshake: handshake.map(|handshake| handshake.at),
            handshake_took: handshake.and_then(|handshake| handshake.took),
            received_bytes: self.received_bytes,
            sent_bytes: self.sent_bytes,
        }
    }

    fn tick_soon(&mut self, now: Moment) {
        let soon = now + QUICK_TICK;
        if self.tick_at.is_none_or(|at| at > soon + JITTER) {
            self.tick_at = Some(soon);
        }
    }
}

impl Burst {
    fn packet_received(&mut self, now: Moment) {
        if now.since(self.since) > BURST_WINDOW {
            self.since = now;
            self.packets = 0;
        }
        self.packets += 1;
    }

    fn is_on(&self) -> bool {
        self.packets >= BURST_PACKETS
    }
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Just under a second, the least time after which TCP repeats itself (RFC
/// 6298): so the repetition waits for a way that works.
const TOLERANCE: Duration = Duration::from_millis(900);
const LONGEST_TOLERANCE: Duration = Duration::from_secs(60);

/// A transfer, not a conversation.
const BURST_PACKETS: u32 = 32;
const BURST_WINDOW: Duration = Duration::from_secs(1);

/// While packets move, boringtun's clock is kept this fresh.
const QUICK_TICK: Duration = Duration::from_millis(250);
/// Otherwise only keys have to be wiped in time.
const SLOW_TICK: Duration = Duration::from_secs(5);
/// Longer than any of boringtun's short timers after a packet.
const ACTIVE: Duration = Duration::from_secs(16);
/// After three times their age (WireGuard, section 6.3) no key is left to wipe.
const KEYS_GONE: Duration = Duration::from_secs(3 * 180 + 60);

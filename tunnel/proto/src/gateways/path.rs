use std::net::SocketAddr;
use std::time::Duration;

use connector_core::catalogue::{Endpoint, Gateway, GatewayId};
use connector_core::name::DomainName;
use connector_core::time::Moment;

use super::choice::CALL_GIVES_UP;
use super::{Behind, GatewayState, GatewayStatus, JITTER};
use crate::noise::{Control, KEYS_END, Opened, Peer, PeerConfig, SessionIndex};
use crate::random::Seed;

/// The way through one gateway, and what was seen of it.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) id: GatewayId,
    pub(super) endpoint: Endpoint,
    /// Where the endpoint is, as far as it is known.
    pub(super) address: Option<SocketAddr>,
    wants_lookup: bool,
    lookup_asked: Option<Moment>,
    pub(super) index: SessionIndex,
    pub(super) peer: Peer,

    pub(super) last_sent: Option<Moment>,
    /// When a packet moved, on which boringtun's short timers wait.
    last_active: Option<Moment>,
    last_called: Option<Moment>,
    pub(super) silent_since: Option<Moment>,
    last_received: Option<Moment>,
    received_bytes: u64,
    sent_bytes: u64,

    /// When something was sent that a living gateway would let be answered.
    unanswered_since: Option<Moment>,
    /// How long an answer may be missing before the gateway is doubted.
    tolerance: Duration,
    /// The gateway is called unless something is heard from it by then.
    pub(super) call_at: Option<Moment>,
    /// The gateway is doubted unless something is heard from it by then.
    doubt_at: Option<Moment>,
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
        let mut path = Self {
            id: gateway.id.clone(),
            address: gateway.endpoint.address(),
            endpoint: gateway.endpoint.clone(),
            wants_lookup: false,
            lookup_asked: None,
            index: config.index,
            peer: Peer::new(config, now),
            last_sent: None,
            last_active: None,
            last_called: None,
            silent_since: None,
            last_received: None,
            received_bytes: 0,
            sent_bytes: 0,
            unanswered_since: None,
            tolerance: TOLERANCE,
            call_at: None,
            doubt_at: None,
            burst: Burst::default(),
            steady_from: None,
            tick_at: None,
        };
        path.look_up(Duration::ZERO, now);
        path
    }

    /// Starts a handshake, or repeats the one under way; asks for the address
    /// of a gateway that has none yet.
    pub(super) fn call(&mut self, now: Moment) {
        if self.address.is_none() {
            self.look_up(LOOKUP_LAPSES, now);
            return;
        }
        self.peer.initiate(now);
        self.last_called = Some(now);
        self.last_sent = Some(now);
        self.tick_within(SLOW_TICK, now);
    }

    /// Calls a gateway because somebody wants to know whether it is there, unless it
    /// was called a moment ago.
    pub(super) fn ask(&mut self, now: Moment) {
        let is_recent = |called: Moment| now.since(called) < ASKED_AGAIN;
        if !self.last_called.is_some_and(is_recent) {
            self.look_up(LOOKUP_LAPSES, now);
            self.call(now);
        }
    }

    /// Calls a gateway that is expected to be there; nothing waits for its
    /// answer, but it is doubted when there is none in time.
    pub(super) fn probe(&mut self, answers_within: Duration, now: Moment) {
        self.call(now);
        self.call_at = None;
        self.doubt_at = Some(now + answers_within);
    }

    /// Returns whether an answer is awaited, or it is about to be called.
    pub(super) fn is_called(&self) -> bool {
        self.call_at.is_some() || self.doubt_at.is_some()
    }

    /// Speaks within the session, and calls unless something is heard soon.
    pub(super) fn speak_up(&mut self, heard_within: Duration, now: Moment) {
        self.keep_alive(now);
        self.call_at = Some(now + heard_within);
        self.doubt_at = None;
    }

    pub(super) fn keep_alive(&mut self, now: Moment) {
        self.send(&[], now);
    }

    /// Sends a short packet of our own, which is no more traffic than a keepalive is.
    pub(super) fn send(&mut self, packet: &[u8], now: Moment) {
        self.last_sent = Some(now);
        self.peer.send(packet, now);
    }

    /// Asks for the address that the gateway's name has, unless that was asked
    /// less than `age` ago.
    pub(super) fn look_up(&mut self, age: Duration, now: Moment) {
        let recent = self
            .lookup_asked
            .is_some_and(|asked| now.since(asked) < age);
        if self.endpoint.address().is_none() && !recent {
            self.wants_lookup = true;
            self.lookup_asked = Some(now);
        }
    }

    pub(super) fn poll_resolve(&mut self) -> Option<(GatewayId, DomainName, u16)> {
        if !std::mem::take(&mut self.wants_lookup) {
            return None;
        }
        match &self.endpoint {
            Endpoint::Address(_) => None,
            Endpoint::Name { host, port } => Some((self.id.clone(), host.clone(), *port)),
        }
    }

    pub(super) fn packet_sent(&mut self, length: usize, expects_answer: bool, now: Moment) {
        self.last_sent = Some(now);
        self.last_active = Some(now);
        self.sent_bytes += as_u64(length);
        if expects_answer {
            self.unanswered_since.get_or_insert(now);
        }
        self.tick_within(QUICK_TICK, now);
    }

    pub(super) fn packet_received(&mut self, length: usize, opened: Opened<'_>, now: Moment) {
        self.received_bytes += as_u64(length);
        if opened == Opened::Cookie {
            // It wants to be called again, and proves nothing.
            return;
        }
        self.last_received = Some(now);
        self.silent_since = None;
        self.steady_from.get_or_insert(now);
        self.unanswered_since = None;
        self.call_at = None;
        self.doubt_at = None;
        if let Opened::Packet(_) = opened {
            self.last_active = Some(now);
            self.tick_within(QUICK_TICK, now);
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
        [owed, broken_off, self.doubt_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns when the gateway is to be called although nothing is wrong, unless
    /// it was already: when it has been silent for long, if the tunnel `stays_open`,
    /// and when its keys are old, if they are needed.
    pub(super) fn checkup_at(&self, silence: Option<Duration>) -> Option<Moment> {
        if self.is_called() {
            return None;
        }
        let keys = self
            .peer
            .keys_since()
            .filter(|since| silence.is_some() || self.last_active >= Some(*since));
        let silent_at = silence.and_then(|longest| Some(self.last_received? + longest));
        let old_at = keys.map(|since| since + OLD_KEYS);
        silent_at.into_iter().chain(old_at).min()
    }

    /// Notes a doubt. If the gateway dispels it, but no packets follow, the
    /// fault is further away, and the next doubt may wait twice as long.
    pub(super) fn doubted(&mut self) {
        if self.unanswered_since.is_some() || self.burst.is_on() {
            self.tolerance = (self.tolerance * 2).min(LONGEST_TOLERANCE);
        }
        self.expect_nothing();
    }

    pub(super) fn fell_silent(&mut self, now: Moment) {
        self.silent_since.get_or_insert(now);
        self.steady_from = None;
        self.look_up(LOOKUP_LAPSES, now);
    }

    /// Brings the keys up to date after the machine slept for `asleep`.
    pub(super) fn resumed(&mut self, asleep: Duration, now: Moment) {
        self.peer.resumed(asleep, now);
        self.steady_from = None;
        self.tolerance = TOLERANCE;
        self.expect_nothing();
    }

    pub(super) fn taken_into_use(&mut self, now: Moment) {
        self.last_sent = Some(now);
        self.tolerance = TOLERANCE;
        self.expect_nothing();
    }

    /// Returns how long the gateway may take to answer a call, `least` if its way is short.
    pub(super) fn patience(&self, least: Duration) -> Duration {
        let took = self.peer.last_handshake().and_then(|last| last.took);
        took.map_or(least, |took| (took * 4).clamp(least, CALL_GIVES_UP * 2))
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
        let last_active = self.last_active.unwrap_or_default();
        let last_used = last_active.max(self.last_called.unwrap_or_default());
        // Ticks at uneven times are what spreads boringtun's own retries.
        self.tick_at = if now.since(last_active) < ACTIVE {
            Some(now + QUICK_TICK + seed.below(JITTER / 4))
        } else if now.since(last_used) < KEYS_GONE {
            let slow = now + SLOW_TICK + seed.below(JITTER);
            // Whether a session is left has to be known when it is needed.
            let keys_end = self.peer.keys_since().map(|since| since + KEYS_END);
            let ahead = keys_end.filter(|end| *end > now);
            ahead.into_iter().chain([slow]).min()
        } else {
            None
        };
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        self.tick_at
    }

    pub(super) fn poll_control(&mut self) -> Option<Control> {
        let control = self.peer.poll_control()?;
        self.sent_bytes += as_u64(control.as_bytes().len());
        Some(control)
    }

    pub(super) fn status(&self, state: GatewayState, behind: Option<Behind>) -> GatewayStatus {
        let handshake = self.peer.last_handshake();
        GatewayStatus {
            id: self.id.clone(),
            endpoint: self.endpoint.clone(),
            address: self.address,
            state,
            last_handshake: handshake.map(|handshake| handshake.at),
            handshake_took: handshake.and_then(|handshake| handshake.took),
            behind,
            received_bytes: self.received_bytes,
            sent_bytes: self.sent_bytes,
        }
    }

    fn expect_nothing(&mut self) {
        self.unanswered_since = None;
        self.call_at = None;
        self.doubt_at = None;
        self.burst = Burst::default();
    }

    fn tick_within(&mut self, period: Duration, now: Moment) {
        let soon = now + period;
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

/// A question for a gateway's address that is not answered is asked again.
const LOOKUP_LAPSES: Duration = Duration::from_secs(2);

/// However often somebody asks, a gateway is called so often at most.
const ASKED_AGAIN: Duration = Duration::from_millis(500);

/// A transfer, not a conversation.
const BURST_PACKETS: u32 = 32;
const BURST_WINDOW: Duration = Duration::from_secs(1);

/// While packets move, boringtun's clock is kept this fresh.
const QUICK_TICK: Duration = Duration::from_millis(250);
/// Otherwise only keys have to be wiped in time.
const SLOW_TICK: Duration = Duration::from_secs(30);
/// Longer than any of boringtun's short timers after a packet.
const ACTIVE: Duration = Duration::from_secs(16);
/// After three times their age (WireGuard, section 6.3) no key is left to wipe.
const KEYS_GONE: Duration = Duration::from_secs(3 * 180 + 60);

/// While packets move boringtun renews the keys when they are 120 s old, by its
/// own clock; this is for when that clock is behind.
const OLD_KEYS: Duration = Duration::from_secs(125);

//! WireGuard peers: the one file that touches boringtun, and supplies what
//! boringtun leaves to its caller.
//!
//! - Buffers are checked here, so a short one is an error and never a panic.
//! - Packets are padded to 16 bytes within the MTU (WireGuard, section 5.4.6).
//! - The inner addresses of every packet are checked after decryption, since
//!   a gateway may be hostile.
//! - Message limits (section 6.1) are kept by the counter that is seen on the
//!   wire, and datagrams whose counter no honest peer reaches are dropped
//!   before boringtun computes with it.
//! - Empty datagrams, which boringtun reads as a call to flush its queue, are
//!   dropped; its queue is never used, because nothing is sealed without a session.
//! - Timers are brought up to date before anything that follows a pause, and
//!   the age of the keys is counted on our clock as well, so that none is used
//!   beyond it after the machine slept.
//! - A `Tunn` that gave up is woken by its next handshake rather than replaced:
//!   so its handshake timestamps never go back, even when the wall clock does.
//!
//! Two limits of boringtun remain. Its replay window is 1024 packets, a tenth of
//! the kernel's, so a path that reorders further loses packets. And its clock
//! is its own: the boot clock on Linux, the monotonic one on macOS and Windows.

mod doorkeeper;
mod errors;
mod filter;
mod responder;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519;
use connector_core::time::Moment;

use self::doorkeeper::{Admitted, Doorkeeper, Refused};
use crate::keys::{PrivateKey, PublicKey};

pub use self::errors::{Rejected, SealError};
pub use self::filter::InnerFilter;
pub use self::responder::{Received, Responder};

/// One remote WireGuard peer: its keys, its sessions, its timers.
pub struct Peer {
    tunn: Tunn,
    private_key: PrivateKey,
    limiter: Option<Arc<RateLimiter>>,
    filter: InnerFilter,
    mtu: usize,

    has_session: bool,
    /// When the youngest session began.
    keys_since: Option<Moment>,
    timers_updated: Moment,
    initiated: Option<Moment>,
    handshake: Option<HandshakeReport>,
    control: VecDeque<Control>,
}

/// How to talk to a peer.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Our key.
    pub private_key: PrivateKey,
    /// The peer's key.
    pub remote: PublicKey,
    /// The number that datagrams to us carry.
    pub index: SessionIndex,
    /// The inner addresses that packets from the peer may have.
    pub filter: InnerFilter,
    /// The largest packet, in bytes.
    pub mtu: usize,
}

/// The last handshake that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeReport {
    /// When it was done.
    pub at: Moment,
    /// How long it took, if we started it.
    pub took: Option<Duration>,
}

impl Peer {
    /// Creates the state for a peer that we may call; sends nothing.
    #[must_use]
    pub fn new(config: PeerConfig, now: Moment) -> Self {
        // Tests outrun the clock by which boringtun counts handshakes per second.
        let limiter = cfg!(test).then(|| {
            let secret = x25519::StaticSecret::from(*config.private_key.expose());
            unlimited(&x25519::PublicKey::from(&secret))
        });
        Self::with_limiter(config, limiter, now)
    }

    fn with_limiter(config: PeerConfig, limiter: Option<Arc<RateLimiter>>, now: Moment) -> Self {
        let secret = x25519::StaticSecret::from(*config.private_key.expose());
        let remote = x25519::PublicKey::from(*config.remote.as_bytes());
        Self {
            tunn: Tunn::new(secret, remote, None, None, config.index.0, limiter.clone()),
            private_key: config.private_key,
            limiter,
            filter: config.filter,
            mtu: config.mtu,
            has_session: false,
            keys_since: None,
            timers_updated: now,
            initiated: None,
            handshake: None,
            control: VecDeque::new(),
        }
    }

    /// Returns whether packets can be sealed now.
    #[must_use]
    pub fn has_session(&self) -> bool {
        self.has_session
    }

    /// Returns the last handshake that succeeded.
    #[must_use]
    pub fn last_handshake(&self) -> Option<HandshakeReport> {
        self.handshake
    }

    /// Encrypts the packet in the first `length` bytes of `plain` into `out`,
    /// and returns how long the datagram is. Bytes of `plain` after the packet
    /// are overwritten with padding.
    ///
    /// # Errors
    ///
    /// No session (start one with [`initiate`](Self::initiate)), keys used up,
    /// or a buffer too short.
    pub fn seal(
        &mut self,
        plain: &mut [u8],
        length: usize,
        out: &mut [u8],
        now: Moment,
    ) -> Result<usize, SealError> {
        if now.since(self.timers_updated) > STALE_TIMERS {
            self.handle_timeout(now);
        }
        if !self.has_session {
            return Err(SealError::NoSession);
        }
        let padded = length.next_multiple_of(PADDING).min(self.mtu).max(length);
        let needed = padded + DATA_OVERHEAD;
        if plain.len() < padded || out.len() < needed.max(HANDSHAKE_INITIATION) {
            return Err(SealError::ShortBuffer { needed });
        }
        plain[length..padded].fill(0);

        let sealed = match self.tunn.encapsulate(&plain[..padded], out) {
            TunnResult::WriteToNetwork(datagram) => (counter(datagram), datagram.len()),
            TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => return Err(SealError::NoSession),
        };
        let (Some(counter), sealed) = sealed else {
            return Err(SealError::NoSession);
        };
        if counter >= REJECT_AFTER_MESSAGES {
            self.initiate(now);
            return Err(SealError::KeysUsedUp);
        }
        if counter >= REKEY_AFTER_MESSAGES && counter.is_multiple_of(REKEY_REMINDER) {
            self.initiate(now);
        }
        Ok(sealed)
    }

    /// Decrypts a datagram that came from `from` into `out`.
    ///
    /// What has to be sent in return waits in [`poll_control`](Self::poll_control).
    ///
    /// # Errors
    ///
    /// Why the datagram was dropped.
    pub fn open<'a>(
        &mut self,
        datagram: &[u8],
        from: IpAddr,
        out: &'a mut [u8],
        now: Moment,
    ) -> Result<Opened<'a>, Rejected> {
        check_outside(datagram)?;
        if out.len() < datagram.len().max(HANDSHAKE_INITIATION) {
            return Err(Rejected::ShortBuffer);
        }
        if now.since(self.timers_updated) > STALE_TIMERS {
            self.handle_timeout(now);
        }

        let message = datagram[0];
        let result = self.tunn.decapsulate(Some(from), datagram, out);
        let opened = match result {
            TunnResult::Done if message == COOKIE_REPLY => Opened::Cookie,
            TunnResult::Done => Opened::Keepalive,
            TunnResult::Err(error) => return Err(error.into()),
            TunnResult::WriteToNetwork(reply) => {
                let shaken = is_data_or_response(reply);
                push_control(&mut self.control, reply);
                if !shaken {
                    return Err(Rejected::UnderLoad);
                }
                let took = (message == HANDSHAKE_RESPONSE)
                    .then(|| self.initiated.map(|at| now.since(at)))
                    .flatten();
                self.handshake = Some(HandshakeReport { at: now, took });
                self.keys_since = Some(now);
                Opened::Handshake
            }
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Opened::Packet(packet)
            }
        };
        if !self.has_session {
            self.has_session = self.tunn.time_since_last_handshake().is_some();
        }
        if let Opened::Packet(packet) = opened {
            self.filter.check(packet)?;
        }
        Ok(opened)
    }

    /// Starts a handshake, or repeats the one under way.
    pub fn initiate(&mut self, now: Moment) {
        if now.since(self.timers_updated) > STALE_TIMERS {
            self.handle_timeout(now);
            if self.initiated == Some(now) {
                return;
            }
        }
        let mut buffer = [0; HANDSHAKE_INITIATION];
        let result = self.tunn.format_handshake_initiation(&mut buffer, true);
        if let TunnResult::WriteToNetwork(datagram) = result {
            push_control(&mut self.control, datagram);
            self.initiated = Some(now);
        }
    }

    /// Sends an empty packet, if there is a session to send it in.
    pub fn keep_alive(&mut self, now: Moment) {
        self.send(&[], now);
    }

    /// Sends a packet of our own, if there is a session to send it in; one that is longer than
    /// a handshake message is dropped.
    pub fn send(&mut self, packet: &[u8], now: Moment) {
        let (mut plain, mut buffer) = ([0; HANDSHAKE_INITIATION], [0; HANDSHAKE_INITIATION]);
        let Some(space) = plain.get_mut(..packet.len()) else {
            return;
        };
        space.copy_from_slice(packet);
        if let Ok(length) = self.seal(&mut plain, packet.len(), &mut buffer, now) {
            push_control(&mut self.control, &buffer[..length]);
        }
    }

    /// Lets boringtun's clock move on. Due every quarter of a second while
    /// packets move, and rarely otherwise.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.timers_updated = now;
        let mut buffer = [0; HANDSHAKE_INITIATION];
        let result = self.tunn.update_timers(&mut buffer);
        if let TunnResult::WriteToNetwork(datagram) = result {
            if datagram.first() == Some(&HANDSHAKE_INITIATION_TYPE) {
                self.initiated = Some(now);
            }
            push_control(&mut self.control, datagram);
        }
        if self
            .keys_since
            .is_some_and(|since| now.since(since) >= KEYS_END)
        {
            self.drop_sessions();
        }
        self.has_session = self.tunn.time_since_last_handshake().is_some();
    }

    /// Brings the timers up to date after the machine slept, and drops the
    /// sessions that outlived their keys even if boringtun's clock stood still.
    pub fn resumed(&mut self, asleep: Duration, now: Moment) {
        self.handle_timeout(now);
        if asleep >= KEYS_END {
            self.drop_sessions();
        }
    }

    /// Returns when the youngest session began, if there is one; it ends [`KEYS_END`] later.
    #[must_use]
    pub fn keys_since(&self) -> Option<Moment> {
        self.keys_since
    }

    /// Returns the next handshake message, keepalive or packet of our own to send to the peer.
    #[must_use]
    pub fn poll_control(&mut self) -> Option<Control> {
        self.control.pop_front()
    }
}

impl Peer {
    fn drop_sessions(&mut self) {
        let secret = x25519::StaticSecret::from(*self.private_key.expose());
        let public = x25519::PublicKey::from(&secret);
        // Setting the key that it has makes boringtun forget its sessions.
        self.tunn
            .set_static_private(secret, public, self.limiter.clone());
        self.keys_since = None;
        self.has_session = false;
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("has_session", &self.has_session)
            .field("handshake", &self.handshake)
            .finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Returns the public key that belongs to this key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let secret = x25519::StaticSecret::from(*self.expose());
        PublicKey::from_bytes(x25519::PublicKey::from(&secret).to_bytes())
    }
}

/// What was in a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened<'a> {
    /// The peer is busy and wants to see its cookie in our next handshake.
    Cookie,
    /// A handshake was answered or completed.
    Handshake,
    /// Nothing, from a peer that is there.
    Keepalive,
    /// An IP packet whose addresses are allowed.
    Packet(&'a [u8]),
}

/// A handshake message, keepalive or short packet of our own, ready to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    bytes: [u8; HANDSHAKE_INITIATION],
    length: usize,
}

impl Control {
    /// Returns the datagram.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The upper 24 bits of the session numbers we give out; drawn at random, so
/// that they tell an observer nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionIndex(u32);

impl SessionIndex {
    /// Takes 24 of the given random bits.
    #[must_use]
    pub fn new(random: u64) -> Self {
        let [a, b, c, ..] = random.to_le_bytes();
        Self(u32::from_le_bytes([a, b, c, 0]))
    }

    /// Returns whom a datagram is for, if it says so: a handshake initiation does not.
    #[must_use]
    pub fn of(datagram: &[u8]) -> Option<Self> {
        let at = match *datagram.first()? {
            HANDSHAKE_RESPONSE => 8,
            COOKIE_REPLY | DATA => 4,
            _ => return None,
        };
        let receiver = *datagram.get(at..)?.first_chunk()?;
        Some(Self(u32::from_le_bytes(receiver) >> 8))
    }
}

/// Returns a limiter that limits nothing.
fn unlimited(public_key: &x25519::PublicKey) -> Arc<RateLimiter> {
    Arc::new(RateLimiter::new(public_key, u64::MAX))
}

/// Refuses what boringtun must not see.
fn check_outside(datagram: &[u8]) -> Result<(), Rejected> {
    let message = datagram.first().ok_or(Rejected::Malformed)?;
    if *message != DATA {
        return Ok(());
    }
    match counter(datagram) {
        Some(counter) if counter < REJECT_AFTER_MESSAGES => Ok(()),
        Some(_) => Err(Rejected::Replayed),
        None => Err(Rejected::Malformed),
    }
}

/// Returns the counter of a data message.
fn counter(datagram: &[u8]) -> Option<u64> {
    datagram
        .get(8..)?
        .first_chunk()
        .map(|bytes| u64::from_le_bytes(*bytes))
}

fn is_data_or_response(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(&(DATA | HANDSHAKE_RESPONSE)))
}

fn push_control(queue: &mut VecDeque<Control>, datagram: &[u8]) {
    if queue.len() < MAX_CONTROL {
        queue.push_back(control(datagram));
    }
}

fn control(datagram: &[u8]) -> Control {
    let mut bytes = [0; HANDSHAKE_INITIATION];
    let length = datagram.len().min(bytes.len());
    bytes[..length].copy_from_slice(&datagram[..length]);
    Control { bytes, length }
}

const HANDSHAKE_INITIATION_TYPE: u8 = 1;
const HANDSHAKE_RESPONSE: u8 = 2;
const COOKIE_REPLY: u8 = 3;
const DATA: u8 = 4;

/// The longest handshake message, and boringtun's shortest buffer.
const HANDSHAKE_INITIATION: usize = 148;

/// What a data message adds to its packet: 16 bytes before and 16 after.
pub const DATA_OVERHEAD: usize = 32;

const PADDING: usize = 16;

/// How long a session lasts: Reject-After-Time (WireGuard, section 6.1).
pub const KEYS_END: Duration = Duration::from_secs(180);

/// WireGuard, section 6.1.
const REKEY_AFTER_MESSAGES: u64 = 1 << 60;

/// WireGuard, section 6.1.
const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// Past the rekey limit, one handshake per this many packets is reminder enough.
const REKEY_REMINDER: u64 = 1 << 20;

/// Above boringtun's usual quarter of a second, and far below any key's age.
const STALE_TIMERS: Duration = Duration::from_secs(1);

/// Enough for a handshake, its repetition and a keepalive between two polls.
const MAX_CONTROL: usize = 8;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use connector_core::network::Prefix;
use connector_core::time::Moment;

use super::{
    Admitted, Control, Doorkeeper, InnerFilter, Opened, Peer, PeerConfig, Refused, Rejected,
    SealError, SessionIndex,
};
use crate::keys::{PrivateKey, PublicKey};
use crate::reach::{Admission, Direction, Reach};

/// The answering side of WireGuard: one key, many peers, who are known by the
/// key they prove and reached where they were last heard. Each packet is put
/// to what its peer may reach.
pub struct Responder {
    private_key: PrivateKey,
    destinations: Vec<Prefix>,
    mtu: usize,
    doorkeeper: Doorkeeper,

    clients: BTreeMap<SessionIndex, Client>,
    by_key: BTreeMap<PublicKey, SessionIndex>,
    cookies: Vec<(SocketAddr, Control)>,
    timers_updated: Moment,
}

struct Client {
    key: PublicKey,
    admission: Admission,
    peer: Peer,
    endpoint: Option<SocketAddr>,
    last_received: Option<Moment>,
}

/// A datagram that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// Who sent it.
    pub from: PublicKey,
    /// What was in it.
    pub opened: Opened<'a>,
}

impl Responder {
    /// Creates a responder whose peers may reach `destinations` at most.
    #[must_use]
    pub fn new(
        private_key: PrivateKey,
        destinations: Vec<Prefix>,
        mtu: usize,
        now: Moment,
    ) -> Self {
        Self {
            doorkeeper: Doorkeeper::new(&private_key),
            private_key,
            destinations,
            mtu,
            clients: BTreeMap::new(),
            by_key: BTreeMap::new(),
            cookies: Vec::new(),
            timers_updated: now,
        }
    }

    /// Never asks for cookies, for tests that outrun boringtun's clock.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn relaxed(mut self) -> Self {
        self.doorkeeper = self.doorkeeper.relaxed();
        self
    }

    /// Lets a peer in; replaces an earlier entry for the key. `random` is where
    /// its session number is drawn from.
    pub fn add_peer(
        &mut self,
        key: PublicKey,
        admission: Admission,
        mut random: impl FnMut() -> u64,
        now: Moment,
    ) {
        self.remove_peer(&key);
        let index = loop {
            let index = SessionIndex::new(random());
            if !self.clients.contains_key(&index) {
                break index;
            }
        };
        let config = PeerConfig {
            private_key: self.private_key.clone(),
            remote: key,
            index,
            filter: InnerFilter {
                sources: admission.addresses.clone(),
                destinations: self.destinations.clone(),
            },
            mtu: self.mtu,
        };
        let client = Client {
            key,
            admission,
            peer: self.doorkeeper.peer(config, now),
            endpoint: None,
            last_received: None,
        };
        self.by_key.insert(key, index);
        self.clients.insert(index, client);
    }

    /// Shuts a peer out; whatever it sends from now on is dropped.
    pub fn remove_peer(&mut self, key: &PublicKey) {
        if let Some(index) = self.by_key.remove(key) {
            self.clients.remove(&index);
        }
    }

    /// Changes what a peer may reach, from its next packet on.
    pub fn set_reach(&mut self, key: &PublicKey, reach: Reach) {
        let index = self.by_key.get(key);
        if let Some(client) = index.and_then(|index| self.clients.get_mut(index)) {
            client.admission.reach = reach;
        }
    }

    /// Decrypts one datagram into `out`.
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
    ) -> Result<Received<'a>, Rejected> {
        let index = match self.doorkeeper.admit(datagram, from.ip()) {
            Ok(Admitted::Initiation(key)) => self.by_key.get(&key).copied(),
            Ok(Admitted::Session(index)) => Some(index),
            Err(Refused::Cookie(cookie)) => {
                if self.cookies.len() < MAX_COOKIES {
                    self.cookies.push((from, *cookie));
                }
                return Err(Rejected::UnderLoad);
            }
            Err(Refused::Rejected(rejected)) => return Err(rejected),
        };
        let client = index
            .and_then(|index| self.clients.get_mut(&index))
            .ok_or(Rejected::UnknownSession)?;

        let opened = client.peer.open(datagram, from.ip(), out, now)?;
        client.endpoint = Some(from);
        client.last_received = Some(now);
        if let Opened::Packet(packet) = &opened
            && !client.admission.reach.covers(packet, Direction::ToSite)
        {
            return Err(Rejected::NotPermitted);
        }
        Ok(Received {
            from: client.key,
            opened,
        })
    }

    /// Encrypts the packet in the first `length` bytes of `plain` for the peer
    /// that has the inner address `to`; returns where to send the datagram and
    /// how long it is.
    ///
    /// # Errors
    ///
    /// No session with a peer of that address, a packet that it may not be sent,
    /// or a buffer too short.
    pub fn seal(
        &mut self,
        plain: &mut [u8],
        length: usize,
        to: IpAddr,
        out: &mut [u8],
        now: Moment,
    ) -> Result<(SocketAddr, usize), SealError> {
        let client = self.client_at_mut(to).ok_or(SealError::NoSession)?;
        let endpoint = client.endpoint.ok_or(SealError::NoSession)?;
        let packet = plain.get(..length).unwrap_or_default();
        if !client.admission.reach.covers(packet, Direction::ToPeer) {
            return Err(SealError::NotPermitted);
        }
        let sealed = client.peer.seal(plain, length, out, now)?;
        Ok((endpoint, sealed))
    }

    /// Returns when the peer that has the inner address was last heard, if it
    /// can be sent to.
    #[must_use]
    pub fn last_heard(&self, inner: IpAddr) -> Option<Moment> {
        self.clients
            .values()
            .find(|client| client.speaks_for(inner) && client.peer.has_session())
            .and_then(|client| client.last_received)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.timers_updated = now;
        self.doorkeeper.handle_timeout();
        for client in self.clients.values_mut() {
            client.peer.handle_timeout(now);
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Moment {
        self.timers_updated + TIMER_PERIOD
    }

    /// Returns the next handshake message to send, and where to.
    #[must_use]
    pub fn poll_control(&mut self) -> Option<(SocketAddr, Control)> {
        if let Some(cookie) = self.cookies.pop() {
            return Some(cookie);
        }
        self.clients.values_mut().find_map(|client| {
            let endpoint = client.endpoint?;
            Some((endpoint, client.peer.poll_control()?))
        })
    }

    fn client_at_mut(&mut self, inner: IpAddr) -> Option<&mut Client> {
        self.clients
            .values_mut()
            .find(|client| client.speaks_for(inner))
    }
}

impl Client {
    fn speaks_for(&self, inner: IpAddr) -> bool {
        let addresses = &self.admission.addresses;
        addresses.iter().any(|prefix| prefix.contains(inner))
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("peers", &self.by_key.len())
            .finish_non_exhaustive()
    }
}

/// As often as boringtun's timers want.
const TIMER_PERIOD: Duration = Duration::from_millis(250);

/// Cookie replies that wait to be sent; more are dropped, as the flood deserves.
const MAX_COOKIES: usize = 64;

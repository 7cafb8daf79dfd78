use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use connector_core::time::Moment;
use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::{Duration as SmolDuration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr};
use tunnel_proto::Seed;
use tunnel_proto::ip::{IpView, Transport};

use super::budget::{Budget, Share};
use super::device::{Link, Port};
use super::tcp::ConnectError;

/// The sockets of one site, and the protocol engine under them.
pub struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    slots: BTreeMap<SocketHandle, Slot>,
    released: BTreeMap<SocketHandle, Moment>,
    ports: BTreeSet<u16>,
    next_tcp_port: u16,
    accepted: VecDeque<SocketHandle>,
    config: StackConfig,
    counters: Counters,
}

/// What a stack is to be.
#[derive(Debug)]
pub struct StackConfig {
    /// Whom it answers.
    pub role: Role,
    /// The largest packet, in bytes.
    pub mtu: usize,
    /// Where its buffers come from.
    pub budget: Arc<Budget>,
    /// Random bits for ports and sequence numbers.
    pub seed: Seed,
}

/// Whom a stack answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It has these addresses, opens connections and accepts none: packets
    /// that belong to none of its sockets are dropped.
    Client(Vec<IpAddr>),
    /// It stands for every address, and accepts connections to these services.
    Site(BTreeSet<SocketAddr>),
}

/// What a stack has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that belonged to no socket of a client.
    pub strangers: u64,
    /// Connections refused because the budget was spent.
    pub over_budget: u64,
}

#[derive(Debug)]
struct Slot {
    kind: Kind,
    port: u16,
    _share: Option<Share>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
}

impl Stack {
    /// Creates a stack without sockets.
    #[must_use]
    pub fn new(mut config: StackConfig, now: Moment) -> Self {
        config.mtu = config.mtu.clamp(SMALLEST_MTU, LARGEST_MTU);
        let mut interface_config = Config::new(HardwareAddress::Ip);
        interface_config.random_seed = config.seed.draw();
        let [low, high, ..] = config.seed.draw().to_le_bytes();
        let next_tcp_port = u16::from_le_bytes([low, high]).max(FIRST_TCP_PORT);
        let mut nowhere = Port {
            link: &mut Nowhere,
            packet: None,
            mtu: config.mtu,
        };
        let mut interface = Interface::new(interface_config, &mut nowhere, instant(now));
        match &config.role {
            Role::Client(addresses) => interface.update_ip_addrs(|own| {
                for address in addresses {
                    let length = if address.is_ipv4() { 32 } else { 128 };
                    // A list of fixed length: one address of each version is the rule.
                    let _ = own.push(IpCidr::new((*address).into(), length));
                }
            }),
            Role::Site(_) => interface.set_any_ip(true),
        }
        Self {
            interface,
            sockets: SocketSet::new(Vec::new()),
            slots: BTreeMap::new(),
            released: BTreeMap::new(),
            ports: BTreeSet::new(),
            next_tcp_port,
            accepted: VecDeque::new(),
            config,
            counters: Counters::default(),
        }
    }

    /// Takes one packet from the tunnel.
    pub fn handle_packet(&mut self, packet: &[u8], link: &mut impl Link, now: Moment) {
        let Some(view) = IpView::parse(packet) else {
            return;
        };
        let listening = match &self.config.role {
            Role::Client(_) => {
                if !self.is_for_us(&view) {
                    self.counters.strangers += 1;
                    return;
                }
                None
            }
            Role::Site(services) => called_service(services, &view),
        };
        let listener = listening.and_then(|(service, client)| self.listen(service, client));

        let mut port = Port {
            link,
            packet: Some(packet),
            mtu: self.config.mtu,
        };
        let at = instant(now);
        let result = self
            .interface
            .poll_ingress_single(at, &mut port, &mut self.sockets);
        debug_assert_ne!(result, PollIngressSingleResult::None);

        if let Some(handle) = listener {
            if self.sockets.get::<tcp::Socket<'_>>(handle).is_listening() {
                self.remove(handle);
            } else {
                self.accepted.push_back(handle);
            }
        }
    }

    /// Writes packets until there are none left or the link has no more room.
    pub fn transmit(&mut self, link: &mut impl Link, now: Moment) {
        let mut port = Port {
            link,
            packet: None,
            mtu: self.config.mtu,
        };
        while port.link.has_room() {
            let at = instant(now);
            if self.interface.poll_egress(at, &mut port, &mut self.sockets) == PollResult::None {
                break;
            }
        }
    }

    /// Removes sockets that are done, and those whose owners left long ago.
    pub fn handle_timeout(&mut self, now: Moment) {
        let mut done = Vec::new();
        for (handle, released) in &self.released {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(*handle);
            let lingered = now.since(*released);
            let finished = match socket.state() {
                tcp::State::Closed => socket.remote_endpoint().is_none() || lingered > LINGER,
                tcp::State::TimeWait => true,
                tcp::State::Listen
                | tcp::State::SynSent
                | tcp::State::SynReceived
                | tcp::State::Established
                | tcp::State::FinWait1
                | tcp::State::FinWait2
                | tcp::State::CloseWait
                | tcp::State::Closing
                | tcp::State::LastAck => false,
            };
            if finished {
                done.push(*handle);
            } else if lingered > LINGER {
                socket.abort();
            }
        }
        for handle in done {
            self.remove(handle);
        }
    }

    /// Returns when the stack next has something to do; a moment that has
    /// passed means that packets wait.
    #[must_use]
    pub fn poll_timeout(&mut self, now: Moment) -> Option<Moment> {
        let sockets = self
            .interface
            .poll_at(instant(now), &self.sockets)
            .map(|at| Moment::from_boot(Duration::from_micros(at.total_micros().unsigned_abs())));
        let lingering = self
            .released
            .values()
            .min()
            .map(|since| *since + LINGER_CHECK);
        sockets
            .into_iter()
            .chain(lingering.map(|at| at.max(now + LINGER_CHECK)))
            .min()
    }

    /// Returns whether packets wait for the link.
    #[must_use]
    pub fn wants_to_send(&mut self, now: Moment) -> bool {
        self.interface
            .poll_at(instant(now), &self.sockets)
            .is_some_and(|at| at <= instant(now))
    }

    /// Returns the next connection that a client opened to a service of the site.
    pub(crate) fn poll_accepted(&mut self) -> Option<SocketHandle> {
        self.accepted.pop_front()
    }

    /// Returns what the stack has seen.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns how many sockets there are.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.slots.len()
    }

    /// Resets every connection.
    pub fn abort_all(&mut self) {
        for (handle, slot) in &self.slots {
            if slot.kind == Kind::Tcp {
                self.sockets.get_mut::<tcp::Socket<'_>>(*handle).abort();
            }
        }
    }

    pub(super) fn connect(&mut self, remote: SocketAddr) -> Result<SocketHandle, ConnectError> {
        let Some(share) = self.config.budget.take() else {
            self.counters.over_budget += 1;
            return Err(ConnectError::TooMany);
        };
        let mut socket = tcp_socket(&share);
        let port = self.free_tcp_port();
        socket
            .connect(self.interface.context(), remote, port)
            .map_err(|_| ConnectError::Unaddressable(remote))?;
        Ok(self.insert(Kind::Tcp, port, Some(share), |sockets| sockets.add(socket)))
    }

    pub(super) fn bind_udp(&mut self, local: Option<SocketAddr>) -> Option<SocketHandle> {
        // A server is asked by everybody at once, a client waits for one answer.
        let times = if local.is_some() { SERVER_TIMES } else { 1 };
        let buffer = || {
            udp::PacketBuffer::new(
                vec![udp::PacketMetadata::EMPTY; UDP_PACKETS * times],
                vec![0; UDP_BUFFER * times],
            )
        };
        let mut socket = udp::Socket::new(buffer(), buffer());
        let port = local.map_or_else(|| self.free_port(), |local| local.port());
        match local {
            Some(local) => socket.bind(local).ok()?,
            None => socket.bind(port).ok()?,
        }
        Some(self.insert(Kind::Udp, port, None, |sockets| sockets.add(socket)))
    }

    pub(super) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub(super) fn udp(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Takes back a TCP socket whose owner leaves: what was written is still
    /// delivered, within bounds; if something unread is left, the peer is told
    /// by a reset that nobody will read it.
    pub(super) fn release(&mut self, handle: SocketHandle, now: Moment) {
        let socket = self.tcp(handle);
        if socket.recv_queue() > 0 {
            socket.abort();
        } else {
            socket.close();
        }
        self.released.insert(handle, now);
        self.handle_timeout(now);
    }

    pub(super) fn remove(&mut self, handle: SocketHandle) {
        self.released.remove(&handle);
        if let Some(slot) = self.slots.remove(&handle) {
            if matches!(self.config.role, Role::Client(_)) {
                self.ports.remove(&slot.port);
            }
            self.sockets.remove(handle);
        }
    }

    fn insert(
        &mut self,
        kind: Kind,
        port: u16,
        share: Option<Share>,
        add: impl FnOnce(&mut SocketSet<'static>) -> SocketHandle,
    ) -> SocketHandle {
        let handle = add(&mut self.sockets);
        let slot = Slot {
            kind,
            port,
            _share: share,
        };
        self.slots.insert(handle, slot);
        if matches!(self.config.role, Role::Client(_)) {
            self.ports.insert(port);
        }
        handle
    }

    fn listen(&mut self, service: SocketAddr, client: SocketAddr) -> Option<SocketHandle> {
        // A repeated SYN belongs to the connection that the first one opened.
        let known = self.slots.iter().any(|(handle, slot)| {
            slot.kind == Kind::Tcp && {
                let socket = self.sockets.get::<tcp::Socket<'_>>(*handle);
                socket.remote_endpoint() == Some(client.into())
                    && socket.local_endpoint() == Some(service.into())
            }
        });
        if known {
            return None;
        }
        let Some(share) = self.config.budget.take() else {
            self.counters.over_budget += 1;
            return None;
        };
        let mut socket = tcp_socket(&share);
        socket.listen(service).ok()?;
        Some(
            self.insert(Kind::Tcp, service.port(), Some(share), |sockets| {
                sockets.add(socket)
            }),
        )
    }

    fn is_for_us(&self, view: &IpView<'_>) -> bool {
        match view.transport {
            Transport::Tcp(tcp) => self.ports.contains(&tcp.destination),
            Transport::Udp { destination, .. } => self.ports.contains(&destination),
            Transport::Fragment | Transport::Other(_) => false,
        }
    }

    /// Takes the next port that no socket has. Going round, rather than drawing,
    /// keeps away for as long as possible from ports that the other side still
    /// remembers (RFC 9293, TIME-WAIT) and would not answer for a second.
    fn free_tcp_port(&mut self) -> u16 {
        loop {
            let port = self.next_tcp_port;
            self.next_tcp_port = port.checked_add(1).unwrap_or(FIRST_TCP_PORT);
            if !self.ports.contains(&port) {
                return port;
            }
        }
    }

    /// Draws a port from the dynamic range (RFC 6335) that no socket has.
    fn free_port(&mut self) -> u16 {
        loop {
            let [low, high, ..] = self.config.seed.draw().to_le_bytes();
            let port = u16::from_le_bytes([low, high]) | 0xc000;
            if !self.ports.contains(&port) {
                return port;
            }
        }
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack")
            .field("sockets", &self.slots.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

fn called_service(
    services: &BTreeSet<SocketAddr>,
    view: &IpView<'_>,
) -> Option<(SocketAddr, SocketAddr)> {
    let Transport::Tcp(tcp) = view.transport else {
        return None;
    };
    let service = SocketAddr::new(view.destination, tcp.destination);
    let opens = tcp.flags.syn() && !tcp.flags.ack() && !tcp.flags.rst();
    (opens && services.contains(&service))
        .then(|| (service, SocketAddr::new(view.source, tcp.source)))
}

fn tcp_socket(share: &Share) -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; share.buffer]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_congestion_control(tcp::CongestionControl::Cubic);
    socket.set_nagle_enabled(false);
    socket.set_keep_alive(Some(KEEP_ALIVE));
    socket.set_timeout(Some(TIMEOUT));
    socket
}

/// Before the first packet: a link that nothing goes through.
struct Nowhere;

impl Link for Nowhere {
    fn has_room(&self) -> bool {
        false
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        write(&mut vec![0; length])
    }
}

fn instant(now: Moment) -> Instant {
    Instant::from_micros(i64::try_from(now.since_boot().as_micros()).unwrap_or(i64::MAX))
}

/// Nobody else speaks from the tunnel's own addresses, so that most ports are free.
const FIRST_TCP_PORT: u16 = 10_000;

/// How long what was written before its owner left may take to be delivered.
const LINGER: Duration = Duration::from_secs(10);
const LINGER_CHECK: Duration = Duration::from_millis(500);

/// Long enough to sit out the reboot of a gateway.
const TIMEOUT: SmolDuration = SmolDuration::from_secs(300);

/// Finds out within [`TIMEOUT`] that a silent peer is gone, and keeps the
/// state of whatever stands between alive.
const KEEP_ALIVE: SmolDuration = SmolDuration::from_secs(60);

/// What IPv6 asks of every link (RFC 8200, section 5), and what Ethernet carries.
const SMALLEST_MTU: usize = 1280;
const LARGEST_MTU: usize = 1500;

const UDP_PACKETS: usize = 8;
const UDP_BUFFER: usize = 4096;
const SERVER_TIMES: usize = 64;

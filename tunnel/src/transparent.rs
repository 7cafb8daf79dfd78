//! The client with a network device: packets of unmodified programs, carried to
//! sites flow by flow.
//!
//! One thread owns the device, the UDP sockets, the flow table and the WireGuard
//! peers, so that no packet waits for a lock. Everything slow (finding the
//! program behind a socket, resolving a gateway's name) happens on other
//! threads, and what comes of it returns as a command.

mod engine;
mod site;
mod workers;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use connector_core::access::{
    AccessMap, Denial, Destination, Flow, Permit, Protocol, Question, Workload,
};
use connector_core::catalogue::{GatewayId, SiteId};
use connector_core::name::DomainName;
use connector_core::time::Moment;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tunnel_proto::packet::{Carried, Ends};
use tunnel_proto::resolving::Resolved;
use tunnel_proto::router::{Counters, Unreachable};

use self::engine::Engine;
use crate::Clock;
use crate::device::{Device, DeviceConfig, Reactor, Waker};
use crate::userspace::{Plan, SiteStatus};

/// The tunnel as the service holds it: one handle, which may be shared.
///
/// Dropping it resets every flow and removes the device.
#[derive(Debug)]
pub struct Transparent {
    shared: Shared,
    device: String,
    addressing: Addressing,
    thread: Option<JoinHandle<()>>,
}

/// What stays the same for the life of a tunnel.
pub struct Settings {
    /// Reads the boot clock, on which leases end.
    pub clock: Clock,
    /// The device to make.
    pub device: DeviceConfig,
    /// How names and synthetic addresses belong together.
    pub addressing: Addressing,
    /// How often an idle tunnel speaks, so that the way back to it stays open.
    pub keepalive: Option<Duration>,
    /// Marks the tunnel's own sockets, so that they are routed past it.
    pub mark: Option<u32>,
    /// Is told what happens; must not block.
    pub on_event: Arc<dyn Fn(Event) + Send + Sync>,
    /// Finds the program, and its process, that has the socket with these ends; may block.
    pub attribute: Arc<dyn Fn(Ends) -> (Workload, Option<u32>) + Send + Sync>,
    /// Whether packets are put to the policy at all. Only a benchmark that
    /// measures what this costs says no.
    pub enforces: bool,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("device", &self.device)
            .field("addressing", &self.addressing)
            .field("keepalive", &self.keepalive)
            .field("mark", &self.mark)
            .field("enforces", &self.enforces)
            .finish_non_exhaustive()
    }
}

/// Finds the name that an address stands for.
pub type NameOf = Arc<dyn Fn(IpAddr) -> Option<DomainName> + Send + Sync>;

/// Finds the address that stands for a name.
pub type AddressOf = Arc<dyn Fn(&DomainName) -> Option<IpAddr> + Send + Sync>;

/// How names and synthetic addresses belong together.
#[derive(Clone)]
pub struct Addressing {
    /// Returns the name that an address stands for.
    pub name_of: NameOf,
    /// Returns the address that stands for a name.
    pub address_of: AddressOf,
    /// The device's own addresses.
    pub device: Vec<IpAddr>,
}

impl std::fmt::Debug for Addressing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Addressing")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// Something that happened in the tunnel.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A flow waits for the policy's answer.
    Asked(Question),
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
    /// A permitted flow could not be carried.
    Unreachable {
        /// Which one.
        flow: Flow,
        /// Why.
        problem: Unreachable,
    },
}

/// What the thread is told.
#[derive(Debug)]
enum Command {
    Attributed {
        ends: Ends,
        workload: Workload,
        process: Option<u32>,
    },
    Configure(Option<Plan>),
    Expect {
        ends: Ends,
        permit: Permit,
    },
    LookedUp {
        site: SiteId,
        gateway: GatewayId,
        addresses: Vec<SocketAddr>,
    },
    NetworkChanged,
    SetAccess(Arc<AccessMap>),
    SetWatched(bool),
    CallGateways,
    Stop,
}

/// Where commands wait for the thread.
#[derive(Debug)]
struct Mailbox {
    commands: Mutex<VecDeque<Command>>,
    waker: Waker,
}

impl Mailbox {
    fn send(&self, command: Command) {
        lock(&self.commands).push_back(command);
        self.waker.wake();
    }
}

/// What the thread tells about itself.
#[derive(Debug, Clone, Default)]
struct Report {
    sites: Vec<SiteStatus>,
    counters: Counters,
}

/// What the thread and the handle both hold.
#[derive(Debug, Clone)]
struct Shared {
    mailbox: Arc<Mailbox>,
    report: Arc<Mutex<Report>>,
    live_flows: Arc<AtomicUsize>,
    changes: watch::Sender<u64>,
}

impl Transparent {
    /// Makes the device and starts without tunnels.
    ///
    /// # Errors
    ///
    /// The device or a socket cannot be made.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let device = Device::open(&settings.device).map_err(io::Error::other)?;
        let (reactor, waker) = Reactor::new(&device)?;
        let shared = Shared {
            mailbox: Arc::new(Mailbox {
                commands: Mutex::default(),
                waker,
            }),
            report: Arc::default(),
            live_flows: Arc::default(),
            changes: watch::Sender::new(0),
        };
        let addressing = settings.addressing.clone();
        let name = device.name().to_owned();
        let engine = Engine::new(settings, device, reactor, shared.clone())?;
        let thread = std::thread::Builder::new()
            .name("tunnel".to_owned())
            .spawn(move || engine.run())?;
        Ok(Self {
            shared,
            device: name,
            addressing,
            thread: Some(thread),
        })
    }

    /// Makes the tunnels what `plan` says: those that stay the same are left
    /// alone, those that changed are replaced, and without a plan all end.
    pub fn configure(&self, plan: Option<Plan>) {
        self.shared.mailbox.send(Command::Configure(plan));
    }

    /// Puts every live flow to a new access map as soon as the thread looks,
    /// which is before it moves another packet.
    pub fn set_access(&self, access: &Arc<AccessMap>) {
        self.shared
            .mailbox
            .send(Command::SetAccess(Arc::clone(access)));
    }

    /// Tells that the machine's addresses or routes changed.
    pub fn network_changed(&self) {
        self.shared.mailbox.send(Command::NetworkChanged);
    }

    /// Tells whether somebody looks at how the gateways are; then one that
    /// dies is noticed soon, also where nothing is sent.
    pub fn set_watched(&self, watched: bool) {
        self.shared.mailbox.send(Command::SetWatched(watched));
    }

    /// Calls every gateway once: those that answer have a handshake after this.
    pub fn call_gateways(&self) {
        self.shared.mailbox.send(Command::CallGateways);
    }

    /// Opens the one connection that `permit` was issued for, through the
    /// kernel and the device, within `limit`.
    ///
    /// # Errors
    ///
    /// Why it could not be opened; the permit is spent either way.
    pub async fn dial(&self, permit: Permit, limit: Duration) -> Result<TcpStream, DialError> {
        let flow = permit.flow();
        let target = flow.to_string();
        let Protocol::Tcp(port) = flow.protocol else {
            return Err(DialError::Unsupported(flow.protocol.transport()));
        };
        let address = match &flow.destination {
            Destination::Address(address) => Some(*address),
            Destination::Name(name) => (self.addressing.address_of)(name),
        };
        let mut own = self.addressing.device.iter().copied();
        let ends = address.and_then(|address| {
            let own = own.find(|own| own.is_ipv4() == address.is_ipv4())?;
            Some((own, SocketAddr::new(address, port)))
        });
        let (own, remote) = ends.ok_or_else(|| DialError::NoAddress(target.clone()))?;

        let connect = async {
            let socket = if own.is_ipv4() {
                TcpSocket::new_v4()?
            } else {
                TcpSocket::new_v6()?
            };
            socket.bind(SocketAddr::new(own, 0))?;
            let ends = Ends {
                carried: Carried::Tcp,
                source: socket.local_addr()?,
                destination: remote,
            };
            self.shared.mailbox.send(Command::Expect { ends, permit });
            let stream = socket.connect(remote).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        match tokio::time::timeout(limit, connect).await {
            Ok(connected) => connected.map_err(|error| DialError::new(target, error)),
            Err(_) => Err(DialError::TimedOut { target, limit }),
        }
    }

    /// Returns the device's name.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Returns how each site's tunnel is.
    #[must_use]
    pub fn status(&self) -> Vec<SiteStatus> {
        lock(&self.shared.report).sites.clone()
    }

    /// Returns a counter that moves whenever [`status`](Self::status) changed
    /// in more than its byte counts.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Returns how many flows are live.
    #[must_use]
    pub fn live_flows(&self) -> usize {
        self.shared.live_flows.load(Ordering::Relaxed)
    }

    /// Returns what was dropped or refused.
    #[must_use]
    pub fn counters(&self) -> Counters {
        lock(&self.shared.report).counters
    }
}

impl Drop for Transparent {
    fn drop(&mut self) {
        self.shared.mailbox.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The system could not make it.
    #[error("{target} cannot be reached: {error}")]
    Failed {
        /// What was dialled.
        target: String,
        /// What the system says.
        error: io::Error,
    },
    /// No address can stand for the name.
    #[error("{0} has no address on this machine; too many names are in use")]
    NoAddress(String),
    /// There is no device.
    #[error("the connector's network device is not there")]
    NoDevice,
    /// The application refused the connection.
    #[error("{0} refused the connection: the application does not listen there")]
    Refused(String),
    /// Nobody answered.
    #[error("{target} did not answer within {limit:?}")]
    TimedOut {
        /// What was dialled.
        target: String,
        /// How long.
        limit: Duration,
    },
    /// The site does not lead there.
    #[error("{0} cannot be reached behind the gateway")]
    Unreachable(String),
    /// Only TCP can be dialled.
    #[error("{0} cannot be dialled; only tcp can")]
    Unsupported(&'static str),
}

impl DialError {
    fn new(target: String, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            return Self::Refused(target);
        }
        if error.kind() == io::ErrorKind::HostUnreachable {
            return Self::Unreachable(target);
        }
        Self::Failed { target, error }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns how long the machine slept between two looks at the clocks.
fn asleep(clock: Moment, before: Moment, awake: Duration) -> Duration {
    clock.since(before).saturating_sub(awake)
}

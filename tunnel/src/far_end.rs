//! The other end of the tunnel: a site whose network lives inside the process,
//! behind one or more WireGuard gateways. It serves the lab and the tests.

mod driver;
pub mod tun;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connector_core::catalogue::GatewayId;
use connector_core::name::DomainName;
use connector_core::network::Prefix;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tunnel_proto::Seed;
use tunnel_proto::dns::Query;
use tunnel_proto::keys::{PrivateKey, PublicKey};
use tunnel_proto::reach::{Admission, Reach};

use self::driver::{Driver, FarGateway, Place};
use crate::Clock;
use crate::netstack::{Budget, Netstack, Role, Stack, StackConfig, TcpStream, UdpSocket};
use crate::sockets::UdpPort;

/// One site's network. Dropping it ends it.
#[derive(Debug)]
pub struct SiteNetwork {
    endpoints: BTreeMap<GatewayId, SocketAddr>,
    netstack: Arc<Netstack>,
    budget: Arc<Budget>,
    commands: Arc<Mutex<VecDeque<Command>>>,
    counters: Arc<Mutex<FarCounters>>,
    stop: Arc<Notify>,
    resolver: Option<JoinHandle<()>>,
}

/// What a site's network consists of.
#[derive(Debug)]
pub struct SiteConfig {
    /// Its gateways.
    pub gateways: Vec<GatewayConfig>,
    /// The addresses that clients may reach.
    pub prefixes: Vec<Prefix>,
    /// Its name server.
    pub resolver: Option<Resolver>,
    /// Its applications.
    pub services: Vec<Service>,
    /// The largest packet, in bytes.
    pub mtu: usize,
    /// What the buffers of all connections together may take, in bytes.
    pub buffer_budget: usize,
    /// Reads the boot clock.
    pub clock: Clock,
}

/// A WireGuard gateway of the site.
#[derive(Debug)]
pub struct GatewayConfig {
    /// Names the gateway.
    pub id: GatewayId,
    /// Where it listens; port zero lets the system choose.
    pub listen: SocketAddr,
    /// Its key.
    pub private_key: PrivateKey,
}

/// The site's name server.
#[derive(Debug, Clone)]
pub struct Resolver {
    /// Where it answers, on port 53.
    pub address: IpAddr,
    /// What it knows.
    pub records: BTreeMap<DomainName, Vec<IpAddr>>,
}

/// An application of the site.
#[derive(Clone)]
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    /// Serves one connection from a client, whose inner address is given.
    pub handler: Handler,
}

/// Serves one connection.
pub type Handler =
    Arc<dyn Fn(TcpStream, SocketAddr) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What the site's gateways have seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FarCounters {
    /// Packets from clients that reached the site.
    pub packets_in: u64,
    /// Packets that the site sent to clients.
    pub packets_out: u64,
    /// Datagrams that the gateways refused.
    pub rejected: u64,
    /// Packets to where their client may not go, or from there to it.
    pub prohibited: u64,
    /// Connections that clients opened.
    pub accepted: u64,
}

#[derive(Debug)]
enum Command {
    AddPeer {
        key: PublicKey,
        admission: Admission,
    },
    RemovePeer(PublicKey),
    SetReach {
        key: PublicKey,
        reach: Reach,
    },
    StartGateway(GatewayId),
    StopGateway(GatewayId),
}

impl SiteNetwork {
    /// Starts the network. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// A gateway cannot listen where it should.
    pub fn start(config: SiteConfig) -> io::Result<Self> {
        let now = (config.clock)();
        let mut seed = draw_seed()?;
        let budget = Budget::new(config.buffer_budget);
        let services: BTreeSet<SocketAddr> = config
            .services
            .iter()
            .map(|service| service.address)
            .collect();
        let stack = Stack::new(
            StackConfig {
                role: Role::Site(services),
                mtu: config.mtu,
                budget: Arc::clone(&budget),
                seed: Seed::new(seed.draw()),
            },
            now,
        );
        let netstack = Arc::new(Netstack::new(stack, config.clock));
        let mut gateways = Vec::new();
        let mut endpoints = BTreeMap::new();
        for gateway in config.gateways {
            let port = UdpPort::bind(gateway.listen)?;
            let endpoint = port.local_addr()?;
            endpoints.insert(gateway.id.clone(), endpoint);
            let place = Place {
                endpoint,
                prefixes: config.prefixes.clone(),
                mtu: config.mtu,
                seed: Seed::new(seed.draw()),
            };
            gateways.push(FarGateway::new(gateway, place, port, now));
        }
        let resolver = config.resolver.and_then(|resolver| {
            let socket = UdpSocket::bind(&netstack, Some((resolver.address, DNS_PORT).into()))?;
            Some(tokio::spawn(resolve(socket, resolver.records)))
        });
        let network = Self {
            endpoints,
            budget,
            netstack: Arc::clone(&netstack),
            commands: Arc::default(),
            counters: Arc::default(),
            stop: Arc::default(),
            resolver,
        };
        let services = config
            .services
            .into_iter()
            .map(|service| (service.address, service.handler))
            .collect();
        let driver = Driver::new(
            gateways,
            services,
            netstack,
            Arc::clone(&network.commands),
            Arc::clone(&network.counters),
        );
        tokio::spawn(driver.run(Arc::clone(&network.stop)));
        Ok(network)
    }

    /// Lets a client in, at every gateway.
    pub fn add_peer(&self, key: PublicKey, admission: Admission) {
        self.command(Command::AddPeer { key, admission });
    }

    /// Changes what a client may reach; what it has open elsewhere goes silent.
    pub fn set_reach(&self, key: PublicKey, reach: Reach) {
        self.command(Command::SetReach { key, reach });
    }

    /// Shuts a client out, at every gateway.
    pub fn remove_peer(&self, key: PublicKey) {
        self.command(Command::RemovePeer(key));
    }

    /// Ends a gateway as if its machine had died: its socket closes, and it
    /// forgets its sessions.
    pub fn stop_gateway(&self, id: &GatewayId) {
        self.command(Command::StopGateway(id.clone()));
    }

    /// Brings a gateway back to where it listened, as soon as that is free.
    ///
    /// # Errors
    ///
    /// There is no such gateway.
    pub fn start_gateway(&self, id: &GatewayId) -> io::Result<()> {
        if !self.endpoints.contains_key(id) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no gateway is called {id}"),
            ));
        }
        self.command(Command::StartGateway(id.clone()));
        Ok(())
    }

    /// Returns where each gateway listens, running or not.
    #[must_use]
    pub fn endpoints(&self) -> &BTreeMap<GatewayId, SocketAddr> {
        &self.endpoints
    }

    /// Returns what the gateways have seen.
    #[must_use]
    pub fn counters(&self) -> FarCounters {
        *lock(&self.counters)
    }

    /// Returns how many connections hold buffers.
    #[must_use]
    pub fn buffered_connections(&self) -> usize {
        self.budget.flows()
    }

    fn command(&self, command: Command) {
        lock(&self.commands).push_back(command);
        self.netstack.wake_driver();
    }
}

impl Drop for SiteNetwork {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(resolver) = &self.resolver {
            resolver.abort();
        }
    }
}

async fn resolve(socket: UdpSocket, records: BTreeMap<DomainName, Vec<IpAddr>>) {
    loop {
        let (message, sender) = socket.receive().await;
        if let Some(query) = Query::decode(&message) {
            let addresses = records.get(&query.name).map(Vec::as_slice);
            socket.reply(&query.encode_answer(addresses), sender);
        }
    }
}

fn draw_seed() -> io::Result<Seed> {
    let mut bits = [0; 8];
    getrandom::fill(&mut bits).map_err(io::Error::other)?;
    Ok(Seed::new(u64::from_le_bytes(bits)))
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

const DNS_PORT: u16 = 53;

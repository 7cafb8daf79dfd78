use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use connector_core::catalogue::GatewayId;
use connector_core::network::Prefix;
use connector_core::time::Moment;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tunnel_proto::Seed;
use tunnel_proto::ip::IpView;
use tunnel_proto::keys::{PrivateKey, PublicKey};
use tunnel_proto::noise::{Opened, Rejected, Responder, SealError};
use tunnel_proto::packet::{self, Headers};
use tunnel_proto::reach::{Admission, Reach};

use super::{Command, FarCounters, GatewayConfig, Handler, lock};
use crate::netstack::{Link, Netstack, TcpStream};
use crate::pace::{LONGEST_PAUSE, MAX_INBOXES, MAX_OUTBOXES, MAX_PACKET, PLAIN, SHORTEST_PAUSE};
use crate::sockets::{Inbox, Outbox, Ports, UdpPort};

/// The loop that moves the packets of a site's network.
pub(super) struct Driver {
    gateways: Vec<FarGateway>,
    services: BTreeMap<SocketAddr, Handler>,
    netstack: Arc<Netstack>,
    commands: Arc<Mutex<VecDeque<Command>>>,
    shared_counters: Arc<Mutex<FarCounters>>,
    counters: FarCounters,
    connections: JoinSet<()>,
    plain: Vec<u8>,
    packets: Vec<(usize, usize)>,
}

/// One gateway: its key and peers, and its socket while it runs.
pub(super) struct FarGateway {
    id: GatewayId,
    private_key: PrivateKey,
    place: Place,
    is_up: bool,
    peers: BTreeMap<PublicKey, Admission>,
    responder: Responder,
    ports: Option<Ports>,
    outbox: Outbox,
}

/// Where a gateway stands.
pub(super) struct Place {
    pub(super) endpoint: SocketAddr,
    /// What clients may reach through it.
    pub(super) prefixes: Vec<Prefix>,
    pub(super) mtu: usize,
    pub(super) seed: Seed,
}

impl FarGateway {
    pub(super) fn new(config: GatewayConfig, place: Place, port: UdpPort, now: Moment) -> Self {
        Self {
            id: config.id,
            responder: place.responder(&config.private_key, now),
            private_key: config.private_key,
            place,
            is_up: true,
            peers: BTreeMap::new(),
            ports: Some(Ports::single(port)),
            outbox: Outbox::new(),
        }
    }

    /// Dies: the socket closes, and sessions are forgotten.
    fn stop(&mut self, now: Moment) {
        self.is_up = false;
        self.ports = None;
        self.outbox.clear();
        self.responder = self.place.responder(&self.private_key, now);
        for (key, admission) in &self.peers {
            self.responder
                .add_peer(*key, admission.clone(), || self.place.seed.draw(), now);
        }
    }

    /// Listens again if it should and does not; its port may still be taken.
    fn recover(&mut self) {
        if self.is_up && self.ports.is_none() {
            match UdpPort::bind(self.place.endpoint) {
                Ok(port) => self.ports = Some(Ports::single(port)),
                Err(error) => {
                    tracing::warn!(gateway = %self.id, %error, "A gateway cannot listen yet")
                }
            }
        }
    }

    fn add_peer(&mut self, key: PublicKey, admission: Admission, now: Moment) {
        self.peers.insert(key, admission.clone());
        self.responder
            .add_peer(key, admission, || self.place.seed.draw(), now);
    }

    fn set_reach(&mut self, key: &PublicKey, reach: Reach) {
        if let Some(admission) = self.peers.get_mut(key) {
            admission.reach = reach.clone();
            self.responder.set_reach(key, reach);
        }
    }

    fn remove_peer(&mut self, key: &PublicKey) {
        self.peers.remove(key);
        self.responder.remove_peer(key);
    }

    fn is_blocked(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Sends what the kernel takes; a gateway that is down loses everything.
    fn flush(&mut self) {
        while let Some((to, control)) = self.responder.poll_control() {
            self.outbox.push(to, control.as_bytes());
        }
        match &self.ports {
            Some(ports) => self.outbox.flush(ports),
            None => self.outbox.clear(),
        }
    }
}

impl Place {
    fn responder(&self, key: &PrivateKey, now: Moment) -> Responder {
        Responder::new(key.clone(), self.prefixes.clone(), self.mtu, now)
    }
}

impl Driver {
    pub(super) fn new(
        gateways: Vec<FarGateway>,
        services: BTreeMap<SocketAddr, Handler>,
        netstack: Arc<Netstack>,
        commands: Arc<Mutex<VecDeque<Command>>>,
        shared_counters: Arc<Mutex<FarCounters>>,
    ) -> Self {
        Self {
            gateways,
            services,
            netstack,
            commands,
            shared_counters,
            counters: FarCounters::default(),
            connections: JoinSet::new(),
            plain: vec![0; PLAIN],
            packets: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, stop: Arc<Notify>) {
        let mut inbox = Inbox::new();
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        loop {
            let now = self.netstack.now();
            let due = self.turn(now);
            timer
                .as_mut()
                .reset(Instant::now() + due.since(now).max(SHORTEST_PAUSE));

            tokio::select! {
                from = receive(&self.gateways, &mut inbox) => self.receive(from, &mut inbox),
                () = self.netstack.work() => {}
                () = writable(&self.gateways) => {}
                () = &mut timer => {}
                () = stop.notified() => return,
            }
        }
    }

    fn turn(&mut self, now: Moment) -> Moment {
        self.obey(now);
        for gateway in &mut self.gateways {
            gateway.recover();
            if gateway.responder.poll_timeout() <= now {
                gateway.responder.handle_timeout(now);
            }
        }
        let mut stack = self.netstack.lock();
        stack.handle_timeout(now);
        drop(stack);
        self.pump(now);

        let blocked = self.gateways.iter().any(FarGateway::is_blocked);
        let due = self.netstack.lock().poll_timeout(now).filter(|_| !blocked);
        self.serve();
        *lock(&self.shared_counters) = self.counters;
        let tick = self
            .gateways
            .iter()
            .map(|gateway| gateway.responder.poll_timeout());
        tick.chain(due).fold(now + LONGEST_PAUSE, Moment::min)
    }

    /// Moves packets from the stack to the kernel until either has enough.
    fn pump(&mut self, now: Moment) {
        for _ in 0..MAX_OUTBOXES {
            let mut link = Downlink::new(&mut self.gateways, &mut self.counters, now);
            self.netstack.lock().transmit(&mut link, now);
            let full = !link.has_room();
            for gateway in &mut self.gateways {
                gateway.flush();
            }
            if !full || self.gateways.iter().any(FarGateway::is_blocked) {
                return;
            }
        }
        self.netstack.wake_driver();
    }

    fn obey(&mut self, now: Moment) {
        let commands = std::mem::take(&mut *lock(&self.commands));
        for command in commands {
            match command {
                Command::AddPeer { key, admission } => {
                    for gateway in &mut self.gateways {
                        gateway.add_peer(key, admission.clone(), now);
                    }
                }
                Command::RemovePeer(key) => {
                    for gateway in &mut self.gateways {
                        gateway.remove_peer(&key);
                    }
                }
                Command::SetReach { key, reach } => {
                    for gateway in &mut self.gateways {
                        gateway.set_reach(&key, reach.clone());
                    }
                }
                Command::StartGateway(id) => {
                    for gateway in self.gateways.iter_mut().filter(|gateway| gateway.id == id) {
                        gateway.is_up = true;
                    }
                }
                Command::StopGateway(id) => {
                    for gateway in self.gateways.iter_mut().filter(|gateway| gateway.id == id) {
                        gateway.stop(now);
                    }
                }
            }
        }
    }

    fn receive(&mut self, from: usize, inbox: &mut Inbox) {
        for turn in 1.. {
            let now = self.netstack.now();
            self.open(from, inbox, now);
            let mut stack = self.netstack.lock();
            let mut link = Downlink::new(&mut self.gateways, &mut self.counters, now);
            for (start, end) in self.packets.drain(..) {
                let packet = &self.plain[start..end];
                match pong(packet, &self.services) {
                    Some(pong) => link.transmit(pong.len(), |room| room.copy_from_slice(&pong)),
                    None => stack.handle_packet(packet, &mut link, now),
                }
            }
            drop(stack);
            self.pump(now);
            self.serve();
            let ports = self.gateways[from].ports.as_ref();
            // What is received has to be taken in: ask for more only to take it.
            if turn == MAX_INBOXES || !ports.is_some_and(|ports| ports.try_receive(inbox)) {
                break;
            }
        }
    }

    fn open(&mut self, from: usize, inbox: &Inbox, now: Moment) {
        let mut filled = 0;
        let responder = &mut self.gateways[from].responder;
        for (source, datagram) in inbox.datagrams() {
            let space = &mut self.plain[filled..];
            match responder.handle_datagram(datagram, source, space, now) {
                Ok(received) => {
                    if let Opened::Packet(packet) = received.opened {
                        let length = packet.len();
                        self.packets.push((filled, filled + length));
                        filled += length;
                        self.counters.packets_in += 1;
                    }
                }
                Err(Rejected::NotPermitted) => self.counters.prohibited += 1,
                Err(_) => self.counters.rejected += 1,
            }
        }
    }

    fn serve(&mut self) {
        while let Some(stream) = TcpStream::poll_accepted(&self.netstack) {
            let Some((local, remote)) = stream.local().zip(stream.remote()) else {
                continue;
            };
            if let Some(handler) = self.services.get(&local) {
                self.counters.accepted += 1;
                self.connections.spawn(handler(stream, remote));
            }
        }
        while self.connections.try_join_next().is_some() {}
    }
}

/// Returns what a machine that has a service answers to a ping.
fn pong(packet: &[u8], services: &BTreeMap<SocketAddr, Handler>) -> Option<Vec<u8>> {
    let headers = Headers::parse(packet)?;
    let from = SocketAddr::new(headers.destination, 0);
    let to = SocketAddr::new(headers.destination, u16::MAX);
    services.range(from..=to).next()?;
    packet::echo_reply(packet, &headers)
}

/// Encrypts packets for clients, each through the gateway that heard it last.
struct Downlink<'a> {
    gateways: &'a mut [FarGateway],
    counters: &'a mut FarCounters,
    now: Moment,
}

impl<'a> Downlink<'a> {
    fn new(gateways: &'a mut [FarGateway], counters: &'a mut FarCounters, now: Moment) -> Self {
        Self {
            gateways,
            counters,
            now,
        }
    }

    fn route(&mut self, client: IpAddr) -> Option<&mut FarGateway> {
        self.gateways
            .iter_mut()
            .filter_map(|gateway| Some((gateway.responder.last_heard(client)?, gateway)))
            .max_by_key(|(heard, _)| *heard)
            .map(|(_, gateway)| gateway)
    }
}

impl Link for Downlink<'_> {
    fn has_room(&self) -> bool {
        self.gateways
            .iter()
            .all(|gateway| gateway.outbox.has_room())
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut packet = [0; MAX_PACKET];
        let result = write(&mut packet[..length]);
        let now = self.now;
        let Some(client) = IpView::parse(&packet[..length]).map(|view| view.destination) else {
            return result;
        };
        let Some(gateway) = self.route(client) else {
            return result;
        };
        let Some(space) = gateway.outbox.space() else {
            return result;
        };
        let responder = &mut gateway.responder;
        match responder.seal(&mut packet, length, client, space, now) {
            Ok((to, sealed)) => {
                gateway.outbox.commit(to, sealed);
                self.counters.packets_out += 1;
            }
            Err(SealError::NotPermitted) => self.counters.prohibited += 1,
            Err(SealError::KeysUsedUp | SealError::NoSession | SealError::ShortBuffer { .. }) => {}
        }
        result
    }
}

async fn receive(gateways: &[FarGateway], inbox: &mut Inbox) -> usize {
    poll_fn(|context| {
        let ready = gateways.iter().position(|gateway| {
            gateway
                .ports
                .as_ref()
                .is_some_and(|ports| ports.poll_receive(context, inbox).is_ready())
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Completes when a socket takes more of what waits for it.
async fn writable(gateways: &[FarGateway]) {
    poll_fn(|context| {
        let blocked = gateways
            .iter()
            .filter(|gateway| !gateway.outbox.is_empty())
            .all(|gateway| {
                gateway
                    .ports
                    .as_ref()
                    .is_none_or(|ports| ports.poll_writable(context).is_pending())
            });
        if blocked {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

//! A gateway with a network device: what clients send comes out of the device,
//! and the kernel behind it forwards; what the kernel routes into the device
//! goes to the client that has the destination. Both ways, each packet is put
//! to what its client may reach.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use connector_core::network::Prefix;
use connector_core::time::Moment;
use tunnel_proto::Seed;
use tunnel_proto::ip::IpView;
use tunnel_proto::keys::{PrivateKey, PublicKey};
use tunnel_proto::noise::{Opened, Responder};
use tunnel_proto::offload::{Coalescer, ROOM, Segments, VirtioHeader};
use tunnel_proto::queueing::{Intake, Taken};
use tunnel_proto::reach::Admission;

use super::{draw_seed, lock};
use crate::Clock;
use crate::device::{Device, DeviceConfig, OpenError, Reactor, Ready, Waker};
use crate::pace::read_ahead;
use crate::sockets::{Inbox, Outbox, Port, PortOptions, Ports, RawPort};

/// A gateway that runs on a thread of its own. Dropping it ends it, and
/// removes the device.
#[derive(Debug)]
pub struct TunGateway {
    endpoint: SocketAddr,
    stop: Arc<AtomicBool>,
    orders: Arc<Mutex<Vec<Order>>>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// What a gateway with a network device consists of.
#[derive(Debug)]
pub struct TunConfig {
    /// The device to make.
    pub device: DeviceConfig,
    /// Where it listens; port zero lets the system choose.
    pub listen: SocketAddr,
    /// Its key.
    pub private_key: PrivateKey,
    /// What clients may reach through it at most, if the kernel has a route there.
    pub destinations: Vec<Prefix>,
    /// Who may come in.
    pub peers: Vec<(PublicKey, Admission)>,
    /// Reads the boot clock.
    pub clock: Clock,
}

/// A change of who may come in.
#[derive(Debug)]
enum Order {
    Admit(PublicKey, Admission),
    ShutOut(PublicKey),
}

impl TunGateway {
    /// Makes the device, listens, and moves packets from now on.
    ///
    /// # Errors
    ///
    /// The device cannot be made, or the address is in use.
    pub fn start(config: TunConfig) -> Result<Self, StartError> {
        let listen = |problem| StartError::Listen {
            endpoint: config.listen,
            problem,
        };
        let port = RawPort::bind(config.listen, PortOptions::default()).map_err(listen)?;
        let endpoint = port.local_addr().map_err(listen)?;
        let device = Device::open(&config.device)?;
        let (reactor, waker) = Reactor::new(&device).map_err(StartError::Resources)?;
        let stop = Arc::new(AtomicBool::new(false));
        let orders = Arc::default();
        let mut seed = draw_seed().map_err(StartError::Resources)?;
        let mover = Mover {
            responder: responder(&config, &mut seed),
            seed,
            orders: Arc::clone(&orders),
            coalescer: Coalescer::new(ARENA, device.offload()),
            device,
            reactor,
            ports: Ports::single(port),
            clock: config.clock,
            stop: Arc::clone(&stop),
            intake: Intake::new(LARGEST_READ),
            inbox: Inbox::new(),
            outbox: Outbox::new(),
        };
        let thread = std::thread::Builder::new()
            .name("gateway".to_owned())
            .spawn(move || mover.run())
            .map_err(StartError::Resources)?;
        Ok(Self {
            endpoint,
            stop,
            orders,
            waker,
            thread: Some(thread),
        })
    }

    /// Lets a client in, or changes what it may do; it has to shake hands again.
    pub fn admit(&self, key: PublicKey, admission: Admission) {
        self.order(Order::Admit(key, admission));
    }

    /// Shuts a client out: from now on nothing of it gets in, and nothing reaches it.
    pub fn shut_out(&self, key: PublicKey) {
        self.order(Order::ShutOut(key));
    }

    fn order(&self, order: Order) {
        lock(&self.orders).push(order);
        self.waker.wake();
    }

    /// Returns where the gateway listens.
    #[must_use]
    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }
}

impl Drop for TunGateway {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

fn responder(config: &TunConfig, seed: &mut Seed) -> Responder {
    let now = (config.clock)();
    let mtu = config.device.mtu.into();
    let mut responder = Responder::new(
        config.private_key.clone(),
        config.destinations.clone(),
        mtu,
        now,
    );
    for (key, admission) in &config.peers {
        responder.add_peer(*key, admission.clone(), || seed.draw(), now);
    }
    responder
}

/// Everything that the thread owns.
struct Mover {
    device: Device,
    reactor: Reactor,
    ports: Ports<RawPort>,
    responder: Responder,
    seed: Seed,
    clock: Clock,
    stop: Arc<AtomicBool>,
    orders: Arc<Mutex<Vec<Order>>>,
    intake: Intake,
    inbox: Inbox,
    outbox: Outbox,
    coalescer: Coalescer,
}

impl Mover {
    fn run(mut self) {
        let mut ready = Ready::default();
        while !self.stop.load(Ordering::Relaxed) {
            let now = (self.clock)();
            self.obey(now);
            let has_read = ready.device || !self.intake.is_empty();
            let more_received = ready.sockets && self.receive(now);
            let more_read = has_read && self.read_device(now);
            self.settle(now);

            // What the sockets have no room for is left in the device, which
            // tells the kernel's senders to wait.
            let is_full = !self.outbox.is_empty();
            let more_taken = !is_full && !self.intake.is_empty();
            let pause = if more_received || more_read || more_taken {
                Duration::ZERO
            } else {
                self.responder.poll_timeout().since((self.clock)())
            };
            ready = match self
                .reactor
                .wait(!is_full, &self.ports, is_full, Some(pause))
            {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!(%error, "The gateway cannot wait for packets and ends");
                    return;
                }
            };
        }
    }

    fn obey(&mut self, now: Moment) {
        for order in std::mem::take(&mut *lock(&self.orders)) {
            match order {
                Order::Admit(key, admission) => {
                    let seed = &mut self.seed;
                    let responder = &mut self.responder;
                    responder.add_peer(key, admission, || seed.draw(), now);
                }
                Order::ShutOut(key) => self.responder.remove_peer(&key),
            }
        }
    }

    /// Passes on what clients sent; returns whether there may be more.
    fn receive(&mut self, now: Moment) -> bool {
        if !self.ports.try_receive(&mut self.inbox) {
            return false;
        }
        for (from, datagram) in self.inbox.datagrams() {
            if self.coalescer.space().is_none() {
                drain(&mut self.coalescer, &self.device);
            }
            let Some(space) = self.coalescer.space() else {
                break;
            };
            let opened = self.responder.handle_datagram(datagram, from, space, now);
            if let Ok(received) = opened
                && let Opened::Packet(packet) = received.opened
            {
                let length = packet.len();
                self.coalescer.push(length);
            }
        }
        drain(&mut self.coalescer, &self.device);
        true
    }

    /// Seals what the kernel routed here; returns whether there may be more.
    fn read_device(&mut self, now: Moment) -> bool {
        if !self.outbox.is_empty() {
            return false;
        }
        let is_drained = read_ahead(&self.device, &mut self.intake);
        while let Some(mut taken) = self.intake.take() {
            self.seal(&mut taken, now);
            self.intake.give_back(taken.buffer);
            if !self.outbox.has_room() {
                self.outbox.flush(&self.ports);
            }
            if !self.outbox.has_room() {
                return false;
            }
        }
        !is_drained
    }

    /// Seals a (super-)packet for the client that it is for.
    fn seal(&mut self, taken: &mut Taken, now: Moment) {
        let length = taken.length.saturating_sub(VirtioHeader::LENGTH);
        let Some((header, packet)) = taken.buffer.split_first_chunk_mut() else {
            return;
        };
        let Some(client) = IpView::parse(&packet[..length]).map(|view| view.destination) else {
            return;
        };
        let Ok(mut segments) =
            VirtioHeader::parse(header).and_then(|header| Segments::new(header, packet, length))
        else {
            return;
        };
        while let Some(segment) = segments.next() {
            if !self.outbox.has_room() {
                self.outbox.flush(&self.ports);
            }
            let Some(space) = self.outbox.space() else {
                return;
            };
            let sealed = self
                .responder
                .seal(segment.bytes, segment.length, client, space, now);
            match sealed {
                Ok((to, length)) => self.outbox.commit(to, length),
                // Nobody has the address, its owner was never heard, or may not be sent it.
                Err(_) => return,
            }
        }
    }

    fn settle(&mut self, now: Moment) {
        if self.responder.poll_timeout() <= now {
            self.responder.handle_timeout(now);
        }
        while let Some((to, control)) = self.responder.poll_control() {
            self.outbox.push(to, control.as_bytes());
        }
        self.outbox.flush(&self.ports);
    }
}

/// Writes what was decrypted to the device, which drops what it has no room
/// for: TCP repeats it.
fn drain(coalescer: &mut Coalescer, device: &Device) {
    let drained = coalescer.drain(|header, packet| device.try_write(header, packet));
    if let Some(error) = drained.error {
        tracing::debug!(%error, lost = drained.lost, "The gateway's device refused packets");
    }
}

impl fmt::Debug for Mover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mover").finish_non_exhaustive()
    }
}

/// Why a gateway with a network device cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no device.
    #[error(transparent)]
    Device(#[from] OpenError),
    /// It cannot listen where it should.
    #[error("cannot listen for WireGuard on {endpoint}: {problem}; choose another address or port")]
    Listen {
        /// Where it should.
        endpoint: SocketAddr,
        /// What the system says.
        problem: io::Error,
    },
    /// The system has no thread, descriptor or randomness left.
    #[error("the system refuses what a gateway needs to run: {0}")]
    Resources(io::Error),
}

/// The largest super-packet, its header, and room for padding.
const LARGEST_READ: usize = VirtioHeader::LENGTH + 65_536 + ROOM;

/// What one turn of receiving fills in the processor's nearer cache.
const ARENA: usize = 256 * 1024;

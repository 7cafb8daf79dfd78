//! Many flows that never pause, from one program.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// UDP flows from this process: some sockets, each to every destination.
#[derive(Debug)]
pub struct Flows {
    sockets: Vec<UdpSocket>,
    destinations: Vec<SocketAddr>,
}

impl Flows {
    /// Prepares flows from so many sockets to `port` of each address.
    ///
    /// # Panics
    ///
    /// If there are no sockets to be had.
    #[must_use]
    pub fn new(sockets: usize, addresses: impl Iterator<Item = IpAddr>, port: u16) -> Self {
        let sockets = (0..sockets).map(|_| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a UDP socket");
            socket.set_nonblocking(true).expect("a socket");
            socket
        });
        Self {
            sockets: sockets.collect(),
            destinations: addresses.map(|address| (address, port).into()).collect(),
        }
    }

    /// Returns how many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        let count = self.sockets.len() * self.destinations.len();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Sends one datagram in each flow, and goes on where one is refused. Returns how many were taken.
    pub fn send_round(&self, pause: Duration) -> u64 {
        let mut taken = 0;
        for socket in &self.sockets {
            for destination in &self.destinations {
                taken += u64::from(socket.send_to(&PAYLOAD, destination).is_ok());
                if !pause.is_zero() {
                    std::thread::park_timeout(pause);
                }
            }
            // Answers are of no interest; refusals, which the system reports once each, neither.
            while socket.recv(&mut [0; 2048]).is_ok() {}
        }
        taken
    }

    /// Sends round after round on a thread of its own, a pause after each datagram, until it is dropped.
    #[must_use]
    pub fn go_on(self, pause: Duration) -> GoingOn {
        let (stop, rounds) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let thread = std::thread::spawn({
            let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let _refused = self.send_round(pause);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
                self
            }
        });
        GoingOn {
            stop,
            rounds,
            thread,
        }
    }
}

/// Flows that are being sent.
#[derive(Debug)]
pub struct GoingOn {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Flows>,
}

impl GoingOn {
    /// Returns how many rounds were sent.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Stops after the round that is being sent.
    ///
    /// # Panics
    ///
    /// If sending panicked.
    #[must_use]
    pub fn stop(self) -> Flows {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("sending goes well")
    }
}

/// Longer than whatever else a tunnel sends.
const PAYLOAD: [u8; 700] = [0x5a; 700];

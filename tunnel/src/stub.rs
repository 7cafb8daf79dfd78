//! The name server of this machine: answers for protected names, and passes
//! everything else on to those who were asked before.
//!
//! A question that is passed on goes out from a socket of its own, with a
//! number of its own, over the transport that it came by. Its answer counts if
//! it comes from who was asked, with that number, to that question, and does
//! not lead to synthetic addresses.

mod forward;
mod streams;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::Socket;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tunnel_proto::dns::{Reply, Request, Transport};
use tunnel_proto::split_dns::{Answer, SplitDns};

use crate::Clock;

/// The name server. Dropping it ends it.
#[derive(Debug)]
pub struct Stub {
    addresses: Vec<SocketAddr>,
    _tasks: JoinSet<()>,
}

/// What a name server consists of.
pub struct StubConfig {
    /// Where it listens, over UDP and TCP; port 53 where programs are to find it.
    pub listen: Vec<SocketAddr>,
    /// Who is asked what is not ours, in this order.
    pub upstreams: watch::Receiver<Vec<SocketAddr>>,
    /// Prepares each socket towards them, so that it stays outside the tunnel.
    pub prepare: Prepare,
    /// What it answers.
    pub names: Arc<Mutex<SplitDns>>,
    /// Reads the boot clock.
    pub clock: Clock,
}

/// Prepares a socket before it is used.
pub type Prepare = Arc<dyn Fn(&Socket) -> io::Result<()> + Send + Sync>;

impl fmt::Debug for StubConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StubConfig")
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl Stub {
    /// Starts to listen. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// It cannot listen at one of the addresses.
    pub async fn start(config: StubConfig) -> Result<Self, StubError> {
        let mut addresses = Vec::with_capacity(config.listen.len());
        let mut sockets = Vec::with_capacity(config.listen.len());
        for address in &config.listen {
            let failed = |error| StubError {
                address: *address,
                error,
            };
            let tcp = TcpListener::bind(address).await.map_err(failed)?;
            // Both have the same port, also when the system chooses it.
            let address = tcp.local_addr().map_err(failed)?;
            let udp = UdpSocket::bind(address).await.map_err(failed)?;
            addresses.push(address);
            sockets.push((udp, tcp));
        }

        let shared = Arc::new(Shared {
            own: addresses.clone(),
            upstreams: config.upstreams,
            prepare: config.prepare,
            names: config.names,
            clock: config.clock,
            forwards: Arc::new(Semaphore::new(MAX_FORWARDS)),
            preferred: Mutex::default(),
        });
        let connections = Arc::new(Semaphore::new(streams::MAX_CONNECTIONS));
        let mut tasks = JoinSet::new();
        for (udp, tcp) in sockets {
            tasks.spawn(serve_datagrams(Arc::clone(&shared), udp));
            let connections = Arc::clone(&connections);
            tasks.spawn(streams::serve(Arc::clone(&shared), tcp, connections));
        }
        Ok(Self {
            addresses,
            _tasks: tasks,
        })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

/// The machine's name server could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "could not listen for DNS questions at {address}: {error}; no other program may use that address and port"
)]
pub struct StubError {
    address: SocketAddr,
    #[source]
    error: io::Error,
}

/// What all of its tasks use.
struct Shared {
    own: Vec<SocketAddr>,
    upstreams: watch::Receiver<Vec<SocketAddr>>,
    prepare: Prepare,
    names: Arc<Mutex<SplitDns>>,
    clock: Clock,
    forwards: Arc<Semaphore>,
    preferred: Mutex<Option<SocketAddr>>,
}

impl Shared {
    fn answer(&self, message: &[u8], transport: Transport) -> Answer {
        let now = (self.clock)();
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.answer(message, transport, now)
    }

    /// Passes a question on; returns the answer for the program, whatever happens.
    async fn forward(&self, request: &Request, message: &[u8], transport: Transport) -> Vec<u8> {
        forward::forward(self, request, message, transport)
            .await
            .filter(|answer| self.is_harmless(answer))
            .unwrap_or_else(|| request.reply(&Reply::Failed, transport))
    }

    fn is_harmless(&self, answer: &[u8]) -> bool {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let is_harmless = names.is_harmless(answer);
        if !is_harmless {
            tracing::debug!(
                "an answer from outside leads to protected applications or is malformed"
            );
        }
        is_harmless
    }

    /// Returns whom to ask, in order, who answered last first; never ourselves.
    fn upstreams(&self) -> Vec<SocketAddr> {
        let mut upstreams: Vec<SocketAddr> = self.upstreams.borrow().clone();
        upstreams.retain(|upstream| !self.own.contains(upstream));
        let preferred = *self
            .preferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        upstreams.sort_by_key(|upstream| Some(*upstream) != preferred);
        upstreams.truncate(MAX_UPSTREAMS);
        upstreams
    }

    /// Has this one asked first from now on, lest every question wait for one
    /// that is gone.
    fn prefer(&self, upstream: SocketAddr) {
        let mut preferred = self
            .preferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *preferred = Some(upstream);
    }
}

async fn serve_datagrams(shared: Arc<Shared>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut forwards = JoinSet::new();
    let mut buffer = vec![0; MAX_QUESTION];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            Some(_) = forwards.join_next() => continue,
        };
        let (length, client) = match received {
            Ok(received) => received,
            Err(error) => {
                // On some systems it is about an earlier answer that found nobody.
                tracing::debug!(%error, "could not receive a DNS question");
                sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        let message = &buffer[..length];
        match shared.answer(message, Transport::Udp) {
            Answer::Forward(request) => {
                let Ok(permit) = Arc::clone(&shared.forwards).try_acquire_owned() else {
                    let reply = request.reply(&Reply::Failed, Transport::Udp);
                    reply_to(&socket, client, &reply).await;
                    continue;
                };
                let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
                let message = message.to_vec();
                forwards.spawn(async move {
                    let reply = shared.forward(&request, &message, Transport::Udp).await;
                    reply_to(&socket, client, &reply).await;
                    drop(permit);
                });
            }
            Answer::Ignore => {}
            Answer::Reply(reply) => reply_to(&socket, client, &reply).await,
        }
    }
}

async fn reply_to(socket: &UdpSocket, client: SocketAddr, reply: &[u8]) {
    if let Err(error) = socket.send_to(reply, client).await {
        tracing::debug!(%error, "could not send a DNS answer");
    }
}

/// Questions that are passed on at the same time.
const MAX_FORWARDS: usize = 256;

/// Programs do not wait for longer than that many servers take.
const MAX_UPSTREAMS: usize = 3;

/// Longer than any question in a datagram: what is cut off is malformed.
const MAX_QUESTION: usize = 4096;

/// Long enough not to spin, short enough not to be noticed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

//! UDP towards gateways and clients: unconnected sockets, many datagrams per
//! system call where the kernel can, one where it cannot.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// One UDP socket with whatever offload the kernel has.
#[derive(Debug)]
pub struct UdpPort {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl UdpPort {
    /// Binds to `local`. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the system says, for instance that the address is in use.
    pub fn bind(local: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // As much as the system allows; without it bursts are lost, not correctness.
        let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
        let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&local.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket, state })
    }

    /// Returns the address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Receives as many datagrams as are there, up to what `inbox` holds.
    fn poll_receive(&self, context: &mut Context<'_>, inbox: &mut Inbox) -> Poll<()> {
        for _ in 0..MAX_FAILURES {
            match self.socket.poll_recv_ready(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => continue,
                Poll::Ready(Ok(())) => {}
            }
            if self.try_receive(inbox) {
                return Poll::Ready(());
            }
        }
        // A socket that only fails is tried again at the next turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Receives what is there now; returns whether anything was.
    pub fn try_receive(&self, inbox: &mut Inbox) -> bool {
        let received = self.socket.try_io(Interest::READABLE, || {
            let mut slices = inbox
                .buffers
                .each_mut()
                .map(|buffer| IoSliceMut::new(buffer));
            self.state
                .recv((&self.socket).into(), &mut slices, &mut inbox.metas)
        });
        // An error is about some datagram sent before, which is TCP's to repeat.
        inbox.filled = received.unwrap_or(0);
        inbox.filled > 0
    }

    fn try_send(&self, run: &Run, contents: &[u8]) -> io::Result<()> {
        self.socket.try_io(Interest::WRITABLE, || {
            let transmit = Transmit {
                destination: run.destination,
                ecn: None,
                contents,
                segment_size: (run.segments > 1).then_some(run.segment),
                src_ip: None,
            };
            self.state.try_send((&self.socket).into(), &transmit)
        })
    }
}

/// The sockets of one tunnel: one for each IP version that it needs.
#[derive(Debug, Default)]
pub struct Ports {
    v4: Option<UdpPort>,
    v6: Option<UdpPort>,
}

impl Ports {
    /// Binds what is needed to send to all of `destinations`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn towards(destinations: impl IntoIterator<Item = SocketAddr>) -> io::Result<Self> {
        let mut ports = Self::default();
        for destination in destinations {
            if destination.is_ipv4() && ports.v4.is_none() {
                ports.v4 = Some(UdpPort::bind((Ipv4Addr::UNSPECIFIED, 0).into())?);
            }
            if destination.is_ipv6() && ports.v6.is_none() {
                ports.v6 = Some(UdpPort::bind((Ipv6Addr::UNSPECIFIED, 0).into())?);
            }
        }
        Ok(ports)
    }

    /// Uses a socket that is bound already.
    #[must_use]
    pub fn single(port: UdpPort) -> Self {
        let is_v4 = port.local_addr().is_ok_and(|local| local.is_ipv4());
        let (v4, v6) = if is_v4 {
            (Some(port), None)
        } else {
            (None, Some(port))
        };
        Self { v4, v6 }
    }

    /// Waits for datagrams.
    pub async fn receive(&self, inbox: &mut Inbox) {
        poll_fn(|context| self.poll_receive(context, inbox)).await;
    }

    pub(crate) fn poll_receive(&self, context: &mut Context<'_>, inbox: &mut Inbox) -> Poll<()> {
        let ready = self
            .both()
            .any(|port| port.poll_receive(context, inbox).is_ready());
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Receives what is there now; returns whether anything was.
    pub fn try_receive(&self, inbox: &mut Inbox) -> bool {
        self.both().any(|port| port.try_receive(inbox))
    }

    /// Waits until more can be sent.
    pub async fn writable(&self) {
        poll_fn(|context| self.poll_writable(context)).await;
    }

    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        let blocked = self
            .both()
            .all(|port| port.socket.poll_send_ready(context).is_pending());
        if blocked {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn both(&self) -> impl Iterator<Item = &UdpPort> {
        [&self.v4, &self.v6].into_iter().flatten()
    }

    fn port_towards(&self, destination: SocketAddr) -> Option<&UdpPort> {
        if destination.is_ipv4() {
            self.v4.as_ref()
        } else {
            self.v6.as_ref()
        }
    }
}

/// Buffers for received datagrams, allocated once.
pub struct Inbox {
    buffers: [Box<[u8]>; BATCH],
    metas: [RecvMeta; BATCH],
    filled: usize,
}

impl Inbox {
    /// Allocates the buffers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffers: std::array::from_fn(|_| vec![0; RECEIVE_BUFFER].into()),
            metas: [RecvMeta::default(); BATCH],
            filled: 0,
        }
    }

    /// Returns the datagrams that were received last, and where they came from.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.buffers[..self.filled]
            .iter()
            .zip(&self.metas)
            .flat_map(|(buffer, meta)| {
                let received = &buffer[..meta.len.min(buffer.len())];
                received
                    .chunks(meta.stride.max(1))
                    .map(|datagram| (meta.addr, datagram))
            })
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox")
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

/// Datagrams that wait to be sent: bounded, in order, and grouped so that a
/// run of equal ones to one destination takes one system call.
pub struct Outbox {
    buffer: Box<[u8]>,
    filled: usize,
    runs: VecDeque<Run>,
    max_segments: usize,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    destination: SocketAddr,
    start: usize,
    end: usize,
    segment: usize,
    segments: usize,
    closed: bool,
}

impl Outbox {
    /// Allocates the buffer.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: vec![0; SEND_BUFFER].into(),
            filled: 0,
            runs: VecDeque::new(),
            max_segments: 1,
        }
    }

    /// Returns whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Returns whether another datagram can be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.filled + MAX_DATAGRAM <= self.buffer.len()
    }

    /// Returns the space for the next datagram, to be kept with [`commit`](Self::commit).
    pub fn space(&mut self) -> Option<&mut [u8]> {
        self.has_room().then(|| &mut self.buffer[self.filled..])
    }

    /// Keeps the `length` bytes that were written to [`space`](Self::space).
    pub fn commit(&mut self, destination: SocketAddr, length: usize) {
        let start = self.filled;
        self.filled += length;
        let open = self.runs.back_mut().filter(|run| {
            !run.closed
                && run.destination == destination
                && length <= run.segment
                && run.segments < self.max_segments
                && self.filled - run.start <= MAX_RUN
        });
        if let Some(run) = open {
            run.end = self.filled;
            run.segments += 1;
            run.closed = length < run.segment;
            return;
        }
        self.runs.push_back(Run {
            destination,
            start,
            end: self.filled,
            segment: length,
            segments: 1,
            closed: false,
        });
    }

    /// Takes a datagram that was written elsewhere; without room it is lost.
    pub fn push(&mut self, destination: SocketAddr, datagram: &[u8]) {
        let Some(space) = self.space() else { return };
        if let Some(space) = space.get_mut(..datagram.len()) {
            space.copy_from_slice(datagram);
            self.commit(destination, datagram.len());
        }
    }

    /// Sends what the kernel takes. What it refuses for good is dropped: TCP
    /// repeats it, over another gateway if need be.
    pub fn flush(&mut self, ports: &Ports) {
        while let Some(run) = self.runs.front().copied() {
            let Some(port) = ports.port_towards(run.destination) else {
                self.runs.pop_front();
                continue;
            };
            let supported = port.state.max_gso_segments();
            self.max_segments = supported;
            if run.segments > supported {
                self.split_first(run);
                continue;
            }
            match port.try_send(&run, &self.buffer[run.start..run.end]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The kernel promised an offload that its driver does not have.
                Err(_) if run.segments > port.state.max_gso_segments() => self.split_first(run),
                Ok(()) | Err(_) => {
                    self.runs.pop_front();
                }
            }
        }
        self.filled = 0;
    }

    /// Loses everything that waits.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.filled = 0;
    }

    fn split_first(&mut self, run: Run) {
        self.runs.pop_front();
        let singles = (run.start..run.end).step_by(run.segment).map(|start| Run {
            start,
            end: (start + run.segment).min(run.end),
            segments: 1,
            closed: true,
            ..run
        });
        for single in singles.rev() {
            self.runs.push_front(single);
        }
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox")
            .field("filled", &self.filled)
            .field("runs", &self.runs.len())
            .finish_non_exhaustive()
    }
}

/// The largest datagram that a tunnel sends, with room to spare.
const MAX_DATAGRAM: usize = 2048;

/// Two full runs: one to fill while the kernel takes the other.
const SEND_BUFFER: usize = 128 * 1024;

/// What one UDP send may carry, below 64 KiB less the headers.
const MAX_RUN: usize = 65_000;

/// Receive buffers a turn.
const BATCH: usize = 4;

/// A kernel that coalesces may hand over 64 datagrams at once.
const RECEIVE_BUFFER: usize = 64 * 1500;

/// Enough to sit out the other work of one turn at several Gb/s.
const KERNEL_BUFFER: usize = 4 << 20;

/// Errors of a socket are read off one by one.
const MAX_FAILURES: usize = 8;

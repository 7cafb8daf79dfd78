//! UDP towards gateways and clients: unconnected sockets, many datagrams per
//! system call where the kernel can, one where it cannot.

mod inbox;
mod outbox;

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;

pub use self::inbox::Inbox;
pub use self::outbox::Outbox;
use crate::device;

/// One UDP socket with whatever offload the kernel has, for a thread that waits
/// by itself.
#[derive(Debug)]
pub struct RawPort {
    socket: std::net::UdpSocket,
    state: UdpSocketState,
}

/// One UDP socket with whatever offload the kernel has, for a tokio task.
#[derive(Debug)]
pub struct UdpPort {
    socket: tokio::net::UdpSocket,
    state: UdpSocketState,
}

/// What sets a socket apart from others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortOptions {
    /// The mark of its packets, by which routing and firewall know them.
    pub mark: Option<u32>,
    /// Whether its datagrams may be fragmented on their way; otherwise those
    /// that are too long for the path are lost.
    pub may_fragment: bool,
}

/// A UDP socket that can be one of [`Ports`].
pub trait Port: Sized {
    /// Binds to `local`.
    ///
    /// # Errors
    ///
    /// What the system says, for instance that the address is in use.
    fn bind(local: SocketAddr, options: PortOptions) -> io::Result<Self>;

    /// Returns the address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Receives what is there now; returns whether anything was.
    fn try_receive(&self, inbox: &mut Inbox) -> bool;

    /// Sends datagrams of `segment` bytes each, the last of which may be
    /// shorter, in one call.
    ///
    /// # Errors
    ///
    /// What the system says; [`io::ErrorKind::WouldBlock`] if it has no room now.
    fn try_send(&self, to: SocketAddr, datagrams: &[u8], segment: usize) -> io::Result<()>;

    /// Returns how many datagrams can be sent in one call.
    fn max_segments(&self) -> usize;
}

impl RawPort {
    fn into_tokio(self) -> io::Result<UdpPort> {
        Ok(UdpPort {
            socket: tokio::net::UdpSocket::from_std(self.socket)?,
            state: self.state,
        })
    }

    /// Returns the socket, to wait for it.
    #[must_use]
    pub fn socket(&self) -> &std::net::UdpSocket {
        &self.socket
    }
}

impl Port for RawPort {
    fn bind(local: SocketAddr, options: PortOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if let Some(mark) = options.mark {
            device::set_mark(&socket, mark)?;
        }
        device::enlarge_buffers(&socket, KERNEL_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&local.into())?;
        let socket = std::net::UdpSocket::from(socket);
        let state = UdpSocketState::new((&socket).into())?;
        if options.may_fragment {
            // The state has just forbidden it.
            device::allow_fragments(&SockRef::from(&socket))?;
        }
        Ok(Self { socket, state })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn try_receive(&self, inbox: &mut Inbox) -> bool {
        inbox.fill(|buffers, metas| self.state.recv((&self.socket).into(), buffers, metas))
    }

    fn try_send(&self, to: SocketAddr, datagrams: &[u8], segment: usize) -> io::Result<()> {
        send(&self.state, (&self.socket).into(), to, datagrams, segment)
    }

    fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }
}

impl UdpPort {
    /// Binds to `local`. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the system says, for instance that the address is in use.
    pub fn bind(local: SocketAddr) -> io::Result<Self> {
        <Self as Port>::bind(local, PortOptions::default())
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
}

impl Port for UdpPort {
    fn bind(local: SocketAddr, options: PortOptions) -> io::Result<Self> {
        RawPort::bind(local, options)?.into_tokio()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn try_receive(&self, inbox: &mut Inbox) -> bool {
        inbox.fill(|buffers, metas| {
            self.socket.try_io(Interest::READABLE, || {
                self.state.recv((&self.socket).into(), buffers, metas)
            })
        })
    }

    fn try_send(&self, to: SocketAddr, datagrams: &[u8], segment: usize) -> io::Result<()> {
        self.socket.try_io(Interest::WRITABLE, || {
            send(&self.state, (&self.socket).into(), to, datagrams, segment)
        })
    }

    fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }
}

fn send(
    state: &UdpSocketState,
    socket: UdpSockRef<'_>,
    destination: SocketAddr,
    contents: &[u8],
    segment: usize,
) -> io::Result<()> {
    let transmit = Transmit {
        destination,
        ecn: None,
        contents,
        segment_size: (contents.len() > segment).then_some(segment),
        src_ip: None,
    };
    state.try_send(socket, &transmit)
}

/// The sockets of one tunnel: one for each IP version that it needs.
#[derive(Debug)]
pub struct Ports<P = UdpPort> {
    v4: Option<P>,
    v6: Option<P>,
    /// Whose turn it is to be received from first, so that one that is never
    /// empty does not silence the other.
    v6_first: AtomicBool,
}

impl<P: Port> Ports<P> {
    /// Binds what is needed to send to all of `destinations`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn bind_towards(
        destinations: impl IntoIterator<Item = SocketAddr>,
        options: PortOptions,
    ) -> io::Result<Self> {
        let mut ports = Self {
            v4: None,
            v6: None,
            v6_first: AtomicBool::new(false),
        };
        for destination in destinations {
            if destination.is_ipv4() && ports.v4.is_none() {
                ports.v4 = Some(P::bind((Ipv4Addr::UNSPECIFIED, 0).into(), options)?);
            }
            if destination.is_ipv6() && ports.v6.is_none() {
                ports.v6 = Some(P::bind((Ipv6Addr::UNSPECIFIED, 0).into(), options)?);
            }
        }
        Ok(ports)
    }

    /// Uses a socket that is bound already.
    #[must_use]
    pub fn single(port: P) -> Self {
        let is_v4 = port.local_addr().is_ok_and(|local| local.is_ipv4());
        let (v4, v6) = if is_v4 {
            (Some(port), None)
        } else {
            (None, Some(port))
        };
        Self {
            v4,
            v6,
            v6_first: AtomicBool::new(false),
        }
    }

    /// Receives what is there now; returns whether anything was.
    pub fn try_receive(&self, inbox: &mut Inbox) -> bool {
        self.in_turn().any(|port| port.try_receive(inbox))
    }

    /// Returns the sockets, two at most.
    pub fn iter(&self) -> impl Iterator<Item = &P> {
        [&self.v4, &self.v6].into_iter().flatten()
    }

    fn in_turn(&self) -> impl Iterator<Item = &P> {
        let mut order = [&self.v4, &self.v6];
        if self.v6_first.fetch_not(Ordering::Relaxed) {
            order.reverse();
        }
        order.into_iter().flatten()
    }

    fn towards_address(&self, destination: SocketAddr) -> Option<&P> {
        if destination.is_ipv4() {
            self.v4.as_ref()
        } else {
            self.v6.as_ref()
        }
    }
}

impl Ports {
    /// Binds what is needed to send to all of `destinations`. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn towards(destinations: impl IntoIterator<Item = SocketAddr>) -> io::Result<Self> {
        Self::bind_towards(destinations, PortOptions::default())
    }

    /// Waits for datagrams.
    pub async fn receive(&self, inbox: &mut Inbox) {
        poll_fn(|context| self.poll_receive(context, inbox)).await;
    }

    pub(crate) fn poll_receive(&self, context: &mut Context<'_>, inbox: &mut Inbox) -> Poll<()> {
        let ready = self
            .in_turn()
            .any(|port| port.poll_receive(context, inbox).is_ready());
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Waits until more can be sent.
    pub async fn writable(&self) {
        poll_fn(|context| self.poll_writable(context)).await;
    }

    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        let blocked = self
            .iter()
            .all(|port| port.socket.poll_send_ready(context).is_pending());
        if blocked {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

/// Enough to sit out the other work of one turn at several Gb/s.
const KERNEL_BUFFER: usize = 7 << 20;

/// Errors of a socket are read off one by one.
const MAX_FAILURES: usize = 8;

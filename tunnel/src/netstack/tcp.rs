use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{RecvError, State};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Netstack;

/// A TCP connection of a [`Netstack`].
///
/// Dropping it closes the connection; what was written is still delivered.
#[derive(Debug)]
pub struct TcpStream {
    netstack: Arc<Netstack>,
    handle: SocketHandle,
}

impl TcpStream {
    /// Starts to connect; [`established`](Self::established) tells when it is done.
    ///
    /// # Errors
    ///
    /// Too many connections, or an address that cannot be connected to.
    pub fn connect(netstack: &Arc<Netstack>, remote: SocketAddr) -> Result<Self, ConnectError> {
        let handle = netstack.lock().connect(remote)?;
        netstack.wake_driver();
        Ok(Self {
            netstack: Arc::clone(netstack),
            handle,
        })
    }

    /// Returns the next connection that a client opened to a service of the site.
    #[must_use]
    pub fn poll_accepted(netstack: &Arc<Netstack>) -> Option<Self> {
        let handle = netstack.lock().poll_accepted()?;
        Some(Self {
            netstack: Arc::clone(netstack),
            handle,
        })
    }

    /// Completes when the other side accepted the connection.
    ///
    /// # Errors
    ///
    /// It was refused.
    pub async fn established(&self) -> Result<(), ConnectError> {
        poll_fn(|context| {
            let mut stack = self.netstack.lock();
            let socket = stack.tcp(self.handle);
            match socket.state() {
                State::SynSent | State::SynReceived | State::Listen => {
                    socket.register_send_waker(context.waker());
                    Poll::Pending
                }
                State::Closed => Poll::Ready(Err(ConnectError::Refused)),
                State::Established
                | State::FinWait1
                | State::FinWait2
                | State::CloseWait
                | State::Closing
                | State::LastAck
                | State::TimeWait => Poll::Ready(Ok(())),
            }
        })
        .await
    }

    /// Returns the address of the other side, while there is one.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        let endpoint = self.netstack.lock().tcp(self.handle).remote_endpoint()?;
        Some(SocketAddr::new(endpoint.addr.into(), endpoint.port))
    }

    /// Returns the address of this side, while there is one.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        let endpoint = self.netstack.lock().tcp(self.handle).local_endpoint()?;
        Some(SocketAddr::new(endpoint.addr.into(), endpoint.port))
    }

    /// Resets the connection: nothing more is read or written, and what was
    /// not sent yet never will be.
    pub fn abort(&self) {
        self.netstack.lock().tcp(self.handle).abort();
        self.netstack.wake_driver();
    }

    pub(crate) fn netstack(&self) -> &Arc<Netstack> {
        &self.netstack
    }

    pub(crate) fn handle(&self) -> SocketHandle {
        self.handle
    }
}

/// Resets the connection of a stream that lives elsewhere.
pub(crate) fn abort(netstack: &Netstack, handle: SocketHandle) {
    netstack.lock().tcp(handle).abort();
    netstack.wake_driver();
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut stack = self.netstack.lock();
        let socket = stack.tcp(self.handle);
        if socket.can_recv() {
            let (capacity, before) = (socket.recv_capacity(), socket.recv_queue());
            // Data that wraps around the end of the ring comes in two pieces.
            for _ in 0..2 {
                let _ = socket.recv(|data| {
                    let length = data.len().min(buf.remaining());
                    buf.put_slice(&data[..length]);
                    (length, ())
                });
            }
            drop(stack);
            // The peer has to hear of the room, if it may have been short of it.
            if before * 4 >= capacity {
                self.netstack.wake_driver();
            }
            return Poll::Ready(Ok(()));
        }
        match socket.recv(|_| (0, ())) {
            Err(RecvError::Finished) => Poll::Ready(Ok(())),
            Err(RecvError::InvalidState) if is_over(socket.state()) => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            Ok(()) | Err(RecvError::InvalidState) => {
                socket.register_recv_waker(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut stack = self.netstack.lock();
        let socket = stack.tcp(self.handle);
        if socket.can_send() {
            let mut written = 0;
            for _ in 0..2 {
                written += socket.send_slice(&data[written..]).unwrap_or(0);
            }
            drop(stack);
            self.netstack.wake_driver();
            return Poll::Ready(Ok(written));
        }
        match socket.state() {
            State::Listen
            | State::SynSent
            | State::SynReceived
            | State::Established
            | State::CloseWait => {
                socket.register_send_waker(cx.waker());
                Poll::Pending
            }
            State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck => {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
            State::Closed | State::TimeWait => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.netstack.lock().tcp(self.handle).close();
        self.netstack.wake_driver();
        Poll::Ready(Ok(()))
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let now = self.netstack.now();
        self.netstack.lock().release(self.handle, now);
        self.netstack.wake_driver();
    }
}

fn is_over(state: State) -> bool {
    matches!(state, State::Closed | State::TimeWait)
}

/// Why a connection did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The other side refused it.
    #[error("the application refused the connection")]
    Refused,
    /// The byte budget is spent.
    #[error("too many connections are open; close some and try again")]
    TooMany,
    /// No connection can be made to such an address, or from ours.
    #[error("no connection can be made to {0} from the tunnel's own addresses")]
    Unaddressable(SocketAddr),
}

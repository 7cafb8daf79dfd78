use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp::UdpMetadata;
use smoltcp::wire::IpEndpoint;

use super::Netstack;

/// A UDP socket of a [`Netstack`].
#[derive(Debug)]
pub struct UdpSocket {
    netstack: Arc<Netstack>,
    handle: SocketHandle,
}

impl UdpSocket {
    /// Binds to `local`, or to a port drawn at random; `None` if `local` is taken.
    #[must_use]
    pub fn bind(netstack: &Arc<Netstack>, local: Option<SocketAddr>) -> Option<Self> {
        let handle = netstack.lock().bind_udp(local)?;
        Some(Self {
            netstack: Arc::clone(netstack),
            handle,
        })
    }

    /// Sends one datagram; like the network, it may lose it.
    pub fn send_to(&self, payload: &[u8], remote: SocketAddr) {
        let _ = self
            .netstack
            .lock()
            .udp(self.handle)
            .send_slice(payload, IpEndpoint::from(remote));
        self.netstack.wake_driver();
    }

    /// Sends one datagram from the address that the one from `remote` went to.
    pub fn reply(&self, payload: &[u8], sender: Sender) {
        let _ = self
            .netstack
            .lock()
            .udp(self.handle)
            .send_slice(payload, sender.0);
        self.netstack.wake_driver();
    }

    /// Receives one datagram.
    pub async fn receive(&self) -> (Vec<u8>, Sender) {
        poll_fn(|context| {
            let mut stack = self.netstack.lock();
            let socket = stack.udp(self.handle);
            if let Ok((payload, metadata)) = socket.recv() {
                return Poll::Ready((payload.to_vec(), Sender(metadata)));
            }
            socket.register_recv_waker(context.waker());
            Poll::Pending
        })
        .await
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.netstack.lock().remove(self.handle);
    }
}

/// Who sent a datagram, and to which of our addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender(UdpMetadata);

impl Sender {
    /// Returns the address that the datagram came from.
    #[must_use]
    pub fn remote(self) -> SocketAddr {
        SocketAddr::new(self.0.endpoint.addr.into(), self.0.endpoint.port)
    }
}

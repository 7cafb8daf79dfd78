use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// Where a stack's packets go: straight into encrypted datagrams, with no queue between.
pub trait Link {
    /// Returns whether a packet can be taken now; if not, the stack keeps it.
    fn has_room(&self) -> bool;

    /// Lets `write` write a packet of `length` bytes, and sends it. Without
    /// room the packet is lost, as on any link.
    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R;
}

/// Shows smoltcp one received packet and a link.
pub(super) struct Port<'a, L> {
    pub(super) link: &'a mut L,
    pub(super) packet: Option<&'a [u8]>,
    pub(super) mtu: usize,
}

impl<L: Link> Device for Port<'_, L> {
    type RxToken<'t>
        = Incoming<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Outgoing<'t, L>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Incoming<'_>, Outgoing<'_, L>)> {
        let packet = self.packet.take()?;
        Some((Incoming(packet), Outgoing(self.link)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_, L>> {
        self.link.has_room().then_some(Outgoing(self.link))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        // The tunnel authenticates every packet: what arrives is what was sent.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities.checksum.udp = Checksum::Tx;
        capabilities
    }
}

pub(super) struct Incoming<'a>(&'a [u8]);

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

pub(super) struct Outgoing<'a, L>(&'a mut L);

impl<L: Link> TxToken for Outgoing<'_, L> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        self.0.transmit(length, write)
    }
}

//! Many packets in one system call: super-packets of a network device, split
//! and joined without copying what they carry.
//!
//! A device with offload hands over up to 64 KiB of one flow at once, behind a
//! [`VirtioHeader`] that says how to split it; [`Segments`] does that in place.
//! It takes the same, which the [`Coalescer`] makes out of single packets.

mod coalescer;
mod segments;
#[cfg(test)]
mod tests;

pub use self::coalescer::{Coalescer, Drained};
pub use self::segments::{ROOM, Segment, Segments};

/// What a device takes and gives in super-packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offload {
    /// TCP, of both IP versions.
    pub tcp: bool,
    /// UDP, of both IP versions.
    pub udp: bool,
}

/// What precedes each packet of a device with offload: `struct virtio_net_hdr`
/// in the machine's byte order (Virtual I/O Device 1.2, section 5.1.6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    /// What holds of the packet, such as that its checksum is [partial](Self::is_partial).
    pub flags: u8,
    /// Whether the packet is to be split, and how.
    pub gso_type: GsoType,
    /// How long the headers are that each segment repeats, in bytes; a hint.
    pub header_length: u16,
    /// How much of the payload each segment gets, in bytes.
    pub gso_size: u16,
    /// From where on the checksum is to be computed, in bytes from the packet's start.
    pub checksum_start: u16,
    /// Where the checksum goes, in bytes from there.
    pub checksum_offset: u16,
}

/// How a packet is to be split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GsoType {
    /// Not at all.
    #[default]
    None,
    /// As TCP over IPv4.
    TcpV4,
    /// As TCP over IPv6.
    TcpV6,
    /// As UDP datagrams of one size, over either IP version.
    Udp,
}

impl VirtioHeader {
    /// How long the header is, in bytes.
    pub const LENGTH: usize = 10;

    /// Parses the header before a packet.
    ///
    /// # Errors
    ///
    /// [`Malformed::GsoType`], if it asks for a splitting that we do not know.
    pub fn parse(header: &[u8; Self::LENGTH]) -> Result<Self, Malformed> {
        let [flags, gso_type, a, b, c, d, e, f, g, h] = *header;
        Ok(Self {
            flags,
            gso_type: match gso_type & !GSO_ECN {
                0 => GsoType::None,
                1 => GsoType::TcpV4,
                4 => GsoType::TcpV6,
                5 => GsoType::Udp,
                _ => return Err(Malformed::GsoType(gso_type)),
            },
            header_length: u16::from_ne_bytes([a, b]),
            gso_size: u16::from_ne_bytes([c, d]),
            checksum_start: u16::from_ne_bytes([e, f]),
            checksum_offset: u16::from_ne_bytes([g, h]),
        })
    }

    /// Returns the header as the system wants it.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let gso_type = match self.gso_type {
            GsoType::None => 0,
            GsoType::TcpV4 => 1,
            GsoType::TcpV6 => 4,
            GsoType::Udp => 5,
        };
        let [a, b] = self.header_length.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.checksum_start.to_ne_bytes();
        let [g, h] = self.checksum_offset.to_ne_bytes();
        [self.flags, gso_type, a, b, c, d, e, f, g, h]
    }

    /// Returns whether the packet's transport checksum holds the sum of the
    /// pseudo-header only, and the rest is still to be added.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.flags & NEEDS_CHECKSUM != 0
    }
}

/// What is wrong with a packet from a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The checksum would lie outside of the packet.
    #[error("the device gave a packet of {length} bytes with its checksum at {at}; it was dropped")]
    Checksum {
        /// Where the checksum would lie.
        at: usize,
        /// How long the packet is.
        length: usize,
    },
    /// A splitting that we do not know, or did not ask for.
    #[error("the device gave a packet of the unknown segmentation type {0}; it was dropped")]
    GsoType(u8),
    /// The headers of a super-packet are not what its type says.
    #[error("the device gave a super-packet whose headers do not fit its type; it was dropped")]
    Headers,
    /// The packet does not fit the buffer, or is above 64 KiB.
    #[error("a packet of {length} bytes does not fit a buffer of {buffer} with room behind it")]
    Length {
        /// How long the packet is.
        length: usize,
        /// How long the buffer is.
        buffer: usize,
    },
    /// Segments without payload.
    #[error("the device gave a super-packet of segments without payload; it was dropped")]
    Size,
}

const NEEDS_CHECKSUM: u8 = 1;
/// Set beside a TCP type when the first segment has the CWR bit; that one is
/// looked at itself.
const GSO_ECN: u8 = 0x80;

const TCP: u8 = 6;
const UDP: u8 = 17;
const V4_CHECKSUM: usize = 10;
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const CWR: u8 = 0x80;

/// The longest headers of a segment: IPv4 and TCP with all their options.
const MAX_HEADERS: usize = 60 + 60;

/// What the length fields of IP and UDP can say.
const MAX_PACKET: usize = 65_535;

/// Writes `value` in the network's byte order; a place beyond the end is none.
fn write(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Reads a 16-bit number in the network's byte order; beyond the end lies zero.
fn read(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |word| u16::from_be_bytes(*word))
}

/// Reads a 32-bit number in the network's byte order; beyond the end lies zero.
fn read_long(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |word| u32::from_be_bytes(*word))
}

/// A length that was checked to be at most [`MAX_PACKET`].
fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Sums the addresses of a packet and its protocol: the pseudo-header but for
/// its length (RFC 9293, section 3.1; RFC 8200, section 8.1).
fn pseudo(packet: &[u8], protocol: u8) -> u32 {
    let addresses = match packet.first().map(|first| first >> 4) {
        Some(4) => packet.get(12..20),
        _ => packet.get(8..40),
    };
    crate::checksum::sum(addresses.unwrap_or_default()) + u32::from(protocol)
}

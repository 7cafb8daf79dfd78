use crate::checksum;
use crate::offload::{
    ACK, GsoType, NEEDS_CHECKSUM, Offload, PSH, TCP, TCP_CHECKSUM, UDP, UDP_CHECKSUM, V4_CHECKSUM,
    VirtioHeader, pseudo, read, read_long, short, write,
};

/// The headers of a TCP or UDP packet that is not fragmented.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) is_tcp: bool,
    /// Where the transport header starts.
    pub(super) transport: usize,
    /// Where the payload starts.
    pub(super) headers: usize,
    pub(super) payload: usize,
    pub(super) sequence: u32,
    pub(super) pushes: bool,
    /// Whether it may be part of a super-packet.
    pub(super) may_join: bool,
    pub(super) place: usize,
}

/// What a packet means to those before and after it.
pub(super) enum Reading {
    /// It belongs to no TCP or UDP flow.
    Apart,
    /// It may belong to any flow: none may pass it.
    Barrier,
    /// It belongs to a flow.
    Flow(Shape),
}

impl Reading {
    pub(super) fn of(packet: &[u8], offload: Offload) -> Self {
        let (transport, protocol, whole) = match packet {
            // Without options; those that have some are too rare to know.
            [0x45, ..] if packet.len() >= 20 && usize::from(read(packet, 2)) == packet.len() => {
                let fragment = read(packet, 6);
                if fragment & !DONT_FRAGMENT != 0 {
                    return Self::Barrier;
                }
                (20, packet[9], fragment == DONT_FRAGMENT)
            }
            [first, ..]
                if first >> 4 == 6
                    && packet.len() >= 40
                    && usize::from(read(packet, 4)) + 40 == packet.len() =>
            {
                (40, packet[6], true)
            }
            _ => return Self::Barrier,
        };
        let body = &packet[transport..];
        let shape = match protocol {
            TCP if body.len() >= 20 => Shape::of_tcp(packet, transport, whole && offload.tcp),
            UDP if body.len() >= 8 => Some(Shape::of_udp(packet, transport, whole && offload.udp)),
            ICMP | ICMP_V6 => return Self::Apart,
            _ => None,
        };
        shape.map_or(Self::Barrier, Self::Flow)
    }
}

impl Shape {
    fn of_tcp(packet: &[u8], transport: usize, whole: bool) -> Option<Self> {
        let body = &packet[transport..];
        let own = usize::from(body[12] >> 4) * 4;
        let payload = body.len().checked_sub(own)?;
        let plain = body[12] & 0x0f == 0 && body[13] & !PSH == ACK;
        Some(Self {
            is_tcp: true,
            transport,
            headers: transport + own,
            payload,
            sequence: read_long(body, 4),
            pushes: body[13] & PSH != 0,
            may_join: whole && plain && own >= 20 && payload > 0,
            place: place(packet, transport),
        })
    }

    fn of_udp(packet: &[u8], transport: usize, whole: bool) -> Self {
        let body = &packet[transport..];
        let payload = body.len() - 8;
        let says = usize::from(read(body, 4)) == body.len() && read(body, UDP_CHECKSUM) != 0;
        Self {
            is_tcp: false,
            transport,
            headers: transport + 8,
            payload,
            sequence: 0,
            pushes: false,
            may_join: whole && says && payload > 0,
            place: place(packet, transport),
        }
    }

    pub(super) fn next_sequence(&self) -> u32 {
        self.sequence.wrapping_add(u32::from(short(self.payload)))
    }

    /// Returns whether a packet has the headers of another, but for what
    /// differs from segment to segment.
    pub(super) fn continues(&self, packet: &[u8], first: &[u8]) -> bool {
        let same = |from: usize, to: usize| packet.get(from..to) == first.get(from..to);
        let at = self.transport;
        let ip = if at == 20 {
            // The identification means nothing where nothing is fragmented (RFC 6864).
            same(0, 2) && same(6, 10) && same(12, 20)
        } else {
            same(0, 4) && same(6, 40)
        };
        let own = if self.is_tcp {
            // From the acknowledgement on, but for the flags, which were looked
            // at, and the checksum.
            same(at, at + 4)
                && same(at + 8, at + 13)
                && same(at + 14, at + 16)
                && same(at + 18, self.headers)
        } else {
            same(at, at + 4)
        };
        ip && own
    }

    /// Verifies the checksums of a packet.
    pub(super) fn is_intact(&self, packet: &[u8]) -> bool {
        let (ip, body) = packet.split_at(self.transport);
        let is_v4 = self.transport == 20;
        let protocol = if self.is_tcp { TCP } else { UDP };
        let whole = u32::from(short(body.len()));
        let sum = pseudo(ip, protocol) + whole + checksum::sum(body);
        checksum::fold(sum) == 0xffff && (!is_v4 || checksum::fold(checksum::sum(ip)) == 0xffff)
    }

    /// Makes a packet's headers those of a super-packet of `length` bytes; the
    /// checksum is left to the device.
    pub(super) fn join_headers(
        &self,
        headers: &mut [u8],
        length: usize,
        pushes: bool,
    ) -> VirtioHeader {
        let is_v4 = self.transport == 20;
        let whole = short(length - self.transport);
        if is_v4 {
            write(headers, 2, short(length));
            write(headers, V4_CHECKSUM, 0);
            let sum = !checksum::fold(checksum::sum(&headers[..self.transport]));
            write(headers, V4_CHECKSUM, sum);
        } else {
            write(headers, 4, whole);
        }
        let protocol = if self.is_tcp { TCP } else { UDP };
        let partial = checksum::fold(pseudo(headers, protocol) + u32::from(whole));
        let body = &mut headers[self.transport..];
        let checksum = if self.is_tcp {
            if pushes {
                body[13] |= PSH;
            }
            TCP_CHECKSUM
        } else {
            write(body, 4, whole);
            UDP_CHECKSUM
        };
        write(body, checksum, partial);
        VirtioHeader {
            flags: NEEDS_CHECKSUM,
            gso_type: match (self.is_tcp, is_v4) {
                (true, true) => GsoType::TcpV4,
                (true, false) => GsoType::TcpV6,
                (false, _) => GsoType::Udp,
            },
            header_length: short(self.headers),
            gso_size: short(self.payload),
            checksum_start: short(self.transport),
            checksum_offset: short(checksum),
        }
    }
}

/// Returns the place of a flow; flows that share one are only slower.
fn place(packet: &[u8], transport: usize) -> usize {
    let addresses = transport - if transport == 20 { 8 } else { 32 };
    let mut hash = 0_u64;
    for word in packet[addresses..transport + 4].as_chunks::<4>().0 {
        let word = u64::from(u32::from_ne_bytes(*word));
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    }
    let [.., top] = hash.to_le_bytes();
    usize::from(top) % PLACES
}

/// More flows than are busy at once; the hash gives one byte.
pub(super) const PLACES: usize = 128;

/// Of FxHash: it spreads well enough for a table that may be wrong.
const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;

const DONT_FRAGMENT: u16 = 0x4000;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

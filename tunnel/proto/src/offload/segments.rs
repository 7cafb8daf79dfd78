use super::{
    CWR, FIN, GsoType, MAX_HEADERS, MAX_PACKET, Malformed, PSH, TCP, TCP_CHECKSUM, UDP,
    UDP_CHECKSUM, V4_CHECKSUM, VirtioHeader, pseudo, read, read_long, short, write,
};
use crate::checksum;

/// The packets that one (super-)packet from a device stands for, made in place
/// one after the other.
///
/// A segment's headers are written right before its payload, over payload that
/// was handed out already; nothing else moves.
#[derive(Debug)]
pub struct Segments<'a> {
    buffer: &'a mut [u8],
    length: usize,
    /// Where the payload of the next segment starts; past the end, there is none.
    next: usize,
    /// None for a packet that is one already.
    split: Option<Split>,
    /// What the caller may have overwritten behind the last segment.
    behind: Option<(usize, [u8; ROOM])>,
}

/// One packet, to be sealed before the next is asked for.
#[derive(Debug)]
pub struct Segment<'a> {
    /// The packet, followed by [`ROOM`] bytes that may be overwritten.
    pub bytes: &'a mut [u8],
    /// How long the packet is, in bytes.
    pub length: usize,
}

/// How to make segments.
#[derive(Debug)]
struct Split {
    /// The headers as they were.
    headers: [u8; MAX_HEADERS],
    length: usize,
    is_tcp: bool,
    /// Where the transport header starts.
    transport: usize,
    /// How much payload each segment gets.
    size: usize,
    /// The sum of the pseudo-header but for the length.
    pseudo: u32,
    /// How many segments were made.
    made: u16,
}

impl<'a> Segments<'a> {
    /// Takes the packet in the first `length` bytes of `buffer`, which must be
    /// at least [`ROOM`] bytes longer.
    ///
    /// The transport checksum of a super-packet is not looked at; that of
    /// another packet is completed if it is partial.
    ///
    /// # Errors
    ///
    /// The packet and its header do not fit each other.
    pub fn new(
        header: VirtioHeader,
        buffer: &'a mut [u8],
        length: usize,
    ) -> Result<Self, Malformed> {
        if length > MAX_PACKET || buffer.len() < length + ROOM {
            return Err(Malformed::Length {
                length,
                buffer: buffer.len(),
            });
        }
        let packet = &mut buffer[..length];
        let split = Split::of(&header, packet)?;
        if split.is_none() && header.is_partial() {
            complete(&header, packet)?;
        }
        Ok(Self {
            next: split.as_ref().map_or(0, |split| split.length),
            split,
            behind: None,
            buffer,
            length,
        })
    }

    /// Returns the next packet.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot lend what it owns"
    )]
    pub fn next(&mut self) -> Option<Segment<'_>> {
        if let Some((at, bytes)) = self.behind.take() {
            self.buffer[at..at + ROOM].copy_from_slice(&bytes);
        }
        if self.next > self.length {
            return None;
        }
        let (start, end) = match &mut self.split {
            None => (0, self.length),
            Some(split) => {
                let end = (self.next + split.size).min(self.length);
                let start = self.next - split.length;
                split.write(&mut self.buffer[start..end], start, end == self.length);
                (start, end)
            }
        };
        // Past the end, even if there was no payload.
        self.next = if end == self.length { end + 1 } else { end };
        if end < self.length {
            let behind = self.buffer[end..].first_chunk()?;
            self.behind = Some((end, *behind));
        }
        Some(Segment {
            bytes: &mut self.buffer[start..end + ROOM],
            length: end - start,
        })
    }
}

impl Split {
    /// Reads the headers of a super-packet; any other packet needs no splitting.
    fn of(header: &VirtioHeader, packet: &[u8]) -> Result<Option<Self>, Malformed> {
        let version = packet.first().map(|first| first >> 4);
        let is_tcp = match (header.gso_type, version) {
            (GsoType::None, _) => return Ok(None),
            (GsoType::TcpV4, Some(4)) | (GsoType::TcpV6, Some(6)) => true,
            (GsoType::Udp, Some(4 | 6)) => false,
            (GsoType::TcpV4 | GsoType::TcpV6 | GsoType::Udp, _) => return Err(Malformed::Headers),
        };
        let (transport, protocol) = match (version, packet) {
            (Some(4), [first, .., _]) if packet.len() >= 20 => {
                (usize::from(first & 0x0f) * 4, packet[9])
            }
            (Some(6), [_, .., _]) if packet.len() >= 40 => (40, packet[6]),
            _ => return Err(Malformed::Headers),
        };
        let own = match packet.get(transport + 12) {
            Some(offset) if is_tcp => usize::from(offset >> 4) * 4,
            _ => 8,
        };
        let length = transport + own;
        let fits = transport >= 20
            && protocol == if is_tcp { TCP } else { UDP }
            && own >= if is_tcp { 20 } else { 8 }
            && length <= packet.len();
        if !fits {
            return Err(Malformed::Headers);
        }
        if header.gso_size == 0 {
            return Err(Malformed::Size);
        }
        let mut headers = [0; MAX_HEADERS];
        headers[..length].copy_from_slice(&packet[..length]);
        Ok(Some(Self {
            headers,
            length,
            is_tcp,
            transport,
            size: header.gso_size.into(),
            pseudo: pseudo(packet, protocol),
            made: 0,
        }))
    }

    /// Writes the headers of the segment that carries the payload from `offset`
    /// on, counted from the start of all payload.
    fn write(&mut self, segment: &mut [u8], offset: usize, is_last: bool) {
        segment[..self.length].copy_from_slice(&self.headers[..self.length]);
        let length = segment.len();
        if self.headers[0] >> 4 == 4 {
            write(segment, 2, short(length));
            write(segment, 4, read(&self.headers, 4).wrapping_add(self.made));
            write(segment, V4_CHECKSUM, 0);
            let sum = !checksum::fold(checksum::sum(&segment[..self.transport]));
            write(segment, V4_CHECKSUM, sum);
        } else {
            write(segment, 4, short(length - self.transport));
        }

        let body = &mut segment[self.transport..];
        let whole = u32::from(short(body.len()));
        if self.is_tcp {
            let offset = u32::from(short(offset));
            let sequence = read_long(body, 4).wrapping_add(offset);
            body[4..8].copy_from_slice(&sequence.to_be_bytes());
            if !is_last {
                body[13] &= !(FIN | PSH);
            }
            if self.made > 0 {
                body[13] &= !CWR;
            }
            write(body, TCP_CHECKSUM, 0);
            let sum = !checksum::fold(self.pseudo + whole + checksum::sum(body));
            write(body, TCP_CHECKSUM, sum);
        } else {
            write(body, 4, short(body.len()));
            write(body, UDP_CHECKSUM, 0);
            let sum = !checksum::fold(self.pseudo + whole + checksum::sum(body));
            write(body, UDP_CHECKSUM, checksum::never_zero(sum));
        }
        self.made = self.made.wrapping_add(1);
    }
}

/// Adds what the checksum covers to the pseudo-header's sum that is in its place.
fn complete(header: &VirtioHeader, packet: &mut [u8]) -> Result<(), Malformed> {
    let start = usize::from(header.checksum_start);
    let offset = usize::from(header.checksum_offset);
    let malformed = Malformed::Checksum {
        at: start + offset,
        length: packet.len(),
    };
    let covered = packet.get_mut(start..).ok_or(malformed)?;
    if covered.len() < offset + 2 {
        return Err(malformed);
    }
    let sum = !checksum::fold(checksum::sum(covered));
    let sum = match offset {
        UDP_CHECKSUM => checksum::never_zero(sum),
        _ => sum,
    };
    write(covered, offset, sum);
    Ok(())
}

/// How many bytes behind a segment may be overwritten: WireGuard pads what it
/// encrypts to a multiple of 16.
pub const ROOM: usize = 16;

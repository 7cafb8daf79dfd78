use std::io::{self, IoSlice};

use super::{
    ACK, GsoType, MAX_HEADERS, MAX_PACKET, NEEDS_CHECKSUM, Offload, PSH, TCP, TCP_CHECKSUM, UDP,
    UDP_CHECKSUM, V4_CHECKSUM, VirtioHeader, pseudo, read, read_long, short, write,
};
use crate::checksum;

/// Collects packets for a device, and hands over those of one flow that follow
/// each other as one super-packet.
///
/// The packets of a flow stay in order; flows may pass each other. What a
/// packet carries stays where it was written.
pub struct Coalescer {
    arena: Box<[u8]>,
    filled: usize,
    packets: Vec<Packet>,
    runs: Vec<Run>,
    /// The latest run of each flow, by a hash of the flow. A flow that loses
    /// its place begins a new run, which is handed over after the older one.
    latest: [Option<u16>; PLACES],
    offload: Offload,
}

/// What became of the packets.
#[derive(Debug, Default)]
pub struct Drained {
    /// How many the device took.
    pub written: usize,
    /// How many it refused; they are lost.
    pub lost: usize,
    /// Its last refusal.
    pub error: Option<io::Error>,
}

#[derive(Debug, Clone, Copy)]
struct Packet {
    start: usize,
    length: usize,
    /// The next one of the same run.
    next: Option<u16>,
}

/// Packets that go to the device at once.
#[derive(Debug)]
struct Run {
    first: u16,
    last: u16,
    count: usize,
    /// Headers and payload, in bytes.
    length: usize,
    /// None if nothing may be appended any more.
    open: Option<Open>,
    shape: Option<Shape>,
    pushes: bool,
}

/// What the next packet of a run must look like.
#[derive(Debug, Clone, Copy)]
struct Open {
    sequence: u32,
    /// Whether the checksums of the first packet were looked at.
    is_verified: bool,
}

/// The headers of a TCP or UDP packet that is not fragmented.
#[derive(Debug, Clone, Copy)]
struct Shape {
    is_tcp: bool,
    /// Where the transport header starts.
    transport: usize,
    /// Where the payload starts.
    headers: usize,
    payload: usize,
    sequence: u32,
    pushes: bool,
    /// Whether it may be part of a super-packet.
    may_join: bool,
    place: usize,
}

/// What a packet means to those before and after it.
enum Reading {
    /// It belongs to no TCP or UDP flow.
    Apart,
    /// It may belong to any flow: none may pass it.
    Barrier,
    /// It belongs to a flow.
    Flow(Shape),
}

impl Coalescer {
    /// Allocates room for `capacity` bytes, for a device with this offload.
    #[must_use]
    pub fn new(capacity: usize, offload: Offload) -> Self {
        Self {
            arena: vec![0; capacity.max(SPACE)].into(),
            filled: 0,
            packets: Vec::with_capacity(MAX_PACKETS),
            runs: Vec::with_capacity(MAX_PACKETS),
            latest: [None; PLACES],
            offload,
        }
    }

    /// Returns whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Returns the space for the next packet, at least [`SPACE`] bytes; none
    /// before what waits is [drained](Self::drain).
    pub fn space(&mut self) -> Option<&mut [u8]> {
        let space = &mut self.arena[self.filled..];
        (space.len() >= SPACE && self.packets.len() < MAX_PACKETS).then_some(space)
    }

    /// Takes the packet that was written to the start of [`space`](Self::space).
    pub fn push(&mut self, length: usize) {
        let length = length.min(self.arena.len() - self.filled);
        let start = self.filled;
        let Ok(number) = u16::try_from(self.packets.len()) else {
            return;
        };
        if length == 0 || self.packets.len() == MAX_PACKETS {
            return;
        }
        self.filled += length;
        self.packets.push(Packet {
            start,
            length,
            next: None,
        });
        let reading = match self.offload {
            Offload {
                tcp: false,
                udp: false,
            } => Reading::Apart,
            offload => Reading::of(&self.arena[start..self.filled], offload),
        };
        match reading {
            Reading::Apart => self.begin(number, None),
            Reading::Barrier => {
                self.latest = [None; PLACES];
                self.begin(number, None);
            }
            Reading::Flow(shape) => {
                if !self.join(number, shape) {
                    self.latest[shape.place] = u16::try_from(self.runs.len()).ok();
                    self.begin(number, Some(shape));
                }
            }
        }
    }

    /// Hands everything over, each run as one header and the slices of one
    /// packet. A device that does not take super-packets of a kind, which it
    /// says with [`io::ErrorKind::InvalidInput`], gets none any more.
    pub fn drain(
        &mut self,
        mut write: impl FnMut(&[u8; VirtioHeader::LENGTH], &[IoSlice<'_>]) -> io::Result<()>,
    ) -> Drained {
        let mut drained = Drained::default();
        for run in &self.runs {
            match run.shape {
                Some(shape) if run.count > 1 && self.takes(shape) => {
                    match self.write_joined(run, shape, &mut write) {
                        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                            if shape.is_tcp {
                                self.offload.tcp = false;
                            } else {
                                self.offload.udp = false;
                            }
                            self.write_singly(run, &mut write, &mut drained);
                        }
                        outcome => drained.count(run.count, outcome),
                    }
                }
                _ => self.write_singly(run, &mut write, &mut drained),
            }
        }
        self.clear();
        drained
    }

    /// Loses everything that waits.
    pub fn clear(&mut self) {
        self.filled = 0;
        self.packets.clear();
        self.runs.clear();
        self.latest = [None; PLACES];
    }

    fn begin(&mut self, number: u16, shape: Option<Shape>) {
        self.runs.push(Run {
            first: number,
            last: number,
            count: 1,
            length: self.packets[usize::from(number)].length,
            open: shape
                .filter(|shape| shape.may_join && !shape.pushes)
                .map(|shape| Open {
                    sequence: shape.next_sequence(),
                    is_verified: false,
                }),
            pushes: shape.is_some_and(|shape| shape.pushes),
            shape,
        });
    }

    /// Appends a packet to the latest run of its flow, if it fits there.
    fn join(&mut self, number: u16, shape: Shape) -> bool {
        let Some(at) = self.latest[shape.place].map(usize::from) else {
            return false;
        };
        let Some((open, first)) = self.candidate(at, number, &shape) else {
            return false;
        };
        // The device trusts the checksums of super-packets, so we must not.
        if !open.is_verified && !first.1.is_intact(self.bytes(first.0)) {
            self.runs[at].open = None;
            return false;
        }
        if !shape.is_intact(self.bytes(number)) {
            return false;
        }
        let run = &mut self.runs[at];
        let ends = shape.pushes || shape.payload < first.1.payload;
        run.open = (!ends).then(|| Open {
            sequence: shape.next_sequence(),
            is_verified: true,
        });
        run.pushes |= shape.pushes;
        run.count += 1;
        run.length += shape.payload;
        let last = usize::from(run.last);
        run.last = number;
        self.packets[last].next = Some(number);
        true
    }

    /// Returns the state and the first packet of a run that a packet fits, its
    /// checksums aside.
    fn candidate(&self, at: usize, number: u16, shape: &Shape) -> Option<(Open, (u16, Shape))> {
        let run = self.runs.get(at)?;
        let (open, first) = (run.open?, run.shape?);
        let fits = shape.may_join
            && shape.is_tcp == first.is_tcp
            && shape.transport == first.transport
            && shape.headers == first.headers
            && shape.payload <= first.payload
            && (!shape.is_tcp || shape.sequence == open.sequence)
            && run.count < MAX_SEGMENTS
            && run.length + shape.payload <= MAX_PACKET
            && shape.continues(self.bytes(number), self.bytes(run.first));
        fits.then_some((open, (run.first, first)))
    }

    fn takes(&self, shape: Shape) -> bool {
        if shape.is_tcp {
            self.offload.tcp
        } else {
            self.offload.udp
        }
    }

    fn write_joined(
        &self,
        run: &Run,
        shape: Shape,
        write: &mut impl FnMut(&[u8; VirtioHeader::LENGTH], &[IoSlice<'_>]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut headers = [0; MAX_HEADERS];
        let headers = &mut headers[..shape.headers];
        headers.copy_from_slice(&self.bytes(run.first)[..shape.headers]);
        let header = shape.join_headers(headers, run);

        let mut slices = [IoSlice::new(&[]); 1 + MAX_SEGMENTS];
        slices[0] = IoSlice::new(headers);
        for (slice, number) in slices[1..].iter_mut().zip(self.numbers(run)) {
            *slice = IoSlice::new(&self.bytes(number)[shape.headers..]);
        }
        write(&header.encode(), &slices[..1 + run.count])
    }

    fn write_singly(
        &self,
        run: &Run,
        write: &mut impl FnMut(&[u8; VirtioHeader::LENGTH], &[IoSlice<'_>]) -> io::Result<()>,
        drained: &mut Drained,
    ) {
        for number in self.numbers(run) {
            let packet = IoSlice::new(self.bytes(number));
            drained.count(1, write(&[0; VirtioHeader::LENGTH], &[packet]));
        }
    }

    fn numbers(&self, run: &Run) -> impl Iterator<Item = u16> {
        std::iter::successors(Some(run.first), |number| {
            self.packets[usize::from(*number)].next
        })
    }

    fn bytes(&self, number: u16) -> &[u8] {
        let packet = self.packets[usize::from(number)];
        &self.arena[packet.start..packet.start + packet.length]
    }
}

impl std::fmt::Debug for Coalescer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coalescer")
            .field("filled", &self.filled)
            .field("packets", &self.packets.len())
            .field("runs", &self.runs.len())
            .field("offload", &self.offload)
            .finish_non_exhaustive()
    }
}

impl Drained {
    fn count(&mut self, packets: usize, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => self.written += packets,
            Err(error) => {
                self.lost += packets;
                self.error = Some(error);
            }
        }
    }
}

impl Reading {
    fn of(packet: &[u8], offload: Offload) -> Self {
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
            UDP if body.len() >= 8 => Shape::of_udp(packet, transport, whole && offload.udp),
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

    fn of_udp(packet: &[u8], transport: usize, whole: bool) -> Option<Self> {
        let body = &packet[transport..];
        let payload = body.len() - 8;
        let says = usize::from(read(body, 4)) == body.len() && read(body, UDP_CHECKSUM) != 0;
        Some(Self {
            is_tcp: false,
            transport,
            headers: transport + 8,
            payload,
            sequence: 0,
            pushes: false,
            may_join: whole && says && payload > 0,
            place: place(packet, transport),
        })
    }

    fn next_sequence(&self) -> u32 {
        self.sequence.wrapping_add(u32::from(short(self.payload)))
    }

    /// Returns whether a packet has the headers of another, but for what
    /// differs from segment to segment.
    fn continues(&self, packet: &[u8], first: &[u8]) -> bool {
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
    fn is_intact(&self, packet: &[u8]) -> bool {
        let (ip, body) = packet.split_at(self.transport);
        let is_v4 = self.transport == 20;
        let protocol = if self.is_tcp { TCP } else { UDP };
        let whole = u32::from(short(body.len()));
        let sum = pseudo(ip, protocol) + whole + checksum::sum(body);
        checksum::fold(sum) == 0xffff && (!is_v4 || checksum::fold(checksum::sum(ip)) == 0xffff)
    }

    /// Makes the first packet's headers those of the run; the checksum is left
    /// to the device.
    fn join_headers(&self, headers: &mut [u8], run: &Run) -> VirtioHeader {
        let is_v4 = self.transport == 20;
        let whole = short(run.length - self.transport);
        if is_v4 {
            write(headers, 2, short(run.length));
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
            if run.pushes {
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

/// The least space for a packet: above any MTU that a tunnel is given, with
/// what encryption adds.
const SPACE: usize = 2048 + 32;

/// More than one turn brings, even of the smallest packets at full speed.
const MAX_PACKETS: usize = 1024;

/// What the kernel splits at most where it splits UDP (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 64;

/// More flows than are busy at once; the hash gives one byte.
const PLACES: usize = 128;

/// Of FxHash: it spreads well enough for a table that may be wrong.
const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;

const DONT_FRAGMENT: u16 = 0x4000;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

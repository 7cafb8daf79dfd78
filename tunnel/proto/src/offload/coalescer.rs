mod shape;

use std::io::{self, IoSlice};

use self::shape::{PLACES, Reading, Shape};
use super::{MAX_HEADERS, MAX_PACKET, Offload, VirtioHeader};

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
        let header = shape.join_headers(headers, run.length, run.pushes);

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

/// The least space for a packet: above any MTU that a tunnel is given, with
/// what encryption adds.
const SPACE: usize = 2048 + 32;

/// More than one turn brings, even of the smallest packets at full speed.
const MAX_PACKETS: usize = 1024;

/// What the kernel splits at most where it splits UDP (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 64;

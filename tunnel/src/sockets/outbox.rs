use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Port, Ports};

/// Datagrams that wait to be sent: bounded, in order, and grouped so that a
/// run of equal ones to one destination takes one system call.
pub struct Outbox {
    buffer: Box<[u8]>,
    filled: usize,
    runs: VecDeque<Run>,
    max_segments: usize,
    /// Whether datagrams wait a moment for a way out, rather than get lost.
    is_patient: bool,
    /// Since when there has been no way out.
    stranded_since: Option<Instant>,
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
            is_patient: false,
            stranded_since: None,
        }
    }

    /// The same, but what finds no way out waits a moment: for drivers that
    /// flush a [stranded](Self::is_stranded) outbox again soon.
    #[must_use]
    pub fn patient() -> Self {
        Self {
            is_patient: true,
            ..Self::new()
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

    /// Returns how many bytes wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        if self.runs.is_empty() { 0 } else { self.filled }
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
    pub fn flush<P: Port>(&mut self, ports: &Ports<P>) {
        while let Some(run) = self.runs.front().copied() {
            let Some(port) = ports.towards_address(run.destination) else {
                self.runs.pop_front();
                continue;
            };
            self.max_segments = port.max_segments();
            if run.segments > self.max_segments {
                self.split_first(run);
                continue;
            }
            let datagrams = &self.buffer[run.start..run.end];
            match port.try_send(run.destination, datagrams, run.segment) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The kernel promised an offload that its driver does not have,
                // or the datagrams are to be fragmented, each by itself.
                Err(error)
                    if run.segments > port.max_segments() || needs_splitting(run, &error) =>
                {
                    self.split_first(run);
                }
                // The machine may be between two networks: what it cannot send
                // now it can in a moment.
                Err(error) if is_unroutable(&error) && self.may_strand() => return,
                Ok(()) | Err(_) => {
                    self.runs.pop_front();
                }
            }
            self.stranded_since = None;
        }
        self.filled = 0;
        self.stranded_since = None;
    }

    /// Returns whether what waits has no way out at the moment: it is to be
    /// flushed again soon, not when a socket has room.
    #[must_use]
    pub fn is_stranded(&self) -> bool {
        self.stranded_since.is_some()
    }

    fn may_strand(&mut self) -> bool {
        let now = Instant::now();
        self.is_patient
            && now.duration_since(*self.stranded_since.get_or_insert(now)) < MAX_STRANDED
    }

    /// Loses everything that waits.
    pub fn clear(&mut self) {
        self.stranded_since = None;
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

/// Returns whether the machine has no way to the destination at the moment.
fn is_unroutable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::NetworkDown
    )
}

fn needs_splitting(run: Run, error: &io::Error) -> bool {
    run.segments > 1 && quinn_udp::is_msg_size_err(error)
}

/// The largest datagram that a tunnel sends, with room to spare.
const MAX_DATAGRAM: usize = 2048;

/// Two full runs: one to fill while the kernel takes the other.
const SEND_BUFFER: usize = 128 * 1024;

/// What one UDP send may carry, below 64 KiB less the headers.
const MAX_RUN: usize = 65_000;

/// Longer than replacing an address takes, too short for anybody to repeat anything.
const MAX_STRANDED: Duration = Duration::from_millis(100);

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::RecvMeta;

/// Buffers for received datagrams, allocated once.
pub struct Inbox {
    buffers: [Box<[u8]>; BATCH],
    metas: [RecvMeta; BATCH],
    filled: usize,
}

impl Inbox {
    /// Allocates the buffers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffers: std::array::from_fn(|_| vec![0; RECEIVE_BUFFER].into()),
            metas: [RecvMeta::default(); BATCH],
            filled: 0,
        }
    }

    pub(super) fn fill(
        &mut self,
        receive: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> io::Result<usize>,
    ) -> bool {
        let mut slices = self
            .buffers
            .each_mut()
            .map(|buffer| IoSliceMut::new(buffer));
        let received = receive(&mut slices, &mut self.metas);
        // An error is about some datagram sent before, which is TCP's to repeat.
        self.filled = received.unwrap_or(0);
        self.filled > 0
    }

    /// Returns the datagrams that were received last, and where they came from.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.buffers[..self.filled]
            .iter()
            .zip(&self.metas)
            .flat_map(|(buffer, meta)| {
                let received = &buffer[..meta.len.min(buffer.len())];
                received
                    .chunks(meta.stride.max(1))
                    .map(|datagram| (meta.addr, datagram))
            })
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox")
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

/// Receive buffers a turn.
const BATCH: usize = 2;

/// A kernel that coalesces may hand over 64 datagrams at once.
const RECEIVE_BUFFER: usize = 64 * 1500;

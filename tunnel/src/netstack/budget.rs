use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The memory that all socket buffers together may take.
///
/// Every connection finds the smallest buffers as long as there are not too
/// many connections; what is left is lent by halves, so that a few connections
/// get large ones and many get less.
#[derive(Debug)]
pub struct Budget {
    max_flows: usize,
    spare: Mutex<Spare>,
}

#[derive(Debug)]
struct Spare {
    bytes: usize,
    flows: usize,
}

/// A connection's part of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    /// The size of each of the two buffers, in bytes.
    pub(super) buffer: usize,
}

impl Budget {
    /// Creates a budget of `bytes` for at most as many connections as find
    /// their smallest buffers in half of it.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_flows: bytes / 2 / (2 * MIN_BUFFER),
            spare: Mutex::new(Spare {
                bytes: bytes / 2,
                flows: 0,
            }),
        })
    }

    /// Returns how many connections there can be at once.
    #[must_use]
    pub fn max_flows(&self) -> usize {
        self.max_flows
    }

    /// Returns how many connections hold a part.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.lock().flows
    }

    /// Takes a part; `None` if there are too many connections.
    pub(super) fn take(self: &Arc<Self>) -> Option<Share> {
        let mut spare = self.lock();
        if spare.flows >= self.max_flows {
            return None;
        }
        let buffer = match spare.bytes / 16 {
            0..MIN_BUFFER => MIN_BUFFER,
            fair => (1 << fair.ilog2()).min(MAX_BUFFER),
        };
        spare.bytes -= 2 * (buffer - MIN_BUFFER);
        spare.flows += 1;
        drop(spare);
        Some(Share {
            budget: Arc::clone(self),
            buffer,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut spare = self.budget.lock();
        spare.bytes += 2 * (self.buffer - MIN_BUFFER);
        spare.flows -= 1;
    }
}

/// A connection is usable with this much each way.
const MIN_BUFFER: usize = 16 * 1024;

/// Enough to fill a path of 1 Gb/s and 4 ms.
const MAX_BUFFER: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_connections_get_large_buffers_and_many_stay_within_the_budget() {
        let bytes = 32 << 20;
        let budget = Budget::new(bytes);

        let shares: Vec<Share> = std::iter::from_fn(|| budget.take()).collect();

        assert_eq!(shares.len(), 512);
        assert!(shares[..8].iter().all(|share| share.buffer == MAX_BUFFER));
        assert!(shares.iter().all(|share| share.buffer >= MIN_BUFFER));
        let taken: usize = shares.iter().map(|share| 2 * share.buffer).sum();
        assert!(taken <= bytes, "{taken}");
        drop(shares);
        assert_eq!(budget.flows(), 0);
        assert_eq!(budget.take().map(|share| share.buffer), Some(MAX_BUFFER));
    }
}

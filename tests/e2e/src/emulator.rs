//! A link as it is outdoors: frames in, frames out, late, lost, twice, out of order, damaged, as a seed decides.
//!
//! It has no clock and no socket of its own. The same seed and the same frames at the same times give the same outcome.

mod conditions;
mod random;
mod too_big;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

pub use self::conditions::{Change, Conditions, Share, Side, TooLong, Unknown};
pub use self::random::Random;

/// Two ways, each with its own conditions.
#[derive(Debug)]
pub struct Emulator {
    random: Random,
    ways: [Way; 2],
    on_the_way: BinaryHeap<Held>,
    /// Frames so far: it keeps those of one time in order.
    number: u64,
}

impl Emulator {
    /// Makes a perfect link.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            ways: [Way::default(), Way::default()],
            on_the_way: BinaryHeap::new(),
            number: 0,
        }
    }

    /// Changes what befalls the frames that come from now on.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if the line is no change.
    pub fn change(&mut self, line: &str) -> Result<(), Unknown> {
        let change: Change = line.parse()?;
        for side in Side::BOTH {
            if change.from.is_none_or(|from| from == side) {
                change.apply(&mut self.ways[side.index()].conditions);
            }
        }
        Ok(())
    }

    /// Takes a frame that came in at `from`.
    pub fn handle_frame(&mut self, from: Side, frame: &[u8], now: Instant) {
        let way = &mut self.ways[from.index()];
        let conditions = way.conditions;
        way.counts.taken += 1;
        if !conditions.is_up || self.random.hits(conditions.loss) {
            way.counts.lost += 1;
            return;
        }
        if let Some((mtu, then)) = conditions.mtu
            && frame.len() > mtu + ETHERNET
        {
            way.counts.too_long += 1;
            let answer = (then == TooLong::Icmp).then(|| too_big::answer(frame, mtu));
            if let Some(answer) = answer.flatten() {
                self.hold(from, answer, now);
            }
            return;
        }
        let Some(sent) = way.sent(frame.len(), now) else {
            way.counts.overflowed += 1;
            return;
        };
        let copies = 1 + u64::from(self.random.hits(conditions.duplicate));
        self.ways[from.index()].counts.duplicated += copies - 1;
        for _ in 0..copies {
            let mut copy = frame.to_vec();
            if self.random.hits(conditions.corrupt) {
                self.ways[from.index()].counts.corrupted += 1;
                self.random.flip_a_bit(copy.get_mut(ETHERNET..));
            }
            let at = self.arrival(from, conditions, sent);
            self.hold(from.other(), copy, at);
        }
    }

    /// Returns a frame that is due, and the side where it leaves.
    pub fn poll_frame(&mut self, now: Instant) -> Option<(Side, Vec<u8>)> {
        if self.poll_timeout()? > now {
            return None;
        }
        let held = self.on_the_way.pop()?;
        self.ways[held.to.other().index()].counts.passed += 1;
        Some((held.to, held.frame))
    }

    /// Returns when the next frame is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.on_the_way.peek().map(|held| held.at)
    }

    /// Returns what became of the frames that came in at `from`.
    #[must_use]
    pub fn counts(&self, from: Side) -> Counts {
        self.ways[from.index()].counts
    }

    /// Draws when a frame that was `sent` arrives. Only those that are picked for it overtake others.
    fn arrival(&mut self, from: Side, conditions: Conditions, sent: Instant) -> Instant {
        let late = sent + conditions.delay + self.random.up_to(conditions.jitter);
        let way = &mut self.ways[from.index()];
        let in_order = way.last.map_or(late, |last| last.max(late));
        if self.random.hits(conditions.reorder) {
            way.counts.reordered += 1;
            return in_order + HELD_BACK;
        }
        way.last = Some(in_order);
        in_order
    }

    fn hold(&mut self, to: Side, frame: Vec<u8>, at: Instant) {
        if self.on_the_way.len() >= MOST_FRAMES {
            self.ways[to.other().index()].counts.overflowed += 1;
            return;
        }
        self.number += 1;
        let number = self.number;
        self.on_the_way.push(Held {
            at,
            number,
            to,
            frame,
        });
    }
}

/// What became of the frames that came in at one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came in.
    pub taken: u64,
    /// Left at the other side.
    pub passed: u64,
    /// Were lost, by chance or because the link was down.
    pub lost: u64,
    /// Left twice.
    pub duplicated: u64,
    /// Left behind later ones.
    pub reordered: u64,
    /// Left with a wrong bit.
    pub corrupted: u64,
    /// Did not fit the link.
    pub too_long: u64,
    /// Found a full queue.
    pub overflowed: u64,
}

#[derive(Debug, Default)]
struct Way {
    conditions: Conditions,
    counts: Counts,
    /// When the sender is done with what it has.
    busy_until: Option<Instant>,
    /// When the last frame that keeps its place arrives.
    last: Option<Instant>,
}

impl Way {
    /// Returns when a frame of `length` bytes has been sent at the link's rate, unless too much waits already.
    fn sent(&mut self, length: usize, now: Instant) -> Option<Instant> {
        let Some(rate) = self.conditions.rate else {
            return Some(now);
        };
        let begins = self.busy_until.map_or(now, |until| until.max(now));
        if begins.saturating_duration_since(now) > LONGEST_QUEUE {
            return None;
        }
        let bits = u64::try_from(length).unwrap_or(u64::MAX).saturating_mul(8);
        let nanoseconds = bits.saturating_mul(1_000_000_000) / rate.get();
        let sent = begins + Duration::from_nanos(nanoseconds);
        self.busy_until = Some(sent);
        Some(sent)
    }
}

/// A frame on its way; the greatest is due first.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    at: Instant,
    number: u64,
    to: Side,
    frame: Vec<u8>,
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The header in front of the packet.
const ETHERNET: usize = 14;
/// So far does a reordered frame fall behind: some ten frames of a busy link.
const HELD_BACK: Duration = Duration::from_millis(10);
/// A usual router's buffer.
const LONGEST_QUEUE: Duration = Duration::from_millis(200);
/// Together some 25 MB.
const MOST_FRAMES: usize = 16_384;

#[cfg(test)]
mod tests;

//! Chance that can be repeated.

use std::time::Duration;

use super::conditions::Share;

/// Numbers that look like chance and follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins with `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_number() % end.max(1)
    }

    pub(super) fn hits(&mut self, share: Share) -> bool {
        self.below(Share::WHOLE) < share.millionths()
    }

    pub(super) fn up_to(&mut self, longest: Duration) -> Duration {
        let nanoseconds = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        match nanoseconds {
            0 => Duration::ZERO,
            end => Duration::from_nanos(self.below(end)),
        }
    }

    pub(super) fn flip_a_bit(&mut self, bytes: Option<&mut [u8]>) {
        let drawn = self.next_number();
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
            return;
        };
        let place = usize::try_from(drawn >> 3).unwrap_or_default() % bytes.len();
        bytes[place] ^= 1 << (drawn & 7);
    }
}

use tunnel_proto::Seed;

/// Changes inputs at random, the same way for the same seed.
#[derive(Debug)]
pub struct Mutator(Seed);

impl Mutator {
    /// Starts with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Seed::new(seed))
    }

    /// Returns a changed copy of `input`, perhaps with a piece of `other` in it.
    #[must_use]
    pub fn mutate(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, other);
        }
        bytes.truncate(MAX_INPUT);
        bytes
    }

    /// Returns a number below `limit`, or zero.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.0.draw() % limit).unwrap_or_default()
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len());
        match self.below(7) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                let value = INTERESTING[self.below(INTERESTING.len())];
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            2 => {
                let value = self.0.draw().to_le_bytes();
                let end = (at + 1 + self.below(8)).min(bytes.len());
                if let Some(place) = bytes.get_mut(at..end) {
                    place.copy_from_slice(&value[..place.len()]);
                }
            }
            3 => bytes.truncate(at),
            4 => {
                let byte = self.0.draw().to_le_bytes()[0];
                let length = self.below(64);
                bytes.splice(at..at, std::iter::repeat_n(byte, length));
            }
            5 => {
                let end = (at + self.below(16)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            _ => {
                let from = self.below(other.len());
                let to = (from + self.below(64)).min(other.len());
                bytes.splice(
                    at..at,
                    other.get(from..to).unwrap_or_default().iter().copied(),
                );
            }
        }
    }
}

const INTERESTING: [u8; 12] = [0, 1, 4, 5, 0x40, 0x45, 0x60, 0x7f, 0x80, 0xc0, 0xfe, 0xff];
const MAX_INPUT: usize = 4096;

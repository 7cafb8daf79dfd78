use std::time::Duration;

/// Random bits from the driver, from which indices and jitter are drawn.
///
/// Nothing secret comes from here: keys and nonces are boringtun's own affair.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// Wraps bits that the driver drew from the system.
    #[must_use]
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the next 64 bits (`SplitMix64`).
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Returns a duration from zero up to, but without, `limit`.
    pub fn below(&mut self, limit: Duration) -> Duration {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(self.draw() % nanos)
    }
}

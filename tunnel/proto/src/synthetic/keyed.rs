//! SipHash-2-4 (Aumasson, Bernstein 2012): who does not know the key can
//! neither foresee a value nor make two inputs collide.

use crate::random::Seed;

/// A keyed hash function.
#[derive(Clone)]
pub(crate) struct KeyedHash([u64; 2]);

impl KeyedHash {
    /// Takes its key from `seed`; equal seeds make equal functions, in every version.
    pub(crate) fn new(mut seed: Seed) -> Self {
        Self([seed.draw(), seed.draw()])
    }

    /// Returns the hash of `message`.
    pub(crate) fn hash(&self, message: &[u8]) -> u64 {
        let [k0, k1] = self.0;
        let mut state = State([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ]);
        let (words, rest) = message.as_chunks();
        for word in words {
            state.absorb(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        last[7] = message.len().to_le_bytes()[0];
        state.absorb(u64::from_le_bytes(last));

        state.0[2] ^= 0xff;
        for _ in 0..4 {
            state.round();
        }
        state.0.into_iter().fold(0, |hash, word| hash ^ word)
    }
}

struct State([u64; 4]);

impl State {
    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    fn round(&mut self) {
        let [mut v0, mut v1, mut v2, mut v3] = self.0;
        v0 = v0.wrapping_add(v1);
        v2 = v2.wrapping_add(v3);
        v1 = v1.rotate_left(13) ^ v0;
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.rotate_left(32);
        v2 = v2.wrapping_add(v1);
        v0 = v0.wrapping_add(v3);
        v1 = v1.rotate_left(17) ^ v2;
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.rotate_left(32);
        self.0 = [v0, v1, v2, v3];
    }
}

impl std::fmt::Debug for KeyedHash {
    /// Keeps the key to itself.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyedHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_test_vectors_hold() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let message: Vec<u8> = (0..15).collect();

        let hash = KeyedHash(key);

        assert_eq!(hash.hash(&[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(hash.hash(&message), 0xa129_ca61_49be_45e5);
    }
}

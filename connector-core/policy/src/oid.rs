//! The name of an object: what it contains, hashed.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The name of an object: CIDv1, base32, dag-cbor, SHA-256.
///
/// Codec and hash are pinned. A name that asks for others is no name, so nobody
/// who sends objects can choose a weaker hash for them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid([u8; 32]);

impl Oid {
    /// The name of nothing: what a first commit has for its predecessor.
    pub const ZERO: Self = Self([0; 32]);

    /// Returns the name of the object that `bytes` are.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns whether this names nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl FromStr for Oid {
    type Err = InvalidOid;

    fn from_str(text: &str) -> Result<Self, InvalidOid> {
        let invalid = || InvalidOid(text.chars().take(80).collect());
        let encoded = text.strip_prefix('b').ok_or_else(invalid)?;
        if encoded.len() != ENCODED {
            return Err(invalid());
        }
        let mut bytes = Vec::with_capacity(PREFIX.len() + 32);
        let (mut buffer, mut bits) = (0_u32, 0);
        for character in encoded.bytes() {
            let value = match character {
                b'a'..=b'z' => character - b'a',
                b'2'..=b'7' => character - b'2' + 26,
                _ => return Err(invalid()),
            };
            let value = u32::from(value);
            buffer = (buffer << 5 | value) & 0xfff;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push((buffer >> bits).to_be_bytes()[3]);
            }
        }
        // Bits beyond the last byte would give one object two names.
        let left_over = buffer & ((1 << bits) - 1);
        let digest = bytes.strip_prefix(&PREFIX).ok_or_else(invalid)?;
        match <[u8; 32]>::try_from(digest) {
            Ok(digest) if left_over == 0 => Ok(Self(digest)),
            Ok(_) | Err(_) => Err(invalid()),
        }
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(1 + ENCODED);
        text.push('b');
        let (mut buffer, mut bits) = (0_u32, 0);
        for byte in PREFIX.iter().chain(&self.0) {
            buffer = (buffer << 8 | u32::from(*byte)) & 0xfff;
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                text.push(letter(buffer >> bits));
            }
        }
        if bits > 0 {
            text.push(letter(buffer << (5 - bits)));
        }
        f.pad(&text)
    }
}

fn letter(value: u32) -> char {
    let index = usize::try_from(value & 0x1f).unwrap_or_default();
    char::from(ALPHABET[index])
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Oid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Oid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that names no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no object's name: expected a CIDv1 in base32 with dag-cbor and SHA-256, which begins with `bafyrei`"
)]
pub struct InvalidOid(String);

/// CIDv1, dag-cbor, SHA-256, 32 bytes.
const PREFIX: [u8; 4] = [0x01, 0x71, 0x12, 0x20];
/// 36 bytes at 5 bits a letter.
const ENCODED: usize = 58;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_permguard_gives() {
        for (bytes, name) in [
            (
                &b""[..],
                "bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            ),
            (
                b"Hello, World!",
                "bafyreig77vqcdozl2wyk6z3cscaj5q5fggi53aoh64fewkdiri3cdauyn4",
            ),
        ] {
            assert_eq!(Oid::of(bytes).to_string(), name);
            assert_eq!(name.parse(), Ok(Oid::of(bytes)));
        }
        let zero = "bafyreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        assert_eq!(Oid::ZERO.to_string(), zero);
        assert_eq!(zero.parse(), Ok(Oid::ZERO));
    }

    #[test]
    fn another_codec_hash_base_or_spelling_is_no_name() {
        let good = Oid::of(b"").to_string();
        let last = good.len() - 1;
        for bad in [
            String::new(),
            "b".to_owned(),
            good.to_uppercase(),
            good.replace("bafyrei", "bafkrei"),
            good.replace("bafyrei", "bafyrai"),
            good[..last].to_owned(),
            format!("{good}a"),
            format!("{}v", &good[..last]),
            format!("{}\u{e9}", &good[..last - 1]),
            "Qm".repeat(23),
        ] {
            assert!(bad.parse::<Oid>().is_err(), "{bad}");
        }
    }
}

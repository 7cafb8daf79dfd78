//! Curve25519 keys as WireGuard writes them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A static private key; wiped from memory when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey([u8; 32]);

impl PrivateKey {
    /// Takes 32 random bytes as a key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PrivateKey {
    type Err = InvalidKey;

    /// Parses base64, as in `wg genkey`.
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

/// A static public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Wraps the bytes of a key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    /// Parses base64, as in `wg pubkey`, or 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        if text.len() == 64 {
            return decode_hex(text).map(Self).ok_or(InvalidKey);
        }
        decode(text).map(|bytes| Self(*bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A text that is no key. It does not repeat the text, which may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a WireGuard key: a key is 32 bytes, written as 44 characters of base64")]
pub struct InvalidKey;

fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>, InvalidKey> {
    let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| InvalidKey)?);
    let key = bytes.as_slice().try_into().map_err(|_| InvalidKey)?;
    Ok(Zeroizing::new(key))
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        let [high, low] = digits else { return None };
        let value = char::from(*high).to_digit(16)? * 16 + char::from(*low).to_digit(16)?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

    #[test]
    fn keys_are_read_as_wireguard_writes_them() {
        let key: PublicKey = TEXT.parse().unwrap();
        let hex: String = key
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();

        assert_eq!(key.to_string(), TEXT);
        assert_eq!(hex.parse::<PublicKey>(), Ok(key));
        for wrong in ["", "xTIB", &TEXT[1..], &"g".repeat(64)] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(InvalidKey), "{wrong}");
        }
    }

    #[test]
    fn a_private_key_is_never_printed() {
        let key: PrivateKey = TEXT.parse().unwrap();

        assert_eq!(format!("{key:?}"), "PrivateKey(redacted)");
    }
}

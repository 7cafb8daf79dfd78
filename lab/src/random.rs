//! Secrets and identifiers that nobody can guess.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Returns `N` random bytes from the operating system.
///
/// # Panics
///
/// If the operating system has no randomness to give; nothing secure can run then.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has a random number generator");
    bytes
}

/// Returns 256 random bits as 43 characters of base64url.
#[must_use]
pub fn token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// Returns 128 random bits as 22 characters of base64url.
#[must_use]
pub fn identifier() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<16>())
}

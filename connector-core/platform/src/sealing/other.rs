use zeroize::Zeroizing;

use super::KEY;

/// The store, for people.
pub(super) const STORE: &str = "none";

pub(super) fn key_of_person() -> Option<Zeroizing<[u8; KEY]>> {
    None
}

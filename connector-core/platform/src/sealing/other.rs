use zeroize::Zeroizing;

use super::{KEY, Keeper};
use crate::private::PrivateDir;

/// The store, for people.
pub(super) const STORE: &str = "none";

pub(super) const KEEPER_OF_SERVICE: Keeper = Keeper::Nobody;

pub(super) fn key_of_person() -> Option<Zeroizing<[u8; KEY]>> {
    None
}

pub(super) fn key_of_service(_: &PrivateDir) -> Option<Zeroizing<[u8; KEY]>> {
    None
}

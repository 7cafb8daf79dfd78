use std::collections::HashMap;

use apple_native_keyring_store::keychain::Store;
use keyring_core::api::CredentialStoreApi;
use zeroize::Zeroizing;

use super::{KEY, Keeper};
use crate::private::PrivateDir;

/// The store, for people.
pub(super) const STORE: &str = "the Keychain";

pub(super) const KEEPER_OF_SERVICE: Keeper = Keeper::Store("the System keychain");

/// Returns the person's key, making it if there is none; none if nothing keeps it.
pub(super) fn key_of_person() -> Option<Zeroizing<[u8; KEY]>> {
    let store = Store::new().ok()?;
    let entry = store.build("ztna", "sealing key", None).ok()?;
    super::kept::key(&entry)
}

/// Returns the key that the keychain of the machine keeps, which only root may write, making it if
/// there is none; none if nothing keeps it.
pub(super) fn key_of_service(_: &PrivateDir) -> Option<Zeroizing<[u8; KEY]>> {
    let configuration = HashMap::from([("keychain", "System")]);
    let store = Store::new_with_configuration(&configuration).ok()?;
    let entry = store.build("ztnad", "sealing key", None).ok()?;
    super::kept::key(&entry)
}

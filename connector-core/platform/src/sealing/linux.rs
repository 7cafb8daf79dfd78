use std::fs;
use std::path::Path;

use keyring_core::api::CredentialStoreApi;
use zbus_secret_service_keyring_store::Store;
use zeroize::Zeroizing;

use super::{KEY, Keeper};
use crate::private::PrivateDir;

/// The store, for people.
pub(super) const STORE: &str = "the Secret Service (GNOME Keyring, KWallet)";

pub(super) const KEEPER_OF_SERVICE: Keeper = Keeper::ServiceManager;

/// Returns the person's key, making it if there is none; none if nothing keeps it.
pub(super) fn key_of_person() -> Option<Zeroizing<[u8; KEY]>> {
    let store = Store::new().ok()?;
    let entry = store.build("ztna", "sealing key", None).ok()?;
    super::kept::key(&entry)
}

/// Returns the key that is made of what systemd hands to the service; none if it hands nothing.
pub(super) fn key_of_service(_: &PrivateDir) -> Option<Zeroizing<[u8; KEY]>> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    let credential = Zeroizing::new(fs::read(Path::new(&folder).join(CREDENTIAL)).ok()?);
    (credential.len() >= SHORTEST_CREDENTIAL).then(|| {
        let digest = ring::digest::digest(&ring::digest::SHA256, &credential);
        let mut key = Zeroizing::new([0; KEY]);
        key.copy_from_slice(digest.as_ref());
        key
    })
}

/// The name of the service's credential.
const CREDENTIAL: &str = "ztnad.seal";

/// In bytes: as long as the key that is made of it.
const SHORTEST_CREDENTIAL: usize = KEY;

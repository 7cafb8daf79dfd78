use keyring_core::api::CredentialStoreApi;
use zbus_secret_service_keyring_store::Store;
use zeroize::Zeroizing;

use super::KEY;

/// The store, for people.
pub(super) const STORE: &str = "the Secret Service (GNOME Keyring, KWallet)";

/// Returns the person's key, making it if there is none; none if nothing keeps it.
pub(super) fn key_of_person() -> Option<Zeroizing<[u8; KEY]>> {
    let store = Store::new().ok()?;
    let entry = store.build("ztna", "sealing key", None).ok()?;
    super::kept::key(&entry)
}

use keyring_core::api::CredentialStoreApi;
use windows_native_keyring_store::Store;
use zeroize::Zeroizing;

use super::KEY;

/// The store, for people.
pub(super) const STORE: &str = "the Credential Manager";

/// Returns the person's key, making it if there is none; none if nothing keeps it.
pub(super) fn key_of_person() -> Option<Zeroizing<[u8; KEY]>> {
    let store = Store::new().ok()?;
    let entry = store.build("ztna", "sealing key", None).ok()?;
    super::kept::key(&entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credential_manager_keeps_the_key_that_it_was_given() {
        let first = key_of_person().unwrap();

        assert_eq!(key_of_person().unwrap(), first);
        assert_ne!(*first, [0; KEY]);
    }
}

use std::ptr;

use keyring_core::api::CredentialStoreApi;
use windows_native_keyring_store::Store;
use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData, CryptUnprotectData,
};
use zeroize::{Zeroize, Zeroizing};

use super::{KEY, Keeper};
use crate::private::PrivateDir;

/// The store, for people.
pub(super) const STORE: &str = "the Credential Manager";

pub(super) const KEEPER_OF_SERVICE: Keeper =
    Keeper::Store("Windows' data protection for the service's account (DPAPI)");

/// Returns the person's key, making it if there is none; none if nothing keeps it.
pub(super) fn key_of_person() -> Option<Zeroizing<[u8; KEY]>> {
    let store = Store::new().ok()?;
    let entry = store.build("ztna", "sealing key", None).ok()?;
    super::kept::key(&entry)
}

/// Returns the key that lies in `state`, encrypted for the account of this process, making it if
/// there is none; none if it cannot be decrypted or kept.
pub(super) fn key_of_service(state: &PrivateDir) -> Option<Zeroizing<[u8; KEY]>> {
    if let Some(protected) = state.read(PROTECTED).ok()? {
        let key = data_protection(Turn::Unprotect, &protected)?;
        return Some(Zeroizing::new(key.as_slice().try_into().ok()?));
    }
    let mut key = Zeroizing::new([0; KEY]);
    getrandom::fill(&mut *key).ok()?;
    let protected = data_protection(Turn::Protect, &*key)?;
    state.write(PROTECTED, &protected).ok()?;
    Some(key)
}

#[derive(Debug, Clone, Copy)]
enum Turn {
    Protect,
    Unprotect,
}

/// Has the system encrypt for the account of this process, or decrypt; none if it does not.
#[expect(unsafe_code, reason = "the system's interface")]
fn data_protection(turn: Turn, content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let input = CRYPT_INTEGER_BLOB {
        cbData: content.len().try_into().ok()?,
        pbData: content.as_ptr().cast_mut(),
    };
    let mut output = CRYPT_INTEGER_BLOB {
        cbData: 0,
        pbData: ptr::null_mut(),
    };
    let (none, flags) = (ptr::null(), CRYPTPROTECT_UI_FORBIDDEN);
    let succeeded = match turn {
        // SAFETY: the system reads `input`, which `content` outlives, and writes `output` alone.
        Turn::Protect => unsafe {
            CryptProtectData(
                &raw const input,
                none,
                none.cast(),
                none.cast(),
                none.cast(),
                flags,
                &raw mut output,
            )
        },
        // SAFETY: as above.
        Turn::Unprotect => unsafe {
            CryptUnprotectData(
                &raw const input,
                ptr::null_mut(),
                none.cast(),
                none.cast(),
                none.cast(),
                flags,
                &raw mut output,
            )
        },
    };
    if succeeded == 0 || output.pbData.is_null() {
        return None;
    }
    let length = usize::try_from(output.cbData).ok()?;
    // SAFETY: the system has allocated as many bytes, which are ours until they are freed below.
    let found = unsafe { std::slice::from_raw_parts_mut(output.pbData, length) };
    let copy = Zeroizing::new(found.to_vec());
    found.zeroize();
    // SAFETY: it was allocated by the system for us, and nothing refers to it any more.
    unsafe { LocalFree(output.pbData.cast()) };
    Some(copy)
}

/// The file with the encrypted key, in the service's state directory.
const PROTECTED: &str = "ztnad.seal";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credential_manager_keeps_the_key_that_it_was_given() {
        let first = key_of_person().unwrap();

        assert_eq!(key_of_person().unwrap(), first);
        assert_ne!(*first, [0; KEY]);
    }

    #[test]
    fn the_service_s_key_comes_back_and_is_not_in_its_file_and_no_other_is_made_of_a_damaged_one() {
        let root = tempfile::tempdir().unwrap();
        let state = PrivateDir::open(&root.path().join("state")).unwrap();

        let first = key_of_service(&state).unwrap();

        assert_eq!(key_of_service(&state).unwrap(), first);
        let mut file = state.read(PROTECTED).unwrap().unwrap();
        assert!(!file.windows(KEY).any(|window| window == *first));
        let last = file.len() - 1;
        file[last] ^= 1;
        file.truncate(last);
        state.write(PROTECTED, &file).unwrap();
        assert_eq!(key_of_service(&state), None);
        assert_eq!(state.read(PROTECTED).unwrap().unwrap(), file);
    }
}

//! A key that the system's key store keeps.

use keyring_core::{Entry, Error};
use zeroize::Zeroizing;

use super::KEY;

/// Reads the key, or makes and keeps one; none unless it was seen to be kept.
pub(super) fn key(entry: &Entry) -> Option<Zeroizing<[u8; KEY]>> {
    match read(entry) {
        Ok(key) => Some(key),
        Err(Error::NoEntry) => {
            let mut key = Zeroizing::new([0; KEY]);
            getrandom::fill(&mut *key).ok()?;
            entry.set_secret(&*key).ok()?;
            read(entry).ok().filter(|kept| kept == &key)
        }
        // A store that is locked, or has something else there, is left alone.
        Err(_) => None,
    }
}

fn read(entry: &Entry) -> keyring_core::Result<Zeroizing<[u8; KEY]>> {
    let kept = Zeroizing::new(entry.get_secret()?);
    let key: [u8; KEY] = kept
        .as_slice()
        .try_into()
        .map_err(|_| Error::BadDataFormat(Vec::new(), "not a key of ours".into()))?;
    Ok(Zeroizing::new(key))
}

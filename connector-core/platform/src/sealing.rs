//! Files whose content nobody can read who has but the file: sealed by a key that lies elsewhere.
//!
//! The key of a person's secrets lies in the system's key store for that person (Secret Service,
//! Keychain, Credential Manager). That of the system's service is in a credential which systemd
//! hands to the service alone (`systemd.exec(5)`, `LoadCredentialEncrypted=`), in the System
//! keychain, or encrypted for the service's account (DPAPI). Where there is none of them, files are
//! private and not sealed.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::private::PrivateDir;

#[cfg_attr(target_os = "linux", path = "sealing/linux.rs")]
#[cfg_attr(target_os = "macos", path = "sealing/macos.rs")]
#[cfg_attr(windows, path = "sealing/windows.rs")]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "macos", windows)),
    path = "sealing/other.rs"
)]
mod imp;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod kept;

/// Seals and opens the contents of files.
#[derive(Debug, Clone)]
pub struct Sealer {
    key: Option<Arc<LessSafeKey>>,
    keeper: Keeper,
}

/// Who keeps the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Nobody: files are private, and not sealed.
    Nobody,
    /// A key store of the system, by its name for people.
    Store(&'static str),
    /// The system's service manager, for the service.
    ServiceManager,
}

impl Sealer {
    /// Returns the sealer for the secrets of the person who runs this process; the system's key
    /// store is tried by what it keeps, since one that is there may be locked. Blocks for some
    /// seconds at most.
    #[must_use]
    pub fn of_person() -> Self {
        // The store may ask the person to unlock it, and wait.
        let (sender, key) = mpsc::channel();
        let asked = thread::Builder::new()
            .name("key store".into())
            .spawn(move || sender.send(imp::key_of_person()));
        match asked.ok().and_then(|_| key.recv_timeout(PATIENCE).ok()) {
            Some(Some(key)) => Self::new(&key, Keeper::Store(imp::STORE)),
            Some(None) | None => Self::none(),
        }
    }

    /// Returns the sealer for the secrets of the system's service, whose state lies in `state`:
    /// what the system encrypts for the service, and does not keep itself, is kept there.
    #[must_use]
    pub fn of_service(state: &PrivateDir) -> Self {
        match imp::key_of_service(state) {
            Some(key) => Self::new(&key, imp::KEEPER_OF_SERVICE),
            None => Self::none(),
        }
    }

    /// Returns the sealer that seals nothing.
    #[must_use]
    pub fn none() -> Self {
        Self {
            key: None,
            keeper: Keeper::Nobody,
        }
    }

    fn new(key: &[u8; KEY], keeper: Keeper) -> Self {
        // A key of this length is always taken.
        let key = UnboundKey::new(&AES_256_GCM, key).map(|key| Arc::new(LessSafeKey::new(key)));
        match key {
            Ok(key) => Self {
                key: Some(key),
                keeper,
            },
            Err(_) => Self::none(),
        }
    }

    /// Returns who keeps the key.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.keeper
    }

    /// Returns what to write into the file `name` for `content`.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes.
    pub fn seal(&self, name: &str, content: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Some(key) = &self.key else {
            return Ok(Zeroizing::new(content.to_vec()));
        };
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| SealError::Random(error.to_string()))?;
        let mut sealed = content.to_vec();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce_used, Aad::from(name.as_bytes()), &mut sealed)
            .map_err(|_| SealError::Damaged)?;
        Ok(Zeroizing::new([MAGIC, &nonce, sealed.as_slice()].concat()))
    }

    /// Returns what was sealed into the file `name`, or what it holds if it is not sealed.
    ///
    /// # Errors
    ///
    /// [`SealError::Locked`] if the key is not at hand, [`SealError::Damaged`] if another key
    /// sealed it, under another name, or it was changed.
    pub fn open(&self, name: &str, file: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let file = Zeroizing::new(file);
        let Some(sealed) = file.strip_prefix(MAGIC) else {
            return Ok(file);
        };
        let key = self.key.as_ref().ok_or(SealError::Locked)?;
        let (nonce, sealed) = sealed
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealError::Damaged)?;
        let mut content = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut content)
            .map_err(|_| SealError::Damaged)?
            .len();
        content.truncate(length);
        Ok(content)
    }

    /// Returns whether `file` is as this sealer would write it.
    #[must_use]
    pub fn has_sealed(&self, file: &[u8]) -> bool {
        self.key.is_some() == file.starts_with(MAGIC)
    }
}

/// Why a sealed file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Another key sealed it, under another name, or it was changed.
    #[error("the file was sealed by another key, or changed since")]
    Damaged,
    /// The key is not at hand.
    #[error(
        "the key that opens the file is not at hand: the system's key store is locked, or not there"
    )]
    Locked,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

/// In bytes.
const KEY: usize = 32;

/// How a sealed file begins; a key, or JSON, does not.
const MAGIC: &[u8] = b"ztna sealed 1\n";

/// A store that asks the person something is left to it; the next start finds it unlocked.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_under_its_name_and_key_alone() {
        let sealer = sealer(1);
        let sealed = sealer.seal("sign-in.json", b"refresh token").unwrap();

        assert!(!sealed.windows(7).any(|window| window == b"refresh"));
        let open = |sealer: &Sealer, name: &str, file: &[u8]| sealer.open(name, file.to_vec());
        assert_eq!(
            &**open(&sealer, "sign-in.json", &sealed).unwrap(),
            b"refresh token"
        );
        assert_eq!(open(&sealer, "host.key", &sealed), Err(SealError::Damaged));
        assert_eq!(
            open(&self::sealer(2), "sign-in.json", &sealed),
            Err(SealError::Damaged)
        );
        assert_eq!(
            open(&Sealer::none(), "sign-in.json", &sealed),
            Err(SealError::Locked)
        );
        let mut changed = sealed.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(
            open(&sealer, "sign-in.json", &changed),
            Err(SealError::Damaged)
        );
        assert_eq!(
            open(&sealer, "sign-in.json", MAGIC),
            Err(SealError::Damaged)
        );
    }

    #[test]
    fn the_same_content_is_never_sealed_alike() {
        let sealer = sealer(1);

        assert_ne!(
            sealer.seal("x", b"same").unwrap(),
            sealer.seal("x", b"same").unwrap()
        );
    }

    #[test]
    fn what_is_not_sealed_is_read_as_it_is_and_told_apart() {
        let plain = b"{\"refresh_token\":\"x\"}".to_vec();

        assert_eq!(*sealer(1).open("x", plain.clone()).unwrap(), plain);
        assert!(!sealer(1).has_sealed(&plain));
        assert!(Sealer::none().has_sealed(&plain));
        let sealed = sealer(1).seal("x", &plain).unwrap();
        assert!(sealer(1).has_sealed(&sealed));
        assert!(!Sealer::none().has_sealed(&sealed));
    }

    fn sealer(seed: u8) -> Sealer {
        Sealer::new(&[seed; KEY], Keeper::ServiceManager)
    }
}

//! The keys of this installation and of this run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connector_core::identity::SessionId;
use connector_platform::private::{PrivateDir, PrivateError};
use ed25519_dalek::SigningKey;
use tunnel_proto::keys::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// Reads the host's key, making it at the first start.
pub(crate) fn host_key(state: &PrivateDir) -> Result<SigningKey, KeyError> {
    if let Some(seed) = state.read(HOST_KEY)? {
        let seed = Zeroizing::new(seed);
        let seed: &[u8; 32] = seed
            .as_slice()
            .try_into()
            .map_err(|_| KeyError::Damaged(state.path(HOST_KEY).display().to_string()))?;
        return Ok(SigningKey::from_bytes(seed));
    }
    let key = signing_key()?;
    state.write(HOST_KEY, key.as_bytes())?;
    Ok(key)
}

/// Reads the number that decides which name gets which address on this
/// machine, making it at the first start.
pub(crate) fn address_seed(state: &PrivateDir) -> Result<u64, KeyError> {
    if let Some(kept) = state.read(ADDRESS_SEED)?
        && let Ok(bytes) = <[u8; 8]>::try_from(kept.as_slice())
    {
        return Ok(u64::from_le_bytes(bytes));
    }
    let bytes = random::<8>()?;
    state.write(ADDRESS_SEED, &*bytes)?;
    Ok(u64::from_le_bytes(*bytes))
}

/// Makes a signing key.
pub(crate) fn signing_key() -> Result<SigningKey, KeyError> {
    Ok(SigningKey::from_bytes(&*random::<32>()?))
}

/// Makes a name that nobody can guess, with 256 bits.
pub(crate) fn unguessable() -> Result<String, KeyError> {
    Ok(URL_SAFE_NO_PAD.encode(*random::<32>()?))
}

pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(|error| KeyError::Random(error.to_string()))?;
    Ok(bytes)
}

/// A session's secrets, which die with the process.
#[derive(Debug)]
pub(crate) struct SessionKeys {
    pub(crate) signing: SigningKey,
    pub(crate) tunnel: PrivateKey,
}

impl SessionKeys {
    pub(crate) fn generate() -> Result<Self, KeyError> {
        Ok(Self {
            signing: signing_key()?,
            tunnel: PrivateKey::from_bytes(*random::<32>()?),
        })
    }

    pub(crate) fn tunnel_public(&self) -> PublicKey {
        self.tunnel.public_key()
    }
}

/// The secrets of open sessions, by session.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyRing(Arc<Mutex<BTreeMap<SessionId, Arc<SessionKeys>>>>);

impl KeyRing {
    pub(crate) fn insert(&self, id: SessionId, keys: SessionKeys) {
        self.lock().insert(id, Arc::new(keys));
    }

    pub(crate) fn find(&self, id: &SessionId) -> Option<Arc<SessionKeys>> {
        self.lock().get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &SessionId) -> Option<Arc<SessionKeys>> {
        self.lock().remove(id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Arc<SessionKeys>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("{0} is no host key; remove it to enrol this device anew")]
    Damaged(String),
    #[error(transparent)]
    Private(#[from] PrivateError),
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

const HOST_KEY: &str = "host.key";
const ADDRESS_SEED: &str = "addresses.seed";

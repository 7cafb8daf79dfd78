//! The keys of this installation and of this run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connector_core::identity::SessionId;
use connector_platform::endpoint::Audience;
use connector_platform::private::{PrivateDir, PrivateError};
use connector_platform::sealing::{Keeper, SealError, Sealer};
use ed25519_dalek::SigningKey;
use tunnel_proto::keys::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::settings::{KeyStore, Settings};

/// What seals the files of this installation.
#[derive(Debug, Clone)]
pub(crate) struct Sealers {
    pub(crate) host: Sealer,
    pub(crate) person: Sealer,
    /// Whether the person's key store is looked for again while it is locked.
    pub(crate) is_of_person: bool,
}

impl Sealers {
    /// Looks for who keeps the keys. Blocks for some seconds at most.
    ///
    /// The host's key is never left to a person's key store: while that is locked, the device
    /// would have to enrol anew.
    pub(crate) fn find(settings: &Settings, audience: Audience) -> Self {
        if audience == Audience::Machine {
            // What is wrong with the directory is said when it is used.
            let service = PrivateDir::open(&settings.state_dir)
                .map_or_else(|_| Sealer::none(), |state| Sealer::of_service(&state));
            return Self {
                host: service.clone(),
                person: service,
                is_of_person: false,
            };
        }
        let is_of_person = settings.key_store == KeyStore::System;
        Self {
            host: Sealer::none(),
            person: match is_of_person {
                true => Sealer::of_person(),
                false => Sealer::none(),
            },
            is_of_person,
        }
    }
}

/// How secrets are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keeping {
    /// Who keeps the key to the host's key.
    pub(crate) host: Keeper,
    /// Who keeps the key to what a sign-in left.
    pub(crate) sign_in: Keeper,
    /// Whether the person's key store should.
    pub(crate) wants_store: bool,
}

impl Keeping {
    /// Says how, for people.
    pub(crate) fn describe(&self) -> String {
        let text = |keeper| match keeper {
            Keeper::Nobody => "in a file that only the service's user may read".to_owned(),
            Keeper::ServiceManager => "in a file sealed by the service's credential".to_owned(),
            Keeper::Store(name) => format!("in a file sealed by a key in {name}"),
        };
        format!(
            "The device's key lies {}, your sign-in {}.",
            text(self.host),
            text(self.sign_in)
        )
    }
}

/// Reads the host's key, making it at the first start, and sealing it if it is not yet.
pub(crate) fn host_key(state: &PrivateDir, sealer: &Sealer) -> Result<SigningKey, KeyError> {
    if let Some(file) = state.read(HOST_KEY)? {
        let is_as_it_should_be = sealer.has_sealed(&file);
        let seed = sealer.open(HOST_KEY, file)?;
        if !is_as_it_should_be {
            state.write(HOST_KEY, &sealer.seal(HOST_KEY, &seed)?)?;
        }
        let seed: &[u8; 32] = seed
            .as_slice()
            .try_into()
            .map_err(|_| KeyError::Damaged(state.path(HOST_KEY).display().to_string()))?;
        return Ok(SigningKey::from_bytes(seed));
    }
    let key = signing_key()?;
    state.write(HOST_KEY, &sealer.seal(HOST_KEY, key.as_bytes())?)?;
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
    #[error("the host key cannot be opened: {0}")]
    Seal(#[from] SealError),
}

const HOST_KEY: &str = "host.key";
const ADDRESS_SEED: &str = "addresses.seed";

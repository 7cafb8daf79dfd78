use std::sync::{Arc, Mutex, PoisonError};

use connector_core::jws::PublicKey;
use connector_policy::store::Store;

/// The policy store of this device: kept in step by one task, looked at by others.
///
/// Taking in a large commit holds it for up to a second; whoever looks from a
/// thread that must not wait does so elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    store: Arc<Mutex<Store>>,
    key: PublicKey,
}

impl Shelf {
    pub(super) fn new(store: Store, key: PublicKey) -> Self {
        Self {
            store: Arc::new(Mutex::new(store)),
            key,
        }
    }

    /// Returns the key that signs heads.
    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Returns what `look` sees.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        self.change(|store| look(store))
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        change(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

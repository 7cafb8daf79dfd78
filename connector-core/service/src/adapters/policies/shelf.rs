use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connector_core::jws::PublicKey;
use connector_core::time::WallTime;
use connector_policy::store::Store;

/// The policy store of this device: kept in step by one task, looked at by others.
///
/// Taking in a large commit holds it for up to a second; whoever looks from a
/// thread that must not wait does so elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    store: Arc<Mutex<Store>>,
    key: PublicKey,
    not_followed: Arc<Mutex<Option<NotFollowed>>>,
}

/// What the control plane offered last, if that is not in force.
#[derive(Debug, Clone)]
pub(crate) struct NotFollowed {
    /// When it was offered.
    pub(crate) at: WallTime,
    /// Why it is not followed.
    pub(crate) problem: Arc<str>,
}

impl Shelf {
    pub(super) fn new(store: Store, key: PublicKey) -> Self {
        Self {
            store: Arc::new(Mutex::new(store)),
            key,
            not_followed: Arc::default(),
        }
    }

    /// Notes why what was offered is not in force.
    pub(super) fn blame(&self, at: WallTime, problem: Arc<str>) {
        *lock(&self.not_followed) = Some(NotFollowed { at, problem });
    }

    /// Notes that what was offered is in force.
    pub(super) fn forgive(&self) {
        *lock(&self.not_followed) = None;
    }

    /// Returns what the control plane offered last, if that is not in force.
    pub(crate) fn not_followed(&self) -> Option<NotFollowed> {
        lock(&self.not_followed).clone()
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
        let number = |store: &Store| store.active().map(|active| active.head.sequence);
        let mut store = lock(&self.store);
        let before = number(&store);
        let outcome = change(&mut store);
        let after = number(&store);
        if after.is_some() && after != before {
            // Nobody sees what is in force now beside why something before it was not.
            self.forgive();
        }
        outcome
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What a sign-in leaves for the next start: the refresh token.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connector_core::identity::SessionId;
use connector_platform::private::{PrivateDir, PrivateError};
use connector_platform::sealing::{Keeper, SealError, Sealer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::adapters::keys::{Keeping, Sealers};

/// The store, which forgets for good: a sign-in that was under way when the
/// person signed out can no longer write.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    state: PrivateDir,
    sealer: Arc<Mutex<Sealer>>,
    is_of_person: bool,
    era: Arc<Mutex<Era>>,
}

/// Counts how often the store was emptied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Era(u64);

/// A refresh token and who issued it.
pub(super) struct StoredSignIn {
    pub(super) issuer: String,
    pub(super) refresh_token: Zeroizing<String>,
    /// When the person was last at the provider, in Unix seconds.
    pub(super) signed_in_at: u64,
    /// The numeric user who asked for it; none if it was for the machine as a whole.
    pub(super) user: Option<u32>,
    /// The latest session that was opened with it.
    pub(super) session: Option<SessionId>,
}

impl Store {
    pub(crate) fn new(state: PrivateDir, sealers: &Sealers) -> Self {
        Self {
            state,
            sealer: Arc::new(Mutex::new(sealers.person.clone())),
            is_of_person: sealers.is_of_person,
            era: Arc::default(),
        }
    }

    /// Returns the era in which a sign-in starts.
    pub(super) fn era(&self) -> Era {
        *self.lock()
    }

    pub(super) fn read(&self) -> Result<Option<StoredSignIn>, StoreError> {
        let Some(file) = self.state.read(SIGN_IN)? else {
            return Ok(None);
        };
        let bytes = self.sealer().open(SIGN_IN, file)?;
        let raw: RawSignIn = serde_json::from_slice(&bytes).map_err(|_| StoreError::Damaged)?;
        Ok(Some(StoredSignIn {
            issuer: raw.issuer,
            refresh_token: Zeroizing::new(raw.refresh_token),
            signed_in_at: raw.signed_in_at,
            user: raw.user,
            session: raw.session.as_deref().map(SessionId::from),
        }))
    }

    /// Replaces what is stored, unless it was forgotten since `era`.
    pub(super) fn write(&self, sign_in: &StoredSignIn, era: Era) -> Result<(), StoreError> {
        let current = self.lock();
        if *current != era {
            return Err(StoreError::Forgotten);
        }
        let raw = RawSignIn {
            issuer: sign_in.issuer.clone(),
            refresh_token: sign_in.refresh_token.to_string(),
            signed_in_at: sign_in.signed_in_at,
            user: sign_in.user,
            session: sign_in.session.as_ref().map(ToString::to_string),
        };
        let bytes = Zeroizing::new(serde_json::to_vec(&raw).map_err(|_| StoreError::Damaged)?);
        let sealed = self.sealer().seal(SIGN_IN, &bytes)?;
        Ok(self.state.write(SIGN_IN, &sealed)?)
    }

    pub(super) fn forget(&self) -> Result<(), StoreError> {
        let mut era = self.lock();
        era.0 += 1;
        Ok(self.state.remove(SIGN_IN)?)
    }

    /// Returns how secrets are kept now, where `host` keeps the key to the host's.
    pub(crate) fn keeping(&self, host: Keeper) -> Keeping {
        Keeping {
            host,
            sign_in: self.sealer().keeper(),
            wants_store: self.is_of_person,
        }
    }

    /// Looks for the person's key store again if what is stored was sealed, and it was locked.
    pub(super) async fn unlock(&self) {
        if !self.is_of_person || !matches!(self.read(), Err(StoreError::Seal(SealError::Locked))) {
            return;
        }
        if let Ok(found) = tokio::task::spawn_blocking(Sealer::of_person).await {
            *self.sealer.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }

    fn sealer(&self) -> Sealer {
        let sealer = self.sealer.lock().unwrap_or_else(PoisonError::into_inner);
        sealer.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Era> {
        self.era.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the stored sign-in cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the stored sign-in cannot be read; sign in again")]
    Damaged,
    #[error("somebody signed out in between")]
    Forgotten,
    #[error(transparent)]
    Private(#[from] PrivateError),
    #[error("the stored sign-in cannot be opened; sign in again: {0}")]
    Seal(#[from] SealError),
}

#[derive(Serialize, Deserialize)]
struct RawSignIn {
    issuer: String,
    refresh_token: String,
    signed_in_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

const SIGN_IN: &str = "sign-in.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_is_not_written_by_a_sign_in_from_before() {
        let root = tempfile::tempdir().unwrap();
        let state = PrivateDir::open(&root.path().join("state")).unwrap();
        let sealers = Sealers {
            host: Sealer::none(),
            person: Sealer::none(),
            is_of_person: false,
        };
        let store = Store::new(state, &sealers);
        let sign_in = StoredSignIn {
            issuer: "https://idp.corp.test".into(),
            refresh_token: Zeroizing::new("secret".into()),
            signed_in_at: 1,
            user: Some(1000),
            session: Some("s1".into()),
        };
        let before = store.era();

        store.forget().unwrap();

        assert!(store.write(&sign_in, before).is_err());
        assert!(store.read().unwrap().is_none());
        store.write(&sign_in, store.era()).unwrap();
        let stored = store.read().unwrap().unwrap();
        assert_eq!(
            (stored.user, stored.session),
            (sign_in.user, sign_in.session)
        );
    }
}

//! One service at a time.

use std::fs::{File, TryLockError};

use crate::private::{PrivateDir, PrivateError};

/// Holds the claim that this is the only service on a state directory; the
/// system drops it when the process ends, however it ends.
#[derive(Debug)]
pub struct Instance {
    _lock: File,
}

impl Instance {
    /// Claims `state`.
    ///
    /// # Errors
    ///
    /// [`ClaimError::AlreadyRunning`] if another service holds the claim.
    pub fn claim(state: &PrivateDir) -> Result<Self, ClaimError> {
        let lock = state.append(LOCK)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ClaimError::AlreadyRunning {
                lock: state.path(LOCK).display().to_string(),
            }),
            Err(TryLockError::Error(problem)) => Err(ClaimError::Lock {
                lock: state.path(LOCK).display().to_string(),
                problem,
            }),
        }
    }
}

/// Why the claim failed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another service holds it.
    #[error(
        "ztnad is already running here (it holds {lock}); stop it first, or give this one another --state-dir"
    )]
    AlreadyRunning {
        /// The file that it holds.
        lock: String,
    },
    /// The file cannot be locked.
    #[error("cannot lock {lock}: {problem}")]
    Lock {
        /// The file.
        lock: String,
        /// What the system says.
        problem: std::io::Error,
    },
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] PrivateError),
}

const LOCK: &str = "ztnad.lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_claim_is_refused_until_the_first_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let state = PrivateDir::open(&root.path().join("state")).unwrap();
        let first = Instance::claim(&state).unwrap();

        assert!(matches!(
            Instance::claim(&state),
            Err(ClaimError::AlreadyRunning { .. })
        ));
        drop(first);
        assert!(Instance::claim(&state).is_ok());
    }
}

//! What outlives a restart: which events have been dealt with, and what was said of this device.

use std::sync::{Mutex, MutexGuard, PoisonError};

use connector_core::connector::Compliance;
use connector_core::signals::{EventId, Seen};
use connector_core::time::WallTime;
use connector_platform::private::{PrivateDir, PrivateError};
use serde::{Deserialize, Serialize};

/// One small file, replaced as a whole.
#[derive(Debug)]
pub(crate) struct Kept {
    state: PrivateDir,
    content: Mutex<Content>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    /// Whose events these are.
    issuer: String,
    seen: Seen,
    compliance: Option<Compliance>,
}

impl Kept {
    /// Reads what earlier runs left.
    ///
    /// # Errors
    ///
    /// If it is not known what was said of this device before.
    pub(crate) fn restore(state: PrivateDir) -> Result<Self, KeptError> {
        let damaged = || KeptError::Damaged(state.path(FILE).display().to_string());
        let content = match state.read(FILE)? {
            None => Content::default(),
            Some(bytes) => {
                let raw: RawKept = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
                Content::read(raw).ok_or_else(damaged)?
            }
        };
        Ok(Self {
            content: Mutex::new(content),
            state,
        })
    }

    /// Returns what an earlier run was told about this device.
    pub(crate) fn compliance(&self) -> Option<Compliance> {
        self.lock().compliance
    }

    pub(super) fn set_compliance(&self, compliance: Compliance) {
        self.lock().compliance = Some(compliance);
    }

    /// Goes on with the events of `issuer`; those of another are of no use.
    pub(super) fn follow(&self, issuer: &str) {
        let mut content = self.lock();
        if content.issuer != issuer {
            issuer.clone_into(&mut content.issuer);
            content.seen = Seen::default();
        }
    }

    pub(super) fn has_seen(&self, id: &EventId) -> bool {
        self.lock().seen.contains(id)
    }

    /// Brings what has been dealt with to the disk, with `new` among it.
    pub(super) fn save(&self, new: Vec<EventId>) -> Result<(), PrivateError> {
        let mut content = self.lock();
        let mut next = content.clone();
        for id in new {
            next.seen.insert(id);
        }
        // A list of texts and numbers can always be written.
        let bytes = serde_json::to_vec(&next.write()).unwrap_or_default();
        // Only what is on the disk counts as seen: the rest is sent again.
        self.state.write(FILE, &bytes)?;
        *content = next;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn read(raw: RawKept) -> Option<Self> {
        let mut seen = Seen::default();
        for id in raw.seen {
            seen.insert(EventId::parse(&id)?);
        }
        let compliance = raw.compliance.map(|raw| Compliance {
            at: WallTime::from_unix_millis(raw.at_millis),
            is_compliant: raw.is_compliant,
        });
        Some(Self {
            issuer: raw.issuer,
            seen,
            compliance,
        })
    }

    fn write(&self) -> RawKept {
        RawKept {
            issuer: self.issuer.clone(),
            seen: self.seen.iter().map(ToString::to_string).collect(),
            compliance: self.compliance.map(|compliance| RawCompliance {
                at_millis: compliance.at.unix_millis(),
                is_compliant: compliance.is_compliant,
            }),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct RawKept {
    issuer: String,
    seen: Vec<String>,
    compliance: Option<RawCompliance>,
}

#[derive(Serialize, Deserialize)]
struct RawCompliance {
    at_millis: u64,
    is_compliant: bool,
}

/// What was said before is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeptError {
    #[error(
        "{0} is damaged, so it is not known whether this device was found not to comply; restore it, or remove it and ask your administrator to look at this device"
    )]
    Damaged(String),
    #[error(transparent)]
    Private(#[from] PrivateError),
}

const FILE: &str = "signals.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dealt_with_is_known_after_a_restart_and_forgotten_with_its_issuer() {
        let root = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&root.path().join("state")).unwrap();
        let compliance = Compliance {
            at: WallTime::from_unix_millis(7),
            is_compliant: false,
        };
        let kept = Kept::restore(dir.clone()).unwrap();
        kept.follow("https://t.test/");
        kept.set_compliance(compliance);
        kept.save(vec![id("a"), id("b")]).unwrap();

        let restarted = Kept::restore(dir).unwrap();
        restarted.follow("https://t.test/");

        assert!(restarted.has_seen(&id("a")) && restarted.has_seen(&id("b")));
        assert!(!restarted.has_seen(&id("c")));
        assert_eq!(restarted.compliance(), Some(compliance));
        restarted.follow("https://other.test/");
        assert!(!restarted.has_seen(&id("a")));
        assert_eq!(restarted.compliance(), Some(compliance));
    }

    #[test]
    fn what_could_not_be_kept_does_not_count_as_seen() {
        let root = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&root.path().join("state")).unwrap();
        let kept = Kept::restore(dir.clone()).unwrap();
        std::fs::remove_dir_all(dir.path("")).unwrap();

        assert!(kept.save(vec![id("a")]).is_err());

        assert!(!kept.has_seen(&id("a")));
    }

    #[test]
    fn a_damaged_file_is_told_and_not_taken_for_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&root.path().join("state")).unwrap();
        for damage in [
            &b""[..],
            b"{}",
            br#"{"issuer":"x","seen":[""],"compliance":null}"#,
        ] {
            dir.write(FILE, damage).unwrap();

            assert!(Kept::restore(dir.clone()).is_err());
        }
    }

    fn id(text: &str) -> EventId {
        EventId::parse(text).unwrap()
    }
}

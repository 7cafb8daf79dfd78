//! What outlives a restart: which events have been dealt with, and what was said of this device.

use std::sync::{Mutex, MutexGuard, PoisonError};

use connector_core::connector::Compliance;
use connector_core::signals::{EventId, Revocation, Seen};
use connector_core::time::WallTime;
use connector_platform::private::{PrivateDir, PrivateError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// What a sign-in that is being restored has yet to be held against.
    revocations: Vec<Revocation>,
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
            Some(bytes) => Content::parse(&bytes).ok_or_else(damaged)?,
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

    /// Returns the revocations that an earlier run kept.
    pub(crate) fn revocations(&self) -> Vec<Revocation> {
        self.lock().revocations.clone()
    }

    /// Brings these revocations, and no others, to the disk; if that fails, they are brought there
    /// with the next event that is dealt with, or it is not acknowledged.
    pub(super) fn set_revocations(&self, revocations: Vec<Revocation>) -> Result<(), PrivateError> {
        let mut content = self.lock();
        content.revocations = revocations;
        self.write(&content)
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
        // Only what is on the disk counts as seen: the rest is sent again.
        self.write(&next)?;
        *content = next;
        Ok(())
    }

    fn write(&self, content: &Content) -> Result<(), PrivateError> {
        self.state.write(FILE, &content.to_bytes())
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn parse(bytes: &[u8]) -> Option<Self> {
        Self::read(serde_json::from_slice(bytes).ok()?)
    }

    fn to_bytes(&self) -> Vec<u8> {
        // A list of texts and numbers can always be written.
        serde_json::to_vec(&self.write()).unwrap_or_default()
    }

    fn read(raw: RawKept) -> Option<Self> {
        let mut seen = Seen::default();
        for id in raw.seen {
            seen.insert(EventId::parse(&id)?);
        }
        let compliance = raw.compliance.map(|raw| Compliance {
            at: WallTime::from_unix_millis(raw.at_millis),
            is_compliant: raw.is_compliant,
        });
        let revocations = raw.revocations.iter().map(Revocation::parse);
        Some(Self {
            issuer: raw.issuer,
            seen,
            compliance,
            revocations: revocations.collect::<Option<_>>()?,
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
            revocations: self.revocations.iter().map(Revocation::to_json).collect(),
        }
    }
}

/// Returns what would be written of what is read.
#[cfg(feature = "testing")]
pub(crate) fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    Content::parse(bytes).map(|content| content.to_bytes())
}

#[derive(Serialize, Deserialize)]
struct RawKept {
    issuer: String,
    seen: Vec<String>,
    compliance: Option<RawCompliance>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revocations: Vec<Value>,
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
    fn revocations_are_on_the_disk_before_anything_else_is_saved_and_gone_when_they_are_taken_back()
    {
        let root = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&root.path().join("state")).unwrap();
        let raw = serde_json::json!({
            "sub_id": {"format": "opaque", "id": "session-1"},
            "reason_user": "Your laptop was lost",
            "arrived_at_millis": 7,
        });
        let revocations = vec![Revocation::parse(&raw).unwrap()];
        let kept = Kept::restore(dir.clone()).unwrap();

        kept.set_revocations(revocations.clone()).unwrap();

        let restarted = Kept::restore(dir.clone()).unwrap();
        assert_eq!(restarted.revocations(), revocations);
        restarted.save(vec![id("a")]).unwrap();
        let restarted = Kept::restore(dir.clone()).unwrap();
        assert_eq!(restarted.revocations(), revocations);
        restarted.set_revocations(vec![]).unwrap();
        let restarted = Kept::restore(dir).unwrap();
        assert!(restarted.revocations().is_empty() && restarted.has_seen(&id("a")));
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
            br#"{"issuer":"x","seen":[],"compliance":null,"revocations":[{}]}"#,
        ] {
            dir.write(FILE, damage).unwrap();

            assert!(Kept::restore(dir.clone()).is_err());
        }
    }

    fn id(text: &str) -> EventId {
        EventId::parse(text).unwrap()
    }
}

use std::io::Write;

use connector_platform::private::{PrivateDir, PrivateError};

/// The last good policies, on the disk: all of it is verified again when it is read.
#[derive(Debug)]
pub(super) struct Kept {
    dir: PrivateDir,
}

impl Kept {
    pub(super) fn open(state: &PrivateDir) -> Result<Self, PrivateError> {
        let dir = PrivateDir::open(&state.path("policy"))?;
        Ok(Self { dir })
    }

    /// Returns the head and the objects.
    pub(super) fn read(&self) -> Option<(String, Vec<u8>)> {
        let head = self.dir.read(HEAD).ok().flatten()?;
        // Without objects the head still keeps older ones out.
        let objects = self.dir.read(OBJECTS).ok().flatten();
        Some((String::from_utf8(head).ok()?, objects.unwrap_or_default()))
    }

    /// Adds objects, then replaces the head: after a crash the one before is whole.
    pub(super) fn write(&self, objects: Vec<u8>, head: &str) -> Result<(), PrivateError> {
        if !objects.is_empty() {
            let mut file = self.dir.append(OBJECTS)?;
            let added = file.write_all(&objects).and_then(|()| file.sync_all());
            if let Err(error) = added {
                tracing::warn!(%error, "The policies could not be kept; they are fetched again after a restart");
                self.dir.remove(OBJECTS)?;
            }
        }
        self.dir.write(HEAD, head.as_bytes())
    }

    /// Lets objects that no commit in force names pile up to a bound.
    pub(super) fn forget(&self) {
        let length = std::fs::metadata(self.dir.path(OBJECTS)).map_or(0, |file| file.len());
        if length > MAX_PILE
            && let Err(error) = self.dir.remove(OBJECTS)
        {
            tracing::warn!(%error, "Old policies cannot be removed");
        }
    }
}

const HEAD: &str = "head.jws";
const OBJECTS: &str = "objects.pack";

/// Then everything is fetched anew once, in bytes.
const MAX_PILE: u64 = 8 * 1024 * 1024;

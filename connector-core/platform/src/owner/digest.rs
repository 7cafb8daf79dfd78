//! Hashes executables, each content once.
//!
//! With the processor's own instructions a hash takes about 0.6 ms per MiB of a
//! file in memory, without them three times that: 60 to 200 ms for the largest
//! browsers, once. It is waited for, since a policy that names a hash must not
//! fail by chance. The kernel keeps a running program's file from being written.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

/// What tells one content of a file from another, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) length: u64,
    pub(super) modified: SystemTime,
    /// The last change of content or attributes, which users cannot set.
    pub(super) changed: SystemTime,
}

impl FileState {
    /// Returns whether a change that is still to come would show in the times.
    fn is_settled(&self) -> bool {
        let age = SystemTime::now().duration_since(self.changed);
        age.is_ok_and(|age| age >= SETTLED)
    }
}

/// Returns the SHA-256 of `file` in lower-case hex, and nothing for a file that is too large to
/// wait for.
pub(super) fn of(file: &File, state: FileState) -> io::Result<Option<String>> {
    if state.length > MAX_LENGTH {
        return Ok(None);
    }
    if !state.is_settled() {
        return hash(file, state.length).map(Some);
    }
    let slot = KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .slot(state);
    // Others who ask about the same file wait here; those who ask about another do not.
    let mut known = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_none() {
        *known = Some(hash(file, state.length)?);
    }
    Ok(known.clone())
}

/// Returns the SHA-256 of a file that is not running, as [`of`] does.
pub(crate) fn of_file(file: &File, length: u64) -> io::Result<Option<String>> {
    if length > MAX_LENGTH {
        return Ok(None);
    }
    hash(file, length).map(Some)
}

fn hash(file: &File, length: u64) -> io::Result<String> {
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    // A file that grows for ever does not keep us for ever.
    let mut content = file.take(length);
    loop {
        let read = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        sha256.update(&buffer[..read]);
    }

    let mut hex = String::with_capacity(64);
    for byte in sha256.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

/// The contents met lately, the latest last. That the process shares them is safe:
/// they follow from their states.
static KNOWN: Mutex<Known> = Mutex::new(Known(Vec::new()));

struct Known(Vec<(FileState, Slot)>);

type Slot = Arc<Mutex<Option<String>>>;

impl Known {
    fn slot(&mut self, state: FileState) -> Slot {
        let found = self.0.iter().position(|(known, _)| *known == state);
        let entry = match found {
            Some(index) => self.0.remove(index),
            None => (state, Slot::default()),
        };
        if self.0.len() == MAX_KNOWN {
            self.0.remove(0);
        }
        let slot = Arc::clone(&entry.1);
        self.0.push(entry);
        slot
    }
}

/// Far more programs than a person runs in a day.
const MAX_KNOWN: usize = 256;

/// Larger than any executable there is; a sparse file of any size can be executed.
const MAX_LENGTH: u64 = 1024 * 1024 * 1024;

/// Coarser than the time-stamps of any file system in use.
const SETTLED: Duration = Duration::from_secs(2);

const BUFFER: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    #[test]
    fn a_hash_is_computed_once_for_a_content_and_again_for_the_next() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        let state = |seconds| FileState {
            device: u64::MAX,
            inode: 1,
            length: 3,
            modified: SystemTime::UNIX_EPOCH,
            changed: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        };
        let mut ask = |state| {
            file.seek(SeekFrom::Start(0)).unwrap();
            let hash = of(&file, state).unwrap().unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.write_all(b"xyz").unwrap();
            hash
        };

        let first = ask(state(1));
        let again = ask(state(1));
        let changed = ask(state(2));

        assert_eq!(
            first,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(again, first);
        assert_ne!(changed, first);
    }

    #[test]
    fn what_changed_a_moment_ago_is_not_kept() {
        let state = FileState {
            device: u64::MAX,
            inode: 2,
            length: 3,
            modified: SystemTime::UNIX_EPOCH,
            changed: SystemTime::now(),
        };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let before = of(&file, state).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(b"xyz").unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();

        let after = of(&file, state).unwrap();

        assert_ne!(before, after);
    }

    #[test]
    fn what_is_too_large_to_wait_for_has_no_hash() {
        let state = FileState {
            device: u64::MAX,
            inode: 3,
            length: MAX_LENGTH + 1,
            modified: SystemTime::UNIX_EPOCH,
            changed: SystemTime::UNIX_EPOCH,
        };

        let hash = of(&tempfile::tempfile().unwrap(), state).unwrap();

        assert_eq!(hash, None);
    }

    #[test]
    fn the_oldest_of_too_many_contents_is_forgotten() {
        let state = |inode| FileState {
            device: 0,
            inode,
            length: 0,
            modified: SystemTime::UNIX_EPOCH,
            changed: SystemTime::UNIX_EPOCH,
        };
        let mut known = Known(Vec::new());
        let first = known.slot(state(0));
        for inode in 1..1000 {
            assert!(Arc::ptr_eq(&known.slot(state(0)), &first));
            known.slot(state(inode));
        }

        assert_eq!(known.0.len(), MAX_KNOWN);
        assert!(!known.0.iter().any(|(known, _)| *known == state(1)));
    }
}

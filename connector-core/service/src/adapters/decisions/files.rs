//! The files of the decision log, as they are written.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use connector_core::audit::chain::Entry;
use connector_platform::decision_log::{self, LOG, Line, Lines, ROTATED, rotated};
use connector_platform::private::{PrivateDir, PrivateError};

/// The file that is written, and those that were set aside.
#[derive(Debug)]
pub(super) struct Files {
    dir: PrivateDir,
    file: File,
    length: u64,
    /// Whether a write failed and what it left could not be taken off.
    is_dirty: bool,
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// The last record, in the newest file that has any.
    pub(super) last: Option<Entry>,
    /// How many bytes at the end were no whole line, and were taken off.
    pub(super) torn: u64,
}

impl Files {
    /// Opens the log and gives each of its newest file's lines to `each`.
    pub(super) fn open(
        dir: PrivateDir,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(Self, Left), OpenError> {
        let wrap = |problem| OpenError::Read {
            path: dir.path(LOG).display().to_string(),
            problem,
        };
        let file = dir.append(LOG)?;
        let mut left = Left::default();
        let mut lines = Lines::new(&file);
        let mut length = 0;
        loop {
            match lines.next().map_err(wrap)? {
                None => break,
                Some(Line::Read(line)) if line.ends_with(b"\n") => {
                    each(line);
                    if let Ok(entry) = Entry::parse(line) {
                        left.last = Some(entry);
                    }
                }
                Some(Line::Read(line)) => {
                    left.torn = line.len() as u64;
                    break;
                }
                Some(Line::TooLong) => {}
            }
            length = lines.read();
        }
        drop(lines);
        if left.torn > 0 {
            // The service was killed, or the machine stopped, in the middle of a write.
            // Not every system lets a file that is open for appending be cut.
            let whole = File::options().write(true).open(dir.path(LOG));
            whole.and_then(|file| file.set_len(length)).map_err(wrap)?;
        }
        if left.last.is_none() {
            left.last = decision_log::ends(&dir.path(&rotated(1)))
                .ok()
                .flatten()
                .map(|(_, last)| last);
        }
        let files = Self {
            dir,
            file,
            length,
            is_dirty: false,
        };
        Ok((files, left))
    }

    /// Appends whole lines with one write, so that they are there as a whole or not at all.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_dirty {
            self.file.set_len(self.length)?;
            self.is_dirty = false;
        }
        if let Err(error) = self.file.write_all(lines) {
            // What was written of them must not run into the next ones.
            self.is_dirty = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Brings what was written to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Sets the full file aside and returns the ends of the one that made room for it, if one had
    /// to. Nothing is moved before the next one is there, and a file that somebody else has moved
    /// already is no obstacle.
    pub(super) fn rotate(&mut self) -> io::Result<Option<(Entry, Entry)>> {
        self.file.sync_all()?;
        let fresh = self
            .dir
            .append(NEXT_LOG)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut dropped = None;
        if self.dir.path(LOG).exists() {
            dropped = decision_log::ends(&self.dir.path(&rotated(ROTATED)))
                .ok()
                .flatten();
            for age in (1..ROTATED).rev() {
                rename_if_there(&self.dir, &rotated(age), &rotated(age + 1))?;
            }
            rename_if_there(&self.dir, LOG, &rotated(1))?;
        }
        rename_if_there(&self.dir, NEXT_LOG, LOG)?;
        sync_dir(&self.dir.path(""));
        self.length = (&fresh).seek(SeekFrom::End(0))?;
        self.file = fresh;
        self.is_dirty = false;
        Ok(dropped)
    }

    /// Returns the oldest record that is kept.
    pub(super) fn oldest(&self) -> Option<Entry> {
        let opened = decision_log::open(&self.dir.path("")).ok()?;
        opened.into_iter().find_map(|opened| opened.first)
    }

    /// Returns whether the log has exactly this line.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        let opened = decision_log::open(&self.dir.path("")).unwrap_or_default();
        let mut newest_first = opened.into_iter().rev();
        newest_first.any(|opened| has(opened.file, entry))
    }

    /// Makes every further write fail as on a full disk, until [`Self::mend`].
    #[cfg(test)]
    pub(super) fn fill(&mut self) {
        let full = File::options().write(true).open("/dev/full");
        self.file = full.expect("this system has no /dev/full");
    }

    #[cfg(test)]
    pub(super) fn mend(&mut self) {
        self.file = self.dir.append(LOG).unwrap();
    }
}

fn has(file: File, entry: &Entry) -> bool {
    let mut lines = Lines::new(file);
    while let Ok(Some(line)) = lines.next() {
        let Line::Read(line) = line else { continue };
        let Ok(found) = Entry::parse(line) else {
            continue;
        };
        if found.link.sequence >= entry.link.sequence {
            return found == *entry;
        }
    }
    false
}

fn rename_if_there(dir: &PrivateDir, from: &str, to: &str) -> io::Result<()> {
    match std::fs::rename(dir.path(from), dir.path(to)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes renames last, on systems where a directory can be opened for that.
fn sync_dir(path: &Path) {
    if let Ok(dir) = File::open(path) {
        let _ = dir.sync_all();
    }
}

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Private(#[from] PrivateError),
    #[error("cannot read {path}: {problem}")]
    Read { path: String, problem: io::Error },
}

/// The next log, until the full one is set aside.
const NEXT_LOG: &str = "decisions.jsonl.new";

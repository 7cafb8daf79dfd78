//! The device's files, read within bounds.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::catalogue::screenlock;

/// A device to be measured: the files below one directory.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
    ownership: Option<fn(&Metadata) -> Ownership>,
    executables: Option<AskExecutable>,
    screen_locks: Option<AskScreenLocks>,
}

type AskExecutable = fn(u32) -> io::Result<Option<String>>;
type AskScreenLocks = fn() -> io::Result<Option<ScreenLocks>>;

/// The screen locks of all desktop sessions; nothing for one whose settings cannot be read.
pub type ScreenLocks = Vec<Option<ScreenLock>>;

impl Machine {
    /// Returns the machine that this process runs on.
    #[must_use]
    pub fn local() -> Self {
        Self::rooted_at("/")
    }

    /// Returns the machine whose root directory is `root`.
    #[must_use]
    pub fn rooted_at(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            ownership: None,
            executables: None,
            screen_locks: None,
        }
    }

    /// Reads owners and permissions with `ownership`, which differs between
    /// operating systems; without it they are unknown.
    #[must_use]
    pub fn with_ownership(mut self, ownership: fn(&Metadata) -> Ownership) -> Self {
        self.ownership = Some(ownership);
        self
    }

    /// Asks `executables` which file a process runs, by its number, in place of reading it:
    /// the answer is as the link in `/proc` has it, nothing if there is none.
    /// `PermissionDenied` leaves it unknown; any other error makes the table unreadable.
    #[must_use]
    pub fn with_executables(mut self, executables: fn(u32) -> io::Result<Option<String>>) -> Self {
        self.executables = Some(executables);
        self
    }

    /// Asks `screen_locks` first how screens lock; where it returns nothing, people's settings are read.
    #[must_use]
    pub fn with_screen_locks(
        mut self,
        screen_locks: fn() -> io::Result<Option<ScreenLocks>>,
    ) -> Self {
        self.screen_locks = Some(screen_locks);
        self
    }

    /// Reads from people's settings how the screens of all desktop sessions lock.
    ///
    /// # Errors
    ///
    /// If the sessions cannot be found out.
    pub fn read_screen_locks(&self) -> io::Result<ScreenLocks> {
        screenlock::read(self, || Ok(())).map_err(io::Error::other)
    }

    /// Returns how screens lock, if somebody else tells.
    pub(crate) fn told_screen_locks(&self) -> Result<Option<ScreenLocks>, Unreadable> {
        self.screen_locks.map_or(Ok(None), |ask| {
            ask().map_err(|error| Unreadable::new("people's settings", &error.to_string()))
        })
    }

    /// Returns which file a process runs, if it is known.
    pub(crate) fn executable(&self, pid: u32) -> Result<Option<String>, Unreadable> {
        let path = format!("/proc/{pid}/exe");
        let Some(ask) = self.executables else {
            return Ok(self.link(&path));
        };
        match ask(pid) {
            Ok(told) => Ok(told),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(Unreadable::new(&path, &error.to_string())),
        }
    }

    /// Returns the text of a small file, or nothing where there is no such file.
    pub(crate) fn text(&self, path: &str) -> Result<Option<String>, Unreadable> {
        let bytes = self.bytes(path, MAX_TEXT)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Returns the first line of a file of the kernel's, trimmed; empty where it cannot be read.
    pub(crate) fn line(&self, path: &str) -> String {
        let text = self.text(path).ok().flatten().unwrap_or_default();
        text.lines().next().unwrap_or_default().trim().to_owned()
    }

    /// Returns the content of a file of up to `limit` bytes, or nothing where there is no such file.
    ///
    /// Only plain files are opened: reading a pipe that a user put in the
    /// place of a setting would never end.
    pub(crate) fn bytes(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Unreadable> {
        let Some(metadata) = self.metadata(path)? else {
            return Ok(None);
        };
        if !metadata.is_file() {
            return Err(Unreadable::new(path, "it is not a plain file"));
        }

        let mut content = Vec::new();
        File::open(self.locate(path))
            .and_then(|file| {
                let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
                file.take(bound).read_to_end(&mut content)
            })
            .map_err(|error| Unreadable::new(path, &error.to_string()))?;

        if content.len() > limit {
            return Err(Unreadable::new(
                path,
                &format!("it is larger than {limit} bytes"),
            ));
        }
        Ok(Some(content))
    }

    /// Returns the names in a directory in order, none where there is no such directory.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>, Unreadable> {
        let entries = match fs::read_dir(self.locate(path)) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(Unreadable::new(path, &error.to_string())),
        };

        let mut names: Vec<String> = entries
            .take(MAX_NAMES)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Returns what `path` is, following links, or nothing where there is nothing.
    pub(crate) fn metadata(&self, path: &str) -> Result<Option<Metadata>, Unreadable> {
        match fs::metadata(self.locate(path)) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Unreadable::new(path, &error.to_string())),
        }
    }

    /// Returns whether something is at `path`; what cannot be looked at is not there.
    pub(crate) fn exists(&self, path: &str) -> bool {
        matches!(self.metadata(path), Ok(Some(_)))
    }

    /// Returns what the link at `path` says, if it is one.
    pub(crate) fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.locate(path)).ok()?;
        Some(target.to_str()?.to_owned())
    }

    /// Returns owner and permissions from `metadata`, if this process knows how to read them.
    pub(crate) fn ownership(&self, metadata: &Metadata) -> Option<Ownership> {
        self.ownership.map(|read| read(metadata))
    }

    fn locate(&self, path: &str) -> PathBuf {
        self.root.join(Path::new(path.trim_start_matches('/')))
    }
}

/// How the screen of one desktop session locks itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScreenLock {
    /// Whether it does.
    pub is_enabled: bool,
    /// How long after the screen went dark no password is asked for.
    pub grace_seconds: u32,
}

/// Whom a file belongs to, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The permission bits, such as `0o644`.
    pub mode: u32,
}

/// A part of the device that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Unreadable {
    what: String,
    why: String,
}

impl Unreadable {
    pub(crate) fn new(what: &str, why: &str) -> Self {
        Self {
            what: what.to_owned(),
            why: why.to_owned(),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Enough for every table of accounts, mounts or settings that people write.
const MAX_TEXT: usize = 1024 * 1024;

/// More entries than `/proc` holds at the kernel's default limit of processes.
const MAX_NAMES: usize = 65_536;

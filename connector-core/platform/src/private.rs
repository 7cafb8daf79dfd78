//! Files that only the service may read: keys, tokens, the last good state.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

#[cfg_attr(unix, path = "private/unix.rs")]
#[cfg_attr(windows, path = "private/windows.rs")]
mod imp;

/// Creates a file that only this user may read; nothing that is there is replaced.
///
/// # Errors
///
/// What the system says, also if something is there.
pub fn create_file(path: &Path) -> io::Result<File> {
    imp::create_new(path)
}

/// A directory that only its owner may enter, and the files in it.
#[derive(Debug, Clone)]
pub struct PrivateDir(PathBuf);

impl PrivateDir {
    /// Opens the directory, creating it and its parents if need be.
    ///
    /// # Errors
    ///
    /// If it cannot be created, is no directory, belongs to somebody else or
    /// can be entered by others.
    pub fn open(path: &Path) -> Result<Self, PrivateError> {
        let wrap = |problem: io::Error| PrivateError::new("open", path, problem);
        imp::create_dir(path).map_err(wrap)?;
        let metadata = fs::symlink_metadata(path).map_err(wrap)?;
        imp::check_dir(&metadata).map_err(wrap)?;

        Ok(Self(path.to_owned()))
    }

    /// Returns where `name` is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns what was last written to `name`, if anything was.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is larger than [`MAX_FILE`].
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, PrivateError> {
        self.read_at_most(name, MAX_FILE)
    }

    /// Returns the content of `name`, if it is there, as [`read`](Self::read) does, of up to
    /// `most` bytes.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is larger than that.
    pub fn read_at_most(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, PrivateError> {
        let path = self.path(name);
        let wrap = |problem| PrivateError::new("read", &path, problem);
        let file = match imp::open_for_reading(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrap(error)),
        };
        let mut content = Vec::new();
        file.take(most.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(wrap)?;
        if content.len() as u64 > most {
            return Err(wrap(io::Error::other("the file is too large")));
        }

        Ok(Some(content))
    }

    /// Replaces `name` as a whole: after a crash either the old or the new
    /// content is there.
    ///
    /// # Errors
    ///
    /// If the file cannot be written; the old content then stays.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), PrivateError> {
        let path = self.path(name);
        let temporary = self.path(&format!(".{name}.new"));
        let replace = || -> io::Result<()> {
            remove_if_there(&temporary)?;
            let mut file = imp::create_new(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_dir(&self.0)
        };
        replace().map_err(|problem| PrivateError::new("write", &path, problem))
    }

    /// Gives `from` the name `to`, in the place of what has it: after a crash one of both is there.
    ///
    /// # Errors
    ///
    /// If `from` is not there, or cannot be renamed.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), PrivateError> {
        let path = self.path(from);
        fs::rename(&path, self.path(to))
            .and_then(|()| sync_dir(&self.0))
            .map_err(|problem| PrivateError::new("rename", &path, problem))
    }

    /// Removes `name` if it is there.
    ///
    /// # Errors
    ///
    /// If the file cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), PrivateError> {
        let path = self.path(name);
        remove_if_there(&path).map_err(|problem| PrivateError::new("remove", &path, problem))
    }

    /// Opens `name` for appending, creating it if need be.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn append(&self, name: &str) -> Result<File, PrivateError> {
        let path = self.path(name);
        imp::open_for_appending(&path).map_err(|problem| PrivateError::new("open", &path, problem))
    }
}

/// A private file or directory could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}: {problem}", path.display())]
pub struct PrivateError {
    verb: &'static str,
    path: PathBuf,
    problem: io::Error,
}

impl PrivateError {
    fn new(verb: &'static str, path: &Path, problem: io::Error) -> Self {
        Self {
            verb,
            path: path.to_owned(),
            problem,
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Makes a rename durable where directories can be synced.
fn sync_dir(path: &Path) -> io::Result<()> {
    imp::sync_dir(path)
}

/// The largest file that is read back; a signed configuration is far smaller.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_replaced_as_a_whole_and_read_back() {
        let root = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&root.path().join("a/b")).unwrap();

        assert_eq!(dir.read("key").unwrap(), None);
        dir.write("key", b"one").unwrap();
        dir.write("key", b"two").unwrap();
        assert_eq!(dir.read("key").unwrap().as_deref(), Some(&b"two"[..]));
        dir.remove("key").unwrap();
        dir.remove("key").unwrap();
        assert_eq!(dir.read("key").unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_them_and_links_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        let dir = PrivateDir::open(&path).unwrap();
        dir.write("key", b"secret").unwrap();

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&dir.path("key")), 0o600);

        symlink("/etc/hostname", dir.path("link")).unwrap();
        assert!(dir.read("link").is_err());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(PrivateDir::open(&path).is_err());
    }
}

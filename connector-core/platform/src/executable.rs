//! The content of a program's file, as it is told by whoever opened a flow.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use crate::owner::digest;
use crate::programs;

/// A program as it is on this machine now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    /// Its absolute path, with every link followed: what its processes are known by.
    pub path: String,
    /// The SHA-256 of its content in lower-case hex.
    pub sha256: String,
}

impl Executable {
    /// Reads the program at `path`. Blocks for as long as its content takes to hash.
    ///
    /// # Errors
    ///
    /// [`NotExecutable`] if there is none that processes could be recognised by.
    pub fn read(path: &Path) -> Result<Self, NotExecutable> {
        match Self::read_if(path, |_| true) {
            Err(NotExecutable::Unreadable { path, problem })
                if problem.kind() == io::ErrorKind::PermissionDenied =>
            {
                programs::executable_at(&path)
                    .map_err(|problem| NotExecutable::Unreadable { path, problem })
            }
            read => read,
        }
    }

    /// Reads the program at `path` as [`read`](Self::read) does, if the opened file `is_wanted`,
    /// with the rights of this process alone.
    pub(crate) fn read_if(
        path: &Path,
        is_wanted: impl Fn(&Metadata) -> bool,
    ) -> Result<Self, NotExecutable> {
        let failed = |problem| NotExecutable::Unreadable {
            path: path.to_owned(),
            problem,
        };
        if !path.is_absolute() {
            return Err(NotExecutable::Relative(path.to_owned()));
        }
        let whole = path.canonicalize().map_err(failed)?;
        if !whole.metadata().map_err(failed)?.is_file() {
            return Err(NotExecutable::NoFile(whole));
        }
        let mut file = open(&whole).map_err(failed)?;
        // Another file may be there by now.
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() || !is_wanted(&metadata) {
            return Err(NotExecutable::NoFile(whole));
        }
        let mut beginning = [0; 2];
        let read = file.read(&mut beginning).map_err(failed)?;
        if beginning[..read] == *b"#!" {
            return Err(NotExecutable::Script(whole));
        }
        file.rewind().map_err(failed)?;
        let sha256 = digest::of_file(&file, metadata.len()).map_err(failed)?;
        let sha256 = sha256.ok_or_else(|| NotExecutable::TooLarge(whole.clone()))?;
        match whole.into_os_string().into_string() {
            Ok(path) => Ok(Self { path, sha256 }),
            Err(path) => Err(NotExecutable::NoText(path.into())),
        }
    }
}

/// Opens a file for reading without waiting for anybody: a pipe in its place holds nothing up.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.read(true).open(path)
}

/// Why a path leads to no program that its processes could be recognised by.
#[derive(Debug, thiserror::Error)]
pub enum NotExecutable {
    /// A directory, a device or the like.
    #[error("{} is no file", .0.display())]
    NoFile(PathBuf),
    /// A path that is not Unicode.
    #[error("the path {} is not Unicode", .0.display())]
    NoText(PathBuf),
    /// A path that means something else elsewhere.
    #[error("{} is no absolute path", .0.display())]
    Relative(PathBuf),
    /// A script runs inside another program.
    #[error(
        "{} is a script: what runs is its interpreter, and so does every other script of it",
        .0.display()
    )]
    Script(PathBuf),
    /// More than is ever hashed.
    #[error("{} is too large for a program", .0.display())]
    TooLarge(PathBuf),
    /// The system refuses.
    #[error("{} cannot be read: {problem}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        problem: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_known_by_its_true_path_and_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("reader");
        fs::write(&path, "abc").unwrap();

        let found = Executable::read(&path).unwrap();

        assert_eq!(Path::new(&found.path), path);
        assert_eq!(
            found.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn what_no_process_could_be_recognised_by_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        fs::write(&script, "#!/bin/sh\n").unwrap();

        assert!(matches!(
            Executable::read(&script),
            Err(NotExecutable::Script(_))
        ));
        assert!(matches!(
            Executable::read(dir.path()),
            Err(NotExecutable::NoFile(_))
        ));
        assert!(matches!(
            Executable::read(Path::new("reader")),
            Err(NotExecutable::Relative(_))
        ));
        assert!(matches!(
            Executable::read(&dir.path().join("nothing")),
            Err(NotExecutable::Unreadable { .. })
        ));
    }
}

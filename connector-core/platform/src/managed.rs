//! What the administrator manages on this device: a file, and where the system has a place of its
//! own for it, that one. Only what nobody else may write counts.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

#[cfg_attr(all(unix, not(target_os = "macos")), path = "managed/linux.rs")]
#[cfg_attr(target_os = "macos", path = "managed/macos.rs")]
#[cfg_attr(windows, path = "managed/windows.rs")]
mod imp;
#[cfg(unix)]
mod ownership;
#[cfg(any(target_os = "macos", test))]
mod property_list;
#[cfg(any(windows, test))]
mod registry_value;

/// What the system's own place for managed settings says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The place, for people.
    pub place: String,
    /// Each setting that is there, as it was found.
    pub values: Vec<(String, Given)>,
}

/// A value, as the system's own place has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Yes or no.
    Flag(bool),
    /// Texts.
    List(Vec<String>),
    /// A number; where the system knows no yes and no, 1 and 0 are written for them.
    Number(u64),
    /// Something that no setting can be; its kind, for people.
    Other(&'static str),
    /// A text.
    Text(String),
}

/// Returns what the system's own place for managed settings says, if it has one that is in use.
///
/// # Errors
///
/// If it is there and cannot be read, or if others may write it.
pub fn native() -> Result<Option<Found>, ManagedError> {
    imp::native()
}

/// Returns the text of the managed file, if there is one.
///
/// # Errors
///
/// If it cannot be read, is longer than [`MAX_FILE`], or others may write it.
pub fn read_file(path: &Path) -> Result<Option<String>, ManagedError> {
    let wrap = |problem: io::Error| ManagedError {
        place: path.to_owned(),
        problem,
    };
    let Some(file) = open_checked(path).map_err(wrap)? else {
        return Ok(None);
    };
    let bytes = read_bounded(file).map_err(wrap)?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| wrap(io::Error::other("it is no text in UTF-8")))?;
    Ok(Some(text))
}

/// Opens a file that only the administrator can have written, if there is one.
fn open_checked(path: &Path) -> io::Result<Option<File>> {
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            check_absence(path)?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    check_ownership(path, &metadata)?;
    Ok(Some(file))
}

#[cfg(unix)]
use self::ownership::{check as check_ownership, check_absence, open};

#[cfg(windows)]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(windows)]
fn check_absence(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| folder.is_dir());
    folder.map_or(Ok(()), crate::access_list::check_owner)
}

#[cfg(windows)]
fn check_ownership(path: &Path, _: &std::fs::Metadata) -> io::Result<()> {
    crate::access_list::check_owner(path)
}

fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(bytes)
}

/// The managed settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the managed settings in {}: {problem}", place.display())]
pub struct ManagedError {
    place: PathBuf,
    problem: io::Error,
}

/// A managed file has a few hundred bytes.
pub const MAX_FILE: u64 = 1024 * 1024;

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_nobody_else_may_write_is_read() {
        let root = folder(0o755);
        let path = root.path().join("managed.toml");
        assert_eq!(read_file(&path).unwrap(), None);

        fs::write(&path, "x = 1\n").unwrap();
        chmod(&path, 0o644);

        assert_eq!(read_file(&path).unwrap().as_deref(), Some("x = 1\n"));
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_with_the_cure() {
        let root = folder(0o755);
        let path = root.path().join("managed.toml");
        fs::write(&path, "").unwrap();
        for mode in [0o664, 0o646, 0o666] {
            chmod(&path, mode);

            let error = read_file(&path).unwrap_err().to_string();

            assert!(error.contains("others may write it"), "{error}");
            assert!(error.contains("chmod go-w"), "{error}");
        }
    }

    #[test]
    fn a_folder_in_which_others_may_put_another_file_is_refused() {
        let root = folder(0o777);
        let path = root.path().join("managed.toml");
        fs::write(&path, "").unwrap();
        chmod(&path, 0o644);

        let error = read_file(&path).unwrap_err().to_string();

        assert!(error.contains("its folder"), "{error}");
    }

    #[test]
    fn that_there_is_none_tells_nothing_where_others_could_have_taken_it_away() {
        let root = folder(0o777);

        let error = read_file(&root.path().join("managed.toml")).unwrap_err();

        assert!(error.to_string().contains("its folder"), "{error}");
        let nowhere = root.path().join("none/managed.toml");
        assert_eq!(read_file(&nowhere).unwrap(), None);
    }

    #[test]
    fn a_link_is_no_way_around_the_folder_that_it_leads_to_nor_a_folder_inside_a_writable_one() {
        let open = folder(0o777);
        let target = open.path().join("target.toml");
        fs::write(&target, "x = 1\n").unwrap();
        chmod(&target, 0o644);
        let root = folder(0o755);
        let link = root.path().join("managed.toml");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let inner = open.path().join("inner");
        fs::create_dir(&inner).unwrap();
        chmod(&inner, 0o755);
        let below = inner.join("managed.toml");
        fs::write(&below, "").unwrap();
        chmod(&below, 0o644);

        assert!(read_file(&link).is_err());
        assert!(read_file(&below).is_err());
    }

    #[test]
    fn a_pipe_in_its_place_is_refused_and_holds_nothing_up() {
        let root = folder(0o755);
        let path = root.path().join("managed.toml");
        let mut mkfifo = std::process::Command::new("mkfifo");
        assert!(mkfifo.arg(&path).status().unwrap().success());

        assert!(read_file(&path).is_err());
    }

    #[test]
    fn what_is_no_file_or_no_text_or_too_long_is_an_error() {
        let root = folder(0o755);
        let path = root.path().join("managed.toml");
        fs::create_dir(&path).unwrap();
        assert!(read_file(&path).is_err());
        fs::remove_dir(&path).unwrap();

        for content in [b"\xff\xfe".to_vec(), vec![b'#'; 1024 * 1024 + 1]] {
            fs::write(&path, content).unwrap();
            chmod(&path, 0o644);

            assert!(read_file(&path).is_err());
        }
    }

    fn folder(mode: u32) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        chmod(root.path(), mode);
        root
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

//! Who may write a file, put another in its place, or take it away.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file for reading without waiting for anybody: a pipe in its place holds nothing up.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
}

/// Refuses a file that somebody but the administrator, or whoever runs this service for
/// themselves, could have written or put there, wherever links lead to.
pub(super) fn check(path: &Path, metadata: &Metadata) -> io::Result<()> {
    check_one("it", path, metadata)?;
    check_folder_of(path)?;
    check_folder_of(&fs::canonicalize(path)?)
}

/// Refuses a folder out of which somebody else could have taken the file: that there is none
/// tells nothing then.
pub(super) fn check_absence(path: &Path) -> io::Result<()> {
    match check_folder_of(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Looks at the folder that `path` lies in, and at all above it, where others may at most add
/// things of their own (as to `/tmp`).
fn check_folder_of(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let folder = fs::canonicalize(path.parent().unwrap_or_else(|| Path::new("/")))?;
    check_one("its folder", &folder, &fs::metadata(&folder)?)?;
    for above in folder.ancestors().skip(1) {
        let metadata = fs::metadata(above)?;
        if metadata.mode() & STICKY == 0 {
            check_one("a folder above it", above, &metadata)?;
        }
    }
    Ok(())
}

fn check_one(what: &str, path: &Path, metadata: &Metadata) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let owner = metadata.uid();
    if owner != 0 && owner != own {
        return Err(io::Error::other(format!(
            "{what} belongs to user {owner}, not to the administrator; run `chown root {}`",
            path.display()
        )));
    }
    if metadata.mode() & 0o022 != 0 {
        let others = match what {
            "it" => "others may write it".to_owned(),
            _ => format!("others may write into {what}"),
        };
        return Err(io::Error::other(format!(
            "{others}; run `chmod go-w {}`",
            path.display()
        )));
    }
    Ok(())
}

/// Only the owner of a thing in such a folder takes it away.
const STICKY: u32 = 0o1000;

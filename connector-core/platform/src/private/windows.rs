//! Files inherit the access list of their directory, which is given one for its owner,
//! administrators and the system.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

use crate::access_list;

pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    access_list::check_owner(path)?;
    access_list::restrict(path, access_list::OWNER)
}

pub(super) fn check_dir(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        Ok(())
    } else {
        Err(io::Error::other("it is not a directory"))
    }
}

pub(super) fn open_for_reading(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

pub(super) fn open_for_appending(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)
}

#[expect(clippy::unnecessary_wraps, reason = "the other systems can fail")]
pub(super) fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

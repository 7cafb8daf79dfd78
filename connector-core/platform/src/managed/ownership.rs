//! Who may write a file.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Refuses a file that somebody but the administrator, or whoever runs this service for
/// themselves, could have written or put there.
pub(super) fn check(path: &Path, metadata: &Metadata) -> io::Result<()> {
    check_one("it", path, metadata)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    check_one("its folder", folder, &fs::metadata(folder)?)
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

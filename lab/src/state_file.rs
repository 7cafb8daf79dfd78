//! Small files that survive a restart.

use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context;

/// Returns the content of `path`, nothing if there is no such file.
///
/// # Errors
///
/// Fails if the file is there but cannot be read.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("Failed to read {}", path.display())),
    }
}

/// Puts `content` in place of `path` as a whole; where the system knows owners,
/// nobody else may read it.
///
/// # Errors
///
/// Fails if the folder cannot be written to.
pub(crate) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let context = || format!("Failed to write {}", path.display());
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
    file.write_all(content).with_context(context)?;
    file.as_file().sync_all().with_context(context)?;
    file.persist(path).with_context(context)?;
    Ok(())
}

//! The service is the administrator's here and looks itself.

use std::io;
use std::path::Path;

use super::ScreenLocks;
use crate::executable::Executable;

pub(super) fn executable_of(_: u32) -> io::Result<Option<String>> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn executable_at(_: &Path) -> io::Result<Executable> {
    Err(io::ErrorKind::PermissionDenied.into())
}

#[expect(clippy::unnecessary_wraps, reason = "a deputy can fail")]
pub(super) fn screen_locks() -> io::Result<Option<ScreenLocks>> {
    Ok(None)
}

pub(super) fn serve(_: fn() -> io::Result<ScreenLocks>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

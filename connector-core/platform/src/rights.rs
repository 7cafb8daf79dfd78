//! The rights of this process.

use std::io;
use std::path::Path;

#[cfg_attr(target_os = "linux", path = "rights/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "rights/other.rs")]
mod imp;

/// Goes on as the owner of `directory`, with no right beyond those of the system's
/// service, where the administrator has called and the directory is somebody else's.
///
/// What the service wrote is then read and written by nobody stronger than the service.
/// Concerns this thread, and those that it starts from now on.
///
/// # Errors
///
/// What the system says.
pub fn act_as_owner_of(directory: &Path) -> io::Result<()> {
    imp::act_as_owner_of(directory)
}

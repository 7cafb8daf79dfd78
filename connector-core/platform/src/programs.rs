//! What only somebody who may look into every process can tell: for a service that may
//! not, a deputy does.
//!
//! The system's service speaks with the network, so it has no right to look into
//! others' processes. On Linux systemd starts a deputy on demand, which has that right and no
//! network, and lets nobody but the service's user ask. It answers the questions of this
//! module and nothing else. Where the service itself may look, or where there is no deputy,
//! nobody is asked.

use std::io;
use std::path::Path;

use crate::executable::Executable;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
use self::linux as imp;
#[cfg(target_os = "linux")]
pub(crate) use self::linux::Deputy;
#[cfg(not(target_os = "linux"))]
use self::other as imp;

/// How the screen of one desktop session locks itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScreenLock {
    /// Whether it does.
    pub is_enabled: bool,
    /// How long after the screen went dark no password is asked for.
    pub grace_seconds: u32,
}

/// The screen locks of all desktop sessions; nothing for one whose settings cannot be read.
pub type ScreenLocks = Vec<Option<ScreenLock>>;

/// Returns the path that the process' executable was started by, as the system writes
/// it; nothing if the process has ended, or is none that runs an executable.
///
/// # Errors
///
/// `PermissionDenied` if this process may not know, and has no deputy. Otherwise what
/// keeps the deputy from answering.
pub fn executable_of(process: u32) -> io::Result<Option<String>> {
    imp::executable_of(process)
}

/// Reads the program at `path`, an absolute one, by a deputy: one that somebody may execute.
pub(crate) fn executable_at(path: &Path) -> io::Result<Executable> {
    imp::executable_at(path)
}

/// Returns what a deputy says of all screens; nothing where this process has to read the settings itself.
///
/// # Errors
///
/// If there is a deputy and it does not answer.
pub fn screen_locks() -> io::Result<Option<ScreenLocks>> {
    imp::screen_locks()
}

/// Is the deputy: answers whoever connects to the listening socket that is the standard
/// input, until nobody has asked for a while. Screens are looked at by `screen_locks`.
///
/// # Errors
///
/// If the standard input is no such socket, or on systems that need no deputy.
pub fn serve(screen_locks: fn() -> io::Result<ScreenLocks>) -> io::Result<()> {
    imp::serve(screen_locks)
}

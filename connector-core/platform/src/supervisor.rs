//! Who started the service and watches over it, where somebody does: systemd, or Windows' Service Control Manager.

use std::io;
use std::time::Duration;

#[cfg_attr(target_os = "linux", path = "supervisor/systemd.rs")]
#[cfg_attr(windows, path = "supervisor/scm.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "supervisor/nobody.rs")]
mod imp;

#[cfg(windows)]
pub(crate) use self::imp::{is_host, stop_wished};

/// The service's name among the services of Windows.
#[cfg(windows)]
pub(crate) const SERVICE_NAME: &str = "ztnad";

/// Gives this process to the Service Control Manager, which has `body` run and hears
/// whether it succeeded. Windows only; elsewhere nobody needs it.
///
/// # Errors
///
/// If nobody has started this process as a service.
pub fn host(body: fn() -> bool) -> io::Result<()> {
    imp::host(body)
}

/// The system's supervisor, told how the service fares; without one, nothing is told to nobody.
#[derive(Debug)]
pub struct Supervisor(imp::Supervisor);

impl Supervisor {
    /// Finds whom the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`; see `sd_notify(3)`).
    #[must_use]
    pub fn find() -> Self {
        Self(imp::Supervisor::find(|name| std::env::var_os(name)))
    }

    /// Returns how often [`Self::alive`] is to be called at least, if anybody waits for it.
    #[must_use]
    pub fn pace(&self) -> Option<Duration> {
        self.0.pace()
    }

    /// Says that the service is still at work. May be called as often as one likes.
    pub fn alive(&mut self) {
        self.0.alive();
    }

    /// Says that front-ends are answered from now on.
    pub fn ready(&self) {
        self.0.tell("READY=1");
    }

    /// Says in a few words how things stand; for administrators, so without anybody's name.
    pub fn status(&self, words: &str) {
        let line = words.lines().next().unwrap_or_default();
        self.0.tell(&format!("STATUS={line}"));
    }

    /// Says that the service is ending, as it was asked to.
    pub fn stopping(&self) {
        self.0.tell("STOPPING=1");
    }
}

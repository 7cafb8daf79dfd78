//! The system's wish that the service ends.

use std::io;

#[cfg_attr(unix, path = "signals/unix.rs")]
#[cfg_attr(windows, path = "signals/windows.rs")]
mod imp;

/// Listens for the wish to end: `SIGTERM` and `SIGINT`, or Ctrl-C and shutdown.
#[derive(Debug)]
pub struct Stop(imp::Stop);

impl Stop {
    /// Starts to listen; from here on the process no longer ends by itself.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn listen() -> io::Result<Self> {
        imp::Stop::listen().map(Self)
    }

    /// Waits for the wish.
    pub async fn wait(&mut self) {
        self.0.wait().await;
    }
}

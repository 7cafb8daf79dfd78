//! The local endpoint where front-ends reach the service.

use std::io;
use std::path::{Path, PathBuf};

#[cfg_attr(unix, path = "endpoint/unix.rs")]
#[cfg_attr(windows, path = "endpoint/windows.rs")]
mod imp;

pub use self::imp::{ClientStream, Listener, ServerStream, own_user, peer};

/// Who may connect to the endpoint. What each of them may do, the service decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every user of the machine: on Linux and macOS those who may enter the endpoint's directory,
    /// on Windows those who are logged in at the machine.
    Machine,
    /// The user whom the service runs as, and the administrator.
    Own,
}

/// Who is at the other end, as the system vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Whether it runs as the user that the service runs as, or as the administrator.
    pub is_trusted: bool,
    /// The numeric user. Windows has no such numbers: there it stands for the security identifier.
    pub user: Option<u32>,
    /// The process, where the system tells.
    pub process: Option<u32>,
}

/// Connects to the service at `path`, and makes sure that it is run by the current
/// user, by the administrator, or, at the system's own place, by the user to whom the
/// administrator has given that place.
///
/// # Errors
///
/// [`ConnectError`], which says how to start the service if none answers.
pub async fn connect(path: &Path) -> Result<ClientStream, ConnectError> {
    imp::connect(path).await
}

/// Why a front-end cannot reach the service.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The system refuses, or something else is wrong with the endpoint.
    #[error("cannot use the endpoint {}: {problem}", path.display())]
    Io {
        /// The endpoint.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// No service is running.
    #[error("no service answers at {}", path.display())]
    NotRunning {
        /// The endpoint.
        path: PathBuf,
    },
    /// Somebody else's process answers.
    #[error("the endpoint {} is served by user {user}, who is neither you nor the administrator; nothing was sent", path.display())]
    Untrusted {
        /// The endpoint.
        path: PathBuf,
        /// The other user.
        user: u32,
    },
}

/// Why the service cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {}: {problem}", path.display())]
pub struct BindError {
    path: PathBuf,
    problem: io::Error,
}

//! Where the connector's files are.

use std::env;
use std::path::PathBuf;

#[cfg_attr(all(unix, not(target_os = "macos")), path = "paths/xdg.rs")]
#[cfg_attr(target_os = "macos", path = "paths/macos.rs")]
#[cfg_attr(windows, path = "paths/windows.rs")]
mod imp;

/// The files of one installation: the system's, or one user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The administrator's configuration file.
    pub admin_config: PathBuf,
    /// The user's configuration file, where one user runs their own service.
    pub user_config: Option<PathBuf>,
    /// Keys, tokens and the last good configuration; readable by the service only.
    pub state_dir: PathBuf,
    /// The decision log.
    pub log_dir: PathBuf,
    /// The local endpoint.
    pub socket: PathBuf,
}

impl Paths {
    /// Returns the files of the service that is installed for the whole machine.
    #[must_use]
    pub fn system() -> Self {
        imp::system()
    }

    /// Returns the files of the service that the current user runs for themselves.
    ///
    /// # Errors
    ///
    /// [`NoHome`] if the environment does not tell where the user's files are.
    pub fn user() -> Result<Self, NoHome> {
        imp::user()
    }

    /// Returns where a front-end finds the service: the path in `ZTNA_SOCKET`,
    /// the user's own service if it runs, else the system's.
    #[must_use]
    pub fn client_socket() -> PathBuf {
        if let Some(socket) = env::var_os("ZTNA_SOCKET") {
            return socket.into();
        }
        match Self::user() {
            Ok(user) if imp::endpoint_exists(&user.socket) => user.socket,
            Ok(_) | Err(NoHome { .. }) => Self::system().socket,
        }
    }
}

/// The environment does not tell where the user's files are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the environment variable {variable} is not set to an absolute path, so there is no place for this user's files"
)]
pub struct NoHome {
    /// The variable that would tell.
    pub variable: &'static str,
}

fn absolute(variable: &'static str) -> Result<PathBuf, NoHome> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .ok_or(NoHome { variable })
}

/// Returns whether this process runs as the administrator, and is therefore
/// the service of the whole machine.
#[must_use]
pub fn is_system_service() -> bool {
    imp::is_system_service()
}

//! The service as the operating system knows it: started at boot, watched over, stopped.

use std::io;
use std::path::{Path, PathBuf};

#[cfg_attr(target_os = "linux", path = "registration/systemd.rs")]
#[cfg_attr(target_os = "macos", path = "registration/launchd.rs")]
#[cfg_attr(windows, path = "registration/scm.rs")]
mod imp;
#[cfg(any(target_os = "macos", test))]
mod property_list;
#[cfg(unix)]
mod tools;
#[cfg(any(target_os = "linux", test))]
mod units;

/// The system's service, run by one program.
#[derive(Debug)]
pub struct Registration {
    program: PathBuf,
}

impl Registration {
    /// Returns the service that `program` is to run.
    ///
    /// # Errors
    ///
    /// [`RegistrationError::NoProgram`] if there is no such file, or its path is not absolute.
    pub fn of(program: &Path) -> Result<Self, RegistrationError> {
        if !program.is_absolute() || !program.is_file() {
            return Err(RegistrationError::NoProgram(program.to_owned()));
        }
        Ok(Self {
            program: program.to_owned(),
        })
    }

    /// Has the system start the service at each boot from now on; it is not started yet.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`]; calling this again completes what was begun.
    pub fn install(&self) -> Result<(), RegistrationError> {
        imp::install(&self.program)
    }

    /// Stops the service and has the system forget it. Keys, state and settings stay.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`]; calling this again completes what was begun.
    pub fn uninstall(&self) -> Result<(), RegistrationError> {
        imp::uninstall()
    }

    /// Starts the service, and returns once it says that it is ready.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`], also if it ended at once.
    pub fn start(&self) -> Result<(), RegistrationError> {
        imp::start()
    }

    /// Stops the service until the next boot.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`].
    pub fn stop(&self) -> Result<(), RegistrationError> {
        imp::stop()
    }

    /// Returns what the system says of the service. Needs no rights.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`] if the system does not tell.
    pub fn standing(&self) -> Result<Standing, RegistrationError> {
        imp::standing()
    }
}

/// What the system says of the service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether the system knows it.
    pub is_installed: bool,
    /// Whether it runs.
    pub is_running: bool,
    /// Whether it is started at boot.
    pub starts_at_boot: bool,
}

/// Why the system's service is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The system does not know the service.
    #[error("the service is not installed")]
    Absent,
    /// The system refuses, or what it uses is missing.
    #[error("cannot {action} the service: {problem}")]
    Failed {
        /// What was to be done.
        action: &'static str,
        /// What the system says.
        problem: io::Error,
    },
    /// Only the administrator may.
    #[error("only the administrator may {action} the service")]
    Forbidden {
        /// What was to be done.
        action: &'static str,
    },
    /// There is nothing that could be run.
    #[error("the service's program is not at {}", .0.display())]
    NoProgram(PathBuf),
    /// Somebody else could have the system run another program as the administrator.
    #[error("{} can be replaced by others than the administrator", .0.display())]
    Replaceable(PathBuf),
    /// What a package has put there is not ours to remove.
    #[error("the service was installed by a package")]
    Packaged,
}

impl RegistrationError {
    fn failed(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |problem| {
            if problem.kind() == io::ErrorKind::PermissionDenied {
                Self::Forbidden { action }
            } else {
                Self::Failed { action, problem }
            }
        }
    }
}

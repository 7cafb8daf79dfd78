//! launchd, by `launchctl(1)`.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::geteuid;

use super::property_list::{LABEL, property_list};
use super::{RegistrationError, Standing, tools};

pub(super) fn install(program: &Path) -> Result<(), RegistrationError> {
    let failed = RegistrationError::failed("install");
    allowed("install")?;
    if let Some(place) = tools::replaceable(program, 0).map_err(&failed)? {
        return Err(RegistrationError::Replaceable(place));
    }
    fs::write(DAEMON, property_list(program)).map_err(&failed)
}

pub(super) fn uninstall() -> Result<(), RegistrationError> {
    allowed("uninstall")?;
    installed()?;
    let failed = RegistrationError::failed("uninstall");
    if standing()?.is_running {
        launchctl(&["bootout", &target()]).map_err(&failed)?;
    }
    fs::remove_file(DAEMON).map_err(&failed)
}

pub(super) fn start() -> Result<(), RegistrationError> {
    allowed("start")?;
    installed()?;
    if standing()?.is_running {
        return Ok(());
    }
    // Loaded already, it is only started.
    let outcome = launchctl(&["bootstrap", "system", DAEMON])
        .or_else(|_| launchctl(&["kickstart", &target()]));
    outcome
        .map(drop)
        .map_err(RegistrationError::failed("start"))
}

pub(super) fn stop() -> Result<(), RegistrationError> {
    allowed("stop")?;
    installed()?;
    let outcome = launchctl(&["bootout", &target()]);
    outcome.map(drop).map_err(RegistrationError::failed("stop"))
}

#[expect(clippy::unnecessary_wraps, reason = "the other systems can fail")]
pub(super) fn standing() -> Result<Standing, RegistrationError> {
    let is_installed = Path::new(DAEMON).exists();
    // Of a service that it does not know, launchd says an error.
    let told = launchctl(&["print", &target()]).unwrap_or_default();
    Ok(Standing {
        is_installed,
        is_running: told.lines().any(|line| line.trim() == "state = running"),
        starts_at_boot: is_installed,
    })
}

fn allowed(action: &'static str) -> Result<(), RegistrationError> {
    match geteuid().is_root() {
        true => Ok(()),
        false => Err(RegistrationError::Forbidden { action }),
    }
}

fn installed() -> Result<(), RegistrationError> {
    match Path::new(DAEMON).exists() {
        true => Ok(()),
        false => Err(RegistrationError::Absent),
    }
}

fn target() -> String {
    format!("system/{LABEL}")
}

fn launchctl(arguments: &[&str]) -> io::Result<String> {
    tools::run(&["/bin/launchctl"], arguments)
}

const DAEMON: &str = "/Library/LaunchDaemons/ztna-connector.plist";

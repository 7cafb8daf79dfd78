//! systemd, by `systemctl(1)`.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::geteuid;

use super::{RegistrationError, Standing, tools, units};

pub(super) fn install(program: &Path) -> Result<(), RegistrationError> {
    let failed = RegistrationError::failed("install");
    allowed("install")?;
    // A package has put the same files elsewhere, and has made the user.
    if !is_packaged() {
        // One of its units runs it as root.
        if let Some(place) = tools::replaceable(program, 0).map_err(&failed)? {
            return Err(RegistrationError::Replaceable(place));
        }
        for (place, text) in units::files(program).map_err(&failed)? {
            write(Path::new(place), &text).map_err(&failed)?;
        }
        tools::run(&SYSUSERS, &["ztna.conf"]).map_err(&failed)?;
    }
    systemctl(&["daemon-reload"]).map_err(&failed)?;
    systemctl(&["enable", PROGRAMS_SOCKET, RESOLVER_SOCKET, SERVICE]).map_err(&failed)?;
    Ok(())
}

pub(super) fn uninstall() -> Result<(), RegistrationError> {
    let failed = RegistrationError::failed("uninstall");
    allowed("uninstall")?;
    if is_packaged() {
        return Err(RegistrationError::Packaged);
    }
    installed()?;
    systemctl(&["disable", "--now", SERVICE]).map_err(&failed)?;
    systemctl(&["disable", "--now", PROGRAMS_SOCKET, RESOLVER_SOCKET]).map_err(&failed)?;
    systemctl(&["stop", PROGRAMS]).map_err(&failed)?;
    for (place, _) in units::files(Path::new("/")).map_err(&failed)? {
        match fs::remove_file(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
    }
    systemctl(&["daemon-reload"]).map_err(&failed)?;
    Ok(())
}

pub(super) fn start() -> Result<(), RegistrationError> {
    allowed("start")?;
    installed()?;
    let failed = RegistrationError::failed("start");
    systemctl(&["start", PROGRAMS_SOCKET, RESOLVER_SOCKET, SERVICE]).map_err(&failed)?;
    if standing()?.is_running {
        return Ok(());
    }
    // A unit whose conditions are not met is not started, and that is no failure of systemd's.
    let problem = "there is neither /etc/ztna/config.toml nor /etc/ztna/managed.toml, or it has ended: see `journalctl -u ztnad`";
    Err(failed(io::Error::other(problem)))
}

pub(super) fn stop() -> Result<(), RegistrationError> {
    allowed("stop")?;
    installed()?;
    systemctl(&["stop", SERVICE]).map_err(RegistrationError::failed("stop"))?;
    Ok(())
}

pub(super) fn standing() -> Result<Standing, RegistrationError> {
    let properties = "--property=LoadState,ActiveState,UnitFileState";
    let told = systemctl(&["show", SERVICE, properties])
        .map_err(RegistrationError::failed("ask systemd about"))?;
    Ok(parse(&told))
}

/// Reads `systemctl show`.
fn parse(told: &str) -> Standing {
    let is = |line: &str| told.lines().any(|told| told == line);
    Standing {
        is_installed: is("LoadState=loaded"),
        is_running: is("ActiveState=active"),
        starts_at_boot: is("UnitFileState=enabled"),
    }
}

fn allowed(action: &'static str) -> Result<(), RegistrationError> {
    match geteuid().is_root() {
        true => Ok(()),
        false => Err(RegistrationError::Forbidden { action }),
    }
}

fn installed() -> Result<(), RegistrationError> {
    match standing()?.is_installed {
        true => Ok(()),
        false => Err(RegistrationError::Absent),
    }
}

fn is_packaged() -> bool {
    PACKAGED.iter().any(|unit| Path::new(unit).exists())
}

/// Replaces a file as a whole. The directories are root's, so nobody else can be in the way.
fn write(place: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = place.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = place.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, place)
}

fn systemctl(arguments: &[&str]) -> io::Result<String> {
    tools::run(&SYSTEMCTL, arguments)
}

const SERVICE: &str = "ztnad.service";
const PROGRAMS: &str = "ztna-programs.service";
const PROGRAMS_SOCKET: &str = "ztna-programs.socket";
const RESOLVER_SOCKET: &str = "ztna-resolver.socket";

/// Where packages put the unit.
const PACKAGED: [&str; 2] = [
    "/usr/lib/systemd/system/ztnad.service",
    "/lib/systemd/system/ztnad.service",
];

const SYSTEMCTL: [&str; 3] = [
    "/usr/bin/systemctl",
    "/bin/systemctl",
    "/run/current-system/sw/bin/systemctl",
];
const SYSUSERS: [&str; 3] = [
    "/usr/bin/systemd-sysusers",
    "/bin/systemd-sysusers",
    "/run/current-system/sw/bin/systemd-sysusers",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_says_is_read() {
        let of = |told| {
            let standing = parse(told);
            (
                standing.is_installed,
                standing.is_running,
                standing.starts_at_boot,
            )
        };

        assert_eq!(
            of("LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"),
            (true, true, true)
        );
        assert_eq!(
            of("LoadState=loaded\nActiveState=activating\nUnitFileState=disabled\n"),
            (true, false, false)
        );
        assert_eq!(
            of("LoadState=not-found\nActiveState=inactive\nUnitFileState=\n"),
            (false, false, false)
        );
    }
}

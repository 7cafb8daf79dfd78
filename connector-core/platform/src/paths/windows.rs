use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::ptr;

use windows_sys::Win32::System::Com::CoTaskMemFree;
use windows_sys::Win32::UI::Shell::{FOLDERID_ProgramData, KF_FLAG_DEFAULT, SHGetKnownFolderPath};

use super::{NoHome, Paths, absolute};
use crate::wide;

pub(super) fn system() -> Paths {
    let data = program_data()
        .unwrap_or_else(|| PathBuf::from(r"C:\ProgramData"))
        .join("ZTNA");
    Paths {
        admin_config: data.join("config.toml"),
        user_config: None,
        state_dir: data.join("state"),
        log_dir: data.join("logs"),
        socket: r"\\.\pipe\ZTNA\service".into(),
    }
}

pub(super) fn user() -> Result<Paths, NoHome> {
    let data = absolute("LOCALAPPDATA")?.join("ZTNA");
    let user = std::env::var("USERNAME").unwrap_or_default();
    Ok(Paths {
        user_config: Some(data.join("config.toml")),
        state_dir: data.join("state"),
        log_dir: data.join("logs"),
        socket: format!(r"\\.\pipe\ZTNA\{user}").into(),
        ..system()
    })
}

/// A pipe cannot be looked for without connecting to it; the user's own comes first.
pub(super) fn endpoint_exists(_pipe: &Path) -> bool {
    true
}

/// Services run without a user's profile.
pub(super) fn is_system_service() -> bool {
    std::env::var_os("LOCALAPPDATA").is_none_or(|path| {
        path.to_string_lossy()
            .to_ascii_lowercase()
            .contains(r"\system32\")
    })
}

/// Asks the system, since anybody can set a variable of their own.
#[expect(unsafe_code, reason = "the system's interface")]
fn program_data() -> Option<PathBuf> {
    let mut path = ptr::null_mut();
    // SAFETY: the identifier and the out pointer are valid, and no token is given.
    let outcome = unsafe {
        SHGetKnownFolderPath(
            &FOLDERID_ProgramData,
            KF_FLAG_DEFAULT.cast_unsigned(),
            ptr::null_mut(),
            &raw mut path,
        )
    };
    let found = (outcome == 0 && !path.is_null()).then(|| {
        // SAFETY: the system's text ends with zero.
        let units = unsafe { wide::read(path, LONGEST_PATH) };
        PathBuf::from(OsString::from_wide(&units))
    });
    // SAFETY: the system allocated it, and wants it freed also when it failed.
    unsafe { CoTaskMemFree(path.cast()) };
    found
}

/// In 16-bit units.
const LONGEST_PATH: usize = 32 * 1024;

use std::path::{Path, PathBuf};

use super::{NoHome, Paths, absolute};

pub(super) fn system() -> Paths {
    let data = absolute("ProgramData")
        .unwrap_or_else(|_| PathBuf::from(r"C:\ProgramData"))
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

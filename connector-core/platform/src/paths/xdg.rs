//! The file system hierarchy, and the XDG base directories for users.

use std::path::{Path, PathBuf};

use super::{NoHome, Paths, absolute};

pub(super) fn system() -> Paths {
    Paths {
        admin_config: "/etc/ztna/config.toml".into(),
        user_config: None,
        state_dir: "/var/lib/ztna".into(),
        log_dir: "/var/log/ztna".into(),
        socket: "/run/ztna/ztnad.sock".into(),
    }
}

pub(super) fn user() -> Result<Paths, NoHome> {
    let state = base("XDG_STATE_HOME", ".local/state")?.join("ztna");
    let runtime =
        absolute("XDG_RUNTIME_DIR").map_or_else(|_| state.join("run"), |dir| dir.join("ztna"));
    Ok(Paths {
        user_config: Some(base("XDG_CONFIG_HOME", ".config")?.join("ztna/config.toml")),
        log_dir: state.join("log"),
        socket: runtime.join("ztnad.sock"),
        state_dir: state,
        ..system()
    })
}

pub(super) fn endpoint_exists(socket: &Path) -> bool {
    socket.exists()
}

fn base(variable: &'static str, below_home: &str) -> Result<PathBuf, NoHome> {
    absolute(variable).or_else(|_| Ok(absolute("HOME")?.join(below_home)))
}

pub(super) fn is_system_service() -> bool {
    rustix::process::geteuid().is_root()
}

use std::path::Path;

use super::{NoHome, Paths, absolute};

pub(super) fn system() -> Paths {
    Paths {
        admin_config: "/Library/Application Support/ZTNA/config.toml".into(),
        user_config: None,
        state_dir: "/Library/Application Support/ZTNA/state".into(),
        log_dir: "/Library/Logs/ZTNA".into(),
        socket: "/var/run/ztna/ztnad.sock".into(),
    }
}

pub(super) fn user() -> Result<Paths, NoHome> {
    let library = absolute("HOME")?.join("Library");
    let support = library.join("Application Support/ZTNA");
    Ok(Paths {
        user_config: Some(support.join("config.toml")),
        log_dir: library.join("Logs/ZTNA"),
        socket: support.join("run/ztnad.sock"),
        state_dir: support.join("state"),
        ..system()
    })
}

pub(super) fn endpoint_exists(socket: &Path) -> bool {
    socket.exists()
}

pub(super) fn is_system_service() -> bool {
    rustix::process::geteuid().is_root()
}

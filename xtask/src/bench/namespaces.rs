//! A program in network, mount and process namespaces of its own, with which ends everything that it started.

use std::ffi::OsString;
use std::process::Command;

use crate::process::output;

/// Whether this program runs as root.
pub(super) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}

/// Returns a command to which a program is to be added: it runs in new namespaces, where `lo` is up.
pub(super) fn in_a_world(is_root: bool) -> Command {
    // Root needs no user namespace, and without one keeps the right to large socket buffers, as a service has it.
    let mut command = if is_root {
        // A little ahead of whatever else runs here. What cannot be had is gone without.
        let mut nice = Command::new("nice");
        nice.args(["-n", "-15", "unshare"]);
        nice
    } else {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user"]);
        unshare
    };
    command
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        // The shell stays as process 1, which ignores Ctrl-C; what it runs does not.
        .args(["sh", "-ec", ENTER, "sh"])
        .env("PATH", search_path());
    command
}

/// The search path with the folders of system programs, which a plain user's may lack.
pub(super) fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// An empty `/run` for keys, names of namespaces and control sockets, and then what is asked.
const ENTER: &str = "umask 077; mount -t tmpfs tmpfs /run; mkdir -p /run/netns /run/wireguard; ip link set lo up; \"$@\"; exit $?";

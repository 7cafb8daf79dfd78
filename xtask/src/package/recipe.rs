//! How the programs are built that people get: alone with libc, and the same bytes wherever they are built.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::workspace::Workspace;

/// Where a release for people is built: apart from other releases, which are built with other flags.
pub(super) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("package/build")
}

/// Has `build` leave nothing of this machine's paths in programs for `target`, and ask for no library but libc.
///
/// # Errors
/// Fails where cargo's home is not known.
pub(super) fn follow(
    build: &mut Command,
    workspace: &Workspace,
    target: &str,
) -> anyhow::Result<()> {
    let home = home().context("set CARGO_HOME: neither it nor HOME says where crates lie")?;
    build
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags(workspace.root(), &home, target),
        )
        .env_remove("RUSTFLAGS");
    Ok(())
}

fn home() -> Option<PathBuf> {
    let told = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    told.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}

/// Returns the compiler's flags, as cargo takes them.
fn flags(root: &Path, home: &Path, target: &str) -> String {
    let renamed =
        |path: &Path, name: &str| format!("--remap-path-prefix={}={name}", path.display());
    let mut flags = vec![renamed(home, "/cargo"), renamed(root, "/ztna")];
    if target.ends_with("-linux-gnu") {
        flags.push(OWN_UNWINDER.to_owned());
    }
    flags.join("\u{1f}")
}

/// Takes the unwinder whole into the program: the standard library asks for the shared one, which `--as-needed` then
/// drops, since nothing is missing any more.
const OWN_UNWINDER: &str = "-Clink-arg=-Wl,--push-state,--whole-archive,-l:libgcc_eh.a,--pop-state";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_of_this_machine_remains_and_linux_brings_its_unwinder() {
        let flags = |target| flags(Path::new("/a/b"), Path::new("/c"), target);

        let linux = flags("x86_64-unknown-linux-gnu");
        let each: Vec<&str> = linux.split('\u{1f}').collect();
        assert_eq!(
            each,
            [
                "--remap-path-prefix=/c=/cargo",
                "--remap-path-prefix=/a/b=/ztna",
                OWN_UNWINDER
            ]
        );
        assert!(!flags("x86_64-pc-windows-gnu").contains(OWN_UNWINDER));
    }
}

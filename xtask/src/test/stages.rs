//! The checks themselves, one function each.
//!
//! What compiles all of the workspace for this machine names all of it and lets a filter choose what runs: cargo
//! unifies features over the chosen packages, so naming a part would compile the dependencies once more.

use std::process::Command;

use super::tools;
use crate::process::{cargo, run, say, succeeds};
use crate::workspace::Workspace;

/// One check.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Its name on the command line and in the table.
    pub(crate) name: &'static str,
    /// What it proves when it passes, in a few words.
    pub(crate) proves: &'static str,
    /// Whether `--quick` runs it.
    pub(crate) quick: bool,
    /// Stages without whose success it cannot say anything.
    pub(crate) needs: &'static [&'static str],
    /// Runs it.
    pub(crate) run: fn(&Workspace) -> anyhow::Result<()>,
}

/// All checks, in the order in which they run: what is quickest to fail first.
pub(crate) const STAGES: &[Stage] = &[
    Stage {
        name: "fmt",
        proves: "the sources are formatted",
        quick: true,
        needs: &[],
        run: fmt,
    },
    Stage {
        name: "tidy",
        proves: "the repository keeps its own rules",
        quick: true,
        needs: &[],
        run: tidy,
    },
    Stage {
        name: "clippy",
        proves: "the lints have no objection",
        quick: true,
        needs: &[],
        run: clippy,
    },
    Stage {
        name: "unit",
        proves: "each crate does what its tests say",
        quick: true,
        needs: &[],
        run: unit,
    },
    Stage {
        name: "doctest",
        proves: "the examples in the documentation work",
        quick: false,
        needs: &[],
        run: doctest,
    },
    Stage {
        name: "rustdoc",
        proves: "the documentation builds and its links resolve",
        quick: false,
        needs: &[],
        run: rustdoc,
    },
    Stage {
        name: "deny",
        proves: "dependencies have allowed licences and sources",
        quick: false,
        needs: &[],
        run: deny,
    },
    Stage {
        name: "windows",
        proves: "the workspace type-checks for Windows",
        quick: false,
        needs: &[],
        run: windows,
    },
    Stage {
        name: "macos",
        proves: "the workspace type-checks for macOS",
        quick: false,
        needs: &[],
        run: macos,
    },
    Stage {
        name: "peers",
        proves: "the other ends of the end-to-end tests are installed",
        quick: false,
        needs: &[],
        run: peers,
    },
    Stage {
        name: "e2e",
        proves: "the programs work with real peers",
        quick: false,
        needs: &["peers"],
        run: e2e,
    },
];

fn fmt(workspace: &Workspace) -> anyhow::Result<()> {
    run(cargo()
        .args(["fmt", "--all", "--check"])
        .current_dir(workspace.root()))
}

// By itself, so that it answers quickly and also where another package does not compile.
fn tidy(workspace: &Workspace) -> anyhow::Result<()> {
    let tests: &[&str] = if has_nextest() {
        &["nextest", "run", "--no-fail-fast"]
    } else {
        &["test", "--no-fail-fast"]
    };
    run(cargo()
        .args(tests)
        .args(["--locked", "--package", "tidy"])
        .current_dir(workspace.root()))
}

fn clippy(workspace: &Workspace) -> anyhow::Result<()> {
    run(cargo()
        .args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ])
        .current_dir(workspace.root()))
}

fn unit(workspace: &Workspace) -> anyhow::Result<()> {
    if has_nextest() {
        return run(&mut nextest(
            workspace,
            "not (package(e2e) or package(tidy))",
        ));
    }
    run(cargo()
        .args([
            "test",
            "--workspace",
            "--all-targets",
            "--locked",
            "--exclude",
            "e2e",
            "--exclude",
            "tidy",
        ])
        .current_dir(workspace.root()))
}

fn doctest(workspace: &Workspace) -> anyhow::Result<()> {
    run(cargo()
        .args(["test", "--workspace", "--doc", "--locked"])
        .current_dir(workspace.root()))
}

fn rustdoc(workspace: &Workspace) -> anyhow::Result<()> {
    run(cargo()
        .args([
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
            "--locked",
        ])
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(workspace.root()))
}

fn deny(workspace: &Workspace) -> anyhow::Result<()> {
    let deny = tools::cargo_deny(workspace)?;
    run(Command::new(deny)
        .args([
            "--workspace",
            "--all-features",
            "--locked",
            "check",
            "bans",
            "licenses",
            "sources",
        ])
        .current_dir(workspace.root()))
}

fn windows(workspace: &Workspace) -> anyhow::Result<()> {
    type_check(workspace, "x86_64-pc-windows-gnu")
}

fn macos(workspace: &Workspace) -> anyhow::Result<()> {
    type_check(workspace, "aarch64-apple-darwin")
}

/// Checks the workspace for a target, with stand-ins for the C compiler that only a real build would need.
fn type_check(workspace: &Workspace, target: &str) -> anyhow::Result<()> {
    tools::rust_target(target)?;
    let stand_ins = workspace.root().join("xtask/cross");
    let suffix = target.replace('-', "_");
    run(cargo()
        .args(["check", "--workspace", "--all-targets", "--locked", "--target", target])
        .env(format!("CC_{suffix}"), stand_ins.join("cc.sh"))
        .env(format!("AR_{suffix}"), stand_ins.join("ar.sh"))
        // The `cc` crate asks Xcode where the SDK is unless it is told; the stand-in reads no header.
        .env("SDKROOT", "/")
        .current_dir(workspace.root()))
}

fn peers(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.root().join("tests/e2e/peers");
    run(Command::new(folder.join("install.sh")).arg(workspace.target().join("peers")))?;
    say("peers: can a gateway run here, in a network namespace of its own?");
    run(Command::new(folder.join("net/selftest.sh"))
        .env("ZTNA_E2E_PEERS", workspace.target().join("peers")))
}

fn e2e(workspace: &Workspace) -> anyhow::Result<()> {
    run(cargo()
        .args(["build", "--workspace", "--bins", "--locked"])
        .current_dir(workspace.root()))?;
    let mut tests = if has_nextest() {
        let mut tests = nextest(workspace, "package(e2e)");
        tests.args(["--test-threads", "1"]);
        tests
    } else {
        let mut tests = cargo();
        tests.args([
            "test",
            "--locked",
            "--package",
            "e2e",
            "--",
            "--test-threads",
            "1",
        ]);
        tests
    };
    run(tests
        .env("ZTNA_E2E_BIN", workspace.target().join("debug"))
        .env("ZTNA_E2E_PEERS", workspace.target().join("peers"))
        .current_dir(workspace.root()))
}

fn has_nextest() -> bool {
    succeeds(cargo().args(["nextest", "--version"]))
}

fn nextest(workspace: &Workspace, filter: &str) -> Command {
    let mut command = cargo();
    command
        .args([
            "nextest",
            "run",
            "--workspace",
            "--all-targets",
            "--locked",
            "--no-fail-fast",
            "--filterset",
            filter,
        ])
        .current_dir(workspace.root());
    command
}

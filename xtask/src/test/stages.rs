//! The checks themselves, one function each.
//!
//! What compiles all of the workspace for this machine names all of it and lets a filter choose what runs: cargo
//! unifies features over the chosen packages, so naming a part would compile the dependencies once more.

use std::process::Command;

use super::tools;
use crate::package::{self, Trial};
use crate::process::{self, run, say, succeeds};
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
    stage("fmt", "the sources are formatted", fmt).quick(),
    stage("tidy", "the repository keeps its own rules", tidy).quick(),
    stage("clippy", "the lints have no objection", clippy).quick(),
    stage(
        "peers",
        "what the tests in namespaces need is installed",
        peers,
    ),
    stage("unit", "each crate does what its tests say", unit).quick(),
    stage("doctest", "the examples in the documentation work", doctest),
    stage(
        "rustdoc",
        "the documentation builds, its links resolve",
        rustdoc,
    ),
    stage("deny", "dependencies have allowed licences, sources", deny),
    stage("window", "the window is drawn as its pages say", window),
    stage(
        "windows",
        "the programs build for Windows and run under Wine",
        windows,
    ),
    stage(
        "macos",
        "the workspace type-checks and passes clippy for macOS",
        macos,
    ),
    stage("e2e", "the programs work with real peers", e2e).needs(&["peers"]),
    stage(
        "package",
        "the packages live from installation to the last trace",
        package,
    ),
];

type Run = fn(&Workspace) -> anyhow::Result<()>;

const fn stage(name: &'static str, proves: &'static str, run: Run) -> Stage {
    Stage {
        name,
        proves,
        quick: false,
        needs: &[],
        run,
    }
}

impl Stage {
    const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    const fn needs(mut self, stages: &'static [&'static str]) -> Self {
        self.needs = stages;
        self
    }
}

fn fmt(workspace: &Workspace) -> anyhow::Result<()> {
    run(&mut cargo(workspace, "fmt --all --check"))
}

// By itself, so that it answers quickly and also where another package does not compile.
fn tidy(workspace: &Workspace) -> anyhow::Result<()> {
    let tests = if has_nextest() { "nextest run" } else { "test" };
    run(cargo(workspace, tests).args(["--locked", "--no-fail-fast", "--package", "tidy"]))
}

fn clippy(workspace: &Workspace) -> anyhow::Result<()> {
    run(&mut cargo(
        workspace,
        "clippy --workspace --all-targets --locked -- -D warnings",
    ))
}

fn unit(workspace: &Workspace) -> anyhow::Result<()> {
    let mut tests = if has_nextest() {
        nextest(workspace, "not (package(e2e) or package(tidy))")
    } else {
        let line =
            "test --workspace --all-targets --locked --no-fail-fast --exclude e2e --exclude tidy";
        cargo(workspace, line)
    };
    // Where the peers are installed, nothing is missing that would be a reason to skip a test.
    let peers = workspace.target().join("peers");
    if peers.is_dir() {
        tests
            .env("ZTNA_TEST_WORLDS", "1")
            .env("ZTNA_E2E_PEERS", peers);
    }
    run(&mut tests)
}

fn doctest(workspace: &Workspace) -> anyhow::Result<()> {
    run(&mut cargo(
        workspace,
        "test --workspace --doc --locked --no-fail-fast",
    ))
}

fn rustdoc(workspace: &Workspace) -> anyhow::Result<()> {
    let line = "doc --workspace --no-deps --document-private-items --locked";
    run(cargo(workspace, line).env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny(workspace: &Workspace) -> anyhow::Result<()> {
    let program = tools::cargo_deny(workspace)?;
    let check = |manifest: &str| {
        let mut command = Command::new(&program);
        command
            .args(["--manifest-path", manifest, "--config", "deny.toml"])
            .args(["--workspace", "--all-features", "--locked"])
            .args(["check", "bans", "licenses", "sources"])
            .current_dir(workspace.root());
        command
    };
    run(&mut check("Cargo.toml"))?;
    run(&mut check("connector-ui/window/Cargo.toml"))
}

// A workspace of its own, with a lock file and a folder for what is built of its own.
fn window(workspace: &Workspace) -> anyhow::Result<()> {
    let cargo = |line: &str| {
        let mut command = cargo(workspace, line);
        command
            .current_dir(workspace.root().join("connector-ui/window"))
            .env("CARGO_TARGET_DIR", workspace.target().join("window"));
        command
    };
    run(&mut cargo("fmt --check"))?;
    run(&mut cargo("clippy --all-targets --locked -- -D warnings"))?;
    run(&mut cargo("test --locked --no-fail-fast"))
}

fn windows(workspace: &Workspace) -> anyhow::Result<()> {
    const TARGET: &str = "x86_64-pc-windows-gnu";

    tools::rust_target(TARGET)?;
    let prefix = workspace.target().join("wine");
    let prepare = workspace.root().join("tests/e2e/wine/prepare.sh");
    run(Command::new(prepare).arg(&prefix))?;
    // All of the workspace, but for the end-to-end tests, which drive a Unix machine.
    let look = "clippy --workspace --exclude e2e --lib --bins --locked --target";
    run(cargo(workspace, look).args([TARGET, "--", "-D", "warnings"]))?;
    let build = "build --workspace --exclude e2e --lib --bins --locked --target";
    run(quickly_built(cargo(workspace, build).arg(TARGET)))?;
    run(quickly_built(
        cargo(
            workspace,
            "test --locked --lib --package connector-platform --target",
        )
        .arg(TARGET)
        .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "wine")
        .env("WINEPREFIX", &prefix)
        .env("WINEDEBUG", "-all"),
    ))?;
    let mut tests = if has_nextest() {
        nextest(workspace, "package(e2e) and binary(wine)")
    } else {
        cargo(
            workspace,
            "test --locked --package e2e --test wine -- --test-threads=1",
        )
    };
    run(tests.env("ZTNA_E2E_WINE", &prefix).env(
        "ZTNA_E2E_WINDOWS_BIN",
        workspace.target().join(TARGET).join("debug"),
    ))
}

/// Linking what Wine runs takes half as long where nothing can be debugged.
fn quickly_built(command: &mut Command) -> &mut Command {
    command.args(["--config", "profile.dev.debug=false"])
}

fn macos(workspace: &Workspace) -> anyhow::Result<()> {
    type_check(workspace, "aarch64-apple-darwin")
}

/// Checks the workspace for a target, with stand-ins for the C compiler that only a real build would need.
fn type_check(workspace: &Workspace, target: &str) -> anyhow::Result<()> {
    tools::rust_target(target)?;
    let stand_ins = workspace.root().join("xtask/cross");
    let suffix = target.replace('-', "_");
    run(
        cargo(workspace, "clippy --workspace --all-targets --locked --target")
        .args([target, "--", "-D", "warnings"])
        .env(format!("CC_{suffix}"), stand_ins.join("cc.sh"))
        .env(format!("AR_{suffix}"), stand_ins.join("ar.sh"))
        // Build scripts ask Xcode where the SDK is unless they are told; the stand-in reads no header.
        .env("SDKROOT", "/"),
    )
}

fn peers(workspace: &Workspace) -> anyhow::Result<()> {
    let scripts = workspace.root().join("tests/e2e/peers");
    let installed = workspace.target().join("peers");
    run(Command::new(scripts.join("install.sh")).arg(&installed))?;
    say("peers: can a gateway run here, in a network namespace of its own?");
    run(Command::new(scripts.join("net/selftest.sh")).env("ZTNA_E2E_PEERS", installed))
}

fn e2e(workspace: &Workspace) -> anyhow::Result<()> {
    run(&mut cargo(workspace, "build --workspace --bins --locked"))?;
    let mut tests = if has_nextest() {
        nextest(workspace, "package(e2e) and not binary(wine)")
    } else {
        cargo(
            workspace,
            "test --locked --package e2e --no-fail-fast -- --test-threads=1",
        )
    };
    run(tests
        .env("ZTNA_E2E_BIN", workspace.target().join("debug"))
        .env("ZTNA_E2E_PEERS", workspace.target().join("peers")))
}

fn package(workspace: &Workspace) -> anyhow::Result<()> {
    tools::for_packages()?;
    match package::try_packages(workspace)? {
        Trial::Lived => {}
        Trial::NotHere => {
            say("package: NOT TRIED, as this machine cannot hold a small machine; see above")
        }
    }
    Ok(())
}

fn has_nextest() -> bool {
    succeeds(process::cargo().args(["nextest", "--version"]))
}

/// Nextest over what the filter chooses; `.config/nextest.toml` says what may run side by side.
fn nextest(workspace: &Workspace, filter: &str) -> Command {
    let mut command = cargo(
        workspace,
        "nextest run --workspace --all-targets --locked --no-fail-fast",
    );
    command.args(["--filterset", filter]);
    command
}

/// Cargo in the workspace's root, with the arguments of this line.
fn cargo(workspace: &Workspace, line: &str) -> Command {
    let mut command = process::cargo();
    command
        .args(line.split_whitespace())
        .current_dir(workspace.root());
    command
}

//! `cargo demo`: the whole product on this machine, without root.

mod client;
mod login;
mod processes;
mod steps;
mod terminal;

use std::time::Instant;

use anyhow::Context;
use clap::Args;

use self::processes::{Binaries, Place};
use self::steps::Demo;
use self::terminal::Terminal;
use crate::process;
use crate::workspace::Workspace;

/// What the demo is asked to do.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DemoArgs {
    /// Leave the sign-in to you, in your browser
    #[arg(long)]
    browser: bool,
    /// Leave everything running at the end, and print what to try
    #[arg(long)]
    keep: bool,
}

/// Runs the demo; succeeds only if every step held.
///
/// # Errors
/// Names the step that did not hold.
pub(crate) fn run(args: DemoArgs) -> anyhow::Result<()> {
    let terminal = Terminal::new();
    let binaries = build(&terminal)?;
    let place = Place::create().context("Failed to make a folder for the demo")?;
    let started = Instant::now();
    terminal.title("ZTNA Connector: the whole way, on this machine, without root");

    match Demo::start(&terminal, &binaries, &place).and_then(|mut demo| {
        demo.play(args.browser)?;
        demo.proved(started.elapsed());
        Ok(demo)
    }) {
        Ok(demo) if args.keep => demo.keep(),
        Ok(demo) => {
            drop(demo);
            place.remove();
            Ok(())
        }
        Err(error) => {
            terminal.fail(&format!("{error:#}"));
            Err(error.context(format!(
                "the demo did not hold; the logs are in {}",
                place.dir().display()
            )))
        }
    }
}

/// Builds what the demo runs; cargo shows its own progress.
fn build(terminal: &Terminal) -> anyhow::Result<Binaries> {
    let workspace = Workspace::locate()?;
    let mut cargo = process::cargo();
    cargo
        .current_dir(workspace.root())
        .args(["build", "--quiet"]);
    for package in ["connector-cli", "connector-service", "lab"] {
        cargo.args(["--package", package]);
    }
    if terminal.is_interactive() {
        cargo.args(["--config", "term.quiet=false"]);
    }
    terminal.note(
        "Building the service, the command and the lab (the first time takes some minutes) …",
    );
    let status = cargo.status().context("Failed to start cargo")?;
    anyhow::ensure!(status.success(), "the build failed");
    Ok(Binaries::below(&workspace.target().join("debug")))
}

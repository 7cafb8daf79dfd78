//! `cargo xtask bench decisions`: what a decision costs, and how long one that is taken back lives on.
//!
//! The figures come from programs of our release build, which print them as JSON; what cannot be measured ends the
//! command with an error.

mod report;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::Value;

use self::report::{Report, Rounds};
use super::machine;
use super::namespaces::{in_a_world, is_root};
use crate::process::{cargo, note, run_aside, say};
use crate::workspace::Workspace;

/// How to measure decisions.
#[derive(Args, Debug)]
pub(super) struct DecisionsArgs {
    /// How often each program runs; medians are taken over the rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Prints one JSON object in place of the tables
    #[arg(long)]
    json: bool,
}

/// Goes round, and prints the tables or the object.
///
/// # Errors
/// Says what is missing on this machine, or which program did not do its part.
pub(super) fn run(args: &DecisionsArgs) -> anyhow::Result<()> {
    ensure!(
        std::env::consts::OS == "linux",
        "the measurement needs Linux's network namespaces"
    );
    let workspace = Workspace::locate()?;
    build(&workspace)?;
    let programs = Programs(workspace.target().join("release"));
    note(&format!("bench: on {}", machine::description()));

    let mut rounds = Rounds::default();
    for round in 1..=args.rounds {
        machine::wait_until_quiet();
        for (program, measure) in MEASUREMENTS {
            let figures =
                measure(&programs).with_context(|| format!("round {round}, {program}"))?;
            note(&format!("bench: round {round}, {program}: {figures}"));
            rounds.add(&figures);
        }
    }
    let report = Report::of(&rounds)?;
    if args.json {
        say(&report.to_json().to_string());
    } else {
        say(&report.to_string());
    }
    Ok(())
}

type Measure = fn(&Programs) -> anyhow::Result<Value>;

/// Each program, by its name, in the order in which it runs.
const MEASUREMENTS: [(&str, Measure); 4] = [
    ("switching", |programs| {
        figures(&mut programs.example("switching"))
    }),
    ("decisions", |programs| {
        figures(&mut programs.example("decisions"))
    }),
    ("three_ways", three_ways),
    ("cut", cut),
];

/// The folder of the release programs.
#[derive(Debug)]
struct Programs(PathBuf);

impl Programs {
    fn path(&self, example: &str) -> PathBuf {
        self.0.join("examples").join(example)
    }

    fn example(&self, name: &str) -> Command {
        Command::new(self.path(name))
    }
}

/// In a network namespace of its own, as it makes a network device.
fn cut(programs: &Programs) -> anyhow::Result<Value> {
    let mut command = in_a_world(is_root());
    command.arg(programs.path("cut")).arg(CUTS.to_string());
    figures(&mut command)
}

/// Beside a lab of its own, which ends with it.
fn three_ways(programs: &Programs) -> anyhow::Result<Value> {
    let lab = Lab::start(&programs.0.join("ztna-lab"))?;
    figures(programs.example("three_ways").args([&lab.pdp, &lab.admin]))
}

/// Runs a program for the figures that it prints.
fn figures(command: &mut Command) -> anyhow::Result<Value> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} ended with {}; what it wrote stands above",
            output.status
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| format!("{name} printed {text:?}"))
}

/// A running `ztna-lab`; dropping it ends it.
#[derive(Debug)]
struct Lab {
    process: Child,
    pdp: String,
    admin: String,
}

impl Lab {
    fn start(program: &Path) -> anyhow::Result<Self> {
        let mut process = Command::new(program)
            .arg("--end-with-stdin")
            .env("ZTNA_LOG", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut line = String::new();
        let read = process
            .stdout
            .take()
            .map(|output| BufReader::new(output).read_line(&mut line));
        let mut lab = Self {
            process,
            pdp: String::new(),
            admin: String::new(),
        };
        read.context("the lab has no output")??;
        let ready: Value =
            serde_json::from_str(&line).with_context(|| format!("the lab printed {line:?}"))?;
        let url = |member: &str| ready.get(member).and_then(Value::as_str).map(str::to_owned);
        lab.pdp = url("pdp").context("the lab names no decision point")?;
        lab.admin = url("admin").context("the lab names no levers")?;
        Ok(lab)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

fn build(workspace: &Workspace) -> anyhow::Result<()> {
    // In one go, so that what they share is built once, with the same features.
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--quiet"]);
    for package in ["connector-core", "connector-policy", "lab", "tunnel"] {
        command.args(["--package", package]);
    }
    command.args(["--features", "connector-core/testing", "--bin", "ztna-lab"]);
    for example in ["cut", "decisions", "switching", "three_ways"] {
        command.args(["--example", example]);
    }
    run_aside(command.current_dir(workspace.root()))
}

/// Revocations in one run of `cut`.
const CUTS: u32 = 40;

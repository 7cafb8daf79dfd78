//! `cargo xtask bench revocation`: how long packets go on after the company takes access back, through the whole chain.
//!
//! It is the end-to-end test of the same, with release programs and more rounds.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::machine;
use crate::process::{cargo, note, run_aside, say};
use crate::workspace::Workspace;

/// How to measure revocations.
#[derive(Args, Debug)]
pub(super) struct RevocationArgs {
    /// How many sessions are revoked, one after the other
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Prints one JSON object in place of the table
    #[arg(long)]
    json: bool,
}

/// Revokes, and prints what came of it.
///
/// # Errors
/// Says what is missing on this machine, or why the test failed.
pub(super) fn run(args: &RevocationArgs) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    let peers = workspace.target().join("peers");
    if !peers.join("bin").is_dir() {
        note("bench: installing the peers of the end-to-end tests below target/peers");
        let install = workspace.root().join("tests/e2e/peers/install.sh");
        run_aside(Command::new(install).arg(&peers))?;
    }
    build(&workspace)?;
    note(&format!("bench: on {}", machine::description()));
    machine::wait_until_quiet();
    let file = workspace.target().join("revocation.json");
    measure(&workspace, &peers, args.rounds, &file)?;
    let text = fs::read_to_string(&file)
        .with_context(|| format!("the test left no figures in {}", file.display()))?;
    let figures =
        serde_json::from_str(&text).with_context(|| format!("{}: {text:?}", file.display()))?;
    report(&Figures::of(&figures)?, args.json);
    Ok(())
}

fn build(workspace: &Workspace) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--quiet"]);
    for (package, program) in PROGRAMS {
        command.args(["--package", package, "--bin", program]);
    }
    run_aside(command.current_dir(workspace.root()))
}

fn measure(workspace: &Workspace, peers: &Path, rounds: u32, file: &Path) -> anyhow::Result<()> {
    // All of the workspace, as `cargo xtask test` builds it.
    let line = "test --locked --quiet --workspace --test programs -- --exact";
    run_aside(
        cargo()
            .args(line.split_whitespace())
            .arg(TEST)
            .current_dir(workspace.root())
            .env("ZTNA_E2E_BIN", workspace.target().join("release"))
            .env("ZTNA_E2E_PEERS", peers)
            .env("ZTNA_E2E_ROUNDS", rounds.to_string())
            .env("ZTNA_E2E_FIGURES", file),
    )
}

/// What the test wrote; times are in milliseconds, the shortest first.
#[derive(Debug)]
struct Figures {
    flows: u64,
    received: Vec<f64>,
    ordered: Vec<f64>,
}

impl Figures {
    fn of(written: &Value) -> anyhow::Result<Self> {
        let cuts = written["cuts"].as_array().filter(|cuts| !cuts.is_empty());
        let cuts = cuts.context("the test measured nothing")?;
        let sorted = |member: &str| {
            let figures = cuts.iter().map(|cut| cut[member].as_f64());
            let mut figures: Vec<f64> = figures
                .collect::<Option<_>>()
                .with_context(|| format!("a revocation without {member}"))?;
            figures.sort_unstable_by(f64::total_cmp);
            anyhow::Ok(figures)
        };
        let flows = written["flows"].as_u64().context("no number of flows")?;
        ensure!(flows > 0, "there were no flows");
        Ok(Self {
            flows,
            received: sorted("received_ms")?,
            ordered: sorted("ordered_ms")?,
        })
    }
}

fn report(figures: &Figures, as_json: bool) {
    let [received, ordered] = [&figures.received, &figures.ordered];
    if as_json {
        let object = json!({
            "flows": figures.flows, "rounds": received.len(),
            "received_p50_ms": percentile(received, 50), "received_p99_ms": percentile(received, 99),
            "ordered_p50_ms": percentile(ordered, 50), "ordered_p99_ms": percentile(ordered, 99),
        });
        return say(&object.to_string());
    }
    say(&format!(
        "{} flows, {} revocations; on the wire, to the last packet of any flow, ms",
        figures.flows,
        received.len()
    ));
    say(&format!(
        "{:<44} {:>8} {:>8} {:>8}",
        "", "p50", "p99", "at most"
    ));
    for (title, figures, target) in [
        ("from the event that reached the device", received, 5.0),
        ("from the order to the transmitter", ordered, 50.0),
    ] {
        let (p50, p99) = (percentile(figures, 50), percentile(figures, 99));
        let mark = if p99 > target { "  missed" } else { "" };
        say(&format!(
            "{title:<44} {p50:>8.2} {p99:>8.2} {target:>8.0}{mark}"
        ));
    }
}

fn percentile(sorted: &[f64], share: usize) -> f64 {
    let place = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

const TEST: &str = "transparent::cut::a_revocation_ends_a_thousand_flows_on_the_wire";

/// What the test starts, by package.
const PROGRAMS: [(&str, &str); 3] = [
    ("connector-service", "ztnad"),
    ("connector-cli", "ztna"),
    ("lab", "ztna-lab"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_sorted_and_what_is_missing_is_an_error() {
        let cut = |received: f64| json!({"received_ms": received, "ordered_ms": received + 1.0});
        let figures = json!({"flows": 1000, "cuts": [cut(3.0), cut(1.0), cut(2.0)]});

        let read = Figures::of(&figures).unwrap();

        assert_eq!(read.received, [1.0, 2.0, 3.0]);
        assert_eq!(
            (percentile(&read.ordered, 50), percentile(&read.ordered, 99)),
            (3.0, 4.0)
        );
        for broken in [
            json!({}),
            json!({"flows": 1000, "cuts": []}),
            json!({"flows": 1000, "cuts": [{"received_ms": 1.0}]}),
            json!({"flows": 0, "cuts": [cut(1.0)]}),
        ] {
            assert!(Figures::of(&broken).is_err(), "{broken}");
        }
    }
}

//! `cargo xtask bench tunnel`: our tunnel beside wireguard-go, in the same rounds.
//!
//! The outer process prepares the machine and goes round; each run of a variant happens in network, mount and
//! process namespaces of its own (`run_once`), so that nothing of it is left, however it ends.

mod figures;
mod measuring;
mod preparation;
mod table;
mod variant;
mod world;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::Args;

use self::figures::{Rounds, Sample};
use self::preparation::Prepared;
use self::variant::Variant;
use super::machine;
use crate::process::{note, output, say};
use crate::workspace::Workspace;

/// How to measure the tunnel.
#[derive(Args, Debug)]
pub(super) struct TunnelArgs {
    /// How often each variant runs; medians are taken over the rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How long each transfer lasts
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,

    /// Prints one JSON object in place of the table
    #[arg(long)]
    json: bool,

    /// Measures only this variant; may be repeated. Ratios that need another one are left out
    #[arg(long = "variant", value_name = "VARIANT", value_enum)]
    variants: Vec<Variant>,
}

/// What one run needs to know.
#[derive(Args, Debug)]
pub(super) struct OnceArgs {
    #[arg(long, value_enum)]
    variant: Variant,
    #[arg(long)]
    seconds: u32,
    /// The folder of our release programs
    #[arg(long)]
    ours: PathBuf,
    /// The folder of the peers' programs
    #[arg(long)]
    peers: PathBuf,
}

/// Goes round, and prints the table or the object.
///
/// # Errors
/// Says what is missing on this machine, or which program did not do its part.
pub(super) fn run(args: &TunnelArgs) -> anyhow::Result<()> {
    ensure!(
        std::env::consts::OS == "linux",
        "the measurement needs Linux's network namespaces"
    );
    let workspace = Workspace::locate()?;
    let wanted = wanted(&args.variants);
    let prepared = preparation::prepare(&workspace, &wanted)?;
    note(&format!("bench: on {}", machine::description()));

    let mut rounds = Rounds::default();
    for round in 0..args.rounds {
        rounds.begin();
        for variant in order(&wanted, round) {
            let sample = measure_in_quiet(&prepared, variant, args.seconds)
                .with_context(|| format!("round {}, {variant}", round + 1))?;
            note(&format!("bench: round {}, {variant}: {sample}", round + 1));
            rounds.add(variant, sample);
        }
        if let Some(program) = prepared.flow_lookup() {
            rounds.add_lookup(lookup_nanoseconds(&program)?);
        }
    }
    let report = rounds.report();
    if args.json {
        say(&report.to_json().to_string());
    } else {
        say(&report.to_string());
    }
    Ok(())
}

/// Measures one variant here, and prints its figures for [`run`].
///
/// # Errors
/// Says which program did not do its part, with what it wrote.
pub(super) fn run_once(args: &OnceArgs) -> anyhow::Result<()> {
    let sample = measuring::measure(args)?;
    say(&sample.to_json().to_string());
    Ok(())
}

/// Measures when the machine is quiet, and again if it did not stay so, but not for ever: then the least disturbed counts.
fn measure_in_quiet(prepared: &Prepared, variant: Variant, seconds: u32) -> anyhow::Result<Sample> {
    let mut best: Option<(f64, Sample)> = None;
    for _ in 0..MAX_TRIES {
        machine::wait_until_quiet();
        let others = machine::Others::look();
        let sample = measure(prepared, variant, seconds)?;
        let disturbed = others.percent_since();
        if best.as_ref().is_none_or(|(least, _)| disturbed < *least) {
            best = Some((disturbed, sample));
        }
        if disturbed <= machine::QUIET_PERCENT {
            break;
        }
        note(&format!(
            "bench: {variant}: other programs took {disturbed:.0} % of the machine meanwhile"
        ));
    }
    let (_, sample) = best.context("nothing was measured")?;
    Ok(sample)
}

/// Runs this program anew, as the only one in namespaces of its own.
fn measure(prepared: &Prepared, variant: Variant, seconds: u32) -> anyhow::Result<Sample> {
    let mut command = prepared.in_a_world();
    command
        .arg(std::env::current_exe().context("cannot find this program's own file")?)
        .args(["bench", "tunnel-once", "--variant", variant.name()])
        .args(["--seconds", &seconds.to_string()])
        .arg("--ours")
        .arg(prepared.ours())
        .arg("--peers")
        .arg(prepared.peers())
        .stderr(std::process::Stdio::inherit());
    let answer = command
        .stdin(std::process::Stdio::null())
        .output()
        .context("cannot start unshare")?;
    if !answer.status.success() {
        bail!("the run did not come to its end; what it wrote stands above");
    }
    let text = String::from_utf8_lossy(&answer.stdout);
    Sample::from_json(&text).with_context(|| format!("the run printed {text:?}"))
}

fn lookup_nanoseconds(program: &std::path::Path) -> anyhow::Result<f64> {
    output(&mut Command::new(program))
        .and_then(|text| text.trim().parse().ok())
        .with_context(|| format!("{} does not print one number", program.display()))
}

fn wanted(named: &[Variant]) -> Vec<Variant> {
    Variant::ALL
        .into_iter()
        .filter(|variant| named.is_empty() || named.contains(variant))
        .collect()
}

/// Each round begins with another variant, so that none always has the warmest machine.
fn order(wanted: &[Variant], round: u32) -> Vec<Variant> {
    let mut order = wanted.to_vec();
    let turn = usize::try_from(round).unwrap_or(0) % order.len().max(1);
    order.rotate_left(turn);
    order
}

/// On a machine that is never quiet, a round still ends.
const MAX_TRIES: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_variant_and_begins_with_another() {
        let wanted = wanted(&[]);
        let orders: Vec<_> = (0..4).map(|round| order(&wanted, round)).collect();

        assert_eq!(orders[0], Variant::ALL);
        for (round, order) in orders.iter().enumerate() {
            assert_eq!(order[0], Variant::ALL[round]);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, Variant::ALL);
        }
    }

    #[test]
    fn named_variants_are_measured_alone() {
        assert_eq!(
            wanted(&[Variant::WireguardGo, Variant::Ours]),
            [Variant::Ours, Variant::WireguardGo]
        );
    }
}

//! `cargo xtask bench`: measures ours beside what people use today.

mod decisions;
mod machine;
mod namespaces;
mod revocation;
mod tunnel;

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::process::say;

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Prints the measurements and what each compares, and runs nothing
    #[arg(long)]
    list: bool,

    #[command(subcommand)]
    measurement: Option<Measurement>,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Decisions: cached, embedded, asked of a server; what a revocation and other policies take
    Decisions(decisions::DecisionsArgs),
    /// Revocations through the whole chain: from the company's order to the last packet on the wire
    Revocation(revocation::RevocationArgs),
    /// The tunnel beside wireguard-go: throughput, processor time, latency, roaming, memory
    Tunnel(tunnel::TunnelArgs),
    /// One run of one variant, inside the network namespaces that `tunnel` makes
    #[command(hide = true)]
    TunnelOnce(tunnel::OnceArgs),
}

/// Measures, and prints what came of it.
///
/// # Errors
/// Says what is missing on this machine, or which program did not do its part.
pub(crate) fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.measurement {
        _ if args.list => {
            for (name, compares) in LIST {
                say(&format!("{name:<10} {compares}"));
            }
            Ok(())
        }
        Some(Measurement::Decisions(args)) => decisions::run(&args),
        Some(Measurement::Revocation(args)) => revocation::run(&args),
        Some(Measurement::Tunnel(args)) => tunnel::run(&args),
        Some(Measurement::TunnelOnce(args)) => tunnel::run_once(&args),
        None => bail!(
            "say what to measure, as in `cargo xtask bench tunnel`; --list tells what there is"
        ),
    }
}

const LIST: [(&str, &str); 3] = [
    (
        "decisions",
        "a central decision for each request, cached leases, and policies on the device: latency, rate, revocation",
    ),
    (
        "revocation",
        "from the order to revoke, and from the event that brings it, to the last packet of a thousand flows on the wire",
    ),
    (
        "tunnel",
        "the transparent tunnel beside Debian 13's wireguard-go, in the same rounds: TCP, processor time, ping, roaming, memory",
    ),
];

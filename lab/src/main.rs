//! `ztna-lab`: a whole small company in one process.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use connector_core::catalogue::Endpoint;
use connector_core::configuration::{RawPermguard, RawPolicy};
use lab::clock::Clock;
use lab::company::Company;
use lab::gateway;
use lab::overrides;
use lab::running::{ExternalGateway, Lab, Options};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Runs a whole small company on loopback addresses: an OpenID provider, a
/// control plane, an AuthZEN decision point, WireGuard gateways, applications.
///
/// Prints one line of JSON when everything listens, and ends on SIGTERM or Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "ztna-lab", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Keep the policy key and the admitted hosts in this folder
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where the control plane listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The company to play, in place of the built-in one
    #[arg(long, value_name = "FILE")]
    company: Option<PathBuf>,
    /// Use this OpenID provider in place of the lab's own
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The connector's client id at the OpenID provider
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Use this decision point in place of the lab's own
    #[arg(long, value_name = "URL")]
    pdp: Option<String>,
    /// Name a second decision point, for when the first is slow or away
    #[arg(long, value_name = "URL", requires = "pdp")]
    second_pdp: Option<String>,
    /// The decision point is Permguard's: decide by the policies of this ledger
    #[arg(long, value_name = "ZONE/LEDGER", requires = "pdp", value_parser = parse_ledger)]
    permguard: Option<RawPermguard>,
    /// Where decisions are made: remote, proximity (by the policy store, on the device) or proximity-then-remote
    #[arg(long, value_name = "MODE", value_parser = ["remote", "proximity", "proximity-then-remote"])]
    policy_mode: Option<String>,
    /// Use this WireGuard gateway in place of the lab's own; may be repeated
    #[arg(
        long,
        value_name = "id=ID,endpoint=HOST:PORT,public-key=KEY[,uapi=SOCKET][,site=ID]",
        value_parser = parse_gateway
    )]
    external_gateway: Vec<ExternalGateway>,
    /// The name server behind the first site's gateways
    #[arg(long, value_name = "ADDRESS")]
    site_resolver: Option<IpAddr>,
    /// End when standard input ends
    #[arg(long)]
    end_with_stdin: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one WireGuard gateway alone, with a network device behind which the kernel forwards.
    ///
    /// Prints one line of JSON when it listens, and ends on SIGTERM or Ctrl-C.
    Gateway(gateway::Options),
    /// Makes a code that switches a connector off for a time, as the help desk does, and prints it.
    Override(OverrideOptions),
}

#[derive(Debug, Args)]
struct OverrideOptions {
    /// The folder with the company's policy key, as the lab was started with
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The device, as `ztna override` shows it
    #[arg(long, value_name = "ID")]
    device: String,
    /// The challenge, as `ztna override` shows it
    #[arg(long, value_name = "TEXT")]
    challenge: String,
    /// For how long, as in 30m or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = parse_minutes)]
    minutes: u32,
    /// Why it is allowed
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who allows it
    #[arg(long, value_name = "NAME", default_value_t = overrides::help_desk())]
    by: String,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    let outcome = match arguments.command.take() {
        Some(Command::Gateway(options)) => run_gateway(options),
        Some(Command::Override(options)) => make_override(options),
        None => run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if standard error is closed.
            let _closed = writeln!(std::io::stderr(), "ztna-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> anyhow::Result<()> {
    start_log();
    let company = match &arguments.company {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("Failed to read {}", path.display()))?;
            Company::parse(&text).with_context(|| path.display().to_string())?
        }
        None => Company::built_in(),
    };
    let policy = arguments.pdp.map(|pdp| RawPolicy {
        kind: arguments.permguard.as_ref().map(|_| "permguard".to_owned()),
        second_pdp: arguments.second_pdp,
        permguard: arguments.permguard,
        ..RawPolicy::remote(pdp)
    });
    let lab = Lab::start(Options {
        company,
        state: arguments.state,
        listen: arguments.listen,
        issuer: arguments.issuer,
        client_id: arguments.client_id,
        policy,
        policy_mode: arguments.policy_mode,
        external_gateways: arguments.external_gateway,
        site_resolver: arguments.site_resolver,
        clock: Clock::default(),
    })
    .await?;

    announce(lab.ready())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        () = end_of_stdin(), if arguments.end_with_stdin => {}
    }
    tracing::info!("the lab ends");
    lab.stop().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn run_gateway(options: gateway::Options) -> anyhow::Result<()> {
    start_log();
    let (_gateway, ready) = gateway::start(options)?;
    announce(&ready)?;
    tokio::signal::ctrl_c().await?;
    tracing::info!("the gateway ends");
    Ok(())
}

fn make_override(options: OverrideOptions) -> anyhow::Result<()> {
    let wanted = overrides::Wanted {
        device: options.device,
        challenge: options.challenge,
        minutes: options.minutes,
        reason: options.reason,
        by: options.by,
    };
    let code = overrides::make(&options.state, wanted)?;
    writeln!(std::io::stdout(), "{code}")?;
    Ok(())
}

fn parse_minutes(text: &str) -> Result<u32, String> {
    let in_unit = |unit, minutes: u32| -> Option<u32> {
        let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(minutes)
    };
    let minutes = in_unit('m', 1).or_else(|| in_unit('h', 60));
    minutes.ok_or_else(|| "write a time as in 30m or 2h".to_owned())
}

fn start_log() {
    let wanted = std::env::var("ZTNA_LOG").ok();
    let filter = wanted.and_then(|wanted| wanted.parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        .with(filter)
        .init();
}

/// Tells whoever started this program that it listens, and where.
fn announce(ready: &impl Serialize) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", serde_json::to_string(ready)?)?;
    stdout.flush()?;
    Ok(())
}

async fn end_of_stdin() {
    let mut stdin = tokio::io::stdin();
    let mut discarded = [0; 256];
    while let Ok(1..) = stdin.read(&mut discarded).await {}
}

fn parse_ledger(text: &str) -> Result<RawPermguard, String> {
    let parts = text.split_once('/');
    parts
        .and_then(|(zone, ledger)| {
            Some(RawPermguard {
                zone: zone.parse().ok()?,
                ledger: ledger.to_owned(),
            })
        })
        .ok_or_else(|| {
            "write a zone's number and a ledger's id, as in 273165098782/fd1ac44e".to_owned()
        })
}

fn parse_gateway(text: &str) -> Result<ExternalGateway, String> {
    let (mut id, mut site, mut endpoint, mut public_key, mut uapi) = (None, None, None, None, None);
    for pair in text.split(',') {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("{pair:?} is not NAME=VALUE"))?;
        match name {
            "endpoint" => {
                let parsed = value
                    .parse::<Endpoint>()
                    .map_err(|error| error.to_string())?;
                endpoint = Some(parsed);
            }
            "id" => id = Some(value.to_owned()),
            "public-key" => public_key = Some(value.to_owned()),
            "site" => site = Some(value.to_owned()),
            "uapi" => uapi = Some(PathBuf::from(value)),
            _ => {
                return Err(format!(
                    "{name:?} is none of id, endpoint, public-key, uapi, site"
                ));
            }
        }
    }
    Ok(ExternalGateway {
        id: id.ok_or("id=… is missing")?,
        site,
        endpoint: endpoint.ok_or("endpoint=… is missing")?,
        public_key: public_key.ok_or("public-key=… is missing")?,
        uapi,
    })
}

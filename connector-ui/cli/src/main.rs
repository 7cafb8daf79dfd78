//! `ztna`: shows and steers the connector's service.

mod audit;
mod bundle;
mod command;
mod config;
mod decisions;
mod doctor;
mod exit;
mod manual;
mod output;
mod overriding;
mod policy;
mod posture;
mod repair;
mod request;
mod resources;
mod service;
mod session;
mod status;
mod table;
mod target;
mod text;
mod time;
mod trust;
mod version;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use connector_client::Service;

use crate::command::{Cli, DebugVerb, Verb};
use crate::exit::{Exit, Failure};
use crate::output::Printer;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error).into(),
    };
    let printer = Printer::for_stdout(cli.global.quiet, cli.global.color);
    let outcome = run(cli, &printer).await;
    outcome
        .unwrap_or_else(|failure| output::fail(&failure))
        .into()
}

async fn run(cli: Cli, printer: &Printer) -> Result<Exit, Failure> {
    let client = concat!("ztna ", env!("CARGO_PKG_VERSION"));
    let service = Service::new(client, cli.global.socket, cli.global.timeout);
    match cli.verb {
        Verb::Audit(verb) => audit::run(&verb, printer),
        Verb::Completion { shell } => output::completion(shell, &mut Cli::command(), printer),
        Verb::Config(args) => config::run(&service, &args, printer).await,
        Verb::Decisions(args) => decisions::run(&service, &args, printer).await,
        Verb::Debug(DebugVerb::Bundle(args)) => bundle::run(&service, &args, printer).await,
        Verb::Doctor(format) => doctor::run(&service, format, printer).await,
        Verb::Delegate(args) => trust::delegate(&service, &args, printer).await,
        Verb::Delegations(format) => trust::delegations(&service, format, printer).await,
        Verb::Down(args) => session::down(&service, &args, printer).await,
        Verb::Elevate(args) => trust::elevate(&service, &args, printer).await,
        Verb::Elevations(format) => trust::elevations(&service, format, printer).await,
        Verb::Login(args) => session::login(&service, &args, printer).await,
        Verb::Logout => session::logout(&service, printer).await,
        Verb::Manual { page } => manual::run(page.as_deref(), &Cli::command(), printer),
        Verb::Netcheck(format) => doctor::netcheck(&service, format, printer).await,
        Verb::Override(args) => overriding::run(&service, &args, printer).await,
        Verb::Policy(verb) => policy::run(&service, &verb, printer).await,
        Verb::Posture(args) => posture::run(&service, &args, printer).await,
        Verb::Repair(args) => repair::run(&args, printer),
        Verb::Request(args) => request::ask(&service, &args, printer).await,
        Verb::Requests(format) => request::list(&service, format, printer).await,
        Verb::Resources(format) => resources::run(&service, format, printer).await,
        Verb::Service(verb) => service::run(verb, printer),
        Verb::Status(args) => status::run(&service, &args, printer).await,
        Verb::Up => session::up(&service, printer).await,
        Verb::Version(format) => version::run(&service, format, printer).await,
        Verb::Whoami(format) => session::whoami(&service, format, printer).await,
        Verb::Why(args) => why::run(&service, &args, printer).await,
    }
}

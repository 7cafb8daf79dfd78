//! The developer's commands, called as `cargo xtask …` and `cargo demo`.

mod bench;
mod demo;
mod managed;
mod package;
mod process;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The developer's commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures ours beside what people use today
    Bench(bench::BenchArgs),
    /// Shows the whole product on this machine, without root
    Demo(demo::DemoArgs),
    /// Does nothing until its input ends; the demo runs it under a forbidden name
    #[command(hide = true)]
    Idle,
    /// Makes the templates for managing many devices from the table of settings
    Managed,
    /// Makes packages for Linux, the same bytes from the same sources
    Package(package::PackageArgs),
    /// Installs what the checks need and runs them all
    Test(test::TestArgs),
}

/// The command line; `cargo demo -- --keep` and `cargo demo --keep` mean the same.
fn arguments() -> impl Iterator<Item = std::ffi::OsString> {
    let separator = |place: usize, argument: &std::ffi::OsString| place == 2 && argument == "--";
    std::env::args_os()
        .enumerate()
        .filter(move |(place, argument)| !separator(*place, argument))
        .map(|(_, argument)| argument)
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse_from(arguments()).command {
        Command::Bench(args) => bench::run(args).map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => demo::run(args).map(|()| ExitCode::SUCCESS),
        Command::Idle => {
            // A failing read ends it as well as an end of input.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            Ok(ExitCode::SUCCESS)
        }
        Command::Managed => managed::write().map(|()| ExitCode::SUCCESS),
        Command::Package(args) => package::make(&args).map(|()| ExitCode::SUCCESS),
        Command::Test(args) => test::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        process::complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

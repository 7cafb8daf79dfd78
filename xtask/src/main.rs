//! The developer's commands, called as `cargo xtask …` and `cargo demo`.

mod demo;
mod process;
mod test;
mod workspace;

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
    /// Shows the whole product on this machine, without root
    Demo(demo::DemoArgs),
    /// Installs what the checks need and runs them all
    Test(test::TestArgs),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Test(args) => test::run(&args),
    }
}

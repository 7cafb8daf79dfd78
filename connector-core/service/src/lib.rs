//! The service: adapters around the pure core, and the loop that drives them.

mod adapters;
mod driver;
mod logging;
mod options;
mod service;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;
mod view;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use connector_platform::supervisor;

use crate::adapters::keys::Sealers;
use crate::options::Options;
use crate::service::Given;

/// Runs as the command line says, until the service is told to stop or an errand is done; what went
/// wrong has been reported when this returns.
#[must_use]
pub fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = if options.is_hosted() {
        supervisor::host(run_hosted).context("Failed to be run as a service by the system")
    } else {
        run(&options)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Runs as [`run`] does, on a thread of the system's choice.
fn run_hosted() -> bool {
    run(&Options::parse()).inspect_err(logging::report).is_ok()
}

fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(errand) = options.errand() {
        return Ok(errand.run()?);
    }
    let sources = options.sources()?;
    let managed = sources.read_managed()?;
    let settings = sources.settings(managed.clone())?;
    let (log, level) = logging::start(&settings)?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("Another TLS provider is installed already"))?;

    let given = Given {
        sealers: Sealers::find(&settings, options.audience()),
        audience: options.audience(),
        mode: options.mode(),
        settings,
        sources,
        managed,
        log,
        level,
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_stack_size(2 * connector_policy::policy::STACK)
        .enable_all()
        .build()?
        .block_on(service::run(given))
}

/// One thread for the tunnel's work, one for everything else.
const WORKERS: usize = 2;

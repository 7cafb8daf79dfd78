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
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use connector_platform::{signals, supervisor};
use tokio::sync::watch;

use crate::adapters::keys::Sealers;
use crate::adapters::managing::Renewal;
use crate::driver::Ending;
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
    let (lines, log) = logging::start(&settings)?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("Another TLS provider is installed already"))?;
    let is_to_end = listen_for_the_end()?;

    let mut current = Renewal::at_start(settings, managed);
    let mut before: Option<Renewal> = None;
    loop {
        log.set_format(current.settings.log_format)?;
        log.set_level(&current.settings.log_level)?;
        let given = Given {
            sealers: Sealers::find(&current.settings, options.audience()),
            audience: options.audience(),
            mode: options.mode(),
            current: current.clone(),
            sources: sources.clone(),
            is_to_end: is_to_end.clone(),
            lines: lines.clone(),
            log: log.clone(),
        };
        match (run_once(given), before.take()) {
            (Ok(Ending::ForGood), _) => return Ok(()),
            (Ok(Ending::Renewed(next)), _) => {
                tracing::info!("The service starts anew, with other settings");
                before = Some(std::mem::replace(&mut current, *next));
            }
            (Err(error), Some(before)) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "The service cannot run with the changed settings; the last good ones stay in force"
                );
                current = before.instead_of(current, &error);
            }
            (Err(error), None) => return Err(error),
        }
    }
}

/// Runs the service until it ends, and whatever it had going with it.
fn run_once(given: Given) -> anyhow::Result<Ending> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_stack_size(2 * connector_policy::policy::STACK)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(service::run(given));
    runtime.shutdown_timeout(LAST_WORK);
    ended
}

/// Returns what becomes true once the system asks the service to end, whichever runs then.
fn listen_for_the_end() -> anyhow::Result<watch::Receiver<bool>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut stop = runtime.block_on(async { signals::Stop::listen() })?;
    let (asked, is_asked) = watch::channel(false);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(stop.wait());
            asked.send_replace(true);
        })?;
    Ok(is_asked)
}

/// One thread for the tunnel's work, one for everything else.
const WORKERS: usize = 2;

/// What is being measured or looked up when the service ends is not waited for longer.
const LAST_WORK: Duration = Duration::from_secs(2);

//! `ztnad`: the service.

mod adapters;
mod driver;
mod logging;
mod options;
mod service;
mod settings;
mod view;

use std::process::ExitCode;

use clap::Parser;
use connector_platform::steering;

use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    if options.is_for_resolver_file() {
        let (request, answer) = (std::io::stdin().lock(), std::io::stdout().lock());
        return Ok(steering::change_resolver_file(request, answer)?);
    }
    let settings = options.settings()?;
    logging::start(&settings)?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("Another TLS provider is installed already"))?;

    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?
        .block_on(service::run(settings, options.mode()))
}

/// One thread for the tunnel's work, one for everything else.
const WORKERS: usize = 2;

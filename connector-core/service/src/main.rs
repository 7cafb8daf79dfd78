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

use crate::adapters::keys::Sealers;
use crate::options::Options;
use crate::service::Given;

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
    let settings = options.settings()?;
    let log = logging::start(&settings)?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("Another TLS provider is installed already"))?;

    let given = Given {
        sealers: Sealers::find(&settings),
        mode: options.mode(),
        settings,
        log,
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?
        .block_on(service::run(given))
}

/// One thread for the tunnel's work, one for everything else.
const WORKERS: usize = 2;

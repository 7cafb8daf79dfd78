//! Listens to the company's transmitter of security events: SSF 1.0 with delivery
//! by poll (RFC 8936).
//!
//! An event takes effect first and is acknowledged then, once its name and what
//! outlives a restart are on the disk: a crash in between leads to its being sent
//! again, and an event that takes effect twice narrows no more than once.

mod kept;
mod listening;
mod signatures;
mod stream;

use std::sync::Arc;

use connector_core::configuration::Signals as Transmitter;
use connector_core::connector::Compliance;
use connector_core::signals::Revocation;
use tokio::sync::watch;

pub(crate) use self::kept::Kept;
#[cfg(feature = "testing")]
pub(crate) use self::kept::rewrite;
use super::control::ControlState;
use super::http::Http;
use super::{Events, Orders, Task};

/// What listening needs.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) http: Http,
    /// Who this host is, to the transmitter too.
    pub(crate) control: watch::Receiver<ControlState>,
    pub(crate) orders: Orders,
    pub(crate) events: Events,
}

/// Listens to one transmitter at a time.
#[derive(Debug)]
pub(crate) struct Signals {
    config: Config,
    kept: Arc<Kept>,
    listening: Option<Task>,
}

impl Signals {
    /// Starts with what earlier runs left; listens to nobody yet.
    pub(crate) fn new(config: Config, kept: Kept) -> Self {
        Self {
            config,
            kept: Arc::new(kept),
            listening: None,
        }
    }

    /// Listens to `transmitter` from now on, or to nobody.
    pub(crate) fn follow(&mut self, transmitter: Option<Transmitter>) {
        self.listening = transmitter.map(|transmitter| {
            tracing::info!(issuer = %transmitter.issuer, "Listening to signals");
            let (config, kept) = (self.config.clone(), Arc::clone(&self.kept));
            Task::spawn(listening::listen(transmitter, config, kept))
        });
    }

    /// Keeps this for the next start, with the name of the event that said it.
    pub(crate) fn remember(&self, compliance: Compliance) {
        self.kept.set_compliance(compliance);
    }

    /// Keeps these revocations, and no others, for the next start.
    pub(crate) fn remember_revocations(&self, revocations: Vec<Revocation>) {
        if let Err(error) = self.kept.set_revocations(revocations) {
            tracing::error!(%error, "What ends a stored sign-in could not be kept for the next start");
        }
    }
}

/// Says what is wrong with a stream's status, if anything is.
#[cfg(feature = "testing")]
pub(crate) fn status_problem(body: &[u8]) -> Option<String> {
    let problem = stream::read_status(body).err();
    problem.map(|problem| problem.to_string())
}

//! How far a collector is, across restarts.

use connector_core::audit::chain::LogId;
use connector_platform::private::PrivateDir;
use serde::{Deserialize, Serialize};

use crate::adapters::decisions::Delivered;

/// The last line that a collector has.
#[derive(Debug)]
pub(super) struct Cursor {
    state: PrivateDir,
    name: &'static str,
    log: Option<LogId>,
    delivered: Delivered,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    log: LogId,
    through: u64,
}

impl Cursor {
    /// Goes on where the last run was; one that cannot be read begins anew, since
    /// lines may come twice, but not never.
    pub(super) fn open(state: PrivateDir, name: &'static str) -> Self {
        Self::open_as(state, name, Delivered::default())
    }

    /// Does so where others look at how far it is already.
    pub(super) fn open_as(state: PrivateDir, name: &'static str, delivered: Delivered) -> Self {
        let stored = state.read(name).ok().flatten();
        let stored: Option<Stored> = stored.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        delivered.set(stored.as_ref().map_or(0, |stored| stored.through));
        Self {
            state,
            name,
            log: stored.map(|stored| stored.log),
            delivered,
        }
    }

    pub(super) fn delivered(&self) -> Delivered {
        self.delivered.clone()
    }

    /// Returns the number of the last line of `log` that the collector has.
    pub(super) fn after(&self, log: &LogId) -> u64 {
        match &self.log {
            Some(known) if known == log => self.delivered.through(),
            Some(_) | None => 0,
        }
    }

    /// Keeps that the collector has everything up to `through`.
    pub(super) fn advance(&mut self, log: &LogId, through: u64) {
        self.rewind(log, through);
        let stored = Stored {
            log: log.clone(),
            through,
        };
        let kept = serde_json::to_vec(&stored)
            .map_err(anyhow::Error::from)
            .and_then(|bytes| Ok(self.state.write(self.name, &bytes)?));
        if let Err(error) = kept {
            // They are delivered again after a restart.
            tracing::warn!(%error, "How far the decision log was delivered could not be kept");
        }
    }

    /// Goes back to what the collector says that it has.
    pub(super) fn rewind(&mut self, log: &LogId, through: u64) {
        self.log = Some(log.clone());
        self.delivered.set(through);
    }
}

//! Whoever collects telemetry, which the administrator may change while the service runs.

use std::path::PathBuf;

use connector_platform::private::PrivateDir;
use tokio::sync::watch;

use super::cursor::Cursor;
use super::otlp::{OtlpEndpoint, OtlpLogs};
use super::reader::Reader;
use super::{Courier, Destination, MAX_BATCH};
use crate::adapters::decisions::{Delivered, Written};
use crate::adapters::http::Http;

/// What bringing the log to a collector needs.
pub(super) struct Collector {
    pub(super) http: Http,
    pub(super) state: PrivateDir,
    pub(super) log_dir: PathBuf,
    pub(super) delivered: Delivered,
    pub(super) written: watch::Receiver<Written>,
    pub(super) problem: watch::Sender<Option<String>>,
}

impl Collector {
    /// Brings the log to whoever collects it at the moment. A new one goes on where the one
    /// before was.
    pub(super) async fn follow(self, mut wanted: watch::Receiver<Option<OtlpEndpoint>>) {
        loop {
            let endpoint = wanted.borrow_and_update().clone();
            self.problem.send_replace(None);
            let delivering = async {
                match endpoint {
                    Some(endpoint) => self.courier(endpoint).run().await,
                    None => self.delivered.nobody_asks(),
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = delivering => {}
            }
        }
    }

    fn courier(&self, endpoint: OtlpEndpoint) -> Courier {
        let delivered = self.delivered.clone();
        Courier {
            destination: Destination::Otlp(OtlpLogs::new(self.http.clone(), endpoint)),
            cursor: Cursor::open_as(self.state.clone(), CURSOR, delivered),
            reader: Some(Reader::new(self.log_dir.clone())),
            written: self.written.clone(),
            problem: self.problem.clone(),
            failures: 0,
            batch_limit: MAX_BATCH,
        }
    }
}

/// Returns how far the collector is, if there is one.
pub(super) fn delivered(state: &PrivateDir, endpoint: Option<&OtlpEndpoint>) -> Delivered {
    let delivered = Cursor::open(state.clone(), CURSOR).delivered();
    if endpoint.is_none() {
        delivered.nobody_asks();
    }
    delivered
}

const CURSOR: &str = "decisions.otlp";

//! Brings the decision log to whoever collects it, at least once, from its own
//! files: there is no second copy, and nothing is held in memory but one batch.

mod collector;
mod cursor;
mod otlp;
mod reader;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use connector_ipc::RecordsReport;
use connector_platform::private::PrivateDir;
use http::StatusCode;
use tokio::sync::watch;

use self::collector::Collector;
use self::cursor::Cursor;
pub(crate) use self::otlp::OtlpEndpoint;
use self::otlp::OtlpLogs;
#[cfg(feature = "testing")]
pub(crate) use self::otlp::{export_request, rejected};
use self::reader::{Batch, Reader};
use super::Task;
use super::control::{ApiError, ControlPlane, ControlState};
use super::decisions::{Delivered, Written};
use super::http::{Http, HttpError};

/// How far each collector is, as earlier runs left it.
#[derive(Debug)]
pub(crate) struct Cursors {
    state: PrivateDir,
    log_dir: PathBuf,
    control_plane: Cursor,
    /// How far the collector of telemetry is, while there is one.
    otlp: Delivered,
}

impl Cursors {
    pub(crate) fn open(state: &PrivateDir, log_dir: PathBuf, otlp: Option<&OtlpEndpoint>) -> Self {
        Self {
            log_dir,
            control_plane: Cursor::open(state.clone(), "decisions.delivered"),
            otlp: collector::delivered(state, otlp),
            state: state.clone(),
        }
    }

    /// Returns what the log asks before it drops a file.
    pub(crate) fn delivered(&self) -> Vec<Delivered> {
        vec![self.control_plane.delivered(), self.otlp.clone()]
    }
}

/// What shipping needs.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) written: watch::Receiver<Written>,
    pub(crate) api: ControlPlane,
    pub(crate) control: watch::Receiver<ControlState>,
    pub(crate) http: Http,
    /// Who collects telemetry, which may change.
    pub(crate) otlp: watch::Receiver<Option<OtlpEndpoint>>,
}

/// Brings the log to its collectors until dropped.
#[derive(Debug)]
pub(crate) struct Shipping {
    shipments: Shipments,
    _tasks: Vec<Task>,
}

/// What front-ends are shown of the log and its way.
#[derive(Debug, Clone)]
pub(crate) struct Shipments {
    written: watch::Receiver<Written>,
    /// How far each collector is; the control plane's comes first.
    collectors: Vec<(Delivered, watch::Receiver<Option<String>>)>,
}

impl Shipping {
    pub(crate) fn start(config: Config, cursors: Cursors) -> Self {
        let destination = Destination::ControlPlane {
            api: config.api,
            control: config.control,
        };
        let (problem, shown) = watch::channel(None);
        let delivered = cursors.control_plane.delivered();
        let courier = Courier {
            destination,
            cursor: cursors.control_plane,
            reader: Some(Reader::new(cursors.log_dir.clone())),
            written: config.written.clone(),
            problem,
            failures: 0,
            batch_limit: MAX_BATCH,
        };
        let (otlp_problem, otlp_shown) = watch::channel(None);
        let collectors = vec![(delivered, shown), (cursors.otlp.clone(), otlp_shown)];
        let collector = Collector {
            http: config.http,
            state: cursors.state,
            log_dir: cursors.log_dir,
            delivered: cursors.otlp,
            written: config.written.clone(),
            problem: otlp_problem,
        };
        let tasks = vec![
            Task::spawn(courier.run()),
            Task::spawn(collector.follow(config.otlp)),
        ];
        Self {
            shipments: Shipments {
                written: config.written,
                collectors,
            },
            _tasks: tasks,
        }
    }

    pub(crate) fn shipments(&self) -> Shipments {
        self.shipments.clone()
    }
}

impl Shipments {
    pub(crate) fn report(&self) -> RecordsReport {
        let written = self.written.borrow().clone();
        let delivered = self
            .collectors
            .first()
            .map(|(delivered, _)| delivered.through())
            .filter(|through| *through != u64::MAX);
        let stuck = self
            .collectors
            .iter()
            .find_map(|(_, problem)| problem.borrow().clone());
        RecordsReport {
            written: written.through,
            sealed: written.sealed,
            delivered: delivered.map(|through| through.min(written.through)),
            dropped: written.dropped,
            problem: written.problem.or(stuck),
        }
    }
}

/// Who collects the log.
#[derive(Debug)]
enum Destination {
    ControlPlane {
        api: ControlPlane,
        control: watch::Receiver<ControlState>,
    },
    Otlp(OtlpLogs),
}

/// What became of a batch.
#[derive(Debug)]
enum Answer {
    /// The collector has everything up to here, which may be less than it was sent.
    Has(u64),
    /// Nobody takes lines there.
    NotWanted,
}

impl Destination {
    async fn deliver(&mut self, batch: &Batch) -> Result<Answer, Undelivered> {
        match self {
            Self::ControlPlane { api, control } => {
                let known = control.wait_for(|state| state.credential.is_some()).await;
                let credential = known.ok().and_then(|state| state.credential.clone());
                let Some(credential) = credential else {
                    return Err(Undelivered::Stopping);
                };
                let lines = batch.lines.clone();
                match api.deliver_records(&credential, batch.after, lines).await? {
                    None => Ok(Answer::NotWanted),
                    Some(accepted) if accepted.log == batch.log => {
                        Ok(Answer::Has(accepted.through.min(batch.last)))
                    }
                    Some(_) => Err(Undelivered::OtherLog),
                }
            }
            Self::Otlp(logs) => {
                logs.export(batch).await?;
                Ok(Answer::Has(batch.last))
            }
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::ControlPlane { .. } => "the control plane",
            Self::Otlp(_) => "the OTLP collector",
        }
    }
}

/// Why a batch was not taken; it is tried again.
#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("it answered for another log")]
    OtherLog,
    #[error("it refused ({status})")]
    Refused {
        status: StatusCode,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    #[error("the service is stopping")]
    Stopping,
}

impl Undelivered {
    fn is_too_large(&self) -> bool {
        let status = match self {
            Self::Api(ApiError::Refused { status, .. }) | Self::Refused { status, .. } => *status,
            Self::Api(_) | Self::Http(_) | Self::OtherLog | Self::Stopping => return false,
        };
        status == StatusCode::PAYLOAD_TOO_LARGE
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Api(_) | Self::Http(_) | Self::OtherLog | Self::Stopping => None,
        }
    }
}

/// Brings the log to one collector.
struct Courier {
    destination: Destination,
    cursor: Cursor,
    /// Away while it reads.
    reader: Option<Reader>,
    written: watch::Receiver<Written>,
    /// Why nothing gets there, for people.
    problem: watch::Sender<Option<String>>,
    failures: u32,
    batch_limit: usize,
}

impl Courier {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            match self.destination.deliver(&batch).await {
                Ok(Answer::NotWanted) => {
                    tracing::info!(
                        to = self.destination.name(),
                        "The decision log is not collected there"
                    );
                    self.cursor.delivered().nobody_asks();
                    return;
                }
                Ok(Answer::Has(through)) if through >= batch.first => {
                    self.cursor.advance(&batch.log, through);
                    self.failures = 0;
                    self.problem
                        .send_if_modified(|problem| problem.take().is_some());
                    if batch.is_all {
                        tokio::time::sleep(BETWEEN_BATCHES).await;
                    }
                }
                Ok(Answer::Has(through)) => {
                    // It has lost something, or wants what came before: go back to where it is.
                    self.cursor.rewind(&batch.log, through);
                    self.failed(None).await;
                }
                Err(Undelivered::Stopping) => return,
                Err(error) => {
                    if error.is_too_large() {
                        self.batch_limit = (self.batch_limit / 2).max(MIN_BATCH);
                    }
                    let to = self.destination.name();
                    if self.failures == 0 {
                        tracing::warn!(%error, to, "The decision log cannot be delivered; it is tried again");
                    }
                    let message = format!("the decision log cannot be delivered to {to}: {error}");
                    self.problem.send_replace(Some(message));
                    self.failed(error.retry_after()).await;
                }
            }
        }
    }

    /// Waits for lines that were not delivered yet; none if the log has ended.
    async fn next_batch(&mut self) -> Option<Batch> {
        loop {
            let written = {
                let cursor = &self.cursor;
                let known = self.written.wait_for(|written| {
                    written
                        .log
                        .as_ref()
                        .is_some_and(|log| cursor.after(log) < written.through)
                });
                known.await.ok()?.clone()
            };
            let log = written.log?;
            let after = self.cursor.after(&log);
            let mut reader = self.reader.take()?;
            let limit = self.batch_limit;
            let read = tokio::task::spawn_blocking(move || {
                let batch = reader.read(&log, after, written.through, limit);
                (reader, log, batch)
            });
            let (reader, log, batch) = read.await.ok()?;
            self.reader = Some(reader);
            match batch {
                Ok(Some(batch)) => return Some(batch),
                // Nothing of it is there any more, which the log itself tells of.
                Ok(None) => self.cursor.advance(&log, written.through),
                Err(error) => {
                    tracing::warn!(%error, "The decision log cannot be read for delivery");
                    self.failed(None).await;
                }
            }
        }
    }

    /// Waits longer each time, and never as long as others who failed at the same moment.
    async fn failed(&mut self, retry_after: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        let pause = backoff(self.failures, jitter());
        let asked_for = retry_after.unwrap_or_default().min(LONGEST_PAUSE);
        tokio::time::sleep(pause.max(asked_for)).await;
    }
}

/// Returns the pause after so many failures in a row: between half and all of a
/// doubling time; `jitter` of 255 is all of it.
fn backoff(failures: u32, jitter: u8) -> Duration {
    let doubled = SHORTEST_PAUSE * 2_u32.saturating_pow(failures.saturating_sub(1).min(10));
    let longest = doubled.min(LONGEST_PAUSE);
    longest / 2 + longest / 2 * u32::from(jitter) / 255
}

fn jitter() -> u8 {
    let mut byte = [0];
    // Without randomness, all the same is better than not at all.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

/// About two hundred lines; the control plane takes bodies of 1 MiB.
const MAX_BATCH: usize = 256 * 1024;

/// A collector that refuses even this much will not take a line.
const MIN_BATCH: usize = 16 * 1024;

/// Lets lines gather, so that a busy log is not a request for each.
const BETWEEN_BATCHES: Duration = Duration::from_millis(500);

const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// Short enough that an anchor is not long in coming once the collector is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

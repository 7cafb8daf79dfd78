//! The decision log: one line of JSON for each decision, written before
//! anything comes of it, in a chain with signed checkpoints.

mod files;
mod log;
mod report;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use connector_core::audit::Matter;
use connector_core::audit::seal::Lost;
use connector_core::connector::{Attempt, Event};
use connector_ipc::DecisionReport;
use connector_platform::clock;
use tokio::sync::{broadcast, watch};

use self::log::Log;
pub(crate) use self::log::{Config, Delivered, FILE_LIMIT, LogError, Written};
pub(crate) use self::report::from_ocsf;
use super::Events;

/// Writes decisions down on a thread of its own.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    entries: Option<SyncSender<Entry>>,
    thread: Option<thread::JoinHandle<()>>,
    recent: Recent,
    events: Events,
    overflow: Overflow,
    written: watch::Receiver<Written>,
}

type Entry = (Option<Attempt>, Matter);

/// Decisions that found the queue full, until the log tells of them.
type Overflow = Arc<Mutex<Option<Lost>>>;

/// The latest decisions, and new ones as they are made.
#[derive(Debug, Clone)]
pub(crate) struct Recent {
    latest: Arc<Mutex<VecDeque<DecisionReport>>>,
    feed: broadcast::Sender<DecisionReport>,
}

impl DecisionLog {
    /// Opens the log and goes on with the chain where it ended.
    pub(crate) fn open(config: Config, events: Events) -> Result<Self, LogError> {
        let recent = Recent::new();
        let (sender, written) = watch::channel(Written::default());
        let log = Log::open(config, &recent, sender)?;
        let overflow = Overflow::default();
        let (entries, queue) = sync_channel(QUEUE);
        let writer = Writer {
            log,
            recent: recent.clone(),
            events: events.clone(),
            overflow: Arc::clone(&overflow),
        };
        let thread = thread::Builder::new()
            .name("decisions".into())
            .spawn(move || writer.run(&queue))
            .map_err(LogError::Thread)?;
        Ok(Self {
            entries: Some(entries),
            thread: Some(thread),
            recent,
            events,
            overflow,
            written,
        })
    }

    /// Writes `matter`; whether that worked comes as an event if `attempt` is given.
    pub(crate) fn write(&self, attempt: Option<Attempt>, matter: Matter) {
        let report = attempt.map(|attempt| report(attempt, &matter, false));
        let refused = match &self.entries {
            Some(entries) => entries.try_send((attempt, matter)).is_err(),
            None => true,
        };
        if refused {
            tracing::error!("The decision log cannot keep up");
            let mut overflow = lock(&self.overflow);
            *overflow = Some(Lost::and(*overflow, 1, clock::now().wall));
            drop(overflow);
            if let Some(report) = report {
                // With the event queue full as well, the core's own deadline refuses.
                let _ = self.events.try_send(report);
            }
        }
    }

    pub(crate) fn recent(&self) -> Recent {
        self.recent.clone()
    }

    /// Returns how far the log is.
    pub(crate) fn written(&self) -> watch::Receiver<Written> {
        self.written.clone()
    }

    /// Writes what is waiting, to the disk.
    pub(crate) fn close(self) {
        drop(self);
    }
}

impl Drop for DecisionLog {
    /// Waits for the writer: nobody else may open the log before it has ended.
    fn drop(&mut self) {
        self.entries = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The decision log's thread failed");
        }
    }
}

impl Recent {
    fn new() -> Self {
        Self {
            latest: Arc::default(),
            feed: broadcast::Sender::new(FEED),
        }
    }

    /// Returns the latest decisions, oldest first, and the ones to come.
    pub(crate) fn follow(&self) -> (Vec<DecisionReport>, broadcast::Receiver<DecisionReport>) {
        let latest = lock(&self.latest);
        (latest.iter().cloned().collect(), self.feed.subscribe())
    }

    fn push(&self, report: DecisionReport) {
        let mut latest = lock(&self.latest);
        if latest.len() == KEPT {
            latest.pop_front();
        }
        latest.push_back(report.clone());
        // Nobody may be listening.
        let _ = self.feed.send(report);
    }
}

/// Tells whoever wants to know whether a matter was written down.
fn report(attempt: Attempt, matter: &Matter, written: bool) -> Event {
    match matter {
        Matter::Decision(_)
        | Matter::Plea(_)
        | Matter::Protection(_)
        | Matter::Rejection(_)
        | Matter::Signal(_) => Event::Recorded { attempt, written },
        Matter::Trust(_) => Event::TrustRecorded { attempt, written },
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    log: Log,
    recent: Recent,
    events: Events,
    overflow: Overflow,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Entry>) {
        loop {
            match queue.recv_timeout(self.log.pause(Instant::now())) {
                Ok(first) => self.write(first, queue),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.take_overflow();
            self.log.settle(Instant::now(), clock::now().wall);
        }
        self.take_overflow();
        self.log.close(clock::now().wall);
    }

    fn take_overflow(&mut self) {
        if let Some(lost) = lock(&self.overflow).take() {
            self.log.overflowed(lost);
        }
    }

    /// Writes all that is waiting with one write, and then says so.
    fn write(&mut self, first: Entry, queue: &Receiver<Entry>) {
        let batch = std::iter::once(first).chain(queue.try_iter());
        let (attempts, records): (Vec<_>, Vec<_>) = batch.take(BATCH).unzip();

        let outcome = self.log.append(&records, clock::now().wall);
        let written = outcome.is_ok();
        match outcome {
            Ok(events) => {
                for report in events.iter().filter_map(from_ocsf) {
                    self.recent.push(report);
                }
            }
            Err(error) => {
                tracing::error!(%error, count = records.len(), "Decisions could not be written down");
            }
        }
        for (attempt, record) in attempts.into_iter().zip(&records) {
            if let Some(attempt) = attempt {
                // A driver that has ended wants no report.
                let _ = self.events.blocking_send(report(attempt, record, written));
            }
        }
    }
}

/// Decisions that wait to be written; more means that the disk has stopped.
const QUEUE: usize = 1024;

/// Decisions in one write: enough that the write costs little for each, few enough
/// that the first does not wait long for the last.
const BATCH: usize = 256;

/// Decisions that front-ends can look back at.
const KEPT: usize = 500;

/// Decisions that a slow follower may fall behind by.
const FEED: usize = 256;

#[cfg(test)]
mod tests;

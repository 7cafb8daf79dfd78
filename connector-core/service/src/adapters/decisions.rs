//! The decision log: one line of JSON for each decision, written before
//! anything comes of it.

mod report;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use connector_core::audit::Record;
use connector_core::connector::{Attempt, Event};
use connector_ipc::DecisionReport;
use connector_platform::private::{PrivateDir, PrivateError};
use serde_json::Value;
use tokio::sync::{broadcast, mpsc};

pub(crate) use self::report::from_ocsf;
use super::Events;

/// Writes decisions down on a thread of its own.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    entries: Option<mpsc::Sender<Entry>>,
    thread: Option<thread::JoinHandle<()>>,
    recent: Recent,
    events: Events,
    lost: Arc<AtomicU64>,
}

type Entry = (Option<Attempt>, Box<Record>);

/// The latest decisions, and new ones as they are made.
#[derive(Debug, Clone)]
pub(crate) struct Recent {
    latest: Arc<Mutex<VecDeque<DecisionReport>>>,
    feed: broadcast::Sender<DecisionReport>,
}

impl DecisionLog {
    /// Opens the log and goes on with the numbering where it ended.
    pub(crate) fn open(dir: PrivateDir, events: Events) -> Result<Self, LogError> {
        let recent = Recent::new();
        let file = LogFile::open(dir, &recent)?;
        let lost = Arc::default();
        let (entries, queue) = mpsc::channel(QUEUE);
        let writer = Writer {
            file,
            recent: recent.clone(),
            events: events.clone(),
            lost: Arc::clone(&lost),
        };
        let thread = thread::Builder::new()
            .name("decisions".into())
            .spawn(move || writer.run(queue))
            .map_err(LogError::Thread)?;
        Ok(Self {
            entries: Some(entries),
            thread: Some(thread),
            recent,
            events,
            lost,
        })
    }

    /// Writes `record`; whether that worked comes as an event if `attempt` is given.
    pub(crate) fn write(&self, attempt: Option<Attempt>, record: Box<Record>) {
        let refused = match &self.entries {
            Some(entries) => entries.try_send((attempt, record)).is_err(),
            None => true,
        };
        if refused {
            tracing::error!("The decision log cannot keep up");
            self.lost.fetch_add(1, Ordering::Relaxed);
            if let Some(attempt) = attempt {
                // With the event queue full as well, the core's own deadline refuses.
                let _ = self.events.try_send(Event::Recorded {
                    attempt,
                    written: false,
                });
            }
        }
    }

    pub(crate) fn recent(&self) -> Recent {
        self.recent.clone()
    }

    /// Writes what is waiting, to the disk.
    pub(crate) fn close(mut self) {
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
        let latest = self.lock();
        (latest.iter().cloned().collect(), self.feed.subscribe())
    }

    fn push(&self, report: DecisionReport) {
        let mut latest = self.lock();
        if latest.len() == KEPT {
            latest.pop_front();
        }
        latest.push_back(report.clone());
        // Nobody may be listening.
        let _ = self.feed.send(report);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<DecisionReport>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer {
    file: LogFile,
    recent: Recent,
    events: Events,
    /// Decisions that found the queue full, and left their numbers unused.
    lost: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Entry>) {
        while let Some((attempt, record)) = queue.blocking_recv() {
            self.file.next += self.lost.swap(0, Ordering::Relaxed);
            let outcome = self.file.append(&record);
            let written = outcome.is_ok();
            match outcome {
                Ok(event) => {
                    if let Some(report) = from_ocsf(&event) {
                        self.recent.push(report);
                    }
                }
                Err(error) => tracing::error!(%error, "A decision could not be written down"),
            }
            if let Some(attempt) = attempt {
                // A driver that has ended wants no report.
                let _ = self
                    .events
                    .blocking_send(Event::Recorded { attempt, written });
            }
        }
        if let Err(error) = self.file.file.sync_all() {
            tracing::error!(%error, "The decision log could not be brought to the disk");
        }
    }
}

struct LogFile {
    dir: PrivateDir,
    file: File,
    length: u64,
    next: u64,
}

impl LogFile {
    fn open(dir: PrivateDir, recent: &Recent) -> Result<Self, LogError> {
        let wrap = |problem| LogError::Read {
            path: dir.path(LOG).display().to_string(),
            problem,
        };
        let mut file = dir.append(LOG)?;
        let mut last = 0;
        let mut whole = true;
        let mut lines = BufReader::new(&mut file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(wrap)? > 0 {
            whole = line.ends_with(b"\n");
            if let Ok(event) = serde_json::from_slice::<Value>(&line) {
                last = event["metadata"]["sequence"].as_u64().unwrap_or(last);
                if let Some(report) = from_ocsf(&event) {
                    recent.push(report);
                }
            }
            line.clear();
        }
        if !whole {
            // The service was killed in the middle of a line: end it, so that it stays one line.
            file.write_all(b"\n").map_err(wrap)?;
        }
        let length = file.seek(SeekFrom::End(0)).map_err(wrap)?;
        if length == 0 {
            last = last_of_rotated(&dir);
        }
        Ok(Self {
            dir,
            file,
            length,
            next: last + 1,
        })
    }

    /// Appends one line with one write, so that a line is there as a whole or not at all.
    fn append(&mut self, record: &Record) -> io::Result<Value> {
        if self.length >= MAX_LOG {
            self.rotate()?;
        }
        let event = record.to_ocsf(self.next, env!("CARGO_PKG_VERSION"));
        // A number that is missing in the log tells of a decision that was lost.
        self.next += 1;
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // What was written of it must not run into the next line.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(event)
    }

    /// Sets the full log aside. Nothing is moved before the next one is there, and
    /// a log that somebody else has moved already is no obstacle.
    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let fresh = self
            .dir
            .append(NEXT_LOG)
            .map_err(|error| io::Error::other(error.to_string()))?;
        if self.dir.path(LOG).exists() {
            for age in (1..ROTATED).rev() {
                let older = format!("{LOG}.{}", age + 1);
                rename_if_there(&self.dir, &format!("{LOG}.{age}"), &older)?;
            }
            rename_if_there(&self.dir, LOG, &format!("{LOG}.1"))?;
        }
        rename_if_there(&self.dir, NEXT_LOG, LOG)?;
        self.length = fresh.metadata()?.len();
        self.file = fresh;
        Ok(())
    }
}

fn rename_if_there(dir: &PrivateDir, from: &str, to: &str) -> io::Result<()> {
    match std::fs::rename(dir.path(from), dir.path(to)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn last_of_rotated(dir: &PrivateDir) -> u64 {
    let rotated = dir
        .read(&format!("{LOG}.1"))
        .ok()
        .flatten()
        .unwrap_or_default();
    let last = rotated
        .split(|byte| *byte == b'\n')
        .rfind(|line| !line.is_empty());
    last.and_then(|line| serde_json::from_slice::<Value>(line).ok())
        .and_then(|event| event["metadata"]["sequence"].as_u64())
        .unwrap_or(0)
}

/// Why there is no decision log; without one, nothing is permitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Private(#[from] PrivateError),
    #[error("cannot read {path}: {problem}")]
    Read { path: String, problem: io::Error },
    #[error("cannot start the decision log's thread: {0}")]
    Thread(io::Error),
}

const LOG: &str = "decisions.jsonl";

/// The next log, until the full one is set aside.
const NEXT_LOG: &str = "decisions.jsonl.new";

/// About ten thousand decisions; small enough to be read at each start.
const MAX_LOG: u64 = 10 * 1024 * 1024;

/// How many full logs are kept beside the one that is written.
const ROTATED: u32 = 5;

/// Decisions that wait to be written; more means that the disk has stopped.
const QUEUE: usize = 1024;

/// Decisions that front-ends can look back at.
const KEPT: usize = 500;

/// Decisions that a slow follower may fall behind by.
const FEED: usize = 256;

#[cfg(test)]
mod tests;

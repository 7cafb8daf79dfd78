//! What is written when: records, checkpoints, and what is told of gaps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use connector_core::audit::Matter;
use connector_core::audit::chain::{Chain, Entry, Line, Link, LogId};
use connector_core::audit::seal::{Cause, Lost};
use connector_core::time::WallTime;
use connector_platform::clock;
use connector_platform::decision_log::ANCHOR;
use connector_platform::event_log::{self, Kind, Severity};
use connector_platform::private::PrivateDir;
use ed25519_dalek::SigningKey;
use serde_json::Value;
use tokio::sync::watch;

use super::files::{Files, OpenError};
use super::{Recent, from_ocsf};
use crate::adapters::keys::{self, KeyError};

/// What the log needs.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where it is written.
    pub(crate) dir: PrivateDir,
    /// Where the latest checkpoint is kept, apart from it.
    pub(crate) state: PrivateDir,
    /// Signs checkpoints.
    pub(crate) key: SigningKey,
    /// How far it was taken by others.
    pub(crate) delivered: Vec<Delivered>,
    /// The size at which a file is set aside, in bytes.
    pub(crate) file_limit: u64,
}

/// The number of the last line that somebody elsewhere has taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delivered(Arc<AtomicU64>);

impl Delivered {
    pub(crate) fn through(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, through: u64) {
        self.0.store(through, Ordering::Relaxed);
    }

    /// Nobody wants the lines, so nobody misses them either.
    pub(crate) fn nobody_asks(&self) {
        self.set(u64::MAX);
    }
}

/// How far the log is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// The log; none before the first line.
    pub(crate) log: Option<LogId>,
    /// The number of the last line.
    pub(crate) through: u64,
    /// The number of the last checkpoint.
    pub(crate) sealed: u64,
    /// Lines that were dropped in this run before anybody took them.
    pub(crate) dropped: u64,
    /// Why nothing can be written, while that is so.
    pub(crate) problem: Option<String>,
}

/// The log, as its thread writes it.
#[derive(Debug)]
pub(super) struct Log {
    config: Config,
    files: Files,
    chain: Chain,
    oldest: u64,
    /// What is to be told as soon as something can be written.
    owed: Vec<Cause>,
    unwritten: Option<Lost>,
    overflowed: Option<Lost>,
    /// Lines since the last checkpoint, and since when there are any.
    unsealed: Option<(u64, Instant)>,
    /// Since when there are lines that may not be on the disk.
    unsynced: Option<Instant>,
    /// The latest checkpoint, if it is not kept in the state directory yet.
    anchor: Option<Vec<u8>>,
    retry_at: Option<Instant>,
    shown: watch::Sender<Written>,
}

impl Log {
    /// Opens the log, tells of what is missing since the last run, and begins a new one.
    pub(super) fn open(
        config: Config,
        recent: &Recent,
        shown: watch::Sender<Written>,
    ) -> Result<Self, LogError> {
        let anchor = config.state.read(ANCHOR).map_err(OpenError::from)?;
        let anchor = anchor.and_then(|line| Entry::parse(&line).ok());
        let (files, left) = Files::open(config.dir.clone(), |line| {
            let event = serde_json::from_slice::<Value>(line).ok();
            if let Some(report) = event.as_ref().and_then(from_ocsf) {
                recent.push(report);
            }
        })?;
        let (next, owed) = resume(anchor.as_ref(), left.last.as_ref(), left.torn, &files)?;

        let mut log = Self {
            oldest: files
                .oldest()
                .map_or(next.sequence, |entry| entry.link.sequence),
            chain: Chain::new(next, env!("CARGO_PKG_VERSION")),
            config,
            files,
            owed,
            unwritten: None,
            overflowed: None,
            unsealed: None,
            unsynced: None,
            anchor: None,
            retry_at: None,
            shown,
        };
        let now = clock::now().wall;
        if let Err(error) = log.append(&[], now) {
            // Decisions are refused until it can be written; the service has to run to say so.
            tracing::error!(%error, "The decision log cannot be written");
        }
        log.keep();
        Ok(log)
    }

    /// Writes `records`, after what is owed, with one write. Returns them as they are in the log.
    pub(super) fn append(&mut self, records: &[Matter], now: WallTime) -> io::Result<Vec<Value>> {
        let outcome = self.try_append(records, now);
        if let Err(error) = &outcome {
            let count = records.len() as u64;
            if count > 0 {
                self.unwritten = Some(Lost::and(self.unwritten, count, now));
            }
            self.retry_at = Some(Instant::now() + RETRY_AFTER);
            let problem = error.to_string();
            self.shown
                .send_modify(|written| written.problem = Some(problem));
        }
        outcome
    }

    /// Takes note of decisions that found the queue full.
    pub(super) fn overflowed(&mut self, lost: Lost) {
        let before = self.overflowed;
        self.overflowed = Some(Lost {
            count: before.map_or(0, |before| before.count) + lost.count,
            since: before.map_or(lost.since, |before| before.since),
            until: lost.until,
        });
        self.retry_at.get_or_insert_with(Instant::now);
    }

    /// Returns how long nothing has to be done.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        let due = [
            self.unsynced.map(|since| since + SYNC_AFTER),
            self.unsealed.map(|(_, since)| since + SEAL_AFTER),
            self.retry_at,
        ];
        let due = due.into_iter().flatten().min();
        due.map_or(IDLE, |due| due.saturating_duration_since(now))
    }

    /// Does what is due: a checkpoint, what is owed, the way to the disk.
    pub(super) fn settle(&mut self, now: Instant, wall: WallTime) {
        let is_due = |since: Instant, after| now >= since + after;
        if self
            .unsealed
            .is_some_and(|(_, since)| is_due(since, SEAL_AFTER))
        {
            self.owed.push(Cause::Due);
            self.unsealed = None;
            self.retry_at = Some(now);
        }
        if self.retry_at.is_some_and(|due| now >= due)
            && let Err(error) = self.append(&[], wall)
        {
            tracing::debug!(%error, "The decision log still cannot be written");
        }
        if self.unsynced.is_some_and(|since| is_due(since, SYNC_AFTER)) {
            self.keep();
        }
    }

    /// Ends the log in order.
    pub(super) fn close(mut self, now: WallTime) {
        self.owed.push(Cause::Stopped);
        if let Err(error) = self.append(&[], now) {
            tracing::error!(%error, "The decision log could not be ended");
        }
        self.keep();
    }

    fn try_append(&mut self, records: &[Matter], now: WallTime) -> io::Result<Vec<Value>> {
        if self.files.length() >= self.config.file_limit {
            self.rotate(now)?;
        }
        // A failed write leaves the chain as it was: what is not there needs no number.
        let mut batch = Batch::new(self, now);
        batch.seal_owed()?;
        for record in records {
            batch.record(record);
        }
        batch.seal_if_many()?;
        if batch.bytes.is_empty() {
            self.retry_at = None;
            return Ok(Vec::new());
        }
        let (chain, bytes) = (batch.chain, batch.bytes);
        let (seal, unsealed, events) = (batch.seal, batch.unsealed, batch.events);
        self.files.append(&bytes)?;

        for event in &events {
            event_log::write(Kind::Audit, Severity::Information, || {
                event.to_string().into()
            });
        }
        self.chain = chain;
        self.owed.clear();
        (self.unwritten, self.overflowed, self.retry_at) = (None, None, None);
        let instant = Instant::now();
        self.unsynced.get_or_insert(instant);
        let since = match self.unsealed {
            Some((_, since)) if seal.is_none() => since,
            Some(_) | None => instant,
        };
        self.unsealed = (unsealed > 0).then_some((unsealed, since));
        let through = self.chain.next().sequence - 1;
        self.shown.send_modify(|written| {
            written.log = Some(self.chain.next().log.clone());
            written.through = through;
            written.sealed = seal
                .as_ref()
                .map_or(written.sealed, |(sequence, _)| *sequence);
            written.problem = None;
        });
        if let Some((_, line)) = seal {
            self.anchor = Some(line);
        }
        Ok(events)
    }

    /// Ends the full file with a checkpoint, and begins the next one with another.
    fn rotate(&mut self, now: WallTime) -> io::Result<()> {
        if self.unsealed.is_some() {
            let mut batch = Batch::new(self, now);
            batch.seal(Cause::Rotated)?;
            let (chain, bytes) = (batch.chain, batch.bytes);
            self.files.append(&bytes)?;
            self.chain = chain;
            self.unsealed = None;
        }

        let dropped = self.files.rotate()?;
        let next = self.chain.next().sequence;
        self.oldest = self
            .files
            .oldest()
            .map_or(next, |entry| entry.link.sequence);
        self.owed.push(Cause::Rotated);
        let delivered = self.config.delivered.iter().map(Delivered::through).min();
        if let Some((first, last)) = dropped
            && let Some(delivered) = delivered
            && delivered < last.link.sequence
        {
            let from = first.link.sequence.max(delivered + 1);
            let through = last.link.sequence;
            tracing::warn!(
                from,
                through,
                "Records made room before anybody had taken them"
            );
            self.owed.push(Cause::Dropped { from, through });
            self.shown
                .send_modify(|written| written.dropped += through - from + 1);
        }
        Ok(())
    }

    /// Brings the log to the disk, and then keeps its latest checkpoint apart from it.
    fn keep(&mut self) {
        if let Err(error) = self.files.sync() {
            tracing::error!(%error, "The decision log could not be brought to the disk");
            self.unsynced = Some(Instant::now());
            return;
        }
        self.unsynced = None;
        if let Some(line) = self.anchor.take()
            && let Err(error) = self.config.state.write(ANCHOR, &line)
        {
            tracing::warn!(%error, "The latest checkpoint of the decision log could not be kept");
        }
    }

    #[cfg(test)]
    pub(super) fn files(&mut self) -> &mut Files {
        &mut self.files
    }
}

/// Returns what the next line carries, and what it has to tell of first.
fn resume(
    anchor: Option<&Entry>,
    last: Option<&Entry>,
    torn: u64,
    files: &Files,
) -> Result<(Link, Vec<Cause>), LogError> {
    let mut owed = Vec::new();
    let next = match (anchor, last) {
        (None, None) => {
            let random = keys::random::<16>()?;
            Link::first(LogId::from_random(&random))
        }
        (None, Some(last)) => last.following(),
        (Some(anchor), last) => {
            let last = last.filter(|last| last.link.log == anchor.link.log);
            let sealed = anchor.link.sequence;
            let first_missing = match last {
                Some(last) if last.link.sequence < sealed => Some(last.link.sequence + 1),
                Some(_) if files.has(anchor) => None,
                Some(_) => Some(sealed),
                None => Some(1),
            };
            if let Some(from) = first_missing {
                tracing::error!(
                    from,
                    through = sealed,
                    "Sealed records are gone from the decision log"
                );
                owed.push(Cause::Cut {
                    from,
                    through: sealed,
                });
            }
            let mut next =
                last.map_or_else(|| Link::first(anchor.link.log.clone()), Entry::following);
            // No number is given twice.
            next.sequence = next.sequence.max(sealed + 1);
            next
        }
    };
    if torn > 0 {
        owed.push(Cause::Torn { bytes: torn });
    }
    let stopped = last.and_then(|last| last.seal.as_ref());
    let is_orderly = stopped.is_some_and(|signed| signed.seal.cause == Cause::Stopped);
    if last.is_some() && !is_orderly {
        owed.push(Cause::Unclean);
    }
    owed.push(Cause::Started);
    Ok((next, owed))
}

/// Lines that are written together.
struct Batch<'a> {
    key: &'a SigningKey,
    owed: Vec<Cause>,
    oldest: u64,
    now: WallTime,
    chain: Chain,
    bytes: Vec<u8>,
    events: Vec<Value>,
    unsealed: u64,
    /// The last checkpoint among them, with its number.
    seal: Option<(u64, Vec<u8>)>,
}

impl<'a> Batch<'a> {
    fn new(log: &'a Log, now: WallTime) -> Self {
        let lost = [
            log.overflowed.map(Cause::Overflow),
            log.unwritten.map(Cause::Unwritten),
        ];
        Self {
            key: &log.config.key,
            owed: log
                .owed
                .iter()
                .cloned()
                .chain(lost.into_iter().flatten())
                .collect(),
            oldest: log.oldest,
            now,
            chain: log.chain.clone(),
            bytes: Vec::new(),
            events: Vec::new(),
            unsealed: log.unsealed.map_or(0, |(count, _)| count),
            seal: None,
        }
    }

    fn seal_owed(&mut self) -> io::Result<()> {
        std::mem::take(&mut self.owed)
            .into_iter()
            .try_for_each(|cause| self.seal(cause))
    }

    fn seal_if_many(&mut self) -> io::Result<()> {
        if self.unsealed < SEAL_EVERY {
            return Ok(());
        }
        self.seal(Cause::Due)
    }

    fn seal(&mut self, cause: Cause) -> io::Result<()> {
        let sequence = self.chain.next().sequence;
        let line = self.chain.seal(cause, self.oldest, self.now, self.key)?;
        self.bytes.extend_from_slice(&line.bytes);
        self.seal = Some((sequence, line.bytes));
        self.unsealed = 0;
        Ok(())
    }

    fn record(&mut self, record: &Matter) {
        let Line { event, bytes } = self.chain.append(record);
        self.bytes.extend_from_slice(&bytes);
        self.events.push(event);
        self.unsealed += 1;
    }
}

/// Why there is no decision log; without one, nothing is permitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{0}")]
    Open(String),
    #[error("cannot start the decision log's thread: {0}")]
    Thread(io::Error),
}

impl From<OpenError> for LogError {
    fn from(error: OpenError) -> Self {
        Self::Open(error.to_string())
    }
}

/// The size at which a file is set aside: about seven thousand decisions, few enough to be read at each start.
pub(crate) const FILE_LIMIT: u64 = 10 * 1024 * 1024;

/// A power failure takes at most so much of the log.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// So long after a decision it is signed at the latest, so that a quiet log is not all checkpoints.
const SEAL_AFTER: Duration = Duration::from_secs(2);

/// So many decisions are signed together at the latest, so that signing costs little for each.
const SEAL_EVERY: u64 = 256;

/// A full disk is tried again this often, also without a decision to write.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

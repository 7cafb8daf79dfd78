//! Decision logs as hosts hand them over, verified as they come.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::http::StatusCode;
use connector_core::audit::chain::{Entry, LineHash, LogId};
use connector_core::audit::verification::{Expected, Place, Verifier};
use connector_core::control::RecordsAccepted;
use connector_core::jws::PublicKey;
use serde::Serialize;

use crate::problem::Refusal;

/// What every host has handed over.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<String, Collected>);

/// One host's log.
#[derive(Debug)]
struct Collected {
    log: LogId,
    through: u64,
    verifier: Verifier,
    /// The hashes of the latest lines, to tell a repetition from another story.
    hashes: VecDeque<(u64, LineHash)>,
    /// The latest lines.
    lines: VecDeque<String>,
    checkpoint: Option<String>,
    rewritten: u64,
}

/// One host's log, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordsView {
    /// Who handed it over.
    pub host: String,
    /// The log.
    pub log: String,
    /// The number of the last line.
    pub through: u64,
    /// How many lines came.
    pub lines: u64,
    /// How many checkpoints are signed by the host.
    pub checkpoints: u64,
    /// The last of them, as it is in the log: an anchor to verify the host's own copy with.
    pub checkpoint: Option<String>,
    /// What the host itself says is not in its log.
    pub gaps: Vec<String>,
    /// What is wrong.
    pub flaws: Vec<String>,
    /// Lines that came again with other words.
    pub rewritten: u64,
    /// The latest lines, the oldest first.
    pub latest: Vec<String>,
}

impl Records {
    /// Takes `body` of a host that says that these lines follow on `after`.
    pub(super) fn accept(
        &mut self,
        host: &str,
        key: PublicKey,
        after: u64,
        body: &[u8],
    ) -> Result<RecordsAccepted, Refusal> {
        let lines = parse(body)?;
        let Some((_, first)) = lines.first() else {
            return Err(Refusal::malformed("there is no line"));
        };
        let log = first.link.log.clone();
        if lines.iter().any(|(_, entry)| entry.link.log != log) {
            return Err(Refusal::malformed("the lines are of different logs"));
        }
        let known = self
            .0
            .entry(host.to_owned())
            .and_modify(|known| {
                // A host whose state was removed begins another log; the old one has ended.
                if known.log != log {
                    *known = Collected::new(log.clone(), key);
                }
            })
            .or_insert_with(|| Collected::new(log.clone(), key));
        for (line, entry) in &lines {
            if !known.take(host, after, line, entry) {
                break;
            }
        }
        Ok(RecordsAccepted {
            log,
            through: known.through,
        })
    }

    pub(super) fn list(&self) -> Vec<RecordsView> {
        self.0
            .iter()
            .map(|(host, known)| known.view(host))
            .collect()
    }
}

impl Collected {
    fn new(log: LogId, key: PublicKey) -> Self {
        let expected = Expected {
            key: Some(key),
            ..Expected::default()
        };
        Self {
            log,
            through: 0,
            verifier: Verifier::new(expected),
            hashes: VecDeque::new(),
            lines: VecDeque::new(),
            checkpoint: None,
            rewritten: 0,
        }
    }

    /// Takes one line, and returns whether it could: one with a hole before it is taken only
    /// if the host says that there is nothing in between any more.
    fn take(&mut self, host: &str, after: u64, line: &str, entry: &Entry) -> bool {
        let sequence = entry.link.sequence;
        if sequence <= self.through {
            let known = self.hashes.iter().find(|(number, _)| *number == sequence);
            if known.is_some_and(|(_, hash)| *hash != entry.hash) {
                self.rewritten += 1;
                tracing::warn!(host, sequence, "a host tells another story than before");
            }
            return true;
        }
        if sequence > self.through + 1 && after > self.through {
            return false;
        }
        let place = Place {
            file: Arc::from(host),
            line: sequence,
        };
        self.verifier.line(place, line.as_bytes());
        self.through = sequence;
        bounded(&mut self.hashes, (sequence, entry.hash), HASHES);
        bounded(&mut self.lines, line.to_owned(), LATEST);
        if entry.seal.is_some() {
            self.checkpoint = Some(line.to_owned());
        }
        true
    }

    fn view(&self, host: &str) -> RecordsView {
        let report = self.verifier.so_far();
        RecordsView {
            host: host.to_owned(),
            log: self.log.to_string(),
            through: self.through,
            lines: report.lines,
            checkpoints: report.checkpoints,
            checkpoint: self.checkpoint.clone(),
            gaps: report
                .gaps
                .iter()
                .map(|gap| gap.cause.to_string())
                .collect(),
            flaws: report.flaws.iter().map(ToString::to_string).collect(),
            rewritten: self.rewritten,
            latest: self.lines.iter().cloned().collect(),
        }
    }
}

fn parse(body: &[u8]) -> Result<Vec<(&str, Entry)>, Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Refusal::malformed(format!("the lines are no text: {error}")))?;
    let mut lines = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let number = index + 1;
        if !line.ends_with('\n') {
            return Err(Refusal::malformed(format!("line {number} does not end")));
        }
        let entry = Entry::parse(line.as_bytes())
            .map_err(|error| Refusal::malformed(format!("line {number}: {error}")))?;
        lines.push((line, entry));
    }
    Ok(lines)
}

fn bounded<T>(queue: &mut VecDeque<T>, value: T, limit: usize) {
    if queue.len() == limit {
        queue.pop_front();
    }
    queue.push_back(value);
}

/// Returns the number in `after=NUMBER`.
pub(super) fn read_after(text: Option<&str>) -> Result<u64, Refusal> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "The request cannot be read",
            "say with ?after=NUMBER which record the lines follow on; 0 at the beginning",
        )
    })
}

/// The largest body: four of the batches that a connector sends.
pub(super) const MAX_RECORDS: usize = 1024 * 1024;

/// Lines that are remembered for each host, enough for a demonstration.
const LATEST: usize = 2_000;

const HASHES: usize = 20_000;

//! Whether a decision log is what was written: nothing changed, missing,
//! reordered or made anew.
//!
//! What this can tell ends where the log's own signatures end. Whoever holds
//! the host's key can write another log; lines after the last checkpoint are
//! chained, but not signed yet. An anchor, a checkpoint kept elsewhere, shows
//! both.

use std::fmt;
use std::sync::Arc;

use super::chain::{Entry, LineHash, LogId};
use super::seal::{Cause, SignedSeal};
use crate::jws::PublicKey;
use crate::time::WallTime;

/// Takes the lines of a log, oldest first, and tells what is wrong with them.
#[derive(Debug, Clone)]
pub struct Verifier {
    expected: Expected,
    last: Option<Last>,
    /// Lines since `last` that could not be read.
    unreadable: u64,
    /// The highest number that a checkpoint says the log began with.
    oldest: u64,
    reported_unsealed: bool,
    report: Report,
}

/// What is known about a log from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// Who signs its checkpoints; without it, the log's first checkpoint tells.
    pub key: Option<PublicKey>,
    /// Checkpoints of it that were kept elsewhere.
    pub anchors: Vec<Entry>,
    /// Whether all that was kept of it will be shown.
    pub whole: bool,
}

/// Where a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<str>,
    /// The line's number in it, from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What became of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The log.
    pub log: Option<LogId>,
    /// Whose signatures were looked for.
    pub key: Option<PublicKey>,
    /// The number of the first line.
    pub first: Option<u64>,
    /// The number of the last line.
    pub last: Option<u64>,
    /// How many lines follow each other as they should.
    pub lines: u64,
    /// How many checkpoints are signed as they should.
    pub checkpoints: u64,
    /// The last of them, and when it was made.
    pub sealed: Option<(u64, WallTime)>,
    /// How many anchors were found in place.
    pub anchored: u64,
    /// What the service itself says is not in the log.
    pub gaps: Vec<Gap>,
    /// What is wrong, up to [`MAX_FLAWS`].
    pub flaws: Vec<Flaw>,
    /// How much more is wrong.
    pub more_flaws: u64,
    /// The end of the last file, if it is no whole line: the service was killed, or is writing.
    pub torn: Option<Place>,
}

/// What the service itself says is not in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Where it says so.
    pub place: Place,
    /// When.
    pub time: WallTime,
    /// What is not there, and why.
    pub cause: Cause,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Where it shows; none for what is missing at an end.
    pub place: Option<Place>,
    /// What it is.
    pub kind: FlawKind,
}

/// What can be wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlawKind {
    /// A checkpoint that was kept elsewhere differs from the one here.
    AnchorDiffers(u64),
    /// A line is not what the line after it was written after.
    Changed(u64),
    /// A checkpoint is not signed by the key.
    Forged {
        /// Its number.
        sequence: u64,
        /// Who says to have signed it.
        claimed: String,
    },
    /// Lines are missing.
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        through: u64,
    },
    /// A line stands after one that it was written before.
    OutOfOrder {
        /// Its number.
        sequence: u64,
        /// The highest number before it.
        after: u64,
    },
    /// A line belongs to another log.
    OtherLog(String),
    /// Lines that had been sealed were gone when the service started.
    SealedGone {
        /// The first of them.
        from: u64,
        /// The last of them.
        through: u64,
    },
    /// A line is no link of a chain.
    Unreadable(String),
    /// So many lines are never without a checkpoint.
    Unsealed {
        /// The first of them.
        from: u64,
    },
}

impl FlawKind {
    /// Returns a token for programs.
    #[must_use]
    pub const fn token(&self) -> &'static str {
        match self {
            Self::AnchorDiffers(_) => "anchor_differs",
            Self::Changed(_) => "changed",
            Self::Forged { .. } => "forged",
            Self::Missing { .. } => "missing",
            Self::OtherLog(_) => "other_log",
            Self::OutOfOrder { .. } => "out_of_order",
            Self::SealedGone { .. } => "sealed_gone",
            Self::Unreadable(_) => "unreadable",
            Self::Unsealed { .. } => "unsealed",
        }
    }
}

impl fmt::Display for FlawKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnchorDiffers(sequence) => write!(
                f,
                "record {sequence} is not the checkpoint that was kept elsewhere"
            ),
            Self::Changed(sequence) => write!(
                f,
                "record {sequence} was changed: the record after it was written after another one"
            ),
            Self::Forged { sequence, claimed } => write!(
                f,
                "checkpoint {sequence} is not signed by this host's key; it names the key {claimed}"
            ),
            Self::Missing { from, through } if from == through => {
                write!(f, "record {from} is missing")
            }
            Self::Missing { from, through } => write!(f, "records {from} to {through} are missing"),
            Self::OtherLog(log) => write!(
                f,
                "this line belongs to another log, {log}: from another device, or this one's state was removed"
            ),
            Self::OutOfOrder { sequence, after } => {
                write!(f, "record {sequence} stands after record {after}")
            }
            Self::SealedGone { from, through } => write!(
                f,
                "records {from} to {through} had been sealed, and were gone or changed when the service started"
            ),
            Self::Unreadable(problem) => write!(f, "this line is no record: {problem}"),
            Self::Unsealed { from } => write!(
                f,
                "no checkpoint since record {from}, although there is one every {LONGEST_UNSEALED} records at the latest"
            ),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

#[derive(Debug, Clone)]
struct Last {
    sequence: u64,
    hash: LineHash,
    place: Place,
}

impl Report {
    /// Returns whether nothing is wrong; gaps that the service tells of are not.
    #[must_use]
    pub const fn is_intact(&self) -> bool {
        self.flaws.is_empty()
    }

    /// Returns how many lines at the end no checkpoint covers yet.
    #[must_use]
    pub fn unsealed(&self) -> u64 {
        let sealed = self.sealed.map_or(0, |(sequence, _)| sequence);
        let first = self.first.map_or(0, |first| first.saturating_sub(1));
        self.last
            .map_or(0, |last| last - sealed.max(first).min(last))
    }
}

impl Verifier {
    /// Prepares to read a log.
    #[must_use]
    pub fn new(expected: Expected) -> Self {
        Self {
            last: None,
            unreadable: 0,
            oldest: 1,
            reported_unsealed: false,
            report: Report {
                key: expected.key,
                log: expected.anchors.first().map(|entry| entry.link.log.clone()),
                ..Report::default()
            },
            expected,
        }
    }

    /// Takes the next line, with its line break.
    pub fn line(&mut self, place: Place, line: &[u8]) {
        if let Some(torn) = self.report.torn.take() {
            self.unreadable(torn, "it does not end".to_owned());
        }
        if !line.ends_with(b"\n") {
            self.report.torn = Some(place);
            return;
        }
        match Entry::parse(line) {
            Ok(entry) => self.entry(place, &entry),
            Err(error) => self.unreadable(place, error.to_string()),
        }
    }

    /// Takes note of a line that is too long to be read.
    pub fn too_long(&mut self, place: Place) {
        self.unreadable(place, "it is too long".to_owned());
    }

    /// Returns what was found so far, for a log that goes on.
    #[must_use]
    pub const fn so_far(&self) -> &Report {
        &self.report
    }

    /// Returns what was found, after the last line.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let last = self.report.last.unwrap_or(0);
        if let Some(first) = self.report.first
            && self.expected.whole
            && first > self.oldest
        {
            let kind = FlawKind::Missing {
                from: self.oldest,
                through: first - 1,
            };
            self.flaw(None, kind);
        }
        let anchors = self.expected.anchors.iter();
        if let Some(highest) = anchors.map(|anchor| anchor.link.sequence).max()
            && highest > last
        {
            let kind = FlawKind::Missing {
                from: last + 1,
                through: highest,
            };
            self.flaw(None, kind);
        }
        self.report
    }

    fn unreadable(&mut self, place: Place, problem: String) {
        self.unreadable += 1;
        self.flaw(Some(place), FlawKind::Unreadable(problem));
    }

    fn entry(&mut self, place: Place, entry: &Entry) {
        let log = self
            .report
            .log
            .get_or_insert_with(|| entry.link.log.clone());
        if *log != entry.link.log {
            let other = entry.link.log.to_string();
            self.flaw(Some(place), FlawKind::OtherLog(other));
            return;
        }
        let sequence = entry.link.sequence;
        let unreadable = std::mem::take(&mut self.unreadable);
        match self.last.take() {
            None => {
                if sequence == 1 && entry.link.previous != LineHash::START {
                    self.flaw(Some(place.clone()), FlawKind::Changed(1));
                }
                self.report.first = Some(sequence);
            }
            Some(last) if sequence <= last.sequence => {
                let kind = FlawKind::OutOfOrder {
                    sequence,
                    after: last.sequence,
                };
                self.last = Some(last);
                self.flaw(Some(place), kind);
                return;
            }
            Some(last) => self.follows(&last, &place, entry, unreadable),
        }
        self.anchor(&place, entry);
        if let Some(signed) = &entry.seal {
            self.seal(&place, signed);
        }
        self.report.lines += 1;
        self.report.last = Some(sequence);
        self.last = Some(Last {
            sequence,
            hash: entry.hash,
            place,
        });
        self.count_unsealed();
    }

    /// Compares a line with the one before it.
    fn follows(&mut self, last: &Last, place: &Place, entry: &Entry, unreadable: u64) {
        let sequence = entry.link.sequence;
        let next = last.sequence + 1;
        let declared = entry.seal.as_ref().is_some_and(|signed| {
            matches!(signed.seal.cause, Cause::Cut { from, through }
                if from <= next && through.saturating_add(1) >= sequence)
        });
        if sequence > next.saturating_add(unreadable) && !declared {
            let kind = FlawKind::Missing {
                from: next,
                through: sequence - 1,
            };
            self.flaw(Some(place.clone()), kind);
        } else if (sequence == next || declared) && entry.link.previous != last.hash {
            // An unreadable line between them was put in; what it replaced was told already.
            self.flaw(Some(last.place.clone()), FlawKind::Changed(last.sequence));
        }
    }

    fn anchor(&mut self, place: &Place, entry: &Entry) {
        let anchors = self.expected.anchors.iter();
        let mut same = anchors.filter(|anchor| anchor.link.sequence == entry.link.sequence);
        if same.clone().any(|anchor| anchor.hash != entry.hash) {
            let kind = FlawKind::AnchorDiffers(entry.link.sequence);
            self.flaw(Some(place.clone()), kind);
        } else if same.next().is_some() {
            self.report.anchored += 1;
        }
    }

    fn seal(&mut self, place: &Place, signed: &SignedSeal) {
        let seal = &signed.seal;
        let key = *self.report.key.get_or_insert(signed.key);
        if !signed.is_signed_by(&key) {
            let kind = FlawKind::Forged {
                sequence: seal.sequence,
                claimed: signed.key.to_string(),
            };
            self.flaw(Some(place.clone()), kind);
            return;
        }
        let time = WallTime::from_unix_millis(seal.time);
        self.report.checkpoints += 1;
        self.report.sealed = Some((seal.sequence, time));
        self.reported_unsealed = false;
        self.oldest = self.oldest.max(seal.oldest);
        if let Cause::Cut { from, through } = seal.cause {
            let kind = FlawKind::SealedGone { from, through };
            self.flaw(Some(place.clone()), kind);
        } else if seal.cause.is_gap() && self.report.gaps.len() < MAX_FLAWS {
            self.report.gaps.push(Gap {
                place: place.clone(),
                time,
                cause: seal.cause.clone(),
            });
        }
    }

    fn count_unsealed(&mut self) {
        let unsealed = self.report.unsealed();
        if unsealed > LONGEST_UNSEALED && !self.reported_unsealed {
            self.reported_unsealed = true;
            let from = self.report.last.unwrap_or(0) - unsealed + 1;
            let place = self.last.as_ref().map(|last| last.place.clone());
            self.flaw(place, FlawKind::Unsealed { from });
        }
    }

    fn flaw(&mut self, place: Option<Place>, kind: FlawKind) {
        if self.report.flaws.len() < MAX_FLAWS {
            self.report.flaws.push(Flaw { place, kind });
        } else {
            self.report.more_flaws += 1;
        }
    }
}

/// Flaws, and gaps, that are told one by one; a log of something else has one in each line.
pub const MAX_FLAWS: usize = 100;

/// Lines between two checkpoints, at most: twice what the service allows itself in
/// one write beyond the number that makes a checkpoint due.
pub const LONGEST_UNSEALED: u64 = 1024;

#[cfg(test)]
mod tests;

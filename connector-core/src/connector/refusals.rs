//! Keeps a program that is refused over and over from filling the decision log.
//!
//! The first few refusals that are alike are lines of their own; those that follow
//! are counted, and one line tells how many there were. None goes unmentioned.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::access::{Flow, Reason};
use crate::audit::{Record, Repetition};
use crate::time::{Moment, Now, WallTime};

/// Refusals of the last moments.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    alike: BTreeMap<(Flow, Reason), Alike>,
    /// Those that there was no room for, of whatever kind.
    others: Option<Alike>,
}

/// Refusals of one flow for one reason, within one span.
#[derive(Debug)]
struct Alike {
    ends: Moment,
    /// How many were written one by one.
    written: u32,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    count: u64,
    since: WallTime,
    latest: Record,
}

impl Refusals {
    /// Takes in a refusal; returns it if it is to be written down by itself.
    pub(super) fn take(&mut self, record: Record, reason: Reason, now: Now) -> Option<Record> {
        let key = (record.flow.clone(), reason);
        let begun = Alike {
            ends: now.moment + SPAN,
            written: 0,
            held: None,
        };
        let (alike, limit) = if self.alike.len() < MAX_KINDS || self.alike.contains_key(&key) {
            (self.alike.entry(key).or_insert(begun), MAX_WRITTEN)
        } else {
            (self.others.get_or_insert(begun), 0)
        };
        if alike.written < limit {
            alike.written += 1;
            return Some(record);
        }
        alike.hold(record, now.wall);
        None
    }

    /// Returns what there is to say of the spans that have ended by now.
    pub(super) fn settle(&mut self, now: Moment) -> Vec<Record> {
        self.conclude(|alike| alike.ends <= now, now)
    }

    /// Returns what there is to say of all that was held back.
    pub(super) fn finish(&mut self, now: Moment) -> Vec<Record> {
        self.conclude(|_| true, now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let spans = self.alike.values().chain(&self.others);
        spans.map(|alike| alike.ends).min()
    }

    fn conclude(&mut self, is_over: impl Fn(&Alike) -> bool, now: Moment) -> Vec<Record> {
        let mut summaries = vec![];
        self.alike.retain(|_, alike| {
            if !is_over(alike) {
                return true;
            }
            let summary = alike.summarise(false, now);
            let goes_on = summary.is_some();
            summaries.extend(summary);
            goes_on
        });
        if self.others.as_ref().is_some_and(is_over)
            && let Some(mut others) = self.others.take()
        {
            summaries.extend(others.summarise(true, now));
        }
        summaries
    }
}

impl Alike {
    fn hold(&mut self, record: Record, at: WallTime) {
        let (count, since) = self
            .held
            .as_ref()
            .map_or((0, at), |held| (held.count, held.since));
        self.held = Some(Held {
            count: count + 1,
            since,
            latest: record,
        });
    }

    /// Returns what was held back as one record, and begins a new span.
    fn summarise(&mut self, is_mixed: bool, now: Moment) -> Option<Record> {
        self.ends = now + SPAN;
        let held = self.held.take()?;
        let repetition = Repetition {
            count: held.count,
            since: held.since,
            is_mixed,
        };
        Some(Record {
            repetition: Some(repetition),
            ..held.latest
        })
    }
}

/// How long refusals are counted before a line tells of them.
const SPAN: Duration = Duration::from_secs(10);

/// More than a person causes who tries again.
const MAX_WRITTEN: u32 = 8;

/// How many kinds of refusals are told apart at one time.
const MAX_KINDS: usize = 256;

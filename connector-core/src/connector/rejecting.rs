//! Keeps whoever sends what is not followed, over and over, from filling the decision log.

use std::time::Duration;

use super::{Connector, Effect};
use crate::audit::{Rejected, RejectionRecord};
use crate::time::{Moment, Now, WallTime};

/// What was not followed in the last moments: one span for each kind of document.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    policies: Option<Span>,
    security_events: Option<Span>,
}

/// Since a line was written.
#[derive(Debug)]
struct Span {
    ends: Moment,
    /// What has yet to be told.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    count: u64,
    since: WallTime,
    at: WallTime,
    latest: Rejected,
}

impl Rejections {
    /// Takes one in, and returns it if it is to be written down at once.
    fn take(&mut self, rejected: Rejected, now: Now) -> Option<Held> {
        let span = match &rejected {
            Rejected::Policies { .. } => &mut self.policies,
            Rejected::SecurityEvent { .. } => &mut self.security_events,
        };
        let one = Held {
            count: 1,
            since: now.wall,
            at: now.wall,
            latest: rejected,
        };
        let Some(span) = span else {
            *span = Some(Span::begun(now.moment));
            return Some(one);
        };
        let before = span.held.take();
        span.held = Some(Held {
            count: before
                .as_ref()
                .map_or(1, |held| held.count.saturating_add(1)),
            since: before.map_or(now.wall, |held| held.since),
            ..one
        });
        None
    }

    /// Returns what there is to tell of the spans that are over, and begins them anew.
    fn settle(&mut self, is_over: impl Fn(&Span) -> bool, now: Moment) -> Vec<Held> {
        let mut told = Vec::new();
        for place in [&mut self.policies, &mut self.security_events] {
            let Some(span) = place.take_if(|span| is_over(span)) else {
                continue;
            };
            if let Some(held) = span.held {
                told.push(held);
                *place = Some(Span::begun(now));
            }
        }
        told
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let spans = self.policies.iter().chain(&self.security_events);
        spans.map(|span| span.ends).min()
    }
}

impl Span {
    fn begun(now: Moment) -> Self {
        Self {
            ends: now + SPAN,
            held: None,
        }
    }
}

impl Connector {
    /// Writes down that something is not followed, or counts it.
    pub(super) fn note_rejected(&mut self, rejected: Rejected, now: Now) {
        let at_once = self.rejections.take(rejected.shortened(), now);
        self.record_rejections(at_once);
    }

    /// Tells of what was counted in the spans that are over.
    pub(super) fn settle_rejections(&mut self, now: Moment) {
        let told = self.rejections.settle(|span| span.ends <= now, now);
        self.record_rejections(told);
    }

    /// Tells of all that was counted.
    pub(super) fn finish_rejections(&mut self, now: Moment) {
        let told = self.rejections.settle(|_| true, now);
        self.record_rejections(told);
    }

    fn record_rejections(&mut self, told: impl IntoIterator<Item = Held>) {
        for held in told {
            let record = RejectionRecord {
                time: held.at,
                rejected: held.latest,
                count: held.count,
                since: held.since,
                host: self.known.host.clone(),
            };
            let effect = Effect::RecordRejection(Box::new(record));
            self.effects.push_back(effect);
        }
    }
}

/// How long they are counted before a line tells of them.
const SPAN: Duration = Duration::from_secs(60);

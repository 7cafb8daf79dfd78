//! When each check is measured, and what the findings say.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Effect;
use crate::configuration::PosturePlan;
use crate::posture::{Check, CheckId, Facts, Measurement, Verdict};
use crate::time::Moment;

#[derive(Debug)]
pub(super) struct Measuring {
    builtin: Vec<Check>,
    checks: Vec<Check>,
    facts: Facts,
    due: BTreeMap<CheckId, Moment>,
    /// Since when a measurement has been under way.
    under_way: Option<Moment>,
    /// When the state was last settled: what has lapsed by then is known to have.
    settled_at: Moment,
}

impl Measuring {
    pub(super) fn new(builtin: Vec<Check>) -> Self {
        Self {
            builtin,
            checks: Vec::new(),
            facts: Facts::default(),
            due: BTreeMap::new(),
            under_way: None,
            settled_at: Moment::default(),
        }
    }

    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn verdict(&self, now: Moment) -> Verdict {
        self.facts.verdict(&self.checks, now)
    }

    /// Measures by `plan` from now on; a check whose query changed is measured
    /// at once, and what was found with the old query is forgotten.
    pub(super) fn plan(&mut self, plan: &PosturePlan, now: Moment) {
        let checks = plan.resolve(&self.builtin);
        let mut facts = Facts::default();
        let mut due = BTreeMap::new();
        for check in &checks {
            let unchanged = self.checks.contains(check);
            let measurement = self.facts.measurement(&check.id).filter(|_| unchanged);
            if let Some(measurement) = measurement {
                facts.insert(check.id.clone(), measurement.clone());
            }
            let next = self.due.get(&check.id).filter(|_| unchanged);
            due.insert(check.id.clone(), next.copied().unwrap_or(now));
        }
        self.checks = checks;
        self.facts = facts;
        self.due = due;
    }

    pub(super) fn refresh(&mut self) {
        for due in self.due.values_mut() {
            *due = Moment::default();
        }
    }

    pub(super) fn handle_measured(&mut self, measurements: Vec<(Check, Measurement)>) {
        self.under_way = None;
        for (check, measurement) in measurements {
            // The plan may have changed since; the outcome of another query is none of this one.
            if self.checks.contains(&check) {
                self.facts.insert(check.id, measurement);
            }
        }
    }

    pub(super) fn settle(&mut self, now: Moment, effects: &mut VecDeque<Effect>) {
        self.settled_at = now;
        self.under_way
            .take_if(|since| now.since(*since) >= MEASURING_LIMIT);
        if self.under_way.is_some() {
            return;
        }
        let due: Vec<Check> = self
            .checks
            .iter()
            .filter(|check| self.due.get(&check.id).is_some_and(|due| *due <= now))
            .cloned()
            .collect();
        if due.is_empty() {
            return;
        }
        for check in &due {
            self.due.insert(check.id.clone(), now + check.interval);
        }
        self.under_way = Some(now);
        effects.push_back(Effect::Measure(due));
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let next = match self.under_way {
            Some(since) => Some(since + MEASURING_LIMIT),
            None => self.due.values().min().copied(),
        };
        let lapse = self.facts.next_lapse(&self.checks, self.settled_at);
        next.into_iter().chain(lapse).min()
    }
}

/// A measurement that takes longer is given up for lost.
const MEASURING_LIMIT: Duration = Duration::from_secs(30);

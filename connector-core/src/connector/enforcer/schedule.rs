//! What is due next, without going through everything to find out.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::access::Flow;
use crate::time::Moment;

/// Moments at which something may have to be done about a flow.
///
/// An entry is a reminder and no more: whoever takes it looks at what is true by
/// then, so that nothing has to be found and removed when plans change. For every
/// flow that something is due for there is an entry no later than that.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    reminders: BinaryHeap<Reminder>,
    added: u64,
}

/// When to look at a flow; of two for the same moment, the one that was added first goes first.
#[derive(Debug)]
struct Reminder {
    at: Moment,
    number: u64,
    flow: Flow,
}

impl Ord for Reminder {
    /// Orders from the last to the first, since a heap gives its greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Reminder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Reminder {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Reminder {}

impl Schedule {
    pub(super) fn add(&mut self, at: Moment, flow: Flow) {
        let number = self.added;
        self.added += 1;
        self.reminders.push(Reminder { at, number, flow });
    }

    pub(super) fn clear(&mut self) {
        self.reminders.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.reminders.len()
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.reminders.peek().map(|reminder| reminder.at)
    }

    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Flow> {
        let is_due = self.reminders.peek()?.at <= now;
        let due = is_due.then(|| self.reminders.pop()).flatten();
        due.map(|reminder| reminder.flow)
    }

    /// Takes reminders until one is of a flow that `is_wanted` accepts; the others stay.
    pub(super) fn soonest(&mut self, is_wanted: impl Fn(&Flow) -> bool) -> Option<Flow> {
        let mut passed = Vec::new();
        let mut found = None;
        while let Some(reminder) = self.reminders.pop() {
            if is_wanted(&reminder.flow) {
                found = Some(reminder.flow);
                break;
            }
            passed.push(reminder);
            if passed.len() >= LOOK_AHEAD {
                break;
            }
        }
        self.reminders.extend(passed);
        found
    }
}

/// Bounds the search when most of what is due first is in use.
const LOOK_AHEAD: usize = 64;

//! What is due next, without going through everything to find out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::access::Flow;
use crate::time::Moment;

/// Moments at which something may have to be done about a flow.
///
/// An entry is a reminder and no more: whoever takes it looks at what is true by
/// then, so that nothing has to be found and removed when plans change. For every
/// flow that something is due for there is an entry no later than that.
#[derive(Debug, Default)]
pub(super) struct Schedule(BinaryHeap<Reverse<(Moment, Flow)>>);

impl Schedule {
    pub(super) fn add(&mut self, at: Moment, flow: Flow) {
        self.0.push(Reverse((at, flow)));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Flow> {
        let Reverse((at, _)) = self.0.peek()?;
        if *at > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, flow))| flow)
    }

    /// Takes reminders until one is of a flow that `is_wanted` accepts; the others stay.
    pub(super) fn soonest(&mut self, is_wanted: impl Fn(&Flow) -> bool) -> Option<Flow> {
        let mut passed = Vec::new();
        let mut found = None;
        while let Some(Reverse((at, flow))) = self.0.pop() {
            if is_wanted(&flow) {
                found = Some(flow);
                break;
            }
            passed.push(Reverse((at, flow)));
            if passed.len() >= LOOK_AHEAD {
                break;
            }
        }
        self.0.extend(passed);
        found
    }
}

/// Bounds the search when most of what is due first is in use.
const LOOK_AHEAD: usize = 64;

//! How long a server usually takes, and how often a second one may be asked as well.

use std::collections::VecDeque;
use std::time::Duration;

/// The latest answers' times.
#[derive(Debug, Default)]
pub(super) struct Pace {
    latest: VecDeque<Duration>,
}

impl Pace {
    pub(super) fn note(&mut self, took: Duration) {
        if self.latest.len() == REMEMBERED {
            self.latest.pop_front();
        }
        self.latest.push_back(took);
    }

    /// Returns how long to wait before somebody else is asked: as long as 19 of
    /// 20 answers take, within bounds.
    pub(super) fn patience(&self) -> Duration {
        if self.latest.len() < ENOUGH {
            return LONGEST;
        }
        let mut sorted: Vec<Duration> = self.latest.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * 19).div_ceil(20) - 1;
        sorted[rank].clamp(SHORTEST, LONGEST)
    }
}

/// Bounds what a slow first server costs the second one.
#[derive(Debug)]
pub(super) struct Budget {
    /// In tenths of a question.
    tenths: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tenths: FULL }
    }
}

impl Budget {
    /// Counts a question.
    pub(super) fn earn(&mut self) {
        self.tenths = (self.tenths + 1).min(FULL);
    }

    /// Takes what asking once more costs, if there is as much.
    pub(super) fn spend(&mut self) -> bool {
        match self.tenths.checked_sub(10) {
            Some(rest) => {
                self.tenths = rest;
                true
            }
            None => false,
        }
    }
}

const REMEMBERED: usize = 64;

/// With fewer, one slow answer would be the rule.
const ENOUGH: usize = 16;

/// Sooner would ask twice whenever a network hesitates.
const SHORTEST: Duration = Duration::from_millis(30);

/// Leaves the second server 500 of the 800 ms.
const LONGEST: Duration = Duration::from_millis(300);

/// Thirty at once after a quiet time; one in ten for as long as it lasts.
const FULL: u32 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_what_nineteen_of_twenty_answers_take() {
        let mut pace = Pace::default();
        assert_eq!(pace.patience(), LONGEST);

        for _ in 0..57 {
            pace.note(Duration::from_millis(40));
        }
        for _ in 0..3 {
            pace.note(Duration::from_millis(700));
        }

        assert_eq!(pace.patience(), Duration::from_millis(40));
        pace.note(Duration::from_millis(700));
        assert_eq!(pace.patience(), LONGEST);
    }

    #[test]
    fn a_quick_server_is_given_a_network_s_hesitation() {
        let mut pace = Pace::default();
        for _ in 0..1000 {
            pace.note(Duration::from_micros(80));
        }

        assert_eq!(pace.patience(), SHORTEST);
        assert_eq!(pace.latest.len(), REMEMBERED);
    }

    #[test]
    fn one_question_in_ten_may_be_asked_twice_in_the_long_run() {
        let mut budget = Budget::default();
        let mut twice = 0;
        for _ in 0..1000 {
            budget.earn();
            twice += u32::from(budget.spend());
        }

        assert!((100..=130).contains(&twice), "{twice}");
    }
}

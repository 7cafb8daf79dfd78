//! Spares people the wait, and a server the load, while it does not answer.

use std::time::{Duration, Instant};

use connector_core::connector::PdpFailure;

/// Decides whether one server is asked at all.
///
/// Only what costs a wait counts against a server: no connection, no answer in
/// time, and statuses that say it is out of order. A server that answers
/// nonsense at once is asked again every time.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Asked; has failed so many times in a row.
    Closed { failures: u32 },
    /// Not asked before the given time; failed like this at last.
    Open { until: Instant, failure: PdpFailure },
    /// One question is on its way to see; if nothing is heard of it by then, another goes.
    Probing { until: Instant, failure: PdpFailure },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is asked.
    Ask,
    /// It is asked to see whether the server is back.
    Probe,
    /// It is not asked: the server failed like this just now.
    Rest(PdpFailure),
}

impl Breaker {
    /// Takes a question at `now`.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Ask,
            State::Open { until, failure } | State::Probing { until, failure } => {
                if now < until {
                    return Admission::Rest(failure);
                }
                self.state = State::Probing {
                    until: now + PROBE_LIMIT,
                    failure,
                };
                Admission::Probe
            }
        }
    }

    /// Returns whether a question at `now` would be more than an ordinary one.
    pub(super) fn is_in_doubt(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// Learns how an exchange ended; `jitter` out of 256 lengthens the rest.
    pub(super) fn note(&mut self, failure: Option<PdpFailure>, jitter: u8, now: Instant) {
        let Some(failure) = failure.filter(|failure| is_outage(*failure)) else {
            self.state = State::default();
            return;
        };
        let open = State::Open {
            until: now + REST + REST_JITTER * u32::from(jitter) / 256,
            failure,
        };
        match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures >= TOLERATED {
                    self.state = open;
                }
            }
            State::Probing { .. } => self.state = open,
            // An exchange from before it opened tells nothing new.
            State::Open { .. } => {}
        }
    }
}

fn is_outage(failure: PdpFailure) -> bool {
    match failure {
        PdpFailure::Late | PdpFailure::Unreachable => true,
        PdpFailure::Status(status) => status == 429 || status >= 500,
        PdpFailure::Malformed => false,
    }
}

/// Fewer would open at the usual hiccup of a network.
const TOLERATED: u32 = 5;

/// With the jitter short enough that access is back within a second of the server.
const REST: Duration = Duration::from_millis(300);
const REST_JITTER: Duration = Duration::from_millis(200);

/// A probe is a question, and those have 800 ms.
const PROBE_LIMIT: Duration = Duration::from_millis(900);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_outages_in_a_row_open_it_and_the_last_one_is_the_reason() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for failure in [PdpFailure::Late; 4] {
            breaker.note(Some(failure), 0, now);
            assert_eq!(breaker.admit(now), Admission::Ask);
        }

        breaker.note(Some(PdpFailure::Status(503)), 0, now);

        let resting = Admission::Rest(PdpFailure::Status(503));
        assert_eq!(breaker.admit(now), resting);
        assert_eq!(breaker.admit(now + REST - MOMENT), resting);
    }

    #[test]
    fn one_question_at_a_time_sees_whether_the_server_is_back() {
        let (mut breaker, now) = opened(0);
        let later = now + REST;

        assert_eq!(breaker.admit(later), Admission::Probe);
        assert_eq!(breaker.admit(later), Admission::Rest(PdpFailure::Late));
        breaker.note(Some(PdpFailure::Unreachable), 0, later);
        let resting = Admission::Rest(PdpFailure::Unreachable);
        assert_eq!(breaker.admit(later), resting);
        assert_eq!(breaker.admit(later + REST), Admission::Probe);
        breaker.note(None, 0, later + REST);
        assert_eq!(breaker.admit(later + REST), Admission::Ask);
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_does_not_close_the_way_for_ever() {
        let (mut breaker, now) = opened(0);
        let probed = now + REST;
        assert_eq!(breaker.admit(probed), Admission::Probe);

        assert_eq!(breaker.admit(probed + PROBE_LIMIT), Admission::Probe);
    }

    #[test]
    fn jitter_lengthens_the_rest_by_no_more_than_its_bound() {
        let (mut breaker, now) = opened(255);

        assert_ne!(breaker.admit(now + REST), Admission::Probe);
        assert_eq!(breaker.admit(now + REST + REST_JITTER), Admission::Probe);
    }

    #[test]
    fn answers_that_come_at_once_never_open_it() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..4 {
            breaker.note(Some(PdpFailure::Late), 0, now);
        }
        for failure in [PdpFailure::Malformed, PdpFailure::Status(404)] {
            for _ in 0..10 {
                breaker.note(Some(failure), 0, now);
            }
        }

        assert_eq!(breaker.admit(now), Admission::Ask);
        assert!(!breaker.is_in_doubt());
    }

    const MOMENT: Duration = Duration::from_millis(1);

    fn opened(jitter: u8) -> (Breaker, Instant) {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..TOLERATED {
            breaker.note(Some(PdpFailure::Late), jitter, now);
        }
        assert!(breaker.is_in_doubt());
        (breaker, now)
    }
}

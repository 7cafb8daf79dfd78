//! Which gateway to call, to use, to doubt, and to leave.

use std::time::Duration;

use connector_core::time::Moment;

use super::{Gateways, JITTER};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for an answer to the calls to one gateway; `passed` others of
    /// this round gave none.
    Calling {
        path: usize,
        passed: usize,
        call: Call,
    },
    /// Nobody answered; the next round starts then, or when it is wanted.
    Resting { until: Option<Moment> },
    /// One gateway carries the packets.
    Using { path: usize, doubt: Option<Call> },
}

/// A series of handshake initiations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    since: Moment,
    calls: u32,
}

impl Gateways {
    pub(super) fn start_calling(&mut self, path: usize, passed: usize, now: Moment) {
        let Some(called) = self.paths.get_mut(path) else {
            self.phase = Phase::Resting { until: None };
            return;
        };
        called.call(now);
        self.phase = Phase::Calling {
            path,
            passed,
            call: Call::first(now),
        };
    }

    pub(super) fn go_on_calling(&mut self, path: usize, passed: usize, call: Call, now: Moment) {
        if call.due(CALL_AGAIN, CALL_GIVES_UP) > now {
            return;
        }
        if now.since(call.since) < CALL_GIVES_UP {
            self.paths[path].call(now);
            let call = call.repeated();
            self.phase = Phase::Calling { path, passed, call };
            return;
        }
        self.give_up_calling(path, passed, now);
    }

    pub(super) fn give_up_calling(&mut self, path: usize, passed: usize, now: Moment) {
        self.paths[path].fell_silent(now);
        if passed + 1 < self.paths.len() {
            self.start_calling((path + 1) % self.paths.len(), passed + 1, now);
        } else {
            self.rest(now);
        }
    }

    /// Calls after a rest: one gateway after the other at first, then all at
    /// once, which takes no time in which somebody would have to wait.
    pub(super) fn start_round(&mut self, now: Moment) {
        if self.lost_rounds < PATIENT_ROUNDS {
            self.start_calling(0, 0, now);
            return;
        }
        for path in &mut self.paths {
            path.look_up(LOOKUP_AGAIN, now);
            path.call(now);
        }
        self.rest(now);
    }

    fn rest(&mut self, now: Moment) {
        let rest = match self.lost_rounds {
            0 => FIRST_REST,
            1..LONG_LOST => REST,
            LONG_LOST.. => LONGEST_REST,
        };
        self.lost_rounds = self.lost_rounds.saturating_add(1);
        // One round may be lost on a bad link.
        self.lost |= self.lost_rounds >= PATIENT_ROUNDS;
        // Without anybody who waits, a tunnel that need not stay open is silent.
        let until =
            (self.wanted || self.stays_open()).then(|| now + rest + self.seed.below(JITTER));
        self.phase = Phase::Resting { until };
    }

    /// Looks whether the gateway in use still deserves it.
    pub(super) fn look_after(&mut self, path: usize, now: Moment) {
        let silence = self.longest_silence();
        let used = &mut self.paths[path];
        if used.doubtful_at().is_some_and(|at| at <= now) {
            used.doubted();
            used.call(now);
            let doubt = Some(Call::first(now));
            self.phase = Phase::Using { path, doubt };
            return;
        }
        if used.call_at.is_some_and(|at| at <= now) {
            used.probe(DOUBT_AGAIN, now);
        }
        let checkup = used.checkup_at(silence);
        if checkup.is_some_and(|at| at <= now) {
            used.probe(CALL_GIVES_UP, now);
        }
        if let Some(asked_at) = self.inquiry.note_missed(now)
            && !used.heard_since(asked_at)
            && !used.is_called()
        {
            used.probe(used.patience(CALL_GIVES_UP), now);
        }
        if self.asks_again() && self.inquiry.is_due(now) {
            self.ask_behind(now);
        }
        let used = &mut self.paths[path];
        let Some(interval) = self.keepalive else {
            return;
        };
        if now.since(used.last_sent.unwrap_or_default()) < interval {
            return;
        }
        if used.peer.has_session() {
            used.keep_alive(now);
        } else {
            self.start_calling(path, 0, now);
        }
    }

    pub(super) fn go_on_doubting(&mut self, path: usize, doubt: Call, now: Moment) {
        let patience = self.paths[path].patience(DOUBT_GIVES_UP);
        if doubt.due(DOUBT_AGAIN, patience) > now {
            return;
        }
        let others = self.paths.len();
        let next = (path + 1) % others;
        if now.since(doubt.since) < patience {
            self.paths[path].call(now);
            // Call the next one too, so that it is ready when this one is given up.
            if next != path && doubt.calls == 1 {
                self.paths[next].call(now);
            }
            let doubt = Some(doubt.repeated());
            self.phase = Phase::Using { path, doubt };
            return;
        }

        self.paths[path].fell_silent(now);
        let ready = next != path
            && self.paths[next].peer.has_session()
            && self.paths[next].heard_since(doubt.since);
        if ready {
            self.use_path(next, now);
        } else {
            self.start_calling(next, usize::from(next != path), now);
        }
    }

    pub(super) fn heard_from(&mut self, number: usize, now: Moment) {
        match self.phase {
            Phase::Calling { .. } | Phase::Resting { .. } => {
                if self.paths[number].peer.has_session() {
                    self.use_path(number, now);
                }
            }
            Phase::Using {
                path,
                doubt: Some(_),
            } if path == number => {
                self.phase = Phase::Using { path, doubt: None };
                self.ask_behind_if_wanted(now);
            }
            Phase::Using { path, doubt: None } if path == number && self.owes_inquiry => {
                self.ask_behind(now);
            }
            Phase::Using { path, doubt: None } if number < path => {
                let needed = if self.busy { LONG_STEADY } else { STEADY };
                let preferred = &self.paths[number];
                if preferred.steady_since(now) >= needed && preferred.peer.has_session() {
                    self.use_path(number, now);
                }
            }
            Phase::Using { .. } => {}
        }
    }

    fn use_path(&mut self, path: usize, now: Moment) {
        self.lost_rounds = 0;
        self.lost = false;
        self.recheck_at = now + RECHECK + self.seed.below(JITTER);
        self.phase = Phase::Using { path, doubt: None };
        self.paths[path].taken_into_use(now);
        // Whatever comes back for us has to find this gateway now.
        self.paths[path].keep_alive(now);
        self.inquiry.forget();
        self.ask_behind_if_wanted(now);
    }

    /// Asks behind the gateway in use after something about it changed.
    pub(super) fn ask_behind_if_wanted(&mut self, now: Moment) {
        if self.watched || self.owes_inquiry {
            self.ask_behind(now);
        }
    }

    /// Asks behind the gateway in use whether the tunnel leads there, as soon as it can be.
    pub(super) fn ask_behind(&mut self, now: Moment) {
        self.owes_inquiry = !self.can_send();
        let Phase::Using { path, doubt: None } = self.phase else {
            return;
        };
        if self.owes_inquiry {
            return;
        }
        if let Some(question) = self.inquiry.ask(&mut self.seed, now) {
            self.paths[path].send(&question, now);
        }
    }

    /// Calls the gateways before the one in use from time to time; their
    /// answers decide whether to return to them.
    pub(super) fn recheck_preferred(&mut self, now: Moment) {
        let Phase::Using { path, doubt: None } = self.phase else {
            return;
        };
        if !self.rechecks() || self.recheck_at > now {
            return;
        }
        self.recheck_at = now + RECHECK + self.seed.below(JITTER);
        for preferred in &mut self.paths[..path] {
            preferred.look_up(LOOKUP_AGAIN, now);
            preferred.recheck(RECHECK * 2, now);
        }
    }

    /// Returns whether what is behind the gateway is asked from time to time.
    fn asks_again(&self) -> bool {
        self.watched && !self.owes_inquiry
    }

    fn stays_open(&self) -> bool {
        self.keepalive.is_some() || self.watched
    }

    /// Returns how long a gateway in use may be silent before it is called to see whether it is there.
    fn longest_silence(&self) -> Option<Duration> {
        if self.watched && !self.inquiry.can_ask() {
            return Some(WATCHED_SILENCE);
        }
        self.stays_open().then_some(SILENCE)
    }

    fn rechecks(&self) -> bool {
        match self.phase {
            Phase::Using { path, doubt: None } => {
                path > 0 && (self.stays_open() || self.wanted || self.busy)
            }
            Phase::Using { .. } | Phase::Calling { .. } | Phase::Resting { .. } => false,
        }
    }

    /// Returns when the phase next has something to do.
    pub(super) fn phase_due(&self) -> Option<Moment> {
        match self.phase {
            Phase::Calling { call, .. } => Some(call.due(CALL_AGAIN, CALL_GIVES_UP)),
            Phase::Resting { until } => until,
            Phase::Using {
                path,
                doubt: Some(doubt),
            } => Some(doubt.due(DOUBT_AGAIN, self.paths[path].patience(DOUBT_GIVES_UP))),
            Phase::Using { path, doubt: None } => {
                let path = &self.paths[path];
                let keepalive = self
                    .keepalive
                    .map(|interval| path.last_sent.unwrap_or_default() + interval);
                let checkup = path.checkup_at(self.longest_silence());
                let recheck = self.rechecks().then_some(self.recheck_at);
                [
                    path.doubtful_at(),
                    path.call_at,
                    keepalive,
                    checkup,
                    recheck,
                    self.inquiry.due(self.asks_again()),
                ]
                .into_iter()
                .flatten()
                .min()
            }
        }
    }
}

impl Call {
    pub(super) const fn first(now: Moment) -> Self {
        Self {
            since: now,
            calls: 1,
        }
    }

    fn due(self, again: Duration, gives_up: Duration) -> Moment {
        self.since + (again * self.calls).min(gives_up)
    }

    fn repeated(self) -> Self {
        Self {
            calls: self.calls + 1,
            ..self
        }
    }
}

/// Three calls find a gateway through a path that loses every second packet,
/// and an application that waits at most five seconds still gets to the next.
const CALL_AGAIN: Duration = Duration::from_millis(500);
pub(super) const CALL_GIVES_UP: Duration = Duration::from_millis(1500);

/// A gateway in doubt has talked to us a second ago, so it is given less time.
pub(super) const DOUBT_AGAIN: Duration = Duration::from_millis(400);
const DOUBT_GIVES_UP: Duration = Duration::from_millis(1200);

/// WireGuard's Rekey-After-Time (section 6.1): an idle tunnel costs the gateway
/// no more handshakes than a busy one.
const SILENCE: Duration = Duration::from_secs(120);
/// People who look forgive so much; a gateway takes a thousand handshakes a second easily.
const WATCHED_SILENCE: Duration = Duration::from_secs(10);

/// Two rounds find a gateway that missed the first one.
const PATIENT_ROUNDS: u32 = 2;
const FIRST_REST: Duration = Duration::from_secs(1);

/// A gateway that comes back is found within five seconds, for a quarter of an
/// hour, which is so many rounds; after that the battery matters more.
const REST: Duration = Duration::from_secs(4);
const LONG_LOST: u32 = 216;
const LONGEST_REST: Duration = Duration::from_secs(30);

/// How old the address of a gateway that stays silent may become.
const LOOKUP_AGAIN: Duration = Duration::from_secs(30);

/// How often a better gateway is called, and how long it must have answered
/// before it is returned to.
pub(super) const RECHECK: Duration = Duration::from_secs(30);
const STEADY: Duration = Duration::from_secs(30);
/// The same while flows are live: ten calls, none of them missed twice in a row.
const LONG_STEADY: Duration = Duration::from_secs(300);

use std::net::IpAddr;
use std::time::Duration;

use connector_core::network::Prefix;
use connector_core::time::Moment;

use super::{Addresses, Failure, Outcome};
use crate::dns::{Answer, RecordKind, Response};

/// A name that is being resolved: two questions, one for each kind of address.
#[derive(Debug)]
pub(super) struct Search {
    servers: Vec<IpAddr>,
    v4: Half,
    v6: Half,
    /// When it is given up, or the missing half is done without.
    ends: Moment,
    ports: Vec<u16>,
}

/// One of the two questions.
#[derive(Debug)]
pub(super) struct Half {
    /// How often it was sent, which says whose turn it is.
    sent: usize,
    /// How often an answer stayed away.
    lost: usize,
    /// How many servers would not answer.
    refused: usize,
    again_at: Moment,
    state: State,
}

#[derive(Debug)]
enum State {
    Answered {
        addresses: Vec<IpAddr>,
        ttl: Duration,
    },
    Failed(Failure),
    NoSuchName,
    Waiting,
}

impl Search {
    pub(super) fn new(servers: Vec<IpAddr>, now: Moment) -> Self {
        Self {
            servers,
            v4: Half::new(now),
            v6: Half::new(now),
            ends: now + GIVES_UP,
            ports: Vec::new(),
        }
    }

    /// Notes that a question goes out; returns to whom.
    pub(super) fn note_asked(&mut self, kind: RecordKind, port: u16, now: Moment) -> IpAddr {
        self.ports.push(port);
        let servers = self.servers.len();
        let half = self.half_mut(kind);
        let turn = half.sent % servers;
        half.sent += 1;
        half.wait(now);
        self.servers[turn]
    }

    /// Takes in an answer; returns whether another server is to be asked at once.
    pub(super) fn take(&mut self, kind: RecordKind, response: Response, now: Moment) -> bool {
        let servers = self.servers.len();
        let half = self.half_mut(kind);
        if !half.is_waiting() {
            return false;
        }
        let failure = match response.answer {
            Answer::Addresses(found) if !found.is_empty() || !response.is_truncated => {
                half.state = State::from_addresses(found, response.ttl);
                if half.has_addresses() {
                    self.ends = self.ends.min(now + GRACE);
                }
                return false;
            }
            Answer::Addresses(_) => Failure::Truncated,
            Answer::Failed(code) => Failure::Refused(code),
            Answer::NoSuchName => {
                half.state = State::NoSuchName;
                return false;
            }
        };
        half.refused += 1;
        if half.refused < servers {
            return true;
        }
        half.state = State::Failed(failure);
        false
    }

    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.ends <= now || !(self.v4.is_waiting() || self.v6.is_waiting())
    }

    pub(super) fn due(&self) -> Moment {
        let halves = [&self.v4, &self.v6];
        halves
            .into_iter()
            .filter(|half| half.is_waiting())
            .fold(self.ends, |due, half| due.min(half.again_at))
    }

    pub(super) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Returns what the answers add up to, and how long that holds.
    pub(super) fn outcome(self) -> (Outcome, Duration) {
        let halves = [self.v4.state, self.v6.state];
        let mut found = Addresses::default();
        let mut life = LONGEST_LIFE;
        let mut no_such_name = false;
        let mut failure = None;
        for half in halves {
            match half {
                State::Answered { addresses, ttl } => {
                    if !addresses.is_empty() {
                        life = life.min(ttl);
                    }
                    for address in addresses {
                        match address {
                            IpAddr::V4(v4) => found.v4.push(v4),
                            IpAddr::V6(v6) => found.v6.push(v6),
                        }
                    }
                }
                State::Failed(reason) => failure = failure.or(Some(reason)),
                State::NoSuchName => no_such_name = true,
                State::Waiting => failure = failure.or(Some(Failure::Silent)),
            }
        }

        // Some servers deny a name that has addresses of the other kind only:
        // addresses outweigh everything else.
        if !(found.v4.is_empty() && found.v6.is_empty()) {
            return (Outcome::Found(found), life.max(SHORTEST_LIFE));
        }
        match (failure, no_such_name) {
            (_, true) => (Outcome::NoSuchName, NOTHING_LIVES),
            (Some(failure), false) => (Outcome::Failed(failure), FAILURE_LIVES),
            (None, false) => (Outcome::Found(found), NOTHING_LIVES),
        }
    }

    pub(super) fn half(&self, kind: RecordKind) -> &Half {
        if kind == RecordKind::Aaaa {
            &self.v6
        } else {
            &self.v4
        }
    }

    pub(super) fn half_mut(&mut self, kind: RecordKind) -> &mut Half {
        if kind == RecordKind::Aaaa {
            &mut self.v6
        } else {
            &mut self.v4
        }
    }
}

impl Half {
    fn new(now: Moment) -> Self {
        Self {
            sent: 0,
            lost: 0,
            refused: 0,
            again_at: now + AGAIN[0],
            state: State::Waiting,
        }
    }

    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.is_waiting() && self.again_at <= now
    }

    pub(super) fn note_lost(&mut self, now: Moment) {
        self.lost += 1;
        self.wait(now);
    }

    fn wait(&mut self, now: Moment) {
        self.again_at = now + AGAIN.get(self.lost).copied().unwrap_or(GIVES_UP);
    }

    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    fn has_addresses(&self) -> bool {
        matches!(self.state, State::Answered { ref addresses, .. } if !addresses.is_empty())
    }
}

impl State {
    /// Leaves out what no tunnel leads to: a site must not make a program
    /// believe that it talks to the site when it talks to its own machine.
    fn from_addresses(found: Vec<IpAddr>, ttl: Duration) -> Self {
        let (forbidden, addresses): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|address| Prefix::host(*address).reserved().is_some());
        match forbidden.first() {
            Some(first) if addresses.is_empty() => Self::Failed(Failure::Forbidden(*first)),
            Some(_) | None => Self::Answered { addresses, ttl },
        }
    }
}

/// When a question is sent again, counted from the time before; lost questions
/// are common on a path that is being set up.
const AGAIN: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Programs give up connecting after some seconds; so that they are told why.
const GIVES_UP: Duration = Duration::from_secs(4);

/// How long the second kind of address is waited for once there is one of the
/// first: some servers never answer for the kind that a name does not have.
const GRACE: Duration = Duration::from_millis(500);

const SHORTEST_LIFE: Duration = Duration::from_secs(5);
const LONGEST_LIFE: Duration = Duration::from_secs(300);

/// How long it is believed that there is nothing.
const NOTHING_LIVES: Duration = Duration::from_secs(10);

/// How long a failure keeps others from asking the same again.
const FAILURE_LIVES: Duration = Duration::from_secs(1);

//! Whether anything answers behind the gateway in use: a name server of the site is asked while
//! somebody watches.
//!
//! A handshake proves that a gateway is there, not that it leads anywhere. An answer from
//! behind it proves both, and costs the gateway no handshake.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use connector_core::time::Moment;

use crate::dns::{Query, RecordKind};
use crate::packet::{Headers, Kind, udp_packet};
use crate::random::Seed;

/// The questions to what is behind the gateways of one site.
#[derive(Debug)]
pub(super) struct Inquiry {
    /// An address of ours and a name server, both of one IP version.
    ways: Vec<(IpAddr, IpAddr)>,
    next_way: usize,
    /// The last questions without an answer; a late one says how long the way is.
    open: Vec<Question>,
    last_asked: Option<Moment>,
    /// Whether the last question may still be answered in time.
    waits: bool,
    /// Questions in a row that had no answer in time, and when that was seen last.
    missed: u32,
    missed_at: Moment,
    /// When the last answer came, and how long it took.
    answered: Option<(Moment, Duration)>,
    /// When anything else came from behind the gateway.
    heard: Option<Moment>,
}

#[derive(Debug)]
struct Question {
    from: SocketAddr,
    to: SocketAddr,
    id: u16,
    at: Moment,
}

/// What came of asking behind a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// Something answers.
    Answers {
        /// When it did last.
        at: Moment,
        /// How long that took.
        took: Duration,
    },
    /// It was asked, and nothing is known yet.
    Asked {
        /// When.
        at: Moment,
    },
    /// Nothing answers.
    Silent {
        /// When it was asked last.
        at: Moment,
    },
}

impl Inquiry {
    pub(super) fn new(addresses: &[IpAddr], servers: impl Iterator<Item = IpAddr>) -> Self {
        let way_to = |server: IpAddr| {
            let is_alike = |ours: &&IpAddr| ours.is_ipv4() == server.is_ipv4();
            Some((*addresses.iter().find(is_alike)?, server))
        };
        Self {
            ways: servers.filter_map(way_to).collect(),
            next_way: 0,
            open: Vec::new(),
            last_asked: None,
            waits: false,
            missed: 0,
            missed_at: Moment::default(),
            answered: None,
            heard: None,
        }
    }

    /// Starts anew: behind another gateway, or on another way there.
    pub(super) fn forget(&mut self) {
        self.open.clear();
        self.last_asked = None;
        self.waits = false;
        self.missed = 0;
        self.answered = None;
        self.heard = None;
    }

    /// Returns whether there is anybody to ask.
    pub(super) fn can_ask(&self) -> bool {
        !self.ways.is_empty()
    }

    /// Returns the next question as a packet, if there is anybody to ask; none while the answer
    /// to the last one may still come in time.
    pub(super) fn ask(&mut self, seed: &mut Seed, now: Moment) -> Option<Vec<u8>> {
        let is_old = |asked: Moment| now.since(asked) > STALE;
        if self.last_asked.is_some_and(is_old) {
            self.forget();
        }
        self.note_missed(now);
        if self.waits {
            return None;
        }
        if self.missed > 0 {
            self.next_way += 1;
        }
        let (ours, server) = *self.ways.get(self.next_way % self.ways.len().max(1))?;
        let [a, b, c, d, ..] = seed.draw().to_le_bytes();
        let question = Question {
            from: SocketAddr::new(ours, u16::from_le_bytes([c, d]) | HIGH_PORTS),
            to: SocketAddr::new(server, DNS_PORT),
            id: u16::from_le_bytes([a, b]),
            at: now,
        };
        let packet = udp_packet(question.from, question.to, &question.message()?);
        self.last_asked = Some(now);
        self.waits = true;
        self.open.retain(|open| now.since(open.at) < LATEST_ANSWER);
        self.open.push(question);
        Some(packet)
    }

    /// Takes note of a packet from behind the gateway; returns whether it is an answer, which
    /// is for nobody else.
    pub(super) fn take(&mut self, packet: &[u8], now: Moment) -> bool {
        if self.open.is_empty() {
            self.heard = Some(now);
            return false;
        }
        let Some(headers) = Headers::parse(packet) else {
            return false;
        };
        if matches!(headers.kind, Kind::Error { .. }) {
            // Which may well be the gateway's own, about our question.
            return false;
        }
        let is_answer = |open: &Question| open.is_answered_by(packet, &headers);
        let Some(at) = self.open.iter().position(is_answer) else {
            self.heard = Some(now);
            return false;
        };
        let question = self.open.swap_remove(at);
        self.missed = 0;
        self.answered = Some((now, now.since(question.at)));
        self.waits &= self.last_asked != Some(question.at);
        true
    }

    /// Notes that the last question was not answered in time, if so; returns when it was asked.
    pub(super) fn note_missed(&mut self, now: Moment) -> Option<Moment> {
        let asked = self.last_asked.filter(|_| self.waits)?;
        if now < asked + self.patience() {
            return None;
        }
        self.waits = false;
        self.missed += 1;
        self.missed_at = now;
        Some(asked)
    }

    /// Returns when there is something to do: to ask again if somebody is `watching`, or to note
    /// that there was no answer.
    pub(super) fn due(&self, watching: bool) -> Option<Moment> {
        let asked = self.last_asked?;
        if self.waits {
            return Some(asked + self.patience());
        }
        watching.then(|| asked + self.pause())
    }

    /// Returns whether to ask again.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        !self.waits && self.due(true).is_some_and(|due| due <= now)
    }

    pub(super) fn report(&self) -> Option<Behind> {
        let asked = self.last_asked?;
        let is_heard = |heard: Moment| self.missed_at.since(heard) < HEARD_LATELY;
        let is_silent = self.missed >= SILENT_AFTER && !self.heard.is_some_and(is_heard);
        Some(match self.answered {
            _ if is_silent => Behind::Silent { at: self.missed_at },
            Some((at, took)) => Behind::Answers { at, took },
            None => Behind::Asked { at: asked },
        })
    }

    /// How long an answer may take.
    fn patience(&self) -> Duration {
        self.answered.map_or(FIRST_ANSWER, |(_, took)| {
            (took * 4).clamp(SHORTEST_PATIENCE, LONGEST_PATIENCE)
        })
    }

    /// How long after a question the next one comes.
    fn pause(&self) -> Duration {
        match self.missed {
            0 => PAUSE,
            1..SILENT_AFTER => self.patience() + SHORTEST_PATIENCE,
            SILENT_AFTER.. => LONG_PAUSE,
        }
    }
}

impl Question {
    /// Asks for what every server answers itself, and shortly (RFC 6761, section 6.3), and does
    /// not have it ask others.
    fn message(&self) -> Option<Vec<u8>> {
        let query = Query {
            id: self.id,
            name: "localhost".parse().ok()?,
            kind: RecordKind::A,
        };
        let mut message = query.encode();
        *message.get_mut(2)? &= !RECURSION_DESIRED;
        Some(message)
    }

    fn is_answered_by(&self, packet: &[u8], headers: &Headers) -> bool {
        let Kind::Udp {
            source,
            destination,
        } = headers.kind
        else {
            return false;
        };
        let from = SocketAddr::new(headers.source, source);
        let to = SocketAddr::new(headers.destination, destination);
        let message = packet.get(headers.transport + UDP_HEADER..headers.length);
        let id = message.and_then(|message| message.first_chunk());
        from == self.to && to == self.from && id == Some(&self.id.to_be_bytes())
    }
}

/// Frequent enough for what people see to be true, and 4.5 MB a day.
const PAUSE: Duration = Duration::from_secs(4);

/// Where nothing answers, a handshake follows each question.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// A server that was never asked may have to wake up.
const FIRST_ANSWER: Duration = Duration::from_millis(900);
const SHORTEST_PATIENCE: Duration = Duration::from_millis(300);
const LONGEST_PATIENCE: Duration = Duration::from_secs(3);

/// One in a hundred packets may get lost on the way, and the next one as well.
const SILENT_AFTER: u32 = 3;

/// Applications that speak show that the gateway leads somewhere, whatever its name servers do.
const HEARD_LATELY: Duration = Duration::from_secs(30);

/// What was found out before a pause as long as this holds no longer.
const STALE: Duration = Duration::from_secs(30);

/// A later answer is not recognised. Until then some eight questions are asked.
const LATEST_ANSWER: Duration = Duration::from_secs(5);

const DNS_PORT: u16 = 53;
const UDP_HEADER: usize = 8;

/// In the third byte of a message (RFC 1035, section 4.1.1).
const RECURSION_DESIRED: u8 = 1;

/// Where the ports begin that nobody is assigned (RFC 6335, section 6).
const HIGH_PORTS: u16 = 0xc000;

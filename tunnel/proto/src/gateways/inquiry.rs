//! Whether anything answers behind the gateway in use: a name server of the site is asked while
//! somebody watches.
//!
//! A handshake proves that a gateway is there, not that it leads anywhere. An answer from
//! behind it proves both, and costs the gateway no handshake.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use connector_core::name::DomainName;
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
    last: Option<Question>,
    /// Questions in a row that had no answer in time.
    missed: u32,
    /// When the last answer came, and how long it took.
    answered: Option<(Moment, Duration)>,
}

#[derive(Debug)]
struct Question {
    from: SocketAddr,
    to: SocketAddr,
    id: u16,
    at: Moment,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It had no answer in time; a late one counts still.
    Missed,
    Waiting,
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
    pub(super) fn new(addresses: &[IpAddr], servers: &[IpAddr]) -> Self {
        let way_to = |server: &IpAddr| {
            let ours = addresses
                .iter()
                .find(|ours| ours.is_ipv4() == server.is_ipv4())?;
            Some((*ours, *server))
        };
        Self {
            ways: servers.iter().filter_map(way_to).collect(),
            next_way: 0,
            last: None,
            missed: 0,
            answered: None,
        }
    }

    /// Starts anew behind another gateway.
    pub(super) fn forget(&mut self) {
        self.last = None;
        self.missed = 0;
        self.answered = None;
    }

    /// Returns whether there is anybody to ask.
    pub(super) fn can_ask(&self) -> bool {
        !self.ways.is_empty()
    }

    /// Returns the next question as a packet, if there is anybody to ask; none while the answer
    /// to the last one may still come in time.
    pub(super) fn ask(&mut self, seed: &mut Seed, now: Moment) -> Option<Vec<u8>> {
        self.note_missed(now);
        let waits = |last: &Question| last.fate == Fate::Waiting;
        if self.last.as_ref().is_some_and(waits) {
            return None;
        }
        if self.missed > 0 {
            self.next_way += 1;
        }
        let (ours, server) = *self.ways.get(self.next_way % self.ways.len().max(1))?;
        // A server answers for this name itself, and shortly (RFC 6761, section 6.3).
        let name: DomainName = "localhost".parse().ok()?;
        let [a, b, c, d, ..] = seed.draw().to_le_bytes();
        let query = Query {
            id: u16::from_le_bytes([a, b]),
            name,
            kind: RecordKind::A,
        };
        let question = Question {
            from: SocketAddr::new(ours, u16::from_le_bytes([c, d]) | HIGH_PORTS),
            to: SocketAddr::new(server, DNS_PORT),
            id: query.id,
            at: now,
            fate: Fate::Waiting,
        };
        let packet = udp_packet(question.from, question.to, &query.encode());
        self.last = Some(question);
        Some(packet)
    }

    /// Takes note of a packet from behind the gateway; returns whether it is the answer, which
    /// is for nobody else.
    pub(super) fn take(&mut self, packet: &[u8], now: Moment) -> bool {
        let Some(last) = &mut self.last else {
            return false;
        };
        if last.fate == Fate::Answered && self.missed == 0 {
            return false;
        }
        let Some(headers) = Headers::parse(packet) else {
            return false;
        };
        if matches!(headers.kind, Kind::Error { .. }) {
            // Which may well be the gateway's own.
            return false;
        }
        self.missed = 0;
        if last.fate == Fate::Answered || !last.is_answered_by(packet, &headers) {
            return false;
        }
        last.fate = Fate::Answered;
        self.answered = Some((now, now.since(last.at)));
        true
    }

    /// Notes that the last question was not answered in time, if so; returns when it was asked.
    pub(super) fn note_missed(&mut self, now: Moment) -> Option<Moment> {
        let patience = self.patience();
        let last = self.last.as_mut()?;
        if last.fate != Fate::Waiting || now < last.at + patience {
            return None;
        }
        last.fate = Fate::Missed;
        self.missed += 1;
        Some(last.at)
    }

    /// Returns when there is something to do: to ask again if somebody is `watching`, or to note
    /// that there was no answer.
    pub(super) fn due(&self, watching: bool) -> Option<Moment> {
        let last = self.last.as_ref()?;
        match last.fate {
            Fate::Waiting => Some(last.at + self.patience()),
            Fate::Answered | Fate::Missed => watching.then(|| last.at + self.pause()),
        }
    }

    /// Returns whether to ask again.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        let is_over = |last: &Question| last.fate != Fate::Waiting;
        self.last.as_ref().is_some_and(is_over) && self.due(true).is_some_and(|due| due <= now)
    }

    pub(super) fn report(&self) -> Option<Behind> {
        let asked_at = self.last.as_ref()?.at;
        Some(match self.answered {
            _ if self.missed >= SILENT_AFTER => Behind::Silent { at: asked_at },
            Some((at, took)) => Behind::Answers { at, took },
            None => Behind::Asked { at: asked_at },
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

const DNS_PORT: u16 = 53;
const UDP_HEADER: usize = 8;

/// Where the ports begin that nobody is assigned (RFC 6335, section 6).
const HIGH_PORTS: u16 = 0xc000;

//! What names of resources mean behind the gateways: asks the resolvers of a
//! site through the tunnel, and remembers what they say.
//!
//! Contract: after every `handle_*` and [`resolve`](Resolving::resolve), take
//! what [`poll_transmit`](Resolving::poll_transmit) has until it has nothing,
//! and come back when [`poll_timeout`](Resolving::poll_timeout) says.

mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use connector_core::catalogue::SiteId;
use connector_core::name::DomainName;
use connector_core::time::Moment;

use self::search::Search;
use crate::dns::{Query, RecordKind};
use crate::random::Seed;
use crate::split_dns::Known;
use crate::synthetic::KeyedHash;

/// Resolves names behind sites' gateways.
#[derive(Debug)]
pub struct Resolving {
    searches: BTreeMap<Place, Search>,
    /// The questions that wait for an answer, by the port that it comes to.
    asked: BTreeMap<(SiteId, u16), Asked>,
    known: BTreeMap<Place, Remembered>,
    transmits: VecDeque<Transmit>,
    /// Draws numbers and ports that nobody foresees who sees others of them.
    hash: KeyedHash,
    draws: u64,
}

/// The same name may mean different things at different sites.
type Place = (SiteId, DomainName);

/// A datagram for a site's resolver, to its port 53.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The site.
    pub site: SiteId,
    /// The resolver, an address behind the site's gateways.
    pub server: IpAddr,
    /// The port that the answer is to come to.
    pub source_port: u16,
    /// The message.
    pub message: Vec<u8>,
}

/// A name that something is known about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The site.
    pub site: SiteId,
    /// The name.
    pub name: DomainName,
    /// What is known.
    pub outcome: Outcome,
    /// How long it holds.
    pub until: Moment,
}

/// What came of resolving a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It cannot be told.
    Failed(Failure),
    /// The name exists, and has these addresses, if any.
    Found(Addresses),
    /// The site knows no such name.
    NoSuchName,
}

impl Outcome {
    /// Returns what clients may be told, if anything is known.
    #[must_use]
    pub fn known(&self) -> Option<Known> {
        match self {
            Self::Failed(_) => None,
            Self::Found(found) => Some(Known::Addresses {
                v4: !found.v4.is_empty(),
                v6: !found.v6.is_empty(),
            }),
            Self::NoSuchName => Some(Known::NoSuchName),
        }
    }
}

/// The addresses of a name, in the order in which the resolver lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4 addresses.
    pub v4: Vec<Ipv4Addr>,
    /// IPv6 addresses.
    pub v6: Vec<Ipv6Addr>,
}

impl Addresses {
    /// Returns the first address of an IP version.
    #[must_use]
    pub fn first(&self, is_ipv4: bool) -> Option<IpAddr> {
        if is_ipv4 {
            self.v4.first().copied().map(IpAddr::V4)
        } else {
            self.v6.first().copied().map(IpAddr::V6)
        }
    }
}

/// Why a name could not be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The name leads only to addresses that no tunnel carries.
    #[error(
        "the site's name server says {0}, which no tunnel leads to; its record has to be mended"
    )]
    Forbidden(IpAddr),
    /// The name servers answered with this code (RFC 1035, section 4.1.1).
    #[error("the site's name servers answer with code {0}")]
    Refused(u16),
    /// No name server answers.
    #[error("the site's name servers do not answer")]
    Silent,
    /// The answer is longer than a datagram.
    #[error("the site's name servers have a longer answer than fits a datagram")]
    Truncated,
}

/// Why a name is not being resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The site has no name servers.
    #[error("the site has no name servers; its configuration must list them")]
    NoServers,
    /// As many names as allowed are being resolved already.
    #[error("{MAX_SEARCHES} names are being resolved already; try again in a moment")]
    TooMany,
}

#[derive(Debug)]
struct Asked {
    name: DomainName,
    kind: RecordKind,
    server: IpAddr,
    id: u16,
    wrong: u8,
}

#[derive(Debug)]
struct Remembered {
    outcome: Outcome,
    until: Moment,
}

impl Resolving {
    /// Starts with nothing known. The seed must be unpredictable.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self {
            searches: BTreeMap::new(),
            asked: BTreeMap::new(),
            known: BTreeMap::new(),
            transmits: VecDeque::new(),
            hash: KeyedHash::new(seed),
            draws: 0,
        }
    }

    /// Has a name resolved, unless its meaning is known or being asked for.
    ///
    /// # Errors
    ///
    /// There is nobody to ask, or too much is being asked.
    pub fn resolve(
        &mut self,
        site: SiteId,
        name: DomainName,
        servers: &[IpAddr],
        now: Moment,
    ) -> Result<(), ResolveError> {
        if servers.is_empty() {
            return Err(ResolveError::NoServers);
        }
        let place = (site, name);
        if self.lookup(&place, now).is_some() || self.searches.contains_key(&place) {
            return Ok(());
        }
        if self.searches.len() >= MAX_SEARCHES {
            return Err(ResolveError::TooMany);
        }
        let servers = servers.iter().copied().take(MAX_SERVERS).collect();
        self.searches
            .insert(place.clone(), Search::new(servers, now));
        for kind in KINDS {
            self.ask(&place, kind, now);
        }
        Ok(())
    }

    /// Returns what is known about a name.
    #[must_use]
    pub fn answer(&self, site: &SiteId, name: &DomainName, now: Moment) -> Option<&Outcome> {
        self.lookup(&(site.clone(), name.clone()), now)
    }

    /// Returns whether an answer of a site's resolver is awaited at a port.
    #[must_use]
    pub fn expects(&self, site: &SiteId, port: u16) -> bool {
        self.asked.contains_key(&(site.clone(), port))
    }

    /// Returns the next datagram to send.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Takes in a datagram from a site; returns the name that is resolved by it.
    /// What nobody asked for is dropped.
    pub fn handle_response(
        &mut self,
        site: &SiteId,
        from: SocketAddr,
        to_port: u16,
        message: &[u8],
        now: Moment,
    ) -> Option<Resolved> {
        let key = (site.clone(), to_port);
        let asked = self.asked.get_mut(&key)?;
        if from != SocketAddr::new(asked.server, DNS_PORT) {
            return None;
        }
        let query = Query {
            id: asked.id,
            name: asked.name.clone(),
            kind: asked.kind,
        };
        let Some(response) = query.decode_response(message) else {
            // Whoever tries one number after another does not get far.
            asked.wrong += 1;
            if asked.wrong >= MAX_WRONG {
                self.asked.remove(&key);
            }
            return None;
        };
        self.asked.remove(&key);

        let place = (site.clone(), query.name);
        let search = self.searches.get_mut(&place)?;
        if search.take(query.kind, response, now) {
            self.ask(&place, query.kind, now);
        }
        self.settle(&place, now)
    }

    /// Lets time pass; returns the names that were given up, or that have
    /// waited long enough for the rest of their addresses.
    pub fn handle_timeout(&mut self, now: Moment) -> Vec<Resolved> {
        let mut over = Vec::new();
        let mut again = Vec::new();
        for (place, search) in &self.searches {
            if search.is_over(now) {
                over.push(place.clone());
                continue;
            }
            let due = KINDS
                .into_iter()
                .filter(|kind| search.half(*kind).is_due(now));
            again.extend(due.map(|kind| (place.clone(), kind)));
        }
        for (place, kind) in again {
            if let Some(search) = self.searches.get_mut(&place) {
                search.half_mut(kind).note_lost(now);
            }
            self.ask(&place, kind, now);
        }
        over.into_iter()
            .filter_map(|place| self.settle(&place, now))
            .collect()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.searches.values().map(Search::due).min()
    }

    fn lookup(&self, place: &Place, now: Moment) -> Option<&Outcome> {
        let remembered = self.known.get(place)?;
        (remembered.until > now).then_some(&remembered.outcome)
    }

    /// Sends one half of a search to the next server.
    fn ask(&mut self, place: &Place, kind: RecordKind, now: Moment) {
        let (site, name) = place;
        let Some((port, id)) = self.draw(site) else {
            return;
        };
        let Some(search) = self.searches.get_mut(place) else {
            return;
        };
        let server = search.note_asked(kind, port, now);
        let query = Query {
            id,
            name: name.clone(),
            kind,
        };
        self.transmits.push_back(Transmit {
            site: site.clone(),
            server,
            source_port: port,
            message: query.encode(),
        });
        self.asked.insert(
            (site.clone(), port),
            Asked {
                name: query.name,
                kind,
                server,
                id,
                wrong: 0,
            },
        );
    }

    /// Draws a port that nothing is awaited at, and a number.
    fn draw(&mut self, site: &SiteId) -> Option<(u16, u16)> {
        for _ in 0..MAX_DRAWS {
            self.draws += 1;
            let bits = self.hash.hash(&self.draws.to_le_bytes());
            let [a, b, c, d, ..] = bits.to_be_bytes();
            let offset = bits % u64::from(LAST_PORT - FIRST_PORT);
            let port = FIRST_PORT + u16::try_from(offset).ok()?;
            if !self.expects(site, port) {
                return Some((port, u16::from_be_bytes([a ^ c, b ^ d])));
            }
        }
        None
    }

    /// Ends a search that is over, and remembers what came of it.
    fn settle(&mut self, place: &Place, now: Moment) -> Option<Resolved> {
        if !self.searches.get(place)?.is_over(now) {
            return None;
        }
        let search = self.searches.remove(place)?;
        let (site, name) = place;
        for port in search.ports() {
            let key = (site.clone(), *port);
            if self
                .asked
                .get(&key)
                .is_some_and(|asked| asked.name == *name)
            {
                self.asked.remove(&key);
            }
        }
        let (outcome, life) = search.outcome();
        let until = now + life;
        self.remember(place.clone(), outcome.clone(), until, now);
        Some(Resolved {
            site: site.clone(),
            name: name.clone(),
            outcome,
            until,
        })
    }

    fn remember(&mut self, place: Place, outcome: Outcome, until: Moment, now: Moment) {
        if self.known.len() >= MAX_KNOWN {
            self.known.retain(|_, remembered| remembered.until > now);
        }
        if self.known.len() >= MAX_KNOWN
            && let Some((soonest, _)) = self.known.iter().min_by_key(|(_, known)| known.until)
        {
            let soonest = soonest.clone();
            self.known.remove(&soonest);
        }
        self.known.insert(place, Remembered { outcome, until });
    }
}

/// Both are asked for at once.
const KINDS: [RecordKind; 2] = [RecordKind::A, RecordKind::Aaaa];

const DNS_PORT: u16 = 53;

/// Where programs' own ports come from on most systems, so that our questions
/// look like theirs.
const FIRST_PORT: u16 = 32_768;
const LAST_PORT: u16 = 61_000;

/// Names that are resolved at the same time.
const MAX_SEARCHES: usize = 256;

/// Names that something is known about.
const MAX_KNOWN: usize = 4096;

/// More name servers than any site lists.
const MAX_SERVERS: usize = 8;

/// Wrong answers to one question before it counts as lost.
const MAX_WRONG: u8 = 8;

/// With all searches under way, one port in four is taken at worst.
const MAX_DRAWS: u32 = 64;

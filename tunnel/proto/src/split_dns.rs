//! Which questions of programs this machine answers itself, and how.
//!
//! Names of resources get synthetic addresses. Every other name in a protected
//! zone does not exist, whatever is asked about it: such a question is never
//! passed on, lest the name leave the machine in clear. The same goes for the
//! reverse names of synthetic addresses and of resources' prefixes. What is
//! left goes to where it went before.

mod protection;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use connector_core::name::DomainName;
use connector_core::time::Moment;

use self::protection::{Index, Place};
use crate::dns::{self, BadRequest, RecordKind, Reply, Request, Reverse, Transport};
use crate::synthetic::SyntheticNames;

pub use self::protection::Protection;

/// Answers the questions of programs, or has them passed on.
#[derive(Debug)]
pub struct SplitDns {
    names: SyntheticNames,
    index: Index,
    known: BTreeMap<DomainName, (Known, Moment)>,
}

/// What becomes of a program's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Ask those who were asked before; the answer is to go through
    /// [`SplitDns::is_harmless`].
    Forward(Request),
    /// Leave it unanswered: it is no question.
    Ignore,
    /// Send this back.
    Reply(Vec<u8>),
}

/// What the resolvers behind the gateways say of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The name exists.
    Addresses {
        /// It has IPv4 addresses.
        v4: bool,
        /// It has IPv6 addresses.
        v6: bool,
    },
    /// The name does not exist.
    NoSuchName,
}

impl SplitDns {
    /// Starts with nothing protected.
    #[must_use]
    pub fn new(names: SyntheticNames) -> Self {
        Self {
            names,
            index: Index::default(),
            known: BTreeMap::new(),
        }
    }

    /// Replaces what is protected. Names keep their addresses; what was known
    /// about them is forgotten.
    pub fn set_protection(&mut self, protection: &Protection) {
        self.index = Index::new(protection);
        self.known.clear();
    }

    /// Notes what the resolvers behind the gateways say of a name, until then.
    pub fn learn(&mut self, name: DomainName, known: Known, until: Moment, now: Moment) {
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(&name) {
            self.known.retain(|_, (_, until)| *until > now);
        }
        if self.known.len() >= MAX_KNOWN
            && let Some(soonest) = self.known.iter().min_by_key(|(_, (_, until))| *until)
        {
            let soonest = soonest.0.clone();
            self.known.remove(&soonest);
        }
        self.known.insert(name, (known, until));
    }

    /// Answers a program's message, or says what else becomes of it.
    pub fn answer(&mut self, message: &[u8], transport: Transport, now: Moment) -> Answer {
        let request = match Request::parse(message) {
            Ok(request) => request,
            Err(BadRequest::Answered(reply)) => return Answer::Reply(reply),
            Err(BadRequest::Silent) => return Answer::Ignore,
        };
        match self.reply(&request, now) {
            Some(reply) => Answer::Reply(request.reply(&reply, transport)),
            None => Answer::Forward(request),
        }
    }

    /// Returns whether an answer from outside may be given to a program.
    ///
    /// One that is malformed may not, nor one that leads to synthetic addresses:
    /// a page of a stranger's site must not get at an application by having its
    /// own name mean the application's address (DNS rebinding).
    #[must_use]
    pub fn is_harmless(&self, message: &[u8]) -> bool {
        let range = self.names.range();
        dns::addresses_in(message)
            .is_some_and(|found| !found.iter().any(|address| range.contains(*address)))
    }

    /// Returns the names that have synthetic addresses.
    #[must_use]
    pub fn names(&self) -> &SyntheticNames {
        &self.names
    }

    /// Returns the names that have synthetic addresses, to hold and release them.
    pub fn names_mut(&mut self) -> &mut SyntheticNames {
        &mut self.names
    }

    /// Returns our own answer to a question; `None` if it is not ours.
    fn reply(&mut self, request: &Request, now: Moment) -> Option<Reply> {
        let place = self.index.place(request.name(), self.names.range())?;
        let is_transfer = TRANSFERS.contains(&request.kind());
        if !request.is_internet() || is_transfer {
            return Some(Reply::Refused);
        }
        Some(match place {
            Place::Parent { zone } => no_data(zone),
            Place::Nothing { zone } => no_such_name(zone),
            Place::Resource { name, zone } => self.resource(&name, zone, request.kind(), now),
            Place::Reverse { reverse, zone } => self.reverse(reverse, zone, request.kind()),
        })
    }

    fn resource(
        &mut self,
        name: &DomainName,
        zone: DomainName,
        kind: RecordKind,
        now: Moment,
    ) -> Reply {
        let known = self
            .known
            .get(name)
            .filter(|(_, until)| *until > now)
            .map(|(known, _)| *known);
        let (v4, v6) = match known {
            None => (true, true),
            Some(Known::Addresses { v4, v6 }) => (v4, v6),
            Some(Known::NoSuchName) => return no_such_name(zone),
        };
        let v6 = v6 && self.index.offers_v6();
        let wants_v6 = match kind {
            RecordKind::A if v4 => false,
            RecordKind::Aaaa if v6 => true,
            // One record of those there are is enough (RFC 8482, section 4.1).
            ANY if v4 || v6 => !v4,
            RecordKind::A | RecordKind::Aaaa | RecordKind::Other(_) => return no_data(zone),
        };
        let Some(addresses) = self.names.addresses_of(name) else {
            return Reply::Failed;
        };
        let address = if wants_v6 {
            IpAddr::V6(addresses.v6)
        } else {
            IpAddr::V4(addresses.v4)
        };
        Reply::Address { address, ttl: TTL }
    }

    fn reverse(&self, reverse: Reverse, zone: DomainName, kind: RecordKind) -> Reply {
        if reverse.is_parent() {
            return no_data(zone);
        }
        match reverse
            .address()
            .and_then(|address| self.names.name_of(address))
        {
            Some(name) if kind == PTR || kind == ANY => Reply::Pointer {
                name: name.clone(),
                ttl: TTL,
            },
            Some(_) => no_data(zone),
            None => no_such_name(zone),
        }
    }
}

fn no_data(zone: DomainName) -> Reply {
    Reply::NoData { zone, ttl: TTL }
}

fn no_such_name(zone: DomainName) -> Reply {
    Reply::NoSuchName { zone, ttl: TTL }
}

/// How long programs may remember what we say: short, since a new
/// configuration may say otherwise, and asking us again costs nothing.
const TTL: Duration = Duration::from_secs(5);

/// As many as there are names that have addresses.
const MAX_KNOWN: usize = 8192;

const ANY: RecordKind = RecordKind::Other(255);
const PTR: RecordKind = RecordKind::Other(12);

/// IXFR and AXFR: whole zones.
const TRANSFERS: [RecordKind; 2] = [RecordKind::Other(251), RecordKind::Other(252)];

//! DNS messages (RFC 1035): our own questions for the addresses of a name, and
//! the questions of programs on this machine.
//!
//! [`Query`] is what we ask and what answers it; [`Request`] is what somebody
//! asks us, and [`Reply`] what they are told.

mod name;
mod request;
#[cfg(test)]
mod tests;
mod wire;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use connector_core::name::DomainName;

use self::request::{TO_QUESTION, encode_name};
use self::wire::{
    CNAME, CODE, HTTPS, Header, INTERNET, IS_RESPONSE, NAME_ERROR, RECURSION_AVAILABLE,
    RECURSION_DESIRED, Reader, Record, SVCB, TRUNCATED,
};

pub use self::name::{QuestionName, Reverse};
pub use self::request::{BadRequest, Reply, Request, Transport};

/// A question for the addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Chosen at random by who asks, repeated by who answers.
    pub id: u16,
    /// The name asked for.
    pub name: DomainName,
    /// The kind of record asked for.
    pub kind: RecordKind,
}

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Anything else, by its number.
    Other(u16),
}

impl RecordKind {
    fn number(self) -> u16 {
        match self {
            Self::A => wire::A,
            Self::Aaaa => wire::AAAA,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: u16) -> Self {
        match number {
            wire::A => Self::A,
            wire::AAAA => Self::Aaaa,
            other => Self::Other(other),
        }
    }
}

impl Query {
    /// Writes the question as a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = self.header(RECURSION_DESIRED, 0).encode();
        self.encode_question(&mut message);
        message
    }

    /// Parses a question that somebody asks us.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        let header = Header::read(&mut reader)?;
        if header.flags & IS_RESPONSE != 0 || header.questions != 1 {
            return None;
        }
        let name = reader.name()?.parse().ok()?;
        let kind = RecordKind::from_number(reader.u16()?);
        (reader.u16()? == INTERNET).then_some(Self {
            id: header.id,
            name,
            kind,
        })
    }

    /// Writes the answer to this question: `None` if the name does not exist,
    /// else those of `addresses` that are of the kind asked for.
    #[must_use]
    pub fn encode_answer(&self, addresses: Option<&[IpAddr]>) -> Vec<u8> {
        let matching: Vec<IpAddr> = addresses
            .unwrap_or_default()
            .iter()
            .copied()
            .filter(|address| match self.kind {
                RecordKind::A => address.is_ipv4(),
                RecordKind::Aaaa => address.is_ipv6(),
                RecordKind::Other(_) => false,
            })
            .take(MAX_ADDRESSES)
            .collect();
        let code = if addresses.is_some() { 0 } else { NAME_ERROR };
        let flags = IS_RESPONSE | RECURSION_DESIRED | RECURSION_AVAILABLE | code;
        let count = u16::try_from(matching.len()).unwrap_or_default();

        let mut message = self.header(flags, count).encode();
        self.encode_question(&mut message);
        for address in matching {
            message.extend(TO_QUESTION);
            message.extend(self.kind.number().to_be_bytes());
            message.extend(INTERNET.to_be_bytes());
            message.extend(60_u32.to_be_bytes());
            match address {
                IpAddr::V4(v4) => {
                    message.extend([0, 4]);
                    message.extend(v4.octets());
                }
                IpAddr::V6(v6) => {
                    message.extend([0, 16]);
                    message.extend(v6.octets());
                }
            }
        }
        message
    }

    /// Reads the answer to this question out of a message.
    ///
    /// Returns `None` for a message that does not answer it: another id,
    /// another question, no response, or malformed.
    #[must_use]
    pub fn decode_answer(&self, message: &[u8]) -> Option<Answer> {
        self.decode_response(message)
            .map(|response| response.answer)
    }

    /// Reads the answer to this question out of a message, with how long it holds.
    ///
    /// Returns `None` for a message that does not answer it, as
    /// [`decode_answer`](Self::decode_answer) does.
    #[must_use]
    pub fn decode_response(&self, message: &[u8]) -> Option<Response> {
        let mut reader = Reader::new(message);
        let header = Header::read(&mut reader)?;
        let asked: DomainName = (header.questions == 1)
            .then(|| reader.name())??
            .parse()
            .ok()?;
        let same = header.id == self.id
            && header.flags & IS_RESPONSE != 0
            && asked == self.name
            && reader.u16()? == self.kind.number()
            && reader.u16()? == INTERNET;
        if !same {
            return None;
        }

        let is_truncated = header.flags & TRUNCATED != 0;
        let failed = |answer| Response {
            answer,
            ttl: Duration::ZERO,
            is_truncated,
        };
        match header.flags & CODE {
            0 => {}
            NAME_ERROR => return Some(failed(Answer::NoSuchName)),
            code => return Some(failed(Answer::Failed(code))),
        }
        let (addresses, ttl) = self.read_addresses(&mut reader, header.answers, is_truncated)?;
        Some(Response {
            answer: Answer::Addresses(addresses),
            ttl: Duration::from_secs(ttl.into()),
            is_truncated,
        })
    }

    /// Reads the addresses of the name, and of what it is an alias of. Records
    /// of other names are left aside: the server was not asked for them.
    fn read_addresses(
        &self,
        reader: &mut Reader<'_>,
        answers: u16,
        is_truncated: bool,
    ) -> Option<(Vec<IpAddr>, u32)> {
        let mut aliases = Vec::new();
        let mut found = Vec::new();
        for _ in 0..answers {
            let owner = reader.name();
            let Some((owner, record)) = owner.and_then(|owner| Some((owner, reader.record()?)))
            else {
                if is_truncated {
                    break;
                }
                return None;
            };
            if record.class != INTERNET {
                continue;
            }
            if record.kind == CNAME && aliases.len() < MAX_ALIASES {
                let target = reader.at(record.data_at).name()?;
                aliases.push((owner, target, record.ttl));
            } else if record.kind == self.kind.number() && found.len() < MAX_RECORDS {
                found.extend(address(&record)?.map(|address| (owner, address, record.ttl)));
            }
        }

        let mut name = self.name.as_str();
        let mut ttl = u32::MAX;
        // Each step takes an alias that was not taken before, so a circle ends.
        let mut left: Vec<_> = aliases.iter().collect();
        while let Some(at) = left
            .iter()
            .position(|(owner, _, _)| owner.eq_ignore_ascii_case(name))
        {
            let (_, target, its_ttl) = left.swap_remove(at);
            ttl = ttl.min(*its_ttl);
            name = target;
        }
        let mut addresses = Vec::new();
        for (owner, address, its_ttl) in &found {
            if owner.eq_ignore_ascii_case(name) && addresses.len() < MAX_ADDRESSES {
                ttl = ttl.min(*its_ttl);
                addresses.push(*address);
            }
        }
        let ttl = if addresses.is_empty() { 0 } else { ttl };
        Some((addresses, ttl))
    }

    fn header(&self, flags: u16, answers: u16) -> Header {
        Header {
            id: self.id,
            flags,
            questions: 1,
            answers,
            authorities: 0,
            additionals: 0,
        }
    }

    fn encode_question(&self, message: &mut Vec<u8>) {
        message.extend(encode_name(&self.name));
        message.extend(self.kind.number().to_be_bytes());
        message.extend(INTERNET.to_be_bytes());
    }
}

/// What a resolver answered, and how long that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The answer.
    pub answer: Answer,
    /// The shortest life of the records that it rests on; zero if there are none.
    pub ttl: Duration,
    /// The resolver had more to say than fitted.
    pub is_truncated: bool,
}

/// What a resolver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The addresses of the kind asked for; none if the name has others only.
    Addresses(Vec<IpAddr>),
    /// The resolver could not or would not answer, with this code.
    Failed(u16),
    /// There is no such name.
    NoSuchName,
}

/// Returns every address that a response would lead a client to, hints of
/// service bindings (RFC 9460) included; `None` if it is malformed. A truncated
/// one counts as far as it goes.
#[must_use]
pub fn addresses_in(message: &[u8]) -> Option<Vec<IpAddr>> {
    let mut reader = Reader::new(message);
    let header = Header::read(&mut reader)?;
    for _ in 0..header.questions {
        reader.skip_name()?;
        reader.take(4)?;
    }
    let records = [header.answers, header.authorities, header.additionals];
    let mut addresses = Vec::new();
    for _ in 0..records.into_iter().map(u32::from).sum::<u32>() {
        if read_record_addresses(&mut reader, &mut addresses).is_none() {
            return (header.flags & TRUNCATED != 0).then_some(addresses);
        }
    }
    Some(addresses)
}

fn read_record_addresses(reader: &mut Reader<'_>, addresses: &mut Vec<IpAddr>) -> Option<()> {
    reader.skip_name()?;
    let record = reader.record()?;
    if record.class != INTERNET {
        return Some(());
    }
    match record.kind {
        wire::A | wire::AAAA => addresses.extend(address(&record)?),
        SVCB | HTTPS => read_hints(record.data, addresses)?,
        _ => {}
    }
    Some(())
}

/// Reads the address out of a record that may be one.
fn address(record: &Record<'_>) -> Option<Option<IpAddr>> {
    Some(match record.kind {
        wire::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(record.data).ok()?).into()),
        wire::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(record.data).ok()?).into()),
        _ => None,
    })
}

fn read_hints(data: &[u8], addresses: &mut Vec<IpAddr>) -> Option<()> {
    let mut reader = Reader::new(data);
    reader.u16()?;
    reader.skip_name()?;
    while !reader.is_at_end() {
        let key = reader.u16()?;
        let length = usize::from(reader.u16()?);
        let value = reader.take(length)?;
        match key {
            HINT_V4 => {
                let v4 = value.as_chunks::<4>().0.iter();
                addresses.extend(v4.map(|v4| IpAddr::from(*v4)));
            }
            HINT_V6 => {
                let v6 = value.as_chunks::<16>().0.iter();
                addresses.extend(v6.map(|v6| IpAddr::from(*v6)));
            }
            _ => {}
        }
    }
    Some(())
}

/// More addresses than anybody tries for one connection.
const MAX_ADDRESSES: usize = 8;

/// More records than fit a datagram that anybody sends.
const MAX_RECORDS: usize = 256;

/// Longer chains of aliases are a mistake.
const MAX_ALIASES: usize = 16;

const HINT_V4: u16 = 4;
const HINT_V6: u16 = 6;

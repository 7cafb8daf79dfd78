//! The little of DNS that a site's names need (RFC 1035): one question, and
//! the addresses that answer it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use connector_core::name::DomainName;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: u16) -> Self {
        match number {
            1 => Self::A,
            28 => Self::Aaaa,
            other => Self::Other(other),
        }
    }
}

impl Query {
    /// Writes the question as a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER + self.name.as_str().len() + 6);
        message.extend(self.id.to_be_bytes());
        message.extend(RECURSION_DESIRED.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
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

        let mut message = Vec::new();
        message.extend(self.id.to_be_bytes());
        message.extend(flags.to_be_bytes());
        message.extend([0, 1]);
        message.extend(count.to_be_bytes());
        message.extend([0, 0, 0, 0]);
        self.encode_question(&mut message);
        for address in matching {
            // A pointer to the name in the question, right after the header.
            message.extend([0xc0, 12]);
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

        match header.flags & CODE {
            0 => {}
            NAME_ERROR => return Some(Answer::NoSuchName),
            code => return Some(Answer::Failed(code)),
        }
        let mut addresses = Vec::new();
        for _ in 0..header.answers {
            // Aliases are followed by the resolver: whatever addresses it lists
            // are the answer, under whichever name.
            reader.name()?;
            let kind = reader.u16()?;
            let class = reader.u16()?;
            reader.skip(4)?;
            let length = usize::from(reader.u16()?);
            let data = reader.take(length)?;
            if class != INTERNET || kind != self.kind.number() || addresses.len() == MAX_ADDRESSES {
                continue;
            }
            addresses.push(match self.kind {
                RecordKind::A => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into(),
                RecordKind::Aaaa => Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into(),
                RecordKind::Other(_) => continue,
            });
        }
        Some(Answer::Addresses(addresses))
    }

    fn encode_question(&self, message: &mut Vec<u8>) {
        for label in self.name.as_str().split('.') {
            // A domain name's labels have at most 63 characters by construction.
            message.push(u8::try_from(label.len()).unwrap_or_default());
            message.extend(label.as_bytes());
        }
        message.push(0);
        message.extend(self.kind.number().to_be_bytes());
        message.extend(INTERNET.to_be_bytes());
    }
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

struct Header {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let header = Self {
            id: reader.u16()?,
            flags: reader.u16()?,
            questions: reader.u16()?,
            answers: reader.u16()?,
        };
        reader.skip(4)?;
        Some(header)
    }
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// Reads a name, following pointers, which may only point backwards: so
    /// every message ends, whatever it says.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut at = self.at;
        let mut limit = self.at;
        let mut after = None;
        loop {
            let length = *self.message.get(at)?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self.message.get(at + 1..at + 1 + usize::from(length))?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(std::str::from_utf8(label).ok()?);
                    if name.len() > MAX_NAME {
                        return None;
                    }
                    at += 1 + label.len();
                }
                0xc0.. => {
                    let low = *self.message.get(at + 1)?;
                    let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    after.get_or_insert(at + 2);
                    if target >= limit {
                        return None;
                    }
                    limit = target;
                    at = target;
                }
                64..=0xbf => return None,
            }
        }
        self.at = after.unwrap_or(at + 1);
        Some(name)
    }
}

const HEADER: usize = 12;
const MAX_NAME: usize = 253;
const INTERNET: u16 = 1;
const IS_RESPONSE: u16 = 0x8000;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const CODE: u16 = 0x000f;
const NAME_ERROR: u16 = 3;

/// More addresses than anybody tries for one connection.
const MAX_ADDRESSES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_carries_the_addresses_of_the_kind_asked_for() {
        let query = query(RecordKind::A);
        let addresses: [IpAddr; 2] = ["10.9.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];

        let asked = Query::decode(&query.encode()).unwrap();
        let answer = query.decode_answer(&asked.encode_answer(Some(&addresses)));

        assert_eq!(asked, query);
        assert_eq!(answer, Some(Answer::Addresses(vec![addresses[0]])));
    }

    #[test]
    fn a_name_that_does_not_exist_is_told_from_one_without_addresses_of_the_kind() {
        let query = query(RecordKind::Aaaa);

        let none = query.decode_answer(&query.encode_answer(None));
        let other = query.decode_answer(&query.encode_answer(Some(&["10.9.0.7".parse().unwrap()])));

        assert_eq!(none, Some(Answer::NoSuchName));
        assert_eq!(other, Some(Answer::Addresses(vec![])));
    }

    #[test]
    fn an_answer_to_another_question_is_no_answer() {
        let query = query(RecordKind::A);
        let others = [
            Query {
                id: 8,
                ..query.clone()
            },
            Query {
                name: "other.corp.test".parse().unwrap(),
                ..query.clone()
            },
            Query {
                kind: RecordKind::Aaaa,
                ..query.clone()
            },
        ];

        for other in others {
            assert_eq!(query.decode_answer(&other.encode_answer(None)), None);
        }
        assert_eq!(query.decode_answer(&query.encode()), None);
    }

    #[test]
    fn broken_messages_end_in_nothing() {
        let query = query(RecordKind::A);
        let whole = query.encode_answer(Some(&["10.9.0.7".parse().unwrap()]));
        for length in 0..whole.len() {
            assert_eq!(query.decode_answer(&whole[..length]), None, "{length}");
        }
        // A pointer at itself, where the answer's name is.
        let mut looping = whole.clone();
        let at = whole.len() - 16;
        looping[at..at + 2].copy_from_slice(&[0xc0, u8::try_from(at).unwrap()]);
        assert_eq!(query.decode_answer(&looping), None);
    }

    #[test]
    fn no_single_changed_byte_panics() {
        let query = query(RecordKind::A);
        let whole = query.encode_answer(Some(&["10.9.0.7".parse().unwrap()]));
        for at in 0..whole.len() {
            for value in 0..=255 {
                let mut message = whole.clone();
                message[at] = value;
                let _ = query.decode_answer(&message);
                let _ = Query::decode(&message);
            }
        }
    }

    fn query(kind: RecordKind) -> Query {
        Query {
            id: 7,
            name: "wiki.corp.test".parse().unwrap(),
            kind,
        }
    }
}

//! Questions of clients, and what they are answered.

use std::net::IpAddr;
use std::time::Duration;

use connector_core::name::DomainName;

use super::RecordKind;
use super::name::QuestionName;
use super::wire::{
    AUTHORITATIVE, CHECKING_DISABLED, FORMAT_ERROR, HEADER, Header, INTERNET, IS_RESPONSE,
    NAME_ERROR, NOT_IMPLEMENTED, OPERATION, OPT, PTR, RECURSION_AVAILABLE, RECURSION_DESIRED,
    REFUSED, Reader, SERVER_FAILURE, SOA, TRUNCATED,
};

/// A question that a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    id: u16,
    flags: u16,
    name: QuestionName,
    kind: RecordKind,
    class: u16,
    extension: Option<Extension>,
}

/// What a client says with an OPT record (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extension {
    payload: u16,
    version: u8,
    dnssec_ok: bool,
}

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In a stream: up to 65,535 bytes.
    Tcp,
    /// In one datagram: what does not fit is left out and asked for over TCP.
    Udp,
}

/// What a client is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The name has this address.
    Address {
        /// The address.
        address: IpAddr,
        /// How long it may be remembered, in whole seconds.
        ttl: Duration,
    },
    /// Nobody can tell (SERVFAIL).
    Failed,
    /// The name exists, but has no record of this kind.
    NoData {
        /// The zone that the name lies in.
        zone: DomainName,
        /// How long that may be remembered, in whole seconds.
        ttl: Duration,
    },
    /// There is no such name (NXDOMAIN).
    NoSuchName {
        /// The zone that the name would lie in.
        zone: DomainName,
        /// How long that may be remembered, in whole seconds.
        ttl: Duration,
    },
    /// The address has this name.
    Pointer {
        /// The name.
        name: DomainName,
        /// How long it may be remembered, in whole seconds.
        ttl: Duration,
    },
    /// We do not answer such questions.
    Refused,
}

impl Request {
    /// Parses a message from a client.
    ///
    /// # Errors
    ///
    /// It is no question, not one that we understand, or not one question.
    pub fn parse(message: &[u8]) -> Result<Self, BadRequest> {
        let mut reader = Reader::new(message);
        let header = Header::read(&mut reader).ok_or(BadRequest::Silent)?;
        if header.flags & IS_RESPONSE != 0 {
            return Err(BadRequest::Silent);
        }
        if header.flags & OPERATION != 0 {
            return Err(BadRequest::answered(&header, NOT_IMPLEMENTED));
        }
        let malformed = || BadRequest::answered(&header, FORMAT_ERROR);
        if (header.questions, header.answers, header.authorities) != (1, 0, 0) {
            return Err(malformed());
        }

        let request = Self::read(&mut reader, &header).ok_or_else(malformed)?;
        match request.extension {
            Some(extension) if extension.version != 0 => {
                Err(BadRequest::Answered(request.encode(0, BAD_VERSION, None)))
            }
            Some(_) | None => Ok(request),
        }
    }

    /// Returns the number that the client chose.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Returns the name asked for.
    #[must_use]
    pub fn name(&self) -> &QuestionName {
        &self.name
    }

    /// Returns the kind of record asked for.
    #[must_use]
    pub fn kind(&self) -> RecordKind {
        self.kind
    }

    /// Returns whether the question is about the Internet, which nearly all are.
    #[must_use]
    pub fn is_internet(&self) -> bool {
        self.class == INTERNET
    }

    /// Returns how long an answer in one datagram may be, in bytes.
    #[must_use]
    pub fn payload(&self) -> u16 {
        self.extension
            .map_or(PLAIN_PAYLOAD, |extension| extension.payload)
            .max(PLAIN_PAYLOAD)
    }

    /// Writes an answer to this question.
    #[must_use]
    pub fn reply(&self, reply: &Reply, transport: Transport) -> Vec<u8> {
        let (code, record) = match reply {
            Reply::Address { address, ttl } => (0, Some(self.address(*address, *ttl))),
            Reply::Failed => (SERVER_FAILURE, None),
            Reply::NoData { zone, ttl } => (0, Some(self.start_of_authority(zone, *ttl))),
            Reply::NoSuchName { zone, ttl } => {
                (NAME_ERROR, Some(self.start_of_authority(zone, *ttl)))
            }
            Reply::Pointer { name, ttl } => (0, Some(pointer(name, *ttl))),
            Reply::Refused => (REFUSED, None),
        };
        let flags = match record {
            Some(_) => AUTHORITATIVE | code,
            None => code,
        };
        let whole = self.encode(flags, 0, record);
        let limit = match transport {
            Transport::Tcp => u16::MAX,
            Transport::Udp => self.payload().min(OUR_PAYLOAD),
        };
        if whole.len() > usize::from(limit) {
            return self.encode(TRUNCATED | flags, 0, None);
        }
        whole
    }

    /// Returns whether `message` answers this question when it was passed on
    /// with the number `id`.
    #[must_use]
    pub fn is_answered_by(&self, message: &[u8], id: u16) -> bool {
        let mut reader = Reader::new(message);
        Header::read(&mut reader).is_some_and(|header| {
            header.id == id
                && header.flags & IS_RESPONSE != 0
                && header.flags & OPERATION == 0
                && header.questions == 1
                && self.is_repeated(&mut reader).unwrap_or(false)
        })
    }

    fn is_repeated(&self, reader: &mut Reader<'_>) -> Option<bool> {
        let name = QuestionName::read(reader)?;
        // Servers differ in how they repeat the case; lengths are no letters.
        let same = name.wire().eq_ignore_ascii_case(self.name.wire())
            && reader.u16()? == self.kind.number()
            && reader.u16()? == self.class;
        Some(same)
    }

    fn read(reader: &mut Reader<'_>, header: &Header) -> Option<Self> {
        let name = QuestionName::read(reader)?;
        let kind = RecordKind::from_number(reader.u16()?);
        let class = reader.u16()?;
        if header.additionals > MAX_ADDITIONALS {
            return None;
        }
        let mut extension = None;
        for _ in 0..header.additionals {
            let is_root = reader.skip_name()? == 1;
            let record = reader.record()?;
            if record.kind != OPT {
                continue;
            }
            if !is_root || extension.is_some() {
                return None;
            }
            let [_, version, flags, _] = record.ttl.to_be_bytes();
            extension = Some(Extension {
                payload: record.class,
                version,
                dnssec_ok: flags & DNSSEC_OK != 0,
            });
        }
        reader.is_at_end().then_some(Self {
            id: header.id,
            flags: header.flags,
            name,
            kind,
            class,
            extension,
        })
    }

    fn encode(&self, flags: u16, extended_code: u8, record: Option<Section>) -> Vec<u8> {
        let (answers, authorities) = match &record {
            Some(Section::Answer(_)) => (1, 0),
            Some(Section::Authority(_)) => (0, 1),
            None => (0, 0),
        };
        let repeated = self.flags & (RECURSION_DESIRED | CHECKING_DISABLED);
        let header = Header {
            id: self.id,
            flags: IS_RESPONSE | RECURSION_AVAILABLE | repeated | flags,
            questions: 1,
            answers,
            authorities,
            additionals: u16::from(self.extension.is_some()),
        };

        let mut message = header.encode();
        message.extend(self.name.wire());
        message.extend(self.kind.number().to_be_bytes());
        message.extend(self.class.to_be_bytes());
        match record {
            Some(Section::Answer(record) | Section::Authority(record)) => message.extend(record),
            None => {}
        }
        if let Some(extension) = self.extension {
            message.push(0);
            message.extend(OPT.to_be_bytes());
            message.extend(OUR_PAYLOAD.to_be_bytes());
            let flags = if extension.dnssec_ok { DNSSEC_OK } else { 0 };
            message.extend([extended_code, 0, flags, 0]);
            message.extend([0, 0]);
        }
        message
    }

    fn address(&self, address: IpAddr, ttl: Duration) -> Section {
        Section::Answer(match address {
            IpAddr::V4(v4) => record(&TO_QUESTION, super::wire::A, ttl, &v4.octets()),
            IpAddr::V6(v6) => record(&TO_QUESTION, super::wire::AAAA, ttl, &v6.octets()),
        })
    }

    /// Writes the record that lets a client remember that there is nothing (RFC 2308).
    fn start_of_authority(&self, zone: &DomainName, ttl: Duration) -> Section {
        let in_question = self.name.offset_of(zone).and_then(|offset| {
            let offset = u16::try_from(HEADER + offset).ok()?;
            Some((0xc000 | offset).to_be_bytes().to_vec())
        });
        let owner = in_question.unwrap_or_else(|| encode_name(zone));

        let mut data = owner.clone();
        data.extend(NOBODY);
        for number in [1, 3600, 1200, 604_800, seconds(ttl)] {
            data.extend(number.to_be_bytes());
        }
        Section::Authority(record(&owner, SOA, ttl, &data))
    }
}

/// A record in the section that it belongs to.
enum Section {
    Answer(Vec<u8>),
    Authority(Vec<u8>),
}

/// A message that is not one question of a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The client is told so with this message.
    #[error("this is no question that a resolver understands")]
    Answered(Vec<u8>),
    /// It is not answered, lest two resolvers answer each other for ever.
    #[error("this is no question at all")]
    Silent,
}

impl BadRequest {
    fn answered(header: &Header, code: u16) -> Self {
        let repeated = header.flags & (OPERATION | RECURSION_DESIRED | CHECKING_DISABLED);
        let reply = Header {
            id: header.id,
            flags: IS_RESPONSE | RECURSION_AVAILABLE | repeated | code,
            questions: 0,
            answers: 0,
            authorities: 0,
            additionals: 0,
        };
        Self::Answered(reply.encode())
    }
}

fn pointer(name: &DomainName, ttl: Duration) -> Section {
    Section::Answer(record(&TO_QUESTION, PTR, ttl, &encode_name(name)))
}

fn record(owner: &[u8], kind: u16, ttl: Duration, data: &[u8]) -> Vec<u8> {
    let mut record = owner.to_vec();
    record.extend(kind.to_be_bytes());
    record.extend(INTERNET.to_be_bytes());
    record.extend(seconds(ttl).to_be_bytes());
    // The longest data is two names and a few numbers.
    record.extend(u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
    record.extend(data);
    record
}

fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)
}

pub(super) fn encode_name(name: &DomainName) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.as_str().len() + 2);
    for label in name.as_str().split('.') {
        // A domain name's labels have at most 63 characters by construction.
        wire.push(u8::try_from(label.len()).unwrap_or_default());
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// A pointer to the name in the question, right after the header.
pub(super) const TO_QUESTION: [u8; 2] = [0xc0, 12];

/// Nobody's mailbox, as in empty zones (RFC 6303, section 3).
const NOBODY: &[u8] = b"\x06nobody\x07invalid\0";

/// What every client takes (RFC 1035, section 2.3.4).
const PLAIN_PAYLOAD: u16 = 512;

/// What gets through everywhere without fragments (DNS flag day 2020).
const OUR_PAYLOAD: u16 = 1232;

/// The high bits of BADVERS, 16 (RFC 6891, section 9).
const BAD_VERSION: u8 = 1;

const DNSSEC_OK: u8 = 0x80;

/// OPT, a signature, and some to spare.
const MAX_ADDITIONALS: u16 = 8;

//! Reading messages field by field; what does not fit is `None`, never a panic.

/// The header of every message (RFC 1035, section 4.1.1).
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) flags: u16,
    pub(super) questions: u16,
    pub(super) answers: u16,
    pub(super) authorities: u16,
    pub(super) additionals: u16,
}

impl Header {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            id: reader.u16()?,
            flags: reader.u16()?,
            questions: reader.u16()?,
            answers: reader.u16()?,
            authorities: reader.u16()?,
            additionals: reader.u16()?,
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let fields = [
            self.id,
            self.flags,
            self.questions,
            self.answers,
            self.authorities,
            self.additionals,
        ];
        fields.into_iter().flat_map(u16::to_be_bytes).collect()
    }
}

/// A resource record but for its owner (RFC 1035, section 4.1.3).
pub(super) struct Record<'a> {
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) ttl: u32,
    pub(super) data: &'a [u8],
    /// Where the data starts in the message, for the names in it.
    pub(super) data_at: usize,
}

pub(super) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    /// Reads the same message from another place.
    pub(super) const fn at(&self, at: usize) -> Self {
        Self {
            message: self.message,
            at,
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.message.len()
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// Reads what follows a record's owner.
    pub(super) fn record(&mut self) -> Option<Record<'a>> {
        let kind = self.u16()?;
        let class = self.u16()?;
        let ttl = self.u32()?;
        let length = usize::from(self.u16()?);
        Some(Record {
            kind,
            class,
            ttl,
            data_at: self.at,
            data: self.take(length)?,
        })
    }

    /// Passes a name by without looking where its pointers lead; returns how
    /// many bytes it took here.
    pub(super) fn skip_name(&mut self) -> Option<usize> {
        let start = self.at;
        loop {
            match self.u8()? {
                0 => break,
                length @ 1..=63 => {
                    self.take(length.into())?;
                }
                0xc0.. => {
                    self.u8()?;
                    break;
                }
                64..=0xbf => return None,
            }
        }
        Some(self.at - start)
    }

    /// Reads a name, following pointers, which may only point backwards: so
    /// every message ends, whatever it says.
    pub(super) fn name(&mut self) -> Option<String> {
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

/// A header alone.
pub(super) const HEADER: usize = 12;

/// The longest name as text (RFC 1035, section 2.3.4).
pub(super) const MAX_NAME: usize = 253;

pub(super) const INTERNET: u16 = 1;

pub(super) const IS_RESPONSE: u16 = 0x8000;
pub(super) const OPERATION: u16 = 0x7800;
pub(super) const AUTHORITATIVE: u16 = 0x0400;
pub(super) const TRUNCATED: u16 = 0x0200;
pub(super) const RECURSION_DESIRED: u16 = 0x0100;
pub(super) const RECURSION_AVAILABLE: u16 = 0x0080;
pub(super) const CHECKING_DISABLED: u16 = 0x0010;
pub(super) const CODE: u16 = 0x000f;

pub(super) const FORMAT_ERROR: u16 = 1;
pub(super) const SERVER_FAILURE: u16 = 2;
pub(super) const NAME_ERROR: u16 = 3;
pub(super) const NOT_IMPLEMENTED: u16 = 4;
pub(super) const REFUSED: u16 = 5;

pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
pub(super) const PTR: u16 = 12;
pub(super) const AAAA: u16 = 28;
pub(super) const OPT: u16 = 41;
pub(super) const SVCB: u16 = 64;
pub(super) const HTTPS: u16 = 65;

//! Canonical CBOR (RFC 7049 §3.9), as far as objects of the store need it.
//!
//! Written here because the format has integers for keys and `null` for empty
//! values, which readers of DAG-CBOR refuse, while readers of plain CBOR accept
//! what is not canonical: the same object would then have several names.

/// Reads one canonical item after the other, copying nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads the head of an array and returns how many items follow.
    pub(crate) fn array(&mut self) -> Result<usize, NotCanonical> {
        let length = self.head_of(ARRAY, "an array")?;
        bounded(length)
    }

    /// Reads the head of a map and returns how many pairs follow; `null` is an empty map.
    pub(crate) fn map(&mut self) -> Result<usize, NotCanonical> {
        if self.null() {
            return Ok(0);
        }
        let length = self.head_of(MAP, "a map")?;
        bounded(length)
    }

    /// Reads a map's next key, which has to be this one.
    pub(crate) fn key(&mut self, expected: u64) -> Result<(), NotCanonical> {
        let found = self.unsigned()?;
        if found == expected {
            Ok(())
        } else {
            Err(NotCanonical::Key { expected, found })
        }
    }

    /// Reads a map of exactly the keys 1 to `keys`, whose values the caller reads next.
    pub(crate) fn form(&mut self, keys: usize) -> Result<(), NotCanonical> {
        let found = self.head_of(MAP, "a map")?;
        if usize::try_from(found) == Ok(keys) {
            Ok(())
        } else {
            Err(NotCanonical::Members {
                expected: keys,
                found,
            })
        }
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64, NotCanonical> {
        self.head_of(UNSIGNED, "an unsigned number")
    }

    pub(crate) fn signed(&mut self) -> Result<i64, NotCanonical> {
        let (major, value) = self.head()?;
        let value = i64::try_from(value).map_err(|_| NotCanonical::Expected("a 64-bit number"))?;
        match major {
            UNSIGNED => Ok(value),
            NEGATIVE => Ok(-1 - value),
            _ => Err(NotCanonical::Expected("a number")),
        }
    }

    /// Reads a byte string; `null` is an empty one.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], NotCanonical> {
        if self.null() {
            return Ok(&[]);
        }
        let length = self.head_of(BYTES, "a byte string")?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, NotCanonical> {
        let length = self.head_of(TEXT, "a text")?;
        str::from_utf8(self.take(length)?).map_err(|_| NotCanonical::NotUtf8)
    }

    /// Reads `true` or `false`, if one of them is next.
    pub(crate) fn boolean(&mut self) -> Option<bool> {
        let value = match self.rest.first()? {
            0xf4 => false,
            0xf5 => true,
            _ => return None,
        };
        self.rest = &self.rest[1..];
        Some(value)
    }

    /// Returns whether a text is next.
    pub(crate) fn at_text(&self) -> bool {
        self.rest.first().is_some_and(|byte| byte >> 5 == TEXT)
    }

    /// Fails if anything is left.
    pub(crate) fn end(self) -> Result<(), NotCanonical> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(NotCanonical::Trailing(self.rest.len()))
        }
    }

    fn null(&mut self) -> bool {
        let null = self.rest.first() == Some(&NULL);
        if null {
            self.rest = &self.rest[1..];
        }
        null
    }

    fn head_of(&mut self, wanted: u8, name: &'static str) -> Result<u64, NotCanonical> {
        let (major, value) = self.head()?;
        if major == wanted {
            Ok(value)
        } else {
            Err(NotCanonical::Expected(name))
        }
    }

    fn head(&mut self) -> Result<(u8, u64), NotCanonical> {
        let (first, rest) = self.rest.split_first().ok_or(NotCanonical::Torn)?;
        self.rest = rest;
        let (major, short) = (first >> 5, first & 0x1f);
        let (length, least) = match short {
            0..=23 => return Ok((major, u64::from(short))),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return Err(NotCanonical::Indefinite),
        };
        let value = self
            .take(length)?
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        if value < least {
            return Err(NotCanonical::NotShortest);
        }
        Ok((major, value))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], NotCanonical> {
        let length = usize::try_from(length).map_err(|_| NotCanonical::Torn)?;
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(NotCanonical::Torn)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Refuses a count before anything is reserved for it.
fn bounded(length: u64) -> Result<usize, NotCanonical> {
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_ITEMS)
        .ok_or(NotCanonical::TooMany(length))
}

/// Writes canonical items.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn array(&mut self, length: usize) -> &mut Self {
        self.head(ARRAY, wide(length))
    }

    pub(crate) fn map(&mut self, length: usize) -> &mut Self {
        self.head(MAP, wide(length))
    }

    pub(crate) fn unsigned(&mut self, value: u64) -> &mut Self {
        self.head(UNSIGNED, value)
    }

    pub(crate) fn signed(&mut self, value: i64) -> &mut Self {
        if value < 0 {
            self.head(NEGATIVE, (-1 - value).unsigned_abs())
        } else {
            self.head(UNSIGNED, value.unsigned_abs())
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(BYTES, wide(bytes.len()));
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.head(TEXT, wide(text.len()));
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn boolean(&mut self, value: bool) -> &mut Self {
        self.bytes.push(if value { 0xf5 } else { 0xf4 });
        self
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.bytes.push(NULL);
        self
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let major = major << 5;
        let wide = value.to_be_bytes();
        match value {
            0..=23 => self.bytes.push(major | wide[7]),
            24..=0xff => self.bytes.extend_from_slice(&[major | 24, wide[7]]),
            0x100..=0xffff => {
                self.bytes.push(major | 25);
                self.bytes.extend_from_slice(&wide[6..]);
            }
            0x1_0000..=0xffff_ffff => {
                self.bytes.push(major | 26);
                self.bytes.extend_from_slice(&wide[4..]);
            }
            _ => {
                self.bytes.push(major | 27);
                self.bytes.extend_from_slice(&wide);
            }
        }
        self
    }
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Why bytes are not the canonical form of an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// Another kind of item is in this place.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A length that is not told beforehand, or a reserved head.
    #[error("an item of indefinite length is not canonical")]
    Indefinite,
    /// The members are not in their order.
    #[error("expected member {expected}, found {found}")]
    Key {
        /// The member that has to be here.
        expected: u64,
        /// The member that is here.
        found: u64,
    },
    /// Too few or too many members.
    #[error("expected {expected} members, found {found}")]
    Members {
        /// How many there have to be.
        expected: usize,
        /// How many there are.
        found: u64,
    },
    /// A number in more bytes than it needs.
    #[error("a number is not in its shortest form")]
    NotShortest,
    /// A text that is no UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A map's keys are repeated or out of order.
    #[error("the key {0:?} is repeated or out of order")]
    Order(String),
    /// More items than an object may have.
    #[error("{0} items are too many: the limit is 10000")]
    TooMany(u64),
    /// The bytes end in the middle.
    #[error("the bytes end in the middle")]
    Torn,
    /// Something follows the object.
    #[error("{0} bytes follow the object")]
    Trailing(usize),
}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const NULL: u8 = 0xf6;

/// The most items of an array or a map, as in Permguard.
pub(crate) const MAX_ITEMS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_every_width_are_read_as_they_were_written() {
        for value in [0, 23, 24, 255, 256, 65_535, 65_536, 1 << 32, i64::MAX] {
            for value in [value, -1 - value] {
                let mut writer = Writer::default();
                writer.signed(value);
                let bytes = writer.finish();
                let mut reader = Reader::new(&bytes);

                assert_eq!(reader.signed(), Ok(value));
                assert_eq!(reader.end(), Ok(()));
            }
        }
    }

    #[test]
    fn numbers_in_more_bytes_than_they_need_are_refused() {
        for bytes in [
            &[0x18, 23][..],
            &[0x19, 0, 255],
            &[0x1a, 0, 0, 255, 255],
            &[0x1b, 0, 0, 0, 0, 255, 255, 255, 255],
        ] {
            assert_eq!(
                Reader::new(bytes).unsigned(),
                Err(NotCanonical::NotShortest)
            );
        }
    }

    #[test]
    fn a_million_items_are_refused_at_the_head() {
        assert_eq!(
            Reader::new(&[0x9a, 0, 0x0f, 0x42, 0x40]).array(),
            Err(NotCanonical::TooMany(1_000_000))
        );
        assert_eq!(
            Reader::new(&[0xbb, 255, 255, 255, 255, 255, 255, 255, 255]).map(),
            Err(NotCanonical::TooMany(u64::MAX))
        );
    }

    #[test]
    fn torn_and_indefinite_items_are_refused() {
        assert_eq!(Reader::new(&[]).unsigned(), Err(NotCanonical::Torn));
        assert_eq!(Reader::new(&[0x43, 1]).bytes(), Err(NotCanonical::Torn));
        assert_eq!(
            Reader::new(&[0x5b, 255, 255, 255, 255, 255, 255, 255, 255]).bytes(),
            Err(NotCanonical::Torn)
        );
        assert_eq!(
            Reader::new(&[0x5f, 0xff]).bytes(),
            Err(NotCanonical::Indefinite)
        );
        assert_eq!(
            Reader::new(&[0x61, 0xff]).text(),
            Err(NotCanonical::NotUtf8)
        );
    }
}

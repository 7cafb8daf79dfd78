//! Names as clients write them, which are not all names of hosts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use connector_core::name::DomainName;
use connector_core::network::Prefix;

use super::wire::Reader;

/// A name out of a question: any bytes, with the case they came in.
#[derive(Clone, PartialEq, Eq)]
pub struct QuestionName {
    /// As in the message, with the lengths of the labels and the final zero.
    wire: Vec<u8>,
    /// In lower case, with dots between the labels.
    text: Vec<u8>,
}

impl QuestionName {
    /// Reads a name without pointers: in front of a question there is nothing
    /// that they could point at.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut wire = Vec::new();
        let mut text = Vec::new();
        loop {
            let length = reader.u8()?;
            wire.push(length);
            match length {
                0 => break,
                1..=63 => {
                    let label = reader.take(length.into())?;
                    wire.extend(label);
                    if !text.is_empty() {
                        text.push(b'.');
                    }
                    text.extend(label.iter().map(u8::to_ascii_lowercase));
                }
                64.. => return None,
            }
            // There has to be room for the final zero.
            if wire.len() >= MAX_WIRE {
                return None;
            }
        }
        Some(Self { wire, text })
    }

    /// Returns the name in lower case with dots between the labels, empty for the root.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns the name as a host's, if it can be one.
    #[must_use]
    pub fn to_domain(&self) -> Option<DomainName> {
        if self.labels().any(|label| label.contains(&b'.')) {
            return None;
        }
        std::str::from_utf8(&self.text).ok()?.parse().ok()
    }

    /// Returns what addresses the name stands for in the reverse tree (RFC 1035,
    /// section 3.5; RFC 3596, section 2.5).
    #[must_use]
    pub fn reverse(&self) -> Option<Reverse> {
        let mut labels: Vec<&[u8]> = self.labels().collect();
        if !labels.pop()?.eq_ignore_ascii_case(b"arpa") {
            return None;
        }
        let family = labels.pop()?;
        if family.eq_ignore_ascii_case(b"in-addr") {
            let octets: Vec<u8> = labels
                .iter()
                .rev()
                .map_while(|label| octet(label))
                .collect();
            let known = octets.len().min(4);
            let mut address = [0; 4];
            address[..known].copy_from_slice(&octets[..known]);
            return Some(Reverse {
                address: Ipv4Addr::from(address).into(),
                bits: 8 * known,
                is_below: labels.len() > known,
            });
        }
        if family.eq_ignore_ascii_case(b"ip6") {
            let nibbles = labels.iter().rev().map_while(|label| nibble(label));
            let (address, known) = nibbles.take(32).fold((0_u128, 0), |(bits, known), nibble| {
                (bits | u128::from(nibble) << (124 - 4 * known), known + 1)
            });
            return Some(Reverse {
                address: Ipv6Addr::from_bits(address).into(),
                bits: 4 * known,
                is_below: labels.len() > known,
            });
        }
        None
    }

    pub(super) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Returns where in the wire form the labels of `suffix` start.
    pub(super) fn offset_of(&self, suffix: &DomainName) -> Option<usize> {
        let suffix = suffix.as_str().as_bytes();
        let (mut in_wire, mut in_text) = (0, 0);
        while let Some(rest) = self.text.get(in_text..).filter(|rest| !rest.is_empty()) {
            if rest == suffix {
                return Some(in_wire);
            }
            let step = usize::from(*self.wire.get(in_wire)?) + 1;
            in_wire += step;
            in_text += step;
        }
        None
    }

    fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.wire.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let label = after.get(..usize::from(*length))?;
            rest = &after[label.len()..];
            (!label.is_empty()).then_some(label)
        })
    }
}

impl fmt::Debug for QuestionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text.escape_ascii())
    }
}

/// A place in the reverse tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reverse {
    address: IpAddr,
    bits: usize,
    is_below: bool,
}

impl Reverse {
    /// Returns whether everything that the name may stand for lies in `prefix`.
    #[must_use]
    pub fn is_inside(self, prefix: Prefix) -> bool {
        self.bits >= usize::from(prefix.length()) && prefix.contains(self.address)
    }

    /// Returns the one address that the name stands for, if it is one.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        (self.is_whole() && !self.is_below).then_some(self.address)
    }

    /// Returns whether names of addresses lie below this one.
    #[must_use]
    pub fn is_parent(self) -> bool {
        !self.is_whole() && !self.is_below
    }

    fn is_whole(self) -> bool {
        self.bits
            == match self.address {
                IpAddr::V4(_) => 32,
                IpAddr::V6(_) => 128,
            }
    }
}

fn octet(label: &[u8]) -> Option<u8> {
    let canonical = label.len() == 1 || !label.starts_with(b"0");
    let digits = (1..=3).contains(&label.len()) && label.iter().all(u8::is_ascii_digit);
    (canonical && digits).then(|| std::str::from_utf8(label).ok()?.parse().ok())?
}

fn nibble(label: &[u8]) -> Option<u8> {
    let [digit] = label else {
        return None;
    };
    u8::try_from(char::from(*digit).to_digit(16)?).ok()
}

/// The longest name with its lengths and final zero (RFC 1035, section 2.3.4).
const MAX_WIRE: usize = 255;

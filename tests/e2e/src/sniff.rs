//! What a capture looks for in a frame.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde_json::{Value, json};

/// Something that a frame may contain. Written as `KIND=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needle {
    /// `arp=192.0.2.1`: ARP, or IPv6 neighbour discovery, about this address.
    About(IpAddr),
    /// `from=192.0.2.0/24`: a packet whose source is in the prefix.
    From(Prefix),
    /// `label=wiki.corp.test`: the name as DNS writes it (RFC 1035 §3.1), or as text, in any case, at any place.
    Label(String),
    /// `longer=600`: a frame of more bytes than that, with its headers.
    Longer(usize),
    /// `mac=02:00:00:00:00:01`: a frame to this station.
    Mac([u8; 6]),
    /// `text=…`: these bytes at any place.
    Text(String),
    /// `towards=10.0.0.0/8`: a packet whose destination is in the prefix.
    Towards(Prefix),
}

impl Needle {
    /// Tells whether the frame contains it.
    #[must_use]
    pub fn is_in(&self, frame: &Frame<'_>) -> bool {
        match self {
            Self::About(address) => frame.is_about(*address),
            Self::From(prefix) => frame.ends().is_some_and(|(from, _)| prefix.contains(from)),
            Self::Label(name) => {
                let lower = frame.bytes.to_ascii_lowercase();
                contains(&lower, &wire_form(name)) || contains(&lower, name.as_bytes())
            }
            Self::Longer(bytes) => frame.bytes.len() > *bytes,
            Self::Mac(mac) => frame.has_ethernet && frame.bytes.starts_with(mac),
            Self::Text(text) => contains(frame.bytes, text.as_bytes()),
            Self::Towards(prefix) => frame.ends().is_some_and(|(_, to)| prefix.contains(to)),
        }
    }
}

impl FromStr for Needle {
    type Err = NoNeedle;

    fn from_str(text: &str) -> Result<Self, NoNeedle> {
        let no_needle = || NoNeedle(text.to_owned());
        let (kind, value) = text.split_once('=').ok_or_else(no_needle)?;
        if value.is_empty() {
            return Err(no_needle());
        }
        match kind {
            "arp" => value.parse().ok().map(Self::About),
            "from" => value.parse().ok().map(Self::From),
            "label" => Some(Self::Label(value.to_ascii_lowercase())),
            "longer" => value.parse().ok().map(Self::Longer),
            "mac" => mac(value).map(Self::Mac),
            "text" => Some(Self::Text(value.to_owned())),
            "towards" => value.parse().ok().map(Self::Towards),
            _ => None,
        }
        .ok_or_else(no_needle)
    }
}

impl fmt::Display for Needle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::About(address) => write!(f, "arp={address}"),
            Self::From(prefix) => write!(f, "from={prefix}"),
            Self::Label(name) => write!(f, "label={name}"),
            Self::Longer(bytes) => write!(f, "longer={bytes}"),
            Self::Mac([a, b, c, d, e, g]) => {
                write!(f, "mac={a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            Self::Text(text) => write!(f, "text={text}"),
            Self::Towards(prefix) => write!(f, "towards={prefix}"),
        }
    }
}

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    fn contains(self, address: IpAddr) -> bool {
        let (own, other) = (bits(self.address), bits(address));
        let width = if self.address.is_ipv4() { 32 } else { 128 };
        let tail = width - u32::from(self.length);
        self.address.is_ipv4() == address.is_ipv4()
            && own.checked_shr(tail).unwrap_or(0) == other.checked_shr(tail).unwrap_or(0)
    }
}

impl FromStr for Prefix {
    type Err = NoNeedle;

    fn from_str(text: &str) -> Result<Self, NoNeedle> {
        let no_needle = || NoNeedle(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(no_needle)?;
        let address: IpAddr = address.parse().map_err(|_| no_needle())?;
        let length: u8 = length.parse().map_err(|_| no_needle())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (length <= longest)
            .then_some(Self { address, length })
            .ok_or_else(no_needle)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// Text that is no needle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoNeedle(String);

impl fmt::Display for NoNeedle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(
            f,
            "{text:?} is none of towards=PREFIX, from=PREFIX, label=NAME, text=BYTES, mac=MAC, arp=ADDRESS, \
             longer=BYTES"
        )
    }
}

impl std::error::Error for NoNeedle {}

/// A frame, or a bare packet.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// What was seen.
    pub bytes: &'a [u8],
    /// Whether it begins with an Ethernet header.
    pub has_ethernet: bool,
}

impl<'a> Frame<'a> {
    /// Describes it in a few words.
    #[must_use]
    pub fn describe(&self) -> Value {
        let ends = self
            .ends()
            .map(|(from, to)| (from.to_string(), to.to_string()));
        let (from, to) = ends.unwrap_or_default();
        let start = &self.bytes[..self.bytes.len().min(96)];
        let hex: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({"from": from, "to": to, "protocol": self.protocol(), "length": self.bytes.len(), "start": hex})
    }

    fn packet(&self) -> (u16, &'a [u8]) {
        if self.has_ethernet {
            let kind = self
                .bytes
                .get(12..14)
                .map_or(0, |kind| u16::from_be_bytes([kind[0], kind[1]]));
            return (kind, self.bytes.get(14..).unwrap_or_default());
        }
        let kind = match self.bytes.first().map(|first| first >> 4) {
            Some(4) => IPV4,
            Some(6) => IPV6,
            Some(_) | None => 0,
        };
        (kind, self.bytes)
    }

    fn ends(&self) -> Option<(IpAddr, IpAddr)> {
        match self.packet() {
            (IPV4, packet) => Some((ipv4(packet.get(12..16)?), ipv4(packet.get(16..20)?))),
            (IPV6, packet) => Some((ipv6(packet.get(8..24)?)?, ipv6(packet.get(24..40)?)?)),
            _ => None,
        }
    }

    fn protocol(&self) -> Option<u8> {
        match self.packet() {
            (IPV4, packet) => packet.get(9).copied(),
            (IPV6, packet) => packet.get(6).copied(),
            _ => None,
        }
    }

    fn is_about(&self, address: IpAddr) -> bool {
        match (self.packet(), address) {
            // Sender's and target's address (RFC 826).
            ((ARP, packet), IpAddr::V4(address)) => [14..18, 24..28]
                .into_iter()
                .any(|place| packet.get(place) == Some(&address.octets()[..])),
            // Solicitation and advertisement (RFC 4861 §4.3, §4.4).
            ((IPV6, packet), IpAddr::V6(address)) => {
                matches!(packet.get(40), Some(135 | 136))
                    && packet.get(48..64) == Some(&address.octets()[..])
            }
            _ => false,
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn ipv4(bytes: &[u8]) -> IpAddr {
    [bytes[0], bytes[1], bytes[2], bytes[3]].into()
}

fn ipv6(bytes: &[u8]) -> Option<IpAddr> {
    let octets: [u8; 16] = bytes.try_into().ok()?;
    Some(octets.into())
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .ok()?;
    bytes.try_into().ok()
}

/// Writes a name as in a DNS message, without the root's empty label.
#[must_use]
pub fn wire_form(name: &str) -> Vec<u8> {
    let labels = name.trim_end_matches('.').split('.');
    labels
        .flat_map(|label| {
            let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
            [&[length], label.as_bytes()].concat()
        })
        .collect()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 packet from 192.0.2.2 to 10.88.0.10 in a frame, with a payload.
    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        frame.extend([
            0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 2, 10, 88, 0, 10,
        ]);
        frame.extend([0; 8]);
        frame.extend(payload);
        frame
    }

    fn finds(needle: &str, bytes: &[u8], has_ethernet: bool) -> bool {
        let needle: Needle = needle.parse().unwrap();
        assert_eq!(needle.to_string().parse(), Ok(needle.clone()));
        needle.is_in(&Frame {
            bytes,
            has_ethernet,
        })
    }

    #[test]
    fn addresses_are_found_by_prefix_with_and_without_a_link_header() {
        let frame = frame(b"");

        assert!(finds("towards=10.88.0.0/16", &frame, true));
        assert!(finds("from=192.0.2.2/32", &frame, true));
        assert!(finds("towards=10.88.0.10/32", &frame[14..], false));
        assert!(finds("towards=0.0.0.0/0", &frame, true));
        assert!(!finds("towards=10.88.1.0/24", &frame, true));
        assert!(!finds("from=10.88.0.0/16", &frame, true));
        assert!(!finds("towards=::/0", &frame, true));
    }

    #[test]
    fn ipv6_addresses_are_found() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, 59, 64];
        packet.extend(
            "2001:db8::1"
                .parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets(),
        );
        packet.extend("fd00:1::2".parse::<std::net::Ipv6Addr>().unwrap().octets());

        assert!(finds("towards=fd00:1::/64", &packet, false));
        assert!(finds("from=2001:db8::/32", &packet, false));
        assert!(!finds("towards=fd00:2::/64", &packet, false));
    }

    #[test]
    fn names_are_found_in_either_form_and_any_case() {
        let query =
            frame(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04wIKi\x04COrp\x04test\0\0\x01\0\x01");
        let text = frame(b"GET / HTTP/1.1\r\nHost: Wiki.Corp.test\r\n");
        let other = frame(b"\x04wiki\x05corps\x04test\0");

        assert!(finds("label=wiki.corp.test", &query, true));
        assert!(finds("label=corp.test", &query, true));
        assert!(finds("label=CORP.test", &text, true));
        assert!(!finds("label=corp.test", &other, true));
    }

    #[test]
    fn stations_and_neighbour_questions_are_found() {
        let mut arp = vec![0xff; 6];
        arp.extend([2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        arp.extend([
            2, 0, 0, 0, 0, 2, 192, 0, 2, 2, 0, 0, 0, 0, 0, 0, 100, 66, 0, 1,
        ]);

        assert!(finds("arp=100.66.0.1", &arp, true));
        assert!(finds("arp=192.0.2.2", &arp, true));
        assert!(!finds("arp=100.66.0.2", &arp, true));
        assert!(finds("mac=02:00:00:00:00:01", &frame(b""), true));
        assert!(!finds("mac=02:00:00:00:00:01", &frame(b"")[14..], false));
        assert!(finds("text=marker", &frame(b"a marker"), true));
        assert!(finds("longer=41", &frame(b""), true));
        assert!(!finds("longer=42", &frame(b""), true));
    }

    #[test]
    fn torn_frames_contain_nothing_and_harm_nobody() {
        let whole = frame(b"\x04corp\x04test\0");
        for length in 0..whole.len() {
            for has_ethernet in [true, false] {
                let frame = Frame {
                    bytes: &whole[..length],
                    has_ethernet,
                };
                let _description = frame.describe();
                let _found = Needle::About([1, 2, 3, 4].into()).is_in(&frame);
                assert!(length >= 44 || !finds("label=corp.test", frame.bytes, has_ethernet));
            }
        }
    }

    #[test]
    fn what_is_no_needle_is_refused() {
        for text in [
            "",
            "towards",
            "towards=",
            "towards=10.0.0.0",
            "from=10.0.0.0/33",
            "mac=1:2",
            "longer=x",
            "arp=x",
            "what=1",
        ] {
            assert!(text.parse::<Needle>().is_err(), "{text}");
        }
    }
}

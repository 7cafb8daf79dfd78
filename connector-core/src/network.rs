//! Networks: what kind the device is in, address prefixes, and the ones that no document may claim.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What kind of network the device is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkKind {
    /// A mobile network.
    Cellular,
    /// Nobody knows.
    #[default]
    Unknown,
    /// A cable.
    Wired,
    /// A wireless network.
    Wireless,
}

impl NetworkKind {
    /// Returns the word used in policies and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cellular => "cellular",
            Self::Unknown => "unknown",
            Self::Wired => "wired",
            Self::Wireless => "wireless",
        }
    }
}

/// A set of addresses that share their first bits, as in `10.20.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Returns the prefix that holds `address` alone.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        let length = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { address, length }
    }

    /// Returns the first address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Returns how many leading bits the addresses share.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Returns whether `address` lies in the prefix.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                masked_v4(own, self.length) == masked_v4(other, self.length)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                masked_v6(own, self.length) == masked_v6(other, self.length)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Returns whether the two prefixes have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Returns the reserved range that this prefix reaches into, if any: such
    /// a prefix is never routed into a tunnel, whoever asks for it.
    #[must_use]
    pub fn reserved(self) -> Option<&'static str> {
        if self.length == 0 {
            return Some("the whole address space");
        }
        RESERVED
            .iter()
            .find(|(prefix, _)| prefix.overlaps(self))
            .map(|(_, name)| *name)
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    /// Parses `ADDRESS/LENGTH`, or an address for that address alone.
    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let invalid = || InvalidPrefix(text.chars().take(64).collect());
        let Some((address, length)) = text.split_once('/') else {
            return text.parse().map(Self::host).map_err(|_| invalid());
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let length: u8 = length.parse().map_err(|_| invalid())?;
        let first = match address {
            IpAddr::V4(v4) if length <= 32 => IpAddr::V4(masked_v4(v4, length)),
            IpAddr::V6(v6) if length <= 128 => IpAddr::V6(masked_v6(v6, length)),
            IpAddr::V4(_) | IpAddr::V6(_) => return Err(invalid()),
        };

        (first == address)
            .then_some(Self { address, length })
            .ok_or_else(invalid)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A text that is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an address prefix: write it as in 10.20.0.0/16, with no bits set after the prefix"
)]
pub struct InvalidPrefix(String);

fn masked_v4(address: Ipv4Addr, length: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn masked_v6(address: Ipv6Addr, length: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

/// Ranges that mean something on every machine (RFC 6890).
const RESERVED: &[(Prefix, &str)] = &[
    (v4([0, 0, 0, 0], 8), "\"this network\""),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([169, 254, 0, 0], 16), "link-local"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([240, 0, 0, 0], 4), "reserved and broadcast"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 127), "loopback"),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), "IPv4-mapped"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast"),
];

const fn v4(octets: [u8; 4], length: u8) -> Prefix {
    let [a, b, c, d] = octets;
    Prefix {
        address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        length,
    }
}

const fn v6(groups: [u16; 8], length: u8) -> Prefix {
    let [a, b, c, d, e, f, g, h] = groups;
    Prefix {
        address: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
        length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_its_addresses_and_no_other() {
        let prefix: Prefix = "10.20.0.0/16".parse().unwrap();

        assert!(prefix.contains([10, 20, 255, 1].into()));
        assert!(!prefix.contains([10, 21, 0, 1].into()));
        assert!(!prefix.contains("::ffff:10.20.0.1".parse().unwrap()));
    }

    #[test]
    fn prefixes_are_written_with_their_first_address() {
        for text in [
            "10.20.0.1/16",
            "10.0.0.0/33",
            "fd00::1/8",
            "10.0.0.0/",
            "/8",
            "x/8",
            "::/129",
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
        for text in [
            "10.20.0.0/16",
            "0.0.0.0/0",
            "fd00::/8",
            "::1/128",
            "10.0.0.1/32",
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn reserved_ranges_are_told() {
        for text in [
            "0.0.0.0/0",
            "::/0",
            "127.0.0.1",
            "126.0.0.0/7",
            "169.254.169.254",
            "224.0.0.251",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "fe80::/64",
            "ff02::1",
            "128.0.0.0/1",
            "0.0.0.0/1",
        ] {
            assert!(
                text.parse::<Prefix>().unwrap().reserved().is_some(),
                "{text}"
            );
        }
        for text in [
            "10.0.0.0/8",
            "100.64.0.0/10",
            "fd00::/8",
            "192.168.1.0/24",
            "2001:db8::/32",
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().reserved(), None, "{text}");
        }
    }
}

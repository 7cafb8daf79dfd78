//! Messages of the routing socket and of `sysctl`'s dumps (route(4)), byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use connector_core::network::Prefix;

use super::super::ranges;

/// What the kernel is asked to do with a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Add,
    Delete,
}

/// Returns the message that adds or deletes the route for `prefix` through the
/// interface of number `interface`; `sequence` tells the answer.
pub(super) fn request(request: Request, prefix: Prefix, interface: u16, sequence: i32) -> Vec<u8> {
    let is_host = prefix == Prefix::host(prefix.address());
    let mut flags = RTF_UP | RTF_STATIC;
    let mut addresses = RTA_DST | RTA_GATEWAY;
    if is_host {
        flags |= RTF_HOST;
    } else {
        addresses |= RTA_NETMASK;
    }

    let mut message = vec![0; ROUTE_HEADER];
    message.extend(internet(prefix.address()));
    message.extend(link(interface));
    if !is_host {
        message.extend(internet(mask(prefix)));
    }
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    message[0..2].copy_from_slice(&length.to_ne_bytes());
    message[2] = RTM_VERSION;
    message[3] = match request {
        Request::Add => RTM_ADD,
        Request::Delete => RTM_DELETE,
    };
    message[4..6].copy_from_slice(&interface.to_ne_bytes());
    message[8..12].copy_from_slice(&flags.to_ne_bytes());
    message[12..16].copy_from_slice(&addresses.to_ne_bytes());
    message[20..24].copy_from_slice(&sequence.to_ne_bytes());
    message
}

/// A message about a route, an address or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// An address of an interface came or went, or is there.
    Address { prefix: Option<Prefix> },
    /// A link changed.
    Link,
    /// A route came, went or changed, or is there.
    Route(Route),
    /// Anything else, also what cannot be understood.
    Other,
}

/// A route as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    /// Where it leads.
    pub(super) prefix: Prefix,
    /// The number of the interface.
    pub(super) interface: u16,
    /// Whether it was made from another one, for a neighbour in use.
    pub(super) is_clone: bool,
}

impl Message {
    /// Returns whether the machine may have moved to another network: its
    /// addresses, its links or its default routes.
    pub(super) fn tells_of_roaming(self) -> bool {
        match self {
            Self::Address { .. } | Self::Link => true,
            Self::Route(route) => route.prefix.length() == 0,
            Self::Other => false,
        }
    }

    /// Returns whether a route of ours may have been touched. The kernel tells
    /// much about neighbours, which is of no concern.
    pub(super) fn tells_of_routing(self) -> bool {
        match self {
            Self::Address { .. } | Self::Link => true,
            Self::Route(route) => !route.is_clone,
            Self::Other => false,
        }
    }
}

/// Splits what the kernel gave into messages; what is cut off at the end, or
/// claims more bytes than there are, is left out.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        // Without progress there is no next message.
        let message = bytes.get(..length).filter(|_| length >= SHORTEST)?;
        bytes = &bytes[length..];
        Some(parse(message))
    })
}

fn parse(message: &[u8]) -> Message {
    let version_and_kind = message.get(2..4);
    match version_and_kind {
        Some([RTM_VERSION, RTM_ADD | RTM_DELETE | RTM_CHANGE | RTM_GET]) => {
            route(message).map_or(Message::Other, Message::Route)
        }
        Some([RTM_VERSION, RTM_NEWADDR | RTM_DELADDR]) => Message::Address {
            prefix: address(message),
        },
        Some([RTM_VERSION, RTM_IFINFO]) => Message::Link,
        _ => Message::Other,
    }
}

fn route(message: &[u8]) -> Option<Route> {
    let interface = u16_at(message, 4)?;
    let flags = u32_at(message, 8)?;
    let present = u32_at(message, 12)?;
    let sockaddrs = Sockaddrs::new(message.get(ROUTE_HEADER..)?, present);
    let address = sockaddrs.of(RTA_DST).and_then(to_address)?;
    let length = if flags & RTF_HOST == 0 {
        // No mask, and one of no bytes, stand for the default route.
        sockaddrs
            .of(RTA_NETMASK)
            .map_or(Some(0), |mask| mask_length(mask, address))?
    } else {
        Prefix::host(address).length()
    };
    Some(Route {
        prefix: ranges::around(address, length)?,
        interface,
        is_clone: flags & RTF_WASCLONED != 0,
    })
}

fn address(message: &[u8]) -> Option<Prefix> {
    let present = u32_at(message, 4)?;
    let sockaddrs = Sockaddrs::new(message.get(ADDRESS_HEADER..)?, present);
    let address = sockaddrs.of(RTA_IFA).and_then(to_address)?;
    let length = mask_length(sockaddrs.of(RTA_NETMASK)?, address)?;
    ranges::around(address, length)
}

/// The socket addresses of a message: one after the other, each padded to four
/// bytes, in the order of their bits.
struct Sockaddrs<'a> {
    bytes: &'a [u8],
    present: u32,
}

impl<'a> Sockaddrs<'a> {
    fn new(bytes: &'a [u8], present: u32) -> Self {
        Self { bytes, present }
    }

    fn of(&self, wanted: u32) -> Option<&'a [u8]> {
        let mut rest = self.bytes;
        for bit in (0..u32::BITS).map(|shift| 1 << shift) {
            if self.present & bit == 0 {
                continue;
            }
            let length = usize::from(*rest.first()?);
            let padded = length.max(1).next_multiple_of(ALIGNMENT);
            if bit == wanted {
                return rest.get(..length);
            }
            rest = rest.get(padded..)?;
        }
        None
    }
}

fn to_address(sockaddr: &[u8]) -> Option<IpAddr> {
    match *sockaddr.get(1)? {
        AF_INET => {
            let octets: [u8; 4] = sockaddr.get(V4_OCTETS)?.try_into().ok()?;
            Some(Ipv4Addr::from(octets).into())
        }
        AF_INET6 => {
            let mut octets: [u8; 16] = sockaddr.get(V6_OCTETS)?.try_into().ok()?;
            if octets[0] == 0xfe && octets[1] & 0xc0 == 0x80 {
                // The kernel writes the interface's number into link-local addresses.
                octets[2..4].fill(0);
            }
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// Returns how many bits a mask has; trailing zero bytes may be missing, and
/// its family is not told.
fn mask_length(mask: &[u8], address: IpAddr) -> Option<u8> {
    let octets = match address {
        IpAddr::V4(_) => V4_OCTETS,
        IpAddr::V6(_) => V6_OCTETS,
    };
    let end = octets.end.min(mask.len());
    let bytes = mask.get(octets.start..end).unwrap_or_default();
    let ones: u32 = bytes.iter().map(|byte| byte.leading_ones()).sum();
    let set: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
    // A mask with holes is no prefix.
    let is_prefix = ones == set
        && bytes
            .iter()
            .skip_while(|byte| **byte == u8::MAX)
            .skip(1)
            .all(|byte| *byte == 0);
    is_prefix.then(|| u8::try_from(ones).ok()).flatten()
}

/// Writes `struct sockaddr_in` or `struct sockaddr_in6`.
fn internet(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = vec![0; 16];
            bytes[0] = 16;
            bytes[1] = AF_INET;
            bytes[V4_OCTETS].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => {
            let mut bytes = vec![0; 28];
            bytes[0] = 28;
            bytes[1] = AF_INET6;
            bytes[V6_OCTETS].copy_from_slice(&v6.octets());
            bytes
        }
    }
}

/// Writes `struct sockaddr_dl` for an interface known by its number.
fn link(interface: u16) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[0] = 20;
    bytes[1] = AF_LINK;
    bytes[2..4].copy_from_slice(&interface.to_ne_bytes());
    bytes
}

fn mask(prefix: Prefix) -> IpAddr {
    let length = u32::from(prefix.length());
    match prefix.address() {
        IpAddr::V4(_) => {
            let bits = u32::MAX.checked_shl(u32::BITS - length).unwrap_or(0);
            Ipv4Addr::from_bits(bits).into()
        }
        IpAddr::V6(_) => {
            let bits = u128::MAX.checked_shl(u128::BITS - length).unwrap_or(0);
            Ipv6Addr::from_bits(bits).into()
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*field))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*field))
}

/// `sizeof(struct rt_msghdr)`.
pub(super) const ROUTE_HEADER: usize = 92;

/// `sizeof(struct ifa_msghdr)`.
pub(super) const ADDRESS_HEADER: usize = 20;

/// The fields that every message begins with: length, version, kind.
const SHORTEST: usize = 4;

/// What socket addresses in messages are padded to.
const ALIGNMENT: usize = 4;

const V4_OCTETS: std::ops::Range<usize> = 4..8;
const V6_OCTETS: std::ops::Range<usize> = 8..24;

const AF_INET: u8 = 2;
const AF_LINK: u8 = 18;
const AF_INET6: u8 = 30;

const RTM_VERSION: u8 = 5;
const RTM_ADD: u8 = 1;
const RTM_DELETE: u8 = 2;
const RTM_CHANGE: u8 = 3;
const RTM_GET: u8 = 4;
const RTM_NEWADDR: u8 = 12;
const RTM_DELADDR: u8 = 13;
const RTM_IFINFO: u8 = 14;

const RTA_DST: u32 = 1;
const RTA_GATEWAY: u32 = 2;
const RTA_NETMASK: u32 = 4;
const RTA_IFA: u32 = 0x20;

const RTF_UP: u32 = 1;
const RTF_HOST: u32 = 4;
const RTF_STATIC: u32 = 0x800;
const RTF_WASCLONED: u32 = 0x2_0000;

#[cfg(test)]
mod tests;

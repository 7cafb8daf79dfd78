//! What the kernel's tables of links, addresses, routes and rules say (`rtnetlink(7)`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use connector_core::network::Prefix;

use super::netlink::{Message, ROUTES, Socket, attributes, field, number, text};
use super::routes;

/// A version of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// Returns those that this machine speaks.
    pub(super) fn present() -> impl Iterator<Item = Self> {
        let has_v6 = Path::new("/proc/sys/net/ipv6").exists();
        std::iter::once(Self::V4).chain(has_v6.then_some(Self::V6))
    }

    pub(super) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// `AF_INET` or `AF_INET6`.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// Returns whether a link takes routes; one may be told to leave IPv6 alone.
    pub(super) fn is_enabled_on(self, link: &str) -> bool {
        match self {
            Self::V4 => true,
            Self::V6 => {
                let path = format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6");
                std::fs::read(path).is_ok_and(|value| value.starts_with(b"0"))
            }
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::V4, Self::V6]
            .into_iter()
            .find(|family| family.code() == code)
    }
}

/// A network device.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    flags: u32,
}

impl Link {
    pub(super) fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }
}

/// Returns the device of this name, if there is one.
pub(super) fn link(socket: &Socket, name: &str) -> io::Result<Option<Link>> {
    let mut terminated = name.as_bytes().to_vec();
    terminated.push(0);
    let question = Message::new(GET_LINK, &[0; LINK_HEADER]).attribute(LINK_NAME, &terminated);
    let answer = match socket.ask(&question) {
        Ok(answer) => answer,
        Err(error) if error.raw_os_error() == Some(NO_SUCH_DEVICE) => return Ok(None),
        Err(error) => return Err(error),
    };
    let index = answer.get(4..).and_then(number);
    let flags = answer.get(8..).and_then(number);
    let (Some(index), Some(flags)) = (index, flags) else {
        return Err(io::Error::other("the kernel's answer cannot be read"));
    };
    Ok(Some(Link {
        index,
        name: name.to_owned(),
        flags,
    }))
}

/// Returns whether a notice about a link is about the one of this name.
pub(super) fn is_about_link(notice: &[u8], name: &str) -> bool {
    attributes(notice, LINK_HEADER)
        .any(|(kind, value)| kind == LINK_NAME && text(value) == name.as_bytes())
}

/// Returns whether a notice tells of more than statistics: a link came, went, or
/// changed its state (`ifi_change`).
pub(super) fn is_change_of_link(notice: &[u8]) -> bool {
    notice.get(12..).and_then(number) != Some(0)
}

/// A route of any table and protocol.
#[derive(Debug)]
pub(super) struct RawRoute {
    pub(super) table: u32,
    pub(super) protocol: u8,
    pub(super) target: u8,
    pub(super) device: Option<u32>,
    pub(super) metric: u32,
    pub(super) destination: Option<Prefix>,
}

impl RawRoute {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let [family, length, _, _, table, protocol, _, target] = field(body, 0)?;
        let family = Family::from_code(family)?;
        let mut destination = prefix(family, &[0; 16], length);
        let mut route = Self {
            table: table.into(),
            protocol,
            target,
            device: None,
            metric: 0,
            destination: None,
        };
        for (kind, value) in attributes(body, ROUTE_HEADER) {
            match kind {
                ROUTE_DESTINATION => destination = prefix(family, value, length),
                ROUTE_DEVICE => route.device = number(value),
                ROUTE_PRIORITY => route.metric = number(value)?,
                ROUTE_TABLE => route.table = number(value)?,
                _ => {}
            }
        }
        route.destination = destination;
        Some(route)
    }

    /// Returns whether this is how the machine reaches the rest of the world.
    pub(super) fn is_default(&self) -> bool {
        self.destination.is_some_and(|prefix| prefix.length() == 0)
    }
}

/// Returns the routes of all tables.
pub(super) fn routes(socket: &Socket, family: Family) -> io::Result<Vec<RawRoute>> {
    let mut header = [0; ROUTE_HEADER];
    header[0] = family.code();
    let all = socket.dump(&Message::new(GET_ROUTE, &header))?;
    Ok(all
        .iter()
        .filter_map(|body| RawRoute::parse(body))
        .collect())
}

/// Returns the rules, each as the kernel tells it.
pub(super) fn rules(socket: &Socket, family: Family) -> io::Result<Vec<Vec<u8>>> {
    let mut header = [0; RULE_HEADER];
    header[0] = family.code();
    socket.dump(&Message::new(GET_RULE, &header))
}

/// Returns the tables that rules lead to.
pub(super) fn rule_tables(socket: &Socket, family: Family) -> io::Result<Vec<u32>> {
    let rules = rules(socket, family)?;
    Ok(rules
        .iter()
        .flat_map(|rule| attributes(rule, RULE_HEADER))
        .filter(|(kind, _)| *kind == RULE_TABLE)
        .filter_map(|(_, value)| number(value))
        .collect())
}

/// An address of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) link: u32,
    pub(super) address: IpAddr,
    pub(super) length: u8,
    /// Whether it can be used: no longer being probed for duplicates.
    pub(super) is_usable: bool,
}

impl Address {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let [family, length, flags, _] = field(body, 0)?;
        let link = number(body.get(4..)?)?;
        let family = Family::from_code(family)?;
        let (mut local, mut remote) = (None, None);
        let mut flags = u32::from(flags);
        for (kind, value) in attributes(body, ADDRESS_HEADER) {
            match kind {
                ADDRESS => remote = address(family, value),
                ADDRESS_LOCAL => local = address(family, value),
                ADDRESS_FLAGS => flags = number(value)?,
                _ => {}
            }
        }
        Some(Self {
            link,
            address: local.or(remote)?,
            length,
            is_usable: flags & TENTATIVE == 0,
        })
    }
}

/// Returns the machine's addresses.
pub(super) fn addresses(socket: &Socket) -> io::Result<Vec<Address>> {
    let all = socket.dump(&Message::new(GET_ADDRESS, &[0; ADDRESS_HEADER]))?;
    Ok(all.iter().filter_map(|body| Address::parse(body)).collect())
}

/// Returns what addresses and routes of the machine cover, but for the default
/// routes and our own.
pub(super) fn ranges_in_use() -> io::Result<Vec<Prefix>> {
    let socket = Socket::open(ROUTES)?;
    let mut ranges = std::collections::BTreeSet::new();
    for family in Family::present() {
        let routes = routes(&socket, family)?;
        let others = routes
            .iter()
            .filter(|route| !route.is_default() && !routes::is_own(route));
        ranges.extend(others.filter_map(|route| route.destination));
    }
    for address in addresses(&socket)? {
        let family = Family::of(address.address);
        let octets = match address.address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        ranges.extend(prefix(family, &octets, address.length).filter(|range| range.length() > 0));
        ranges.insert(Prefix::host(address.address));
    }
    Ok(ranges.into_iter().collect())
}

fn address(family: Family, octets: &[u8]) -> Option<IpAddr> {
    match family {
        Family::V4 => field::<4>(octets, 0).map(|octets| Ipv4Addr::from(octets).into()),
        Family::V6 => field::<16>(octets, 0).map(|octets| Ipv6Addr::from(octets).into()),
    }
}

/// Returns the prefix of `length` bits around an address.
fn prefix(family: Family, octets: &[u8], length: u8) -> Option<Prefix> {
    let first: IpAddr = match address(family, octets)? {
        IpAddr::V4(v4) => {
            let beyond = 32_u32.checked_sub(length.into())?;
            let mask = u32::MAX.checked_shl(beyond).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let beyond = 128_u32.checked_sub(length.into())?;
            let mask = u128::MAX.checked_shl(beyond).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    };
    format!("{first}/{length}").parse().ok()
}

/// From `linux/rtnetlink.h`, `linux/if_link.h`, `linux/if_addr.h` and `linux/fib_rules.h`.
pub(super) const NEW_LINK: u16 = 16;
pub(super) const DELETE_LINK: u16 = 17;
pub(super) const NEW_ADDRESS: u16 = 20;
pub(super) const DELETE_ADDRESS: u16 = 21;
pub(super) const NEW_ROUTE: u16 = 24;
pub(super) const DELETE_ROUTE: u16 = 25;
pub(super) const NEW_RULE: u16 = 32;
pub(super) const DELETE_RULE: u16 = 33;
pub(super) const ROUTE_DESTINATION: u16 = 1;
pub(super) const ROUTE_DEVICE: u16 = 4;
pub(super) const ROUTE_PRIORITY: u16 = 6;
pub(super) const ROUTE_TABLE: u16 = 15;
pub(super) const RULE_HEADER: usize = 12;
pub(super) const RULE_PRIORITY: u16 = 6;
pub(super) const RULE_TABLE: u16 = 15;
pub(super) const GROUP_LINKS: u32 = 0x1;
pub(super) const GROUP_ADDRESSES: u32 = 0x10 | 0x100;
pub(super) const GROUP_ROUTES: u32 = 0x40 | 0x400;
pub(super) const GROUP_RULES: u32 = 0x80 | 0x4_0000;
const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
const GET_ROUTE: u16 = 26;
const GET_RULE: u16 = 34;
const LINK_HEADER: usize = 16;
const LINK_NAME: u16 = 3;
const ROUTE_HEADER: usize = 12;
const ADDRESS_HEADER: usize = 8;
const ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_FLAGS: u16 = 8;
const TENTATIVE: u32 = 0x40;
const IFF_UP: u32 = 1;
/// `ENODEV`
const NO_SUCH_DEVICE: i32 = 19;

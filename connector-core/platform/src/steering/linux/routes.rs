//! The routes to protected applications, in a table of their own that comes
//! before the machine's (`ip-rule(8)`).
//!
//! Routes that somebody announces in the local network (DHCP option 121, router
//! advertisements) go to the main table and lose against these, however narrow
//! they are. Beside each route into the device stands a worse one that refuses:
//! it stays when the device goes.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::IpAddr;

use connector_core::network::Prefix;

use super::kernel::{self, Family, Link, RawRoute};
use super::netlink::{CREATE, Message, ROUTES, Socket, attributes, number};
use crate::steering::{MARK, Plan};

/// A table of routes that is ours alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Table(u32);

impl Table {
    /// Chooses one that nobody uses.
    pub(super) fn choose() -> io::Result<Self> {
        let socket = Socket::open(ROUTES)?;
        let mut taken = BTreeSet::new();
        for family in Family::present() {
            taken.extend(
                kernel::routes(&socket, family)?
                    .iter()
                    .map(|route| route.table),
            );
            taken.extend(kernel::rule_tables(&socket, family)?);
        }
        TABLES
            .into_iter()
            .find(|table| !taken.contains(table))
            .map(Self)
            .ok_or_else(|| {
                io::Error::other(format!(
                    "the routing tables {} to {} are all in use: free one (`ip route show table all`)",
                    TABLES[0],
                    TABLES[TABLES.len() - 1]
                ))
            })
    }

    /// Puts whatever is missing of the plan in place and removes what the plan no
    /// longer names. Returns whether there was anything to do.
    ///
    /// # Errors
    ///
    /// If the kernel refuses, or the device is not there; everything but the ways
    /// into the device is in place then, and refuses.
    pub(super) fn establish(self, plan: &Plan) -> io::Result<bool> {
        let socket = Socket::open(ROUTES)?;
        let link = kernel::link(&socket, &plan.device)?.filter(Link::is_up);
        let mut has_changed = false;
        for family in Family::present() {
            let wanted = wanted(plan, family, link.as_ref());
            let present = self.own_routes(&socket, family)?;
            // The refusing ones come first in their order.
            for route in wanted.difference(&present) {
                self.add(&socket, *route)?;
                has_changed = true;
            }
            if !self.has_rule(&socket, family)? {
                socket.request(&self.rule(kernel::NEW_RULE, family).with_flags(CREATE))?;
                has_changed = true;
            }
            for route in present.difference(&wanted) {
                self.remove(&socket, *route)?;
                has_changed = true;
            }
        }
        if link.is_none() {
            return Err(io::Error::other(format!(
                "the device {} is not there or not up",
                plan.device
            )));
        }
        Ok(has_changed)
    }

    /// Returns whether anything of ours is in the table or leads to it.
    pub(super) fn is_in_use(self) -> io::Result<bool> {
        let socket = Socket::open(ROUTES)?;
        for family in Family::present() {
            if self.has_rule(&socket, family)? || !self.own_routes(&socket, family)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the rules and what we put into the table, if they are there.
    pub(super) fn clear(self) -> io::Result<()> {
        let socket = Socket::open(ROUTES)?;
        for family in Family::present() {
            while self.has_rule(&socket, family)? {
                socket.request(&self.rule(kernel::DELETE_RULE, family))?;
            }
            for route in self.own_routes(&socket, family)? {
                self.remove(&socket, route)?;
            }
        }
        Ok(())
    }

    /// Returns whether a notice about a route is about this table.
    pub(super) fn is_told_of(self, notice: &[u8]) -> bool {
        RawRoute::parse(notice).is_none_or(|route| route.table == self.0)
    }

    fn own_routes(self, socket: &Socket, family: Family) -> io::Result<BTreeSet<Route>> {
        let routes = kernel::routes(socket, family)?;
        let own = routes
            .iter()
            .filter(|route| route.table == self.0 && route.protocol == PROTOCOL);
        Ok(own.filter_map(Route::from_raw).collect())
    }

    fn add(self, socket: &Socket, route: Route) -> io::Result<()> {
        let request = self.route(kernel::NEW_ROUTE, route).with_flags(CREATE);
        match socket.request(&request) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(failed("add", &route, error))
            }
            _ => Ok(()),
        }
    }

    fn remove(self, socket: &Socket, route: Route) -> io::Result<()> {
        match socket.request(&self.route(kernel::DELETE_ROUTE, route)) {
            Err(error) if error.raw_os_error() == Some(NO_SUCH_ROUTE) => Ok(()),
            Err(error) => Err(failed("remove", &route, error)),
            Ok(()) => Ok(()),
        }
    }

    /// `struct rtmsg` and its attributes (`rtnetlink(7)`).
    fn route(self, kind: u16, route: Route) -> Message {
        let (scope, target, metric) = match route.way {
            Way::Device(_) => (SCOPE_LINK, UNICAST, METRIC),
            Way::Refused => (SCOPE_UNIVERSE, UNREACHABLE, METRIC_OF_LAST_RESORT),
        };
        let family = Family::of(route.prefix.address());
        let header = [
            family.code(),
            route.prefix.length(),
            0,
            0,
            0,
            PROTOCOL,
            scope,
            target,
            0,
            0,
            0,
            0,
        ];
        let message = Message::new(kind, &header)
            .attribute(kernel::ROUTE_DESTINATION, &octets(route.prefix.address()))
            .attribute(kernel::ROUTE_PRIORITY, &metric.to_ne_bytes())
            .attribute(kernel::ROUTE_TABLE, &self.0.to_ne_bytes());
        match route.way {
            Way::Device(index) => message.attribute(kernel::ROUTE_DEVICE, &index.to_ne_bytes()),
            Way::Refused => message,
        }
    }

    /// `struct fib_rule_hdr`: what does not carry our mark looks into the table.
    fn rule(self, kind: u16, family: Family) -> Message {
        let mut header = [0; kernel::RULE_HEADER];
        header[0] = family.code();
        header[7] = LOOK_INTO_TABLE;
        header[8..].copy_from_slice(&INVERTED.to_ne_bytes());
        Message::new(kind, &header)
            .attribute(kernel::RULE_PRIORITY, &PREFERENCE.to_ne_bytes())
            .attribute(RULE_MARK, &MARK.to_ne_bytes())
            .attribute(RULE_MARK_MASK, &u32::MAX.to_ne_bytes())
            .attribute(kernel::RULE_TABLE, &self.0.to_ne_bytes())
            .attribute(RULE_PROTOCOL, &[PROTOCOL])
    }

    fn has_rule(self, socket: &Socket, family: Family) -> io::Result<bool> {
        Ok(kernel::rules(socket, family)?
            .iter()
            .any(|rule| self.is_own_rule(rule)))
    }

    fn is_own_rule(self, rule: &[u8]) -> bool {
        let attribute = |kind| {
            attributes(rule, kernel::RULE_HEADER)
                .find(|(other, _)| *other == kind)
                .map(|(_, value)| value)
        };
        let is_inverted = rule
            .get(8..)
            .and_then(number)
            .is_some_and(|flags| flags & INVERTED != 0);
        is_inverted
            && attribute(kernel::RULE_PRIORITY).and_then(number) == Some(PREFERENCE)
            && attribute(RULE_MARK).and_then(number) == Some(MARK)
            && attribute(RULE_MARK_MASK).and_then(number) == Some(u32::MAX)
            && attribute(kernel::RULE_TABLE).and_then(number) == Some(self.0)
            && attribute(RULE_PROTOCOL) == Some(&[PROTOCOL])
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns whether a route was put there by this program, whichever process.
pub(super) fn is_own(route: &RawRoute) -> bool {
    route.protocol == PROTOCOL && TABLES.contains(&route.table)
}

/// One of our routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    way: Way,
    prefix: Prefix,
}

impl Route {
    fn from_raw(raw: &RawRoute) -> Option<Self> {
        let way = match raw.device {
            Some(index) if raw.target == UNICAST && raw.metric == METRIC => Way::Device(index),
            _ if raw.target == UNREACHABLE => Way::Refused,
            _ => return None,
        };
        Some(Self {
            way,
            prefix: raw.destination?,
        })
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Way::Refused => write!(f, "the refusing route to {}", self.prefix),
            Way::Device(_) => write!(f, "the tunnel's route to {}", self.prefix),
        }
    }
}

/// In the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Refused,
    Device(u32),
}

fn wanted(plan: &Plan, family: Family, link: Option<&Link>) -> BTreeSet<Route> {
    let device = link
        .filter(|link| family.is_enabled_on(&link.name))
        .map(|link| Way::Device(link.index));
    let ways = || std::iter::once(Way::Refused).chain(device);
    plan.prefixes
        .iter()
        .filter(|prefix| Family::of(prefix.address()) == family)
        .flat_map(|prefix| {
            ways().map(|way| Route {
                way,
                prefix: *prefix,
            })
        })
        .collect()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn failed(verb: &str, route: &Route, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {verb} {route}: {error}"))
}

/// Numbers of tables that no distribution and no VPN that we know uses; the
/// first one that is free is taken.
const TABLES: [u32; 8] = [5182, 5183, 5184, 5185, 5186, 5187, 5188, 5189];

/// Before the main table (32766), after the machine's own addresses (0).
const PREFERENCE: u32 = 100;

/// Says who made a route or a rule (`rtm_protocol`); not in `rt_protos`.
const PROTOCOL: u8 = 182;

const METRIC: u32 = 100;
const METRIC_OF_LAST_RESORT: u32 = 0x7fff_ffff;

/// From `linux/rtnetlink.h` and `linux/fib_rules.h`.
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;
const UNREACHABLE: u8 = 7;
const LOOK_INTO_TABLE: u8 = 1;
const INVERTED: u32 = 2;
const RULE_MARK: u16 = 10;
const RULE_MARK_MASK: u16 = 16;
const RULE_PROTOCOL: u16 = 21;
/// `ESRCH`, which the kernel answers for a route that is not there.
const NO_SUCH_ROUTE: i32 = 3;

//! What a peer may reach behind a gateway that decides for itself.
//!
//! An endpoint is not inside the trust boundary, so the gateway looks at each packet of a peer again: by
//! destination, protocol and port, without a table of flows. What comes back is the same, mirrored.

use std::collections::BTreeMap;
use std::net::IpAddr;

use connector_core::access::Protocol;
use connector_core::catalogue::Ports;
use connector_core::network::Prefix;

use crate::packet::{Headers, Kind};

/// A peer that may come in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// The inner addresses that it may use.
    pub addresses: Vec<Prefix>,
    /// What it may reach.
    pub reach: Reach,
}

/// What a peer may reach behind a gateway; nothing, unless told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Whatever is behind the gateway: somebody else decides.
    Everything,
    /// What is open to it.
    Only(Openings),
}

/// What is open to one peer, indexed for a look at each packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Openings {
    hosts: BTreeMap<IpAddr, Vec<Opening>>,
    /// The longest ones first.
    networks: Vec<Opening>,
}

/// Ports of some addresses that are open to a peer, or shut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The addresses.
    pub prefix: Prefix,
    /// The ports.
    pub ports: Ports,
    /// Whether they are open; what is shut is an exception from a wider prefix.
    pub is_open: bool,
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the site to the peer.
    ToPeer,
    /// From the peer to the site.
    ToSite,
}

impl Default for Reach {
    fn default() -> Self {
        Self::Only(Openings::default())
    }
}

impl Reach {
    /// Returns whether the peer may send `packet`, or be sent it.
    #[must_use]
    pub fn covers(&self, packet: &[u8], direction: Direction) -> bool {
        match self {
            Self::Everything => true,
            Self::Only(openings) => Headers::parse(packet)
                .is_some_and(|headers| openings.cover(packet, &headers, direction)),
        }
    }
}

impl Openings {
    /// Indexes `openings`: of those that have an address and offer its port, the longest prefix decides, and
    /// among equals an open one.
    #[must_use]
    pub fn new(openings: impl IntoIterator<Item = Opening>) -> Self {
        let mut index = Self::default();
        for opening in openings {
            let address = opening.prefix.address();
            if opening.prefix == Prefix::host(address) {
                index.hosts.entry(address).or_default().push(opening);
            } else {
                index.networks.push(opening);
            }
        }
        for openings in index.hosts.values_mut() {
            openings.sort_by_key(|opening| !opening.is_open);
        }
        index
            .networks
            .sort_by_key(|opening| (u8::MAX - opening.prefix.length(), !opening.is_open));
        index
    }

    /// Returns whether `protocol` of `address` is open.
    #[must_use]
    pub fn permit(&self, address: IpAddr, protocol: Protocol) -> bool {
        self.about(address)
            .find(|opening| opening.ports.offer(protocol))
            .is_some_and(|opening| opening.is_open)
    }

    fn about(&self, address: IpAddr) -> impl Iterator<Item = &Opening> {
        let networks = self.networks.iter();
        self.hosts
            .get(&address)
            .into_iter()
            .flatten()
            .chain(networks.filter(move |opening| opening.prefix.contains(address)))
    }

    fn cover(&self, packet: &[u8], headers: &Headers, direction: Direction) -> bool {
        if !is_plain(headers) {
            return false;
        }
        if let Kind::Error { quoted } = headers.kind {
            return packet
                .get(quoted..headers.length)
                .and_then(Headers::parse_quoted)
                .is_some_and(|quoted| self.covers_error(headers, &quoted, direction));
        }
        self.covers_kind(headers, direction)
    }

    /// An error answers a packet that went the other way, and goes to who sent it.
    fn covers_error(&self, error: &Headers, quoted: &Headers, direction: Direction) -> bool {
        quoted.source == error.destination
            && !matches!(quoted.kind, Kind::Error { .. })
            && self.covers_kind(quoted, direction.reversed())
    }

    fn covers_kind(&self, headers: &Headers, direction: Direction) -> bool {
        let to_site = direction == Direction::ToSite;
        let service = if to_site {
            headers.destination
        } else {
            headers.source
        };
        let port = |source, destination| if to_site { destination } else { source };
        match headers.kind {
            Kind::Tcp(tcp) => {
                let opens = tcp.flags.syn() && !tcp.flags.ack();
                (to_site || !opens)
                    && self.permit(service, Protocol::Tcp(port(tcp.source, tcp.destination)))
            }
            Kind::Udp {
                source,
                destination,
            } => self.permit(service, Protocol::Udp(port(source, destination))),
            Kind::Echo { is_request, .. } => {
                is_request == to_site && self.permit(service, Protocol::IcmpEcho)
            }
            // Without its first piece, which has the ports, it never becomes a datagram; and it begins
            // behind the ports, so that it cannot change them.
            Kind::LaterFragment => self.about(service).any(|opening| opening.is_open),
            Kind::Error { .. } | Kind::Other(_) => false,
        }
    }
}

impl Direction {
    fn reversed(self) -> Self {
        match self {
            Self::ToPeer => Self::ToSite,
            Self::ToSite => Self::ToPeer,
        }
    }
}

/// Whether nothing stands between addresses and transport that may lead the packet elsewhere than its
/// destination says: source routes are options of IPv4, and extensions of IPv6.
fn is_plain(headers: &Headers) -> bool {
    match (headers.destination, headers.fragment) {
        (IpAddr::V4(_), _) => headers.transport == 20,
        (IpAddr::V6(_), None) => headers.transport == 40,
        (IpAddr::V6(_), Some(_)) => headers.transport == 48,
    }
}

#[cfg(test)]
mod tests;

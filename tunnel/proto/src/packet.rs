//! Packets on their way between this machine and a site: read once, rewritten
//! in place, answered where they may not pass.

mod reply;
mod translate;

use std::net::{IpAddr, SocketAddr};

pub use self::reply::{
    echo_reply, prohibited, reset_of, reset_towards, too_big, udp_packet, unreachable,
};
pub use self::translate::{Rewrite, clamp_mss, rewrite_quoted};
use crate::ip::TcpFlags;

/// The headers of one IP packet, or super-packet, whose lengths were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// Where the transport header starts, in bytes from the packet's start.
    pub transport: usize,
    /// How long the whole packet is, in bytes.
    pub length: usize,
    /// Whether routers may not split it.
    pub whole: bool,
    /// Which datagram it is a piece of, if it is one.
    pub fragment: Option<Fragment>,
    /// What it carries.
    pub kind: Kind,
}

/// A piece of a datagram (RFC 791, section 3.2; RFC 8200, section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Names the datagram among those between two hosts.
    pub id: u32,
    /// Whether it has the transport header.
    pub is_first: bool,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ICMP error about another packet, quoted at this offset.
    Error {
        /// Where the quoted packet starts.
        quoted: usize,
    },
    /// An ICMP echo.
    Echo {
        /// Whether it asks; else it answers.
        is_request: bool,
        /// What tells one program's echoes from another's.
        id: u16,
    },
    /// A later piece of a datagram.
    LaterFragment,
    /// Anything else, by its IANA protocol number.
    Other(u8),
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp {
        /// The port it comes from.
        source: u16,
        /// The port it goes to.
        destination: u16,
    },
}

/// The fields of a TCP header that a router looks at (RFC 9293, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// The port it comes from.
    pub source: u16,
    /// The port it goes to.
    pub destination: u16,
    /// The number of its first byte.
    pub sequence: u32,
    /// The next byte that its sender expects.
    pub acknowledged: u32,
    /// The control bits.
    pub flags: TcpFlags,
    /// How many bytes it carries.
    pub payload: usize,
}

impl Tcp {
    /// Returns the number after the segment's last one: SYN and FIN count too.
    #[must_use]
    pub fn next_sequence(&self) -> u32 {
        let payload = u32::try_from(self.payload).unwrap_or(u32::MAX);
        self.sequence
            .wrapping_add(payload)
            .wrapping_add(u32::from(self.flags.syn()))
            .wrapping_add(u32::from(self.flags.fin()))
    }
}

/// The transport of a flow that a router carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carried {
    /// ICMP or ICMPv6 echo.
    Echo,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The two ends of a flow, as a packet shows them. An echo has its id for a
/// port at the end that asks, and zero at the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ends {
    /// The transport.
    pub carried: Carried,
    /// Where the packet comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
}

impl Ends {
    /// Returns the ends as packets in the other direction show them.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            ..self
        }
    }
}

impl Headers {
    /// Reads the headers of the packet at the start of `packet`; bytes after
    /// its declared length are ignored.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_v4(packet, false),
            6 => Self::parse_v6(packet, false),
            _ => None,
        }
    }

    /// Reads the headers of a packet that an ICMP error quotes: its end may be missing.
    #[must_use]
    pub fn parse_quoted(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_v4(packet, true),
            6 => Self::parse_v6(packet, true),
            _ => None,
        }
    }

    /// Returns the flow that the packet belongs to, if it says so itself.
    #[must_use]
    pub fn ends(&self) -> Option<Ends> {
        let (carried, source, destination) = match self.kind {
            Kind::Tcp(tcp) => (Carried::Tcp, tcp.source, tcp.destination),
            Kind::Udp {
                source,
                destination,
            } => (Carried::Udp, source, destination),
            Kind::Echo {
                is_request: true,
                id,
            } => (Carried::Echo, id, 0),
            Kind::Echo {
                is_request: false,
                id,
            } => (Carried::Echo, 0, id),
            Kind::Error { .. } | Kind::LaterFragment | Kind::Other(_) => return None,
        };
        Some(Ends {
            carried,
            source: SocketAddr::new(self.source, source),
            destination: SocketAddr::new(self.destination, destination),
        })
    }

    /// Returns whether a live peer would answer this packet soon: everything
    /// but a bare acknowledgement, a reset, a fragment and what we do not know.
    #[must_use]
    pub fn expects_answer(&self) -> bool {
        match self.kind {
            Kind::Tcp(tcp) => {
                !tcp.flags.rst() && (tcp.payload > 0 || tcp.flags.syn() || tcp.flags.fin())
            }
            Kind::Udp { .. } => true,
            Kind::Echo { is_request, .. } => is_request,
            Kind::Error { .. } | Kind::LaterFragment | Kind::Other(_) => false,
        }
    }

    /// Returns whether this packet can be the first of a flow.
    #[must_use]
    pub fn can_be_first(&self) -> bool {
        match self.kind {
            Kind::Tcp(tcp) => tcp.flags.syn() && !tcp.flags.ack(),
            Kind::Udp { .. } => true,
            Kind::Echo { is_request, .. } => is_request,
            Kind::Error { .. } | Kind::LaterFragment | Kind::Other(_) => false,
        }
    }

    fn parse_v4(packet: &[u8], is_quoted: bool) -> Option<Self> {
        let header: &[u8; 20] = packet.first_chunk()?;
        let transport = usize::from(header[0] & 0x0f) * 4;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let whole_there = is_quoted || packet.len() >= length;
        if transport < 20 || length < transport || packet.len() < transport || !whole_there {
            return None;
        }
        let bits = u16::from_be_bytes([header[6], header[7]]);
        let offset = bits & 0x1fff;
        let fragment = (bits & 0x3fff != 0).then(|| Fragment {
            id: u32::from(u16::from_be_bytes([header[4], header[5]])),
            is_first: offset == 0,
        });
        let source: [u8; 4] = *header[12..].first_chunk()?;
        let destination: [u8; 4] = *header[16..].first_chunk()?;
        let headers = Self {
            source: source.into(),
            destination: destination.into(),
            transport,
            length,
            whole: bits & 0x4000 != 0,
            fragment,
            kind: Kind::LaterFragment,
        };
        headers.with_kind(packet, header[9], is_quoted)
    }

    fn parse_v6(packet: &[u8], is_quoted: bool) -> Option<Self> {
        let header: &[u8; 40] = packet.first_chunk()?;
        let length = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        if !is_quoted && packet.len() < length {
            return None;
        }
        let source: [u8; 16] = *header[8..].first_chunk()?;
        let destination: [u8; 16] = *header[24..].first_chunk()?;
        let mut headers = Self {
            source: source.into(),
            destination: destination.into(),
            transport: 40,
            length,
            whole: true,
            fragment: None,
            kind: Kind::LaterFragment,
        };
        let mut next = header[6];
        for _ in 0..MAX_EXTENSIONS {
            let Some(extension) = packet.get(headers.transport..)?.first_chunk::<8>() else {
                break;
            };
            match next {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                    headers.transport += (usize::from(extension[1]) + 1) * 8;
                }
                FRAGMENT => {
                    let [_, _, high, low, a, b, c, d] = *extension;
                    headers.fragment = Some(Fragment {
                        id: u32::from_be_bytes([a, b, c, d]),
                        is_first: u16::from_be_bytes([high, low]) & 0xfff8 == 0,
                    });
                    headers.transport += 8;
                }
                _ => break,
            }
            next = extension[0];
        }
        if headers.transport > length {
            return None;
        }
        headers.with_kind(packet, next, is_quoted)
    }

    fn with_kind(mut self, packet: &[u8], protocol: u8, is_quoted: bool) -> Option<Self> {
        if self.fragment.is_some_and(|fragment| !fragment.is_first) {
            return Some(self);
        }
        let end = self.length.min(packet.len());
        let body = packet.get(self.transport..end)?;
        self.kind = match (protocol, self.source) {
            (TCP, _) if is_quoted => Kind::quoted_tcp(body)?,
            (TCP, _) => Kind::tcp(body)?,
            (UDP, _) => {
                let header: &[u8; 8] = body.first_chunk()?;
                Kind::Udp {
                    source: u16::from_be_bytes([header[0], header[1]]),
                    destination: u16::from_be_bytes([header[2], header[3]]),
                }
            }
            (ICMP, IpAddr::V4(_)) => Kind::icmp(body, self.transport, [8, 0], &[3, 4, 11, 12])?,
            (ICMP_V6, IpAddr::V6(_)) => {
                Kind::icmp(body, self.transport, [128, 129], &[1, 2, 3, 4])?
            }
            (other, _) => Kind::Other(other),
        };
        Some(self)
    }
}

impl Kind {
    fn tcp(body: &[u8]) -> Option<Self> {
        let header: &[u8; 20] = body.first_chunk()?;
        let length = usize::from(header[12] >> 4) * 4;
        if length < 20 || body.len() < length {
            return None;
        }
        Some(Self::Tcp(Tcp {
            source: u16::from_be_bytes([header[0], header[1]]),
            destination: u16::from_be_bytes([header[2], header[3]]),
            sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            acknowledged: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            flags: TcpFlags::from_bits(header[13]),
            payload: body.len() - length,
        }))
    }

    /// Only the first eight bytes are sure to be quoted.
    fn quoted_tcp(body: &[u8]) -> Option<Self> {
        let header: &[u8; 8] = body.first_chunk()?;
        Some(Self::Tcp(Tcp {
            source: u16::from_be_bytes([header[0], header[1]]),
            destination: u16::from_be_bytes([header[2], header[3]]),
            sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            acknowledged: 0,
            flags: TcpFlags::from_bits(0),
            payload: 0,
        }))
    }

    fn icmp(body: &[u8], transport: usize, echo: [u8; 2], errors: &[u8]) -> Option<Self> {
        let header: &[u8; 8] = body.first_chunk()?;
        let [request, reply] = echo;
        Some(match header[0] {
            kind if kind == request || kind == reply => Self::Echo {
                is_request: kind == request,
                id: u16::from_be_bytes([header[4], header[5]]),
            },
            kind if errors.contains(&kind) => Self::Error {
                quoted: transport + 8,
            },
            _ => Self::Other(ICMP),
        })
    }
}

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP_V6: u8 = 58;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// More than any honest packet has.
const MAX_EXTENSIONS: usize = 8;

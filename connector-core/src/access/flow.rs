use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::name::DomainName;

/// One attempt to reach something, before any decision about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Where the flow wants to go.
    pub destination: Destination,
    /// How it wants to get there.
    pub protocol: Protocol,
    /// The program that opened it.
    pub workload: Workload,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.destination, self.protocol) {
            (Destination::Address(IpAddr::V6(address)), Protocol::Tcp(port)) => {
                write!(f, "[{address}]:{port}")
            }
            (Destination::Address(IpAddr::V6(address)), Protocol::Udp(port)) => {
                write!(f, "[{address}]:{port}/udp")
            }
            (destination, Protocol::Tcp(port)) => write!(f, "{destination}:{port}"),
            (destination, Protocol::Udp(port)) => write!(f, "{destination}:{port}/udp"),
        }
    }
}

/// Where a flow wants to go: packets bring addresses, proxies bring names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// An address inside a site.
    Address(IpAddr),
    /// A name, resolved behind the gateway.
    Name(DomainName),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The transport a flow uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP to the given port.
    Tcp(u16),
    /// UDP to the given port.
    Udp(u16),
}

impl Protocol {
    /// Returns the destination port.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Tcp(port) | Self::Udp(port) => port,
        }
    }

    /// Returns `tcp` or `udp`.
    #[must_use]
    pub fn transport(self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
        }
    }
}

/// The program that opened a flow. A wrong attribution is worse than none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Workload {
    /// Found out beyond doubt.
    Known(Arc<Program>),
    /// Could not be found out; policy says what that may do.
    Unknown,
}

/// A program as policies name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Program {
    /// The absolute path of the executable.
    pub path: String,
    /// The numeric user it runs as, where the system has such numbers.
    pub user: Option<u32>,
    /// The SHA-256 of the executable in lower-case hex, where it was computed.
    pub sha256: Option<String>,
}

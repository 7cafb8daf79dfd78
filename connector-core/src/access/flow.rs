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
            (destination, Protocol::IcmpEcho) => write!(f, "{destination} (ping)"),
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

/// What a flow speaks to its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// An ICMP echo, which has no port: a ping.
    IcmpEcho,
    /// TCP to the given port.
    Tcp(u16),
    /// UDP to the given port.
    Udp(u16),
}

impl Protocol {
    /// Returns the destination port, where the protocol has ports.
    #[must_use]
    pub fn port(self) -> Option<u16> {
        match self {
            Self::IcmpEcho => None,
            Self::Tcp(port) | Self::Udp(port) => Some(port),
        }
    }

    /// Returns `icmp`, `tcp` or `udp`.
    #[must_use]
    pub fn transport(self) -> &'static str {
        match self {
            Self::IcmpEcho => "icmp",
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
    /// A program that somebody asks about; nothing was opened, and nothing opens by the answer.
    Supposed(Arc<Program>),
    /// Could not be found out; policy says what that may do.
    Unknown,
    /// The same, but its numeric user is known.
    UnknownOf(u32),
}

impl Workload {
    /// Returns the program that the policy is asked about, if there is one.
    #[must_use]
    pub fn program(&self) -> Option<&Arc<Program>> {
        match self {
            Self::Known(program) | Self::Supposed(program) => Some(program),
            Self::Unknown | Self::UnknownOf(_) => None,
        }
    }

    /// Returns the numeric user it runs as, where that is known.
    #[must_use]
    pub fn user(&self) -> Option<u32> {
        match self {
            Self::Known(program) | Self::Supposed(program) => program.user,
            Self::Unknown => None,
            Self::UnknownOf(user) => Some(*user),
        }
    }
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
    /// The absolute paths of its parents' executables, nearest first, at most
    /// [`MAX_ANCESTORS`](Self::MAX_ANCESTORS); shorter where one could not be found out.
    pub ancestors: Vec<String>,
}

impl Program {
    /// How many ancestors a program names at most: a terminal inside a desktop
    /// session has six.
    pub const MAX_ANCESTORS: usize = 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_reads_as_people_write_it() {
        for (destination, protocol, text) in [
            ("192.0.2.1", Protocol::Tcp(80), "192.0.2.1:80"),
            ("2001:db8::1", Protocol::Tcp(80), "[2001:db8::1]:80"),
            ("2001:db8::1", Protocol::Udp(53), "[2001:db8::1]:53/udp"),
            ("2001:db8::1", Protocol::IcmpEcho, "2001:db8::1 (ping)"),
        ] {
            let flow = Flow {
                destination: Destination::Address(destination.parse().unwrap()),
                protocol,
                workload: Workload::Unknown,
            };

            assert_eq!(flow.to_string(), text);
        }
        let ping = Flow {
            destination: Destination::Name("wiki.corp.test".parse().unwrap()),
            protocol: Protocol::IcmpEcho,
            workload: Workload::Unknown,
        };
        assert_eq!(ping.to_string(), "wiki.corp.test (ping)");
    }
}

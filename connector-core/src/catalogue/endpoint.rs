//! Where a gateway listens.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::name::{DomainName, InvalidName};

/// Where a gateway listens: an address, or a name to be looked up outside the tunnel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// At this address and UDP port.
    Address(SocketAddr),
    /// At whatever address the name has, which may change.
    Name {
        /// The name.
        host: DomainName,
        /// The UDP port.
        port: u16,
    },
}

impl Endpoint {
    /// Returns the address, if no name stands for it.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name { .. } => None,
        }
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    /// Parses `ADDRESS:PORT` (`[ADDRESS]:PORT` for IPv6) or `NAME:PORT`.
    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let malformed = || InvalidEndpoint::Malformed(text.chars().take(MAX_SHOWN).collect());
        if let Ok(address) = text.parse::<SocketAddr>() {
            let reachable = address.port() > 0
                && !address.ip().is_unspecified()
                && !address.ip().is_multicast();
            return reachable
                .then_some(Self::Address(address))
                .ok_or(InvalidEndpoint::Unreachable(address));
        }
        let (host, digits) = text.rsplit_once(':').ok_or_else(malformed)?;
        let port = digits
            .parse()
            .ok()
            .filter(|port| *port > 0 && !digits.starts_with('+'))
            .ok_or_else(malformed)?;
        // A colon left of the port belongs to an IPv6 address without its brackets.
        if host.contains([':', '[', ']']) {
            return Err(malformed());
        }
        Ok(Self::Name {
            host: host.parse()?,
            port,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// It has neither form.
    #[error(
        "{0:?} is no endpoint: write 192.0.2.1:51820, [2001:db8::1]:51820 or gateway.example:51820"
    )]
    Malformed(String),
    /// What stands before the port is no name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// No gateway can listen there.
    #[error("no gateway can listen on {0}: write its own address and a port from 1 to 65535")]
    Unreachable(SocketAddr),
}

/// Longer than any name and its port.
const MAX_SHOWN: usize = 260;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_read_and_written_back() {
        for (text, is_address) in [
            ("192.0.2.1:51820", true),
            ("127.0.0.1:1", true),
            ("[2001:db8::1]:51820", true),
            ("gateway.corp.example:51820", false),
            ("gateway:65535", false),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();

            assert_eq!(endpoint.address().is_some(), is_address, "{text}");
            assert_eq!(endpoint.to_string(), text);
        }
    }

    #[test]
    fn what_nothing_can_be_sent_to_is_refused_with_what_to_write() {
        for text in [
            "",
            ":51820",
            "gateway.example",
            "gateway.example:",
            "gateway.example:0",
            "gateway.example:65536",
            "gateway.example:-1",
            "gateway.example:+1",
            "2001:db8::1",
            "2001:db8::1:99999",
            "[gateway.example]:51820",
            "a:b:1",
            "10.0.0.300:1",
            "0.0.0.0:51820",
            "[::]:51820",
            "224.0.0.1:51820",
            "192.0.2.1:0",
            "user@gateway.example:1",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();

            assert!(
                error.contains("write") || error.contains("label") || error.contains("name"),
                "{text:?}: {error}"
            );
        }
    }
}

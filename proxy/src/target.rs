//! Where a client wants to go, parsed at the border.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A destination exactly as it was asked for; nothing about it was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
}

impl Target {
    /// Parses `host:port`, where the port must be given (RFC 9110, 9.3.6).
    ///
    /// # Errors
    ///
    /// Fails where the text is not a host and a port and nothing else.
    pub fn parse(authority: &str) -> Result<Self, BadTarget> {
        match split_authority(authority)? {
            (_, None) => Err(BadTarget::PortMissing),
            (host, Some(port)) => Ok(Self {
                host: parse_bracketed(host)?,
                port: parse_port(port)?,
            }),
        }
    }

    /// Parses `host[:port]` with the port to assume (RFC 9110, 4.2.1).
    ///
    /// # Errors
    ///
    /// Fails where the text is not a host and at most a port.
    pub fn parse_with_default(authority: &str, default: u16) -> Result<Self, BadTarget> {
        match split_authority(authority)? {
            // An empty port is allowed by RFC 3986 and means the default.
            (host, None | Some("")) => Ok(Self {
                host: parse_bracketed(host)?,
                port: default,
            }),
            (_, Some(_)) => Self::parse(authority),
        }
    }

    /// Returns the value of the `Host` field for this destination over plain HTTP.
    pub(crate) fn host_field(&self) -> String {
        if self.port == 80 {
            self.host.to_string()
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A host: a name or a literal address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal IPv4 address.
    Ipv4(Ipv4Addr),
    /// A literal IPv6 address.
    Ipv6(Ipv6Addr),
    /// A name in lower case, without a final dot.
    Name(String),
}

impl Host {
    /// Parses a name or a literal address (IPv6 without brackets).
    ///
    /// A name has one spelling afterwards, so that a policy on names cannot be passed
    /// by another one. What only some resolvers read as an address (`127.1`,
    /// `0x7f000001`, `2130706433`) is refused.
    ///
    /// # Errors
    ///
    /// Fails where the text is neither.
    pub fn parse(text: &str) -> Result<Self, BadTarget> {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ipv4(address));
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Ipv6(address));
        }

        let name = text.strip_suffix('.').unwrap_or(text);
        let labels_are_fine = name.split('.').all(is_label);
        if !labels_are_fine || name.len() > MAX_NAME {
            return Err(BadTarget::Host);
        }
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(BadTarget::Host);
        }

        Ok(Self::Name(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => write!(f, "[{address}]"),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Why a text does not name a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// The host is neither a name nor an address.
    #[error("the host is neither a host name nor an IP address")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// The port is missing.
    #[error("the port is missing; write host:port")]
    PortMissing,
    /// The authority carries a user name or password.
    #[error("a user name or password in the address is not allowed")]
    UserInfo,
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>), BadTarget> {
    if authority.contains('@') {
        return Err(BadTarget::UserInfo);
    }
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(BadTarget::Host)? + 1;
        let (host, rest) = authority.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(BadTarget::Host),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

fn parse_bracketed(host: &str) -> Result<Host, BadTarget> {
    match host.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .and_then(|inner| inner.parse().ok())
            .map(Host::Ipv6)
            .ok_or(BadTarget::Host),
        None => Host::parse(host),
    }
}

fn parse_port(text: &str) -> Result<u16, BadTarget> {
    // `u16::from_str` would take "+80".
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadTarget::Port);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(BadTarget::Port),
        Ok(port) => Ok(port),
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Tells whether resolvers may read a last label as part of an IPv4 address (WHATWG URL,
/// "ends in a number").
fn is_number(label: &str) -> bool {
    let hexadecimal = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The longest name that DNS can carry, in text form.
const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_addresses_with_their_port() {
        for (text, host, port) in [
            ("Wiki.Corp.Example:443", "wiki.corp.example", 443),
            ("wiki.corp.example.:80", "wiki.corp.example", 80),
            ("_srv.a-b.example:1", "_srv.a-b.example", 1),
            ("10.0.0.1:65535", "10.0.0.1", 65535),
            ("[2001:db8::1]:443", "[2001:db8::1]", 443),
        ] {
            let target = Target::parse(text).unwrap();

            assert_eq!(
                (target.host.to_string().as_str(), target.port),
                (host, port)
            );
        }
    }

    #[test]
    fn refuses_every_port_that_is_not_one() {
        for port in [
            "0",
            "65536",
            "abc",
            "-1",
            "+80",
            "8 0",
            "99999999999",
            "80x",
        ] {
            assert_eq!(
                Target::parse(&format!("a.example:{port}")),
                Err(BadTarget::Port),
                "{port}"
            );
        }
        assert_eq!(Target::parse("a.example:"), Err(BadTarget::Port));
        assert_eq!(Target::parse("a.example"), Err(BadTarget::PortMissing));
        assert_eq!(Target::parse("[::1]"), Err(BadTarget::PortMissing));
    }

    #[test]
    fn refuses_hosts_that_resolvers_read_differently() {
        for host in [
            "",
            ".",
            "..",
            "a..b",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "127.0.0.256",
            "1.2.3.4.5",
            "a b",
            "a%41",
            "-a.example",
            "a-.example",
            "b\u{fc}cher",
            "fe80::1%eth0",
            "a\0b",
            "a/b",
            "a?b",
            "0x",
            "foo.0",
        ] {
            assert_eq!(Host::parse(host), Err(BadTarget::Host), "{host:?}");
        }
        assert_eq!(Host::parse(&"a".repeat(64)), Err(BadTarget::Host));
        assert_eq!(Host::parse(&["a"; 128].join(".")), Err(BadTarget::Host));
    }

    #[test]
    fn refuses_authorities_with_more_than_host_and_port() {
        assert_eq!(
            Target::parse("user:pw@a.example:80"),
            Err(BadTarget::UserInfo)
        );
        for text in [
            "[::1",
            "[::1]x:80",
            "[1.2.3.4]:80",
            "[fe80::1%1]:80",
            "::1:80",
            "a:1:2",
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn assumes_the_port_where_it_is_allowed_to_be_missing() {
        let port = |text| Target::parse_with_default(text, 80).map(|target| target.port);

        assert_eq!(port("a.example"), Ok(80));
        assert_eq!(port("a.example:"), Ok(80));
        assert_eq!(port("[::1]"), Ok(80));
        assert_eq!(port("a.example:8080"), Ok(8080));
        assert_eq!(port("a.example:0"), Err(BadTarget::Port));
    }
}

//! `HOST[:PORT]`, as people type or paste it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What a person wants to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// A lower-case name, or an address without brackets.
    pub(crate) host: String,
    /// The TCP port, if it was given or the URL's scheme implies one.
    pub(crate) port: Option<u16>,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text.split_once("://") {
            Some((scheme, rest)) => from_url(scheme, rest),
            None => from_authority(text),
        }
    }
}

/// Why this is nothing that could be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("`{0}` is no IPv4 address; it has four numbers from 0 to 255")]
    Ipv4(String),
    #[error("`{0}` is no IPv6 address; with a port it is written [ADDRESS]:PORT")]
    Ipv6(String),
    #[error("`{0}` is no host name; it has letters, digits, hyphens and dots")]
    Name(String),
    #[error("the host is missing")]
    NoHost,
    #[error("`{0}` is no port; it is a number from 1 to 65535")]
    Port(String),
    #[error("the scheme `{0}` implies no port; give HOST:PORT")]
    Scheme(String),
}

fn from_url(scheme: &str, rest: &str) -> Result<Target, TargetError> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = match authority.rsplit_once('@') {
        Some((_user, authority)) => authority,
        None => authority,
    };
    let mut target = from_authority(authority)?;
    if target.port.is_none() {
        target.port = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            "ssh" | "sftp" => Some(22),
            _ => return Err(TargetError::Scheme(scheme.into())),
        };
    }
    Ok(target)
}

fn from_authority(text: &str) -> Result<Target, TargetError> {
    if let Some(rest) = text.strip_prefix('[') {
        let wrong = || TargetError::Ipv6(text.into());
        let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
        let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
        let port = match port {
            "" => None,
            port => Some(parse_port(port.strip_prefix(':').ok_or_else(wrong)?)?),
        };
        return Ok(Target {
            host: address.to_string(),
            port,
        });
    }
    if text.matches(':').count() > 1 {
        let address: Ipv6Addr = text.parse().map_err(|_| TargetError::Ipv6(text.into()))?;
        return Ok(Target {
            host: address.to_string(),
            port: None,
        });
    }

    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (text, None),
    };
    Ok(Target {
        host: parse_host(host)?,
        port,
    })
}

fn parse_host(text: &str) -> Result<String, TargetError> {
    let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if host.is_empty() {
        return Err(TargetError::NoHost);
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        let address: Ipv4Addr = host.parse().map_err(|_| TargetError::Ipv4(text.into()))?;
        return Ok(IpAddr::from(address).to_string());
    }
    if host.len() > LONGEST_NAME || !host.split('.').all(is_label) {
        return Err(TargetError::Name(text.into()));
    }

    Ok(host)
}

fn is_label(label: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&label.len())
        && label.bytes().all(is_allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn parse_port(text: &str) -> Result<u16, TargetError> {
    let wrong = || TargetError::Port(text.into());
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(wrong()),
        Ok(port) => Ok(port),
    }
}

/// The most that DNS carries, RFC 1035 section 2.3.4, without the final dot.
const LONGEST_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_pasted_urls_are_understood() {
        for (text, host, port) in [
            ("wiki.corp.test", "wiki.corp.test", None),
            ("Wiki.Corp.Test.", "wiki.corp.test", None),
            ("wiki", "wiki", None),
            ("db_1.corp.test:5432", "db_1.corp.test", Some(5432)),
            ("10.0.0.7:22", "10.0.0.7", Some(22)),
            ("[2001:DB8::7]:22", "2001:db8::7", Some(22)),
            ("[::1]", "::1", None),
            ("2001:db8::7", "2001:db8::7", None),
            ("https://wiki.corp.test/x", "wiki.corp.test", Some(443)),
            ("http://wiki.corp.test?q=a:b", "wiki.corp.test", Some(80)),
            (
                "HTTPS://wiki.corp.test:8443/a@b",
                "wiki.corp.test",
                Some(8443),
            ),
            (
                "https://me:secret@wiki.corp.test#x",
                "wiki.corp.test",
                Some(443),
            ),
            ("ssh://git@[2001:db8::7]/r", "2001:db8::7", Some(22)),
            ("postgres://db.corp.test:5432/x", "db.corp.test", Some(5432)),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_the_part_that_is_wrong() {
        let of = |text: &str| text.parse::<Target>().unwrap_err();
        for (text, error) in [
            ("", TargetError::NoHost),
            (":443", TargetError::NoHost),
            ("https://", TargetError::NoHost),
            ("a:0", TargetError::Port("0".into())),
            ("a:", TargetError::Port(String::new())),
            ("a:65536", TargetError::Port("65536".into())),
            ("a:+80", TargetError::Port("+80".into())),
            ("a:80x", TargetError::Port("80x".into())),
            ("256.0.0.1", TargetError::Ipv4("256.0.0.1".into())),
            ("10.1", TargetError::Ipv4("10.1".into())),
            ("a b", TargetError::Name("a b".into())),
            ("a..b", TargetError::Name("a..b".into())),
            ("-a.test", TargetError::Name("-a.test".into())),
            ("*.dev.test", TargetError::Name("*.dev.test".into())),
            ("me@wiki", TargetError::Name("me@wiki".into())),
            ("wiki/x", TargetError::Name("wiki/x".into())),
            ("bücher.test", TargetError::Name("bücher.test".into())),
            ("fe80::1%eth0", TargetError::Ipv6("fe80::1%eth0".into())),
            ("[::1", TargetError::Ipv6("[::1".into())),
            ("[::1]443", TargetError::Ipv6("[::1]443".into())),
            ("[10.0.0.1]:1", TargetError::Ipv6("[10.0.0.1]:1".into())),
            ("a:b:c", TargetError::Ipv6("a:b:c".into())),
            ("gopher://a", TargetError::Scheme("gopher".into())),
        ] {
            assert_eq!(of(text), error, "{text}");
        }
        assert!(matches!(of(&"a.".repeat(200)), TargetError::Name(_)));
    }
}

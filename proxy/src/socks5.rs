//! SOCKS5 messages (RFC 1928): bytes in, values out.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::target::{Host, Target};
use crate::upstream::RefusalKind;

/// The first byte of every SOCKS5 message.
pub(crate) const VERSION: u8 = 5;

/// The longest message a client may send before it is answered: a request with a name of
/// 255 bytes.
pub(crate) const MAX_MESSAGE: usize = 262;

/// Either a message and how many bytes it took, or not enough bytes yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    /// The message and its length.
    Complete(T, usize),
    /// What there is so far is the beginning of a message.
    Partial,
}

/// What a client can do to authenticate itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// Whether it offers to go without.
    pub(crate) offers_none: bool,
}

impl Greeting {
    /// Parses `VER NMETHODS METHODS`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed<Self>, BadSocks> {
        let [version, rest @ ..] = bytes else {
            return Ok(Parsed::Partial);
        };
        if *version != VERSION {
            return Err(BadSocks::Version);
        }
        let [count, rest @ ..] = rest else {
            return Ok(Parsed::Partial);
        };
        let count = usize::from(*count);
        let Some(methods) = rest.get(..count) else {
            return Ok(Parsed::Partial);
        };

        let greeting = Self {
            offers_none: methods.contains(&METHOD_NONE),
        };
        Ok(Parsed::Complete(greeting, 2 + count))
    }
}

/// Parses `VER CMD RSV ATYP DST.ADDR DST.PORT` of a `CONNECT`.
pub(crate) fn parse_request(bytes: &[u8]) -> Result<Parsed<Target>, BadSocks> {
    let head: &[u8; 4] = match bytes.first_chunk() {
        Some(head) => head,
        None => return Ok(Parsed::Partial),
    };
    let [version, command, reserved, kind] = *head;
    if version != VERSION {
        return Err(BadSocks::Version);
    }
    if command != COMMAND_CONNECT {
        return Err(BadSocks::Command);
    }
    if reserved != 0 {
        return Err(BadSocks::Reserved);
    }

    let rest = &bytes[head.len()..];
    let (host, used) = match kind {
        1 => match rest.first_chunk::<4>() {
            Some(octets) => (Host::Ipv4(Ipv4Addr::from(*octets)), 4),
            None => return Ok(Parsed::Partial),
        },
        3 => {
            let [length, name @ ..] = rest else {
                return Ok(Parsed::Partial);
            };
            let length = usize::from(*length);
            match name.get(..length) {
                Some(name) => (parse_name(name)?, 1 + length),
                None => return Ok(Parsed::Partial),
            }
        }
        4 => match rest.first_chunk::<16>() {
            Some(octets) => (Host::Ipv6(Ipv6Addr::from(*octets)), 16),
            None => return Ok(Parsed::Partial),
        },
        _ => return Err(BadSocks::AddressType),
    };

    let Some(port) = rest[used..].first_chunk::<2>() else {
        return Ok(Parsed::Partial);
    };
    match u16::from_be_bytes(*port) {
        0 => Err(BadSocks::Destination),
        port => Ok(Parsed::Complete(Target { host, port }, 4 + used + 2)),
    }
}

/// Parses a name; some clients put an address in its place.
fn parse_name(bytes: &[u8]) -> Result<Host, BadSocks> {
    str::from_utf8(bytes)
        .ok()
        .and_then(|text| Host::parse(text).ok())
        .ok_or(BadSocks::Destination)
}

/// Returns the answer to a greeting: no authentication, or nothing acceptable.
pub(crate) fn method_choice(accepted: bool) -> [u8; 2] {
    [VERSION, if accepted { METHOD_NONE } else { 0xff }]
}

/// How a request went (RFC 1928, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Succeeded = 0,
    GeneralFailure = 1,
    NotAllowed = 2,
    HostUnreachable = 4,
    ConnectionRefused = 5,
    CommandNotSupported = 7,
    AddressTypeNotSupported = 8,
}

impl Reply {
    /// Returns the message, with an unspecified bound address: there is no local socket
    /// to name.
    pub(crate) fn to_bytes(self) -> [u8; 10] {
        [VERSION, self as u8, 0, 1, 0, 0, 0, 0, 0, 0]
    }
}

impl From<RefusalKind> for Reply {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::AddressProhibited | RefusalKind::Denied | RefusalKind::NotAllowedHere => {
                Self::NotAllowed
            }
            RefusalKind::GatewayUnavailable
            | RefusalKind::NameNotResolved
            | RefusalKind::Timeout
            | RefusalKind::UnknownDestination => Self::HostUnreachable,
            RefusalKind::ConnectionRefused => Self::ConnectionRefused,
            RefusalKind::Internal | RefusalKind::LimitReached => Self::GeneralFailure,
        }
    }
}

/// Why bytes are not a SOCKS5 message that this proxy serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSocks {
    #[error("the address type is not IPv4, name or IPv6")]
    AddressType,
    #[error("the command is not CONNECT")]
    Command,
    #[error("the destination is not a host and a port")]
    Destination,
    #[error("the reserved byte is not zero")]
    Reserved,
    #[error("the version is not 5")]
    Version,
}

impl BadSocks {
    /// Returns the reply to a request, where one can be understood at all.
    pub(crate) fn reply(self) -> Option<Reply> {
        match self {
            Self::AddressType => Some(Reply::AddressTypeNotSupported),
            Self::Command => Some(Reply::CommandNotSupported),
            Self::Destination | Self::Reserved => Some(Reply::GeneralFailure),
            Self::Version => None,
        }
    }
}

/// "No authentication required": the client's process was identified already.
const METHOD_NONE: u8 = 0;

const COMMAND_CONNECT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_a_message_asks_for_more() {
        let greeting = [5, 3, 1, 2, 0];
        let request = named(b"wiki.corp.example", 443);

        for end in 0..greeting.len() {
            assert_eq!(Greeting::parse(&greeting[..end]), Ok(Parsed::Partial));
        }
        for end in 0..request.len() {
            assert_eq!(parse_request(&request[..end]), Ok(Parsed::Partial));
        }
    }

    #[test]
    fn reads_a_greeting_and_leaves_what_follows() {
        assert_eq!(
            Greeting::parse(&[5, 2, 2, 0, 5, 1]),
            Ok(Parsed::Complete(Greeting { offers_none: true }, 4))
        );
        assert_eq!(
            Greeting::parse(&[5, 0]),
            Ok(Parsed::Complete(Greeting { offers_none: false }, 2))
        );
        assert_eq!(Greeting::parse(&[4, 1]), Err(BadSocks::Version));
    }

    #[test]
    fn reads_the_three_kinds_of_address() {
        let v4 = [5, 1, 0, 1, 10, 0, 0, 1, 0, 80, 9];
        let mut v6 = vec![5, 1, 0, 4];
        v6.extend([
            0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 187,
        ]);

        assert_eq!(parse_request(&v4), Ok(complete("10.0.0.1:80", 10)));
        assert_eq!(parse_request(&v6), Ok(complete("[2001:db8::1]:443", 22)));
        assert_eq!(
            parse_request(&named(b"Wiki.corp.example", 443)),
            Ok(complete("wiki.corp.example:443", 24))
        );
        assert_eq!(
            parse_request(&named(b"127.0.0.1", 80)),
            Ok(complete("127.0.0.1:80", 16))
        );
    }

    #[test]
    fn refuses_what_it_does_not_serve_with_its_own_reply() {
        let reply = |bytes: &[u8]| parse_request(bytes).unwrap_err().reply();

        assert_eq!(reply(&[5, 2, 0, 1]), Some(Reply::CommandNotSupported));
        assert_eq!(reply(&[5, 3, 0, 1]), Some(Reply::CommandNotSupported));
        assert_eq!(reply(&[5, 1, 0, 2]), Some(Reply::AddressTypeNotSupported));
        assert_eq!(reply(&[5, 1, 1, 1]), Some(Reply::GeneralFailure));
        assert_eq!(reply(&[4, 1, 0, 1]), None);
        assert_eq!(reply(&named(&[b'a'; 255], 80)), Some(Reply::GeneralFailure));
        assert_eq!(reply(&named(b"", 80)), Some(Reply::GeneralFailure));
        assert_eq!(reply(&named(b"a\0b", 80)), Some(Reply::GeneralFailure));
        assert_eq!(reply(&named(b"a.example", 0)), Some(Reply::GeneralFailure));
    }

    fn named(name: &[u8], port: u16) -> Vec<u8> {
        let mut bytes = vec![5, 1, 0, 3, u8::try_from(name.len()).unwrap()];
        bytes.extend(name);
        bytes.extend(port.to_be_bytes());
        bytes
    }

    fn complete(target: &str, used: usize) -> Parsed<Target> {
        Parsed::Complete(Target::parse(target).unwrap(), used)
    }
}

//! The parsers of what programs send, without a socket.

use crate::head::{RequestHead, Scan, scan};
use crate::limits::Limits;
use crate::socks5::{Greeting, Parsed, parse_request};
use crate::target::Target;

/// Reads a request of HTTP; returns the destination and the number of bytes of the header section
/// if it is a `CONNECT`, and how many fields it has in any case.
#[must_use]
pub fn read_head(bytes: &[u8]) -> Option<(Option<Target>, usize, usize)> {
    let Ok(Scan::Complete(length)) = scan(bytes, 0) else {
        return None;
    };
    let head = RequestHead::parse(&bytes[..length], &Limits::default()).ok()?;
    let _ = (head.accepts_html(), head.is_persistent());
    let target = (head.method == "CONNECT").then(|| Target::parse(head.target).ok());
    Some((target.flatten(), length, head.fields.len()))
}

/// Reads a greeting of SOCKS5; returns its length once it is whole.
#[must_use]
pub fn read_greeting(bytes: &[u8]) -> Option<usize> {
    match Greeting::parse(bytes) {
        Ok(Parsed::Complete(_, length)) => Some(length),
        Ok(Parsed::Partial) | Err(_) => None,
    }
}

/// Reads a request of SOCKS5; returns its destination and its length once it is whole.
#[must_use]
pub fn read_socks(bytes: &[u8]) -> Option<(Target, usize)> {
    match parse_request(bytes) {
        Ok(Parsed::Complete(target, length)) => Some((target, length)),
        Ok(Parsed::Partial) | Err(_) => None,
    }
}

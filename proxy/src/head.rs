//! The header section of a request, read strictly (RFC 9112).
//!
//! Whatever two implementations could read in two ways is refused: where the next
//! request begins must be beyond doubt. What passes here is written out again from its
//! parsed form before an HTTP library sees it.

use crate::limits::Limits;

/// Whether a header section has arrived as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// It has, and this is its length, the empty line included.
    Complete(usize),
    /// It has not.
    Partial,
}

/// Looks for the end of the header section, where everything before `from` was looked at
/// by an earlier call.
///
/// Refuses control characters and line ends that are not CRLF at the first one.
pub(crate) fn scan(bytes: &[u8], from: usize) -> Result<Scan, BadHead> {
    // A CR at the very end waits for its LF.
    let from = from.saturating_sub(1);
    for (offset, &byte) in bytes[from..].iter().enumerate() {
        let at = from + offset;
        match byte {
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => {
                return Err(BadHead::LineEnd);
            }
            b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(BadHead::LineEnd),
            b'\n' if bytes[..=at].ends_with(b"\r\n\r\n") => return Ok(Scan::Complete(at + 1)),
            b'\r' | b'\n' | b'\t' => {}
            0..0x20 | 0x7f => return Err(BadHead::Control),
            _ => {}
        }
    }
    Ok(Scan::Partial)
}

/// A request line and its fields.
#[derive(Debug)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) version: Version,
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) framing: Framing,
}

impl<'a> RequestHead<'a> {
    /// Parses a header section that [`scan`] found complete.
    pub(crate) fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, BadHead> {
        let mut lines = bytes
            .strip_suffix(b"\r\n\r\n")
            .ok_or(BadHead::LineEnd)?
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));

        let (method, target, version) = parse_request_line(lines.next().unwrap_or_default())?;
        let mut fields = Vec::new();
        for line in lines {
            if fields.len() == limits.max_fields {
                return Err(BadHead::TooLarge);
            }
            fields.push(Field::parse(line)?);
        }

        let mut head = Self {
            method,
            target,
            version,
            fields,
            framing: Framing::Length(0),
        };
        head.framing = head.parse_framing()?;
        head.check_host()?;
        Ok(head)
    }

    /// Returns the values of a field, in order.
    pub(crate) fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.fields
            .iter()
            .filter(move |field| field.is(name))
            .map(|field| field.value)
    }

    /// Tells whether a comma-separated field has this token.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .flat_map(tokens)
            .any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Tells whether the client can be shown HTML.
    pub(crate) fn accepts_html(&self) -> bool {
        self.values("accept")
            .flat_map(tokens)
            .filter_map(|range| range.split(|byte| *byte == b';').next())
            .any(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/html"))
    }

    /// Tells whether the connection can carry another request after this one.
    pub(crate) fn is_persistent(&self) -> bool {
        // A chunked request is not followed by another: its end is only known to the
        // decoder, and a client loses one loopback handshake.
        self.version == Version::Http11
            && self.framing != Framing::Chunked
            && !self.has_token("connection", "close")
    }

    fn parse_framing(&self) -> Result<Framing, BadHead> {
        let mut lengths = self.values("content-length");
        let mut codings = self.values("transfer-encoding");
        let (length, coding) = (lengths.next(), codings.next());
        if lengths.next().is_some() || codings.next().is_some() {
            return Err(BadHead::Framing);
        }

        match (length, coding) {
            (None, None) => Ok(Framing::Length(0)),
            (Some(length), None) => parse_length(length).map(Framing::Length),
            (None, Some(coding))
                if self.version == Version::Http11 && coding.eq_ignore_ascii_case(b"chunked") =>
            {
                Ok(Framing::Chunked)
            }
            (None | Some(_), Some(_)) => Err(BadHead::Framing),
        }
    }

    fn check_host(&self) -> Result<(), BadHead> {
        match (self.values("host").count(), self.version) {
            (1, _) | (0, Version::Http10) => Ok(()),
            (0, Version::Http11) | (2.., _) => Err(BadHead::Host),
        }
    }
}

/// One field line, its value without the blanks around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a [u8],
}

impl<'a> Field<'a> {
    /// Tells whether this is the field of that name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    // A folded line begins with a blank, and a blank before the colon is one too: neither
    // is part of a token.
    fn parse(line: &'a [u8]) -> Result<Self, BadHead> {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.ok_or(BadHead::Field)?);

        Ok(Self {
            name: parse_token(name).ok_or(BadHead::Field)?,
            value: value[1..].trim_ascii(),
        })
    }
}

/// The protocol version of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

impl Version {
    /// Returns it as it stands on the request line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// How the end of a request's content is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By the last chunk.
    Chunked,
    /// After this many bytes.
    Length(u64),
}

/// Why a header section was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHead {
    #[error("the request has a control character in its header section")]
    Control,
    #[error("a header field is malformed or folded")]
    Field,
    #[error("the length of the request's content is in doubt")]
    Framing,
    #[error("the request must have exactly one Host field")]
    Host,
    #[error("a line of the request does not end in CR LF")]
    LineEnd,
    #[error("the request line is malformed; an HTTP/1.1 proxy request is expected")]
    RequestLine,
    #[error("the request's header section is too large")]
    TooLarge,
    #[error("only HTTP/1.0 and HTTP/1.1 are served")]
    Version,
}

impl BadHead {
    /// Returns the HTTP status for it.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Control
            | Self::Field
            | Self::Framing
            | Self::Host
            | Self::LineEnd
            | Self::RequestLine => 400,
            Self::TooLarge => 431,
            Self::Version => 505,
        }
    }
}

/// Splits a field value at its commas.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

fn parse_request_line(line: &[u8]) -> Result<(&str, &str, Version), BadHead> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BadHead::RequestLine);
    };

    let method = parse_token(method).ok_or(BadHead::RequestLine)?;
    let version = match version {
        b"HTTP/1.0" => Version::Http10,
        b"HTTP/1.1" => Version::Http11,
        other if other.starts_with(b"HTTP/") => return Err(BadHead::Version),
        _ => return Err(BadHead::RequestLine),
    };
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(BadHead::RequestLine);
    }
    let target = str::from_utf8(target).map_err(|_| BadHead::RequestLine)?;

    Ok((method, target, version))
}

fn parse_length(value: &[u8]) -> Result<u64, BadHead> {
    let digits = str::from_utf8(value).map_err(|_| BadHead::Framing)?;
    // `u64::from_str` would take "+5".
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadHead::Framing);
    }
    // The largest values mean something else to the HTTP library.
    digits
        .parse()
        .ok()
        .filter(|length| *length <= i64::MAX.unsigned_abs())
        .ok_or(BadHead::Framing)
}

/// Parses a token (RFC 9110, 5.6.2).
fn parse_token(bytes: &[u8]) -> Option<&str> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if bytes.is_empty() || !bytes.iter().all(is_token) {
        return None;
    }
    str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_however_the_bytes_arrive() {
        let bytes = b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\nmore";

        for cut in 0..bytes.len() {
            let seen = match scan(&bytes[..cut], 0).unwrap() {
                Scan::Complete(_) => 0,
                Scan::Partial => cut,
            };
            assert_eq!(scan(bytes, seen), Ok(Scan::Complete(bytes.len() - 4)));
        }
    }

    #[test]
    fn refuses_line_ends_and_controls_at_the_first_one() {
        for (bytes, error) in [
            (&b"GET / HTTP/1.1\nHost"[..], BadHead::LineEnd),
            (b"GET / HTTP/1.1\r\nA: b\rc", BadHead::LineEnd),
            (b"\n", BadHead::LineEnd),
            (b"GET /\0", BadHead::Control),
            (b"A: \x7f", BadHead::Control),
            (b"\x16\x03\x01", BadHead::Control),
        ] {
            assert_eq!(scan(bytes, 0), Err(error), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn reads_a_request() {
        let head = parse("POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length:  5 \r\nX:\r\n\r\n");

        let head = head.unwrap();
        assert_eq!((head.method, head.target), ("POST", "http://a/"));
        assert_eq!(head.framing, Framing::Length(5));
        assert!(head.is_persistent());
        assert_eq!(head.values("x").next(), Some(&b""[..]));
    }

    #[test]
    fn refuses_every_doubt_about_framing() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: -1",
            "Content-Length: 0x5",
            "Content-Length:",
            "Content-Length: 18446744073709551615",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding:",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            let text = format!("POST http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            assert_eq!(parse(&text).unwrap_err(), BadHead::Framing, "{fields}");
        }
        assert_eq!(
            parse("POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap_err(),
            BadHead::Framing
        );
    }

    #[test]
    fn refuses_malformed_fields() {
        for field in [
            " Folded: x",
            "\tFolded: x",
            "Name : x",
            "Name",
            ": x",
            "Na me: x",
            "N\u{e9}: x",
            "Transfer-Encoding\u{b}: chunked",
        ] {
            let text = format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
            assert_eq!(parse(&text).unwrap_err(), BadHead::Field, "{field:?}");
        }
    }

    #[test]
    fn refuses_malformed_request_lines() {
        for (line, error) in [
            ("GET  http://a/ HTTP/1.1", BadHead::RequestLine),
            ("GET http://a/  HTTP/1.1", BadHead::RequestLine),
            ("GET http://a/", BadHead::RequestLine),
            ("GET\thttp://a/ HTTP/1.1", BadHead::RequestLine),
            ("GET http://a/ http/1.1", BadHead::RequestLine),
            ("GET http://a/ HTTP/1.1 ", BadHead::RequestLine),
            (" GET http://a/ HTTP/1.1", BadHead::RequestLine),
            ("G(T http://a/ HTTP/1.1", BadHead::RequestLine),
            ("GET http://b\u{fc}cher/ HTTP/1.1", BadHead::RequestLine),
            ("PRI * HTTP/2.0", BadHead::Version),
            ("GET http://a/ HTTP/1.2", BadHead::Version),
            ("", BadHead::RequestLine),
        ] {
            assert_eq!(
                parse(&format!("{line}\r\nHost: a\r\n\r\n")).unwrap_err(),
                error,
                "{line}"
            );
        }
    }

    #[test]
    fn wants_one_host_field() {
        let with =
            |version, fields| parse(&format!("GET http://a/ {version}\r\n{fields}\r\n")).map(drop);

        assert_eq!(with("HTTP/1.1", "").unwrap_err(), BadHead::Host);
        assert!(with("HTTP/1.0", "").is_ok());
        assert_eq!(
            with("HTTP/1.1", "Host: a\r\nHost: b\r\n").unwrap_err(),
            BadHead::Host
        );
    }

    #[test]
    fn counts_fields() {
        let with = |count| {
            let fields = "X: y\r\n".repeat(count);
            parse(&format!(
                "GET http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n"
            ))
            .map(drop)
        };

        assert_eq!(with(99), Ok(()));
        assert_eq!(with(100), Err(BadHead::TooLarge));
    }

    #[test]
    fn keeps_a_connection_only_where_the_next_request_is_found_for_certain() {
        let persists = |version, fields| {
            parse(&format!(
                "POST http://a/ {version}\r\nHost: a\r\n{fields}\r\n"
            ))
            .unwrap()
            .is_persistent()
        };

        assert!(persists("HTTP/1.1", ""));
        assert!(!persists("HTTP/1.1", "Connection: x, Close\r\n"));
        assert!(!persists("HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
        assert!(!persists("HTTP/1.0", "Connection: keep-alive\r\n"));
    }

    fn parse(text: &str) -> Result<RequestHead<'_>, BadHead> {
        RequestHead::parse(text.as_bytes(), &Limits::default())
    }
}

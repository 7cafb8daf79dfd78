//! What changes in a message on its way through a proxy (RFC 9110, 7.6).

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING, VIA};
use http::{HeaderValue, StatusCode};

use crate::answer::Answer;
use crate::head::{RequestHead, tokens};
use crate::target::Target;

/// The name this proxy goes by in `Via` and `Proxy-Status`.
pub(crate) const PSEUDONYM: &str = "ztna";

/// Writes the request as it goes on: origin-form, `Host` from the destination, nothing
/// that was meant for this hop, and `Via`.
pub(crate) fn forwarded(head: &RequestHead<'_>, target: &Target, path: &str) -> Vec<u8> {
    let named: Vec<&[u8]> = head.values("connection").flat_map(tokens).collect();
    let is_named = |name: &str| {
        named
            .iter()
            .any(|token| token.eq_ignore_ascii_case(name.as_bytes()))
    };

    let mut out = Vec::with_capacity(512);
    for part in [head.method, " ", path, " ", head.version.as_str(), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let host = target.host_field();
    write_field(&mut out, "Host", host.as_bytes());

    let mut via: Vec<u8> = Vec::new();
    for field in &head.fields {
        if field.is("via") {
            via.extend_from_slice(field.value);
            via.extend_from_slice(b", ");
        } else if is_framing(field.name)
            || !(field.is("host") || is_hop_by_hop(field.name) || is_named(field.name))
        {
            write_field(&mut out, field.name, field.value);
        }
    }
    via.extend_from_slice(&head.version.as_str().as_bytes()["HTTP/".len()..]);
    via.push(b' ');
    via.extend_from_slice(PSEUDONYM.as_bytes());
    write_field(&mut out, "Via", &via);

    out.extend_from_slice(b"\r\n");
    out
}

/// Tells whether the request came through this proxy, or another of its kind, before.
pub(crate) fn is_loop(head: &RequestHead<'_>) -> bool {
    head.values("via").flat_map(tokens).any(|hop| {
        let mut words = hop.split(|byte| byte.is_ascii_whitespace());
        words
            .nth(1)
            .is_some_and(|name| name.eq_ignore_ascii_case(PSEUDONYM.as_bytes()))
    })
}

/// Changes a response's fields for the client.
///
/// Refuses what cannot be passed on without changing its meaning: a transfer coding that
/// would have to be undone, and a demand for credentials in this proxy's name.
pub(crate) fn return_fields(status: StatusCode, fields: &mut HeaderMap) -> Result<(), Answer> {
    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return Err(Answer::bad_response(
            "http_protocol_error",
            "The application asked for proxy credentials, which only a proxy may do.",
        ));
    }

    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            fields.remove(CONTENT_LENGTH);
        }
        (Some(_), _) => {
            return Err(Answer::bad_response(
                "http_response_transfer_coding",
                "The application's answer has a transfer coding that is not chunked.",
            ));
        }
    }

    let named: Vec<HeaderName> = fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| tokens(value.as_bytes()))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .collect();
    let leaving: Vec<HeaderName> = fields
        .keys()
        .filter(|name| {
            is_hop_by_hop(name.as_str())
                || **name == TRANSFER_ENCODING
                || (named.contains(name) && !is_framing(name.as_str()))
        })
        .cloned()
        .collect();
    for name in leaving {
        fields.remove(name);
    }
    // Identical lengths were accepted as one; pass one on.
    if let Some(length) = fields.get(CONTENT_LENGTH).cloned() {
        fields.insert(CONTENT_LENGTH, length);
    }
    fields.append(VIA, HeaderValue::from_static("1.1 ztna"));
    Ok(())
}

/// Tells whether a field is about this connection only, or says in another's name what a
/// proxy says.
fn is_hop_by_hop(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "connection",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "trailers",
        "upgrade",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
        || name
            .get(..6)
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case("proxy-"))
}

/// Tells whether a field delimits the content: it stays whatever `Connection` says of it.
fn is_framing(name: &str) -> bool {
    name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn a_request_goes_on_without_what_was_meant_for_this_hop() {
        let text = "POST http://a.example:8080/x?y HTTP/1.1\r\nHost: evil.example\r\n\
            Connection: close, X-Secret, Content-Length, Host\r\nX-Secret: 1\r\nKeep-Alive: 5\r\n\
            Proxy-Authorization: Basic Zm9v\r\nProxy-Connection: keep-alive\r\nProxy-Foo: 1\r\n\
            TE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nTrailer: X\r\n\
            Content-Length: 3\r\nCookie: a=b\r\nVia: 1.1 other\r\n\r\n";

        assert_eq!(
            forward(text, "a.example:8080", "/x?y"),
            "POST /x?y HTTP/1.1\r\nHost: a.example:8080\r\nContent-Length: 3\r\nCookie: a=b\r\n\
             Via: 1.1 other, 1.1 ztna\r\n\r\n"
        );
    }

    #[test]
    fn the_default_port_is_left_out_of_host() {
        let text = "GET http://a.example/ HTTP/1.0\r\n\r\n";

        assert_eq!(
            forward(text, "a.example:80", "/"),
            "GET / HTTP/1.0\r\nHost: a.example\r\nVia: 1.0 ztna\r\n\r\n"
        );
    }

    #[test]
    fn recognises_its_own_via() {
        let looped = |via| {
            let text = format!("GET http://a/ HTTP/1.1\r\nHost: a\r\nVia: {via}\r\n\r\n");
            is_loop(&RequestHead::parse(text.as_bytes(), &Limits::default()).unwrap())
        };

        assert!(looped("1.1 ztna"));
        assert!(looped("1.0 other, HTTP/1.1 ZTNA (comment)"));
        assert!(!looped("1.1 ztna.example, 1.1 other"));
    }

    #[test]
    fn a_response_cannot_speak_in_the_proxys_name() {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("proxy-status", "ztna; error=http_request_denied"),
            ("proxy-authenticate", "Basic"),
            ("connection", "x-hop, content-length"),
            ("x-hop", "1"),
            ("content-length", "5"),
            ("content-length", "5"),
            ("content-type", "text/plain"),
        ] {
            fields.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }

        return_fields(StatusCode::OK, &mut fields).unwrap();

        let mut left: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                ("content-length", "5"),
                ("content-type", "text/plain"),
                ("via", "1.1 ztna")
            ]
        );
    }

    #[test]
    fn a_response_that_cannot_be_passed_on_is_refused() {
        let mut gzip = HeaderMap::new();
        gzip.insert(TRANSFER_ENCODING, HeaderValue::from_static("gzip, chunked"));

        assert!(return_fields(StatusCode::OK, &mut gzip).is_err());
        assert!(
            return_fields(
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                &mut HeaderMap::new()
            )
            .is_err()
        );
    }

    fn forward(text: &str, target: &str, path: &str) -> String {
        let head = RequestHead::parse(text.as_bytes(), &Limits::default()).unwrap();
        let bytes = forwarded(&head, &Target::parse(target).unwrap(), path);
        String::from_utf8(bytes).unwrap()
    }
}

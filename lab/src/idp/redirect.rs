//! Where the client may be sent to.

use url::{Host, Url};

/// Returns whether the client may be sent to `text`: `/callback` on any port of
/// a loopback address (RFC 8252 §7.3), written the canonical way.
pub(super) fn is_registered_redirect(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() && address.octets() == [127, 0, 0, 1],
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    url.scheme() == "http" && loopback && plain && url.path() == "/callback" && url.as_str() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_callbacks_on_this_machine_are_registered() {
        for good in [
            "http://127.0.0.1:1/callback",
            "http://127.0.0.1/callback",
            "http://[::1]:65535/callback",
        ] {
            assert!(is_registered_redirect(good), "{good}");
        }
        for bad in [
            "http://localhost:1/callback",
            "http://127.0.0.2:1/callback",
            "http://127.1:1/callback",
            "http://2130706433:1/callback",
            "http://127.0.0.1:1/callback/",
            "http://127.0.0.1:1/callback?x=1",
            "http://127.0.0.1:1/callback#x",
            "http://127.0.0.1:1/x/../callback",
            "http://127.0.0.1:1/call\nback",
            "http://user@127.0.0.1:1/callback",
            "http://127.0.0.1.evil.example/callback",
            "http://[::ffff:127.0.0.1]:1/callback",
            "https://127.0.0.1:1/callback",
            "HTTP://127.0.0.1:1/callback",
            "callback",
            "",
        ] {
            assert!(!is_registered_redirect(bad), "{bad}");
        }
    }
}

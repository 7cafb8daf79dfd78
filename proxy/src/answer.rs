//! What the proxy itself answers: refusals, as a small page with `Proxy-Status`.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::hop::PSEUDONYM;
use crate::upstream::Refusal;

/// A response that this proxy makes up; the connection closes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    status: u16,
    /// The RFC 9209 error type.
    error: &'static str,
    code: Cow<'static, str>,
    reason: String,
    remedy: Option<String>,
    reference: Option<String>,
}

impl Answer {
    /// Answers a request that cannot be served as it is.
    pub(crate) fn bad_request(
        status: u16,
        code: &'static str,
        reason: impl std::fmt::Display,
    ) -> Self {
        Self::new(status, "http_request_error", code, reason.to_string())
    }

    /// Answers in the place of a response that cannot be passed on.
    pub(crate) fn bad_response(error: &'static str, reason: impl Into<String>) -> Self {
        Self::new(502, error, "bad_response", reason.into())
    }

    /// Answers a request that came through this proxy already.
    pub(crate) fn looped() -> Self {
        let reason = "The request came through this proxy before.".to_owned();
        Self::new(508, "proxy_loop_detected", "loop", reason)
    }

    /// Answers a request that treats the proxy as a web server (RFC 9110, 15.5.20).
    pub(crate) fn misdirected() -> Self {
        let reason = "This is a proxy, not a web site.".to_owned();
        let mut answer = Self::new(421, "http_request_error", "not_a_web_site", reason);
        answer.remedy = Some("Enter this address as a proxy in your program's settings.".into());
        answer
    }

    /// Answers one connection too many.
    pub(crate) fn overloaded() -> Self {
        let reason = "Too many connections are open.".to_owned();
        Self::new(503, "connection_limit_reached", "too_many", reason)
    }

    fn new(status: u16, error: &'static str, code: &'static str, reason: String) -> Self {
        Self {
            status,
            error,
            code: code.into(),
            reason,
            remedy: None,
            reference: None,
        }
    }

    /// Returns the bytes of the response.
    ///
    /// The reason stands on the status line too, where `curl -v` and other programs that
    /// drop the page of a failed `CONNECT` show it.
    pub(crate) fn to_bytes(&self, form: Form) -> Vec<u8> {
        let phrase = ascii(&self.reason, 120);
        let body = self.body(form);
        let mut out = format!("HTTP/1.1 {} {phrase}\r\n", self.status);
        for (name, value) in self.fields(form) {
            let _infallible = write!(out, "{name}: {value}\r\n");
        }
        let _infallible = write!(out, "Content-Length: {}\r\n\r\n", body.len());
        if !form.bodiless {
            out.push_str(&body);
        }
        out.into_bytes()
    }

    /// Returns the response as a value, for where a library writes it.
    pub(crate) fn to_response(&self, form: Form) -> Response<Full<Bytes>> {
        let body = if form.bodiless {
            String::new()
        } else {
            self.body(form)
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_GATEWAY);
        for (name, value) in self.fields(form) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    fn fields(&self, form: Form) -> [(&'static str, String); 6] {
        let media_type = if form.html { "text/html" } else { "text/plain" };
        [
            ("connection", "close".into()),
            ("content-type", format!("{media_type}; charset=utf-8")),
            ("cache-control", "no-store".into()),
            ("x-content-type-options", "nosniff".into()),
            (
                "content-security-policy",
                "default-src 'none'; style-src 'unsafe-inline'".into(),
            ),
            ("proxy-status", self.proxy_status()),
        ]
    }

    /// Returns the `Proxy-Status` member (RFC 9209, 2).
    fn proxy_status(&self) -> String {
        let mut details = format!("{}: {}", self.code, self.reason);
        if let Some(reference) = &self.reference {
            let _infallible = write!(details, " [{reference}]");
        }
        let details = ascii(&details, 512)
            .replace('\\', "\\\\")
            .replace('"', "\\\"");
        format!("{PSEUDONYM}; error={}; details=\"{details}\"", self.error)
    }

    fn body(&self, form: Form) -> String {
        if form.html { self.html() } else { self.text() }
    }

    fn text(&self) -> String {
        let mut out = format!("Refused by the ZTNA connector: {}\n", self.reason);
        if let Some(remedy) = &self.remedy {
            let _infallible = writeln!(out, "What to do: {remedy}");
        }
        let _infallible = writeln!(out, "Code: {}", self.code);
        if let Some(reference) = &self.reference {
            let _infallible = writeln!(out, "Reference: {reference}");
        }
        out
    }

    fn html(&self) -> String {
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <title>Refused by the ZTNA connector</title>\
             <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;\
             padding:0 1rem}}dt{{color:#666}}</style></head><body>\n\
             <h1>This was not opened</h1>\n<p>{}</p>\n",
            escape(&self.reason)
        );
        if let Some(remedy) = &self.remedy {
            let remedy = escape(remedy);
            let _infallible = write!(out, "<h2>What to do</h2>\n<p>{remedy}</p>\n");
        }
        let _infallible = write!(
            out,
            "<dl><dt>Code</dt><dd><code>{}</code></dd>",
            escape(&self.code)
        );
        if let Some(reference) = &self.reference {
            let reference = escape(reference);
            let _infallible = write!(out, "<dt>Reference</dt><dd><code>{reference}</code></dd>");
        }
        out.push_str(
            "</dl>\n<p>Refused by the ZTNA connector on this computer.</p>\n</body></html>\n",
        );
        out
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: refusal.kind.status(),
            error: refusal.kind.proxy_error(),
            code: refusal.code,
            reason: refusal.reason,
            remedy: refusal.remedy,
            reference: refusal.reference,
        }
    }
}

/// How an answer is presented.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// As HTML rather than as plain text.
    pub(crate) html: bool,
    /// Without its content, for `HEAD`.
    pub(crate) bodiless: bool,
}

/// Makes a text fit for a header field: printable ASCII, bounded.
fn ascii(text: &str, longest: usize) -> String {
    text.chars()
        .take(longest)
        .map(|char| match char {
            ' '..='~' => char,
            _ => '?',
        })
        .collect()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::RefusalKind;

    #[test]
    fn a_reason_cannot_break_out_of_header_or_page() {
        let refusal = Refusal::new(
            RefusalKind::Denied,
            "x",
            "a\r\nSet-Cookie: b \"c\\\" \u{fc} <script>",
        );

        let text = String::from_utf8(Answer::from(refusal).to_bytes(Form {
            html: true,
            bodiless: false,
        }));

        let text = text.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("\r\nSet-Cookie"));
        assert!(head.contains("details=\"x: a??Set-Cookie: b \\\"c\\\\\\\" ? <script>\""));
        assert!(body.contains("&lt;script&gt;"));
        assert!(!body.contains("<script>"));
    }

    #[test]
    fn a_head_request_is_answered_without_content() {
        let bytes = Answer::misdirected().to_bytes(Form {
            html: false,
            bodiless: true,
        });

        assert!(bytes.ends_with(b"\r\n\r\n"));
    }
}

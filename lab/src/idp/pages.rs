//! The pages that people see.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// What the login page shows.
#[derive(Debug)]
pub(super) struct LoginPage<'a> {
    pub(super) organisation: &'a str,
    pub(super) interaction: &'a str,
    pub(super) csrf: &'a str,
    /// Whether to ask for a second factor.
    pub(super) second_factor: bool,
    pub(super) error: Option<&'a str>,
}

impl LoginPage<'_> {
    pub(super) fn html(&self) -> String {
        let alert = self.error.map_or_else(String::new, |error| {
            format!("<p role=\"alert\" id=\"error\">{}</p>\n", escape(error))
        });
        let described = if self.error.is_some() {
            " aria-invalid=\"true\" aria-describedby=\"error\""
        } else {
            ""
        };
        let second_factor = if self.second_factor {
            SECOND_FACTOR
        } else {
            ""
        };
        let form = format!(
            r#"<h1>Sign in to {organisation}</h1>
{alert}<form method="post" action="/idp/login">
<input type="hidden" name="interaction" value="{interaction}">
<input type="hidden" name="csrf" value="{csrf}">
<label for="login">User name</label>
<input id="login" name="login" type="text" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus{described}>
<label for="password">Password (the lab takes any)</label>
<input id="password" name="password" type="password" autocomplete="current-password">
{second_factor}<p><button type="submit" name="action" value="sign-in">Sign in</button>
<button type="submit" name="action" value="cancel" formnovalidate>Cancel</button></p>
</form>"#,
            organisation = escape(self.organisation),
            interaction = escape(self.interaction),
            csrf = escape(self.csrf),
        );
        page("Sign in", &form)
    }
}

/// Returns a page that says why signing in cannot go on.
pub(super) fn error_page(status: StatusCode, message: &str) -> Response {
    let body = format!(
        "<h1>Signing in is not possible</h1>\n<p role=\"alert\">{}</p>\n<p>Close this page and start again from the connector.</p>",
        escape(message)
    );
    (
        status,
        headers(),
        Html(page("Signing in is not possible", &body)),
    )
        .into_response()
}

/// Returns the headers of every page.
pub(super) fn headers() -> HeaderMap {
    HeaderMap::from_iter([
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
            ),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ])
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
}

/// Writes `text` so that it is text in HTML and in quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

const SECOND_FACTOR: &str = r#"<label for="code">Code of your second factor (the lab takes any)</label>
<input id="code" name="code" type="text" inputmode="numeric" autocomplete="one-time-code" required>
"#;

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem}label{display:block;margin-top:1rem}input[type=text],input[type=password]{font:inherit;width:100%;box-sizing:border-box;padding:.4rem}button{font:inherit;padding:.4rem 1rem}[role=alert]{border-left:.3rem solid #b00020;padding-left:.7rem}";

//! A person in front of a login page: follows redirects, keeps cookies, fills in forms.

use std::path::Path;
use std::process::Command;

use crate::process::succeed;
use crate::scene::Scene;

/// Goes to `page` and signs in there as `login`, through as many forms as the provider shows, until the redirect to
/// the connector. Works for the lab's provider and for oidc-provider's development pages.
///
/// # Panics
///
/// If it does not end at the connector's callback.
pub fn sign_in(scene: &Scene, page: &str, login: &str) {
    let cookies = scene.fresh("cookies");
    let (mut url, mut html) = visit(&cookies, page, None);
    for _ in 0..MOST_FORMS {
        if is_callback(&url) {
            assert!(!html.contains("<form"), "{html}");
            return;
        }
        let form = Form::find(&html).unwrap_or_else(|| panic!("no form at {url}: {html}"));
        let filled = form.filled(login);
        (url, html) = visit(&cookies, &against(&url, &form.action), Some(&filled));
    }
    panic!("signing in never ended; last page {url}: {html}");
}

/// A form of a page.
#[derive(Debug)]
struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

impl Form {
    fn find(html: &str) -> Option<Self> {
        let (_, rest) = html.split_once("<form")?;
        let (form, _) = rest.split_once("</form>")?;
        let fields = form
            .split("<input")
            .skip(1)
            .filter_map(|input| {
                let (input, _) = input.split_once('>')?;
                let name = attribute(input, "name")?;
                Some((name, attribute(input, "value").unwrap_or_default()))
            })
            .collect();
        Some(Self {
            action: attribute(form, "action")?,
            fields,
        })
    }

    fn filled(&self, login: &str) -> Vec<String> {
        let fields = self.fields.iter().map(|(name, value)| match name.as_str() {
            "login" => format!("login={login}"),
            "password" => "password=secret".to_owned(),
            "code" => "code=123456".to_owned(),
            _ => format!("{name}={value}"),
        });
        fields.collect()
    }
}

fn visit(cookies: &Path, url: &str, form: Option<&[String]>) -> (String, String) {
    let mut command = Command::new("curl");
    command
        .args(["--disable", "--silent", "--show-error", "--location"])
        .args(["--max-time", "20", "--write-out", "\n%{url_effective}"])
        .arg("--cookie")
        .arg(cookies)
        .arg("--cookie-jar")
        .arg(cookies);
    for field in form.into_iter().flatten() {
        command.args(["--data-urlencode", field]);
    }
    let answer = succeed(command.arg(url));
    let (html, url) = answer.rsplit_once('\n').unwrap_or_default();
    (url.to_owned(), html.to_owned())
}

fn is_callback(url: &str) -> bool {
    url.split('?')
        .next()
        .is_some_and(|url| url.ends_with("/callback"))
}

/// Resolves a form's action, which is an absolute URL or an absolute path, against the page's URL.
fn against(page: &str, action: &str) -> String {
    if !action.starts_with('/') {
        return action.to_owned();
    }
    let origin: Vec<&str> = page.splitn(4, '/').take(3).collect();
    format!("{}{action}", origin.join("/"))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    let plain = value
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    Some(plain)
}

/// oidc-provider shows two: who, and whether that is fine.
const MOST_FORMS: usize = 4;

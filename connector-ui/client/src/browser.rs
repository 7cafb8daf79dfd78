//! Opens web pages, such as the one to sign in, in the person's browser.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

/// A web address that is safe to hand to another program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebPage(String);

impl WebPage {
    /// Accepts `http` and `https` addresses without anything that a shell, a
    /// command line or a terminal could take for its own.
    #[must_use]
    pub fn new(url: String) -> Option<Self> {
        let rest = ["https://", "http://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))?;
        let is_safe = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte);
        let is_page = !rest.is_empty()
            && !rest.starts_with(['/', '?', '#'])
            && url.len() <= LONGEST_URL
            && url.bytes().all(is_safe);

        is_page.then_some(Self(url))
    }

    /// Returns the address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The program that opens web pages on this system.
#[derive(Debug, PartialEq, Eq)]
pub struct Opener {
    program: PathBuf,
    arguments: &'static [&'static str],
}

impl Opener {
    /// Returns the program, if there is one and the person can see what it opens.
    #[must_use]
    pub fn find() -> Option<Self> {
        let opener = choose(env::consts::OS, |name| env::var_os(name))?;
        opener.into_iter().find(|opener| opener.program.is_file())
    }

    /// Opens `page` without waiting for the person to close it.
    ///
    /// # Errors
    ///
    /// What the system says if the program cannot be started.
    pub fn open(&self, page: &WebPage) -> io::Result<()> {
        Command::new(&self.program)
            .args(self.arguments)
            .arg(page.as_str())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(drop)
    }
}

/// Returns the programs to try. They are named by absolute path, so that nothing
/// in `PATH` or in the current directory takes their place.
fn choose(os: &str, variable: impl Fn(&str) -> Option<OsString>) -> Option<Vec<Opener>> {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    // A browser must not run as the administrator.
    if is_set("ZTNA_NO_BROWSER") || is_set("SUDO_USER") {
        return None;
    }
    let opener = |program: PathBuf, arguments| Opener { program, arguments };
    match os {
        "macos" if !is_set("SSH_CONNECTION") => Some(vec![opener("/usr/bin/open".into(), &[])]),
        "windows" if !is_set("SSH_CONNECTION") => {
            let root = variable("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
            let program = Path::new(&root).join("System32").join("rundll32.exe");
            Some(vec![opener(program, &["url.dll,FileProtocolHandler"])])
        }
        "macos" | "windows" => None,
        _ if is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") => Some(
            XDG_OPEN
                .iter()
                .map(|path| opener(path.into(), &[]))
                .collect(),
        ),
        _ => None,
    }
}

const XDG_OPEN: [&str; 3] = [
    "/usr/bin/xdg-open",
    "/usr/local/bin/xdg-open",
    "/run/current-system/sw/bin/xdg-open",
];

/// Longer addresses are not opened by every browser.
const LONGEST_URL: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_web_addresses_are_opened() {
        let opens = |url: &str| WebPage::new(url.into()).is_some();

        assert!(opens("https://idp.corp.test/authorize?a=b&c=%20#x"));
        assert!(opens("http://127.0.0.1:9000/authorize"));
        for url in [
            "file:///etc/passwd",
            "javascript:alert(1)",
            "HTTPS://x",
            "--help",
            "https://",
            "https:///x",
            "https://a b",
            "https://a\"b",
            "https://a'b",
            "https://a\nb",
            "https://a\u{1b}[2J",
            "https://a|calc",
            "https://ä",
        ] {
            assert!(!opens(url), "{url}");
        }
        assert!(!opens(&format!("https://{}", "a".repeat(LONGEST_URL))));
    }

    #[test]
    fn each_system_has_its_own_opener_by_absolute_path() {
        let programs = |os, variables: &'static [&'static str]| -> Vec<String> {
            choose(os, |name| variables.contains(&name).then(|| "1".into()))
                .unwrap_or_default()
                .iter()
                .map(|opener| opener.program.display().to_string())
                .collect()
        };

        assert_eq!(programs("linux", &["DISPLAY"]), XDG_OPEN);
        assert_eq!(programs("linux", &["WAYLAND_DISPLAY"]), XDG_OPEN);
        assert_eq!(programs("macos", &[]), ["/usr/bin/open"]);
        assert!(programs("windows", &[])[0].ends_with("rundll32.exe"));
    }

    #[test]
    fn nothing_is_opened_where_nobody_would_see_it_or_as_the_administrator() {
        let is_none = |os, variables: &'static [&'static str]| {
            choose(os, |name| variables.contains(&name).then(|| "1".into())).is_none()
        };

        assert!(is_none("linux", &[]));
        assert!(is_none("linux", &["SSH_CONNECTION"]));
        assert!(is_none("macos", &["SSH_CONNECTION"]));
        assert!(is_none("windows", &["SSH_CONNECTION"]));
        assert!(is_none("linux", &["DISPLAY", "SUDO_USER"]));
        assert!(is_none("linux", &["DISPLAY", "ZTNA_NO_BROWSER"]));
    }
}

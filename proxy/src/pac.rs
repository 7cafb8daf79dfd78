//! The proxy auto-configuration file.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// The media type browsers expect.
pub(crate) const MEDIA_TYPE: &str = "application/x-ns-proxy-autoconfig";

/// Writes the script that sends the given hosts, and nothing else, through `listener`.
///
/// There is no `DIRECT` after `PROXY`: a protected name must not be asked of the network
/// the machine happens to be in when the connector is down.
pub(crate) fn script(patterns: &[String], listener: SocketAddr) -> String {
    let (mut exact, mut below) = (String::new(), String::new());
    for pattern in patterns {
        let pattern = pattern.trim_end_matches('.').to_ascii_lowercase();
        let (list, text) = match pattern.strip_prefix('*') {
            Some(suffix) => (&mut below, suffix),
            None => (&mut exact, pattern.as_str()),
        };
        if !is_plain(text) || (pattern.starts_with('*') && !text.starts_with('.')) {
            tracing::debug!(pattern, "Left a pattern out of the PAC file");
            continue;
        }
        let separator = if list.is_empty() { "" } else { ", " };
        let _infallible = write!(list, "{separator}\"{text}\"");
    }

    format!(
        "function FindProxyForURL(url, host) {{\n\
         \x20 var exact = [{exact}];\n\
         \x20 var below = [{below}];\n\
         \x20 var i;\n\
         \x20 host = host.toLowerCase();\n\
         \x20 if (host.charAt(host.length - 1) === \".\") host = host.substring(0, host.length - 1);\n\
         \x20 if (host.charAt(0) === \"[\") host = host.substring(1, host.length - 1);\n\
         \x20 for (i = 0; i < exact.length; i++) {{\n\
         \x20   if (host === exact[i]) return \"PROXY {listener}\";\n\
         \x20 }}\n\
         \x20 for (i = 0; i < below.length; i++) {{\n\
         \x20   if (host.length > below[i].length &&\n\
         \x20       host.substring(host.length - below[i].length) === below[i]) return \"PROXY {listener}\";\n\
         \x20 }}\n\
         \x20 return \"DIRECT\";\n\
         }}\n"
    )
}

/// Tells whether a text can stand in a script's string as it is.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_names_and_suffixes() {
        let patterns = ["Wiki.corp.example", "*.dev.example.", "10.0.0.1"].map(String::from);

        let script = script(&patterns, "127.0.0.1:7080".parse().unwrap());

        assert!(script.contains("var exact = [\"wiki.corp.example\", \"10.0.0.1\"];"));
        assert!(script.contains("var below = [\".dev.example\"];"));
        assert_eq!(script.matches("return \"PROXY 127.0.0.1:7080\"").count(), 2);
        assert!(script.contains("return \"DIRECT\""));
    }

    #[test]
    fn nothing_but_host_patterns_gets_into_the_script() {
        let patterns = ["a\"; alert(1); \"", "*", "*x.example", "", "a\\", "b\n"].map(String::from);

        let script = script(&patterns, "[::1]:7080".parse().unwrap());

        assert!(script.contains("var exact = [];"));
        assert!(script.contains("var below = [];"));
    }
}

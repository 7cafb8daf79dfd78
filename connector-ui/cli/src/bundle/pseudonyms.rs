//! Takes names out of a bundle, the same name always by the same number, so that what belongs
//! together can still be seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

use super::Part;

/// What is replaced by what.
pub(super) struct Pseudonyms {
    /// The longest first, so that no name is replaced inside of a longer one.
    known: Vec<(String, String)>,
}

impl Pseudonyms {
    /// Finds what names somebody or something in the parts that are JSON.
    pub(super) fn of(parts: &[Part]) -> Self {
        let mut found = BTreeMap::<Kind, BTreeSet<String>>::new();
        for part in parts {
            for document in serde_json::Deserializer::from_str(&part.text).into_iter::<Value>() {
                let Ok(document) = document else { break };
                note(None, &document, &mut found);
            }
        }
        let mut known: Vec<(String, String)> = found
            .into_iter()
            .flat_map(|(kind, names)| {
                let numbered = names.into_iter().zip(1..);
                numbered.map(move |(name, number)| (name, format!("{}-{number}", kind.word())))
            })
            .collect();
        known.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Self { known }
    }

    /// Returns `text` without what is known, and without any address of a machine.
    pub(super) fn replace(&self, text: &str) -> String {
        let mut replaced = text.to_owned();
        for (name, pseudonym) in &self.known {
            replaced = replaced.replace(name, pseudonym);
        }
        without_addresses(&replaced)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Host,
    Organisation,
    Path,
    Person,
}

impl Kind {
    /// Returns what the value of a member names, if it names anything.
    fn of(member: &str) -> Option<Self> {
        Some(match member {
            "subject" | "name" | "email" | "session_id" | "groups" => Self::Person,
            "by" | "organisation" | "support" => Self::Organisation,
            "names" | "target" | "control_plane" | "endpoint" | "issuer" | "resource" | "title" => {
                Self::Host
            }
            "path" | "origin" => Self::Path,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Organisation => "organisation",
            Self::Path => "path",
            Self::Person => "person",
        }
    }
}

fn note(member: Option<&str>, value: &Value, found: &mut BTreeMap<Kind, BTreeSet<String>>) {
    match value {
        Value::Array(values) => {
            for value in values {
                note(member, value, found);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                note(Some(name), value, found);
            }
        }
        Value::String(text) => {
            let Some(kind) = member.and_then(Kind::of) else {
                return;
            };
            if kind == Kind::Host {
                let host = host_of(text);
                if host.parse::<IpAddr>().is_ok() {
                    return;
                }
                keep(kind, host, found);
                for domain in domains_of(host) {
                    keep(kind, domain, found);
                }
            } else {
                keep(kind, text, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn keep(kind: Kind, name: &str, found: &mut BTreeMap<Kind, BTreeSet<String>>) {
    // What is shorter stands in too many other words.
    if name.len() >= SHORTEST {
        found.entry(kind).or_default().insert(name.to_owned());
    }
}

/// Returns the domains of two labels and more that a host's name lies in.
fn domains_of(host: &str) -> impl Iterator<Item = &str> {
    let beginnings = host.match_indices('.').map(|(at, _)| &host[at + 1..]);
    let is_word = |domain: &&str| !domain.contains(char::is_whitespace);
    beginnings
        .filter(|domain| domain.contains('.'))
        .filter(is_word)
}

/// Returns the host of a URL or of `HOST:PORT`, or the text itself.
fn host_of(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split(['/', '?']).next().unwrap_or(rest);
    let rest = rest.strip_prefix("*.").unwrap_or(rest);
    match rest.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            host
        }
        Some(_) | None => rest,
    }
}

/// Replaces every address but those of this machine itself.
fn without_addresses(text: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut numbers = BTreeMap::<IpAddr, usize>::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_of_address) {
        replaced.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c| !is_of_address(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        replaced.push_str(&replaced_word(word, &mut numbers));
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

fn replaced_word(word: &str, numbers: &mut BTreeMap<IpAddr, usize>) -> String {
    let whole = word.trim_end_matches(['.', ':']);
    let (address, port) = match (whole.parse::<IpAddr>(), whole.rsplit_once(':')) {
        (Ok(address), _) => (address, ""),
        (Err(_), Some((host, _))) => match host.parse::<IpAddr>() {
            Ok(address) => (address, &whole[host.len()..]),
            Err(_) => return word.to_owned(),
        },
        (Err(_), None) => return word.to_owned(),
    };
    if address.is_loopback() || address.is_unspecified() {
        return word.to_owned();
    }
    let next = numbers.len() + 1;
    let number = numbers.entry(address).or_insert(next);
    format!("address-{number}{port}{}", &word[whole.len()..])
}

fn is_of_address(c: char) -> bool {
    c.is_ascii_hexdigit() || c == '.' || c == ':'
}

const SHORTEST: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_hosts_and_addresses_go_and_what_belongs_together_stays_so() {
        let parts = [
            part(
                r#"{"identity":{"name":"Alice Archer","email":"alice@corp.test","subject":"alice"},
                "control_plane":"https://control.corp.test:8443/","version":"0.1.0",
                "tunnel":{"sites":[{"id":"hq","gateways":[{"endpoint":"gw.corp.test:51820"}]}]}}"#,
            ),
            part(
                "{\"target\":\"wiki.corp.test:443\",\"path\":\"/home/alice/bin/tool\"}\n{\"target\":\"wiki.corp.test:80\"}\n",
            ),
        ];

        let pseudonyms = Pseudonyms::of(&parts);
        let log = pseudonyms.replace(
            "12:00 alice@corp.test reached wiki.corp.test:443 by 192.0.2.7:51820, wiki.corp.test again by 192.0.2.7 and fd00::7. From 127.0.0.1, /home/alice/bin/tool",
        );

        for name in ["alice", "wiki", "corp.test", "192.0.2", "fd00"] {
            assert!(!log.contains(name), "{name}: {log}");
        }
        assert_eq!(log.matches("address-1").count(), 2, "{log}");
        assert!(log.contains("address-2. From 127.0.0.1"), "{log}");
        assert!(log.starts_with("12:00 "), "{log}");
        let hosts: Vec<&str> = log
            .split_whitespace()
            .filter(|word| word.starts_with("host-"))
            .collect();
        assert_eq!(
            hosts[0].split(':').next(),
            hosts[1].split(':').next(),
            "{log}"
        );
    }

    #[test]
    fn times_and_versions_are_no_addresses() {
        let text = "2026-11-22T12:00:05Z version 0.1.0 took 1.5 ms, face::1 is one: deadbeef";

        let replaced = without_addresses(text);

        assert_eq!(
            replaced,
            "2026-11-22T12:00:05Z version 0.1.0 took 1.5 ms, address-1 is one: deadbeef"
        );
    }

    #[test]
    fn the_host_is_found_in_whatever_names_it() {
        for (text, host) in [
            ("https://idp.corp.test/realm?x", "idp.corp.test"),
            ("wiki.corp.test:443", "wiki.corp.test"),
            ("*.dev.corp.test", "dev.corp.test"),
            ("wiki.corp.test", "wiki.corp.test"),
        ] {
            assert_eq!(host_of(text), host);
        }
    }

    fn part(text: &str) -> Part {
        Part {
            name: "x",
            what: "x",
            text: text.to_owned(),
        }
    }
}

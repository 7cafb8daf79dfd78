//! Resolvers for some names only, in the language of `scutil` (scutil(8)).
//!
//! A service's DNS dictionary with `SupplementalMatchDomains` is asked for the
//! names in and below these domains, and for no other; what the machine asks
//! otherwise stays as it is. Nothing is written to the disk.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use connector_core::name::DomainName;

use super::super::Dns;

/// A dictionary of the dynamic store.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::steering) struct SupplementalResolver {
    pub(super) key: String,
    servers: Vec<String>,
    domains: Vec<String>,
}

impl SupplementalResolver {
    /// Returns as many dictionaries as `dns` takes. Without servers or suffixes
    /// there is none: an empty list of domains would claim every name.
    pub(super) fn all(dns: &Dns) -> Vec<Self> {
        if dns.servers.is_empty() {
            return Vec::new();
        }
        let servers: Vec<String> = dns.servers.iter().map(IpAddr::to_string).collect();
        lines(&dns.suffixes)
            .into_iter()
            .enumerate()
            .map(|(index, domains)| Self {
                key: format!("State:/Network/Service/ztna-{index}/DNS"),
                servers: servers.clone(),
                domains,
            })
            .collect()
    }

    /// Returns commands that set the dictionary and show what came of it.
    pub(super) fn commands(&self) -> String {
        let Self {
            key,
            servers,
            domains,
        } = self;
        format!(
            "d.init\nd.add {SERVERS} * {}\nd.add {DOMAINS} * {}\nd.add {DOMAINS}NoSearch # 1\nset {key}\n{}",
            servers.join(" "),
            domains.join(" "),
            show(key),
        )
    }

    /// Returns whether the answer to [`show`] is this dictionary.
    pub(super) fn is_shown_in(&self, shown: &str) -> bool {
        array(shown, SERVERS) == self.servers && array(shown, DOMAINS) == self.domains
    }
}

/// Returns the command that shows the dictionary at `key`.
pub(super) fn show(key: &str) -> String {
    format!("show {key}\n")
}

/// Returns commands that remove the dictionary at `key` and show that it is gone.
pub(super) fn remove(key: &str) -> String {
    format!("remove {key}\n{}", show(key))
}

/// Returns whether the answer to [`show`] is that there is nothing.
pub(super) fn is_absent_in(shown: &str) -> bool {
    // Removing what is not there says the same once more.
    let mut lines = shown.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.next_back() == Some("No such key")
}

/// Returns whether `key` is one that [`SupplementalResolver::all`] makes.
pub(super) fn is_ours(key: &str) -> bool {
    key.strip_prefix("State:/Network/Service/ztna-")
        .and_then(|rest| rest.strip_suffix("/DNS"))
        .is_some_and(|index| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns the name servers in the answer to [`show`] for [`GLOBAL`]; `scope`
/// finds the number of an interface that a link-local address names.
pub(super) fn name_servers(shown: &str, scope: impl Fn(&str) -> Option<u32>) -> Vec<SocketAddr> {
    array(shown, SERVERS)
        .iter()
        .filter_map(|text| match text.split_once('%') {
            None => Some(SocketAddr::new(text.parse().ok()?, DNS_PORT)),
            Some((address, interface)) => {
                let scope = scope(interface)?;
                let address = address.parse().ok()?;
                Some(SocketAddrV6::new(address, DNS_PORT, 0, scope).into())
            }
        })
        .collect()
}

/// Returns the strings in the array `name` of a dictionary.
fn array(shown: &str, name: &str) -> Vec<String> {
    let opening = format!("{name} : <array> {{");
    shown
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != opening)
        .skip(1)
        .take_while(|line| *line != "}")
        .filter_map(|line| Some(line.split_once(" : ")?.1.to_owned()))
        .collect()
}

/// Distributes the suffixes over lines that `scutil` reads as a whole.
fn lines(suffixes: &[DomainName]) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut length = 0;
    for suffix in suffixes {
        let text = suffix.as_str();
        match lines.last_mut() {
            Some(line) if length + 1 + text.len() <= LONGEST_LINE => {
                length += 1 + text.len();
                line.push(text.to_owned());
            }
            _ => {
                length = text.len();
                lines.push(vec![text.to_owned()]);
            }
        }
    }
    lines
}

/// Where the machine's own name servers are; supplemental ones never are there.
pub(super) const GLOBAL: &str = "State:/Network/Global/DNS";

const SERVERS: &str = "ServerAddresses";
const DOMAINS: &str = "SupplementalMatchDomains";

const DNS_PORT: u16 = 53;

/// The domains in one line: `scutil` reads lines into a buffer of fixed size.
const LONGEST_LINE: usize = 900;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_set_for_the_protected_names_alone() {
        let [resolver] = &SupplementalResolver::all(&dns(&["corp.example", "dev.example"]))[..]
        else {
            panic!("two short names fit in one dictionary");
        };

        assert_eq!(
            resolver.commands(),
            "d.init\n\
             d.add ServerAddresses * 100.64.0.1 fd00::1\n\
             d.add SupplementalMatchDomains * corp.example dev.example\n\
             d.add SupplementalMatchDomainsNoSearch # 1\n\
             set State:/Network/Service/ztna-0/DNS\n\
             show State:/Network/Service/ztna-0/DNS\n"
        );
    }

    #[test]
    fn no_dictionary_is_made_that_would_claim_every_name() {
        assert_eq!(SupplementalResolver::all(&dns(&[])), []);
        let mut without_servers = dns(&["corp.example"]);
        without_servers.servers.clear();
        assert_eq!(SupplementalResolver::all(&without_servers), []);
    }

    #[test]
    fn many_names_are_distributed_over_lines_that_are_read_whole() {
        let names: Vec<String> = (0..200).map(|n| format!("zone{n}.corp.example")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();

        let resolvers = SupplementalResolver::all(&dns(&names));

        let domains: Vec<&String> = resolvers.iter().flat_map(|one| &one.domains).collect();
        assert_eq!(domains, names);
        for resolver in &resolvers {
            let longest = resolver.commands().lines().map(str::len).max();
            assert!(longest.is_some_and(|length| length < 1024));
            assert!(is_ours(&resolver.key), "{}", resolver.key);
        }
        assert_eq!(resolvers[1].key, "State:/Network/Service/ztna-1/DNS");
    }

    #[test]
    fn what_is_shown_is_compared_with_what_was_set() {
        let resolvers = SupplementalResolver::all(&dns(&["corp.example", "dev.example"]));
        let shown = "<dictionary> {\n  ServerAddresses : <array> {\n    0 : 100.64.0.1\n    1 : fd00::1\n  }\n  \
                     SupplementalMatchDomains : <array> {\n    0 : corp.example\n    1 : dev.example\n  }\n  \
                     SupplementalMatchDomainsNoSearch : 1\n}\n";

        assert!(resolvers[0].is_shown_in(shown));
        assert!(!resolvers[0].is_shown_in(&shown.replace("100.64.0.1", "192.0.2.1")));
        assert!(!resolvers[0].is_shown_in(&shown.replace("    1 : dev.example\n", "")));
        assert!(!resolvers[0].is_shown_in("  No such key\n"));
    }

    #[test]
    fn a_removed_dictionary_is_gone_and_only_ours_is_removed() {
        assert_eq!(
            remove("State:/Network/Service/ztna-0/DNS"),
            "remove State:/Network/Service/ztna-0/DNS\nshow State:/Network/Service/ztna-0/DNS\n"
        );
        assert!(is_absent_in("  No such key\n"));
        assert!(is_absent_in("  No such key\n  No such key\n"));
        assert!(!is_absent_in("<dictionary> {\n}\n"));
        assert!(!is_absent_in(""));
        for key in [
            "State:/Network/Service/ztna-/DNS",
            "State:/Network/Service/ztna-0/DNS\nremove x",
            "State:/Network/Service/abc/DNS",
            GLOBAL,
        ] {
            assert!(!is_ours(key), "{key}");
        }
    }

    #[test]
    fn the_machines_name_servers_are_read_with_their_scope() {
        let shown = "<dictionary> {\n  DomainName : home\n  ServerAddresses : <array> {\n    0 : 192.0.2.53\n    \
                     1 : fe80::1%en0\n    2 : fe80::2%gone\n    3 : 2001:db8::53\n    4 : nonsense\n  }\n}\n";

        let servers = name_servers(shown, |interface| (interface == "en0").then_some(4));

        let told: Vec<String> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["192.0.2.53:53", "[fe80::1%4]:53", "[2001:db8::53]:53"]
        );
    }

    fn dns(suffixes: &[&str]) -> Dns {
        Dns {
            servers: vec!["100.64.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            suffixes: suffixes.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }
}

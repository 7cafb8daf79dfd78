//! Rules of the name resolution policy table (MS-GPNRPT §2.2.2), as registry values.

use connector_core::name::DomainName;
use serde::{Deserialize, Serialize};

use super::super::Dns;
use crate::registry::{Kind, Value, zero_terminated};

/// A rule that sends questions for some names to the stub.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::steering) struct NameRule {
    pub(super) place: Place,
    pub(super) key: String,
    names: Vec<String>,
    servers: String,
}

impl NameRule {
    /// Returns as many rules as `dns` takes. Without servers or suffixes there
    /// is none. While a policy is in force, rules are needed in its place, too.
    pub(super) fn all(dns: &Dns, has_policy: bool) -> Vec<Self> {
        if dns.servers.is_empty() {
            return Vec::new();
        }
        let servers: Vec<String> = dns.servers.iter().map(ToString::to_string).collect();
        let places = if has_policy {
            &[Place::Local, Place::Policy][..]
        } else {
            &[Place::Local]
        };
        let rules = places.iter().flat_map(|place| {
            let chunks = dns.suffixes.chunks(SUFFIXES_PER_RULE).enumerate();
            chunks.map(|(index, suffixes)| Self {
                place: *place,
                key: key(index),
                names: suffixes.iter().flat_map(names).collect(),
                servers: servers.join(";"),
            })
        });
        rules.collect()
    }

    /// Returns the values in the rule's registry key.
    pub(super) fn values(&self) -> [Value; 6] {
        let text = |text: &str| zero_terminated(text);
        let mut names: Vec<u8> = self
            .names
            .iter()
            .flat_map(|name| zero_terminated(name))
            .collect();
        names.extend([0, 0]);
        [
            Value::new("Comment", Kind::Text, text("Made by ZTNA Connector")),
            Value::number("ConfigOptions", GENERIC_SERVERS),
            Value::new("DisplayName", Kind::Text, text("ZTNA Connector")),
            Value::new("GenericDNSServers", Kind::Text, text(&self.servers)),
            Value::new("Name", Kind::Texts, names),
            Value::number("Version", VERSION),
        ]
    }
}

/// Where rules are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::steering) enum Place {
    /// The machine's own rules.
    Local,
    /// The rules of the group policy; local ones are ignored while it exists.
    Policy,
}

impl Place {
    /// Returns the registry key below `HKEY_LOCAL_MACHINE`.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Local => r"SYSTEM\CurrentControlSet\Services\Dnscache\Parameters\DnsPolicyConfig",
            Self::Policy => r"SOFTWARE\Policies\Microsoft\Windows NT\DNSClient\DnsPolicyConfig",
        }
    }
}

/// Returns whether `key` is one that [`NameRule::all`] makes.
pub(super) fn is_ours(key: &str) -> bool {
    key.strip_prefix(KEY_START)
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|index| index.len() == 4 && index.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A suffix with a leading dot stands for the names below it; the name itself
/// is added, for not every version of the system takes it for a part of them.
fn names(suffix: &DomainName) -> [String; 2] {
    [format!(".{suffix}"), suffix.to_string()]
}

fn key(index: usize) -> String {
    format!("{KEY_START}{index:04x}}}")
}

/// Our rules' keys, but for their number.
const KEY_START: &str = "{5a544e41-0000-4d1e-9b5c-7f2a60d1";

/// A rule takes no more than 50 names, and a suffix makes two.
const SUFFIXES_PER_RULE: usize = 25;

/// The rule names servers to ask instead of the machine's.
const GENERIC_SERVERS: u32 = 8;

/// The version of rules since Windows 8.
const VERSION: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_stored_as_the_system_reads_it() {
        let [rule] = &NameRule::all(&dns(1), false)[..] else {
            panic!("one suffix makes one rule");
        };

        let values = rule.values();

        let data = |name: &str| {
            let value = values.iter().find(|value| value.name == name).unwrap();
            (value.kind.code(), text(&value.data))
        };
        assert_eq!(
            data("Name"),
            (7, ".zone0.example\0zone0.example\0\0".into())
        );
        assert_eq!(
            data("GenericDNSServers"),
            (1, "100.64.0.1;fd00::1\0".into())
        );
        let number = |name: &str| {
            let value = values.iter().find(|value| value.name == name).unwrap();
            (value.kind.code(), value.data.clone())
        };
        assert_eq!(number("ConfigOptions"), (4, vec![8, 0, 0, 0]));
        assert_eq!(number("Version"), (4, vec![2, 0, 0, 0]));
    }

    #[test]
    fn many_suffixes_make_several_rules_of_at_most_fifty_names() {
        let rules = NameRule::all(&dns(60), false);

        assert_eq!(rules.len(), 3);
        assert!(rules.iter().all(|rule| rule.names.len() <= 50));
        let count: usize = rules.iter().map(|rule| rule.names.len()).sum();
        assert_eq!(count, 120);
        assert_ne!(rules[0].key, rules[1].key);
        assert!(rules.iter().all(|rule| is_ours(&rule.key)));
    }

    #[test]
    fn a_policy_in_force_gets_the_same_rules() {
        let rules = NameRule::all(&dns(1), true);

        let places: Vec<Place> = rules.iter().map(|rule| rule.place).collect();
        assert_eq!(places, [Place::Local, Place::Policy]);
        assert_eq!(rules[0].values(), rules[1].values());
    }

    #[test]
    fn no_rule_is_made_without_names_or_servers() {
        assert_eq!(NameRule::all(&dns(0), true), []);
        let mut without_servers = dns(1);
        without_servers.servers.clear();
        assert_eq!(NameRule::all(&without_servers, true), []);
    }

    #[test]
    fn only_our_own_keys_are_ours() {
        for key in [
            "",
            r"..\Other",
            "{5a544e41-0000-4d1e-9b5c-7f2a60d1000}",
            "{5abe529b-675b-4486-8459-25a634dacc23}",
        ] {
            assert!(!is_ours(key), "{key}");
        }
    }

    fn text(data: &[u8]) -> String {
        let units: Vec<u16> = data
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16(&units).unwrap()
    }

    fn dns(suffixes: usize) -> Dns {
        Dns {
            servers: vec!["100.64.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            suffixes: (0..suffixes)
                .map(|n| format!("zone{n}.example").parse().unwrap())
                .collect(),
        }
    }
}

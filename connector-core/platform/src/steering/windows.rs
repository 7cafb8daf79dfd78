//! Steering on Windows: routes through the Wintun device, a guard in the Windows
//! Filtering Platform, and rules of the name resolution policy table.
//!
//! Windows has neither a second routing table nor marks on sockets. A route that
//! somebody adds for a part of a protected prefix therefore comes before ours;
//! the guard then keeps the traffic in, so that it fails instead of leaking. The
//! tunnel's own sockets are bound to the physical interface (`IP_UNICAST_IF`), so
//! that no route into the device catches them, and no host route to a gateway is
//! needed that a forged address could abuse. The guard has no exception for them:
//! a gateway's address must lie outside the protected prefixes. What comes in for
//! the device's addresses by another interface is dropped by the system itself,
//! whose interfaces are strong hosts (RFC 1122 §3.3.4.2) unless set otherwise.

use std::fmt;

use connector_core::network::Prefix;
use serde::{Deserialize, Serialize};

use self::filters::Filters;
use self::name_rules::{NameRule, Place};
use super::{Part, Plan};

mod filters;
mod name_rules;

#[cfg(windows)]
mod adapters;
#[cfg(windows)]
mod engine;
#[cfg(windows)]
mod machine;
#[cfg(windows)]
mod routes;
#[cfg(windows)]
mod signals;

#[cfg(windows)]
pub(super) use self::machine::{Steering, change_resolver_file, has_traces, ranges_in_use, repair};
#[cfg(windows)]
pub(super) use self::signals::NetworkChanges;

/// What was changed, as the journal tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(super) enum Entry {
    /// Our filters in the Windows Filtering Platform.
    Guard,
    /// A rule of the name resolution policy table.
    NameRule { place: Place, key: String },
    /// The registry key that holds such rules, which did not exist.
    NameRules,
    /// A route; it vanishes with its device.
    Route { prefix: String, device: String },
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guard => f.write_str("the filters in the Windows Filtering Platform"),
            Self::NameRule { place, key } => {
                write!(f, "the name resolution rule {}\\{key}", place.path())
            }
            Self::NameRules => write!(f, "the registry key {}", Place::Local.path()),
            Self::Route { prefix, device } => write!(f, "the route to {prefix} through {device}"),
        }
    }
}

/// A change to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Guard(Filters),
    NameRule(NameRule),
    Route { prefix: Prefix, device: String },
}

impl Step {
    /// Returns what `plan` takes: the guard, the routes, the resolver.
    fn all(plan: &Plan, machine: Observed) -> Vec<Self> {
        let mut prefixes = plan.prefixes.clone();
        prefixes.sort_unstable();
        prefixes.dedup();
        let mut steps = vec![Self::Guard(Filters::new(&prefixes, machine.device))];
        steps.extend(prefixes.into_iter().map(|prefix| Self::Route {
            prefix,
            device: plan.device.clone(),
        }));
        let rules = NameRule::all(&plan.dns, machine.has_name_policy);
        steps.extend(rules.into_iter().map(Self::NameRule));
        steps
    }

    fn entry(&self) -> Entry {
        match self {
            Self::Guard(_) => Entry::Guard,
            Self::NameRule(rule) => Entry::NameRule {
                place: rule.place,
                key: rule.key.clone(),
            },
            Self::Route { prefix, device } => Entry::Route {
                prefix: prefix.to_string(),
                device: device.clone(),
            },
        }
    }

    fn part(&self) -> Part {
        match self {
            Self::Guard(_) => Part::Guard,
            Self::NameRule(_) => Part::Resolver,
            Self::Route { .. } => Part::Routes,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry().fmt(f)
    }
}

/// What the steps depend on besides the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Observed {
    /// The device's locally unique number, while it exists.
    device: Option<u64>,
    /// Whether a group policy rules over names, which puts local rules out of force.
    has_name_policy: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::Dns;

    #[test]
    fn the_guard_comes_first_and_the_resolver_last() {
        let steps = Step::all(&plan(), observed());

        let parts: Vec<Part> = steps.iter().map(Step::part).collect();
        assert_eq!(
            parts,
            [Part::Guard, Part::Routes, Part::Routes, Part::Resolver]
        );
        let told: Vec<String> = steps.iter().map(ToString::to_string).collect();
        assert_eq!(told[1], "the route to 10.20.0.0/16 through ZTNA");
        assert_eq!(
            told[3],
            r"the name resolution rule SYSTEM\CurrentControlSet\Services\Dnscache\Parameters\DnsPolicyConfig\{5a544e41-0000-4d1e-9b5c-7f2a60d10000}"
        );
    }

    #[test]
    fn a_device_that_comes_back_with_another_number_changes_the_guard_and_nothing_else() {
        let before = Step::all(&plan(), observed());
        let gone = Observed {
            device: None,
            ..observed()
        };

        let after = Step::all(&plan(), gone);

        assert_ne!(before[0], after[0]);
        assert_eq!(before[0].entry(), after[0].entry());
        assert_eq!(before[1..], after[1..]);
    }

    #[test]
    fn entries_survive_the_journal() {
        let steps = Step::all(&plan(), observed());
        let entries = steps.iter().map(Step::entry).chain([Entry::NameRules]);
        for entry in entries {
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
        }
    }

    fn observed() -> Observed {
        Observed {
            device: Some(7),
            has_name_policy: false,
        }
    }

    fn plan() -> Plan {
        Plan {
            device: "ZTNA".to_owned(),
            device_addresses: vec!["100.64.0.1".parse().unwrap()],
            prefixes: ["fd00::/64", "10.20.0.0/16", "10.20.0.0/16"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            dns: Dns {
                servers: vec!["100.64.0.1".parse().unwrap()],
                suffixes: vec!["corp.example".parse().unwrap()],
            },
        }
    }
}

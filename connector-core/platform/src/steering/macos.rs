//! Steering on macOS: routes through the utun device, a guard in the packet
//! filter pf, and supplemental resolvers in the dynamic store.
//!
//! macOS has neither a second routing table nor marks on sockets. A route that
//! somebody adds for a part of a protected prefix therefore comes before ours;
//! the guard then keeps the traffic in, so that it fails instead of leaking. The
//! tunnel's own sockets are bound to the physical interface (`IP_BOUND_IF`), so
//! that no route into the device catches them, and no host route to a gateway
//! is needed that a forged address could abuse. The guard has no exception for
//! them: a gateway's address must lie outside the protected prefixes.

use std::fmt;
use std::io;

use connector_core::network::Prefix;
use serde::{Deserialize, Serialize};

use self::dynamic_store::SupplementalResolver;
use self::packet_filter::Rules;
use super::{Part, Plan};

mod dynamic_store;
mod halves;
mod packet_filter;
mod route_message;

#[cfg(target_os = "macos")]
mod machine;
#[cfg(target_os = "macos")]
mod routing_socket;
#[cfg(target_os = "macos")]
mod signals;
#[cfg(target_os = "macos")]
mod tools;

#[cfg(target_os = "macos")]
pub(super) use self::machine::{Steering, change_resolver_file, has_traces, ranges_in_use, repair};
#[cfg(target_os = "macos")]
pub(super) use self::signals::NetworkChanges;

/// What was changed, as the journal tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(super) enum Entry {
    /// The rules in our anchor of the packet filter.
    Guard,
    /// A reference that keeps the packet filter switched on. The process that
    /// takes it is known before it does, the token only afterwards.
    Reference { process: u32, token: Option<u64> },
    /// A key of the dynamic store.
    Resolver { key: String },
    /// A route for the prefix, or two for its halves.
    Route { prefix: String, device: String },
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guard => write!(f, "the rules of the packet filter in {ANCHOR}"),
            Self::Reference { .. } => f.write_str("the switch of the packet filter"),
            Self::Resolver { key } => write!(f, "the name server settings in {key}"),
            Self::Route { prefix, device } => write!(f, "the route to {prefix} through {device}"),
        }
    }
}

/// A change to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Guard(Rules),
    Resolver(SupplementalResolver),
    Route { prefix: Prefix, device: String },
}

impl Step {
    /// Returns what `plan` takes: the guard, the routes, the resolver.
    fn all(plan: &Plan) -> io::Result<Vec<Self>> {
        let device = checked_device(&plan.device)?;
        let mut steps = vec![Self::Guard(Rules::of(plan))];
        let mut prefixes = plan.prefixes.clone();
        prefixes.sort_unstable();
        prefixes.dedup();
        steps.extend(prefixes.into_iter().map(|prefix| Self::Route {
            prefix,
            device: device.to_owned(),
        }));
        let resolvers = SupplementalResolver::all(&plan.dns);
        steps.extend(resolvers.into_iter().map(Self::Resolver));
        Ok(steps)
    }

    fn entry(&self) -> Entry {
        match self {
            Self::Guard(_) => Entry::Guard,
            Self::Resolver(resolver) => Entry::Resolver {
                key: resolver.key.clone(),
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
            Self::Resolver(_) => Part::Resolver,
            Self::Route { .. } => Part::Routes,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry().fmt(f)
    }
}

/// Refuses a device's name that would be more than a name in the packet
/// filter's language.
fn checked_device(name: &str) -> io::Result<&str> {
    let is_name = (1..=LONGEST_DEVICE).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_name {
        return Ok(name);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{name:?} is not the name of a network device, as in utun7"),
    ))
}

/// Our place in the packet filter. The main rules that come with the system
/// evaluate every anchor below `com.apple`, in the order of their names.
const ANCHOR: &str = "com.apple/100.ztna";

/// `IFNAMSIZ` with its final zero.
const LONGEST_DEVICE: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::Dns;

    #[test]
    fn the_guard_comes_first_and_the_resolver_last() {
        let steps = Step::all(&plan()).unwrap();

        let told: Vec<String> = steps.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "the rules of the packet filter in com.apple/100.ztna",
                "the route to 10.20.0.0/16 through utun7",
                "the route to fd00::/64 through utun7",
                "the name server settings in State:/Network/Service/ztna-0/DNS",
            ]
        );
        let parts: Vec<Part> = steps.iter().map(Step::part).collect();
        assert_eq!(
            parts,
            [Part::Guard, Part::Routes, Part::Routes, Part::Resolver]
        );
    }

    #[test]
    fn a_device_whose_name_is_more_than_a_name_is_refused() {
        for device in ["", "utun7 to any\npass", "utun7{", "utun78901234567890"] {
            let mut plan = plan();
            plan.device = device.to_owned();
            assert!(Step::all(&plan).is_err(), "{device:?}");
        }
    }

    #[test]
    fn entries_survive_the_journal() {
        let reference = Entry::Reference {
            process: 77,
            token: Some(u64::MAX),
        };
        let entries = Step::all(&plan()).unwrap();
        let entries = entries.iter().map(Step::entry).chain([reference]);
        for entry in entries {
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
        }
    }

    fn plan() -> Plan {
        Plan {
            device: "utun7".to_owned(),
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

//! What a machine's networking is set to, to be compared byte by byte.

use std::fmt::Write as _;
use std::process::Command;

use crate::process::{run, succeed};
use crate::scene::installed_peers;

/// Routes, rules, addresses, links, firewall, resolver and the settings that steer packets, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine(Vec<(&'static str, String)>);

impl Machine {
    /// Looks at the laptop.
    #[must_use]
    pub fn now() -> Self {
        let ip = |arguments: &[&str]| succeed(Command::new("ip").args(arguments));
        let nft = installed_peers().join("bin/nft");
        Self(vec![
            (
                "IPv4 routes",
                ip(&["-4", "-d", "route", "show", "table", "all"]),
            ),
            (
                "IPv6 routes",
                ip(&["-6", "-d", "route", "show", "table", "all"]),
            ),
            ("IPv4 rules", ip(&["-4", "-d", "rule"])),
            ("IPv6 rules", ip(&["-6", "-d", "rule"])),
            ("addresses", ip(&["-d", "address"])),
            (
                "firewall",
                succeed(Command::new(nft).args(["list", "ruleset"])),
            ),
            ("resolver", resolver()),
            (
                "changed files of /etc",
                succeed(Command::new("find").args(["/run/etc/upper", "-printf", "%P %y\\n"])),
            ),
            ("settings", settings()),
        ])
    }

    /// Returns one part, by its name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn part(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(part, _)| *part == name);
        found.map_or_else(|| panic!("no part {name}"), |(_, text)| text)
    }

    /// Returns what is different in `other`, line by line; nothing if it is the same, byte by byte.
    #[must_use]
    pub fn difference(&self, other: &Self) -> String {
        let mut text = String::new();
        for ((part, own), (_, others)) in self.0.iter().zip(&other.0) {
            if own == others {
                continue;
            }
            let _ = writeln!(text, "{part}:");
            let missing = own
                .lines()
                .filter(|line| !others.lines().any(|other| other == *line));
            let new = others
                .lines()
                .filter(|line| !own.lines().any(|other| other == *line));
            missing.for_each(|line| {
                let _ = writeln!(text, "  - {line}");
            });
            new.for_each(|line| {
                let _ = writeln!(text, "  + {line}");
            });
            if own.lines().count() == others.lines().count() {
                let _ = writeln!(text, "  (or in another order, or other white space)");
            }
        }
        text
    }

    /// Checks that the laptop is as it was.
    ///
    /// # Panics
    ///
    /// With what is different.
    #[track_caller]
    pub fn assert_unchanged(&self, when: &str) {
        let difference = self.difference(&Self::now());
        assert!(
            difference.is_empty(),
            "{when}, the machine is not as it was:\n{difference}"
        );
    }
}

fn resolver() -> String {
    let script =
        "stat --format '%F, mode %a, owner %u:%g, %N' /etc/resolv.conf; cat /etc/resolv.conf";
    let output = run(Command::new("sh").args(["-c", script]));
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn settings() -> String {
    let script = "cd /proc/sys/net && for kind in all default lo up0 up1; do \
                  grep -H . ipv4/conf/$kind/rp_filter ipv4/conf/$kind/src_valid_mark ipv4/conf/$kind/arp_ignore \
                  ipv4/conf/$kind/arp_announce ipv4/conf/$kind/forwarding ipv4/conf/$kind/accept_local \
                  ipv4/conf/$kind/route_localnet ipv6/conf/$kind/disable_ipv6 ipv6/conf/$kind/forwarding; done";
    succeed(Command::new("sh").args(["-c", script]))
}

//! The guard in pf's language, and what `pfctl` tells (pf.conf(5), pfctl(8)).

use std::net::IpAddr;

use connector_core::network::Prefix;

use super::super::Plan;

/// The rules of our anchor, one a line, each with the same label.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::steering) struct Rules {
    pub(super) text: String,
    count: usize,
    pub(super) prefixes: Vec<Prefix>,
    label: String,
}

impl Rules {
    /// Returns rules that refuse protected traffic on every interface but the
    /// device and loopback, and keep the device's addresses from being probed
    /// from outside.
    ///
    /// The device need not exist: without it, everything is refused. What goes
    /// through it is left to everybody else's rules. The machine talks to the
    /// device's own addresses over loopback, which is let pass.
    pub(super) fn of(plan: &Plan) -> Self {
        let device = &plan.device;
        let mut lines = Vec::new();
        for prefix in &plan.prefixes {
            let to = target(*prefix);
            lines.push(format!("pass out quick on lo0 {to} no state"));
            lines.push(format!("block return out quick on ! {device} {to}"));
        }
        for address in &plan.device_addresses {
            let to = target(Prefix::host(*address));
            lines.push(format!("pass in quick on lo0 {to} no state"));
            lines.push(format!("block drop in quick on ! {device} {to}"));
        }
        // The filter writes rules back in words of its own; the label tells
        // whether they are ours and as they were written.
        let label = format!("ztna {:016x}", fnv1a(lines.join("\n").as_bytes()));
        let text = lines
            .iter()
            .map(|line| format!("{line} label \"{label}\"\n"))
            .collect();
        Self {
            text,
            count: lines.len(),
            prefixes: plan.prefixes.clone(),
            label,
        }
    }

    /// Returns whether `pfctl -a ANCHOR -s rules` shows these rules and no other.
    pub(super) fn are_shown_in(&self, shown: &str) -> bool {
        let label = format!("label \"{}\"", self.label);
        let mut lines = shown.lines().filter(|line| !line.trim().is_empty());
        lines.clone().count() == self.count && lines.all(|line| line.contains(&label))
    }
}

/// Returns whether `pfctl -s rules` shows that the main rules evaluate our anchor.
pub(super) fn evaluates_anchor(shown: &str) -> bool {
    shown
        .lines()
        .any(|line| line.trim_start().starts_with("anchor \"com.apple/*\""))
}

/// Returns whether `pfctl -s info` shows that the packet filter is switched on.
pub(super) fn is_enabled(shown: &str) -> bool {
    shown
        .lines()
        .any(|line| line.trim_start().starts_with("Status: Enabled"))
}

/// Returns the token that `pfctl -E` reports on its standard error.
pub(super) fn token(reported: &str) -> Option<u64> {
    reported.lines().find_map(|line| {
        let (name, token) = line.split_once(':')?;
        (name.trim() == "Token")
            .then(|| token.trim().parse().ok())
            .flatten()
    })
}

/// Returns the token of the reference that `process` holds according to
/// `pfctl -s References`; with a token, only that one.
pub(super) fn held_token(shown: &str, process: u32, token: Option<u64>) -> Option<u64> {
    shown.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let of = words.next()?.parse::<u32>().ok()?;
        // The name between process and token is the taker's.
        let is_ours = of == process && words.next()? == TAKER;
        let held = words.next()?.parse::<u64>().ok()?;
        (is_ours && token.is_none_or(|token| token == held)).then_some(held)
    })
}

fn target(prefix: Prefix) -> String {
    let family = match prefix.address() {
        IpAddr::V4(_) => "inet",
        IpAddr::V6(_) => "inet6",
    };
    format!("{family} from any to {prefix}")
}

/// The hash of FNV-1a, which tells texts apart and need not withstand malice.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The program in whose name references are taken.
const TAKER: &str = "pfctl";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::Dns;

    #[test]
    fn protected_traffic_passes_on_loopback_and_is_refused_beside_the_device() {
        let rules = Rules::of(&plan(&["10.20.0.0/16", "fd00::/64"]));

        let label = &rules.label;
        let lines: Vec<&str> = rules
            .text
            .lines()
            .map(|line| {
                line.strip_suffix(&format!(" label \"{label}\""))
                    .expect("every rule has the label")
            })
            .collect();
        assert_eq!(
            lines,
            [
                "pass out quick on lo0 inet from any to 10.20.0.0/16 no state",
                "block return out quick on ! utun7 inet from any to 10.20.0.0/16",
                "pass out quick on lo0 inet6 from any to fd00::/64 no state",
                "block return out quick on ! utun7 inet6 from any to fd00::/64",
                "pass in quick on lo0 inet from any to 100.64.0.1/32 no state",
                "block drop in quick on ! utun7 inet from any to 100.64.0.1/32",
            ]
        );
        assert_eq!(rules.count, 6);
        assert!(rules.label.len() < 64, "pf's longest label is 63 bytes");
    }

    #[test]
    fn rules_are_recognised_by_their_label_and_number() {
        let rules = Rules::of(&plan(&["10.20.0.0/16"]));
        let other = Rules::of(&plan(&["10.21.0.0/16"]));
        let shown = rules.text.replace("from any to", "from  any  to");
        let without_one: String = shown
            .lines()
            .skip(1)
            .map(|line| format!("{line}\n"))
            .collect();

        assert!(rules.are_shown_in(&shown));
        assert!(!rules.are_shown_in(&without_one));
        assert!(!rules.are_shown_in(&format!("pass quick all\n{shown}")));
        assert!(!other.are_shown_in(&shown));
        assert!(!rules.are_shown_in(""));
    }

    #[test]
    fn main_rules_that_do_not_evaluate_the_anchor_are_told() {
        let usual =
            "scrub-anchor \"com.apple/*\" all fragment reassemble\nanchor \"com.apple/*\" all\n";

        assert!(evaluates_anchor(usual));
        assert!(!evaluates_anchor("scrub-anchor \"com.apple/*\" all\n"));
        assert!(!evaluates_anchor("pass all\n"));
    }

    #[test]
    fn a_filter_that_is_switched_off_is_told() {
        assert!(is_enabled(
            "Status: Enabled for 0 days 00:00:05     Debug: Urgent\n"
        ));
        assert!(!is_enabled(
            "Status: Disabled                       Debug: Urgent\n"
        ));
        assert!(!is_enabled(""));
    }

    #[test]
    fn the_token_is_read_from_what_pfctl_reports() {
        let reported = "No ALTQ support in kernel\nALTQ related functions disabled\npf enabled\nToken : 17143522108734267391\n";

        assert_eq!(token(reported), Some(17_143_522_108_734_267_391));
        assert_eq!(token("pf already enabled\n"), None);
        assert_eq!(token("Token : soon\n"), None);
    }

    #[test]
    fn a_reference_is_ours_by_process_program_and_token() {
        let shown = "TOKENS:\nPID      Process Name                 TOKEN                    TIMESTAMP\n\
                     501      pfctl                        11                       0 days 00:00:01\n\
                     502      vpnd                         12                       2 days 04:55:43\n";

        assert_eq!(held_token(shown, 501, None), Some(11));
        assert_eq!(held_token(shown, 501, Some(11)), Some(11));
        assert_eq!(held_token(shown, 501, Some(12)), None);
        assert_eq!(held_token(shown, 502, None), None);
        assert_eq!(held_token("No pf token", 501, None), None);
    }

    fn plan(prefixes: &[&str]) -> Plan {
        Plan {
            device: "utun7".to_owned(),
            device_addresses: vec!["100.64.0.1".parse().unwrap()],
            prefixes: prefixes.iter().map(|text| text.parse().unwrap()).collect(),
            dns: Dns::default(),
        }
    }
}

//! The guard in the packet filter: what it says to `nft(8)`, as text.
//!
//! It does not rely on the routes: whatever they say, packets to protected
//! addresses and questions for protected names leave through the tunnel's device
//! or not at all. It belongs to no process, so that it outlives this one.

use std::fmt::Write;
use std::net::IpAddr;

use connector_core::network::Prefix;

use crate::steering::{MARK, Plan};

mod dns;

/// Returns the transaction that puts the guard for `plan` in the place of
/// whatever guard there is.
pub(super) fn establish(plan: &Plan) -> String {
    let mut script = clear_table(TABLE);
    let device = &plan.device;
    // Writing to a string cannot fail.
    let _ = write!(
        script,
        r#"
table inet {TABLE} {{
    counter leaks {{
    }}
    counter questions {{
    }}
    counter strays {{
    }}
{sets}
    chain output {{
        type filter hook output priority filter; policy accept
        jump leaving
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept
        jump leaving
    }}
    chain input {{
        type filter hook input priority filter; policy accept
        iifname {{ "lo", "{device}" }} accept
        ip daddr @own4 counter name strays drop
        ip6 daddr @own6 counter name strays drop
    }}
    chain leaving {{
        meta mark {MARK:#x} accept
        oifname {{ "lo", "{device}" }} accept
        ip daddr @protected4 counter name leaks goto refuse
        ip6 daddr @protected6 counter name leaks goto refuse
        meta l4proto {{ tcp, udp }} th dport {{ {PORTS} }} jump asking
    }}
    chain asking {{
        ip frag-off & {MORE_FRAGMENTS:#x} != 0 counter name questions goto refuse
        exthdr frag exists counter name questions goto refuse
        jump questions_out
    }}
{questions}    chain refuse {{
        meta l4proto tcp reject with tcp reset
        reject with icmpx admin-prohibited
    }}
}}
table arp {TABLE} {{
{own}    chain input {{
        type filter hook input priority filter; policy accept
        iifname != "{device}" arp daddr ip @own4 drop
    }}
}}
"#,
        sets = sets(plan),
        questions = dns::chains(&plan.dns.suffixes),
        own = own4(plan),
    );
    script
}

fn sets(plan: &Plan) -> String {
    let (prefixes4, prefixes6) = plan
        .prefixes
        .iter()
        .partition::<Vec<Prefix>, _>(|prefix| is_v4(prefix.address()));
    let own6 = plan.device_addresses.iter().filter(|own| !is_v4(**own));
    [
        set("protected4", "ipv4_addr", true, prefixes4.iter()),
        set("protected6", "ipv6_addr", true, prefixes6.iter()),
        own4(plan),
        set("own6", "ipv6_addr", false, own6),
    ]
    .concat()
}

fn own4(plan: &Plan) -> String {
    let own = plan.device_addresses.iter().filter(|own| is_v4(**own));
    set("own4", "ipv4_addr", false, own)
}

fn set(
    name: &str,
    kind: &str,
    has_ranges: bool,
    elements: impl Iterator<Item = impl ToString>,
) -> String {
    let flags = if has_ranges {
        "        flags interval\n"
    } else {
        ""
    };
    let elements: Vec<String> = elements.map(|element| element.to_string()).collect();
    let elements = if elements.is_empty() {
        String::new()
    } else {
        format!("        elements = {{ {} }}\n", elements.join(", "))
    };
    format!("    set {name} {{\n        type {kind}\n{flags}{elements}    }}\n")
}

/// Returns the same guard under another name. While a table is replaced, also
/// within one transaction, the kernel lets packets pass for a moment: this one
/// stands there meanwhile.
pub(super) fn stand_in(script: &str) -> String {
    TABLES
        .iter()
        .fold(script.to_owned(), |script, (family, _)| {
            script.replace(
                &format!("table {family} {TABLE}"),
                &format!("table {family} {STAND_IN}"),
            )
        })
}

/// Returns the transaction that removes the stand-in, which need not be there.
pub(super) fn clear_stand_in() -> String {
    clear_table(STAND_IN)
}

/// Returns the transaction that removes the guard, which need not be there.
pub(super) fn clear() -> String {
    clear_table(TABLE) + &clear_table(STAND_IN)
}

fn clear_table(name: &str) -> String {
    TABLES
        .iter()
        .map(|(family, _)| format!("table {family} {name} {{\n}}\ndelete table {family} {name}\n"))
        .collect()
}

const fn is_v4(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(_))
}

/// Returns `prefixes` in order, without those that others among them cover.
pub(super) fn outermost(prefixes: &[Prefix]) -> Vec<Prefix> {
    let mut by_size = prefixes.to_vec();
    by_size.sort_by_key(|prefix| (prefix.length(), prefix.address()));
    let mut outermost: Vec<Prefix> = Vec::new();
    for prefix in by_size {
        if !outermost
            .iter()
            .any(|other| other.contains(prefix.address()))
        {
            outermost.push(prefix);
        }
    }
    outermost.sort();
    outermost
}

/// The name of our tables.
pub(super) const TABLE: &str = "ztna";

/// Stands in for it while it is replaced.
pub(super) const STAND_IN: &str = "ztna_next";

/// Their families, as `nft` names them and as `linux/netfilter.h` numbers them.
pub(super) const TABLES: [(&str, u8); 2] = [("inet", 1), ("arp", 3)];

/// The flag of a fragment that others follow (RFC 791 §3.1). A question in fragments cannot be looked
/// into, and nobody needs one; of the later fragments nothing can be made without the first.
const MORE_FRAGMENTS: u16 = 0x2000;

/// Where names are asked for in clear: DNS, multicast DNS and LLMNR.
const PORTS: &str = "53, 5353, 5355";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_outermost_prefixes_count() {
        let prefixes = [
            "10.1.0.0/16",
            "10.0.0.0/8",
            "fd00::/8",
            "10.0.0.0/8",
            "11.0.0.1",
        ]
        .map(|text| text.parse().unwrap());

        let outermost: Vec<String> = outermost(&prefixes)
            .iter()
            .map(ToString::to_string)
            .collect();

        assert_eq!(outermost, ["10.0.0.0/8", "11.0.0.1/32", "fd00::/8"]);
    }
}

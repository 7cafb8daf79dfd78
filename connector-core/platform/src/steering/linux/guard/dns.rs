//! Finds questions for protected names in packets, with nothing but comparisons
//! of bytes at fixed places: that is all the packet filter has.
//!
//! In a question a name ends in its zone's labels and a zero byte (RFC 1035 §4.1.2):
//! `corp.example` is `04 "corp" 07 "example" 00`, and that begins wherever the
//! labels before it end. So at every place at which a zone can begin, a window of
//! up to 16 bytes is looked up among all zones: as many as `nft` compares at once.
//! A zone that does not fit the window is taken for one if its end is found in
//! the packet too.
//!
//! The number of rules does not depend on the number of zones.

use std::collections::BTreeSet;
use std::fmt::Write;

use connector_core::name::DomainName;

/// Returns the chain `questions_out` and what it needs.
pub(super) fn chains(suffixes: &[DomainName]) -> String {
    let zones: BTreeSet<Vec<u8>> = outermost(suffixes).into_iter().map(encode).collect();
    let Some(shortest) = zones.iter().map(Vec::len).min() else {
        return "    chain questions_out {\n    }\n".to_owned();
    };
    let window = WINDOW.min(shortest + TYPE_AND_CLASS);
    let beginnings: BTreeSet<String> = zones.iter().map(|zone| verdict(zone, window)).collect();
    let long = || zones.iter().filter(|zone| zone.len() > window);

    let mut text = format!(
        "    map beginnings {{\n        typeof @th,{},{} : verdict\n        flags interval\n        elements = {{ {} }}\n    }}\n",
        FIRST * 8,
        window * 8,
        Vec::from_iter(beginnings).join(", ")
    );
    if let Some(end) = long()
        .map(Vec::len)
        .min()
        .map(|shortest| shortest.min(WINDOW))
    {
        let ends: BTreeSet<String> = long().map(|zone| hex(&zone[zone.len() - end..])).collect();
        let elements = Vec::from_iter(ends).join(", ");
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "    set ends {{\n        typeof @th,{},{}\n        elements = {{ {elements} }}\n    }}\n",
            FIRST * 8,
            end * 8
        );
        sweep(&mut text, "questions_begun", end, "@ends goto question");
    }
    text.push_str("    chain question {\n        counter name questions goto refuse\n    }\n");
    sweep(&mut text, "questions_out", window, "vmap @beginnings");
    text
}

/// Writes a chain that looks at `length` bytes at every place.
fn sweep(text: &mut String, chain: &str, length: usize, statement: &str) {
    let _ = writeln!(text, "    chain {chain} {{");
    for place in FIRST..=END - length {
        let bits = length * 8;
        let fold = hex(&vec![FOLD; length]);
        let _ = writeln!(
            text,
            "        @th,{},{bits} & {fold} {statement}",
            place * 8
        );
    }
    text.push_str("    }\n");
}

/// Returns what a window that begins with a zone is taken for. What follows the
/// zone in the window may be anything.
fn verdict(zone: &[u8], window: usize) -> String {
    if zone.len() >= window {
        let next = if zone.len() == window {
            "question"
        } else {
            "questions_begun"
        };
        return format!("{} : goto {next}", hex(&zone[..window]));
    }
    let filled = |byte| {
        let mut filled = zone.to_vec();
        filled.resize(window, byte);
        hex(&filled)
    };
    format!("{}-{} : goto question", filled(0), filled(u8::MAX))
}

/// Returns the zones that lie in no other one.
fn outermost(suffixes: &[DomainName]) -> BTreeSet<&DomainName> {
    suffixes
        .iter()
        .filter(|name| {
            !suffixes
                .iter()
                .any(|other| other != *name && name.is_within(other))
        })
        .collect()
}

/// Returns a name as in a message, folded as a packet's bytes are.
fn encode(name: &DomainName) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.as_str().len() + 2);
    for label in name.as_str().split('.') {
        // A label has at most 63 bytes.
        bytes.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.iter().map(|byte| byte & FOLD).collect()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::from("0x");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Clears the bit in which small and capital letters differ.
const FOLD: u8 = 0xdf;

/// As many bytes as `nft` compares at once.
const WINDOW: usize = 16;

/// What follows a name in a question at least, so that a window that is longer
/// than a zone by this much still lies in the packet.
const TYPE_AND_CLASS: usize = 4;

/// Where the first name of a message can begin, in bytes from the transport
/// header: after 8 bytes of UDP header and 12 of DNS header.
const FIRST: usize = 20;

/// Where it ends at the latest: after 60 bytes of TCP header, 2 of length, 12 of
/// DNS header and 255 of name.
const END: usize = 329;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_looked_for_at_every_place() {
        let text = chains(&[name("corp.example")]);

        let zone = "04434f5250074558414d504c4500";
        assert!(text.contains(&format!("0x{zone}0000-0x{zone}ffff : goto question")));
        assert_eq!(
            text.matches("vmap @beginnings").count(),
            END - 16 - FIRST + 1
        );
        assert!(text.contains("@th,160,128 & "));
        assert!(text.contains("@th,2504,128 & "));
        assert!(!text.contains("@ends"));
    }

    #[test]
    fn the_window_of_a_short_zone_lies_in_the_packet() {
        let text = chains(&[name("a.test")]);

        assert!(text.contains("0x0141045445535400"));
        assert!(text.contains("typeof @th,160,96 : verdict"));
    }

    #[test]
    fn a_long_zone_is_known_by_its_beginning_and_its_end() {
        let text = chains(&[name("git.bigcompany.com"), name("corp.example")]);

        assert!(text.contains("0x034749540a424947434f4d50414e5903 : goto questions_begun"));
        assert!(text.contains("elements = { 0x0a424947434f4d50414e5903434f4d00 }"));
    }

    #[test]
    fn more_zones_do_not_make_more_rules() {
        let many: Vec<DomainName> = (0..500)
            .map(|number| name(&format!("host{number}.corp{number}.example")))
            .collect();

        let rules = |text: &str| text.matches(" & 0x").count();
        assert_eq!(rules(&chains(&many)), rules(&chains(&many[..1])));
    }

    #[test]
    fn a_zone_within_another_is_not_looked_for_twice() {
        let both = chains(&[name("a.corp.example"), name("corp.example")]);

        assert_eq!(both, chains(&[name("corp.example")]));
    }

    #[test]
    fn without_zones_no_packet_is_looked_into() {
        assert!(!chains(&[]).contains("@th"));
    }

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }
}

//! Finds questions for protected names in packets, with nothing but comparisons
//! of bytes at fixed places: that is all the packet filter has.
//!
//! In a question a name ends in its zone's labels and a zero byte (RFC 1035 §4.1.2):
//! `corp.example` is `04 "corp" 07 "example" 00`, and that begins wherever the
//! labels before it end. So the zone is looked for at every place at which
//! it can be. At most 16 bytes are compared at once; a longer zone is
//! compared in pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use connector_core::name::DomainName;

/// Returns the chain `questions_out` and what it needs.
///
/// It first looks for the last few bytes of any zone, and only where those are
/// found does it look for whole zones.
pub(super) fn chains(suffixes: &[DomainName]) -> String {
    let zones: BTreeSet<Vec<u8>> = outermost(suffixes).into_iter().map(encode).collect();
    let Some(shortest) = zones.iter().map(Vec::len).min() else {
        return "    chain questions_out {\n    }\n".to_owned();
    };
    let tail = shortest.min(PIECE);
    let tails: BTreeSet<&[u8]> = zones
        .iter()
        .map(|zone| &zone[zone.len() - tail..])
        .collect();
    let tails: Vec<&[u8]> = tails.into_iter().collect();
    let groups = groups(&zones);

    let mut text = String::new();
    set(&mut text, "tails", &tails);
    for (number, group) in groups.iter().enumerate() {
        set(&mut text, &format!("zones{number}"), &group.heads);
    }
    text.push_str("    chain questions_out {\n");
    for place in FIRST..=END - tail {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "        {} @tails goto questions_in_zones",
            bytes_at(place, tail)
        );
    }
    text.push_str("    }\n    chain questions_in_zones {\n");
    for (number, group) in groups.iter().enumerate() {
        for place in FIRST..=END.saturating_sub(group.length) {
            let head = bytes_at(place, group.head_length());
            let _ = write!(text, "        {head} @zones{number}");
            let mut at = place + group.head_length();
            for piece in group.rest.chunks(PIECE) {
                let _ = write!(text, " {} == {}", bytes_at(at, piece.len()), hex(piece));
                at += piece.len();
            }
            text.push_str(" counter name questions goto refuse\n");
        }
    }
    text.push_str("    }\n");
    text
}

/// Zones of one length that differ in their first piece alone.
struct Group<'a> {
    length: usize,
    rest: &'a [u8],
    heads: Vec<&'a [u8]>,
}

impl Group<'_> {
    fn head_length(&self) -> usize {
        self.length - self.rest.len()
    }
}

fn groups(zones: &BTreeSet<Vec<u8>>) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<(usize, &[u8]), Vec<&[u8]>> = BTreeMap::new();
    for zone in zones {
        let (head, rest) = zone.split_at(zone.len().min(PIECE));
        groups.entry((zone.len(), rest)).or_default().push(head);
    }
    groups
        .into_iter()
        .map(|((length, rest), heads)| Group {
            length,
            rest,
            heads,
        })
        .collect()
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

/// Returns a name as in a message, folded as [`bytes_at`] folds a packet's bytes.
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

/// Returns the expression for a packet's bytes without their case, counted from
/// its transport header.
fn bytes_at(place: usize, length: usize) -> String {
    format!(
        "@th,{},{} & {}",
        place * 8,
        length * 8,
        hex(&vec![FOLD; length])
    )
}

fn set(text: &mut String, name: &str, elements: &[&[u8]]) {
    let bits = elements.first().map_or(8, |element| element.len() * 8);
    let all: Vec<String> = elements.iter().map(|element| hex(element)).collect();
    let _ = writeln!(
        text,
        "    set {name} {{\n        typeof @th,{},{bits}\n        elements = {{ {} }}\n    }}",
        FIRST * 8,
        all.join(", ")
    );
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
const PIECE: usize = 16;

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

        assert!(text.contains("0x04434f5250074558414d504c4500"));
        let (_, whole) = text.split_once("chain questions_in_zones").unwrap();
        assert_eq!(whole.matches("@zones0").count(), END - 14 - FIRST + 1);
        assert!(whole.contains("@th,160,112 & "));
        assert!(whole.contains("@th,2520,112 & "));
    }

    #[test]
    fn long_zones_are_compared_to_their_last_byte() {
        let text = chains(&[name("git.bigcompany.com"), name("www.bigcompany.com")]);

        let line = text.lines().find(|line| line.contains("@zones0 ")).unwrap();
        assert!(line.contains("@th,160,128"), "{line}");
        assert!(
            line.contains("@th,288,32 & 0xdfdfdfdf == 0x434f4d00"),
            "{line}"
        );
        assert!(!text.contains("zones1"));
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

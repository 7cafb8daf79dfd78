use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use connector_core::access::Concealed;
use connector_core::catalogue::{Catalogue, Ports, Resource};

use super::*;
use crate::Seed;
use crate::dns::Query;
use crate::synthetic::SyntheticRange;

#[test]
fn names_of_resources_have_synthetic_addresses_of_both_families() {
    let mut dns = split_dns(true);

    let v4 = addresses(&ask(&mut dns, "wiki.corp.test", A));
    let v6 = addresses(&ask(&mut dns, "WIKI.corp.TEST", AAAA));

    let ours = dns
        .names_mut()
        .addresses_of(&name("wiki.corp.test"))
        .unwrap();
    assert_eq!(v4, [IpAddr::V4(ours.v4)]);
    assert_eq!(v6, [IpAddr::V6(ours.v6)]);
}

#[test]
fn wildcards_cover_every_depth_and_not_their_anchor() {
    let mut dns = split_dns(true);

    for inside in [
        "a.dev.corp.test",
        "b.a.dev.corp.test",
        "_tcp.a.dev.corp.test",
    ] {
        assert_eq!(outcome(&mut dns, inside, A), Seen::Address, "{inside}");
    }
    assert_eq!(outcome(&mut dns, "dev.corp.test", A), Seen::NoData);
    assert_eq!(outcome(&mut dns, "xdev.corp.test", A), Seen::NoSuchName);
}

#[test]
fn names_that_are_not_to_be_learned_of_do_not_exist_and_are_not_asked_about_outside() {
    let mut dns = split_dns(true);
    let ids = ["app", "dev", "printer"];
    dns.set_protection(&Protection {
        concealed: Arc::new(ids.map(Into::into).into_iter().collect()),
        zones: vec![],
        ..protection(true)
    });

    for hidden in ["app.elsewhere.test", "x.dev.corp.test", "printer.lab.test"] {
        for kind in [A, AAAA, 16] {
            let seen = outcome(&mut dns, hidden, kind);
            assert_eq!(seen, Seen::NoSuchName, "{hidden}");
        }
    }
    assert_eq!(outcome(&mut dns, "wiki.corp.test", A), Seen::Address);
    // What a wildcard stands below may be a name of the outside world.
    assert_eq!(outcome(&mut dns, "dev.corp.test", A), Seen::Forwarded);
    assert_eq!(outcome(&mut dns, "elsewhere.test", A), Seen::Forwarded);
}

#[test]
fn kinds_that_a_resource_does_not_have_are_told_so() {
    let mut dns = split_dns(true);

    for kind in [2, 5, 6, 15, 16, 33, 43, 48, 64, 65, 12, 257, 65_280] {
        assert_eq!(
            outcome(&mut dns, "wiki.corp.test", kind),
            Seen::NoData,
            "{kind}"
        );
    }
}

#[test]
fn the_family_that_the_session_lacks_is_not_offered() {
    let mut dns = split_dns(false);

    assert_eq!(outcome(&mut dns, "wiki.corp.test", A), Seen::Address);
    assert_eq!(outcome(&mut dns, "wiki.corp.test", AAAA), Seen::NoData);
}

#[test]
fn what_is_known_behind_the_gateway_shapes_the_answer_while_it_holds() {
    let mut dns = split_dns(true);
    let wiki = name("wiki.corp.test");
    let cases = [
        (addresses_known(true, false), Seen::Address, Seen::NoData),
        (addresses_known(false, true), Seen::NoData, Seen::Address),
        (addresses_known(false, false), Seen::NoData, Seen::NoData),
        (Known::NoSuchName, Seen::NoSuchName, Seen::NoSuchName),
    ];
    for (known, a, aaaa) in cases {
        dns.learn(wiki.clone(), known, at(10), at(0));

        assert_eq!(outcome(&mut dns, "wiki.corp.test", A), a, "{known:?}");
        assert_eq!(outcome(&mut dns, "wiki.corp.test", AAAA), aaaa, "{known:?}");
    }
    dns.learn(wiki, Known::NoSuchName, at(0), at(0));
    assert_eq!(outcome(&mut dns, "wiki.corp.test", A), Seen::Address);
}

#[test]
fn a_question_for_anything_gets_one_address() {
    let mut dns = split_dns(true);

    assert_eq!(outcome(&mut dns, "wiki.corp.test", 255), Seen::Address);
    dns.learn(
        name("wiki.corp.test"),
        addresses_known(false, true),
        at(10),
        at(0),
    );
    assert_eq!(outcome(&mut dns, "wiki.corp.test", 255), Seen::Address);
    dns.learn(
        name("wiki.corp.test"),
        addresses_known(false, false),
        at(10),
        at(0),
    );
    assert_eq!(outcome(&mut dns, "wiki.corp.test", 255), Seen::NoData);
}

#[test]
fn no_name_of_a_protected_zone_is_passed_on_whatever_is_asked_about_it() {
    let mut dns = split_dns(true);
    let names: [&[u8]; 13] = [
        b"\x04corp\x04test\0",
        b"\x04CORP\x04TEST\0",
        b"\x04nope\x04corp\x04test\0",
        b"\x04wiki\x04corp\x04test\x04corp\x04test\0",
        b"\x05_http\x04_tcp\x04corp\x04test\0",
        b"\x02lb\x07_dns-sd\x04_udp\x04corp\x04test\0",
        b"\x01x\x04wiki\x04corp\x04test\0",
        b"\x01*\x04corp\x04test\0",
        b"\x03a b\x04corp\x04test\0",
        b"\x02\xff\xfe\x04corp\x04test\0",
        b"\x09wiki.corp\x04test\0",
        b"\x09corp.test\0",
        b"\x01-\x04corp\x04test\0",
    ];
    let mut seed = Seed::new(0x5eed);
    for name in names {
        for _ in 0..200 {
            let kind = u16::from_le_bytes([
                seed.draw().to_le_bytes()[0],
                seed.draw().to_le_bytes()[0] % 2,
            ]);
            let class = [1, 1, 3, 255][usize::try_from(seed.draw() % 4).unwrap()];
            let transport = if seed.draw().is_multiple_of(2) {
                Transport::Tcp
            } else {
                Transport::Udp
            };

            let answer = dns.answer(&message(name, kind, class), transport, at(1));

            let Answer::Reply(reply) = answer else {
                panic!("{} was passed on for {kind}, {class}", name.escape_ascii());
            };
            let refused = class != 1 || kind == 251 || kind == 252;
            assert_eq!(reply[3] & 0x0f == 5, refused, "{kind}, {class}: {reply:?}");
        }
    }
}

#[test]
fn what_lies_above_names_exists_and_the_rest_of_a_zone_does_not() {
    let mut dns = split_dns(true);

    for parent in ["corp.test", "dev.corp.test", "team.corp.test", "lab.test"] {
        assert_eq!(outcome(&mut dns, parent, 2), Seen::NoData, "{parent}");
    }
    for nothing in [
        "nope.corp.test",
        "a.lab.test",
        "x.printer.lab.test",
        "wiki.corp.test.corp.test",
    ] {
        assert_eq!(outcome(&mut dns, nothing, A), Seen::NoSuchName, "{nothing}");
    }
}

#[test]
fn a_resource_outside_every_zone_is_protected_with_what_is_below_it() {
    let mut dns = split_dns(true);

    assert_eq!(outcome(&mut dns, "app.elsewhere.test", A), Seen::Address);
    assert_eq!(
        outcome(&mut dns, "x.app.elsewhere.test", A),
        Seen::NoSuchName
    );
    assert_eq!(outcome(&mut dns, "elsewhere.test", A), Seen::Forwarded);
}

#[test]
fn everything_else_goes_where_it_went_before() {
    let mut dns = split_dns(true);

    for outside in [
        "example.org",
        "test",
        "xcorp.test",
        "corp.test.example.org",
        "wiki",
        "printer.local",
    ] {
        for kind in [A, AAAA, 15, 65, 255, 252] {
            assert_eq!(
                outcome(&mut dns, outside, kind),
                Seen::Forwarded,
                "{outside}"
            );
        }
    }
    assert!(matches!(
        dns.answer(&message(b"\0", 2, 1), Transport::Udp, at(1)),
        Answer::Forward(_)
    ));
    assert!(matches!(
        dns.answer(
            &message(b"\x07version\x04bind\0", 16, 3),
            Transport::Udp,
            at(1)
        ),
        Answer::Forward(_)
    ));
}

#[test]
fn gateways_own_names_are_asked_about_outside_and_nothing_beside_them() {
    let mut dns = split_dns(true);

    assert_eq!(outcome(&mut dns, "gw1.dev.corp.test", A), Seen::Forwarded);
    assert_eq!(
        outcome(&mut dns, "GW1.dev.corp.test", AAAA),
        Seen::Forwarded
    );
    assert_eq!(outcome(&mut dns, "x.gw1.dev.corp.test", A), Seen::Address);
    assert_eq!(outcome(&mut dns, "gw2.corp.test", A), Seen::NoSuchName);
}

#[test]
fn synthetic_addresses_lead_back_to_their_names() {
    let mut dns = split_dns(true);
    let found = dns
        .names_mut()
        .addresses_of(&name("wiki.corp.test"))
        .unwrap();

    for address in [IpAddr::V4(found.v4), IpAddr::V6(found.v6)] {
        let reply = ask(&mut dns, &reverse_of(address), PTR_NUMBER);

        assert_eq!(reply[7], 1);
        assert!(
            reply.ends_with(b"\0\x10\x04wiki\x04corp\x04test\0"),
            "{}",
            reply.escape_ascii()
        );
        assert_eq!(outcome(&mut dns, &reverse_of(address), A), Seen::NoData);
    }
}

#[test]
fn reverse_names_of_what_is_ours_stay_inside() {
    let mut dns = split_dns(true);
    let range = *dns.names().range();
    let [a, b, ..] = range.device_v4().octets();
    let nobody = Ipv4Addr::new(a, b, 200, 200);

    for address in [
        nobody.into(),
        range.device_v4().into(),
        range.device_v6().into(),
    ] {
        let reverse = reverse_of(address);
        assert_eq!(
            outcome(&mut dns, &reverse, PTR_NUMBER),
            Seen::NoSuchName,
            "{reverse}"
        );
    }
    for below in [
        format!("lb._dns-sd._udp.0.0.{b}.{a}.in-addr.arpa"),
        "9.0.20.10.in-addr.arpa".to_owned(),
        "1.9.20.10.in-addr.arpa".to_owned(),
    ] {
        assert_eq!(
            outcome(&mut dns, &below, PTR_NUMBER),
            Seen::NoSuchName,
            "{below}"
        );
    }
    for parent in [
        format!("{b}.{a}.in-addr.arpa"),
        "20.10.in-addr.arpa".to_owned(),
    ] {
        assert_eq!(outcome(&mut dns, &parent, 2), Seen::NoData, "{parent}");
    }
    for outside in [
        "1.1.168.192.in-addr.arpa",
        "10.in-addr.arpa",
        "in-addr.arpa",
        "1.0.21.10.in-addr.arpa",
    ] {
        assert_eq!(
            outcome(&mut dns, outside, PTR_NUMBER),
            Seen::Forwarded,
            "{outside}"
        );
    }
}

#[test]
fn browsers_and_systems_are_kept_from_resolvers_of_their_own() {
    let mut dns = split_dns(true);

    assert_eq!(
        outcome(&mut dns, "use-application-dns.net", A),
        Seen::NoSuchName
    );
    assert_eq!(outcome(&mut dns, "_dns.resolver.arpa", 64), Seen::NoData);
}

#[test]
fn answers_from_outside_must_not_lead_to_synthetic_addresses() {
    let mut dns = split_dns(true);
    let found = dns
        .names_mut()
        .addresses_of(&name("wiki.corp.test"))
        .unwrap();
    let query = Query {
        id: 7,
        name: name("evil.example.org"),
        kind: RecordKind::A,
    };

    let rebound = query.encode_answer(Some(&["192.0.2.1".parse().unwrap(), found.v4.into()]));
    let honest = query.encode_answer(Some(&["192.0.2.1".parse().unwrap()]));

    assert!(!dns.is_harmless(&rebound));
    assert!(dns.is_harmless(&honest));
    assert!(!dns.is_harmless(&honest[..honest.len() - 1]));
}

#[test]
fn a_new_configuration_counts_at_once_and_keeps_addresses() {
    let mut dns = split_dns(true);
    let before = addresses(&ask(&mut dns, "wiki.corp.test", A));
    dns.learn(name("wiki.corp.test"), Known::NoSuchName, at(100), at(0));

    dns.set_protection(&protection(false));
    let after = addresses(&ask(&mut dns, "wiki.corp.test", A));
    dns.set_protection(&Protection::default());

    assert_eq!(before, after);
    assert_eq!(outcome(&mut dns, "wiki.corp.test", A), Seen::Forwarded);
}

#[test]
fn what_is_known_is_bounded_and_the_first_to_lapse_goes_first() {
    let mut dns = split_dns(true);
    for number in 0..=MAX_KNOWN {
        let until = at(100 + u64::try_from(number).unwrap());
        dns.learn(
            name(&format!("n{number}.dev.corp.test")),
            Known::NoSuchName,
            until,
            at(0),
        );
    }

    assert_eq!(dns.known.len(), MAX_KNOWN);
    assert_eq!(outcome(&mut dns, "n0.dev.corp.test", A), Seen::Address);
    assert_eq!(outcome(&mut dns, "n1.dev.corp.test", A), Seen::NoSuchName);
}

#[test]
fn no_message_panics_and_every_reply_is_short() {
    let mut dns = split_dns(true);
    let mut seed = Seed::new(0x5eed);
    let template = message(b"\x04wiki\x04corp\x04test\0", 1, 1);
    for _ in 0..20_000 {
        let mut message = template.clone();
        for _ in 0..=seed.draw() % 4 {
            let at = usize::try_from(seed.draw()).unwrap() % message.len();
            message[at] = seed.draw().to_le_bytes()[0];
        }
        match dns.answer(&message, Transport::Udp, at(1)) {
            Answer::Reply(reply) => {
                assert!((12..=512).contains(&reply.len()));
                assert_eq!(reply[..2], message[..2]);
                assert_eq!(reply[2] & 0x80, 0x80);
            }
            Answer::Forward(request) => {
                let text = request.name().text();
                assert!(text != b"corp.test" && !text.ends_with(b".corp.test"));
            }
            Answer::Ignore => assert_eq!(message[2] & 0x80, 0x80),
        }
    }
}

/// What a program sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Address,
    Forwarded,
    NoData,
    NoSuchName,
}

fn outcome(dns: &mut SplitDns, name: &str, kind: u16) -> Seen {
    match dns.answer(&message(&wire(name), kind, 1), Transport::Udp, at(1)) {
        Answer::Forward(_) => Seen::Forwarded,
        Answer::Ignore => panic!("{name} is a question"),
        Answer::Reply(reply) => match (reply[3] & 0x0f, reply[7], reply[9]) {
            (0, 1, 0) => Seen::Address,
            (0, 0, 1) => Seen::NoData,
            (3, 0, 1) => Seen::NoSuchName,
            other => panic!("{name}: {other:?}"),
        },
    }
}

fn ask(dns: &mut SplitDns, name: &str, kind: u16) -> Vec<u8> {
    match dns.answer(&message(&wire(name), kind, 1), Transport::Udp, at(1)) {
        Answer::Reply(reply) => reply,
        Answer::Forward(_) | Answer::Ignore => panic!("{name} is ours"),
    }
}

fn addresses(reply: &[u8]) -> Vec<IpAddr> {
    dns::addresses_in(reply).unwrap()
}

fn addresses_known(v4: bool, v6: bool) -> Known {
    Known::Addresses { v4, v6 }
}

fn split_dns(v6: bool) -> SplitDns {
    let range = SyntheticRange::choose(&["10.20.0.0/16".parse().unwrap()], 1).unwrap();
    let mut dns = SplitDns::new(SyntheticNames::new(range, 7));
    dns.set_protection(&protection(v6));
    dns
}

fn protection(v6: bool) -> Protection {
    Protection {
        catalogue: Arc::new(Catalogue::new(
            vec![
                resource("wiki", &["wiki.corp.test", "a.team.corp.test"]),
                resource("dev", &["*.dev.corp.test"]),
                resource("printer", &["printer.lab.test"]),
                resource("app", &["app.elsewhere.test"]),
            ],
            vec![],
        )),
        concealed: Concealed::default(),
        zones: vec![name("corp.test"), name("lab.test")],
        outside: BTreeSet::from([name("gw1.dev.corp.test")]),
        v6,
    }
}

fn resource(id: &str, names: &[&str]) -> Resource {
    Resource {
        id: id.into(),
        title: id.into(),
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        prefixes: vec!["10.20.0.0/16".parse().unwrap()],
        ports: Ports::default(),
        site: "hq".into(),
        lease: Duration::from_secs(300),
    }
}

fn reverse_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let digits = format!("{:032x}", Ipv6Addr::to_bits(v6));
            let labels: Vec<String> = digits.chars().rev().map(String::from).collect();
            format!("{}.ip6.arpa", labels.join("."))
        }
    }
}

fn message(name: &[u8], kind: u16, class: u16) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(name);
    message.extend(kind.to_be_bytes());
    message.extend(class.to_be_bytes());
    message
}

fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn name(text: &str) -> DomainName {
    text.parse().unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment::from_boot(Duration::from_secs(seconds))
}

const A: u16 = 1;
const AAAA: u16 = 28;
const PTR_NUMBER: u16 = 12;

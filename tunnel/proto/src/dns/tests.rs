use connector_core::network::Prefix;

use super::*;
use crate::Seed;

#[test]
fn an_answer_carries_the_addresses_of_the_kind_asked_for() {
    let query = query(RecordKind::A);
    let addresses: [IpAddr; 2] = ["10.9.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];

    let asked = Query::decode(&query.encode()).unwrap();
    let answer = query.decode_answer(&asked.encode_answer(Some(&addresses)));

    assert_eq!(asked, query);
    assert_eq!(answer, Some(Answer::Addresses(vec![addresses[0]])));
}

#[test]
fn a_name_that_does_not_exist_is_told_from_one_without_addresses_of_the_kind() {
    let query = query(RecordKind::Aaaa);

    let none = query.decode_answer(&query.encode_answer(None));
    let other = query.decode_answer(&query.encode_answer(Some(&["10.9.0.7".parse().unwrap()])));

    assert_eq!(none, Some(Answer::NoSuchName));
    assert_eq!(other, Some(Answer::Addresses(vec![])));
}

#[test]
fn an_answer_to_another_question_is_no_answer() {
    let query = query(RecordKind::A);
    let others = [
        Query {
            id: 8,
            ..query.clone()
        },
        Query {
            name: "other.corp.test".parse().unwrap(),
            ..query.clone()
        },
        Query {
            kind: RecordKind::Aaaa,
            ..query.clone()
        },
    ];

    for other in others {
        assert_eq!(query.decode_answer(&other.encode_answer(None)), None);
    }
    assert_eq!(query.decode_answer(&query.encode()), None);
}

#[test]
fn broken_messages_end_in_nothing() {
    let query = query(RecordKind::A);
    let whole = query.encode_answer(Some(&["10.9.0.7".parse().unwrap()]));
    for length in 0..whole.len() {
        assert_eq!(query.decode_answer(&whole[..length]), None, "{length}");
    }
    // A pointer at itself, where the answer's name is.
    let mut looping = whole.clone();
    let at = whole.len() - 16;
    looping[at..at + 2].copy_from_slice(&[0xc0, u8::try_from(at).unwrap()]);
    assert_eq!(query.decode_answer(&looping), None);
}

#[test]
fn no_single_changed_byte_panics() {
    let query = query(RecordKind::A);
    let whole = query.encode_answer(Some(&["10.9.0.7".parse().unwrap()]));
    for at in 0..whole.len() {
        for value in 0..=255 {
            let mut message = whole.clone();
            message[at] = value;
            let _ = query.decode_answer(&message);
            let _ = Query::decode(&message);
        }
    }
}

#[test]
fn addresses_of_an_alias_are_addresses_of_the_name_and_others_are_not() {
    let query = query(RecordKind::A);
    let records = [
        alias("www.corp.test", "web.corp.test", 30),
        address_record("web.corp.test", [10, 9, 0, 8], 60),
        alias("wiki.corp.test", "www.corp.test", 90),
        address_record("other.corp.test", [10, 9, 0, 9], 10),
    ];

    let response = query.decode_response(&response(&query, 0, &records));

    assert_eq!(
        response,
        Some(Response {
            answer: Answer::Addresses(vec![[10, 9, 0, 8].into()]),
            ttl: Duration::from_secs(30),
            is_truncated: false,
        })
    );
}

#[test]
fn aliases_in_a_circle_end() {
    let query = query(RecordKind::A);
    let records = [
        alias("wiki.corp.test", "www.corp.test", 30),
        alias("www.corp.test", "wiki.corp.test", 30),
    ];

    let answer = query.decode_answer(&response(&query, 0, &records));

    assert_eq!(answer, Some(Answer::Addresses(vec![])));
}

#[test]
fn a_truncated_answer_counts_as_far_as_it_goes() {
    let query = query(RecordKind::A);
    let mut message = response(
        &query,
        TRUNCATED,
        &[
            address_record("wiki.corp.test", [10, 9, 0, 7], 60),
            address_record("wiki.corp.test", [10, 9, 0, 8], 60),
        ],
    );
    message.truncate(message.len() - 3);

    let response = query.decode_response(&message).unwrap();

    assert!(response.is_truncated);
    assert_eq!(
        response.answer,
        Answer::Addresses(vec![[10, 9, 0, 7].into()])
    );
}

#[test]
fn an_answer_repeats_the_question_as_it_was_asked() {
    let message = question(b"\x04WiKi\x04cOrP\x04tEsT\0", 1, 1, Some((1400, 0)));
    let request = Request::parse(&message).unwrap();

    let reply = request.reply(&an_address(), Transport::Udp);

    assert_eq!(request.name().text(), b"wiki.corp.test");
    // Number, QR AA RD RA, one question, one answer, one additional record.
    assert_eq!(
        reply[..12],
        [0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 1]
    );
    assert_eq!(reply[12..32], message[12..32]);
    assert_eq!(
        reply[32..48],
        *b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x64\x40\x00\x07"
    );
    // OPT with our payload, version zero, no flags.
    assert_eq!(reply[48..], *b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
}

#[test]
fn who_sends_no_extension_gets_none() {
    let message = question(b"\x04wiki\0", 1, 1, None);

    let reply = Request::parse(&message)
        .unwrap()
        .reply(&Reply::Failed, Transport::Udp);

    assert_eq!(
        reply[..12],
        [0xab, 0xcd, 0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(reply.len(), message.len());
}

#[test]
fn flags_are_repeated_where_they_are_the_clients() {
    for (asked, answered) in [(0x0000, 0x8085), (0x0100, 0x8185), (0x0130, 0x8195)] {
        let mut message = question(b"\x04wiki\0", 1, 1, None);
        message[2..4].copy_from_slice(&u16::to_be_bytes(asked));

        let reply = Request::parse(&message)
            .unwrap()
            .reply(&Reply::Refused, Transport::Tcp);

        assert_eq!(reply[2..4], u16::to_be_bytes(answered), "{asked:#06x}");
    }
}

#[test]
fn nothing_is_told_with_the_zone_that_it_holds_for() {
    let message = question(b"\x04Wiki\x04corp\x04test\0", 28, 1, None);
    let request = Request::parse(&message).unwrap();
    let (zone, ttl) = (zone(), Duration::from_secs(5));

    let no_data = request.reply(
        &Reply::NoData {
            zone: zone.clone(),
            ttl,
        },
        Transport::Udp,
    );
    let no_name = request.reply(&Reply::NoSuchName { zone, ttl }, Transport::Udp);

    assert_eq!(no_data[2..12], [0x85, 0x80, 0, 1, 0, 0, 0, 1, 0, 0]);
    assert_eq!(no_name[2..4], [0x85, 0x83]);
    // The owner is where "corp" starts in the question; so is the server.
    let record = &no_data[message.len()..];
    assert_eq!(record[..12], *b"\xc0\x11\0\x06\0\x01\0\0\0\x05\0\x26");
    assert_eq!(record[12..30], *b"\xc0\x11\x06nobody\x07invalid\0");
    assert_eq!(record[record.len() - 4..], [0, 0, 0, 5]);
    assert_eq!(no_data[message.len()..], no_name[message.len()..]);
}

#[test]
fn messages_that_are_no_question_are_told_so_or_left_alone() {
    let good = question(b"\x04wiki\0", 1, 1, Some((1232, 0)));
    let told = |message: &[u8]| match Request::parse(message) {
        Err(BadRequest::Answered(reply)) => Some(u16::from_be_bytes([reply[2], reply[3]])),
        Err(BadRequest::Silent) => None,
        Ok(request) => panic!("{request:?}"),
    };
    let with = |at: usize, byte: u8| {
        let mut message = good.clone();
        message[at] = byte;
        message
    };
    let mut two_extensions = good.clone();
    two_extensions[11] = 2;
    two_extensions.extend_from_within(good.len() - 11..);
    let mut trailing = good.clone();
    trailing.push(0);

    assert_eq!(told(&[]), None);
    assert_eq!(told(&good[..11]), None);
    assert_eq!(told(&with(2, 0x81)), None, "an answer");
    assert_eq!(told(&with(2, 0x29)), Some(0xa984), "an update");
    assert_eq!(told(&with(5, 0)), Some(0x8181), "no question");
    assert_eq!(told(&with(5, 2)), Some(0x8181), "two questions");
    assert_eq!(told(&with(7, 1)), Some(0x8181), "an answer in a question");
    assert_eq!(told(&with(12, 64)), Some(0x8181), "a label of another sort");
    assert_eq!(told(&with(12, 0xc0)), Some(0x8181), "a pointer");
    assert_eq!(told(&with(10, 0xff)), Some(0x8181), "more than there is");
    assert_eq!(told(&two_extensions), Some(0x8181));
    assert_eq!(told(&trailing), Some(0x8181));
    for length in 12..good.len() {
        assert_eq!(told(&good[..length]), Some(0x8181), "{length} bytes");
    }
}

#[test]
fn another_version_of_the_extension_is_refused() {
    let message = question(b"\x04wiki\0", 1, 1, Some((1232, 1)));

    let Err(BadRequest::Answered(reply)) = Request::parse(&message) else {
        panic!("version 1 does not exist");
    };

    assert_eq!(reply[3] & 0x0f, 0);
    assert_eq!(
        reply[reply.len() - 6..],
        [1, 0, 0, 0, 0, 0],
        "BADVERS, version 0"
    );
}

#[test]
fn an_answer_that_does_not_fit_says_so() {
    let message = question(b"\x04wiki\0", 12, 1, None);
    let request = Request::parse(&message).unwrap();
    let name: DomainName = vec!["a"; 125].join(".").parse().unwrap();
    let label = "b".repeat(63);
    let long =
        |tail: &str| -> DomainName { format!("{label}.{label}.{label}.{tail}").parse().unwrap() };
    let ttl = Duration::from_secs(5);

    let fits = request.reply(&Reply::Pointer { name, ttl }, Transport::Udp);
    // The zone of nothing is written out twice when the question does not contain it.
    let no_data = Reply::NoData {
        zone: long("corp.test"),
        ttl,
    };
    let huge = Request::parse(&question(
        &[b"\x3f".as_slice(), &[b'c'; 63], b"\x3f", &[b'c'; 63], b"\0"].concat(),
        1,
        1,
        None,
    ))
    .unwrap();
    let udp = huge.reply(&no_data, Transport::Udp);
    let tcp = huge.reply(&no_data, Transport::Tcp);

    assert_eq!(fits[2] & 0x02, 0);
    assert_eq!(udp[2] & 0x02, 0x02, "truncated");
    assert_eq!(udp.len(), 12 + 129 + 4);
    assert_eq!(tcp[2] & 0x02, 0);
    assert!(tcp.len() > 512);
}

#[test]
fn names_that_no_host_has_are_names_all_the_same() {
    for (wire, text, is_host) in [
        (b"\x02a.\x04test\0".as_slice(), b"a..test".as_slice(), false),
        (b"\x06wiki.b\x04test\0", b"wiki.b.test", false),
        (b"\x01*\x04test\0", b"*.test", false),
        (b"\x02\xff\0\x04test\0", b"\xff\0.test", false),
        (b"\x04_tcp\x04test\0", b"_tcp.test", true),
        (b"\0", b"", false),
    ] {
        let request = Request::parse(&question(wire, 1, 1, None)).unwrap();

        assert_eq!(request.name().text(), text);
        assert_eq!(request.name().to_domain().is_some(), is_host, "{request:?}");
    }
}

#[test]
fn a_name_has_255_bytes_at_most() {
    let label = [b"\x3f".as_slice(), &[b'a'; 63]].concat();
    let start = [label.as_slice(), &label, &label].concat();
    let longest = [start.as_slice(), b"\x3d", &[b'a'; 61], b"\0"].concat();
    let too_long = [start.as_slice(), b"\x3e", &[b'a'; 62], b"\0"].concat();

    assert_eq!(longest.len(), 255);
    assert!(Request::parse(&question(&longest, 1, 1, None)).is_ok());
    assert!(Request::parse(&question(&too_long, 1, 1, None)).is_err());
}

#[test]
fn reverse_names_are_read_as_far_as_they_go() {
    let range: Prefix = "100.64.0.0/16".parse().unwrap();
    let reverse = |name: &str| name_of(name).reverse();

    let whole = reverse("7.1.64.100.IN-ADDR.arpa").unwrap();
    assert_eq!(whole.address(), Some([100, 64, 1, 7].into()));
    assert!(whole.is_inside(range) && !whole.is_parent());

    let network = reverse("64.100.in-addr.arpa").unwrap();
    assert!(network.is_inside(range) && network.is_parent());
    assert!(!reverse("100.in-addr.arpa").unwrap().is_inside(range));
    assert!(!reverse("1.65.100.in-addr.arpa").unwrap().is_inside(range));

    for below in [
        "lb._dns-sd._udp.0.0.64.100.in-addr.arpa",
        "0.7.1.64.100.in-addr.arpa",
        "256.1.64.100.in-addr.arpa",
        "07.1.64.100.in-addr.arpa",
    ] {
        let below = reverse(below).unwrap();
        assert!(below.is_inside(range) && !below.is_parent(), "{below:?}");
        assert_eq!(below.address(), None);
    }
    assert_eq!(reverse("7.1.64.100.in-addr.arpa.test"), None);
}

#[test]
fn reverse_names_of_the_other_family_are_nibbles() {
    let address: Ipv6Addr = "fd12:3456:789a:1::7".parse().unwrap();
    let digits = format!("{:032x}", address.to_bits());
    let labels: Vec<String> = digits.chars().rev().map(String::from).collect();
    let name = format!("{}.ip6.arpa", labels.join("."));

    let reverse = name_of(&name).reverse().unwrap();

    assert_eq!(reverse.address(), Some(address.into()));
    assert!(reverse.is_inside("fd12:3456:789a:1::/64".parse().unwrap()));
    assert!(!reverse.is_inside("fd12:3456:789a:2::/64".parse().unwrap()));
}

#[test]
fn only_the_same_question_with_the_same_number_is_answered() {
    let request = Request::parse(&question(b"\x04WIKI\x04test\0", 1, 1, None)).unwrap();
    let answer = |wire: &[u8], kind: u16| {
        let mut message = question(wire, kind, 1, None);
        message[2] |= 0x80;
        message
    };

    assert!(request.is_answered_by(&answer(b"\x04wiki\x04test\0", 1), 0xabcd));
    assert!(!request.is_answered_by(&answer(b"\x04wiki\x04test\0", 1), 0xabce));
    assert!(!request.is_answered_by(&answer(b"\x04wiki\x04test\0", 28), 0xabcd));
    assert!(!request.is_answered_by(&answer(b"\x04wika\x04test\0", 1), 0xabcd));
    assert!(!request.is_answered_by(&answer(b"\x09wiki.test\0", 1), 0xabcd));
    assert!(!request.is_answered_by(&question(b"\x04wiki\x04test\0", 1, 1, None), 0xabcd));
    let whole = answer(b"\x04wiki\x04test\0", 1);
    for length in 0..whole.len() {
        assert!(!request.is_answered_by(&whole[..length], 0xabcd));
    }
}

#[test]
fn every_address_that_an_answer_leads_to_is_found() {
    let query = query(RecordKind::A);
    let hints = b"\0\x01\0\0\x01\0\x03\x02h2\0\x04\0\x08\x64\x40\0\x01\x64\x40\0\x02\0\x06\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
    let records = [
        alias("wiki.corp.test", "www.corp.test", 30),
        address_record("www.corp.test", [192, 0, 2, 1], 60),
        record_of("www.corp.test", HTTPS, 60, hints),
    ];
    let message = response(&query, 0, &records);

    let found = addresses_in(&message).unwrap();

    let expected: Vec<IpAddr> = ["192.0.2.1", "100.64.0.1", "100.64.0.2", "fd00::1"]
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
    assert_eq!(found, expected);
    for length in 0..message.len() {
        assert_eq!(addresses_in(&message[..length]), None, "{length} bytes");
    }
}

#[test]
fn no_changed_or_random_message_panics() {
    let mut seed = Seed::new(0x5eed);
    let query = query(RecordKind::A);
    let request = question(b"\x04wiki\x04corp\x04test\0", 65, 1, Some((4096, 0)));
    let answer = response(
        &query,
        0,
        &[
            alias("wiki.corp.test", "www.corp.test", 30),
            address_record("www.corp.test", [192, 0, 2, 1], 60),
            record_of(
                "www.corp.test",
                SVCB,
                60,
                b"\0\x01\0\0\x04\0\x04\x64\x40\0\x01",
            ),
        ],
    );
    for round in 0..20_000 {
        let mut message = if round % 2 == 0 { &request } else { &answer }.clone();
        for _ in 0..=seed.draw() % 6 {
            let at = usize::try_from(seed.draw()).unwrap() % message.len();
            message[at] = seed.draw().to_le_bytes()[0];
        }
        let length = usize::try_from(seed.draw()).unwrap() % (message.len() + 1);
        if seed.draw().is_multiple_of(4) {
            message.truncate(length);
        }

        let _ = query.decode_response(&message);
        let _ = addresses_in(&message);
        if let Ok(parsed) = Request::parse(&message) {
            let reply = parsed.reply(&an_address(), Transport::Udp);
            assert!(reply.len() <= 1232);
            assert!(parsed.is_answered_by(&reply, parsed.id()), "round {round}");
            let _ = parsed.name().reverse();
        }
    }
}

fn an_address() -> Reply {
    Reply::Address {
        address: [100, 64, 0, 7].into(),
        ttl: Duration::from_secs(5),
    }
}

fn zone() -> DomainName {
    "corp.test".parse().unwrap()
}

fn name_of(name: &str) -> QuestionName {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    Request::parse(&question(&wire, 12, 1, None))
        .unwrap()
        .name()
        .clone()
}

fn question(name: &[u8], kind: u16, class: u16, extension: Option<(u16, u8)>) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(name);
    message.extend(kind.to_be_bytes());
    message.extend(class.to_be_bytes());
    if let Some((payload, version)) = extension {
        message[11] = 1;
        message.extend([0, 0, 41]);
        message.extend(payload.to_be_bytes());
        message.extend([0, version, 0, 0, 0, 0]);
    }
    message
}

fn response(query: &Query, flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = query.encode();
    message[2..4].copy_from_slice(&(IS_RESPONSE | flags).to_be_bytes());
    message[7] = u8::try_from(records.len()).unwrap();
    message.extend(records.concat());
    message
}

fn alias(owner: &str, target: &str, ttl: u32) -> Vec<u8> {
    record_of(owner, CNAME, ttl, &encode_name(&target.parse().unwrap()))
}

fn address_record(owner: &str, address: [u8; 4], ttl: u32) -> Vec<u8> {
    record_of(owner, wire::A, ttl, &address)
}

fn record_of(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut record = encode_name(&owner.parse().unwrap());
    record.extend(kind.to_be_bytes());
    record.extend(INTERNET.to_be_bytes());
    record.extend(ttl.to_be_bytes());
    record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend(data);
    record
}

fn query(kind: RecordKind) -> Query {
    Query {
        id: 7,
        name: "wiki.corp.test".parse().unwrap(),
        kind,
    }
}

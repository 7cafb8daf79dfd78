use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

#[test]
fn both_kinds_of_address_are_asked_for_at_once_and_make_one_outcome() {
    let mut resolving = resolving();
    resolve(&mut resolving, "wiki.corp.test", at(0));
    let [a, aaaa] = asked(&mut resolving);

    let half = answer(&mut resolving, &a, Some(&["10.9.0.7"]), at(10));
    let whole = answer(&mut resolving, &aaaa, Some(&["fd00::7"]), at(20)).unwrap();

    assert_eq!(half, None);
    assert_eq!(whole.name, name("wiki.corp.test"));
    assert_eq!(
        whole.outcome,
        Outcome::Found(Addresses {
            v4: vec![[10, 9, 0, 7].into()],
            v6: vec!["fd00::7".parse().unwrap()],
        })
    );
    assert_eq!(
        resolving.answer(&hq(), &whole.name, at(30)),
        Some(&whole.outcome)
    );
    assert_eq!(resolving.poll_timeout(), None);
    assert!(!resolving.expects(&hq(), a.source_port));
}

#[test]
fn what_is_known_or_being_asked_is_not_asked_again_until_it_lapses() {
    let mut resolving = resolving();
    resolve(&mut resolving, "wiki.corp.test", at(0));
    let [a, aaaa] = asked(&mut resolving);
    resolve(&mut resolving, "wiki.corp.test", at(1));
    assert_eq!(resolving.poll_transmit(), None);
    answer(&mut resolving, &a, Some(&["10.9.0.7"]), at(2));
    answer(&mut resolving, &aaaa, Some(&[]), at(2));

    resolve(&mut resolving, "wiki.corp.test", at(60_001));
    assert_eq!(resolving.poll_transmit(), None);
    // The records live 60 seconds.
    let lapsed = at(60_002);

    assert_eq!(
        resolving.answer(&hq(), &name("wiki.corp.test"), lapsed),
        None
    );
    resolve(&mut resolving, "wiki.corp.test", lapsed);
    asked(&mut resolving);
}

#[test]
fn one_name_may_mean_different_things_at_two_sites() {
    let mut resolving = resolving();
    let wiki = name("wiki.corp.test");
    resolving
        .resolve(hq(), wiki.clone(), &servers(), at(0))
        .unwrap();
    let [a, aaaa] = asked(&mut resolving);
    resolving
        .resolve("plant".into(), wiki.clone(), &servers(), at(0))
        .unwrap();
    let [_, _] = asked(&mut resolving);

    answer(&mut resolving, &a, Some(&["10.9.0.7"]), at(1));
    answer(&mut resolving, &aaaa, Some(&[]), at(1));

    assert!(resolving.answer(&hq(), &wiki, at(2)).is_some());
    assert_eq!(resolving.answer(&"plant".into(), &wiki, at(2)), None);
}

#[test]
fn a_lost_question_goes_to_the_servers_in_turn_and_is_given_up_after_four_seconds() {
    let mut resolving = resolving();
    resolve(&mut resolving, "wiki.corp.test", at(0));
    let mut sent = vec![asked(&mut resolving)];
    let mut times = vec![];
    let resolved = loop {
        let due = resolving.poll_timeout().unwrap();
        let resolved = resolving.handle_timeout(due);
        times.push(due);
        if !resolved.is_empty() {
            break resolved;
        }
        sent.push(asked(&mut resolving));
    };

    assert_eq!(times, [at(500), at(1500), at(3500), at(4000)]);
    let turns: Vec<IpAddr> = sent.iter().map(|[a, _]| a.server).collect();
    let [first, second] = servers();
    assert_eq!(turns, [first, second, first, second]);
    assert_eq!(resolved.len(), 1);
    assert_eq!(resolved[0].outcome, Outcome::Failed(Failure::Silent));
    assert_eq!(resolved[0].until, at(5000));
    assert_eq!(resolving.poll_timeout(), None);
    assert!(resolving.asked.is_empty());
    assert_eq!(
        resolving.answer(&hq(), &name("wiki.corp.test"), at(5000)),
        None
    );
}

#[test]
fn a_late_answer_to_an_earlier_question_counts() {
    let mut resolving = resolving();
    resolve(&mut resolving, "wiki.corp.test", at(0));
    let [a, aaaa] = asked(&mut resolving);
    assert!(resolving.handle_timeout(at(500)).is_empty());
    let [again, _] = asked(&mut resolving);

    answer(&mut resolving, &a, Some(&["10.9.0.7"]), at(600));
    let resolved = answer(&mut resolving, &aaaa, Some(&[]), at(600));

    assert!(matches!(resolved.unwrap().outcome, Outcome::Found(_)));
    assert_eq!(
        answer(&mut resolving, &again, Some(&["10.9.0.8"]), at(700)),
        None
    );
}

#[test]
fn a_server_that_never_answers_for_one_kind_delays_but_does_not_prevent() {
    let mut resolving = resolving();
    resolve(&mut resolving, "wiki.corp.test", at(0));
    let [a, _] = asked(&mut resolving);
    answer(&mut resolving, &a, Some(&["10.9.0.7"]), at(20));

    assert_eq!(resolving.poll_timeout(), Some(at(500)));
    assert!(resolving.handle_timeout(at(500)).is_empty());
    assert_eq!(resolving.poll_timeout(), Some(at(520)));
    let resolved = resolving.handle_timeout(at(520));

    assert_eq!(resolved.len(), 1);
    assert_eq!(
        resolved[0].outcome.known(),
        Some(Known::Addresses {
            v4: true,
            v6: false
        })
    );
}

#[test]
fn a_name_that_does_not_exist_is_remembered_for_ten_seconds() {
    let mut resolving = resolving();
    resolve(&mut resolving, "nope.corp.test", at(0));
    let [a, aaaa] = asked(&mut resolving);

    answer(&mut resolving, &a, None, at(0));
    let resolved = answer(&mut resolving, &aaaa, None, at(0)).unwrap();

    assert_eq!(resolved.outcome, Outcome::NoSuchName);
    assert_eq!(resolved.until, at(10_000));
    assert_eq!(resolved.outcome.known(), Some(Known::NoSuchName));
}

#[test]
fn addresses_outweigh_a_denial_of_the_other_kind() {
    let mut resolving = resolving();
    resolve(&mut resolving, "wiki.corp.test", at(0));
    let [a, aaaa] = asked(&mut resolving);

    answer(&mut resolving, &aaaa, None, at(0));
    let resolved = answer(&mut resolving, &a, Some(&["10.9.0.7"]), at(0)).unwrap();

    assert!(matches!(resolved.outcome, Outcome::Found(_)));
}

#[test]
fn a_name_without_addresses_exists() {
    let mut resolving = resolving();
    resolve(&mut resolving, "wiki.corp.test", at(0));
    let [a, aaaa] = asked(&mut resolving);

    answer(&mut resolving, &a, Some(&[]), at(0));
    let resolved = answer(&mut resolving, &aaaa, Some(&[]), at(0)).unwrap();

    assert_eq!(resolved.outcome, Outcome::Found(Addresses::default()));
}

#[test]
fn a_server_that_refuses_is_passed_over_at_once() {
    let mut resolving = resolving();
    resolve(&mut resolving, "wiki.corp.test", at(0));
    let [a, aaaa] = asked(&mut resolving);

    respond(&mut resolving, &a, &failure(&a, 2), at(1));
    let second = resolving.poll_transmit().unwrap();
    respond(&mut resolving, &second, &failure(&second, 5), at(2));
    assert_eq!(resolving.poll_transmit(), None);
    let resolved = answer(&mut resolving, &aaaa, Some(&[]), at(3)).unwrap();

    assert_ne!(second.server, a.server);
    assert_eq!(resolved.outcome, Outcome::Failed(Failure::Refused(5)));
    assert_eq!(resolved.until, at(1003));
}

#[test]
fn a_truncated_answer_without_addresses_is_no_answer() {
    let mut resolving = resolving();
    resolve(&mut resolving, "wiki.corp.test", at(0));
    let [a, aaaa] = asked(&mut resolving);
    let truncated = |asked: &Transmit, addresses: &[&str]| {
        let mut message = reply(asked, Some(addresses));
        message[2] |= 0x02;
        message
    };

    respond(&mut resolving, &a, &truncated(&a, &[]), at(1));
    let second = resolving.poll_transmit().unwrap();
    let message = truncated(&second, &["10.9.0.7"]);
    respond(&mut resolving, &second, &message, at(2));
    let resolved = answer(&mut resolving, &aaaa, Some(&[]), at(3)).unwrap();

    assert!(matches!(resolved.outcome, Outcome::Found(found) if found.v4.len() == 1));
}

#[test]
fn addresses_that_no_tunnel_leads_to_are_left_out() {
    for (v4, v6, expected) in [
        (&["127.0.0.1", "10.9.0.7"][..], &[][..], Ok(1)),
        (&["127.0.0.1"], &["fd00::7"], Ok(1)),
        (&["169.254.169.254"], &["::1"], Err("169.254.169.254")),
        (&[], &["::ffff:127.0.0.1"], Err("::ffff:127.0.0.1")),
        (&["0.0.0.0"], &[], Err("0.0.0.0")),
    ] {
        let mut resolving = resolving();
        resolve(&mut resolving, "wiki.corp.test", at(0));
        let [a, aaaa] = asked(&mut resolving);

        answer(&mut resolving, &a, Some(v4), at(0));
        let resolved = answer(&mut resolving, &aaaa, Some(v6), at(0)).unwrap();

        match expected {
            Ok(count) => {
                let Outcome::Found(found) = resolved.outcome else {
                    panic!("{resolved:?}");
                };
                assert_eq!(found.v4.len() + found.v6.len(), count);
            }
            Err(forbidden) => assert_eq!(
                resolved.outcome,
                Outcome::Failed(Failure::Forbidden(forbidden.parse().unwrap()))
            ),
        }
    }
}

#[test]
fn only_who_was_asked_is_heard_and_only_at_the_port_and_number_of_the_question() {
    let mut resolving = resolving();
    resolve(&mut resolving, "wiki.corp.test", at(0));
    let [a, _] = asked(&mut resolving);
    let message = reply(&a, Some(&["10.9.0.66"]));
    let mut other_number = message.clone();
    other_number[0] ^= 1;
    let from = |server: &str, port| SocketAddr::new(server.parse().unwrap(), port);
    let server = a.server.to_string();

    for (site, from, to_port, message) in [
        ("plant", from(&server, 53), a.source_port, &message),
        ("hq", from("10.9.0.66", 53), a.source_port, &message),
        ("hq", from(&server, 54), a.source_port, &message),
        ("hq", from(&server, 53), a.source_port ^ 1, &message),
        ("hq", from(&server, 53), a.source_port, &other_number),
        ("hq", from(&server, 53), a.source_port, &a.message),
        ("hq", from(&server, 53), a.source_port, &vec![]),
    ] {
        resolving.handle_response(&site.into(), from, to_port, message, at(1));
        assert!(resolving.expects(&hq(), a.source_port));
    }

    respond(&mut resolving, &a, &message, at(2));
    assert!(!resolving.expects(&hq(), a.source_port));
}

#[test]
fn trying_every_number_gets_nowhere() {
    let mut resolving = resolving();
    resolve(&mut resolving, "wiki.corp.test", at(0));
    let [a, aaaa] = asked(&mut resolving);
    let right = [a.message[0], a.message[1]];
    let mut forged = reply(&a, Some(&["10.9.0.66"]));
    for number in 0..=u16::MAX {
        forged[..2].copy_from_slice(&number.to_be_bytes());
        // The luckiest eight guesses aside.
        if forged[..2] != right || number >= 8 {
            respond(&mut resolving, &a, &forged, at(1));
        }
    }
    answer(&mut resolving, &aaaa, Some(&[]), at(2));
    assert!(resolving.handle_timeout(at(500)).is_empty());
    let again = resolving.poll_transmit().unwrap();

    let resolved = answer(&mut resolving, &again, Some(&["10.9.0.7"]), at(510)).unwrap();

    assert!(
        matches!(resolved.outcome, Outcome::Found(found) if found.v4 == [Ipv4Addr::new(10, 9, 0, 7)])
    );
}

#[test]
fn numbers_and_ports_differ_and_lie_where_programs_ports_do() {
    let mut resolving = resolving();
    let (mut ports, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..MAX_SEARCHES {
        resolve(&mut resolving, &format!("n{number}.corp.test"), at(0));
        for transmit in asked(&mut resolving) {
            assert!((32_768..61_000).contains(&transmit.source_port));
            assert!(ports.insert(transmit.source_port), "a port is used once");
            numbers.insert([transmit.message[0], transmit.message[1]]);
        }
    }
    assert!(numbers.len() > 2 * MAX_SEARCHES - 20);

    let mut other = Resolving::new(Seed::new(8));
    resolve(&mut other, "n0.corp.test", at(0));
    let [first, _] = asked(&mut other);
    let mut same = self::resolving();
    resolve(&mut same, "n0.corp.test", at(0));
    let [again, _] = asked(&mut same);
    assert_ne!(first.source_port, again.source_port);
}

#[test]
fn what_is_under_way_and_what_is_known_is_bounded() {
    let mut resolving = resolving();
    for number in 0..MAX_SEARCHES {
        resolve(&mut resolving, &format!("n{number}.corp.test"), at(0));
    }
    let one_more = resolving.resolve(hq(), name("more.corp.test"), &servers(), at(0));
    assert_eq!(one_more, Err(ResolveError::TooMany));
    assert_eq!(
        resolving.resolve(hq(), name("none.corp.test"), &[], at(0)),
        Err(ResolveError::NoServers)
    );
    assert_eq!(resolving.handle_timeout(at(4000)).len(), MAX_SEARCHES);

    let mut now = at(5000);
    for number in 0..MAX_KNOWN + 10 {
        now = now + Duration::from_micros(1);
        while resolving.poll_transmit().is_some() {}
        resolve(&mut resolving, &format!("k{number}.corp.test"), now);
        let [a, aaaa] = asked(&mut resolving);
        answer(&mut resolving, &a, Some(&["10.9.0.7"]), now);
        answer(&mut resolving, &aaaa, Some(&[]), now);
    }
    assert_eq!(resolving.known.len(), MAX_KNOWN);
    assert_eq!(resolving.answer(&hq(), &name("k0.corp.test"), now), None);
    assert!(
        resolving
            .answer(&hq(), &name("k10.corp.test"), now)
            .is_some()
    );
    assert!(resolving.searches.is_empty() && resolving.asked.is_empty());
}

#[test]
fn random_answers_and_times_leave_nothing_behind() {
    for bits in 0..200 {
        let mut seed = Seed::new(bits);
        let mut resolving = Resolving::new(Seed::new(bits));
        let mut now = at(0);
        let mut sent = Vec::new();
        for step in 0..200 {
            now = now + seed.below(Duration::from_millis(300));
            match seed.draw() % 4 {
                0 => {
                    let number = seed.draw() % 20;
                    resolve(&mut resolving, &format!("n{number}.corp.test"), now);
                }
                1 if !sent.is_empty() => {
                    let chosen = usize::try_from(seed.draw()).unwrap() % sent.len();
                    let transmit: &Transmit = &sent[chosen];
                    let mut message = match seed.draw() % 4 {
                        0 => reply(transmit, None),
                        1 => failure(transmit, 2),
                        2 => reply(transmit, Some(&["10.9.0.7", "127.0.0.1", "fd00::7"])),
                        _ => reply(transmit, Some(&[])),
                    };
                    if seed.draw().is_multiple_of(8) {
                        let at = usize::try_from(seed.draw()).unwrap() % message.len();
                        message[at] ^= 1;
                    }
                    respond(&mut resolving, transmit, &message, now);
                }
                _ => {
                    resolving.handle_timeout(now);
                    let due = resolving.poll_timeout();
                    assert!(due.is_none_or(|due| due > now), "seed {bits}, step {step}");
                }
            }
            sent.extend(std::iter::from_fn(|| resolving.poll_transmit()));
        }
        resolving.handle_timeout(now + Duration::from_secs(5));
        assert!(resolving.searches.is_empty(), "seed {bits}");
        assert!(resolving.asked.is_empty(), "seed {bits}");
    }
}

fn resolving() -> Resolving {
    Resolving::new(Seed::new(7))
}

fn resolve(resolving: &mut Resolving, text: &str, now: Moment) {
    resolving
        .resolve(hq(), name(text), &servers(), now)
        .unwrap();
}

/// Takes the two questions that wait to be sent.
fn asked(resolving: &mut Resolving) -> [Transmit; 2] {
    let sent: Vec<Transmit> = std::iter::from_fn(|| resolving.poll_transmit()).collect();
    sent.try_into().unwrap()
}

fn answer(
    resolving: &mut Resolving,
    to: &Transmit,
    addresses: Option<&[&str]>,
    now: Moment,
) -> Option<Resolved> {
    let message = reply(to, addresses);
    respond(resolving, to, &message, now)
}

fn respond(
    resolving: &mut Resolving,
    to: &Transmit,
    message: &[u8],
    now: Moment,
) -> Option<Resolved> {
    let from = SocketAddr::new(to.server, 53);
    resolving.handle_response(&to.site, from, to.source_port, message, now)
}

fn reply(to: &Transmit, addresses: Option<&[&str]>) -> Vec<u8> {
    let addresses: Option<Vec<IpAddr>> =
        addresses.map(|list| list.iter().map(|text| text.parse().unwrap()).collect());
    Query::decode(&to.message)
        .unwrap()
        .encode_answer(addresses.as_deref())
}

fn failure(to: &Transmit, code: u8) -> Vec<u8> {
    let mut message = reply(to, None);
    message[3] = message[3] & 0xf0 | code;
    message
}

fn hq() -> SiteId {
    "hq".into()
}

fn servers() -> [IpAddr; 2] {
    ["10.9.0.53", "10.9.1.53"].map(|address| address.parse().unwrap())
}

fn name(text: &str) -> DomainName {
    text.parse().unwrap()
}

fn at(millis: u64) -> Moment {
    Moment::from_boot(Duration::from_millis(millis))
}

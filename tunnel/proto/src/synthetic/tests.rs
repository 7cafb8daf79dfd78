use super::*;

#[test]
fn a_range_collides_with_nothing_in_use() {
    let mut in_use = Vec::new();
    // 64 pieces of the first block, 2 of the second, 256 and 16 and 1 private ones.
    for round in 0..64 + 2 + 256 + 16 + 1 {
        let range = SyntheticRange::choose(&in_use, 7).unwrap();

        assert!(
            in_use
                .iter()
                .all(|used: &Prefix| !used.overlaps(range.v4()) && !used.overlaps(range.v6())),
            "round {round}"
        );
        assert_eq!(range.v4().reserved(), None);
        in_use.push(range.v4());
    }
    assert_eq!(
        SyntheticRange::choose(&in_use, 7),
        Err(NoFreeRange { family: "IPv4" })
    );
}

#[test]
fn shared_address_space_comes_first_and_is_left_whole_to_others() {
    let first = SyntheticRange::choose(&[], 7).unwrap();
    let second = SyntheticRange::choose(&[prefix("100.64.0.0/10")], 7).unwrap();
    let third = SyntheticRange::choose(
        &[
            prefix("100.100.0.1/32"),
            prefix("100.64.0.0/10"),
            prefix("198.18.0.0/15"),
        ],
        7,
    )
    .unwrap();

    assert!(prefix("100.64.0.0/10").contains(first.v4().address()));
    assert!(prefix("198.18.0.0/15").contains(second.v4().address()));
    assert_eq!(third.v4(), prefix("10.255.0.0/16"));
}

#[test]
fn one_used_address_keeps_its_piece_out_of_reach() {
    let free = SyntheticRange::choose(&[], 7).unwrap();
    let neighbour = Prefix::host(free.device_v4().into());

    let moved = SyntheticRange::choose(&[neighbour, Prefix::host(free.device_v6().into())], 7);

    let moved = moved.unwrap();
    assert_ne!(moved.v4(), free.v4());
    assert_ne!(moved.v6(), free.v6());
}

#[test]
fn default_routes_are_no_obstacle_in_pieces_neither() {
    let everywhere: Vec<Prefix> = [
        "0.0.0.0/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "::/0",
        "2000::/3",
        "fc00::/7",
        "8000::/1",
    ]
    .map(prefix)
    .into();

    assert_eq!(
        SyntheticRange::choose(&everywhere, 7),
        SyntheticRange::choose(&[], 7)
    );
}

#[test]
fn the_devices_own_addresses_are_the_first_of_the_range() {
    let range =
        SyntheticRange::choose(&[prefix("100.64.0.0/10"), prefix("198.18.0.0/16")], 7).unwrap();

    assert_eq!(range.device_v4(), Ipv4Addr::new(198, 19, 0, 1));
    assert!(range.contains(range.device_v6().into()));
    assert_eq!(range.device_v6().octets()[8..], [0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(range.v6().address().to_string()[..2], *"fd");
}

#[test]
fn a_name_keeps_its_addresses_across_a_restart() {
    let mut before = names(7);
    let mut after = names(7);
    let mut elsewhere = names(8);
    for name in ["b.corp.test", "a.corp.test", "c.corp.test"] {
        before.addresses_of(&domain(name));
    }

    let again = after.addresses_of(&domain("c.corp.test")).unwrap();

    assert_eq!(before.addresses_of(&domain("c.corp.test")), Some(again));
    assert_ne!(elsewhere.addresses_of(&domain("c.corp.test")), Some(again));
    assert_eq!(after.name_of(again.v4.into()), Some(&domain("c.corp.test")));
    assert_eq!(after.name_of(again.v6.into()), Some(&domain("c.corp.test")));
}

#[test]
fn what_stands_for_no_name_is_told() {
    let mut names = names(7);
    let given = names.addresses_of(&domain("a.corp.test")).unwrap();
    let range = *names.range();

    for address in [
        range.device_v4().into(),
        range.device_v6().into(),
        range.v4().address(),
        range.v6().address(),
        "192.0.2.1".parse().unwrap(),
        "2001:db8::1".parse().unwrap(),
        // The same slot, but not the same name.
        IpAddr::V6(Ipv6Addr::from_bits(given.v6.to_bits() ^ 1 << 40)),
    ] {
        assert_eq!(names.name_of(address), None, "{address}");
    }
}

#[test]
fn a_full_table_gives_every_name_its_own_addresses() {
    let mut names = names(7);
    let mut taken = BTreeSet::new();
    for number in 0..MAX_NAMES {
        let addresses = names.addresses_of(&numbered(number)).unwrap();

        let last = addresses.v4.octets()[3];
        assert!(last != 0 && last != 255);
        assert!(taken.insert(IpAddr::V4(addresses.v4)), "{number}");
        assert!(taken.insert(IpAddr::V6(addresses.v6)), "{number}");
        assert_eq!(names.name_of(addresses.v4.into()), Some(&numbered(number)));
    }
    assert_eq!(names.len(), MAX_NAMES);
}

#[test]
fn the_longest_unused_name_makes_room_unless_it_is_held() {
    let mut names = names(7);
    let held = names.addresses_of(&numbered(0)).unwrap();
    for number in 1..MAX_NAMES {
        names.addresses_of(&numbered(number)).unwrap();
    }
    let asked_again = names.addresses_of(&numbered(1)).unwrap();
    let oldest = names.addresses_of(&numbered(2)).unwrap();
    names.addresses_of(&numbered(1)).unwrap();
    for number in 3..MAX_NAMES {
        names.addresses_of(&numbered(number)).unwrap();
    }
    assert!(names.hold(held.v6.into()));

    names.addresses_of(&numbered(MAX_NAMES)).unwrap();

    assert_eq!(names.len(), MAX_NAMES);
    assert_eq!(names.name_of(held.v4.into()), Some(&numbered(0)));
    assert_eq!(names.name_of(asked_again.v4.into()), Some(&numbered(1)));
    assert_eq!(names.name_of(oldest.v4.into()), None);
}

#[test]
fn with_every_name_in_use_a_new_one_gets_nothing_until_one_is_released() {
    let mut names = names(7);
    for number in 0..MAX_NAMES {
        let addresses = names.addresses_of(&numbered(number)).unwrap();
        assert!(names.hold(addresses.v4.into()));
        assert!(names.hold(addresses.v6.into()));
    }
    assert_eq!(names.addresses_of(&numbered(MAX_NAMES)), None);

    let some = names.addresses_of(&numbered(77)).unwrap();
    names.release(some.v4.into());
    assert_eq!(names.addresses_of(&numbered(MAX_NAMES)), None);
    names.release(some.v4.into());
    // Once too often does no harm.
    names.release(some.v4.into());

    assert!(names.addresses_of(&numbered(MAX_NAMES)).is_some());
    assert_eq!(names.name_of(some.v4.into()), None);
}

fn names(seed: u64) -> SyntheticNames {
    SyntheticNames::new(SyntheticRange::choose(&[], 1).unwrap(), seed)
}

fn numbered(number: usize) -> DomainName {
    domain(&format!("n{number}.dev.corp.test"))
}

fn domain(name: &str) -> DomainName {
    name.parse().unwrap()
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

//! Devices that move and sleep, and gateways that have names.

use super::*;
use crate::noise::SealError;

#[test]
fn after_a_move_the_gateway_hears_of_it_at_once_and_answers_to_the_new_address() {
    let mut world = World::with_keepalive(1, KEEPALIVE);
    world.run_for(Duration::from_secs(10));
    let sent = world.sent;

    world.us = "203.0.113.9:4000".parse().unwrap();
    world.machine.network_changed(world.now);
    world.deliver();

    assert_eq!(world.sent - sent, 1, "one keepalive");
    assert_eq!(world.heard_us[0], world.us);
    assert!(world.machine.can_send(), "nothing waits for an answer");
    let initiations = world.initiations;
    world.receive();
    world.run_for(millis(1000));
    assert_eq!(world.initiations, initiations, "it was heard from");
}

#[test]
fn an_idle_gateway_is_called_after_a_move_and_stays_in_use() {
    let mut world = World::with_keepalive(2, KEEPALIVE);
    world.run_for(Duration::from_secs(10));
    let initiations = world.initiations;

    world.machine.network_changed(world.now);
    world.run_for(millis(400));

    assert_eq!(world.initiations - initiations, 1);
    assert_eq!(world.in_use(), Some(0));
}

#[test]
fn a_move_to_where_the_gateway_cannot_be_reached_is_noticed_within_two_seconds() {
    let mut world = World::with_keepalive(2, KEEPALIVE);
    world.run_for(Duration::from_secs(10));

    world.alive[0] = false;
    world.machine.network_changed(world.now);
    world.run_for(millis(2000));

    assert_eq!(world.in_use(), Some(1));
}

#[test]
fn a_move_ends_every_rest() {
    let mut world = World::with_keepalive(2, KEEPALIVE);
    world.alive = vec![false; 2];
    world.run_for(Duration::from_secs(7200));
    world.alive[0] = true;

    world.machine.network_changed(world.now);
    world.deliver();

    assert_eq!(world.in_use(), Some(0));
}

#[test]
fn of_several_changes_in_a_row_the_last_is_acted_on_too() {
    let mut world = World::with_keepalive(1, KEEPALIVE);
    world.run_for(Duration::from_secs(10));
    for last in 10..13 {
        world.us = SocketAddr::from(([203, 0, 113, last], 4000));
        world.machine.network_changed(world.now);
        world.run_for(millis(20));
    }

    world.run_for(millis(100));

    assert_eq!(world.heard_us[0], world.us);
}

#[test]
fn a_link_that_flaps_causes_no_storm_and_is_found_right_after_the_last_change() {
    let mut world = World::with_keepalive(1, KEEPALIVE);
    world.run_for(Duration::from_secs(10));
    let before = world.sent;
    for flap in 0..600 {
        world.alive[0] = flap % 2 == 0;
        world.machine.network_changed(world.now);
        world.run_for(millis(50));
    }
    let sent = world.sent - before;
    assert!(sent <= 30 * 15, "{sent} in 30 seconds");

    world.alive[0] = true;
    world.machine.network_changed(world.now);
    world.run_for(millis(500));

    assert_eq!(world.in_use(), Some(0));
    assert!(world.send());
}

#[test]
fn after_a_short_sleep_the_session_goes_on_and_is_renewed_at_once() {
    let mut world = World::with_keepalive(2, KEEPALIVE);
    world.run_for(Duration::from_secs(10));
    let initiations = world.initiations;

    sleep(&mut world, Duration::from_secs(60));

    assert!(world.machine.can_send());
    world.deliver();
    assert_eq!(world.initiations - initiations, 1);
    assert_eq!(world.in_use(), Some(0));
}

#[test]
fn after_a_long_sleep_nothing_is_sealed_before_the_next_handshake() {
    for hours in [1, 8, 100] {
        let mut world = World::with_keepalive(2, KEEPALIVE);
        world.run_for(Duration::from_secs(10));

        sleep(&mut world, Duration::from_secs(3600 * hours));

        assert!(!world.machine.can_send());
        assert_eq!(seal(&mut world), Err(SealError::NoSession));
        world.deliver();
        assert_eq!(world.in_use(), Some(0));
        assert!(world.send());
    }
}

#[test]
fn a_sleep_that_our_clock_did_not_count_ends_sessions_all_the_same() {
    let mut world = World::with_keepalive(1, KEEPALIVE);
    world.run_for(Duration::from_secs(10));

    world.machine.resumed(Duration::from_secs(3600), world.now);

    assert!(!world.machine.can_send());
    world.deliver();
    assert!(world.send());
}

#[test]
fn a_sleep_that_nobody_told_of_ends_sessions_before_the_first_packet() {
    let mut world = World::with_keepalive(1, KEEPALIVE);
    world.run_for(Duration::from_secs(10));

    world.now = world.now + Duration::from_secs(3600);

    assert_eq!(seal(&mut world), Err(SealError::NoSession));
    world.wanted = true;
    world.run_for(millis(10));
    assert!(world.send());
}

#[test]
fn a_gateway_that_died_while_we_slept_is_passed_over() {
    for asleep in [60, 3600] {
        let mut world = World::with_keepalive(2, KEEPALIVE);
        world.run_for(Duration::from_secs(10));
        world.alive[0] = false;

        sleep(&mut world, Duration::from_secs(asleep));
        world.run_for(millis(1700));

        assert_eq!(world.in_use(), Some(1), "{asleep} s");
    }
}

#[test]
fn a_gateway_with_a_name_is_called_as_soon_as_its_address_is_known() {
    let mut world = World::with_gateways(&named_gateways(1), None);
    world.run_for(millis(100));
    assert_eq!(world.sent, 0, "there is nowhere to send to");
    assert_eq!(world.machine.status()[0].address, None);

    let (asked, host, port) = world.machine.poll_resolve().unwrap();
    assert_eq!(host.as_str(), "gw-0.corp.test");
    assert_eq!(port, 51820);
    assert!(world.machine.poll_resolve().is_none(), "once");
    world.machine.set_endpoint(&asked, address(0), world.now);
    world.deliver();

    assert_eq!(world.in_use(), Some(0));
    assert_eq!(world.machine.status()[0].address, Some(address(0)));
    assert!(world.send());
}

#[test]
fn a_look_up_without_an_answer_is_asked_for_again() {
    let mut world = World::with_gateways(&named_gateways(1), KEEPALIVE);
    assert_eq!(drain(&mut world), [id(0)]);
    world.run_for(millis(3500));
    assert_eq!(drain(&mut world), [id(0)]);

    let mut asked = 0;
    for _ in 0..600 {
        asked += usize::from(world.machine.poll_resolve().is_some());
        world.run_for(Duration::from_secs(1));
    }

    assert!((10..=200).contains(&asked), "{asked} in ten minutes");
}

#[test]
fn a_name_that_does_not_exist_holds_up_nobody() {
    let mut gateways = gateways(2);
    gateways[0] = named_gateways(1).remove(0);
    let mut world = World::with_gateways(&gateways, None);

    let (asked, ..) = world.machine.poll_resolve().unwrap();
    world.machine.handle_lookup(&asked, &[], world.now);
    world.deliver();

    assert_eq!(world.in_use(), Some(1));
}

#[test]
fn a_name_that_is_never_answered_holds_up_others_no_longer_than_a_dead_gateway() {
    let mut gateways = gateways(2);
    gateways[0] = named_gateways(1).remove(0);
    let mut world = World::with_gateways(&gateways, None);

    world.run_for(millis(1600));

    assert_eq!(world.in_use(), Some(1));
}

#[test]
fn a_better_gateway_whose_name_is_found_late_is_called_at_once() {
    let mut gateways = gateways(2);
    gateways[0] = named_gateways(1).remove(0);
    let mut world = World::with_gateways(&gateways, KEEPALIVE);
    world.run_for(millis(1600));
    let before = world.initiations;

    world.machine.set_endpoint(&id(0), address(0), world.now);
    world.deliver();

    assert_eq!(world.initiations - before, 1);
    assert_eq!(world.in_use(), Some(1), "it is not steady yet");
    world.run_for(Duration::from_secs(62));
    assert_eq!(world.in_use(), Some(0));
}

#[test]
fn a_gateway_that_moved_is_looked_up_and_found_at_its_new_address() {
    let mut world = named_and_used();
    let moved: SocketAddr = "192.0.2.77:51820".parse().unwrap();
    world.listens[0] = moved;
    world.send();

    let mut asked = None;
    while asked.is_none() {
        world.run_for(millis(100));
        asked = world.machine.poll_resolve();
    }
    world
        .machine
        .handle_lookup(&asked.unwrap().0, &[moved], world.now);
    world.deliver();

    assert_eq!(world.in_use(), Some(0));
    assert!(world.send());
}

#[test]
fn a_changed_address_of_the_gateway_in_use_takes_effect_at_once() {
    let mut world = named_and_used();
    let moved: SocketAddr = "192.0.2.77:51820".parse().unwrap();
    world.listens[0] = moved;
    let initiations = world.initiations;

    world.machine.set_endpoint(&id(0), moved, world.now);

    assert!(world.machine.can_send());
    world.deliver();
    assert_eq!(world.initiations - initiations, 1, "a handshake at once");
    assert!(world.send());
}

#[test]
fn of_several_addresses_the_next_is_tried_when_one_stays_silent() {
    let dead: SocketAddr = "192.0.2.66:51820".parse().unwrap();
    let mut world = World::with_gateways(&named_gateways(1), KEEPALIVE);
    let started = world.now;
    while world.in_use().is_none() {
        if let Some((asked, ..)) = world.machine.poll_resolve() {
            let found = [dead, address(0)];
            world.machine.handle_lookup(&asked, &found, world.now);
        }
        world.run_for(millis(50));
        assert!(world.now.since(started) < millis(5000));
    }
    let used = world.machine.status()[0].address;

    world.machine.network_changed(world.now);
    let (asked, ..) = world.machine.poll_resolve().unwrap();
    world
        .machine
        .handle_lookup(&asked, &[dead, address(0)], world.now);

    assert_eq!(used, Some(address(0)));
    assert_eq!(
        world.machine.status()[0].address,
        used,
        "what works is kept"
    );
}

#[test]
fn addresses_that_are_all_dead_are_called_as_rarely_as_one() {
    let addresses: Vec<SocketAddr> = (60..64).map(address).collect();
    let mut world = World::with_gateways(&named_gateways(1), KEEPALIVE);
    for _ in 0..6000 {
        if let Some((asked, ..)) = world.machine.poll_resolve() {
            world.machine.handle_lookup(&asked, &addresses, world.now);
        }
        world.run_for(millis(100));
    }

    assert!(
        world.initiations < 200,
        "{} in ten minutes",
        world.initiations
    );
}

#[test]
fn a_move_and_a_sleep_ask_for_every_name_and_for_no_address() {
    let mut mixed = gateways(3);
    mixed[1] = named_gateways(2).remove(1);
    let mut world = World::with_gateways(&mixed, KEEPALIVE);
    assert_eq!(drain(&mut world), [id(1)]);
    world.machine.set_endpoint(&id(1), address(1), world.now);
    world.run_for(Duration::from_secs(10));
    assert!(drain(&mut world).is_empty());

    world.machine.network_changed(world.now);
    assert_eq!(drain(&mut world), [id(1)]);
    world.machine.resumed(Duration::from_secs(5), world.now);
    assert_eq!(drain(&mut world), [id(1)]);

    let names: Vec<_> = world.machine.names().map(|(id, ..)| id.clone()).collect();
    assert_eq!(names, [id(1)]);
}

#[test]
fn a_numbered_gateway_cannot_be_led_elsewhere() {
    let mut world = World::new(1);
    world.run_for(millis(10));

    world.machine.set_endpoint(&id(0), address(66), world.now);

    assert_eq!(world.machine.status()[0].address, Some(address(0)));
    assert!(world.send());
}

#[test]
fn no_timeout_lies_in_the_past_whatever_a_device_does() {
    let bits = 0x0006_0a7e;
    let mut seed = Seed::new(bits);
    let mut mixed = gateways(3);
    mixed[1] = named_gateways(2).remove(1);
    let mut world = World::with_gateways(&mixed, KEEPALIVE);
    for _ in 0..3000 {
        let draw = seed.draw();
        let number = usize::try_from(draw >> 32).unwrap() % 3;
        match draw % 8 {
            0 => world.alive[number] = !world.alive[number],
            1 => world.machine.network_changed(world.now),
            2 => sleep(&mut world, Duration::from_secs(draw >> 8 & 0x3ff)),
            3 => world.busy = !world.busy,
            4 => world.wanted = !world.wanted,
            5 => {
                if let Some((asked, ..)) = world.machine.poll_resolve() {
                    let found = [address(66), address(1)];
                    let found = &found[..usize::try_from(draw >> 16 & 3).unwrap().min(2)];
                    world.machine.handle_lookup(&asked, found, world.now);
                }
            }
            _ if world.machine.can_send() => {
                world.send();
            }
            _ => {}
        }
        // `run_for` checks it.
        world.run_for(seed.below(millis(900)));
    }
    world.alive = vec![true; 3];
    world.wanted = true;
    world.run_for(Duration::from_secs(40));
    assert!(
        world.machine.can_send(),
        "seed {bits:#x}: {:?}",
        world.machine
    );
}

fn named_and_used() -> World {
    let mut world = World::with_gateways(&named_gateways(1), KEEPALIVE);
    assert_eq!(drain(&mut world), [id(0)]);
    world.machine.set_endpoint(&id(0), address(0), world.now);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.in_use(), Some(0));
    world
}

fn drain(world: &mut World) -> Vec<GatewayId> {
    std::iter::from_fn(|| world.machine.poll_resolve())
        .map(|(id, ..)| id)
        .collect()
}

fn sleep(world: &mut World, asleep: Duration) {
    world.now = world.now + asleep;
    world.machine.resumed(asleep, world.now);
}

fn seal(world: &mut World) -> Result<(SocketAddr, usize), SealError> {
    let mut plain = packet([10, 1, 0, 2], [10, 9, 0, 1]);
    world
        .machine
        .seal(&mut plain, PACKET, true, &mut [0; 2048], world.now)
}

const KEEPALIVE: Option<Duration> = Some(Duration::from_secs(25));

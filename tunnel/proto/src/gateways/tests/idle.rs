//! Tunnels in which nothing, or always something, happens.

use super::*;

#[test]
fn an_idle_tunnel_that_need_not_stay_open_sends_nothing() {
    let mut world = World::new(1);
    world.run_for(millis(10));
    let before = world.sent;

    world.run_for(Duration::from_secs(600));

    assert_eq!(world.sent, before);
    assert_eq!(world.state_of(0), GatewayState::Idle, "its keys are gone");
}

#[test]
fn a_day_of_idling_costs_less_than_a_third_of_a_megabyte() {
    let mut world = World::with_keepalive(2, KEEPALIVE);
    world.run_for(millis(10));
    let before = world.wire_bytes;

    world.run_for(Duration::from_secs(86_400));

    let cost = world.wire_bytes - before;
    assert!((200_000..=300_000).contains(&cost), "{cost} bytes");
    assert_eq!(world.in_use(), Some(0));
}

#[test]
fn an_idle_tunnel_has_a_session_and_speaks_often_enough_at_all_times() {
    let mut world = World::with_keepalive(1, KEEPALIVE);
    world.run_for(millis(10));

    for second in 0..1000 {
        let before = world.sent;
        world.run_for(Duration::from_secs(1));
        assert!(world.machine.can_send(), "second {second}");
        if second % 26 == 25 {
            world.run_for(Duration::from_secs(25));
            assert!(world.sent > before, "second {second}");
        }
    }
}

#[test]
fn a_gateway_that_dies_while_idle_is_not_called_alive_for_long() {
    let mut world = World::with_keepalive(2, KEEPALIVE);
    world.run_for(Duration::from_secs(100));

    world.alive[0] = false;
    world.run_for(Duration::from_secs(124));

    assert_eq!(world.state_of(0), GatewayState::Silent);
    assert_eq!(world.in_use(), Some(1));
}

#[test]
fn packets_go_on_while_an_idle_gateway_is_probed() {
    let mut world = World::with_keepalive(1, KEEPALIVE);
    world.run_for(millis(10));
    let before = world.initiations;
    while world.initiations == before {
        let due = world.machine.poll_timeout().unwrap();
        world.now = due;
        world.machine.handle_timeout(due);
        assert!(world.machine.can_send());
        while let Some((to, control)) = world.machine.poll_control() {
            let is_call = control.as_bytes()[0] == 1;
            world.initiations += usize::from(is_call);
            if !is_call {
                world.arrive(to, control.as_bytes());
            }
        }
    }

    assert!(world.send(), "the call is still under way");
}

#[test]
fn a_gateway_that_asks_for_cookies_is_called_again_with_one() {
    let mut world = World::with_keepalive(1, KEEPALIVE);
    world.responders[0] = strict_responder(0);
    flood(&mut world.responders[0], world.now);

    world.run_for(millis(600));

    assert_eq!(world.in_use(), Some(0));
    assert_eq!(world.initiations, 2);
}

#[test]
fn all_are_lost_when_none_answers_twice_in_a_row_and_until_one_does() {
    let mut world = World::with_keepalive(2, KEEPALIVE);
    world.run_for(millis(10));
    assert!(world.send());
    world.alive = vec![false; 2];
    world.send();

    world.run_for(millis(2500));
    let after_one_round = world.machine.are_lost();
    world.run_for(millis(15_000));
    let after_more = world.machine.are_lost();
    world.alive[1] = true;
    world.run_for(millis(10_000));

    assert!(!after_one_round && after_more);
    assert_eq!(world.in_use(), Some(1));
    assert!(!world.machine.are_lost());
}

#[test]
fn a_cookie_is_no_sign_of_life() {
    let mut world = World::with_keepalive(1, KEEPALIVE);
    world.responders[0] = strict_responder(0);
    world.run_for(Duration::from_secs(100));
    flood(&mut world.responders[0], world.now);
    let before = world.initiations;
    while world.initiations == before {
        world.run_for(millis(100));
    }
    let probed = world.now;

    world.run_for(millis(1600));

    let last = world.machine.status()[0].last_handshake.unwrap();
    assert!(last >= probed, "it was called again");
    assert_eq!(world.in_use(), Some(0));
}

#[test]
fn it_returns_to_the_preferred_gateway_once_that_is_steady_and_no_flow_is_live() {
    let mut world = on_the_second();
    world.busy = true;

    world.run_for(Duration::from_secs(200));
    assert_eq!(world.in_use(), Some(1), "live flows are not disturbed");
    world.busy = false;
    world.run_for(Duration::from_secs(40));

    assert_eq!(world.in_use(), Some(0));
}

#[test]
fn a_flow_that_never_ends_keeps_a_site_on_its_last_resort_for_minutes_only() {
    let mut world = on_the_second();
    world.busy = true;

    let returned = world.now;
    while world.in_use() != Some(0) {
        assert!(world.send(), "the flow goes on");
        world.run_for(millis(500));
        assert!(world.now.since(returned) < Duration::from_secs(400));
    }

    assert!(world.now.since(returned) >= Duration::from_secs(300));
    assert!(world.send(), "the flow goes on through the better gateway");
    world.receive_from(1);
    assert_eq!(world.in_use(), Some(0), "what was under way is taken");
}

#[test]
fn the_first_datagram_through_the_gateway_returned_to_is_a_keepalive() {
    let mut world = on_the_second();
    world.busy = true;
    let mut last = Vec::new();
    while world.in_use() != Some(0) {
        last.clear();
        world.now = world.machine.poll_timeout().unwrap();
        world.machine.handle_timeout(world.now);
        while let Some((to, control)) = world.machine.poll_control() {
            last.push((to, control.as_bytes().to_vec()));
            world.arrive(to, control.as_bytes());
        }
    }

    let (to, keepalive) = last.last().unwrap();
    assert_eq!(*to, address(0));
    assert_eq!(keepalive.len(), crate::noise::DATA_OVERHEAD);
    assert!(world.machine.poll_control().is_none());
}

#[test]
fn a_preferred_gateway_that_comes_and_goes_is_not_returned_to() {
    let mut world = on_the_second();
    world.busy = true;

    for _ in 0..10 {
        world.alive[0] = true;
        world.run_for(Duration::from_secs(150));
        assert_eq!(world.in_use(), Some(1));
        world.alive[0] = false;
        world.run_for(Duration::from_secs(150));
        assert_eq!(world.in_use(), Some(1));
    }
}

#[test]
fn a_preferred_gateway_that_failed_has_to_be_steady_anew() {
    let mut world = World::with_keepalive(2, KEEPALIVE);
    world.run_for(Duration::from_secs(600));
    world.alive[0] = false;
    world.send();
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.in_use(), Some(1));

    world.alive[0] = true;
    world.busy = true;
    world.run_for(Duration::from_secs(100));

    assert_eq!(world.in_use(), Some(1));
}

/// Floods a gateway until it takes no more handshakes without a cookie.
fn flood(gateway: &mut Responder, now: Moment) {
    let stranger = PeerConfig {
        private_key: PrivateKey::from_bytes([77; 32]),
        remote: key(0).public_key(),
        index: SessionIndex::new(9),
        filter: InnerFilter::default(),
        mtu: 1420,
    };
    let mut stranger = crate::noise::Peer::new(stranger, now);
    let from = "203.0.113.66:4000".parse().unwrap();
    while gateway.poll_control().is_none() {
        stranger.initiate(now);
        let initiation = stranger.poll_control().unwrap();
        let mut out = [0; 2048];
        let received = gateway.handle_datagram(initiation.as_bytes(), from, &mut out, now);
        assert!(received.is_err());
    }
}

/// Two gateways, of which the first failed and came back.
fn on_the_second() -> World {
    let mut world = World::with_keepalive(2, KEEPALIVE);
    world.alive[0] = false;
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.in_use(), Some(1));
    world.alive[0] = true;
    world
}

const KEEPALIVE: Option<Duration> = Some(Duration::from_secs(25));

#[test]
fn who_asks_learns_which_gateways_answer_and_changes_nothing_else() {
    let mut world = World::with_keepalive(3, KEEPALIVE);
    world.run_for(Duration::from_secs(60));
    world.alive[1] = false;
    let (asked, before) = (world.now, world.initiations);

    world.machine.call_all(world.now);
    world.machine.call_all(world.now);
    world.run_for(millis(100));

    let answered = |status: &GatewayStatus| status.last_handshake >= Some(asked);
    let answers: Vec<bool> = world.machine.status().iter().map(answered).collect();
    assert_eq!(answers, [true, false, true]);
    assert_eq!(world.initiations - before, 3, "each is called once");
    assert_eq!(world.in_use(), Some(0));
    assert!(world.send());
}

//! Tunnels that somebody looks at.

use std::collections::VecDeque;

use super::*;

#[test]
fn a_gateway_that_dies_while_somebody_watches_is_not_called_alive_for_longer_than_that() {
    for (config, noticed, silent) in [
        (config(None), 5900, 8600),
        (config(KEEPALIVE), 5900, 8600),
        (without_servers(None), 12_000, 15_000),
        (without_servers(KEEPALIVE), 12_000, 15_000),
    ] {
        let mut world = World::with_config(&gateways(1), &config);
        world.run_for(Duration::from_secs(300));
        world.machine.set_watched(true, world.now);
        world.run_for(Duration::from_secs(60));
        assert_eq!(world.state_of(0), GatewayState::InUse);

        world.alive[0] = false;
        world.run_for(millis(noticed));
        assert_ne!(world.state_of(0), GatewayState::InUse);
        world.run_for(millis(silent - noticed));
        assert_eq!(world.state_of(0), GatewayState::Silent);

        world.alive[0] = true;
        world.run_for(Duration::from_secs(6));
        assert_eq!(world.state_of(0), GatewayState::InUse);
    }
}

#[test]
fn watching_costs_a_question_every_four_seconds_and_nothing_when_it_ends() {
    let mut world = World::new(1);
    world.run_for(millis(10));
    world.machine.set_watched(true, world.now);
    let (asked, called, bytes) = (world.questions, world.initiations, world.wire_bytes);

    world.run_for(Duration::from_secs(600));
    let asked = world.questions - asked;
    let called = world.initiations - called;
    let bytes = world.wire_bytes - bytes;
    world.machine.set_watched(false, world.now);
    let before = world.sent;
    world.run_for(Duration::from_secs(600));

    assert!((148..=152).contains(&asked), "{asked} questions");
    assert!(called <= 5, "{called} handshakes, for fresh keys");
    assert!(bytes / asked <= 230, "{} bytes for each", bytes / asked);
    assert!(world.sent <= before + 1, "the last answer may be under way");
}

#[test]
fn where_nobody_can_be_asked_watching_costs_one_handshake_in_ten_seconds() {
    let mut world = World::with_config(&gateways(1), &without_servers(None));
    world.run_for(millis(10));
    world.machine.set_watched(true, world.now);
    let before = world.initiations;

    world.run_for(Duration::from_secs(600));
    let watched = world.initiations - before;
    world.machine.set_watched(false, world.now);
    let before = world.sent;
    world.run_for(Duration::from_secs(600));

    assert!((55..=60).contains(&watched), "{watched} handshakes");
    assert!(world.sent <= before + 1, "the last answer may be under way");
}

#[test]
fn a_gateway_that_leads_nowhere_is_in_use_and_known_to() {
    let mut world = World::new(1);
    world.machine.set_watched(true, world.now);
    world.run_for(Duration::from_secs(10));
    assert!(world.answers());

    world.serves = false;
    world.run_for(Duration::from_secs(8));
    assert_eq!(world.state_of(0), GatewayState::InUse);
    assert!(world.machine.can_send());
    assert!(world.is_silent());

    let (asked, called) = (world.questions, world.initiations);
    world.run_for(Duration::from_secs(100));
    assert!((9..=11).contains(&(world.questions - asked)));
    assert!(world.initiations - called <= 11);
    assert_eq!(world.state_of(0), GatewayState::InUse);

    world.serves = true;
    world.run_for(Duration::from_secs(11));
    assert!(world.answers());
}

#[test]
fn packets_from_anywhere_behind_show_that_the_gateway_leads_there() {
    let mut world = World::new(1);
    world.serves = false;
    world.machine.set_watched(true, world.now);

    for _ in 0..200 {
        world.run_for(millis(500));
        world.receive();
        assert!(world.machine.can_send());
    }

    let behind = world.behind();
    assert!(matches!(behind, Some(Behind::Asked { .. })), "{behind:?}");
    assert!(world.questions <= 13, "{} questions", world.questions);
    world.run_for(Duration::from_secs(45));
    assert!(world.is_silent());
}

#[test]
fn what_was_found_out_long_ago_is_not_told_to_who_asks_now() {
    let mut world = World::new(1);
    world.serves = false;
    world.machine.set_watched(true, world.now);
    world.run_for(Duration::from_secs(60));
    assert!(world.is_silent());
    world.machine.set_watched(false, world.now);
    world.run_for(Duration::from_secs(60));

    world.serves = true;
    world.machine.call_all(world.now);
    assert!(!world.is_silent());
    world.run_for(millis(10));

    assert!(world.answers());
}

#[test]
fn a_device_that_moves_asks_anew() {
    for moves in [
        (|world: &mut World| world.machine.network_changed(world.now)) as fn(&mut World),
        |world| world.machine.resumed(millis(10), world.now),
    ] {
        let mut world = World::new(1);
        world.serves = false;
        world.machine.set_watched(true, world.now);
        world.run_for(Duration::from_secs(60));
        assert!(world.is_silent());

        world.serves = true;
        moves(&mut world);
        world.run_for(millis(10));

        assert!(world.answers());
    }
}

#[test]
fn who_asks_while_there_is_no_session_is_answered_as_soon_as_there_is_one() {
    let mut world = World::new(1);
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.state_of(0), GatewayState::Idle);

    world.machine.call_all(world.now);
    world.run_for(millis(10));

    assert!(world.answers());
}

#[test]
fn servers_that_no_gateway_speaks_for_are_not_asked() {
    let elsewhere = TunnelConfig {
        resolvers: vec![[10, 8, 0, 53].into()],
        ..config(None)
    };
    let mut world = World::with_config(&gateways(1), &elsewhere);
    world.machine.set_watched(true, world.now);
    let before = world.initiations;

    world.run_for(Duration::from_secs(600));

    let called = world.initiations - before;
    assert!((55..=61).contains(&called), "{called} handshakes");
    assert_eq!(world.behind(), None);
}

#[test]
fn a_way_that_grows_longer_is_learned() {
    for millis_long in (100..=2900).step_by(50) {
        let mut inquiry = Inquiry::new(&[[10, 1, 0, 2].into()], [SERVER.into()].into_iter());
        let mut seed = Seed::new(millis_long);
        let mut now = Moment::from_boot(Duration::from_secs(1000));
        let question = inquiry.ask(&mut seed, now).unwrap();
        assert!(inquiry.take(&answer_of_server(&question).unwrap(), now));

        let (mut under_way, mut questions) = (VecDeque::new(), 0);
        let end = now + Duration::from_secs(60);
        while now < end {
            let arrives = under_way.front().map(|(at, _)| *at);
            now = arrives.into_iter().chain(inquiry.due(true)).min().unwrap();
            if arrives == Some(now) {
                let (_, answer): (Moment, Vec<u8>) = under_way.pop_front().unwrap();
                assert!(inquiry.take(&answer, now), "{millis_long} ms");
            }
            inquiry.note_missed(now);
            if inquiry.is_due(now)
                && let Some(question) = inquiry.ask(&mut seed, now)
            {
                questions += 1;
                let answer = answer_of_server(&question).unwrap();
                under_way.push_back((now + millis(millis_long), answer));
            }
        }

        let Some(Behind::Answers { took, .. }) = inquiry.report() else {
            panic!("{:?} after {millis_long} ms", inquiry.report());
        };
        assert_eq!(took, millis(millis_long));
        assert!(questions <= 20, "{questions} at {millis_long} ms");
    }
}

#[test]
fn a_late_answer_counts() {
    let mut world = World::new(1);
    world.serves = false;
    world.machine.set_watched(true, world.now);
    world.run_for(Duration::from_secs(60));
    assert!(world.is_silent());

    world.serves = true;
    let question = world.last_question.clone();
    world.run_for(millis(100));
    let answer = answer_of_server(&question).unwrap();

    assert!(!world.receive_packet(0, &answer));
    let Some(Behind::Answers { at, took }) = world.behind() else {
        panic!("{:?}", world.behind())
    };
    assert!(at == world.now && took > millis(100), "{took:?}");
}

#[test]
fn only_the_answer_is_kept_from_programs() {
    let mut world = World::new(1);
    world.serves = false;
    world.run_for(millis(10));
    world.machine.set_watched(true, world.now);
    world.run_for(millis(10));
    let answer = answer_of_server(&world.last_question).unwrap();
    let changed = |at: usize| {
        let mut other = answer.clone();
        other[at] ^= 1;
        other
    };

    // Another server, another port of ours, another number.
    for at in [15, 23, 28] {
        assert!(world.receive_packet(0, &changed(at)), "byte {at}");
    }
    assert!(!world.receive_packet(0, &answer));
    assert!(world.receive_packet(0, &answer), "it was answered before");
}

#[test]
fn who_asks_without_watching_learns_what_is_behind() {
    let mut world = World::new(1);
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.behind(), None);

    let at = world.now;
    world.machine.call_all(at);
    world.run_for(millis(100));
    let behind = world.behind();
    let sent = world.sent;
    world.run_for(Duration::from_secs(600));

    let took = Duration::ZERO;
    assert_eq!(behind, Some(Behind::Answers { at, took }));
    assert_eq!(world.sent, sent);
}

#[test]
fn what_is_behind_another_gateway_is_asked_anew() {
    let mut world = World::new(2);
    world.machine.set_watched(true, world.now);
    world.run_for(Duration::from_secs(60));

    world.alive[0] = false;
    world.serves = false;
    world.run_for(millis(7500));
    assert_eq!(world.in_use(), Some(1));
    assert!(!world.answers() && !world.is_silent(), "not known yet");
    world.run_for(Duration::from_secs(5));

    assert!(world.is_silent());
    assert_eq!(world.machine.status()[0].behind, None);
}

impl World {
    fn behind(&self) -> Option<Behind> {
        let used = self.in_use()?;
        self.machine.status()[used].behind
    }

    fn answers(&self) -> bool {
        matches!(self.behind(), Some(Behind::Answers { .. }))
    }

    fn is_silent(&self) -> bool {
        matches!(self.behind(), Some(Behind::Silent { .. }))
    }
}

fn without_servers(keepalive: Option<Duration>) -> TunnelConfig {
    TunnelConfig {
        resolvers: Vec::new(),
        ..config(keepalive)
    }
}

const KEEPALIVE: Option<Duration> = Some(Duration::from_secs(25));

mod idle;
mod moving;
mod watched;

use connector_core::catalogue::{Endpoint, GatewayId};

use super::*;
use crate::dns::Query;
use crate::noise::Responder;
use crate::packet::{Headers, udp_packet};
use crate::reach::{Admission, Reach};

#[test]
fn the_first_gateway_that_answers_carries_the_packets() {
    let mut world = World::new(2);

    world.run_for(millis(10));

    assert_eq!(world.in_use(), Some(0));
    assert!(world.machine.can_send());
    assert!(world.send(), "the packet arrives");
}

#[test]
fn a_dead_first_gateway_is_passed_over_in_time_for_those_who_wait() {
    let mut world = World::new(2);
    world.alive[0] = false;

    world.run_for(millis(1600));

    assert_eq!(world.in_use(), Some(1));
    assert_eq!(world.machine.status()[0].state, GatewayState::Silent);
}

#[test]
fn a_gateway_that_dies_under_traffic_is_left_for_the_next_within_two_and_a_half_seconds() {
    let mut world = World::new(2);
    world.run_for(millis(10));
    assert!(world.send());

    world.alive[0] = false;
    let died = world.now;
    while !(world.machine.can_send() && world.in_use() == Some(1)) {
        if world.machine.can_send() {
            world.send();
        }
        world.run_for(millis(50));
        assert!(world.now.since(died) < millis(2500), "{:?}", world.machine);
    }

    assert!(world.send(), "the next one carries packets at once");
}

#[test]
fn the_next_gateway_is_told_the_moment_it_is_taken_into_use() {
    let mut world = World::new(2);
    world.run_for(millis(10));
    world.alive[0] = false;
    world.send();

    while !world.machine.can_send() || world.in_use() == Some(0) {
        world.deliver();
        world.now = world.machine.poll_timeout().unwrap();
        world.machine.handle_timeout(world.now);
    }

    let (to, keepalive) = world.machine.poll_control().unwrap();
    assert_eq!(to, address(1));
    assert_eq!(keepalive.as_bytes().len(), crate::noise::DATA_OVERHEAD);
}

#[test]
fn nothing_is_sent_to_a_gateway_in_doubt() {
    let mut world = World::new(1);
    world.run_for(millis(10));
    world.alive[0] = false;
    world.send();

    world.run_for(millis(1000));

    assert!(!world.machine.can_send());
}

#[test]
fn an_application_that_never_answers_causes_no_storm_of_handshakes() {
    let mut world = World::new(2);
    world.run_for(millis(10));
    world.replies = false;
    let before = world.initiations;

    for _ in 0..1200 {
        if world.machine.can_send() {
            world.send();
        }
        world.run_for(millis(500));
    }

    let calls = world.initiations - before;
    assert!((1..=20).contains(&calls), "{calls} in ten minutes");
    assert_eq!(world.in_use(), Some(0));
}

#[test]
fn the_sudden_end_of_a_transfer_is_looked_into_once() {
    let mut world = World::new(2);
    world.run_for(millis(10));
    for _ in 0..100 {
        world.receive();
    }
    let before = world.initiations;

    world.run_for(Duration::from_secs(60));

    assert_eq!(world.initiations - before, 1);
    assert_eq!(world.in_use(), Some(0));
}

#[test]
fn a_transfer_that_breaks_off_with_its_gateway_goes_on_through_the_next() {
    let mut world = World::new(2);
    world.run_for(millis(10));
    for _ in 0..100 {
        world.receive();
    }

    world.alive[0] = false;
    world.run_for(millis(2500));

    assert_eq!(world.in_use(), Some(1));
}

#[test]
fn when_nobody_answers_the_calls_become_rare_until_somebody_wants_to_send() {
    let mut world = World::with_keepalive(2, Some(Duration::from_secs(25)));
    world.alive = vec![false; 2];
    world.run_for(Duration::from_secs(600));
    assert!(world.initiations < 350, "{}", world.initiations);

    world.alive[1] = true;
    world.wanted = true;
    world.run_for(millis(1600));

    assert_eq!(world.in_use(), Some(1));
}

#[test]
fn a_gateway_that_returns_after_ten_minutes_is_found_within_five_seconds_without_traffic() {
    for number in 0..2 {
        let mut world = World::with_keepalive(2, Some(Duration::from_secs(25)));
        world.run_for(millis(10));
        world.alive = vec![false; 2];
        world.run_for(Duration::from_secs(800));
        assert_eq!(world.in_use(), None, "the status tells the truth");

        world.alive[number] = true;
        world.run_for(Duration::from_secs(5));

        assert_eq!(world.in_use(), Some(number));
    }
}

#[test]
fn gateways_that_stay_away_for_hours_are_called_rarely() {
    let mut world = World::with_keepalive(2, Some(Duration::from_secs(25)));
    world.alive = vec![false; 2];
    world.run_for(Duration::from_secs(3600));
    let before = world.initiations;

    world.run_for(Duration::from_secs(3600));

    let calls = world.initiations - before;
    assert!((1..=500).contains(&calls), "{calls} in an hour");
}

#[test]
fn every_gateway_owns_its_datagrams_and_no_others() {
    let world = World::new(3);
    let indices: Vec<_> = world.machine.session_indices().collect();
    let strangers = Gateways::new(&config(None), &gateways(3), Seed::new(8), world.now);

    assert_eq!(indices.len(), 3);
    assert!(indices.iter().all(|index| world.machine.owns(*index)));
    assert!(indices.iter().all(|index| !strangers.owns(*index)));
}

#[test]
fn a_gateway_without_the_right_key_is_never_used() {
    let mut world = World::new(2);
    world.responders[0] = responder(9);

    world.run_for(Duration::from_secs(2));

    assert_eq!(world.in_use(), Some(1));
}

#[test]
fn no_timeout_lies_in_the_past_once_it_was_handled() {
    let mut world = World::with_keepalive(2, Some(Duration::from_secs(25)));
    for step in 0..200_u64 {
        world.alive[0] = step % 7 < 3;
        world.alive[1] = step % 5 < 2;
        world.busy = step % 3 == 0;
        world.wanted = step % 4 == 0;
        if world.machine.can_send() {
            world.send();
        }
        // `run_for` checks it.
        world.run_for(millis(700));
    }
}

/// A device, its gateways, and an echo and a name server behind them, on a clock that jumps.
struct World {
    machine: Gateways,
    /// Where each gateway listens now.
    listens: Vec<SocketAddr>,
    /// Where we are; gateways answer where they last heard us.
    us: SocketAddr,
    heard_us: Vec<SocketAddr>,
    /// Bytes of UDP payload on the wire, both ways.
    wire_bytes: usize,
    responders: Vec<Responder>,
    alive: Vec<bool>,
    replies: bool,
    /// Whether the name server answers, and how many questions came to it.
    serves: bool,
    questions: usize,
    last_question: Vec<u8>,
    wanted: bool,
    busy: bool,
    now: Moment,
    sent: usize,
    initiations: usize,
}

impl World {
    fn new(gateways: u8) -> Self {
        Self::with_keepalive(gateways, None)
    }

    fn with_keepalive(count: u8, keepalive: Option<Duration>) -> Self {
        Self::with_gateways(&gateways(count), keepalive)
    }

    fn with_gateways(gateways: &[Gateway], keepalive: Option<Duration>) -> Self {
        Self::with_config(gateways, &config(keepalive))
    }

    fn with_config(gateways: &[Gateway], config: &TunnelConfig) -> Self {
        let now = Moment::from_boot(Duration::from_secs(1000));
        let count = u8::try_from(gateways.len()).unwrap();
        Self {
            machine: Gateways::new(config, gateways, Seed::new(7), now),
            listens: (0..count).map(address).collect(),
            us: "198.51.100.1:4000".parse().unwrap(),
            heard_us: vec!["198.51.100.1:4000".parse().unwrap(); usize::from(count)],
            wire_bytes: 0,
            responders: (0..count).map(responder).collect(),
            alive: vec![true; usize::from(count)],
            replies: true,
            serves: true,
            questions: 0,
            last_question: Vec::new(),
            wanted: false,
            busy: false,
            now,
            sent: 0,
            initiations: 0,
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.machine.set_demand(self.wanted, self.busy, self.now);
            self.deliver();
            let next = self.machine.poll_timeout().filter(|next| *next <= end);
            self.now = next.unwrap_or(end).max(self.now);
            self.machine.handle_timeout(self.now);
            self.deliver();
            let due = self.machine.poll_timeout();
            assert!(
                due.is_none_or(|due| due > self.now),
                "{due:?} at {:?}",
                self.now
            );
            if next.is_none() {
                return;
            }
        }
    }

    fn deliver(&mut self) {
        while let Some((to, control)) = self.machine.poll_control() {
            self.sent += 1;
            self.initiations += usize::from(control.as_bytes()[0] == 1);
            self.arrive(to, control.as_bytes());
        }
    }

    fn arrive(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        self.wire_bytes += datagram.len();
        let listener = self.listens.iter().position(|listens| *listens == to);
        let Some(number) = listener.filter(|number| self.alive[*number]) else {
            return false;
        };
        let mut out = [0; 2048];
        let responder = &mut self.responders[number];
        let received = responder.handle_datagram(datagram, self.us, &mut out, self.now);
        if received.is_ok() {
            self.heard_us[number] = self.us;
        }
        let packet = match received.map(|received| received.opened) {
            Ok(Opened::Packet(packet)) => packet.to_vec(),
            Ok(_) | Err(_) => Vec::new(),
        };
        while let Some((_, control)) = responder.poll_control() {
            self.wire_bytes += control.as_bytes().len();
            let _ = self
                .machine
                .handle_datagram(control.as_bytes(), to, &mut out, self.now);
        }
        let arrived = !packet.is_empty();
        if let Some(answer) = answer_of_server(&packet) {
            self.questions += 1;
            self.last_question = packet;
            if self.serves {
                let taken = self.receive_packet(number, &answer);
                assert!(!taken, "nobody else asked");
            }
        } else if arrived && self.replies {
            self.receive_from(number);
        }
        arrived
    }

    /// Sends a packet that wants an answer; returns whether it arrived.
    fn send(&mut self) -> bool {
        let mut plain = packet([10, 1, 0, 2], [10, 9, 0, 1]);
        let mut out = [0; 2048];
        let (to, length) = self
            .machine
            .seal(&mut plain, PACKET, true, &mut out, self.now)
            .unwrap();
        self.sent += 1;
        self.arrive(to, &out[..length])
    }

    fn receive(&mut self) {
        self.receive_from(self.in_use().unwrap());
    }

    fn receive_from(&mut self, number: usize) {
        let taken = self.receive_packet(number, &packet([10, 9, 0, 1], [10, 1, 0, 2])[..PACKET]);
        assert!(taken || self.heard_us[number] != self.us);
    }

    /// Receives a packet through a gateway; returns whether it is for others than the machine.
    fn receive_packet(&mut self, number: usize, packet: &[u8]) -> bool {
        let (mut plain, mut wire, mut out) = ([0; 2048], [0; 2048], [0; 2048]);
        plain[..packet.len()].copy_from_slice(packet);
        let to = IpAddr::from([10, 1, 0, 2]);
        let (_, length) = self.responders[number]
            .seal(&mut plain, packet.len(), to, &mut wire, self.now)
            .unwrap();
        if self.heard_us[number] != self.us {
            return false;
        }
        self.wire_bytes += length;
        let from = self.listens[number];
        let opened = self
            .machine
            .handle_datagram(&wire[..length], from, &mut out, self.now);
        opened.unwrap().is_some()
    }

    fn state_of(&self, number: usize) -> GatewayState {
        self.machine.status()[number].state
    }

    fn in_use(&self) -> Option<usize> {
        self.machine
            .status()
            .iter()
            .position(|status| status.state == GatewayState::InUse)
    }
}

fn config(keepalive: Option<Duration>) -> TunnelConfig {
    TunnelConfig {
        private_key: ours(),
        addresses: vec![[10, 1, 0, 2].into()],
        mtu: 1420,
        keepalive,
        resolvers: vec![SERVER.into()],
    }
}

fn gateways(count: u8) -> Vec<Gateway> {
    (0..count)
        .map(|number| Gateway {
            id: id(number),
            endpoint: address(number).into(),
            public_key: *key(number).public_key().as_bytes(),
            allowed_sources: vec!["10.9.0.0/16".parse().unwrap()],
        })
        .collect()
}

/// Gateways that are configured by name.
fn named_gateways(count: u8) -> Vec<Gateway> {
    let named = |number: u8, gateway: Gateway| Gateway {
        endpoint: Endpoint::Name {
            host: format!("gw-{number}.corp.test").parse().unwrap(),
            port: 51820,
        },
        ..gateway
    };
    (0..)
        .zip(gateways(count))
        .map(|(number, gateway)| named(number, gateway))
        .collect()
}

fn id(number: u8) -> GatewayId {
    GatewayId::from(format!("gw-{number}").as_str())
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 51820))
}

fn responder(number: u8) -> Responder {
    strict_responder(number).relaxed()
}

/// A gateway that asks for cookies, by boringtun's clock.
fn strict_responder(number: u8) -> Responder {
    let now = Moment::default();
    let destinations = vec!["10.9.0.0/16".parse().unwrap()];
    let mut responder = Responder::new(key(number), destinations, 1420, now);
    let mut seed = Seed::new(u64::from(number));
    responder.add_peer(
        ours().public_key(),
        Admission {
            addresses: vec!["10.1.0.2".parse().unwrap()],
            reach: Reach::Everything,
        },
        || seed.draw(),
        now,
    );
    responder
}

/// Returns what the name server says, if it is asked.
fn answer_of_server(packet: &[u8]) -> Option<Vec<u8>> {
    let ends = Headers::parse(packet)?.ends()?;
    if ends.destination != SocketAddr::from((SERVER, 53)) {
        return None;
    }
    let query = Query::decode(&packet[28..])?;
    let answer = query.encode_answer(Some(&[[127, 0, 0, 1].into()]));
    Some(udp_packet(ends.destination, ends.source, &answer))
}

fn packet(source: [u8; 4], destination: [u8; 4]) -> [u8; 64] {
    let mut packet = [0; 64];
    packet[..12].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
    packet[12..16].copy_from_slice(&source);
    packet[16..20].copy_from_slice(&destination);
    packet[20..28].copy_from_slice(&[0, 1, 0, 2, 0, 8, 0, 0]);
    packet
}

fn ours() -> PrivateKey {
    PrivateKey::from_bytes([200; 32])
}

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_bytes([number + 1; 32])
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const PACKET: usize = 28;

/// A name server behind the gateways.
const SERVER: [u8; 4] = [10, 9, 0, 53];

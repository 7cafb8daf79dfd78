use std::net::SocketAddr;

use super::doorkeeper::HANDSHAKES_PER_SECOND;
use super::*;
use crate::random::Seed;
use crate::reach::{Admission, Opening, Openings, Reach};

#[test]
fn a_handshake_opens_the_way_and_packets_arrive_as_they_were() {
    let mut pair = Pair::new();
    pair.shake();

    let mut plain = [0; MTU];
    let length = packet(&mut plain, [10, 1, 0, 2], [10, 9, 0, 1], 5);
    let expected = plain[..length].to_vec();
    let mut wire = [0; WIRE];
    let sealed = pair
        .client
        .seal(&mut plain, length, &mut wire, at(0))
        .unwrap();

    assert_eq!((sealed - DATA_OVERHEAD) % PADDING, 0, "padded");
    let mut out = [0; WIRE];
    let received = pair
        .gateway
        .handle_datagram(&wire[..sealed], from(), &mut out, at(0))
        .unwrap();
    assert_eq!(received.opened, Opened::Packet(&expected));
}

#[test]
fn padding_stays_within_the_mtu() {
    let mut pair = Pair::new();
    pair.shake();
    let mut plain = [0; MTU];
    let mut wire = [0; WIRE];
    let length = packet(&mut plain, [10, 1, 0, 2], [10, 9, 0, 1], MTU - 28);
    assert_eq!(length, MTU);

    let sealed = pair
        .client
        .seal(&mut plain, length, &mut wire, at(0))
        .unwrap();

    assert_eq!(sealed, MTU + DATA_OVERHEAD);
}

#[test]
fn short_buffers_are_errors() {
    let mut pair = Pair::new();
    pair.shake();
    let mut plain = [0; MTU];
    let length = packet(&mut plain, [10, 1, 0, 2], [10, 9, 0, 1], 500);

    let mut short = [0; 199];

    let sealed = pair.client.seal(&mut plain, length, &mut [0; 200], at(0));
    let opened = pair
        .client
        .open(&[DATA; 200], from().ip(), &mut short, at(0));

    assert_eq!(
        sealed,
        Err(SealError::ShortBuffer {
            needed: 528 + DATA_OVERHEAD
        })
    );
    assert_eq!(opened, Err(Rejected::ShortBuffer));
}

#[test]
fn a_spoofed_inner_address_is_dropped_on_either_side() {
    let mut out = [0; WIRE];
    let mut pair = Pair::new();
    pair.shake();

    for (source, destination, rejected) in [
        ([203, 0, 113, 7], [10, 1, 0, 2], Rejected::InnerSource),
        ([10, 9, 0, 1], [10, 1, 0, 3], Rejected::InnerDestination),
        ([10, 9, 0, 1], [127, 0, 0, 1], Rejected::InnerDestination),
    ] {
        // The gateway encrypts whatever it is told to, as a hostile one would.
        let wire = pair.packet_from_gateway(source, destination);
        let opened = pair.client.open(&wire, from().ip(), &mut out, at(0));
        assert_eq!(opened, Err(rejected));
    }
    let mut plain = [0; MTU];
    let mut wire = [0; WIRE];
    let length = packet(&mut plain, [10, 1, 0, 99], [10, 9, 0, 1], 0);
    let sealed = pair
        .client
        .seal(&mut plain, length, &mut wire, at(0))
        .unwrap();
    let received = pair
        .gateway
        .handle_datagram(&wire[..sealed], from(), &mut out, at(0));
    assert_eq!(received, Err(Rejected::InnerSource));
}

#[test]
fn a_replayed_datagram_is_dropped() {
    let mut pair = Pair::new();
    pair.shake();
    let wire = pair.packet_from_gateway([10, 9, 0, 1], [10, 1, 0, 2]);
    let mut out = [0; WIRE];

    assert!(
        pair.client
            .open(&wire, from().ip(), &mut out, at(0))
            .is_ok()
    );
    assert_eq!(
        pair.client.open(&wire, from().ip(), &mut out, at(0)),
        Err(Rejected::Replayed)
    );
}

#[test]
fn counters_that_no_honest_peer_reaches_never_enter() {
    let mut out = [0; WIRE];
    let mut pair = Pair::new();
    pair.shake();
    for counter in [u64::MAX, u64::MAX - 1024, REJECT_AFTER_MESSAGES] {
        let mut wire = pair.packet_from_gateway([10, 9, 0, 1], [10, 1, 0, 2]);
        wire[8..16].copy_from_slice(&counter.to_le_bytes());

        let opened = pair.client.open(&wire, from().ip(), &mut out, at(0));

        assert_eq!(opened, Err(Rejected::Replayed), "{counter}");
    }
}

#[test]
fn junk_of_every_kind_and_length_is_dropped_on_either_side() {
    let mut pair = Pair::new();
    pair.shake();
    let bits = 0x5eed;
    let mut seed = Seed::new(bits);
    let mut out = [0; WIRE];

    for round in 0..20_000 {
        let length = usize::try_from(seed.draw() % 200).unwrap();
        let mut junk: Vec<u8> = (0..length).map(|_| seed.draw().to_le_bytes()[0]).collect();
        if length >= 4 && round % 2 == 0 {
            junk[0] = u8::try_from(seed.draw() % 5).unwrap();
            junk[1..4].fill(0);
        }
        let opened = pair.client.open(&junk, from().ip(), &mut out, at(0));
        assert!(opened.is_err(), "seed {bits:#x}, round {round}");
        let received = pair.gateway.handle_datagram(&junk, from(), &mut out, at(0));
        assert!(received.is_err(), "seed {bits:#x}, round {round}");
    }
    assert!(
        pair.gateway.poll_control().is_none(),
        "nothing answers junk"
    );
}

#[test]
fn damaged_copies_of_real_datagrams_are_dropped() {
    let mut out = [0; WIRE];
    let mut pair = Pair::new();
    pair.shake();
    let wire = pair.packet_from_gateway([10, 9, 0, 1], [10, 1, 0, 2]);

    for at_byte in 0..wire.len() {
        let mut damaged = wire.clone();
        damaged[at_byte] ^= 0x40;
        let opened = pair.client.open(&damaged, from().ip(), &mut out, at(0));
        assert!(opened.is_err(), "{at_byte}");
    }
    assert!(
        pair.client
            .open(&wire, from().ip(), &mut out, at(0))
            .is_ok()
    );
}

#[test]
fn a_stranger_is_not_answered() {
    let mut out = [0; WIRE];
    let mut pair = Pair::new();
    let mut stranger = Peer::new(
        PeerConfig {
            private_key: PrivateKey::from_bytes([77; 32]),
            remote: PrivateKey::from_bytes([2; 32]).public_key(),
            index: SessionIndex::new(9),
            filter: InnerFilter::default(),
            mtu: MTU,
        },
        at(0),
    );
    stranger.initiate(at(0));
    let initiation = stranger.poll_control().unwrap();

    let received = pair
        .gateway
        .handle_datagram(initiation.as_bytes(), from(), &mut out, at(0));

    assert_eq!(received, Err(Rejected::UnknownSession));
    assert!(pair.gateway.poll_control().is_none());
}

#[test]
fn a_removed_peer_is_shut_out_at_once() {
    let mut out = [0; WIRE];
    let mut pair = Pair::new();
    pair.shake();
    let mut plain = [0; MTU];
    let mut wire = [0; WIRE];
    let length = packet(&mut plain, [10, 1, 0, 2], [10, 9, 0, 1], 0);
    let sealed = pair
        .client
        .seal(&mut plain, length, &mut wire, at(0))
        .unwrap();

    pair.gateway
        .remove_peer(&PrivateKey::from_bytes([1; 32]).public_key());

    assert_eq!(
        pair.gateway
            .handle_datagram(&wire[..sealed], from(), &mut out, at(0)),
        Err(Rejected::UnknownSession)
    );
}

#[test]
fn under_a_flood_of_handshakes_the_responder_asks_for_cookies_and_still_serves() {
    let mut pair = Pair::new();
    let mut out = [0; WIRE];
    let mut asked = 0;
    for _ in 0..HANDSHAKES_PER_SECOND + 50 {
        pair.client.initiate(at(0));
        let initiation = pair.client.poll_control().unwrap();
        let received = pair
            .gateway
            .handle_datagram(initiation.as_bytes(), from(), &mut out, at(0));
        if received == Err(Rejected::UnderLoad) {
            asked += 1;
            let (_, cookie) = pair.gateway.poll_control().unwrap();
            let opened = pair
                .client
                .open(cookie.as_bytes(), from().ip(), &mut out, at(0));
            assert_eq!(opened, Ok(Opened::Cookie));
        }
        while pair.gateway.poll_control().is_some() {}
    }

    assert_eq!(asked, 1, "whoever shows the cookie is let in");
}

#[test]
fn a_packet_to_what_is_not_open_is_dropped_and_a_changed_reach_counts_from_the_next_one_on() {
    let mut pair = Pair::new();
    pair.shake();
    let key = PrivateKey::from_bytes([1; 32]).public_key();
    let service = "10.9.0.1".parse().unwrap();
    let opening = |is_open| {
        let ports = connector_core::catalogue::Ports {
            tcp: vec![],
            udp: vec![53..=53],
        };
        let prefix = connector_core::network::Prefix::host(service);
        Reach::Only(Openings::new([Opening {
            prefix,
            ports,
            is_open,
        }]))
    };
    let mut send = |gateway: &mut Responder, port: u16| {
        let (from, to) = (([10, 1, 0, 2], 4000).into(), (service, port).into());
        let packet = crate::packet::udp_packet(from, to, b"x");
        let (mut plain, mut datagram, mut out) = ([0; WIRE], [0; WIRE], [0; WIRE]);
        plain[..packet.len()].copy_from_slice(&packet);
        let sealed = pair
            .client
            .seal(&mut plain, packet.len(), &mut datagram, at(0));
        let datagram = &datagram[..sealed.unwrap()];
        let received = gateway.handle_datagram(datagram, self::from(), &mut out, at(0));
        received.map(|received| matches!(received.opened, Opened::Packet(_)))
    };
    let gateway = &mut pair.gateway;

    gateway.set_reach(&key, opening(true));
    assert_eq!(send(gateway, 53), Ok(true));
    assert_eq!(send(gateway, 54), Err(Rejected::NotPermitted));

    gateway.set_reach(&key, opening(false));
    assert_eq!(send(gateway, 53), Err(Rejected::NotPermitted));

    gateway.remove_peer(&key);
    assert_eq!(send(gateway, 53), Err(Rejected::UnknownSession));
}

fn everywhere(addresses: Vec<connector_core::network::Prefix>) -> Admission {
    Admission {
        addresses,
        reach: Reach::Everything,
    }
}

struct Pair {
    client: Peer,
    gateway: Responder,
}

impl Pair {
    fn new() -> Self {
        let (ours, theirs) = (
            PrivateKey::from_bytes([1; 32]),
            PrivateKey::from_bytes([2; 32]),
        );
        let mut gateway = Responder::new(
            theirs.clone(),
            vec!["10.9.0.0/16".parse().unwrap()],
            MTU,
            at(0),
        );
        let mut seed = Seed::new(1);
        gateway.add_peer(
            ours.public_key(),
            everywhere(vec!["10.1.0.2".parse().unwrap()]),
            || seed.draw(),
            at(0),
        );
        let client = Peer::new(
            PeerConfig {
                private_key: ours,
                remote: theirs.public_key(),
                index: SessionIndex::new(0x00ab_cdef),
                filter: InnerFilter {
                    sources: vec!["10.9.0.0/16".parse().unwrap()],
                    destinations: vec!["10.1.0.2".parse().unwrap()],
                },
                mtu: MTU,
            },
            at(0),
        );
        Self { client, gateway }
    }

    fn shake(&mut self) {
        let mut out = [0; WIRE];
        self.client.initiate(at(0));
        let initiation = self.client.poll_control().unwrap();
        self.gateway
            .handle_datagram(initiation.as_bytes(), from(), &mut out, at(0))
            .unwrap();
        let (_, response) = self.gateway.poll_control().unwrap();
        let opened = self
            .client
            .open(response.as_bytes(), from().ip(), &mut out, at(0));
        assert_eq!(opened, Ok(Opened::Handshake));
        let keepalive = self.client.poll_control().unwrap();
        let received = self
            .gateway
            .handle_datagram(keepalive.as_bytes(), from(), &mut out, at(0));
        assert_eq!(received.unwrap().opened, Opened::Keepalive);
        assert!(self.client.has_session());
    }

    fn packet_from_gateway(&mut self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let mut plain = [0; MTU];
        let length = packet(&mut plain, source, destination, 3);
        let mut wire = vec![0; WIRE];
        let to = IpAddr::from([10, 1, 0, 2]);
        let (_, sealed) = self
            .gateway
            .seal(&mut plain, length, to, &mut wire, at(0))
            .unwrap();
        wire.truncate(sealed);
        wire
    }
}

fn packet(buffer: &mut [u8], source: [u8; 4], destination: [u8; 4], payload: usize) -> usize {
    let total = 28 + payload;
    let length = u16::try_from(total).unwrap().to_be_bytes();
    let datagram = u16::try_from(8 + payload).unwrap().to_be_bytes();
    buffer[..12].copy_from_slice(&[0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0]);
    buffer[12..16].copy_from_slice(&source);
    buffer[16..20].copy_from_slice(&destination);
    buffer[20..28].copy_from_slice(&[0, 1, 0, 2, datagram[0], datagram[1], 0, 0]);
    total
}

fn from() -> SocketAddr {
    "192.0.2.1:51820".parse().unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment::from_boot(Duration::from_secs(seconds))
}

const MTU: usize = 1420;
const WIRE: usize = 2048;

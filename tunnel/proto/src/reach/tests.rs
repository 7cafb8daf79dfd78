use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::packet::{prohibited, too_big, udp_packet};

#[test]
fn only_open_ports_of_open_addresses_are_reached() {
    let reach = reach();

    for (to, is_open) in [
        ("10.20.0.10:80", true),
        ("10.20.0.10:81", false),
        ("10.20.0.11:80", false),
        ("10.20.5.9:7", true),
        ("10.20.5.9:80", false),
        ("[fd20::10]:80", true),
        ("[fd20::11]:80", false),
    ] {
        let to: SocketAddr = to.parse().unwrap();

        assert_eq!(
            reach.covers(&tcp(client(to), to, SYN), TO_SITE),
            is_open,
            "{to}"
        );
        let datagram = udp_packet(client(to), to, b"x");
        assert!(!reach.covers(&datagram, TO_SITE), "{to}: no UDP is open");
    }
}

#[test]
fn nothing_is_open_to_a_peer_of_whom_nothing_is_known() {
    let to = "10.20.0.10:80".parse().unwrap();

    assert!(!Reach::default().covers(&tcp(client(to), to, SYN), TO_SITE));
    assert!(Reach::Everything.covers(&tcp(client(to), to, SYN), TO_SITE));
}

#[test]
fn answers_come_back_and_nobody_calls_from_behind() {
    let reach = reach();
    let (wiki, other): (SocketAddr, SocketAddr) = (
        "10.20.0.10:80".parse().unwrap(),
        "10.20.0.11:80".parse().unwrap(),
    );
    let client = client(wiki);

    assert!(reach.covers(&tcp(wiki, client, SYN | ACK), TO_PEER));
    assert!(reach.covers(&tcp(wiki, client, ACK), TO_PEER));
    assert!(!reach.covers(&tcp(wiki, client, SYN), TO_PEER));
    assert!(!reach.covers(&tcp(other, client, ACK), TO_PEER));
    assert!(!reach.covers(&udp_packet(wiki, client, b"x"), TO_PEER));
}

#[test]
fn the_narrowest_prefix_that_offers_the_port_decides() {
    let openings = Openings::new([
        opening("10.20.0.0/16", 1..=100, true),
        opening("10.20.7.0/24", 22..=22, false),
        opening("10.20.7.7/32", 22..=22, true),
    ]);
    let permits = |address: [u8; 4], port| openings.permit(address.into(), Protocol::Tcp(port));

    assert!(permits([10, 20, 1, 1], 22));
    assert!(!permits([10, 20, 7, 1], 22));
    assert!(
        permits([10, 20, 7, 1], 23),
        "the exception is about one port"
    );
    assert!(permits([10, 20, 7, 7], 22));
}

#[test]
fn pings_go_out_to_what_is_open_and_their_answers_come_back() {
    let reach = reach();
    let (wiki, other) = (Ipv4Addr::new(10, 20, 0, 10), Ipv4Addr::new(10, 20, 0, 11));

    assert!(reach.covers(&echo(CLIENT, wiki, 8), TO_SITE));
    assert!(reach.covers(&echo(wiki, CLIENT, 0), TO_PEER));
    assert!(!reach.covers(&echo(CLIENT, other, 8), TO_SITE));
    assert!(!reach.covers(&echo(CLIENT, wiki, 0), TO_SITE));
    assert!(!reach.covers(&echo(wiki, CLIENT, 8), TO_PEER));
}

#[test]
fn an_error_passes_if_it_is_about_a_packet_that_may() {
    let reach = reach();
    let wiki: SocketAddr = "10.20.0.10:80".parse().unwrap();
    let other: SocketAddr = "10.20.0.11:80".parse().unwrap();
    let about = |packet: Vec<u8>| {
        let headers = Headers::parse(&packet).unwrap();
        prohibited(&packet, &headers).unwrap()
    };
    let sent = tcp(client(wiki), wiki, SYN);
    let headers = Headers::parse(&sent).unwrap();

    assert!(reach.covers(&about(sent.clone()), TO_PEER));
    assert!(reach.covers(&too_big(&sent, &headers, 1280).unwrap(), TO_PEER));
    assert!(!reach.covers(&about(tcp(client(other), other, SYN)), TO_PEER));
    assert!(reach.covers(&about(tcp(wiki, client(wiki), ACK)), TO_SITE));
    assert!(!reach.covers(&about(tcp(other, client(other), ACK)), TO_SITE));
    // It would go to somebody who did not send what it quotes.
    assert!(!reach.covers(&about(sent), TO_SITE));
}

#[test]
fn a_later_fragment_passes_to_an_open_address_and_a_source_route_never() {
    let reach = reach();
    let wiki: SocketAddr = "10.20.0.10:80".parse().unwrap();
    let other: SocketAddr = "10.20.0.11:80".parse().unwrap();
    let later = |to| {
        let mut packet = tcp(client(to), to, ACK);
        packet[7] = 3;
        packet
    };
    let mut routed = tcp(client(wiki), wiki, SYN);
    routed[0] = 0x46;
    routed.splice(20..20, [0x83, 4, 4, 0]);
    let length = u16::try_from(routed.len()).unwrap().to_be_bytes();
    routed[2..4].copy_from_slice(&length);

    assert!(reach.covers(&later(wiki), TO_SITE));
    assert!(!reach.covers(&later(other), TO_SITE));
    assert!(Headers::parse(&routed).is_some());
    assert!(!reach.covers(&routed, TO_SITE));
}

#[test]
fn what_cannot_be_read_is_not_permitted() {
    let wiki: SocketAddr = "10.20.0.10:80".parse().unwrap();
    let packet = tcp(client(wiki), wiki, SYN);

    for length in 0..packet.len() {
        assert!(!reach().covers(&packet[..length], TO_SITE), "{length}");
    }
    let mut other = packet;
    other[9] = 47;
    assert!(!reach().covers(&other, TO_SITE), "GRE");
}

fn reach() -> Reach {
    Reach::Only(Openings::new([
        opening("10.20.0.10/32", 80..=80, true),
        opening("10.20.5.0/24", 7..=7, true),
        opening("fd20::10/128", 80..=80, true),
    ]))
}

fn opening(prefix: &str, tcp: std::ops::RangeInclusive<u16>, is_open: bool) -> Opening {
    Opening {
        prefix: prefix.parse().unwrap(),
        ports: Ports {
            tcp: vec![tcp],
            udp: vec![],
        },
        is_open,
    }
}

fn client(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(_) => (CLIENT, 40_000).into(),
        SocketAddr::V6(_) => "[fd64::1]:40000".parse().unwrap(),
    }
}

/// A segment without good checksums, which nobody here looks at.
fn tcp(from: SocketAddr, to: SocketAddr, flags: u8) -> Vec<u8> {
    let mut packet = udp_packet(from, to, &[0; 12]);
    let (protocol, start) = if to.is_ipv4() { (9, 20) } else { (6, 40) };
    packet[protocol] = 6;
    packet[start + 12..start + 14].copy_from_slice(&[0x50, flags]);
    packet
}

fn echo(from: Ipv4Addr, to: Ipv4Addr, kind: u8) -> Vec<u8> {
    let mut packet = udp_packet((from, 0).into(), (to, 0).into(), b"");
    packet[9] = 1;
    packet[20..28].copy_from_slice(&[kind, 0, 0, 0, 0, 7, 0, 1]);
    packet
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);
const TO_SITE: Direction = Direction::ToSite;
const TO_PEER: Direction = Direction::ToPeer;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

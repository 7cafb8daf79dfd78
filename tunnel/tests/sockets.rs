//! Sockets of a tunnel, on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use tunnel::sockets::{Inbox, Outbox, Port, PortOptions, Ports, RawPort};

#[test]
fn a_busy_socket_does_not_silence_the_other() {
    let anywhere = [
        SocketAddr::from(([127, 0, 0, 1], 9)),
        SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9)),
    ];
    let ports = Ports::<RawPort>::bind_towards(anywhere, PortOptions::default()).unwrap();
    let sender = Ports::<RawPort>::bind_towards(anywhere, PortOptions::default()).unwrap();
    for (port, address) in ports.iter().zip(anywhere) {
        let to = SocketAddr::from((address.ip(), port.local_addr().unwrap().port()));
        let own = sender
            .iter()
            .find(|own| own.local_addr().unwrap().is_ipv4() == to.is_ipv4());
        for number in 0..50_u8 {
            own.unwrap().try_send(to, &[number; 20], 20).unwrap();
        }
    }
    let mut inbox = Inbox::new();

    let versions = [(); 2].map(|()| {
        assert!(ports.try_receive(&mut inbox));
        inbox.datagrams().next().unwrap().0.is_ipv6()
    });

    assert_ne!(versions[0], versions[1]);
}

#[test]
fn datagrams_leave_in_order_whatever_their_sizes_and_destinations() {
    let receivers = [receiver(), receiver()];
    let ports = Ports::single(port());
    let mut outbox = Outbox::new();
    let mut sent = [Vec::new(), Vec::new()];
    for number in 0..60_u8 {
        let place = usize::from(number / 7 % 2);
        let datagram = vec![number; if number % 5 == 4 { 300 } else { 900 }];
        outbox.push(receivers[place].local_addr().unwrap(), &datagram);
        sent[place].push(datagram);
    }

    let deadline = Instant::now() + SOON;
    while !outbox.is_empty() {
        assert!(Instant::now() < deadline, "the socket takes nothing");
        outbox.flush(&ports);
    }

    for (receiver, sent) in receivers.iter().zip(sent) {
        for datagram in sent {
            let mut buffer = [0; 2000];
            let length = receiver.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..length], datagram);
        }
    }
}

#[test]
fn an_outbox_is_bounded_and_empty_after_it_is_cleared() {
    let mut outbox = Outbox::new();
    let somewhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut taken = 0;
    while outbox.has_room() {
        outbox.push(somewhere, &[0; 1400]);
        taken += 1;
    }
    assert!(outbox.space().is_none());
    assert!((80..100).contains(&taken), "{taken}");

    outbox.clear();

    assert!(outbox.is_empty() && outbox.has_room());
}

#[test]
fn a_datagram_for_an_ip_version_without_a_socket_is_dropped_and_the_rest_goes() {
    let receiver = receiver();
    let ports = Ports::single(port());
    let mut outbox = Outbox::new();
    outbox.push(([0, 0, 0, 0, 0, 0, 0, 1], 9).into(), b"nobody sends this");
    outbox.push(receiver.local_addr().unwrap(), b"this arrives");

    outbox.flush(&ports);

    let mut buffer = [0; 100];
    let length = receiver.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"this arrives");
    assert!(outbox.is_empty());
}

fn port() -> RawPort {
    RawPort::bind(([127, 0, 0, 1], 0).into(), PortOptions::default()).unwrap()
}

fn receiver() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// Whatever is awaited has come long before, even on a busy machine.
const SOON: Duration = Duration::from_secs(20);

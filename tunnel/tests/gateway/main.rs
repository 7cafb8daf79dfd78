//! The gateway with a network device, with this machine's kernel behind it and
//! a client made of the protocol alone in front.
//!
//! Each test runs itself anew in a network namespace of its own, which takes
//! Linux with `/dev/net/tun` and user namespaces.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod world;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use connector_core::catalogue::Ports;
use connector_core::network::Prefix;
use tunnel::device::DeviceConfig;
use tunnel::far_end::tun::{StartError, TunConfig, TunGateway};
use tunnel_proto::keys::PrivateKey;
use tunnel_proto::reach::{Admission, Opening, Openings, Reach};

use self::client::Client;
use self::world::{in_a_world, now};

const DEVICE: &str = "gw0";
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 2));
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const FORGED: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 9);

#[test]
fn what_a_client_sends_reaches_the_kernel_behind_and_its_answer_comes_back() {
    in_a_world(
        "what_a_client_sends_reaches_the_kernel_behind_and_its_answer_comes_back",
        || {
            let gateway = start();
            let server = server();
            let mut client = Client::connect(gateway.endpoint(), client_key(), gateway_key());

            client.send_udp((CLIENT, 4000), (GATEWAY, port(&server)), b"question");
            let mut buffer = [0; 64];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"question");
            assert_eq!(from, SocketAddr::from((CLIENT, 4000)));
            server.send_to(b"answer", from).unwrap();

            assert_eq!(client.receive_udp(), b"answer");
        },
    );
}

#[test]
fn a_train_of_packets_arrives_whole_and_in_order_both_ways() {
    in_a_world(
        "a_train_of_packets_arrives_whole_and_in_order_both_ways",
        || {
            let gateway = start();
            let server = server();
            let mut client = Client::connect(gateway.endpoint(), client_key(), gateway_key());

            for number in 0..TRAIN {
                client.send_udp((CLIENT, 4000), (GATEWAY, port(&server)), &payload(number));
            }
            let mut buffer = [0; 2048];
            for number in 0..TRAIN {
                let (length, _) = server.recv_from(&mut buffer).unwrap();
                assert!(buffer[..length] == payload(number), "packet {number} out");
            }
            for number in 0..TRAIN {
                server.send_to(&payload(number), (CLIENT, 4000)).unwrap();
            }
            for number in 0..TRAIN {
                assert!(
                    client.receive_udp() == payload(number),
                    "packet {number} back"
                );
            }
        },
    );
}

#[test]
fn a_client_cannot_speak_for_an_address_that_is_not_its_own() {
    in_a_world(
        "a_client_cannot_speak_for_an_address_that_is_not_its_own",
        || {
            let gateway = start();
            let server = server();
            let mut client = Client::connect(gateway.endpoint(), client_key(), gateway_key());

            client.send_udp((FORGED, 4000), (GATEWAY, port(&server)), b"forged");
            client.send_udp((CLIENT, 4000), (GATEWAY, port(&server)), b"honest");

            // What is sent later arrives later: the first to arrive is the only one that did.
            let mut buffer = [0; 64];
            let (length, _) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"honest");
        },
    );
}

#[test]
fn a_client_reaches_what_is_open_to_it_and_nothing_once_it_is_shut_out() {
    in_a_world(
        "a_client_reaches_what_is_open_to_it_and_nothing_once_it_is_shut_out",
        || {
            let gateway = start();
            let (open, shut) = (server(), server());
            gateway.admit(client_key().public_key(), admission(only_port(port(&open))));
            let mut client = Client::connect(gateway.endpoint(), client_key(), gateway_key());
            let mut buffer = [0; 64];

            client.send_udp((CLIENT, 4000), (GATEWAY, port(&shut)), b"forbidden");
            client.send_udp((CLIENT, 4000), (GATEWAY, port(&open)), b"permitted");
            let (length, from) = open.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"permitted");
            assert!(is_silent(&shut));
            shut.send_to(b"from a forbidden port", from).unwrap();
            open.send_to(b"answer", from).unwrap();
            assert_eq!(client.receive_udp(), b"answer");

            gateway.shut_out(client_key().public_key());
            client.send_udp((CLIENT, 4000), (GATEWAY, port(&open)), b"after the end");
            // Somebody else's packet comes through after it: the gateway has seen both.
            let other = key(3);
            gateway.admit(other.public_key(), admission(Reach::Everything));
            let mut other = Client::connect(gateway.endpoint(), other, gateway_key());
            other.send_udp((CLIENT, 5000), (GATEWAY, port(&open)), b"somebody else");
            let (length, _) = open.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"somebody else");
        },
    );
}

#[test]
fn a_stranger_is_not_answered() {
    in_a_world("a_stranger_is_not_answered", || {
        let gateway = start();

        let stranger = Client::call(gateway.endpoint(), key(9), gateway_key());
        // The gateway works off one datagram after the other.
        let _client = Client::connect(gateway.endpoint(), client_key(), gateway_key());

        assert!(!stranger.was_answered());
    });
}

#[test]
fn a_gateway_that_is_dropped_takes_its_device_along() {
    in_a_world("a_gateway_that_is_dropped_takes_its_device_along", || {
        let gateway = start();
        assert!(UdpSocket::bind((GATEWAY, 0)).is_ok());

        drop(gateway);

        assert!(UdpSocket::bind((GATEWAY, 0)).is_err());
    });
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    in_a_world("an_address_in_use_is_an_error_that_names_it", || {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap();

        let error = TunGateway::start(config(listen)).unwrap_err();

        assert!(matches!(error, StartError::Listen { endpoint, .. } if endpoint == listen));
        assert!(error.to_string().contains(&listen.to_string()), "{error}");
    });
}

fn start() -> TunGateway {
    TunGateway::start(config("127.0.0.1:0".parse().unwrap())).unwrap()
}

fn config(listen: SocketAddr) -> TunConfig {
    TunConfig {
        device: DeviceConfig {
            name: DEVICE.to_owned(),
            addresses: vec![(GATEWAY, 24)],
            mtu: 1420,
            queue_length: 1000,
        },
        listen,
        private_key: gateway_key(),
        destinations: vec!["0.0.0.0/0".parse().unwrap()],
        peers: vec![(client_key().public_key(), admission(Reach::Everything))],
        clock: now,
    }
}

fn admission(reach: Reach) -> Admission {
    Admission {
        addresses: vec![Prefix::host(CLIENT.into())],
        reach,
    }
}

fn only_port(port: u16) -> Reach {
    Reach::Only(Openings::new([Opening {
        prefix: Prefix::host(GATEWAY),
        ports: Ports {
            tcp: vec![],
            udp: vec![port..=port],
        },
        is_open: true,
    }]))
}

/// A program behind the gateway.
fn server() -> UdpSocket {
    let server = UdpSocket::bind((GATEWAY, 0)).unwrap();
    server.set_read_timeout(Some(LIMIT)).unwrap();
    server
}

/// Whether nothing has arrived so far.
fn is_silent(server: &UdpSocket) -> bool {
    server.set_nonblocking(true).unwrap();
    server.recv_from(&mut [0; 64]).is_err()
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().unwrap().port()
}

fn payload(number: u16) -> Vec<u8> {
    // All but the last are of one size, as the kernel coalesces them.
    let length = if number == TRAIN - 1 { 100 } else { 400 };
    let [high, low] = number.to_be_bytes();
    let mut payload = vec![low; length];
    payload[0] = high;
    payload
}

fn gateway_key() -> PrivateKey {
    key(1)
}

fn client_key() -> PrivateKey {
    key(2)
}

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_bytes([number; 32])
}

/// More than one super-packet holds, less than a socket's buffer.
const TRAIN: u16 = 100;

/// A machine under load is slow; a packet that is lost never comes.
const LIMIT: Duration = Duration::from_secs(10);

//! What leaves the machine, seen from another one.

use socket2::{Domain, Protocol, Socket, Type};

use super::*;

#[test]
fn questions_for_protected_names_do_not_leave() {
    inside("leaks::questions_for_protected_names_do_not_leave", || {
        make_device();
        make_peer();
        for (local, server) in [
            ("10.9.0.1:0", "10.9.0.2:53"),
            ("[fd09::1]:0", "[fd09::2]:53"),
        ] {
            let peer = peer_udp(server);
            let client = UdpSocket::bind(local).unwrap();
            client.connect(server).unwrap();
            let arrive = |names: &[String]| -> Vec<String> {
                names
                    .iter()
                    .filter(|name| {
                        // What is refused is told to the socket, now or with the next question.
                        let _ = client.send(&question(name));
                        let barrier = question("barrier.example");
                        while client.send(&barrier).is_err() {}
                        let first = receive(&peer);
                        let has_arrived = first != barrier;
                        if has_arrived {
                            assert_eq!(receive(&peer), barrier);
                        }
                        has_arrived
                    })
                    .cloned()
                    .collect()
            };
            let (protected, others) = (protected_names(), other_names());
            assert_eq!(
                arrive(&protected),
                protected,
                "nothing is held back unasked"
            );

            block_on(async {
                let steering = Steering::start(state(), plan()).await.unwrap();

                assert_eq!(arrive(&protected), Vec::<String>::new());
                assert_eq!(arrive(&others), others);

                steering.stop().await.unwrap();
            });
            assert_eq!(arrive(&protected), protected);
        }
    });
}

#[test]
fn questions_over_tcp_do_not_leave_either() {
    inside("leaks::questions_over_tcp_do_not_leave_either", || {
        make_device();
        make_peer();
        let peer = peer_tcp("10.9.0.2:53");
        let arrives = |name: &str| {
            let mut client = TcpStream::connect("10.9.0.2:53").unwrap();
            let (mut server, _) = peer.accept().unwrap();
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            let message = question(name);
            let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
            framed.extend(&message);
            let _ = client.write_all(&framed);
            let _ = client.shutdown(Shutdown::Write);
            if client.take_error().unwrap().is_some() {
                return false;
            }
            // The reset ends the client's side at once; only what arrived can be read.
            let mut buffer = vec![0; framed.len()];
            drop(client);
            server
                .set_read_timeout(Some(Duration::from_millis(500)))
                .unwrap();
            server.read_exact(&mut buffer).is_ok() && buffer == framed
        };
        assert!(arrives("wiki.corp.example"));

        let steering = block_on(Steering::start(state(), plan())).unwrap();

        for name in protected_names() {
            assert!(!arrives(&name), "{name}");
        }
        for name in other_names() {
            assert!(arrives(&name), "{name}");
        }
        drop(steering);
    });
}

#[test]
fn questions_in_fragments_do_not_leave() {
    inside("leaks::questions_in_fragments_do_not_leave", || {
        make_device();
        make_peer();
        let peer = peer_udp("10.9.0.2:53");
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW))).unwrap();
        let client = UdpSocket::bind("10.9.0.1:0").unwrap();
        client.connect("10.9.0.2:53").unwrap();
        let arrives = |id: u16| {
            for fragment in fragments(id, &question("wiki.corp.example")) {
                let server: std::net::SocketAddr = "10.9.0.2:0".parse().unwrap();
                // What is refused may be told to the sender.
                let _ = raw.send_to(&fragment, &server.into());
            }
            let barrier = question("barrier.example");
            while client.send(&barrier).is_err() {}
            let first = receive(&peer);
            let has_arrived = first != barrier;
            if has_arrived {
                assert_eq!(receive(&peer), barrier);
            }
            has_arrived
        };
        assert!(arrives(1), "the peer puts them together");

        let steering = block_on(Steering::start(state(), plan())).unwrap();

        assert!(!arrives(2));
        drop(steering);
    });
}

/// A datagram to port 53 of the peer as two IPv4 packets, cut inside of the name.
fn fragments(id: u16, payload: &[u8]) -> [Vec<u8>; 2] {
    const CUT: usize = 32;
    let mut datagram = vec![0x30, 0x39, 0, 53];
    datagram.extend(u16::try_from(payload.len() + 8).unwrap().to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let packet = |flags_and_offset: u16, part: &[u8]| {
        let mut packet = vec![0x45, 0];
        packet.extend(u16::try_from(part.len() + 20).unwrap().to_be_bytes());
        packet.extend(id.to_be_bytes());
        packet.extend(flags_and_offset.to_be_bytes());
        packet.extend([64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2]);
        packet.extend(part);
        packet
    };
    let offset = u16::try_from(CUT / 8).unwrap();
    [
        packet(0x2000, &datagram[..CUT]),
        packet(offset, &datagram[CUT..]),
    ]
}

/// A socket whose user writes the IP header (`raw(7)`).
const IPPROTO_RAW: i32 = 255;

#[test]
fn packets_to_protected_addresses_leave_by_the_device_or_not_at_all() {
    inside(
        "leaks::packets_to_protected_addresses_leave_by_the_device_or_not_at_all",
        || {
            make_device();
            make_peer();
            run(
                "ip -n peer address add 10.20.0.5/32 dev lo; ip -n peer address add fd7a::5/128 dev lo",
            );
            for target in ["10.20.0.5:7777", "[fd7a::5]:7777"] {
                let peer = peer_udp(target);
                let local = if target.starts_with('[') {
                    "[fd09::1]:0"
                } else {
                    "10.9.0.1:0"
                };
                let client = UdpSocket::bind(local).unwrap();
                client.send_to(b"unguarded", target).unwrap();
                assert_eq!(receive(&peer), b"unguarded");

                block_on(async {
                    let steering = Steering::start(state(), plan()).await.unwrap();
                    // Another layer fails: somebody's rule leads round our routes.
                    run(
                        "ip rule add preference 50 lookup main; ip -6 rule add preference 50 lookup main",
                    );
                    let refused = client.send_to(b"leak", target);
                    assert!(refused.is_err() || client.take_error().unwrap().is_some());
                    // What is marked is the tunnel's own.
                    let marked = UdpSocket::bind(local).unwrap();
                    socket2::SockRef::from(&marked).set_mark(MARK).unwrap();
                    marked.send_to(b"marked", target).unwrap();
                    assert_eq!(receive(&peer), b"marked");
                    run("ip rule delete preference 50; ip -6 rule delete preference 50");
                    steering.stop().await.unwrap();
                });
            }
        },
    );
}

#[test]
fn neighbours_learn_nothing_of_the_devices_address() {
    inside(
        "leaks::neighbours_learn_nothing_of_the_devices_address",
        || {
            make_device();
            make_peer();
            run("ip -n peer route add 198.18.0.1/32 dev eth0
             ip -n peer route add 198.18.0.2/32 via 10.9.0.1
             ip netns exec peer sh -c 'cd /proc/sys/net/ipv4/neigh/eth0; echo 50 > retrans_time_ms; echo 2 > mcast_solicit'");
            let own = UdpSocket::bind("198.18.0.1:7777").unwrap();
            own.set_read_timeout(Some(PATIENCE)).unwrap();
            let peer = peer_udp("10.9.0.2:0");
            let neighbour = || run("ip -n peer neighbour show 198.18.0.1");
            peer.send_to(b"unguarded", "198.18.0.1:7777").unwrap();
            assert_eq!(receive(&own), b"unguarded");
            assert!(neighbour().contains("lladdr"));
            run("ip -n peer neighbour flush all");

            let steering = block_on(Steering::start(state(), plan())).unwrap();

            peer.send_to(b"probe", "198.18.0.1:7777").unwrap();
            wait_until("the neighbour to give up", || {
                neighbour().contains("FAILED")
            });
            // Nor does one that knows the machine's address on the cable reach it.
            run("ip -n peer route replace 198.18.0.1/32 via 10.9.0.1");
            peer.send_to(b"probe", "198.18.0.1:7777").unwrap();
            wait_until("the guard to count", || {
                run("nft list counter inet ztna strays").contains("packets 1 ")
            });
            own.set_nonblocking(true).unwrap();
            assert!(own.recv(&mut [0; 16]).is_err());
            drop(steering);
        },
    );
}

/// Every length of label moves the zone by one byte; both cases, deep, and the zone itself.
fn protected_names() -> Vec<String> {
    let mut names: Vec<String> = (1..=63)
        .map(|length| format!("{}.corp.example", "a".repeat(length)))
        .collect();
    let long = vec!["b".repeat(47); 5].join(".");
    names.extend([
        "corp.example".to_owned(),
        "WiKi.CoRp.eXample".to_owned(),
        "git.bigcompany.com".to_owned(),
        "x.GIT.bigcompany.COM".to_owned(),
        format!("{long}.corp.example"),
    ]);
    names
}

fn other_names() -> Vec<String> {
    [
        "example",
        "xcorp.example",
        "corp.example.org",
        "corp.examples",
        "wiki.corp-example.com",
        "www.bigcompany.com",
        "xgit.bigcompany.com",
        "bigcompany.com",
        "legit.bigcompany.com",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A question for an address (RFC 1035 §4.1), with an EDNS record behind it.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    message
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

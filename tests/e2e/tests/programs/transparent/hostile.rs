//! A gateway that turned against its clients.

use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use e2e::capture::Capture;
use e2e::packets::{flags, hex, icmp, ipv4, ipv6, seal_header, tcp, udp};
use e2e::peers::inside_own_network;
use e2e::process::{Running, run};
use e2e::scene::{Scene, kit};
use e2e::wait::{DEADLINE, until};
use e2e::world::in_space;

use super::{Office, address_of};

const APPLICATION: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 10);
/// Beside the application.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 99);
const LAPTOP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

#[test]
fn packets_from_a_gateway_that_answer_no_flow_never_reach_the_laptop() {
    if !inside_own_network(
        "transparent::hostile::packets_from_a_gateway_that_answer_no_flow_never_reach_the_laptop",
    ) {
        return;
    }
    let scene = Scene::new("hostile");
    let mut office = Office::open(&scene, 1);
    office.start();
    let gateway = &office.world.gateways[0];
    gateway.forget_allowed_addresses();
    let capture = Capture::start(&scene, None, &office.device().0, &["text=hostile-"]);
    let status = office.connector.read(&["status"]);
    let inner: Ipv4Addr = status["tunnel"]["addresses"][0]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let mut inject = gateway.runs(kit());
    let mut inject = Running::start(
        &scene,
        "inject",
        inject.args(["inject", &gateway.interface()]),
    );
    let _ready = inject.first_line(DEADLINE);
    let echo = Echo::open();
    echo.answers("hostile-control-before", &capture);
    let before = dropped(&office);

    let attacks = Attacks::all(inner, echo.port());
    for (number, (what, packet)) in attacks.list.iter().enumerate() {
        let said = inject.ask(&hex(packet));
        assert!(
            said.contains("injected"),
            "hostile-{number:02} {what}: {said}"
        );
        assert!(!inject.has_ended(), "{}", inject.log());
    }

    // Behind them, on the same way: when this answer is there, they have been dealt with.
    echo.answers("hostile-control-after", &capture);
    let came_in: Vec<_> = capture
        .found()
        .into_iter()
        .filter(|found| {
            found["came_in"] == true && !found.to_string().contains(&hex(b"hostile-control"))
        })
        .collect();
    let names: Vec<_> = came_in
        .iter()
        .map(|found| attacks.which(&found["frame"]["start"]))
        .collect();
    assert!(
        came_in.is_empty(),
        "reached the laptop: {names:?}\n{:#}",
        came_in[0]
    );
    assert_eq!(office.wiki().text(), "wiki\n");
    // What is shown may be a moment old.
    until("the dropped packets are counted", DEADLINE, || {
        let counted = dropped(&office)?.checked_sub(before?)?;
        (counted >= 10).then_some(())
    });
}

#[test]
fn a_gateway_can_open_nothing_towards_the_laptop() {
    if !inside_own_network("transparent::hostile::a_gateway_can_open_nothing_towards_the_laptop") {
        return;
    }
    let scene = Scene::new("opens");
    let mut office = Office::open(&scene, 1);
    office.start();
    let gateway = &office.world.gateways[0];
    gateway.forget_allowed_addresses();
    let status = office.connector.read(&["status"]);
    let inner = status["tunnel"]["addresses"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let listener = TcpListener::bind("0.0.0.0:7777").unwrap();
    let datagrams = UdpSocket::bind("0.0.0.0:7777").unwrap();
    listener.set_nonblocking(true).unwrap();
    datagrams.set_nonblocking(true).unwrap();
    let reach = |mut from: Command, address: &str| {
        let script = "echo x | timeout 2 \"$0\" nc -w 1 \"$1\" 7777";
        let busybox = e2e::scene::installed_peers().join("bin/busybox");
        let _tried = run(from.args(["-c", script]).arg(busybox).arg(address));
    };

    reach(in_space("outside", "sh"), "192.0.2.2");
    let (mut stream, _) = until("the positive control", DEADLINE, || listener.accept().ok());
    let mut line = [0; 2];
    stream.set_nonblocking(false).unwrap();
    stream.read_exact(&mut line).unwrap();

    let device = office.device().1.to_string();
    for address in [inner.as_str(), &device, "192.0.2.2", "127.0.0.1"] {
        reach(gateway.runs("sh"), address);
        let ping = run(gateway.runs("ping").args([
            "-c",
            "1",
            "-W",
            "1",
            "-I",
            &gateway.interface(),
            address,
        ]));
        assert!(!ping.status.success(), "{address}: {ping:?}");
    }
    // By the gateway's own way through the internet, the laptop's public address is open: that is no tunnel.
    while let Ok((stream, from)) = listener.accept() {
        assert_eq!(from.ip().to_string(), "198.18.1.2", "{stream:?}");
    }
    assert!(datagrams.recv(&mut [0; 16]).is_err());
    assert_eq!(office.wiki().text(), "wiki\n");
}

/// What a hostile gateway may think of. Each carries its number as text.
struct Attacks {
    list: Vec<(&'static str, Vec<u8>)>,
    /// The session's address inside the tunnel.
    inner: Ipv4Addr,
    /// The port of a live UDP flow to port 7 of the application.
    live: u16,
}

impl Attacks {
    fn all(inner: Ipv4Addr, live: u16) -> Self {
        let mut attacks = Self {
            list: Vec::new(),
            inner,
            live,
        };
        attacks.add_answers_to_nothing();
        attacks.add_control_messages();
        attacks.add_addresses();
        attacks.add_nonsense();
        attacks
    }

    fn add(&mut self, what: &'static str, make: impl FnOnce(&[u8]) -> Vec<u8>) {
        let text = format!("hostile-{:02} ", self.list.len());
        self.list.push((what, make(text.as_bytes())));
    }

    fn add_answers_to_nothing(&mut self) {
        let (inner, live) = (self.inner, self.live);
        for (what, port, flags) in [
            ("a connection is opened", 22, flags::SYN),
            (
                "a connection is answered that nobody opened",
                40_000,
                flags::SYN | flags::ACK,
            ),
            ("a reset of nothing", 40_001, flags::RST),
            ("data of nothing", 40_002, flags::ACK),
            ("the end of nothing", 40_003, flags::FIN | flags::ACK),
            ("every flag", 40_004, 0xff),
        ] {
            self.add(what, |text| {
                tcp((APPLICATION, 80), (inner, port), flags, text)
            });
        }
        for (what, from, to) in [
            ("a datagram", (APPLICATION, 7), 40_005),
            ("an answer of a name server", (APPLICATION, 53), 40_006),
            (
                "a datagram to a live port from another port",
                (APPLICATION, 8),
                live,
            ),
            (
                "a datagram to a live port from another address",
                (NEIGHBOUR, 7),
                live,
            ),
        ] {
            self.add(what, |text| udp(from, (inner, to), text));
        }
    }

    fn add_control_messages(&mut self) {
        let inner = self.inner;
        let about = |text: &[u8]| udp((inner, 1), (APPLICATION, 2), text);
        for (what, kind, code, start) in [
            ("an echo request", 8, 0, &[0, 1, 0, 1][..]),
            ("an echo reply to nothing", 0, 0, &[9, 9, 0, 1]),
            ("a timestamp request", 13, 0, &[0; 16]),
            ("a router advertisement", 9, 0, &[1, 2, 0, 60]),
        ] {
            self.add(what, |text| {
                icmp(APPLICATION, inner, kind, code, &[start, text].concat())
            });
        }
        for (what, kind, code, start) in [
            ("a redirect", 5, 1, NEIGHBOUR.octets()),
            ("an error about nothing", 3, 3, [0; 4]),
            ("a narrow path for nothing", 3, 4, [0, 0, 0, 68]),
        ] {
            self.add(what, |text| {
                icmp(
                    APPLICATION,
                    inner,
                    kind,
                    code,
                    &[&start[..], &about(text)].concat(),
                )
            });
        }
    }

    fn add_addresses(&mut self) {
        let (inner, live) = (self.inner, self.live);
        for (what, from) in [
            ("from the loopback", Ipv4Addr::LOCALHOST),
            ("from the laptop itself", inner),
            ("from the laptop's network", LAPTOP),
            ("from outside the site", Ipv4Addr::new(203, 0, 113, 80)),
            ("from a group", Ipv4Addr::new(224, 0, 0, 1)),
            ("from everybody", Ipv4Addr::BROADCAST),
            ("from nobody", Ipv4Addr::UNSPECIFIED),
        ] {
            self.add(what, |text| udp((from, 7), (inner, live), text));
        }
        let synthetic =
            address_of("wiki.corp.test").and_then(|address| address.to_string().parse().ok());
        for (what, to) in [
            ("to the loopback", Ipv4Addr::LOCALHOST),
            ("to the laptop's network", LAPTOP),
            ("to a group", Ipv4Addr::new(224, 0, 0, 251)),
            ("to everybody", Ipv4Addr::BROADCAST),
            ("to another client", Ipv4Addr::new(100, 64, 9, 9)),
            ("to the cloud's metadata", Ipv4Addr::new(169, 254, 169, 254)),
            (
                "to the application's synthetic address",
                synthetic.unwrap_or(inner),
            ),
        ] {
            self.add(what, |text| udp((APPLICATION, 7), (to, live), text));
        }
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let laptop = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
        for (what, to) in [
            ("IPv6 to the laptop", laptop),
            ("IPv6 to all nodes", all_nodes),
        ] {
            self.add(what, |text| {
                ipv6(17, Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 0x10), to, text)
            });
        }
    }

    fn add_nonsense(&mut self) {
        let (inner, live) = (self.inner, self.live);
        for (what, to, place, value) in [
            ("a first fragment of nothing", 40_007, 6, 0x20),
            ("a later fragment of nothing", live, 7, 0x10),
            ("longer than it is", live, 2, 0xff),
            ("a header that is too short", live, 0, 0x41),
            ("a header that is too long", live, 0, 0x4f),
        ] {
            self.add(what, |text| {
                let mut packet = udp((APPLICATION, 7), (inner, to), text);
                packet[place] = value;
                seal_header(&mut packet);
                packet
            });
        }
        self.add("another protocol", |text| {
            ipv4(47, APPLICATION, inner, text)
        });
        self.add("nothing but a header", |_| ipv4(6, APPLICATION, inner, &[]));
    }

    /// Tells which of them begins like this.
    fn which(&self, start: &serde_json::Value) -> String {
        let start = start.as_str().unwrap_or_default();
        let is_it =
            |number: &usize| start.contains(&hex(format!("hostile-{number:02}").as_bytes()));
        let found = (0..self.list.len()).find(is_it);
        found.map_or_else(
            || format!("unknown {start}"),
            |number| self.list[number].0.to_owned(),
        )
    }
}

/// A live UDP flow to the application's echo.
struct Echo(UdpSocket);

impl Echo {
    fn open() -> Self {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        socket
            .connect((address_of("wiki.corp.test").unwrap(), 7))
            .unwrap();
        Self(socket)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Waits for an echo, and until the capture has seen it come in: its positive control.
    fn answers(&self, text: &str, capture: &Capture) {
        until("an echo", DEADLINE, || {
            self.0.send(text.as_bytes()).ok()?;
            let mut answer = [0; 64];
            let length = self.0.recv(&mut answer).ok()?;
            (answer[..length] == *text.as_bytes()).then_some(())
        });
        until("the capture to see it", DEADLINE, || {
            let wanted = hex(text.as_bytes());
            let found = capture.found();
            let came_in = found
                .iter()
                .any(|found| found["came_in"] == true && found.to_string().contains(&wanted));
            came_in.then_some(())
        });
    }
}

/// How many packets from gateways were dropped, as the service tells.
fn dropped(office: &Office<'_>) -> Option<u64> {
    let status = office.connector.read(&["status"]);
    status["tunnel"]["dropped"].as_u64()
}

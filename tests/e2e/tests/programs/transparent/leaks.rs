//! Nothing that is protected leaves the laptop in clear, whatever the network around it claims.
//!
//! Each capture finds, before the connector runs, what it must not find later.

use std::net::SocketAddr;
use std::process::Command;

use e2e::capture::Capture;
use e2e::emulator::Random;
use e2e::peers::inside_own_network;
use e2e::process::run;
use e2e::query::{A, HTTPS, NS, PTR, ask_tcp, ask_udp, question, with_extensions};
use e2e::scene::{Scene, note};
use e2e::wait::{DEADLINE, until};
use e2e::world::{PUBLIC, in_space, ip, laptop_runs};

use super::{FILES, Office, address_of};

#[test]
fn a_network_that_claims_the_applications_addresses_gets_none_of_their_packets() {
    if !inside_own_network(
        "transparent::leaks::a_network_that_claims_the_applications_addresses_gets_none_of_their_packets",
    ) {
        return;
    }
    let scene = Scene::new("vision");
    let mut office = Office::open(&scene, 1);
    let _dhcp = office.world.start_dhcp(&[
        "0.0.0.0/0 192.0.2.1",
        "10.88.5.0/25 192.0.2.1",
        "10.88.5.128/25 192.0.2.1",
        "100.64.0.0/10 192.0.2.1",
    ]);
    let mut capture = office.world.capture_leaving(&["towards=10.88.0.0/16"]);
    office.world.take_lease();
    let _leaks = office.files();
    capture.expect_all();

    office.start();
    assert_eq!(office.files().text(), "files\n");
    let wiki = address_of("wiki.corp.test").unwrap();
    let synthetic = office
        .world
        .capture_leaving(&[&format!("towards={wiki}/32")]);
    let mut captures = [capture, synthetic];
    captures[0].forget();
    nothing_left(&mut captures, "with the lease from before");

    claims_change_nothing(&office, &mut captures);

    // Switched off by nobody: the guard outlives the service.
    office.connector.process().kill();
    let refused = office.get(&format!("http://{FILES}/"));
    assert_ne!(refused.exit, 0, "{refused:?}");
    let refused = office.wiki();
    assert_ne!(refused.exit, 0, "{refused:?}");
    nothing_left(&mut captures, "with the service killed");
    assert_eq!(
        office.get(&format!("http://{PUBLIC}/")).text(),
        "www\n",
        "the rest goes on"
    );

    office.connector.start();
    until("the files again", DEADLINE, || {
        (office.files().exit == 0).then_some(())
    });
    nothing_left(&mut captures, "while the service starts again");

    // Nor while it starts anew by itself, as its administrator's settings want.
    office.connector.manage("[device]\nname = \"renamed\"\n");
    until("the service to start anew", DEADLINE, || {
        let _meanwhile = office.files();
        office.connector.log().contains("starts anew").then_some(())
    });
    until("the files once more", DEADLINE, || {
        (office.files().exit == 0).then_some(())
    });
    nothing_left(&mut captures, "while the service starts anew");
}

/// Whatever else the network, or a program on the laptop, says about where the applications are.
fn claims_change_nothing(office: &Office<'_>, captures: &mut [Capture; 2]) {
    office.world.take_lease();
    for (claim, undone) in [
        (
            "-4 route replace 10.88.5.10/32 via 192.0.2.1 dev up0",
            "-4 route delete 10.88.5.10/32",
        ),
        (
            "-4 route replace 0.0.0.0/1 via 192.0.2.1 dev up0",
            "-4 route delete 0.0.0.0/1",
        ),
        (
            "address add 10.88.5.77/24 dev up0",
            "address delete 10.88.5.77/24 dev up0",
        ),
        (
            "-4 route replace 10.88.5.10/32 dev up0 metric 0",
            "-4 route delete 10.88.5.10/32",
        ),
    ] {
        ip(claim);
        assert_eq!(office.files().text(), "files\n", "{claim}");
        assert_eq!(office.wiki().text(), "wiki\n", "{claim}");
        nothing_left(captures, claim);
        ip(undone);
    }
    let wiki = address_of("wiki.corp.test").unwrap();
    ip(&format!("route replace {wiki}/32 via 192.0.2.1"));
    assert_eq!(office.wiki().text(), "wiki\n");
    // Programs that insist on the other way.
    let _refused = laptop_runs(
        "ping",
        &["-c", "2", "-i", "0.2", "-W", "1", "-I", "up0", FILES],
    );
    let insisting = office.curl().fetch(
        e2e::curl::Form::Absolute,
        &format!("http://{FILES}/"),
        &["--interface", "up0", "--max-time", "2"],
    );
    assert_ne!(insisting.exit, 0, "{insisting:?}");
    nothing_left(
        captures,
        "for programs that are bound to the other interface",
    );

    // Redirects and announcements of the network.
    let redirect = in_space("outside", "ip")
        .args(["route", "add", "10.88.5.0/24", "via", "192.0.2.66"])
        .status();
    assert!(redirect.unwrap().success());
    assert_eq!(office.files().text(), "files\n");
    nothing_left(captures, "after routes outside changed");
}

#[test]
fn protected_names_are_never_asked_in_clear() {
    if !inside_own_network("transparent::leaks::protected_names_are_never_asked_in_clear") {
        return;
    }
    let scene = Scene::new("labels");
    let mut office = Office::open(&scene, 1);
    let protected =
        ["wiki", "tools", "forbidden", "dev"].map(|name| format!("label={name}.corp.test"));
    let protected: Vec<&str> = protected.iter().map(String::as_str).collect();
    let mut capture = office.world.capture_leaving(&protected);
    for (way, ask) in WAYS {
        capture.forget();
        ask("wiki.corp.test", A);
        until(&format!("the positive control: {way}"), DEADLINE, || {
            (!capture.found().is_empty()).then_some(())
        });
    }
    office.start();
    capture.wait_for_marker();
    capture.forget();

    let mut names = names();
    for name in &names {
        for (way, ask) in WAYS {
            for kind in [A, HTTPS, NS] {
                ask(name, kind);
                // The system's resolver chooses the kind itself.
                if way == "resolver" {
                    break;
                }
            }
        }
    }
    capture.expect_nothing("while the service runs");
    let address = address_of("wiki.corp.test").unwrap().to_string();
    names.push(address.clone());
    let _name = run(Command::new("getent").args(["hosts", &address]));
    let mut reverse = office.world.capture_leaving(&["label=in-addr.arpa"]);
    let parts: Vec<&str> = address.split('.').rev().collect();
    let _answer = ask_udp(
        resolver(),
        &question(&format!("{}.in-addr.arpa", parts.join(".")), PTR),
    );
    reverse.expect_nothing("for the name of a synthetic address");
    assert_eq!(
        address_of("www.example.org"),
        PUBLIC.parse().ok(),
        "the rest is answered as before"
    );

    office.connector.process().kill();
    for (_, ask) in WAYS {
        ask("wiki.corp.test", A);
    }
    capture.expect_nothing("with the service killed");
    office.connector.start();
    office.wait_until_steered();
    capture.expect_nothing("while the service starts again");

    // After it was switched off, names are the network's again: the capture still sees them.
    assert!(office.connector.ztna(&["down"]).status.success());
    until("a question in clear", DEADLINE, || {
        let _ = run(Command::new("getent").args(["ahostsv4", "wiki.corp.test"]));
        (!capture.found().is_empty()).then_some(())
    });
}

#[test]
fn a_gateways_name_that_leads_to_an_application_opens_no_way_around() {
    if !inside_own_network(
        "transparent::leaks::a_gateways_name_that_leads_to_an_application_opens_no_way_around",
    ) {
        return;
    }
    let scene = Scene::new("serverip");
    // The first gateway is honest; the name of the second is answered by a name server that lies.
    let mut office = Office::open_with(&scene, 2, &[], |gateway| {
        let option = gateway.option();
        option.replace("endpoint=198.18.2.2:", "endpoint=liar.example.org:")
    });
    let mut capture = office.world.capture_leaving(&["towards=10.88.0.0/16"]);
    let _leaks = office.files();
    capture.expect_all();
    office.start();
    until("the liar to be asked", DEADLINE, || {
        office
            .world
            .public_seen()
            .contains("liar.example.org")
            .then_some(())
    });

    for port in ["80", "51820", "22"] {
        let url = format!("http://{FILES}:{port}/");
        let answer = office
            .curl()
            .fetch(e2e::curl::Form::Absolute, &url, &["--max-time", "3"]);
        assert_eq!(answer.exit == 0, port == "80", "{answer:?}");
    }
    capture.wait_for_marker();
    // What the connector itself sends to where it was told that its gateway is, is sealed; nothing else may go there.
    let found = capture.found();
    let in_clear = found.iter().find(|found| found["frame"]["protocol"] != 17);
    assert!(in_clear.is_none(), "{in_clear:#?}");
    let route = ip("route show table main");
    assert!(!route.contains("10.88."), "no way around: {route}");
    note(&format!(
        "{} sealed datagrams went where the liar said",
        found.len()
    ));
}

#[test]
fn nobody_around_learns_or_reaches_the_tunnels_own_address() {
    if !inside_own_network(
        "transparent::leaks::nobody_around_learns_or_reaches_the_tunnels_own_address",
    ) {
        return;
    }
    let scene = Scene::new("learn");
    let mut office = Office::open(&scene, 1);
    office.start();
    let device = office.device().1.to_string();
    let busybox = e2e::scene::installed_peers().join("bin/busybox");
    let arping = |address: &str| {
        let mut command = in_space("outside", &busybox);
        run(command.args(["arping", "-c", "2", "-w", "2", "-I", "lan0", address]))
            .status
            .success()
    };
    assert!(arping("192.0.2.2"), "the positive control");
    assert!(!arping(&device), "somebody learned {device}");

    let mut capture = office
        .world
        .capture_leaving(&[&format!("from={device}/32")]);
    ip(&format!("-n outside route add {device}/32 via 192.0.2.2"));
    let answer =
        run(in_space("outside", "ping").args(["-c", "2", "-i", "0.2", "-W", "1", &device]));
    assert!(!answer.status.success(), "{answer:?}");
    for port in ["53", "7080", "9"] {
        let probe = run(in_space("outside", "curl").args([
            "-s",
            "--max-time",
            "1",
            &format!("http://{device}:{port}/"),
        ]));
        assert_eq!(
            probe.status.code(),
            Some(28),
            "neither open nor closed: {probe:?}"
        );
    }
    capture.expect_nothing("to probes from the network");
}

/// The ways in which programs ask for names.
type Ask = fn(&str, u16);
const WAYS: [(&str, Ask); 6] = [
    ("resolver", |name, _| {
        let _answer = run(Command::new("getent").args(["ahosts", name]));
    }),
    ("UDP", |name, kind| {
        let _answer = ask_udp(public(53), &question(name, kind));
    }),
    ("TCP", |name, kind| {
        let _answer = ask_tcp(public(53), &question(name, kind));
    }),
    ("extensions", |name, kind| {
        let _answer = ask_udp(public(53), &with_extensions(question(name, kind)));
    }),
    ("multicast DNS", |name, kind| {
        let _answer = ask_udp(
            SocketAddr::from(([224, 0, 0, 251], 5353)),
            &question(name, kind),
        );
    }),
    ("LLMNR", |name, kind| {
        let _answer = ask_udp(
            SocketAddr::from(([224, 0, 0, 252], 5355)),
            &question(name, kind),
        );
    }),
];

/// Names of applications and near them, in the spellings that programs use.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "wiki.corp.test",
        "WIKI.corp.TEST",
        "wIkI.CoRp.tEsT",
        "forbidden.corp.test",
        "below.wiki.corp.test",
        "_http._tcp.wiki.corp.test",
        "_443._https.tools.corp.test",
        "a.very.long.name.of.a.host.in.dev.corp.test",
    ]
    .map(str::to_owned)
    .to_vec();
    let seed = 0x5eed;
    note(&format!("seed of the names: {seed}"));
    let mut random = Random::new(seed);
    for _ in 0..8 {
        let length = 1 + random.below(40);
        let label: String = (0..length)
            .map(|_| char::from(b'a' + u8::try_from(random.below(26)).unwrap_or_default()))
            .collect();
        names.push(format!("{label}.dev.corp.test"));
    }
    names
}

fn public(port: u16) -> SocketAddr {
    format!("{PUBLIC}:{port}").parse().unwrap()
}

fn resolver() -> SocketAddr {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("nameserver "));
    SocketAddr::new(line.unwrap().trim().parse().unwrap(), 53)
}

fn nothing_left(captures: &mut [Capture; 2], when: &str) {
    for capture in captures {
        capture.expect_nothing(when);
    }
}

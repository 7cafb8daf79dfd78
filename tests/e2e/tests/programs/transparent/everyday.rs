//! What a person does on an ordinary day.

use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::curl::Form;
use e2e::peers::inside_own_network;
use e2e::process::{Running, run, succeed};
use e2e::query::{A, AAAA, HTTPS, PTR, TXT, ask_tcp, ask_udp, outcome, question};
use e2e::scene::Scene;
use e2e::stub::{Request, Stub, response};
use e2e::wait::{DEADLINE, until};
use e2e::world::{LAPTOP, PUBLIC, ip, laptop_runs};
use serde_json::Value;

use super::{AT_ONCE, FILES, FORBIDDEN, Office, WIKI, address_of, nc, path_of, wget};

#[test]
fn unmodified_programs_reach_applications_by_name_and_the_rest_is_untouched() {
    if !inside_own_network(
        "transparent::everyday::unmodified_programs_reach_applications_by_name_and_the_rest_is_untouched",
    ) {
        return;
    }
    let scene = Scene::new("everyday");
    let mut office = Office::open(&scene, 1);
    let public_route = ip(&format!("route get {PUBLIC}"));
    assert_ne!(office.wiki().exit, 0, "reached without the connector");
    office.start();

    let wiki = office.wiki();
    assert_eq!((wiki.exit, wiki.text().as_str()), (0, "wiki\n"), "{wiki:?}");
    scene.figure("a request over a new connection", office.wiki().took);
    assert_eq!(wget(WIKI), (0, "wiki\n".to_owned()));
    assert_eq!(office.get("http://api.dev.corp.test/").text(), "wiki\n");
    assert_eq!(office.files().text(), "files\n");
    assert_eq!(nc("wiki.corp.test", "7", "like ssh").1, "like ssh\n");
    let (exit, ping) = laptop_runs(
        "ping",
        &["-c", "3", "-i", "0.2", "-W", "5", "wiki.corp.test"],
    );
    assert_eq!(exit, 0, "{ping}");
    assert!(ping.contains(" 0% packet loss"), "{ping}");
    let (exit, ping) = laptop_runs("ping", &["-c", "1", "-W", "5", FILES]);
    assert_eq!(exit, 0, "{ping}");
    assert_eq!(
        udp_echo("wiki.corp.test", b"a datagram").unwrap(),
        b"a datagram"
    );
    let from = office.get(&format!("{WIKI}from")).text();
    assert!(
        from.starts_with("100.64."),
        "the session's own address: {from}"
    );

    let public = office.get("http://www.example.org/from").text();
    assert!(
        public.starts_with(&format!("{LAPTOP} ")),
        "beside the tunnel: {public}"
    );
    assert_eq!(ip(&format!("route get {PUBLIC}")), public_route);
    assert_eq!(nc(PUBLIC, "7", "public").1, "public\n");

    // The proxy leads into the same tunnel, for programs that were told to use it.
    let proxied = e2e::curl::Curl::through(&scene, &office.connector.proxy());
    for form in e2e::curl::FORMS {
        let wiki = proxied.fetch(form, WIKI, &[]);
        assert_eq!(
            (wiki.exit, wiki.text().as_str()),
            (0, "wiki\n"),
            "{form:?}: {wiki:?}"
        );
    }
    let resident = office.connector.process().resident();
    scene.figure("idle resident memory, MB", resident / 1_000_000);
}

#[test]
fn large_transfers_arrive_whole_both_ways_and_side_by_side() {
    if !inside_own_network(
        "transparent::everyday::large_transfers_arrive_whole_both_ways_and_side_by_side",
    ) {
        return;
    }
    const SIZE: usize = 50_000_000;
    let scene = Scene::new("large");
    let mut office = Office::open(&scene, 1);
    office.start();
    let curl = office.curl();

    let begun = Instant::now();
    let url = format!("{WIKI}bytes/{SIZE}");
    let mut downloads: Vec<_> = (0..3)
        .map(|_| curl.download(Form::Absolute, &url))
        .collect();
    for download in &mut downloads {
        assert_eq!(
            download.wait(Duration::from_secs(60)),
            0,
            "{}",
            download.error()
        );
        assert_eq!(download.checked(e2e::curl::behind_byte), SIZE);
    }
    scene.figure("three downloads of 50 MB", begun.elapsed());

    let content: Vec<u8> = (0..10_000_000).map(e2e::curl::behind_byte).collect();
    let file = scene.write("upload", &content);
    let upload = format!("@{}", file.display());
    let echoed = curl.fetch(
        Form::Absolute,
        &format!("{WIKI}echo"),
        &["--data-binary", &upload],
    );
    assert_eq!(echoed.exit, 0, "{}", echoed.error);
    assert!(
        echoed.body == content,
        "{} bytes came back",
        echoed.body.len()
    );
}

#[test]
fn two_sites_with_the_same_addresses_are_told_apart() {
    if !inside_own_network(
        "transparent::everyday::two_sites_with_the_same_addresses_are_told_apart",
    ) {
        return;
    }
    let scene = Scene::new("sites");
    let mut office = Office::open_with(&scene, 2, &[], |gateway| match gateway.option() {
        branch if branch.contains("gw-2") => format!("{branch},site=branch"),
        hq => hq,
    });
    office.start();
    let seen = |gateway: usize, host: &str| {
        let wanted = format!(r#""host":"{host}""#);
        office.world.gateways[gateway]
            .seen()
            .matches(&wanted)
            .count()
    };

    let branch = office.get("http://branch.corp.test/");
    assert_eq!(branch.text(), "wiki\n", "{branch:?}");
    let [mut near, mut far] = [WIKI, "http://branch.corp.test/"].map(|base| {
        office
            .curl()
            .download(Form::Absolute, &format!("{base}bytes/3000000"))
    });
    for download in [&mut near, &mut far] {
        assert_eq!(download.wait(DEADLINE), 0, "{}", download.error());
        assert_eq!(download.checked(e2e::curl::behind_byte), 3_000_000);
    }

    assert_eq!(
        (seen(1, "branch.corp.test"), seen(0, "branch.corp.test")),
        (2, 0)
    );
    assert_eq!(seen(1, "wiki.corp.test"), 0);
    assert!(seen(0, "wiki.corp.test") >= 2);
}

#[test]
fn datagrams_that_are_too_long_for_one_packet_pass_in_fragments() {
    if !inside_own_network(
        "transparent::everyday::datagrams_that_are_too_long_for_one_packet_pass_in_fragments",
    ) {
        return;
    }
    let scene = Scene::new("fragments");
    let mut office = Office::open(&scene, 1);
    office.start();
    let socket = udp_socket("wiki.corp.test").unwrap();
    for length in [1, 1392, 1393, 4000, 20_000, 60_000] {
        let datagram: Vec<u8> = (0..length).map(e2e::curl::behind_byte).collect();
        let echoed = udp_exchange(&socket, &datagram);
        let echoed =
            echoed.unwrap_or_else(|error| panic!("{length} bytes in a flow that lives: {error}"));
        assert!(
            echoed == datagram,
            "{length} bytes come back as {}",
            echoed.len()
        );
    }
    // Of the first datagram of a flow, parts may be lost while the flow is decided; programs repeat what was lost.
    let socket = udp_socket("wiki.corp.test").unwrap();
    let first = vec![7; 4000];
    let echoed = udp_exchange(&socket, &first).or_else(|_| udp_exchange(&socket, &first));
    let echoed = echoed.unwrap_or_else(|error| panic!("a flow that begins in fragments: {error}"));
    assert!(
        echoed == first,
        "the first datagram of a flow comes back as {}",
        echoed.len()
    );
}

#[test]
fn a_forbidden_application_is_refused_at_once_and_the_program_is_named() {
    if !inside_own_network(
        "transparent::everyday::a_forbidden_application_is_refused_at_once_and_the_program_is_named",
    ) {
        return;
    }
    let scene = Scene::new("forbidden");
    let mut office = Office::open(&scene, 1);
    office.start();
    // The positive control: the same application, by the name that is permitted.
    assert_eq!(nc("wiki.corp.test", "7", "open").1, "open\n");

    let refused = office.get(FORBIDDEN);
    assert_eq!(refused.exit, 7, "curl: failed to connect: {refused:?}");
    assert!(refused.took < AT_ONCE, "{:?}", refused.took);
    scene.figure("a refusal", refused.took);
    let begun = Instant::now();
    let (exit, text) = nc("forbidden.corp.test", "7", "closed");
    assert_ne!(exit, 0, "{text}");
    assert!(text.contains("refused"), "{text}");
    assert_eq!(nc("wiki.corp.test", "81", "not offered").0, 1);
    let error = udp_echo("forbidden.corp.test", b"closed").unwrap_err();
    assert!(
        !matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
        "{error}"
    );
    let (exit, ping) = laptop_runs("ping", &["-c", "1", "-W", "5", "forbidden.corp.test"]);
    assert_ne!(exit, 0, "{ping}");
    assert!(
        ping.to_lowercase().contains("filtered") || ping.to_lowercase().contains("prohibited"),
        "{ping}"
    );
    assert!(begun.elapsed() < 4 * AT_ONCE, "{:?}", begun.elapsed());
    assert!(
        !office.world.gateways[0].seen().contains("forbidden"),
        "{}",
        office.world.gateways[0].seen()
    );

    let curl = path_of("curl");
    let denied = last_denial(&office, "forbidden.corp.test:80");
    assert_eq!(denied["reason"], "policy_denied", "{denied}");
    assert_eq!(denied["workload"]["path"], curl, "{denied}");
    let (exit, why) = office.connector.ask(&["why", "forbidden.corp.test"]);
    assert_eq!(exit, 5, "{why}");
    let words = office.connector.ztna(&["why", "forbidden.corp.test"]);
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    assert!(
        words.contains(&curl),
        "`ztna why` does not name the program: {words}"
    );
    let unoffered = last_denial(&office, "wiki.corp.test:81");
    assert_eq!(unoffered["outcome"], "denied", "{unoffered}");

    // Signed out, everything is refused as fast, with that reason.
    assert!(office.connector.ztna(&["logout"]).status.success());
    let refused = office.wiki();
    assert_eq!(refused.exit, 7, "{refused:?}");
    assert!(refused.took < AT_ONCE, "{:?}", refused.took);
    assert_eq!(
        last_denial(&office, "wiki.corp.test:80")["reason"],
        "signed_out"
    );
    assert_eq!(office.get("http://www.example.org/").text(), "www\n");
}

#[test]
fn one_program_is_permitted_and_another_refused_to_the_same_port() {
    if !inside_own_network(
        "transparent::everyday::one_program_is_permitted_and_another_refused_to_the_same_port",
    ) {
        return;
    }
    let scene = Scene::new("programs");
    let curl = path_of("curl");
    let permitted = curl.clone();
    let pdp = Stub::start("127.0.0.1:0", move |request| {
        decide_by_program(&request, &permitted)
    });
    let base = pdp.base();
    let mut office = Office::open_with(&scene, 1, &["--pdp", &base], e2e::peers::Gateway::option);
    office.start();
    let copy = scene.path("curl");
    std::fs::copy(&curl, &copy).unwrap();

    for round in 0..10 {
        let answer = office.get("http://tools.corp.test/");
        assert_eq!(answer.text(), "wiki\n", "round {round}: {answer:?}");
        let (exit, text) = wget("http://tools.corp.test/");
        assert_eq!(
            (exit, text.as_str()),
            (4, ""),
            "round {round}: wget is refused"
        );
        let copied = run(Command::new(&copy).args([
            "--silent",
            "--max-time",
            "5",
            "http://tools.corp.test/",
        ]));
        assert_eq!(
            copied.status.code(),
            Some(7),
            "round {round}: a copy elsewhere is another program"
        );
    }
    let log = office.connector.decision_log();
    let of_tools = log
        .iter()
        .filter(|event| event["unmapped"]["target"] == "tools.corp.test:80");
    let mut seen = std::collections::BTreeSet::new();
    for event in of_tools {
        let path = event["actor"]["process"]["file"]["path"]
            .as_str()
            .unwrap_or("unknown");
        let decision = event["authorizations"][0]["decision"]
            .as_str()
            .unwrap_or_default();
        assert_eq!(decision == "permitted", path == curl, "{event}");
        seen.insert(path.to_owned());
    }
    let expected = [curl, path_of("wget"), copy.display().to_string()];
    assert_eq!(seen, expected.into_iter().collect());
    let hash = succeed(Command::new("sha256sum").arg(path_of("wget")));
    let hash = hash.split_whitespace().next().unwrap();
    assert!(
        log.iter().any(|event| event.to_string().contains(hash)),
        "the program's SHA-256"
    );
}

#[test]
fn names_are_answered_as_a_name_server_would_and_never_beside_the_tunnel() {
    if !inside_own_network(
        "transparent::everyday::names_are_answered_as_a_name_server_would_and_never_beside_the_tunnel",
    ) {
        return;
    }
    let scene = Scene::new("names");
    let mut office = Office::open(&scene, 1);
    office.start();
    let stub = stub_address();

    let wiki = address_of("wiki.corp.test").unwrap();
    let tools = address_of("tools.corp.test").unwrap();
    assert_ne!(wiki, tools, "two names on one address are told apart");
    assert_eq!(address_of("wiki.corp.test"), Some(wiki), "it stays");
    assert_eq!(address_of("WIKI.Corp.Test"), Some(wiki), "in any case");
    let back = run(Command::new("getent").args(["hosts", &wiki.to_string()]));
    assert!(
        String::from_utf8_lossy(&back.stdout).contains("wiki.corp.test"),
        "{back:?}"
    );
    for (name, kind, expected) in [
        ("wiki.corp.test", A, (0, 1)),
        ("wiki.corp.test", AAAA, (0, 0)),
        ("wiki.corp.test", TXT, (0, 0)),
        ("wiki.corp.test", HTTPS, (0, 0)),
        ("a.b.dev.corp.test", A, (0, 1)),
        ("unknown.corp.test", A, (5, 0)),
        ("www.example.org", A, (0, 1)),
    ] {
        let asked = question(name, kind);
        assert_eq!(
            outcome(&ask_udp(stub, &asked).unwrap()),
            expected,
            "{name} {kind} over UDP"
        );
        assert_eq!(
            outcome(&ask_tcp(stub, &asked).unwrap()),
            expected,
            "{name} {kind} over TCP"
        );
    }
    let reverse = format!("{}.in-addr.arpa", reversed(wiki));
    assert_eq!(
        outcome(&ask_udp(stub, &question(&reverse, PTR)).unwrap()),
        (0, 1)
    );
    assert_eq!(address_of("www.example.org"), PUBLIC.parse().ok());
    let asked = office.world.public_seen();
    assert!(asked.contains("www.example.org"), "{asked}");
    assert!(
        asked.contains("unknown.corp.test"),
        "not protected, so it goes where it went before: {asked}"
    );
    assert!(
        !asked.contains("wiki.corp.test") && !asked.contains("dev.corp.test"),
        "{asked}"
    );
}

#[test]
fn a_check_that_fails_resets_live_connections_and_passing_again_reopens() {
    if !inside_own_network(
        "transparent::everyday::a_check_that_fails_resets_live_connections_and_passing_again_reopens",
    ) {
        return;
    }
    let scene = Scene::new("reset");
    let mut office = Office::open(&scene, 1);
    office.start();
    let curl = office.curl();
    let mut drips = [WIKI, "http://api.dev.corp.test/"]
        .map(|base| curl.download_until_closed(Form::Absolute, &format!("{base}drip")));
    for drip in &mut drips {
        drip.wait_for(30, DEADLINE);
    }

    let changed = Instant::now();
    let path = scene.path("ztna-demo-forbidden");
    std::fs::copy(path_of("sleep"), &path).unwrap();
    let mut forbidden = Running::start(&scene, "forbidden", Command::new(path).arg("600"));
    for drip in &mut drips {
        assert_eq!(
            drip.wait(Duration::from_secs(10)),
            56,
            "a reset: {}",
            drip.error()
        );
    }
    scene.figure("from the change to the reset", changed.elapsed());
    let refused = office.wiki();
    assert_eq!(refused.exit, 7, "{refused:?}");
    assert_eq!(
        last_denial(&office, "wiki.corp.test:80")["reason"],
        "posture_unmet"
    );
    forbidden.kill();
    until("access comes back", DEADLINE, || {
        (office.wiki().exit == 0).then_some(())
    });
}

/// Permits everything but `tools`, and that to one program.
pub(super) fn decide_by_program(request: &Request, permitted: &str) -> Vec<u8> {
    // It has no metadata.
    if request.head.starts_with("GET ") {
        return response("404 Not Found", "", b"");
    }
    let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let path = &asked["subject"]["properties"]["workload"]["path"];
    let decision = asked["resource"]["id"] != "tools" || path == permitted;
    let body = serde_json::json!({ "decision": decision }).to_string();
    response(
        "200 OK",
        "Content-Type: application/json\r\n",
        body.as_bytes(),
    )
}

fn udp_echo(name: &str, datagram: &[u8]) -> std::io::Result<Vec<u8>> {
    udp_exchange(&udp_socket(name)?, datagram)
}

fn udp_socket(name: &str) -> std::io::Result<UdpSocket> {
    let server = (name, 7).to_socket_addrs()?.find(SocketAddr::is_ipv4);
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect(server.ok_or(std::io::ErrorKind::NotFound)?)?;
    Ok(socket)
}

fn udp_exchange(socket: &UdpSocket, datagram: &[u8]) -> std::io::Result<Vec<u8>> {
    socket.send(datagram)?;
    let mut answer = vec![0; 65_536];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

fn last_denial(office: &Office<'_>, target: &str) -> Value {
    until(&format!("a record about {target}"), DEADLINE, || {
        let last = office.connector.last_decision(target)?;
        (last["outcome"] == "denied").then_some(last)
    })
}

/// The name server that the laptop's resolver is set to.
fn stub_address() -> SocketAddr {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("nameserver "));
    SocketAddr::new(line.unwrap().trim().parse().unwrap(), 53)
}

fn reversed(address: std::net::IpAddr) -> String {
    let text = address.to_string();
    let mut parts: Vec<&str> = text.split('.').collect();
    parts.reverse();
    parts.join(".")
}

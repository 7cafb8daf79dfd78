//! Neighbours on the same machine who mean no good.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::curl::Curl;
use e2e::frames::Frames;
use e2e::lab::Lab;
use e2e::process::{NOBODY, as_user, is_root, run, succeed};
use e2e::scene::{Scene, note, program};
use e2e::service::Connector;
use serde_json::{Value, json};

#[test]
fn no_frame_disturbs_the_service_or_keeps_others_from_it() {
    let scene = Scene::new("frames");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let socket = connector.socket();
    let before = connector.process().resident();

    for bytes in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
        &[0xff; 4096],
        &[0, 4, 0, 1],
        &[0x7f, 0xff, 0xff, 0xff],
        b"\0\0\0\x04nope",
        b"\0\0\0\0",
        b"\0\0\0\x02\xff\xfe",
    ] {
        let mut frames = Frames::connect(&socket);
        frames.send(bytes);
        let heard = frames.hear_until_closed();
        assert!(
            heard.is_empty() || contains(&heard, "bad_request"),
            "{bytes:?}: {heard:?}"
        );
        answers_quickly(&connector);
    }

    let mut nested = Frames::connect(&socket);
    greet(&mut nested);
    nested.send(&[&100_000_u32.to_be_bytes(), [b'['; 100_000].as_slice()].concat());
    assert_eq!(nested.hear().unwrap()["body"]["kind"], "bad_request");
    assert_eq!(nested.hear(), None);

    let mut old = Frames::connect(&socket);
    old.say(&json!({"version": 999, "client": "e2e"}));
    assert_eq!(old.hear().unwrap()["body"]["kind"], "version_mismatch");
    assert_eq!(old.hear(), None);

    let mut curious = Frames::connect(&socket);
    greet(&mut curious);
    curious.say(&json!({"request": "run_program", "path": "/bin/sh"}));
    assert_eq!(curious.hear().unwrap()["body"]["kind"], "bad_request");
    assert_eq!(curious.hear(), None);

    let mut half = Frames::connect(&socket);
    half.send(&[0, 0, 0, 100, b'{']);
    answers_quickly(&connector);
    drop(half);

    let silent: Vec<Frames> = (0..100).map(|_| Frames::connect(&socket)).collect();
    answers_quickly(&connector);
    drop(silent);
    let mut greeted: Vec<Frames> = (0..100).map(|_| Frames::connect(&socket)).collect();
    for frames in &mut greeted {
        frames.say(&json!({"version": 1, "client": "e2e"}));
    }
    answers_quickly(&connector);
    drop(greeted);

    let grown = connector.process().resident().saturating_sub(before);
    scene.figure("grown by hostile front-ends, kB", grown / 1000);
    assert!(grown < 8_000_000, "grew by {grown} bytes");
}

fn greet(frames: &mut Frames) {
    frames.say(&json!({"version": 1, "client": "e2e"}));
    let welcome = frames.hear();
    assert_eq!(welcome.unwrap()["reply"], "welcome");
}

fn answers_quickly(connector: &Connector<'_>) {
    let begun = Instant::now();
    let status = connector.read(&["status"]);
    assert_eq!(status["identity"]["subject"], "alice", "{status}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "status took {took:?}");
}

#[test]
fn other_users_reach_neither_the_endpoint_nor_the_proxy() {
    let scene = Scene::new("others");
    let lab = Lab::start(&scene);
    let user = is_root().then_some(NOBODY - 1);
    let mut connector = Connector::install_for(&scene, &lab, "ztnad", user);
    connector.start_as("alice");
    let socket = connector.socket();
    let mode = |path: &std::path::Path| {
        let mode = succeed(Command::new("stat").args(["--format", "%a"]).arg(path));
        mode.trim().to_owned()
    };
    assert_eq!(mode(&socket), "600");
    assert_eq!(mode(socket.parent().unwrap()), "700");
    assert_eq!(mode(&connector.path("state")), "700");
    assert_eq!(mode(&connector.path("log")), "700");
    for file in [
        "state/host.key",
        "state/sign-in.json",
        "log/decisions.jsonl",
    ] {
        assert_eq!(mode(&connector.path(file)), "600", "{file}");
    }
    if !is_root() {
        note("NOT CHECKED: other users, since only root can become another user");
        return;
    }

    let theirs = scene.path("ztna");
    std::fs::copy(program("ztna"), &theirs).unwrap();
    let mut ztna = as_user(Some(NOBODY), &theirs);
    let refused = run(ztna.args(["status", "--socket"]).arg(&socket));
    assert_eq!(refused.status.code(), Some(8), "{refused:?}");

    // Even where the folder lets them in, nothing is told.
    let folder = socket.parent().unwrap();
    succeed(Command::new("chmod").arg("0755").arg(folder));
    succeed(Command::new("chmod").arg("0666").arg(&socket));
    let mut ztna = as_user(Some(NOBODY), &theirs);
    let refused = run(ztna.args(["status", "--socket"]).arg(&socket));
    assert!(!refused.status.success(), "{refused:?}");
    assert!(refused.stdout.is_empty(), "{refused:?}");

    let proxy = connector.proxy();
    let mine = Curl::through(&scene, &proxy)
        .run_by(user)
        .get("http://wiki.corp.test/");
    assert_eq!(mine.status, 200, "{mine:?}");
    for form in e2e::curl::FORMS {
        let theirs = Curl::through(&scene, &proxy).run_by(Some(NOBODY)).fetch(
            form,
            "http://wiki.corp.test/",
            &[],
        );
        assert_ne!(theirs.exit, 0, "{theirs:?}");
        assert_eq!(theirs.status, 0, "{theirs:?}");
        assert!(theirs.body.is_empty(), "{theirs:?}");
        assert!(theirs.took < Duration::from_secs(1), "{theirs:?}");
    }
}

#[test]
fn no_bytes_sent_to_the_proxy_disturb_the_service() {
    let scene = Scene::new("bytes");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let proxy = connector.proxy();
    let curl = Curl::through(&scene, &proxy);
    assert_eq!(curl.get("http://wiki.corp.test/").status, 200);
    let before = connector.process().resident();

    // Begun first, so that its 10 s pass while the others are tried.
    let mut slow = connect(&proxy);
    slow.write_all(b"GET http://wiki.corp.test/ HTTP/1.1\r\nHost: wi")
        .unwrap();
    let mut silent_socks = connect(&proxy);
    silent_socks.write_all(&[5]).unwrap();
    let begun = Instant::now();

    for (what, bytes, wanted) in hostile() {
        let mut stream = connect(&proxy);
        // The proxy may answer and hang up before it has read all.
        let _refused = stream.write_all(&bytes);
        let _closed = stream.shutdown(Shutdown::Write);
        let answer = read_all(&mut stream);
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(wanted), "{what}: {text}");
        assert!(!text.contains("Welcome to the wiki"), "{what}: {text}");
    }
    let flood: Vec<TcpStream> = (0..300).map(|_| connect(&proxy)).collect();
    assert_eq!(curl.get("http://wiki.corp.test/").status, 200);
    drop(flood);

    let answer = read_all(&mut slow);
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
    let _closed = read_all(&mut silent_socks);
    assert!(begun.elapsed() < Duration::from_secs(15));

    assert_eq!(curl.get("http://wiki.corp.test/").status, 200);
    let status: Value = connector.read(&["status"]);
    assert_eq!(status["tunnel"]["open_flows"], 0, "{status}");
    let grown = connector.process().resident().saturating_sub(before);
    scene.figure("grown by hostile clients, kB", grown / 1000);
    assert!(grown < 16_000_000, "grew by {grown} bytes");
    assert!(!connector.log().contains("panic"), "{}", connector.log());
}

/// What is sent, and how the answer must begin.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
    let head = "GET http://wiki.corp.test/ HTTP/1.1\r\nHost: wiki.corp.test\r\n";
    let with = |fields: &str| format!("{head}{fields}\r\n").into_bytes();
    let fields = |count: usize| "X: y\r\n".repeat(count);
    let bad: &[u8] = b"HTTP/1.1 400";
    let too_long: &[u8] = b"HTTP/1.1 431";
    let mut many_names = vec![5, 255];
    many_names.extend([9; 255]);
    vec![
        (
            "a huge field",
            with(&format!("X: {}\r\n", "y".repeat(10_000_000))),
            too_long,
        ),
        (
            "a huge line",
            "G".repeat(10_000_000).into_bytes(),
            b"HTTP/1.1 4",
        ),
        ("many fields", with(&fields(10_000)), too_long),
        (
            "two lengths",
            with("Content-Length: 1\r\nContent-Length: 2\r\n"),
            bad,
        ),
        (
            "length and chunks",
            with("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
            bad,
        ),
        (
            "a strange coding",
            with("Transfer-Encoding: x\r\n"),
            b"HTTP/1.1 ",
        ),
        ("a NUL", with("X: a\0b\r\n"), bad),
        ("only NULs", vec![0; 4096], bad),
        ("a folded field", with("X: a\r\n b\r\n"), bad),
        ("a blank before the colon", with("X : a\r\n"), bad),
        ("a bare CR", with("X: a\rY: b\r\n"), bad),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            bad,
        ),
        (
            "the proxy as a site",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            b"HTTP/1.1 421",
        ),
        (
            "a loopback address",
            b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n".to_vec(),
            b"HTTP/1.1 502",
        ),
        (
            "SOCKS4",
            b"\x04\x01\0\x50\x7f\0\0\x01user\0".to_vec(),
            b"HTTP/1.1 400",
        ),
        ("SOCKS without a way in", many_names, b"\x05\xff"),
        (
            "SOCKS BIND",
            b"\x05\x01\0\x05\x02\0\x01\x0a\x14\0\x0a\0\x50".to_vec(),
            b"\x05\0\x05\x07",
        ),
        (
            "a SOCKS address of no kind",
            b"\x05\x01\0\x05\x01\0\x09".to_vec(),
            b"\x05\0\x05\x08",
        ),
        (
            "SOCKS garbage",
            b"\x05\x01\0\xff\xff\xff\xff\xff".to_vec(),
            b"\x05\0",
        ),
    ]
}

fn connect(proxy: &str) -> TcpStream {
    let stream = TcpStream::connect(proxy).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    stream
}

/// Reads until the proxy closes the connection.
fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "the proxy keeps the connection open; it said {answer:?}"
        );
    }
    answer
}

fn contains(heard: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(heard).contains(text)
}

//! Whatever a server answers but a decision is a denial with its own reason, soon and cheaply.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_core::connector::PdpFailure::{self, Late, Malformed, Status, Unreachable};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::super::within_limit;
use super::server::{JSON, Piece, Server, response};
use super::{asking, asking_through, http, request};

const YES: &[u8] = br#"{"decision":true}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_answer_is_a_failure_of_its_own_kind_bounded_in_time_and_memory() {
    let elsewhere = Server::answering(response("200 OK", JSON, YES)).await;
    let mut cases = answers_of_the_wrong_kind(elsewhere.base.as_str());
    cases.extend(bytes_that_are_no_answer());
    cases.extend(bodies_that_are_no_decision());
    cases.extend(bodies_that_are_too_much());
    cases.extend(bytes_that_never_end());
    assert!(cases.len() >= 45, "{}", cases.len());

    // Making a client takes longer than most answers, and all at once would make each late.
    let (http, few) = (http(), Arc::new(Semaphore::new(6)));
    let mut runs = JoinSet::new();
    for (what, pieces, expected) in cases {
        let (http, few) = (http.clone(), Arc::clone(&few));
        runs.spawn(async move {
            let _place = few.acquire_owned().await.unwrap();
            let server = Server::answering(pieces).await;
            let deciding = asking_through(&http, &server.base, None);
            let begun = Instant::now();
            let outcome = within_limit(&deciding, &request("wiki")).await;
            let took = begun.elapsed();

            assert_eq!(outcome, Err(expected), "{what}");
            assert!(took < Duration::from_millis(1500), "{what}: {took:?}");
            // What was taken lay in the sockets' buffers, but for the answer's bound.
            assert!(server.written() < 16 << 20, "{what}: {}", server.written());
            assert_eq!(server.questions().len(), 1, "{what}: asked again");
        });
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
    assert_eq!(elsewhere.questions().len(), 0, "a redirect was followed");
}

#[tokio::test]
async fn what_does_not_speak_tls_is_not_spoken_to() {
    let garbage = vec![Piece::Bytes(vec![0x15; 4096]), Piece::Close];
    let server = Server::start(move |_| garbage.clone()).await;
    let mut base = server.base.clone();
    base.set_scheme("https").unwrap();

    let outcome = within_limit(&asking(&base, None), &request("wiki")).await;

    assert_eq!(outcome, Err(Unreachable));
}

#[tokio::test]
async fn the_same_way_lets_a_decision_through() {
    for fields in [JSON, "content-type:  Application/JSON ; charset=utf-8\r\n"] {
        let server = Server::answering(response("200 Fine", fields, YES)).await;

        let outcome = within_limit(&asking(&server.base, None), &request("wiki")).await;

        assert_eq!(outcome.unwrap().outcome, Ok(()));
    }
}

type Case = (&'static str, Vec<Piece>, PdpFailure);

fn raw(bytes: impl AsRef<[u8]>) -> Vec<Piece> {
    vec![Piece::Bytes(bytes.as_ref().to_vec()), Piece::Close]
}

fn answers_of_the_wrong_kind(elsewhere: &str) -> Vec<Case> {
    let location = format!("{JSON}Location: {elsewhere}access/v1/evaluation\r\n");
    let moved = |status: &str| response(status, &location, YES);
    let typed = |fields: &str| response("200 OK", fields, YES);
    vec![
        ("500", response("500 Oh", JSON, YES), Status(500)),
        ("503", response("503 Busy", JSON, YES), Status(503)),
        ("429", response("429 Slow", JSON, YES), Status(429)),
        ("401", response("401 Who", JSON, YES), Status(401)),
        ("403", response("403 No", JSON, YES), Status(403)),
        ("404", response("404 Where", JSON, YES), Status(404)),
        ("201", response("201 Created", JSON, YES), Status(201)),
        ("204", response("204 Empty", JSON, b""), Status(204)),
        ("206", response("206 Part", JSON, YES), Status(206)),
        ("999", response("999 Odd", JSON, YES), Status(999)),
        ("301", moved("301 Moved"), Status(301)),
        ("307", moved("307 Moved"), Status(307)),
        ("HTML", typed("Content-Type: text/html\r\n"), Malformed),
        ("no type", typed(""), Malformed),
        (
            "problem+json",
            typed("Content-Type: application/problem+json\r\n"),
            Malformed,
        ),
        (
            "gzip",
            typed(&format!("{JSON}Content-Encoding: gzip\r\n")),
            Malformed,
        ),
        (
            "a bomb",
            response(
                "200 OK",
                &format!("{JSON}Content-Encoding: gzip\r\n"),
                &BOMB,
            ),
            Malformed,
        ),
        (
            "another request's",
            typed(&format!("{JSON}X-Request-ID: 0000\r\n")),
            Malformed,
        ),
    ]
}

fn bytes_that_are_no_answer() -> Vec<Case> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    vec![
        (
            "cut off",
            raw(format!("{head}Content-Length: 17\r\n\r\n{{\"decision\":")),
            Unreachable,
        ),
        (
            "two lengths",
            raw(format!(
                "{head}Content-Length: 17\r\nContent-Length: 18\r\n\r\n{{\"decision\":true}}"
            )),
            Unreachable,
        ),
        (
            "a length below zero",
            raw(format!(
                "{head}Content-Length: -1\r\n\r\n{{\"decision\":true}}"
            )),
            Unreachable,
        ),
        (
            "10 GB",
            raw(format!(
                "{head}Content-Length: 10000000000\r\n\r\n{{\"decision\":true}}"
            )),
            Unreachable,
        ),
        (
            "a chunk of no size",
            raw(format!(
                "{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{\"decision\":true}}"
            )),
            Unreachable,
        ),
        (
            "chunks that break off",
            raw(format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n11\r\n{{\"decision\":true}}\r\n"
            )),
            Unreachable,
        ),
        ("HTTP/0.9", raw(YES), Unreachable),
        (
            "another protocol",
            raw("SSH-2.0-OpenSSH_9.9\r\n"),
            Unreachable,
        ),
        ("closed at once", vec![Piece::Close], Unreachable),
        (
            "a field without end",
            raw(format!("{head}X: {}", "x".repeat(2_000_000))),
            Unreachable,
        ),
        (
            "too many fields",
            raw(format!("{head}{}\r\n", "X: y\r\n".repeat(10_000))),
            Unreachable,
        ),
    ]
}

/// The beginning of a gzip stream. Nothing is ever unpacked, so it need not go on for 10 GB.
const BOMB: [u8; 15] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 0xff, 0xff, 0, 0];

fn bodies_that_are_no_decision() -> Vec<Case> {
    [
        ("empty", &b""[..]),
        ("null", b"null"),
        ("an empty object", b"{}"),
        ("a list", br#"[{"decision":true}]"#),
        ("members in a list", b"[true, null]"),
        ("a text for a truth", br#"{"decision":"true"}"#),
        ("a number for a truth", br#"{"decision":1}"#),
        ("NaN", br#"{"decision":NaN}"#),
        (
            "NaN beside it",
            br#"{"decision":true,"context":{"lease":NaN}}"#,
        ),
        (
            "infinity",
            br#"{"decision":true,"context":{"lease":1e999}}"#,
        ),
        ("another case", br#"{"Decision":true}"#),
        ("no and yes", br#"{"decision":false,"decision":true}"#),
        ("yes and no", br#"{"decision":true,"decision":false}"#),
        (
            "two contexts",
            br#"{"decision":true,"context":{"obligations":[1]},"context":{}}"#,
        ),
        (
            "two members within",
            br#"{"decision":true,"context":{"obligations":[1],"obligations":[]}}"#,
        ),
        (
            "an obligation",
            br#"{"decision":true,"context":{"obligations":[{"id":"1","type":"custom"}]}}"#,
        ),
        (
            "obligations of no kind",
            br#"{"decision":true,"context":{"obligations":{"type":"step-up"}}}"#,
        ),
        (
            "a context of no kind",
            br#"{"decision":true,"context":"fine"}"#,
        ),
        (
            "a lease of no kind",
            br#"{"decision":true,"context":{"lease":"for ever"}}"#,
        ),
        (
            "an error beside a yes",
            br#"{"evaluations":[{"decision":true}]}"#,
        ),
        ("a byte order mark", b"\xef\xbb\xbf{\"decision\":true}"),
        (
            "no UTF-8",
            b"{\"decision\":true,\"context\":{\"policy\":\"\xff\"}}",
        ),
        (
            "a lone surrogate",
            br#"{"decision":true,"context":{"policy":"\ud800"}}"#,
        ),
        ("two answers", br#"{"decision":true}{"decision":true}"#),
        ("a comment", br#"{"decision":true /* trust me */}"#),
        ("a comma too many", br#"{"decision":true,}"#),
        ("a zero byte", b"{\"decision\":true}\0"),
        ("half", br#"{"decision":true"#),
    ]
    .map(|(what, body)| (what, response("200 OK", JSON, body), Malformed))
    .into()
}

fn bodies_that_are_too_much() -> Vec<Case> {
    let utf16: Vec<u8> = String::from_utf8_lossy(YES)
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let deep = format!(
        r#"{{"decision":true,"context":{}1{}}}"#,
        r#"{"a":"#.repeat(5000),
        "}".repeat(5000)
    );
    let long = format!(
        r#"{{"decision":true,"context":{{"policy":"{}"}}}}"#,
        "x".repeat(200_000)
    );
    [utf16, deep.into_bytes(), long.into_bytes()]
        .map(|body| {
            (
                "UTF-16, deep or long",
                response("200 OK", JSON, &body),
                Malformed,
            )
        })
        .into()
}

fn bytes_that_never_end() -> Vec<Case> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let after = |text: String, again: &[u8], pause: u64| {
        let pause = Duration::from_millis(pause);
        vec![
            Piece::Bytes(text.into_bytes()),
            Piece::Endlessly(again.to_vec(), pause),
        ]
    };
    let chunk = [b"1000\r\n", &[b' '; 0x1000][..], b"\r\n"].concat();
    vec![
        ("silence", vec![Piece::Silence], Late),
        (
            "silence after the head",
            vec![
                Piece::Bytes(format!("{head}Content-Length: 17\r\n\r\n").into()),
                Piece::Silence,
            ],
            Late,
        ),
        (
            "one byte a second",
            after(format!("{head}Content-Length: 17\r\n\r\n"), b" ", 1000),
            Late,
        ),
        (
            "a head byte by byte",
            after("HTTP/1.1 200 OK\r\nX: ".into(), b"x", 20),
            Late,
        ),
        (
            "interim answers",
            after(String::new(), b"HTTP/1.1 103 Soon\r\n\r\n", 20),
            Late,
        ),
        (
            "a body that fills 10 GB",
            after(
                format!("{head}Content-Length: 10000000000\r\n\r\n"),
                &[b' '; 65_536],
                0,
            ),
            Malformed,
        ),
        (
            "chunks for ever",
            after(
                format!("{head}Transfer-Encoding: chunked\r\n\r\n"),
                &chunk,
                0,
            ),
            Malformed,
        ),
        (
            "chunks of one byte",
            after(
                format!("{head}Transfer-Encoding: chunked\r\n\r\n"),
                b"1\r\n \r\n",
                10,
            ),
            Late,
        ),
        (
            "until the end, which does not come",
            after(format!("{head}\r\n"), &[b' '; 4096], 0),
            Malformed,
        ),
    ]
}

//! Everything that is not a request.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Proxy, read_head, read_to_end, send, soon};

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one row for every class of input")]
async fn malformed_requests_are_refused_with_their_status() {
    let proxy = Proxy::start().await;
    let host = "Host: a.test\r\n";
    let post = "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\n";

    for (status, request) in [
        (400, "CONNECT a.test HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "CONNECT a.test: HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (400, "CONNECT a.test:0 HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (
            400,
            "CONNECT a.test:65536 HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        ),
        (400, "CONNECT a.test:abc HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (400, "CONNECT :443 HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (
            400,
            "CONNECT u:p@a.test:443 HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        ),
        (
            400,
            "CONNECT http://a.test:443/ HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        ),
        (
            400,
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".into(),
        ),
        (
            400,
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
        ),
        (400, format!("GET https://a.test/ HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET ftp://a.test/ HTTP/1.1\r\n{host}\r\n")),
        (
            400,
            format!("GET http://u:p@a.test/ HTTP/1.1\r\n{host}\r\n"),
        ),
        (400, format!("GET http:///x HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET http://a.test:0/ HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET http://a.test/#x HTTP/1.1\r\n{host}\r\n")),
        (
            400,
            format!("GET http://a_%00.test/ HTTP/1.1\r\n{host}\r\n"),
        ),
        (400, format!("GET a.test HTTP/1.1\r\n{host}\r\n")),
        (405, format!("TRACE http://a.test/ HTTP/1.1\r\n{host}\r\n")),
        (
            417,
            format!("GET http://a.test/ HTTP/1.1\r\n{host}Expect: tea\r\n\r\n"),
        ),
        (400, "GET http://a.test/ HTTP/1.1\r\n\r\n".into()),
        (
            400,
            format!("GET http://a.test/ HTTP/1.1\r\n{host}{host}\r\n"),
        ),
        (
            400,
            format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            400,
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        ),
        (
            400,
            format!("{post}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        ),
        (
            400,
            format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        ),
        (400, format!("{post}Transfer-Encoding: gzip\r\n\r\n")),
        (
            400,
            format!("{post}Transfer-Encoding: chunked, gzip\r\n\r\n"),
        ),
        (
            400,
            format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            400,
            format!("{post}Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n"),
        ),
        (400, format!("{post}X: a\r\n folded\r\n\r\n")),
        (400, format!("{post}X: a\rb\r\n\r\n")),
        (400, format!("{post}X: a\nY: b\r\n\r\n")),
        (400, format!("{post}X: a\0b\r\n\r\n")),
        (400, "GET http://a.test/ HTTP/1.1\nHost: a.test\n\n".into()),
        (400, "\0\0\0\0".into()),
        (400, "\u{4}\u{1}\0P".into()),
        (400, "\u{16}\u{3}\u{1}\u{2}\0".into()),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        (505, format!("GET http://a.test/ HTTP/1.2\r\n{host}\r\n")),
        (
            431,
            format!(
                "GET http://a.test/ HTTP/1.1\r\n{host}{}\r\n",
                "X: y\r\n".repeat(10_000)
            ),
        ),
        (
            431,
            format!(
                "GET http://a.test/ HTTP/1.1\r\n{host}{}\r\n",
                "X: y\r\n".repeat(100)
            ),
        ),
        (
            431,
            format!(
                "GET http://a.test/ HTTP/1.1\r\n{host}X: {}\r\n\r\n",
                "y".repeat(1 << 20)
            ),
        ),
        (
            431,
            format!(
                "GET http://a.test/{} HTTP/1.1\r\n{host}\r\n",
                "y".repeat(1 << 20)
            ),
        ),
    ] {
        let answer = proxy.ask(&request).await;
        let request: String = request.chars().take(200).collect();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {answer}"
        );
        assert!(
            answer.contains("\r\nproxy-status: ztna; error=http_request_error; "),
            "{answer}"
        );
        assert!(answer.contains("\r\nconnection: close\r\n"));
    }

    assert_eq!(proxy.upstream.asked(), []);
}

#[tokio::test]
async fn a_bad_request_after_a_good_one_is_refused_too() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    send(
        &mut client,
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\nGET http://b.test/ HTTP/1.1\nHost: b\n\n",
    )
    .await;
    let mut far = proxy.far().await;
    far.read_head().await;
    far.send("HTTP/1.1 204 No Content\r\n\r\n").await;

    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 204 "));
    let (answer, ended) = read_to_end(&mut client).await;
    assert!(answer.starts_with(b"HTTP/1.1 400 "));
    ended.unwrap();
}

#[tokio::test]
async fn an_empty_line_before_a_request_is_skipped() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    for byte in b"\r\n\r\nCONNECT a.test:1 HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    proxy.far().await;

    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn bad_socks_messages_get_their_reply_and_are_closed() {
    let proxy = Proxy::start().await;
    let name = |length: u8| {
        [
            vec![5, 1, 0, 3, length],
            vec![b'a'; length.into()],
            vec![0, 80],
        ]
        .concat()
    };

    for (messages, answer) in [
        (vec![5, 0], vec![5, 0xff]),
        (vec![5, 2, 1, 2], vec![5, 0xff]),
        (socks(&[5, 2, 0, 1, 10, 0, 0, 1, 0, 80]), reply(7)),
        (socks(&[5, 3, 0, 1, 10, 0, 0, 1, 0, 80]), reply(7)),
        (socks(&[5, 9, 0, 1, 10, 0, 0, 1, 0, 80]), reply(7)),
        (socks(&[5, 1, 0, 2, 10, 0, 0, 1, 0, 80]), reply(8)),
        (socks(&[5, 1, 0, 0]), reply(8)),
        (socks(&[5, 1, 1, 1, 10, 0, 0, 1, 0, 80]), reply(1)),
        (socks(&[5, 1, 0, 1, 10, 0, 0, 1, 0, 0]), reply(1)),
        (socks(&name(255)), reply(1)),
        (socks(&name(64)), reply(1)),
        (socks(&name(0)), reply(1)),
        (socks(b"\x05\x01\x00\x03\x04a\0.b\x00\x50"), reply(1)),
        (
            socks(b"\x05\x01\x00\x03\x04\xff\xfe\xfd\xfc\x00\x50"),
            reply(1),
        ),
        (socks(&[4, 1, 0, 1]), vec![5, 0]),
    ] {
        let mut client = proxy.client().await;
        client.write_all(&messages).await.unwrap();
        let (found, _) = read_to_end(&mut client).await;
        assert_eq!(found, answer, "{}", messages.escape_ascii());
    }

    assert_eq!(proxy.upstream.asked(), []);
}

#[tokio::test]
async fn socks_messages_that_end_early_are_closed() {
    let proxy = Proxy::start().await;
    let whole = socks(b"\x05\x01\x00\x03\x06a.test\x00\x50");

    for end in 1..whole.len() {
        let mut client = proxy.client().await;
        client.write_all(&whole[..end]).await.unwrap();
        client.shutdown().await.unwrap();
        read_to_end(&mut client).await.1.unwrap();
    }

    assert_eq!(proxy.upstream.asked(), []);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_too_slowly_is_given_up() {
    let proxy = Proxy::start().await;
    let begin = tokio::time::Instant::now();

    let mut http = proxy.client().await;
    send(&mut http, "GET http://a.test/ HTTP/1.1\r\nHost:").await;
    let mut answer = String::new();
    http.read_to_string(&mut answer).await.unwrap();
    let http_took = begin.elapsed();

    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(http_took >= Duration::from_secs(9), "{http_took:?}");
    assert!(http_took <= Duration::from_secs(15), "{http_took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_socks_handshake_that_comes_too_slowly_is_given_up() {
    let proxy = Proxy::start().await;
    let begin = tokio::time::Instant::now();

    let mut socks = proxy.client().await;
    socks.write_all(&[5, 1, 0, 5, 1]).await.unwrap();
    let mut answer = Vec::new();
    socks.read_to_end(&mut answer).await.unwrap();

    assert_eq!(answer, [5, 0]);
    assert!(begin.elapsed() <= Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_asks_is_closed() {
    let proxy = Proxy::start().await;

    let mut client = proxy.client().await;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();

    assert_eq!(answer, b"");
}

/// Throws mutated requests at the listener; every one must be answered or closed.
#[tokio::test]
async fn no_bytes_make_it_hang_or_fail() {
    const SEED: u64 = 0x5eed_0001;
    println_seed(SEED);
    let mut random = Random(SEED);
    let mut proxy = Proxy::start().await;
    let seeds: [&[u8]; 6] = [
        b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
        b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\nAccept: text/html\r\n\r\n",
        b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST http://a.test/ HTTP/1.0\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        b"\x05\x01\x00\x05\x01\x00\x03\x06a.test\x01\xbb",
        b"\x05\x02\x00\x01\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50",
    ];

    for _ in 0..1500 {
        let mut request = seeds[random.below(seeds.len())].to_vec();
        for _ in 0..random.below(4) {
            let at = random.below(request.len());
            match random.below(4) {
                0 => request[at] = random.byte(),
                1 => request.insert(at, random.byte()),
                2 => request.truncate(at + 1),
                _ => request.extend_from_within(at..),
            }
        }
        let mut client = proxy.client().await;
        // What was opened is dropped by the far end, and the rest is up to the proxy.
        let _sent = client.write_all(&request).await;
        let _finished = client.shutdown().await;
        let mut answer = Vec::new();
        let closed = soon(async {
            tokio::select! {
                ended = client.read_to_end(&mut answer) => ended.map(drop),
                () = async { loop { drop(proxy.far().await); } } => Ok(()),
            }
        });
        let _either_way = closed.await;
    }

    let (client, _far) = proxy.connect().await;
    drop(client);
}

#[expect(clippy::print_stdout, reason = "a failure must be repeatable")]
fn println_seed(seed: u64) {
    println!("seed {seed:#x}");
}

/// xorshift64*, enough to make different requests.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap() % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next() & 0xff).unwrap()
    }
}

fn socks(request: &[u8]) -> Vec<u8> {
    [&[5, 1, 0], request].concat()
}

fn reply(code: u8) -> Vec<u8> {
    vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

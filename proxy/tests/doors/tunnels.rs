//! `CONNECT` and SOCKS5 once they are open.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Proxy, assert_reset, read_exactly, read_head, read_to_end, send, soon};

#[tokio::test]
async fn connect_carries_bytes_both_ways() {
    let mut proxy = Proxy::start().await;

    let (mut client, mut far) = proxy.connect().await;
    client.write_all(b"ping").await.unwrap();
    assert_eq!(far.read_exactly(4).await, b"ping");
    far.send("pong").await;

    assert_eq!(read_exactly(&mut client, 4).await, b"pong");
    assert_eq!(far.target.to_string(), "a.test:443");
}

#[tokio::test]
async fn the_answer_to_connect_has_no_content_fields() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    send(&mut client, "CONNECT [2001:db8::1]:443 HTTP/1.0\r\n\r\n").await;
    let far = proxy.far().await;

    let head = read_head(&mut client).await;
    assert_eq!(head, "HTTP/1.1 200 Connection established\r\n\r\n");
    assert_eq!(far.target.to_string(), "[2001:db8::1]:443");
}

#[tokio::test]
async fn socks_carries_bytes_both_ways() {
    let mut proxy = Proxy::start().await;

    let (mut client, mut far) = proxy.socks().await;
    client.write_all(b"ping").await.unwrap();
    assert_eq!(far.read_exactly(4).await, b"ping");
    far.send("pong").await;

    assert_eq!(read_exactly(&mut client, 4).await, b"pong");
    assert_eq!(far.target.to_string(), "a.test:443");
}

#[tokio::test]
async fn bytes_sent_before_the_answer_are_kept() {
    let mut proxy = Proxy::start().await;
    let mut http = proxy.client().await;
    let mut socks = proxy.client().await;

    send(
        &mut http,
        "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\nearly",
    )
    .await;
    let mut http_far = proxy.far().await;
    socks
        .write_all(b"\x05\x01\x00\x05\x01\x00\x03\x06a.test\x01\xbbearly")
        .await
        .unwrap();
    let mut socks_far = proxy.far().await;

    assert_eq!(http_far.read_exactly(5).await, b"early");
    assert_eq!(socks_far.read_exactly(5).await, b"early");
}

#[tokio::test]
async fn a_socks_handshake_may_come_byte_by_byte() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    for byte in b"\x05\x02\x02\x00\x05\x01\x00\x03\x06a.test\x01\xbb" {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }

    assert_eq!(proxy.far().await.target.to_string(), "a.test:443");
    assert_eq!(read_exactly(&mut client, 4).await, [5, 0, 5, 0]);
}

#[tokio::test]
async fn the_client_may_finish_first() {
    let mut proxy = Proxy::start().await;

    for (mut client, mut far) in [proxy.connect().await, proxy.socks().await] {
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = Vec::new();
        soon(far.io.read_to_end(&mut question)).await.unwrap();
        assert_eq!(question, b"question");

        far.send("answer").await;
        far.io.shutdown().await.unwrap();

        let (answer, ended) = read_to_end(&mut client).await;
        assert_eq!(answer, b"answer");
        ended.unwrap();
    }
}

#[tokio::test]
async fn the_destination_may_finish_first() {
    let mut proxy = Proxy::start().await;

    for (mut client, mut far) in [proxy.connect().await, proxy.socks().await] {
        far.send("banner").await;
        far.io.shutdown().await.unwrap();
        let (banner, ended) = read_to_end(&mut client).await;
        assert_eq!(banner, b"banner");
        ended.unwrap();

        client.write_all(b"later").await.unwrap();
        client.shutdown().await.unwrap();

        let mut later = Vec::new();
        soon(far.io.read_to_end(&mut later)).await.unwrap();
        assert_eq!(later, b"later");
    }
}

#[tokio::test]
async fn a_tunnel_that_is_cut_is_reset() {
    let mut proxy = Proxy::start().await;

    for (mut client, mut far) in [proxy.connect().await, proxy.socks().await] {
        far.send("half of it").await;
        assert_eq!(read_exactly(&mut client, 10).await, b"half of it");

        far.cut();

        let (rest, ended) = read_to_end(&mut client).await;
        assert_eq!(rest, b"");
        assert_reset(ended);
    }
}

#[tokio::test]
async fn a_tunnel_whose_client_resets_is_dropped() {
    let mut proxy = Proxy::start().await;

    let (client, mut far) = proxy.connect().await;
    client.set_zero_linger().unwrap();
    drop(client);

    let mut rest = Vec::new();
    soon(far.io.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_large_transfer_arrives_whole_both_ways_at_once() {
    const SIZE: usize = 8 << 20;
    let mut proxy = Proxy::start().await;
    let (client, far) = proxy.connect().await;
    let pattern: Vec<u8> = (0..SIZE).map(|n| u8::try_from(n % 251).unwrap()).collect();

    let (mut client_reads, mut client_writes) = client.into_split();
    let (mut far_reads, mut far_writes) = tokio::io::split(far.io);
    let (mut down, mut up) = (Vec::new(), Vec::new());
    let moved = async {
        tokio::join!(
            async {
                client_writes.write_all(&pattern).await.unwrap();
                client_writes.shutdown().await.unwrap();
            },
            async {
                far_writes.write_all(&pattern).await.unwrap();
                far_writes.shutdown().await.unwrap();
            },
            client_reads.read_to_end(&mut down),
            far_reads.read_to_end(&mut up),
        )
    };
    let (_, _, down_read, up_read) = soon(moved).await;
    down_read.unwrap();
    up_read.unwrap();

    assert!(down == pattern);
    assert!(up == pattern);
}

//! Plain HTTP requests that are forwarded.

use proxy::Limits;
use tokio::io::AsyncWriteExt;

use crate::support::{Proxy, assert_reset, read_exactly, read_head, read_to_end, send};

#[tokio::test]
async fn a_request_is_forwarded_and_its_response_returned() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    send(
        &mut client,
        "GET http://A.test:8080/x?y=1 HTTP/1.1\r\nHost: other.test\r\nProxy-Connection: keep-alive\r\n\
         Connection: X-Hop\r\nX-Hop: 1\r\nUser-Agent: u\r\n\r\n",
    )
    .await;
    let mut far = proxy.far().await;
    let request = far.read_head().await;
    far.send(
        "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\
         Proxy-Status: ztna; error=x\r\nVia: 1.1 inner\r\n\r\nhello",
    )
    .await;

    assert_eq!(far.target.to_string(), "a.test:8080");
    assert_eq!(
        request,
        "GET /x?y=1 HTTP/1.1\r\nhost: a.test:8080\r\nuser-agent: u\r\nvia: 1.1 ztna\r\n\r\n"
    );
    assert_eq!(
        read_head(&mut client).await,
        "HTTP/1.1 200 Fine\r\ncontent-length: 5\r\nvia: 1.1 inner\r\nvia: 1.1 ztna\r\n\r\n"
    );
    assert_eq!(read_exactly(&mut client, 5).await, b"hello");
}

#[tokio::test]
async fn one_client_connection_carries_requests_to_several_hosts() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    for host in ["a.test", "b.test", "a.test"] {
        send(
            &mut client,
            &format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        )
        .await;
        let mut far = proxy.far().await;
        assert_eq!(far.target.host.to_string(), host);
        far.read_head().await;
        far.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 204 "));
    }
}

#[tokio::test]
async fn requests_sent_in_one_go_are_answered_one_after_the_other() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    send(
        &mut client,
        "POST http://a.test/1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc\
         GET http://a.test/2 HTTP/1.1\r\nHost: a.test\r\n\r\n\
         CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\nearly",
    )
    .await;
    let mut first = proxy.far().await;
    assert!(first.read_head().await.starts_with("POST /1 "));
    assert_eq!(first.read_exactly(3).await, b"abc");
    first
        .send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
        .await;
    let mut second = proxy.far().await;
    assert!(second.read_head().await.starts_with("GET /2 "));
    second
        .send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
        .await;
    let mut third = proxy.far().await;
    assert_eq!(third.read_exactly(5).await, b"early");

    for content in [b"1", b"2"] {
        read_head(&mut client).await;
        assert_eq!(read_exactly(&mut client, 1).await, content);
    }
    assert!(
        read_head(&mut client)
            .await
            .starts_with("HTTP/1.1 200 Connection")
    );
}

#[tokio::test]
async fn a_smuggled_request_is_just_content() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;
    let smuggled = "GET http://secret.test/ HTTP/1.1\r\nHost: secret.test\r\n\r\n";

    let length = smuggled.len();
    send(
        &mut client,
        &format!("POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{smuggled}"),
    )
    .await;
    let mut far = proxy.far().await;
    far.read_head().await;
    assert_eq!(far.read_exactly(length).await, smuggled.as_bytes());
    far.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    read_head(&mut client).await;

    assert_eq!(proxy.upstream.asked().len(), 1);
}

#[tokio::test]
async fn chunked_content_is_forwarded_and_the_connection_ends_after_it() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    send(
        &mut client,
        "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\n\r\nGET http://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n",
    )
    .await;
    let mut far = proxy.far().await;
    assert!(
        far.read_head()
            .await
            .contains("\r\ntransfer-encoding: chunked\r\n")
    );
    assert_eq!(far.read_exactly(13).await, b"3\r\nabc\r\n0\r\n\r\n");
    far.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .await;

    let (answer, ended) = read_to_end(&mut client).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("\r\nconnection: close\r\n"));
    assert!(answer.ends_with("\r\n\r\n2\r\nhi\r\n0\r\n\r\n"), "{answer}");
    ended.unwrap();
    assert_eq!(proxy.upstream.asked().len(), 1);
}

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_continue() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    send(
        &mut client,
        "PUT http://a.test/ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    )
    .await;
    let mut far = proxy.far().await;
    assert!(!far.read_head().await.contains("expect"));
    assert_eq!(
        read_head(&mut client).await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    send(&mut client, "ok").await;

    assert_eq!(far.read_exactly(2).await, b"ok");
}

#[tokio::test]
async fn a_head_request_keeps_the_length_and_the_connection() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    for _ in 0..2 {
        send(
            &mut client,
            "HEAD http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        )
        .await;
        let mut far = proxy.far().await;
        far.read_head().await;
        far.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            .await;
        assert!(
            read_head(&mut client)
                .await
                .contains("\r\ncontent-length: 1000\r\n")
        );
    }
}

#[tokio::test]
async fn an_http_1_0_client_is_served_and_closed() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    send(
        &mut client,
        "GET http://a.test HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    )
    .await;
    let mut far = proxy.far().await;
    assert_eq!(
        far.read_head().await,
        "GET / HTTP/1.1\r\nhost: a.test\r\nvia: 1.0 ztna\r\n\r\n"
    );
    far.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .await;

    let (answer, ended) = read_to_end(&mut client).await;
    assert!(answer.ends_with(b"\r\n\r\nhi"));
    assert!(!answer.windows(7).any(|word| word == b"chunked"));
    ended.unwrap();
}

#[tokio::test]
async fn a_response_without_a_length_ends_with_its_connection() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    send(
        &mut client,
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    )
    .await;
    let mut far = proxy.far().await;
    far.read_head().await;
    far.send("HTTP/1.0 200 OK\r\n\r\nall of it").await;
    drop(far);

    assert!(
        read_head(&mut client)
            .await
            .contains("transfer-encoding: chunked")
    );
    assert_eq!(
        read_exactly(&mut client, 19).await,
        b"9\r\nall of it\r\n0\r\n\r\n"
    );
}

#[tokio::test]
async fn a_response_that_is_cut_is_reset_however_it_is_delimited() {
    let mut proxy = Proxy::start().await;

    for (version, head) in [
        (
            "HTTP/1.1",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        ),
        (
            "HTTP/1.1",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n",
        ),
        ("HTTP/1.1", "HTTP/1.1 200 OK\r\n\r\n"),
        ("HTTP/1.0", "HTTP/1.1 200 OK\r\n\r\n"),
    ] {
        let mut client = proxy.client().await;
        send(
            &mut client,
            &format!("GET http://a.test/ {version}\r\nHost: a.test\r\n\r\n"),
        )
        .await;
        let mut far = proxy.far().await;
        far.read_head().await;
        far.send(format!("{head}half")).await;
        read_head(&mut client).await;
        if version == "HTTP/1.1" && !head.contains("Content-Length") {
            assert_eq!(read_exactly(&mut client, 9).await, b"4\r\nhalf\r\n");
        } else {
            assert_eq!(read_exactly(&mut client, 4).await, b"half");
        }

        far.cut();

        let (rest, ended) = read_to_end(&mut client).await;
        assert_eq!(rest, b"");
        assert_reset(ended);
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_is_reset() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    send(
        &mut client,
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    )
    .await;
    let mut far = proxy.far().await;
    far.read_head().await;
    far.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        .await;
    read_head(&mut client).await;
    assert_eq!(read_exactly(&mut client, 4).await, b"half");
    drop(far);

    assert_reset(read_to_end(&mut client).await.1);
}

#[tokio::test]
async fn a_destination_that_does_not_answer_properly_is_a_502() {
    let mut proxy = Proxy::start().await;

    for (response, error) in [
        ("", "connection_terminated"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "connection_terminated"),
        ("garbage\r\n\r\n", "http_protocol_error"),
        (
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            "http_protocol_error",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "http_protocol_error",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "http_response_transfer_coding",
        ),
        (
            "HTTP/1.1 407 Give me\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
            "http_protocol_error",
        ),
    ] {
        let mut client = proxy.client().await;
        send(
            &mut client,
            "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        )
        .await;
        let mut far = proxy.far().await;
        far.read_head().await;
        far.send(response).await;
        drop(far);

        let (answer, ended) = read_to_end(&mut client).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{response}{answer}");
        assert!(
            answer.contains(&format!("proxy-status: ztna; error={error}; ")),
            "{answer}"
        );
        ended.unwrap();
    }
}

#[tokio::test]
async fn malformed_chunks_are_a_400_and_the_destination_sees_no_end() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    send(
        &mut client,
        "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    )
    .await;
    let mut far = proxy.far().await;

    let (answer, _) = read_to_end(&mut client).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 400 "),
        "{}",
        answer.escape_ascii()
    );
    let mut seen = Vec::new();
    let _ended = tokio::io::AsyncReadExt::read_to_end(&mut far.io, &mut seen).await;
    assert!(!seen.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn an_early_answer_ends_the_connection_after_it() {
    let mut proxy = Proxy::start_with(Limits::default(), true).await;
    let mut client = proxy.client().await;

    send(
        &mut client,
        "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nbegin",
    )
    .await;
    let mut far = proxy.far().await;
    far.read_head().await;
    far.send("HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        .await;

    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 413 "));
    assert_eq!(read_exactly(&mut client, 2).await, b"no");
    client.shutdown().await.unwrap();
    let (rest, _) = read_to_end(&mut client).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_request_it_waits_for() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client().await;

    send(
        &mut client,
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    )
    .await;
    let mut far = proxy.far().await;
    far.read_head().await;
    drop(client);

    let mut rest = Vec::new();
    crate::support::soon(tokio::io::AsyncReadExt::read_to_end(&mut far.io, &mut rest))
        .await
        .unwrap();
    assert_eq!(rest, b"");
}

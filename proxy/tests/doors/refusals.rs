//! What people and programs are told when something is not opened.

use proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Proxy, read_exactly, read_to_end, soon};

#[tokio::test]
async fn a_refused_connect_says_why_on_the_status_line_and_in_proxy_status() {
    let proxy = Proxy::start().await;

    let answer = proxy
        .ask("CONNECT denied.test:443 HTTP/1.1\r\nHost: denied.test\r\nAccept: */*\r\n\r\n")
        .await;

    assert!(answer.starts_with("HTTP/1.1 403 The \"firewall\" of this device is off <now>.\r\n"));
    assert!(answer.contains(
        "\r\nproxy-status: ztna; error=http_request_denied; details=\"posture_firewall: \
         The \\\"firewall\\\" of this device is off <now>. [d-42]\"\r\n"
    ));
    assert!(answer.contains("\r\ncache-control: no-store\r\n"));
    assert!(answer.contains("\r\ncontent-type: text/plain; charset=utf-8\r\n"));
    assert!(answer.contains("\r\nconnection: close\r\n"));
    assert!(answer.contains("What to do: Switch the firewall on.\n"));
    assert!(answer.contains("Reference: d-42\n"));
}

#[tokio::test]
async fn a_browser_gets_a_page() {
    let proxy = Proxy::start().await;

    let answer = proxy
        .ask(
            "GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\
             Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n\r\n",
        )
        .await;

    assert!(answer.starts_with("HTTP/1.1 403 "));
    assert!(answer.contains("\r\ncontent-type: text/html; charset=utf-8\r\n"));
    assert!(answer.contains("<p>The &quot;firewall&quot; of this device is off &lt;now&gt;.</p>"));
    assert!(answer.contains("<p>Switch the firewall on.</p>"));
    assert!(answer.contains("<code>d-42</code>"));
}

#[tokio::test]
async fn every_kind_of_refusal_has_its_status_error_type_and_reply() {
    let proxy = Proxy::start().await;

    for (host, status, error, reply) in [
        ("denied.test", 403, "http_request_denied", 2),
        ("down.test", 503, "destination_unavailable", 4),
        ("refused.test", 502, "connection_refused", 5),
        ("late.test", 504, "connection_timeout", 4),
        ("unknown.test", 500, "destination_not_found", 4),
        ("nxdomain.test", 502, "dns_error", 4),
        ("broken.test", 500, "proxy_internal_error", 1),
        ("localhost", 502, "destination_ip_prohibited", 2),
        ("127.0.0.1", 502, "destination_ip_prohibited", 2),
    ] {
        for request in [
            format!("CONNECT {host}:80 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ] {
            let answer = proxy.ask(request).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
            assert!(
                answer.contains(&format!("\r\nproxy-status: ztna; error={error}; ")),
                "{answer}"
            );
        }

        let mut client = proxy.client().await;
        let length = u8::try_from(host.len()).unwrap();
        let mut request = vec![5, 1, 0, 5, 1, 0, 3, length];
        request.extend(host.as_bytes());
        request.extend([0, 80]);
        client.write_all(&request).await.unwrap();
        let (answer, ended) = read_to_end(&mut client).await;
        ended.unwrap();
        assert_eq!(answer, [5, 0, 5, reply, 0, 1, 0, 0, 0, 0, 0, 0], "{host}");
    }
}

#[tokio::test]
async fn destinations_on_this_machine_are_never_asked_for() {
    let proxy = Proxy::start().await;

    for host in [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "169.254.169.254",
        "224.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[fe80::1]",
        "[ff02::1]",
        "localhost",
        "LocalHost.",
        "x.localhost",
        "localhost.localdomain",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[fe80::1%25eth0]",
        "127.0.0.1.",
        "user@127.0.0.1",
    ] {
        for request in [
            format!("CONNECT {host}:80 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            format!("GET http://{host}/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            format!(
                "GET http://{host}:{}/proxy.pac HTTP/1.1\r\nHost: a.test\r\n\r\n",
                proxy.address.port()
            ),
        ] {
            let answer = proxy.ask(&request).await;
            let refused =
                answer.starts_with("HTTP/1.1 502 ") || answer.starts_with("HTTP/1.1 400 ");
            assert!(refused, "{request}{answer}");
        }
    }
    for address in [
        &b"\x01\x7f\x00\x00\x01"[..],
        b"\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\x00\x00\x01",
        b"\x03\x09127.0.0.1",
        b"\x03\x03::1",
    ] {
        let request = [&b"\x05\x01\x00\x05\x01\x00"[..], address, b"\x00\x50"].concat();
        let mut client = proxy.client().await;
        client.write_all(&request).await.unwrap();
        assert_eq!(read_exactly(&mut client, 12).await[3], 2);
    }

    assert_eq!(proxy.upstream.asked(), []);
}

#[tokio::test]
async fn a_client_that_is_not_admitted_is_closed_unread() {
    let proxy = Proxy::start_with(Limits::default(), false).await;

    for request in [
        &b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n"[..],
        b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"\x05\x01\x00\x05\x01\x00\x03\x06a.test\x01\xbb",
        b"GET /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ] {
        assert_eq!(proxy.ask(request).await, "");
    }

    assert_eq!(proxy.upstream.admissions(), 4);
    assert_eq!(proxy.upstream.asked(), []);
}

#[tokio::test]
async fn the_pac_file_is_served_to_the_listeners_own_address_only() {
    let proxy = Proxy::start().await;
    let address = proxy.address;
    let get = |host: String| format!("GET /proxy.pac HTTP/1.1\r\nHost: {host}\r\n");

    let answer = proxy.ask(get(address.to_string()) + "\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(answer.contains("\r\nContent-Type: application/x-ns-proxy-autoconfig\r\n"));
    assert!(answer.contains("\"wiki.corp.test\""));
    assert!(answer.contains("\".dev.test\""));
    assert!(answer.contains(&format!("\"PROXY {address}\"")));

    let port = address.port();
    for request in [
        get(format!("evil.test:{port}")),
        get(format!("localhost:{port}")),
        get("127.0.0.1".into()),
        get(format!("[::ffff:127.0.0.1]:{port}")),
        get(address.to_string()) + "Origin: https://evil.test\r\n",
        get(address.to_string()) + "Sec-Fetch-Site: cross-site\r\n",
        format!("POST /proxy.pac HTTP/1.1\r\nHost: {address}\r\n"),
        format!("GET /proxy.pac?x HTTP/1.1\r\nHost: {address}\r\n"),
    ] {
        let answer = proxy.ask(request.clone() + "\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 421 "), "{request}{answer}");
    }
}

#[tokio::test]
async fn web_pages_cannot_use_the_proxy_as_a_web_server() {
    let proxy = Proxy::start().await;
    let address = proxy.address;

    for request in [
        format!("GET / HTTP/1.1\r\nHost: {address}\r\n"),
        "GET / HTTP/1.1\r\nHost: wiki.corp.test\r\n".into(),
        "POST /x HTTP/1.1\r\nHost: wiki.corp.test\r\nOrigin: https://evil.test\r\n".into(),
        "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n".into(),
        "OPTIONS /x HTTP/1.1\r\nHost: a.test\r\nAccess-Control-Request-Method: PUT\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            .into(),
        "GET //a.test/ HTTP/1.1\r\nHost: a.test\r\n".into(),
        "GET / HTTP/1.0\r\n".into(),
    ] {
        let answer = proxy.ask(request.clone() + "\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 421 "), "{request}{answer}");
        assert!(!answer.to_ascii_lowercase().contains("access-control-allow"));
    }

    assert_eq!(proxy.upstream.asked(), []);
}

#[tokio::test]
async fn a_request_that_was_here_before_is_a_loop() {
    let proxy = Proxy::start().await;

    let answer = proxy
        .ask("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nVia: 1.1 x, 1.1 ztna\r\n\r\n")
        .await;

    assert!(answer.starts_with("HTTP/1.1 508 "));
    assert!(answer.contains("error=proxy_loop_detected"));
    assert_eq!(proxy.upstream.asked(), []);
}

#[tokio::test]
async fn a_refusal_with_unread_content_still_reaches_the_client() {
    let proxy = Proxy::start().await;
    let mut client = proxy.client().await;
    let content = vec![b'x'; 512 * 1024];
    let head = format!(
        "POST http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );

    soon(client.write_all(head.as_bytes())).await.unwrap();
    soon(client.write_all(&content)).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 403 "));
    assert!(answer.contains("d-42"));
}

//! What clients cannot make the proxy do: hold memory, hold tasks, or stay.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use proxy::{Limits, ServeError, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{
    Proxy, assert_reset, read_exactly, read_head, read_to_end, send, soon, until,
};

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_destination() {
    let mut proxy = Proxy::start().await;
    let (tunnel_client, tunnel) = proxy.connect().await;
    let mut http_client = proxy.client().await;
    send(
        &mut http_client,
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    )
    .await;
    let mut http = proxy.far().await;
    http.read_head().await;
    http.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        .await;

    for mut far in [tunnel, http] {
        let pulled = far.pulled.clone();
        let source = tokio::spawn(async move {
            let block = vec![0; 64 * 1024];
            while far.io.write_all(&block).await.is_ok() {}
        });
        // It has stopped when nothing more is pulled for a while.
        let mut before = usize::MAX;
        soon(async {
            while pulled.load(SeqCst) != before {
                before = pulled.load(SeqCst);
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        })
        .await;

        // The kernel's buffers on loopback hold up to 4 + 6 MB; ours add a few 64 KiB.
        assert!(before < 12 << 20, "{before} bytes were pulled");
        source.abort();
    }
    drop((tunnel_client, http_client));
}

#[tokio::test]
async fn a_destination_that_does_not_read_stops_the_client() {
    let mut proxy = Proxy::start().await;
    let (mut client, far) = proxy.connect().await;
    let block = vec![0; 64 * 1024];
    let mut sent = 0_usize;

    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(500), client.write(&block)).await
    {
        sent += written.unwrap();
        assert!(sent < 16 << 20, "{sent} bytes were taken");
    }

    assert!(sent > 0);
    drop(far);
}

#[tokio::test]
async fn a_thousand_connections_leave_nothing_behind() {
    let mut proxy = Proxy::start().await;
    let before = open_files();

    for n in 0..1000 {
        let (mut client, far) = if n % 2 == 0 {
            proxy.connect().await
        } else {
            proxy.socks().await
        };
        drop(far);
        client.shutdown().await.unwrap();
        read_to_end(&mut client).await.1.unwrap();
    }

    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    until(|| tasks() <= 1).await;
    if let Some(before) = before {
        until(|| open_files().unwrap() <= before).await;
    }
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away() {
    let limits = Limits {
        max_connections: 2,
        ..Limits::default()
    };
    let mut proxy = Proxy::start_with(limits, true).await;
    let first = proxy.connect().await;
    let _second = proxy.connect().await;

    let mut third = proxy.client().await;
    let mut answer = [0; 12];
    soon(third.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");

    drop(first);
    let mut answer = String::new();
    soon(async {
        while !answer.starts_with("HTTP/1.1 421 ") {
            answer = proxy.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        }
    })
    .await;
}

#[tokio::test]
async fn stopping_resets_transfers_and_is_quick() {
    let mut proxy = Proxy::start().await;
    let (mut tunnel, _far) = proxy.connect().await;
    let mut idle = proxy.client().await;
    let mut waiting = proxy.client().await;
    send(
        &mut waiting,
        "CONNECT hangs.test:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    .await;
    let mut download = proxy.client().await;
    send(&mut download, "GET http://a.test/ HTTP/1.0\r\n\r\n").await;
    let mut far = proxy.far().await;
    far.read_head().await;
    far.send("HTTP/1.1 200 OK\r\n\r\nhalf").await;
    read_head(&mut download).await;
    assert_eq!(read_exactly(&mut download, 4).await, b"half");

    let took = proxy.stop().await;

    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_reset(read_to_end(&mut tunnel).await.1);
    assert_reset(read_to_end(&mut download).await.1);
    assert_eq!(read_to_end(&mut idle).await.0, b"");
    assert_eq!(read_to_end(&mut waiting).await.0, b"");
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_carries_nothing_is_cut_after_the_idle_time() {
    let limits = Limits {
        idle_timeout: Duration::from_secs(600),
        ..Limits::default()
    };
    let mut proxy = Proxy::start_with(limits, true).await;
    let (tunnel, _far) = proxy.connect_unhurried().await;
    let mut tunnel = tunnel;
    let begin = tokio::time::Instant::now();

    let mut rest = Vec::new();
    let ended = tunnel.read_to_end(&mut rest).await.map(drop);

    assert_reset(ended);
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(590), "{took:?}");
    assert!(took <= Duration::from_secs(800), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_never_answers_is_given_up() {
    let proxy = Proxy::start().await;
    let mut client = proxy.client().await;
    client
        .write_all(b"CONNECT hangs.test:443 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();

    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 504 "));
    assert!(answer.contains("error=connection_timeout"));
}

#[tokio::test]
async fn a_listener_that_others_can_reach_is_not_served() {
    let proxy = Proxy::start().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();

    let refused = serve(
        listener,
        proxy.upstream.clone(),
        Limits::default(),
        std::future::pending(),
    )
    .await;

    assert!(matches!(refused, Err(ServeError::NotLoopback(_))));
}

/// Counts this process's open files, where the system shows them.
fn open_files() -> Option<usize> {
    std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

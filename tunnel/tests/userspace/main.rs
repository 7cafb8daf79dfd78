//! The tunnel without a network device, end to end: the real client and the
//! real far end over UDP on loopback, with permits from the real core.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use connector_core::access::{Protocol, Reason};
use connector_core::catalogue::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tunnel::netstack::LookupError;
use tunnel::userspace::{DialError, FlowEvent};
use tunnel_proto::Seed;
use tunnel_proto::keys::PrivateKey;

use self::world::{
    Content, Digest, ECHO, Options, SINK, SOURCE, World, flow, gateway_id, now, until,
};

const BULK: usize = 10 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_resolved_behind_the_gateway_and_bytes_come_back() {
    let mut world = World::start(Options::default());

    let mut stream = world.ask(ECHO).await;
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();

    assert_eq!(&answer, b"hello");
    let status = &world.tunnel.status()[0];
    assert_eq!(world.gateway_in_use(), Some(gateway_id(0)));
    assert!(status.gateways[0].handshake_took.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_configured_by_name_is_found() {
    let mut world = World::start(Options {
        named: true,
        ..Options::default()
    });

    let mut stream = world.ask(ECHO).await;
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();

    assert_eq!(&answer, b"hello");
    let listening = world.site.endpoints()[&gateway_id(0)];
    let status = &world.tunnel.status()[0];
    assert_eq!(status.gateways[0].address, Some(listening));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_go_up_intact() {
    let mut world = World::start(Options::default());
    let mut stream = world.ask(SINK).await;

    let digest = upload(&mut stream, BULK, || ()).await;

    assert_eq!(digest, Digest::of(BULK));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_come_down_intact() {
    let mut world = World::start(Options::default());
    let mut stream = world.ask(SOURCE).await;

    let (length, digest) = download(&mut stream, BULK, |_| ()).await;

    assert_eq!((length, digest), (BULK, Digest::of(BULK)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_the_sender_back() {
    let mut world = World::start(Options::default());
    let mut stream = world.ask(SOURCE).await;
    stream.write_u64(1 << 30).await.unwrap();

    // Packets stop arriving, since nobody reads them.
    let mut before = u64::MAX;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let after = world.site.counters().packets_out;
        if after == before {
            break;
        }
        assert!(Instant::now() < deadline, "the sender was not held back");
        before = after;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(before * 1380 < 4 << 20, "{before} packets");

    let mut first = vec![0; 1 << 20];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(
        first,
        Content::new().next(1 << 20),
        "and goes on when it is read"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_survives_the_death_of_its_gateway() {
    let mut world = World::start(Options {
        gateways: 2,
        ..Options::default()
    });
    let mut stream = world.ask(SINK).await;

    let (mut killed, mut longest, mut last) = (None, Duration::ZERO, Instant::now());
    let mut sent = 0;
    let digest = upload(&mut stream, BULK, || {
        sent += 1;
        if killed.is_some() {
            longest = longest.max(last.elapsed());
        }
        last = Instant::now();
        if sent == 100 {
            world.site.stop_gateway(&gateway_id(0));
            killed = Some(Instant::now());
        }
    })
    .await;

    assert_eq!(digest, Digest::of(BULK));
    assert_eq!(world.gateway_in_use(), Some(gateway_id(1)));
    assert!(longest < Duration::from_secs(4), "{longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_survives_the_death_of_its_gateway() {
    let mut world = World::start(Options {
        gateways: 2,
        ..Options::default()
    });
    let mut stream = world.ask(SOURCE).await;

    let (mut killed, mut longest, mut last) = (false, Duration::ZERO, Instant::now());
    let (length, digest) = download(&mut stream, BULK, |received| {
        if killed {
            longest = longest.max(last.elapsed());
        }
        last = Instant::now();
        if received > BULK / 3 && !killed {
            world.site.stop_gateway(&gateway_id(0));
            killed = true;
        }
    })
    .await;

    assert_eq!((length, digest), (BULK, Digest::of(BULK)));
    assert!(longest < Duration::from_secs(4), "{longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_from_before_a_revocation_opens_nothing_after_it() {
    let mut world = World::start(Options::default());
    let permit = world.company.permit(&flow("app.corp.test", SOURCE));

    world.company.sign_out();
    world.tunnel.set_access(&world.company.access, now());

    let error = world.tunnel.dial(permit).await.unwrap_err();
    assert_eq!(error, DialError::Cut(Reason::SignedOut.into()));
    assert_eq!(world.tunnel.live_flows(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_flow_is_cut_at_once_in_both_directions_and_nothing_follows() {
    let mut world = World::start(Options::default());
    let mut stream = world.ask(SOURCE).await;
    stream.write_u64(1 << 30).await.unwrap();
    let mut buffer = vec![0; 64 * 1024];
    stream.read_exact(&mut buffer).await.unwrap();

    world.company.sign_out();
    let started = Instant::now();
    world.tunnel.set_access(&world.company.access, now());
    let took = started.elapsed();

    let read = stream.read(&mut buffer).await.unwrap_err();
    let written = stream.write(b"x").await.unwrap_err();
    assert_eq!(
        (read.kind(), written.kind()),
        (ErrorKind::ConnectionReset, ErrorKind::ConnectionReset)
    );
    assert_eq!(
        stream.denial().map(|denial| denial.reason),
        Some(Reason::SignedOut)
    );
    assert!(took < Duration::from_millis(50), "{took:?}");
    assert_eq!(world.tunnel.live_flows(), 0);
    let closed = FlowEvent::Closed {
        flow: flow("app.corp.test", SOURCE),
        denial: Some(Reason::SignedOut.into()),
    };
    assert_eq!(world.events.lock().unwrap().last(), Some(&closed));
    // The reset ends the other side too, so that its packets stop.
    until("the far side closes", || {
        world.site.buffered_connections() == 0
    })
    .await;
    let packets = world.site.counters().packets_in;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.site.counters().packets_in, packets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_nobody_renews_ends_its_flow() {
    let mut world = World::start(Options {
        lease: Duration::from_millis(700),
        ..Options::default()
    });
    let opened = Instant::now();
    let mut stream = world.ask(ECHO).await;
    stream.write_all(b"x").await.unwrap();
    let mut buffer = [0; 8];
    stream.read_exact(&mut buffer[..1]).await.unwrap();

    let error = stream.read(&mut buffer).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(
        stream.denial().map(|denial| denial.reason),
        Some(Reason::LeaseExpired)
    );
    let lived = opened.elapsed();
    assert!(
        lived > Duration::from_millis(500) && lived < Duration::from_millis(1500),
        "{lived:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_under_way_is_cut_too() {
    let mut world = World::start(Options {
        dead: true,
        ..Options::default()
    });
    let permit = world.company.permit(&flow("app.corp.test", ECHO));
    let dialled = world.tunnel.dial(permit);
    tokio::pin!(dialled);
    tokio::select! {
        _ = &mut dialled => panic!("nobody is there"),
        () = until("the dial begins", || world.tunnel.live_flows() == 1) => {}
    }

    world.company.sign_out();
    world.tunnel.set_access(&world.company.access, now());

    assert_eq!(
        dialled.await.unwrap_err(),
        DialError::Cut(Reason::SignedOut.into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_to_connect_says_whose_it_is() {
    let mut world = World::start(Options {
        connect_limit: Duration::from_secs(3),
        ..Options::default()
    });

    let unknown = world.dial("nobody.corp.test", 80).await.unwrap_err();
    let empty = world.dial("empty.corp.test", 80).await.unwrap_err();
    let refused = world.dial("app.corp.test", 81).await.unwrap_err();
    let evil = world.dial("evil.corp.test", 80).await.unwrap_err();

    for error in [unknown, empty] {
        assert!(
            matches!(
                &error,
                DialError::NameNotFound {
                    error: LookupError::NoSuchName,
                    ..
                }
            ),
            "{error}"
        );
    }
    assert_eq!(refused, DialError::Refused("app.corp.test:81".to_owned()));
    assert!(
        matches!(
            evil,
            DialError::Reserved {
                range: "loopback",
                ..
            }
        ),
        "{evil}"
    );
    let mut udp = flow("app.corp.test", 53);
    udp.protocol = Protocol::Udp(53);
    let permit = world.company.permit(&udp);
    assert_eq!(
        world.tunnel.dial(permit).await.unwrap_err(),
        DialError::Unsupported("udp")
    );
    assert_eq!(world.tunnel.live_flows(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_gateway_a_dial_fails_in_bounded_time_and_names_what_was_tried() {
    let mut world = World::start(Options {
        gateways: 2,
        dead: true,
        connect_limit: Duration::from_secs(2),
        ..Options::default()
    });
    let listening = world.site.endpoints().values().copied();
    let endpoints: Vec<Endpoint> = listening.map(Endpoint::from).collect();
    let started = Instant::now();

    let error = world.dial("app.corp.test", ECHO).await.unwrap_err();

    assert!(started.elapsed() < Duration::from_millis(2500));
    assert!(matches!(error, DialError::NoGateway { tried, .. } if tried == endpoints));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_with_the_wrong_key_gets_nowhere() {
    let mut world = World::start(Options {
        known_key: PrivateKey::from_bytes([99; 32]),
        connect_limit: Duration::from_secs(1),
        ..Options::default()
    });

    let error = world.dial("app.corp.test", ECHO).await.unwrap_err();

    assert!(matches!(error, DialError::NoGateway { .. }), "{error}");
    assert_eq!(world.site.counters().packets_in, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_on_the_wire_disturbs_nothing() {
    let mut world = World::start(Options::default());
    let mut stream = world.ask(ECHO).await;
    let attacker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let gateway = world.site.endpoints()[&gateway_id(0)];
    let bits = 0x00de_fec7;
    let mut seed = Seed::new(bits);

    for round in 0..2000_u32 {
        let length = usize::try_from(seed.draw() % 1600).unwrap();
        let mut junk: Vec<u8> = (0..length).map(|_| seed.draw().to_le_bytes()[0]).collect();
        if length > 4 {
            junk[0] = u8::try_from(round % 5).unwrap();
            junk[1..4].fill(0);
        }
        attacker.send_to(&junk, gateway).await.unwrap();
        if round % 100 == 0 {
            let mut answer = [0; 4];
            stream.write_all(&round.to_le_bytes()).await.unwrap();
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, round.to_le_bytes(), "seed {bits:#x}");
        }
    }
    assert!(world.site.counters().rejected > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_flows_at_once_are_served_and_leave_nothing_behind() {
    let mut world = World::start(Options::default());
    let mut flows = Vec::new();
    for _ in 0..300 {
        flows.push(world.company.permit(&flow("app.corp.test", ECHO)));
    }
    let tunnel = &world.tunnel;
    let mut running: Vec<_> = flows
        .into_iter()
        .map(|permit| {
            Box::pin(async move {
                let mut stream = tunnel.dial(permit).await.unwrap();
                let content = Content::new().next(10_000);
                stream.write_all(&content).await.unwrap();
                let mut answer = vec![0; 10_000];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(answer, content);
            })
        })
        .collect();

    let deadline = tokio::time::timeout(Duration::from_secs(30), async {
        std::future::poll_fn(|context| {
            running.retain_mut(|flow| flow.as_mut().poll(context).is_pending());
            if running.is_empty() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    });
    deadline.await.expect("all are served");

    assert_eq!(world.tunnel.live_flows(), 0);
    until("buffers are given back", || {
        world.tunnel.buffered_connections() == 0 && world.site.buffered_connections() == 0
    })
    .await;
    let events = world.events.lock().unwrap();
    let opened = events
        .iter()
        .filter(|event| matches!(event, FlowEvent::Opened(_)))
        .count();
    assert_eq!((opened, events.len()), (300, 600));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_plan_keeps_live_flows_and_no_plan_ends_them() {
    let mut world = World::start(Options::default());
    let mut stream = world.ask(ECHO).await;
    let mut buffer = [0; 1];

    world.tunnel.configure(Some(world.company.plan()));
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut buffer).await.unwrap();

    world.tunnel.configure(None);
    let error = stream.read(&mut buffer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = world.dial("app.corp.test", ECHO).await.unwrap_err();
    assert_eq!(error, DialError::NoTunnel("hq".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_comes_back_carries_waiting_flows_on() {
    let mut world = World::start(Options::default());
    let mut stream = world.ask(ECHO).await;
    let mut buffer = [0; 1];
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut buffer).await.unwrap();

    world.site.stop_gateway(&gateway_id(0));
    world.site.start_gateway(&gateway_id(0)).unwrap();
    stream.write_all(b"y").await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut buffer)).await;

    read.expect("in time").unwrap();
    assert_eq!(&buffer, b"y");
}

async fn upload(
    stream: &mut tunnel::userspace::FlowStream,
    length: usize,
    mut sent: impl FnMut(),
) -> Digest {
    let (mut content, mut left) = (Content::new(), length);
    while left > 0 {
        let piece = content.next(left.min(32 * 1024));
        stream.write_all(&piece).await.unwrap();
        left -= piece.len();
        sent();
    }
    stream.shutdown().await.unwrap();
    Digest(stream.read_u64_le().await.unwrap())
}

async fn download(
    stream: &mut tunnel::userspace::FlowStream,
    length: usize,
    mut received: impl FnMut(usize),
) -> (usize, Digest) {
    stream
        .write_u64(u64::try_from(length).unwrap())
        .await
        .unwrap();
    let (mut digest, mut total) = (Digest::default(), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = stream.read(&mut buffer).await.unwrap();
        if length == 0 {
            return (total, digest);
        }
        digest.add(&buffer[..length]);
        total += length;
        received(total);
    }
}

use std::sync::{Arc, Mutex};
use std::time::Instant;

use connector_core::audit::chain::{Chain, Entry, Link, LogId};
use connector_core::audit::seal::Cause;
use connector_core::identity::HostId;
use connector_core::time::WallTime;
use connector_platform::decision_log::LOG;
use ed25519_dalek::SigningKey;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::adapters::control::HostCredential;

#[tokio::test]
async fn every_line_arrives_once_the_collector_is_back_and_across_restarts() {
    let mut world = World::new().await;
    world.write(40);
    world.collector.refuse(503);
    let shipping = world.ship(None);
    world
        .until("refused", |world| world.collector.refusals() > 0)
        .await;
    world
        .until("told", |_| shipping.shipments().report().problem.is_some())
        .await;

    world.collector.accept();
    world
        .until("delivered", |world| world.collector.through() == 40)
        .await;
    // What the collector has and the cursor does not is delivered twice.
    world
        .until("kept", |_| {
            shipping.shipments().report().delivered == Some(40)
        })
        .await;
    drop(shipping);
    world.write(5);
    let shipping = world.ship(None);
    world
        .until("the rest", |world| world.collector.through() == 45)
        .await;

    assert_eq!(world.collector.sequences(), (1..=45).collect::<Vec<_>>());
    world
        .until("shown", |_| {
            let report = shipping.shipments().report();
            report.delivered == Some(45) && report.problem.is_none()
        })
        .await;
    assert_eq!(world.collector.bytes(), world.log_bytes());
}

#[tokio::test]
async fn a_collector_that_lost_what_it_had_is_sent_it_again() {
    let mut world = World::new().await;
    world.write(10);
    let _shipping = world.ship(None);
    world
        .until("delivered", |world| world.collector.through() == 10)
        .await;

    world.collector.forget(4);
    world.write(1);

    world
        .until("delivered again", |world| world.collector.through() == 11)
        .await;
    let twice: Vec<u64> = (1..=10).chain([11]).chain(5..=11).collect();
    assert_eq!(world.collector.sequences(), twice);
}

#[tokio::test]
async fn lines_that_are_gone_hold_nothing_up() {
    let mut world = World::new().await;
    world.write(20);
    let text = world.log_bytes();
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let kept: Vec<u8> = lines.skip(12).flatten().copied().collect();
    std::fs::write(world.root.path().join(LOG), kept).unwrap();

    let _shipping = world.ship(None);

    world
        .until("delivered", |world| world.collector.through() == 20)
        .await;
    assert_eq!(world.collector.sequences(), (13..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_collector_that_takes_only_little_gets_little() {
    let mut world = World::new().await;
    world.write(200);
    world.collector.bound(40_000);

    let _shipping = world.ship(None);

    world
        .until("delivered", |world| world.collector.through() == 200)
        .await;
}

#[tokio::test]
async fn a_control_plane_that_takes_no_lines_is_left_alone() {
    let mut world = World::new().await;
    world.collector.lock().takes_records = false;
    world.write(3);

    let shipping = world.ship(None);

    world
        .until("known", |_| {
            let (delivered, _) = &shipping.shipments().collectors[0];
            delivered.through() == u64::MAX
        })
        .await;
    assert_eq!(shipping.shipments().report().delivered, None);
    assert_eq!(shipping.shipments().report().written, 3);
}

#[tokio::test]
async fn an_otlp_collector_gets_the_same_decisions_at_its_own_pace() {
    let mut world = World::new().await;
    world.write(7);
    world.collector.lock().takes_records = false;
    let otlp = OtlpEndpoint::below(world.collector.base.parse().unwrap());

    let _shipping = world.ship(Some(otlp));

    world
        .until("exported", |world| world.collector.lock().exported == 7)
        .await;
}

#[tokio::test]
async fn a_collector_that_is_named_while_the_service_runs_gets_everything_until_it_is_taken_back() {
    let mut world = World::new().await;
    world.write(3);
    world.collector.lock().takes_records = false;
    let otlp = OtlpEndpoint::below(world.collector.base.parse().unwrap());
    let shipping = world.ship(None);
    world
        .until("nobody's", |_| {
            let collectors = &shipping.shipments().collectors;
            collectors[1].0.through() == u64::MAX
        })
        .await;

    world.otlp.send_replace(Some(otlp));
    world
        .until("exported", |world| world.collector.lock().exported == 3)
        .await;
    world.otlp.send_replace(None);

    world
        .until("nobody's again", |_| {
            let collectors = &shipping.shipments().collectors;
            collectors[1].0.through() == u64::MAX
        })
        .await;
}

#[test]
fn lines_that_may_still_be_taken_back_are_not_read() {
    let root = tempfile::tempdir().unwrap();
    let mut chain = chain();
    let lines: Vec<u8> = (0..6).flat_map(|_| line(&mut chain)).collect();
    std::fs::write(root.path().join(LOG), &lines[..lines.len() - 3]).unwrap();
    let log = chain.next().log.clone();
    let mut reader = Reader::new(root.path().to_owned());

    let batch = reader.read(&log, 0, 4, MAX_BATCH).unwrap().unwrap();
    let rest = reader.read(&log, 4, 6, MAX_BATCH).unwrap().unwrap();

    assert_eq!((batch.first, batch.last, batch.is_all), (1, 4, true));
    assert_eq!((rest.first, rest.last, rest.is_all), (5, 5, false));
    assert!(reader.read(&log, 5, 6, MAX_BATCH).unwrap().is_none());
}

#[test]
fn batches_are_bounded_and_go_on_in_the_next_file() {
    let root = tempfile::tempdir().unwrap();
    let mut chain = chain();
    for name in ["decisions.jsonl.2", "decisions.jsonl.1", LOG] {
        let lines: Vec<u8> = (0..10).flat_map(|_| line(&mut chain)).collect();
        std::fs::write(root.path().join(name), lines).unwrap();
    }
    let log = chain.next().log.clone();
    let mut reader = Reader::new(root.path().to_owned());
    let (mut after, mut batches, mut all) = (0, 0, Vec::new());

    while let Some(batch) = reader.read(&log, after, 30, 3_000).unwrap() {
        assert!(batch.lines.len() <= 3_000);
        assert_eq!((batch.after, batch.first), (after, after + 1));
        all.extend_from_slice(&batch.lines);
        (after, batches) = (batch.last, batches + 1);
    }

    assert_eq!(after, 30);
    assert!(batches > 5, "{batches}");
    let sequences: Vec<u64> = sequences(&all);
    assert_eq!(sequences, (1..=30).collect::<Vec<_>>());
}

#[test]
fn pauses_grow_are_bounded_and_differ() {
    let longest: Vec<u128> = (1..=9).map(|n| backoff(n, 255).as_millis()).collect();

    assert_eq!(
        longest,
        [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
    );
    assert_eq!(backoff(u32::MAX, 0), LONGEST_PAUSE / 2);
    assert!(backoff(3, 0) < backoff(3, 128));
}

struct World {
    root: tempfile::TempDir,
    state: tempfile::TempDir,
    chain: Chain,
    written: watch::Sender<Written>,
    collector: Collector,
    otlp: watch::Sender<Option<OtlpEndpoint>>,
}

impl World {
    async fn new() -> Self {
        // Whoever comes first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            root: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
            chain: chain(),
            written: watch::channel(Written::default()).0,
            collector: Collector::start().await,
            otlp: watch::Sender::new(None),
        }
    }

    fn write(&mut self, count: usize) {
        let mut text = std::fs::read(self.root.path().join(LOG)).unwrap_or_default();
        text.extend((0..count).flat_map(|_| line(&mut self.chain)));
        std::fs::write(self.root.path().join(LOG), text).unwrap();
        let link = self.chain.next().clone();
        self.written.send_modify(|written| {
            written.log = Some(link.log);
            written.through = link.sequence - 1;
        });
    }

    fn ship(&self, otlp: Option<OtlpEndpoint>) -> Shipping {
        let state = PrivateDir::open(&self.state.path().join("state")).unwrap();
        let http = Http::new().unwrap();
        let credential = HostCredential {
            id: HostId::from("host-1"),
            key: SigningKey::from_bytes(&[1; 32]),
        };
        let control = ControlState {
            credential: Some(Arc::new(credential)),
            ..ControlState::default()
        };
        let config = Config {
            written: self.written.subscribe(),
            api: ControlPlane::new(http.clone(), self.collector.base.parse().unwrap()),
            control: watch::channel(control).1,
            http,
            otlp: self.otlp.subscribe(),
        };
        let cursors = Cursors::open(&state, self.root.path().to_owned(), otlp.as_ref());
        self.otlp.send_replace(otlp);
        Shipping::start(config, cursors)
    }

    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is(self) {
            assert!(Instant::now() < deadline, "not {what} in time");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn log_bytes(&self) -> Vec<u8> {
        std::fs::read(self.root.path().join(LOG)).unwrap()
    }
}

fn chain() -> Chain {
    Chain::new(Link::first(LogId::from_random(&[3; 16])), "0.1.0")
}

fn line(chain: &mut Chain) -> Vec<u8> {
    let key = SigningKey::from_bytes(&[1; 32]);
    let line = chain.seal(Cause::Due, 1, WallTime::from_unix_millis(1), &key);
    line.unwrap().bytes
}

fn sequences(lines: &[u8]) -> Vec<u64> {
    let lines = lines.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| Entry::parse(line).unwrap().link.sequence)
        .collect()
}

/// A control plane and OTLP collector that does as it is told.
struct Collector {
    base: String,
    state: Arc<Mutex<Collected>>,
    _server: Task,
}

#[derive(Default)]
struct Collected {
    takes_records: bool,
    refuse: Option<u16>,
    refusals: usize,
    bound: usize,
    through: u64,
    lines: Vec<u8>,
    exported: usize,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(Collected {
            takes_records: true,
            bound: usize::MAX,
            ..Collected::default()
        }));
        let (served, at) = (Arc::clone(&state), base.clone());
        let server = Task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &served, &at).await;
            }
        });
        Self {
            base,
            state,
            _server: server,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Collected> {
        self.state.lock().unwrap()
    }

    fn refuse(&self, status: u16) {
        self.lock().refuse = Some(status);
    }

    fn accept(&self) {
        self.lock().refuse = None;
    }

    fn bound(&self, bytes: usize) {
        self.lock().bound = bytes;
    }

    fn forget(&self, through: u64) {
        self.lock().through = through;
    }

    fn refusals(&self) -> usize {
        self.lock().refusals
    }

    fn through(&self) -> u64 {
        self.lock().through
    }

    fn bytes(&self) -> Vec<u8> {
        self.lock().lines.clone()
    }

    fn sequences(&self) -> Vec<u64> {
        sequences(&self.lock().lines)
    }
}

/// Answers one request and closes the connection.
async fn serve(mut stream: TcpStream, state: &Mutex<Collected>, base: &str) {
    let mut request = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 16 * 1024];
        match stream.read(&mut chunk).await {
            Ok(count @ 1..) => request.extend_from_slice(&chunk[..count]),
            Ok(_) | Err(_) => return,
        }
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(request[..end].to_vec())
            .unwrap()
            .to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if request.len() >= end + 4 + length {
            break (head, request[end + 4..].to_vec());
        }
    };
    let (status, answer) = answer(&head, &body, &mut state.lock().unwrap(), base);
    let answer = answer.to_string();
    let response = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
        answer.len()
    );
    let _ = stream.write_all(response.as_bytes()).await;
}

fn answer(head: &str, body: &[u8], state: &mut Collected, base: &str) -> (u16, serde_json::Value) {
    let target = head.split(' ').nth(1).unwrap();
    if target == "/.well-known/ztna-control-plane" {
        let mut found = json!({"control_plane": base});
        for endpoint in ["challenge", "host", "session", "configuration"] {
            found[format!("{endpoint}_endpoint")] = format!("{base}{endpoint}").into();
        }
        if state.takes_records {
            found["records_endpoint"] = format!("{base}records").into();
        }
        return (200, found);
    }
    if let Some(status) = state.refuse {
        state.refusals += 1;
        return (status, json!({"title": "not now"}));
    }
    if target == "/v1/logs" {
        let request: serde_json::Value = serde_json::from_slice(body).unwrap();
        let records = &request["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        state.exported += records.as_array().unwrap().len();
        return (200, json!({}));
    }
    if body.len() > state.bound {
        return (413, json!({"title": "too much"}));
    }
    let after: u64 = target
        .strip_prefix("/records?after=")
        .unwrap()
        .parse()
        .unwrap();
    let entries: Vec<Entry> = body
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| Entry::parse(line).unwrap())
        .collect();
    state.lines.extend_from_slice(body);
    if after <= state.through {
        state.through = entries.last().unwrap().link.sequence;
    }
    (
        200,
        json!({"log": entries[0].link.log, "through": state.through}),
    )
}

//! How long packets go on after the event that ends them: from a revoked session to the last packet of any flow.
//!
//! ```text
//! cut [ROUNDS]
//! ```
//!
//! In one network namespace of its own: the engine with a network device, a thousand UDP flows through it that never
//! pause, and a gateway on a loopback socket, which opens each WireGuard datagram and notes when it came. A round
//! begins when the gateway has seen every flow a moment ago. Then the connector is handed the event "session revoked",
//! and the engine its new access map. The round's figure is the time from before the event to the last packet of any
//! flow that the gateway's program has read. The flows' sender goes on sending. Prints one line of JSON.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use connector_core::access::{Question, Workload};
use connector_core::catalogue::{Catalogue, Endpoint, Gateway, Ports, Resource, Site};
use connector_core::network::Prefix;
use connector_core::testing::Company;
use connector_core::time::Moment;
use tunnel::device::DeviceConfig;
use tunnel::transparent::{Addressing, Event, Settings, Transparent};
use tunnel::userspace::Plan;
use tunnel_proto::Seed;
use tunnel_proto::keys::PrivateKey;
use tunnel_proto::noise::{Opened, Responder};
use tunnel_proto::packet::{Headers, Kind};
use tunnel_proto::reach::{Admission, Reach};

fn main() -> ExitCode {
    let rounds = std::env::args().nth(1);
    let measured = rounds
        .map_or(Ok(DEFAULT_ROUNDS), |text| {
            text.parse().map_err(|error| format!("{text:?}: {error}"))
        })
        .and_then(measure);
    match measured {
        Ok(line) => {
            // Nobody is left to tell if standard output is closed.
            let _closed = writeln!(std::io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            let _closed = writeln!(std::io::stderr(), "cut: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: usize) -> Result<String, String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    let endpoint = socket.local_addr().map_err(|error| error.to_string())?;
    let seen = Arc::new(Seen::default());
    spawn_gateway(socket, Arc::clone(&seen))?;

    let (ask, questions) = mpsc::channel();
    let tunnel = Transparent::start(settings(ask)).map_err(|problem| problem.to_string())?;
    let (resources, sites) = (vec![resource()], vec![site(endpoint)]);
    let company = Company::new(resources.clone(), sites.clone(), vec![NEAR.into()], now());
    tunnel.configure(Some(Plan {
        private_key: key(NEAR_KEY),
        addresses: vec![NEAR.into()],
        catalogue: Arc::new(Catalogue::new(resources, sites)),
    }));
    let sent = Arc::new(AtomicU64::new(0));
    spawn_sender(Arc::clone(&sent))?;

    let mut bench = Bench {
        tunnel,
        company,
        questions,
        seen,
        sent,
    };
    let mut figures: Vec<Duration> = Vec::new();
    for round in 0..rounds {
        let cut = bench.round();
        figures.push(cut.map_err(|problem| format!("round {}: {problem}", round + 1))?);
    }
    let figures: Vec<String> = figures
        .iter()
        .map(|figure| format!("{:.4}", figure.as_secs_f64() * 1000.0))
        .collect();
    Ok(format!(
        r#"{{"cuts_ms":[{}],"flows":{FLOWS}}}"#,
        figures.join(",")
    ))
}

struct Bench {
    tunnel: Transparent,
    company: Company,
    questions: Receiver<Question>,
    seen: Arc<Seen>,
    sent: Arc<AtomicU64>,
}

impl Bench {
    fn round(&mut self) -> Result<Duration, String> {
        self.tunnel.set_access(&self.company.access());
        self.open_all()?;
        let begun = elapsed();
        self.company.revoke(now());
        self.tunnel.set_access(&self.company.access());
        let sent = self.sent.load(Ordering::Relaxed);
        std::thread::sleep(AFTERMATH);

        let last = self.seen.latest();
        let still_sent = self.sent.load(Ordering::Relaxed) - sent;
        if still_sent < FLOWS as u64 {
            return Err(format!(
                "only {still_sent} packets were sent after the event"
            ));
        }
        if elapsed().saturating_sub(last) < AFTERMATH / 2 {
            return Err("packets still come through".to_owned());
        }
        if self.tunnel.live_flows() != 0 {
            return Err(format!("{} flows live on", self.tunnel.live_flows()));
        }
        self.company.sign_in(vec![NEAR.into()], now());
        Ok(last.saturating_sub(begun))
    }

    /// Answers questions until the gateway has seen every flow just now.
    fn open_all(&mut self) -> Result<(), String> {
        let deadline = elapsed() + PATIENCE;
        loop {
            let before = self.company.access();
            while let Ok(question) = self.questions.try_recv() {
                self.company.ask(question, now());
            }
            if !Arc::ptr_eq(&before, &self.company.access()) {
                self.tunnel.set_access(&self.company.access());
            }
            let since = elapsed().saturating_sub(FRESH);
            let fresh = self.seen.since(since);
            if fresh == FLOWS && self.tunnel.live_flows() == FLOWS {
                return Ok(());
            }
            if elapsed() > deadline {
                let live = self.tunnel.live_flows();
                return Err(format!(
                    "only {fresh} of {FLOWS} flows came through, {live} live"
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// When the gateway last saw each flow, in nanoseconds since the start.
struct Seen(Vec<AtomicU64>);

impl Default for Seen {
    fn default() -> Self {
        Self((0..FLOWS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Seen {
    fn note(&self, flow: usize) {
        if let Some(at) = self.0.get(flow) {
            let nanoseconds = u64::try_from(elapsed().as_nanos()).unwrap_or(u64::MAX);
            at.store(nanoseconds, Ordering::Relaxed);
        }
    }

    fn latest(&self) -> Duration {
        let times = self.0.iter().map(|at| at.load(Ordering::Relaxed));
        Duration::from_nanos(times.max().unwrap_or(0))
    }

    fn since(&self, since: Duration) -> usize {
        let times = self.0.iter().map(|at| at.load(Ordering::Relaxed));
        times.filter(|at| Duration::from_nanos(*at) > since).count()
    }
}

/// Opens what comes, and notes when.
fn spawn_gateway(socket: UdpSocket, seen: Arc<Seen>) -> Result<(), String> {
    let everything: Vec<Prefix> = "0.0.0.0/0".parse().into_iter().collect();
    let mut responder = Responder::new(key(FAR_KEY), everything, MTU.into(), now());
    let admission = Admission {
        addresses: vec![Prefix::host(NEAR.into())],
        reach: Reach::Everything,
    };
    let mut seed = Seed::new(1);
    responder.add_peer(key(NEAR_KEY).public_key(), admission, || seed.draw(), now());
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        let (mut datagram, mut plain) = ([0; 2048], [0; 4096]);
        loop {
            if let Ok((length, from)) = socket.recv_from(&mut datagram) {
                let opened =
                    responder.handle_datagram(&datagram[..length], from, &mut plain, now());
                if let Ok(received) = opened
                    && let Opened::Packet(packet) = received.opened
                    && let Some(Headers {
                        kind: Kind::Udp { destination, .. },
                        ..
                    }) = Headers::parse(packet)
                {
                    seen.note(usize::from(destination.saturating_sub(FIRST_PORT)));
                }
            }
            if responder.poll_timeout() <= now() {
                responder.handle_timeout(now());
            }
            while let Some((to, control)) = responder.poll_control() {
                // What is lost is sent again by whoever waits for it.
                let _lost = socket.send_to(control.as_bytes(), to);
            }
        }
    });
    Ok(())
}

/// Sends to every port in turn, at a steady rate, whatever becomes of it.
fn spawn_sender(sent: Arc<AtomicU64>) -> Result<(), String> {
    let socket = UdpSocket::bind((NEAR, 0)).map_err(|error| error.to_string())?;
    socket
        .set_nonblocking(true)
        .map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        let mut ports = (FIRST_PORT..).take(FLOWS).cycle();
        let mut due = elapsed();
        loop {
            for port in ports.by_ref().take(BURST) {
                // A refusal is what this measures.
                let _refused = socket.send_to(&[7; 64], (FAR, port));
                sent.fetch_add(1, Ordering::Relaxed);
            }
            due += PACE;
            std::thread::sleep(due.saturating_sub(elapsed()));
        }
    });
    Ok(())
}

fn settings(ask: mpsc::Sender<Question>) -> Settings {
    Settings {
        clock: now,
        device: DeviceConfig {
            name: "cut0".to_owned(),
            addresses: vec![(NEAR.into(), 24)],
            mtu: MTU,
            queue_length: 1000,
        },
        addressing: Addressing {
            name_of: Arc::new(|_| None),
            address_of: Arc::new(|_| None),
            device: vec![NEAR.into()],
        },
        keepalive: None,
        mark: None,
        on_event: Arc::new(move |event| {
            if let Event::Asked(question) = event {
                // Whoever answers has ended, and so will this program.
                let _ = ask.send(question);
            }
        }),
        attribute: Arc::new(|_| (Workload::Unknown, None)),
        enforces: true,
    }
}

fn resource() -> Resource {
    Resource {
        id: "far".into(),
        title: "The far end".into(),
        names: vec![],
        prefixes: vec![Prefix::host(IpAddr::V4(FAR))],
        ports: Ports {
            tcp: vec![],
            udp: vec![1..=u16::MAX],
        },
        site: "site".into(),
        lease: Duration::from_secs(300),
    }
}

fn site(endpoint: SocketAddr) -> Site {
    Site {
        id: "site".into(),
        resolvers: vec![],
        gateways: vec![Gateway {
            id: "gateway".into(),
            endpoint: Endpoint::Address(endpoint),
            public_key: *key(FAR_KEY).public_key().as_bytes(),
            allowed_sources: vec![Prefix::host(IpAddr::V4(FAR))],
        }],
    }
}

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_bytes([number; 32])
}

fn elapsed() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn now() -> Moment {
    Moment::from_boot(Duration::from_secs(1000) + elapsed())
}

const FLOWS: usize = 1000;
const FIRST_PORT: u16 = 10_000;

/// Each flow sends twenty times a second, and some flow every fifty microseconds, give or take the kernel's timer.
const BURST: usize = 4;
const PACE: Duration = Duration::from_micros(200);

/// A flow that was not seen for so long has lost its packets.
const FRESH: Duration = Duration::from_millis(200);

/// Long enough for each flow to have tried several times after the event.
const AFTERMATH: Duration = Duration::from_millis(200);

/// A thousand questions on a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);

const DEFAULT_ROUNDS: usize = 100;
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
const NEAR_KEY: u8 = 1;
const FAR_KEY: u8 = 2;
const MTU: u16 = 1420;

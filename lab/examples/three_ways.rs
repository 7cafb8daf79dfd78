//! The same requests decided in three ways: by a gateway that asks a central decision point about each request, by a
//! permit that is cached for its lease, and by the policies on the device.
//!
//! ```text
//! three_ways PDP ADMIN
//! ```
//!
//! PDP and ADMIN are base URLs of a running `ztna-lab` with the company that comes with it. One client, one request
//! after the other. Prints one line of JSON.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use connector_core::access::{
    Denial, Destination, Flow, Program, Protocol, Reason, Verdict, Workload,
};
use connector_core::authzen::{AccessRequest, parse_decision};
use connector_core::catalogue::{Ports, Resource, Site};
use connector_core::identity::Person;
use connector_core::jws::PublicKey;
use connector_core::testing::Company as Connector;
use connector_core::time::{Moment, WallTime};
use connector_policy::author::{self, Draft, Signature};
use connector_policy::evaluation::{Circumstances, DecisionPoint};
use connector_policy::head::{Head, Sequence};
use connector_policy::store::{Effect, Store};
use ed25519_dalek::SigningKey;
use lab::company::{Company, Rule};
use lab::control_plane::in_cedar;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let pdp = arguments
        .next()
        .ok_or("the decision point's URL is missing")?;
    let admin = arguments.next().ok_or("the admin's URL is missing")?;
    let rules = Company::built_in().rules;
    let requests: Vec<AccessRequest> = (0..REQUESTS).map(request).collect();
    let gateway = gateway(Server::connect(&pdp)?, requests.clone())?;
    let figures = json!({
        "classic": classic(gateway)?,
        "lease": lease(&pdp, &requests)?,
        "proximity": proximity(&rules, &requests)?,
        "classic_gap_ms": classic_gap(gateway, &admin, &rules)?,
        "proximity_gap_ms": proximity_gap(&rules, &requests)?,
    });
    writeln!(std::io::stdout(), "{figures}")?;
    Ok(())
}

/// Goes through the gateway each time, over one connection; cold is the first request of a new one.
fn classic(gateway: SocketAddr) -> Outcome<Value> {
    let numbers: Vec<u32> = (0..REQUESTS).collect();
    let mut client = Client::connect(gateway)?;
    let warm = timed(ROUNDS_REMOTE, &numbers, |number| client.request(*number))?;
    let cold = timed(1, &numbers, |number| {
        Client::connect(gateway)?.request(*number)
    })?;
    Ok(summary(warm, cold))
}

/// Asks the map of permits; cold is the question that makes it: the server's answer, noted and published.
fn lease(pdp: &str, requests: &[AccessRequest]) -> Outcome<Value> {
    let mut server = Server::connect(pdp)?;
    let resource = resource();
    let site = Site {
        id: resource.site.clone(),
        resolvers: vec![],
        gateways: vec![],
    };
    let mut connector = Connector::new(vec![resource], vec![site], vec![], MOMENT);
    let template = request(0);
    connector.set_policy(move |asked| {
        let request = AccessRequest {
            flow: asked.flow.clone(),
            ..template.clone()
        };
        match server.decide(&request) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Denial::from(Reason::PolicyDenied)),
        }
    });
    let cold = timed(1, requests, |request| {
        Ok(connector.permit(&request.flow, MOMENT).is_ok())
    })?;
    let access = connector.access();
    let warm = timed(ROUNDS_LOCAL, requests, |request| {
        let verdict = access.decide(&request.flow, MOMENT);
        Ok(matches!(verdict, Verdict::Permitted(_)))
    })?;
    Ok(summary(warm, cold))
}

/// Asks the policies on the device; cold is the first question after they, or the person, changed.
fn proximity(rules: &[Rule], requests: &[AccessRequest]) -> Outcome<Value> {
    let text = in_cedar(rules);
    let policies = Arc::new(author::check([("rules.cedar", &*text)])?);
    let mut point = DecisionPoint::new(Arc::clone(&policies), None);
    let circumstances = Circumstances::default();
    let warm = timed(ROUNDS_LOCAL, requests, |request| {
        Ok(point.decide(request, &circumstances).outcome.is_ok())
    })?;
    let cold = timed(ROUNDS_LOCAL, requests, |request| {
        let mut point = DecisionPoint::new(Arc::clone(&policies), None);
        Ok(point.decide(request, &circumstances).outcome.is_ok())
    })?;
    let nobody = AccessRequest {
        person: person(&["guests"]),
        ..request(0)
    };
    if point.decide(&nobody, &circumstances).outcome.is_ok() {
        return Err("the policies permit everything".into());
    }
    Ok(summary(warm, cold))
}

/// From the order that takes the permission away, as it is sent, to the first request that is refused, with requests
/// sent one after the other meanwhile.
fn classic_gap(gateway: SocketAddr, admin: &str, rules: &[Rule]) -> Outcome<f64> {
    let without: Vec<&Rule> = rules.iter().filter(|rule| !opens(rule)).collect();
    let (open, shut) = (json!(rules).to_string(), json!(without).to_string());
    let mut gaps = Vec::new();
    for number in (0..REQUESTS).cycle().take(GAPS) {
        let mut client = Client::connect(gateway)?;
        let mut lever = Server::connect(admin)?;
        if !client.request(number)? {
            return Err("the request is not permitted at first".into());
        }
        let begun = clock();
        lever.send("/lab/rules", &shut)?;
        while client.request(number)? {
            if begun.elapsed() > PATIENCE {
                return Err("the order changes nothing".into());
            }
        }
        gaps.push(begun.elapsed());
        lever.receive()?;
        lever.send("/lab/rules", &open)?;
        lever.receive()?;
    }
    Ok(millis(percentile(&mut gaps, 50)))
}

/// From the signed head and its objects, as they are handed over, to the decision that denies.
fn proximity_gap(rules: &[Rule], requests: &[AccessRequest]) -> Outcome<f64> {
    let key = SigningKey::from_bytes(&[1; 32]);
    let without: Vec<Rule> = rules.iter().filter(|rule| !opens(rule)).cloned().collect();
    let mut gaps = Vec::new();
    for request in requests.iter().cycle().take(GAPS) {
        let mut store = Store::new(PublicKey::of(&key), "bench".into());
        let (head, before) = commit(&key, rules, 1)?;
        store.handle_head(&head, NOW)?;
        store.handle_objects(before.clone())?;
        let mut point = activated(&mut store)?;
        if point
            .decide(request, &Circumstances::default())
            .outcome
            .is_err()
        {
            return Err("the request is not permitted at first".into());
        }
        let (head, mut objects) = commit(&key, &without, 2)?;
        // A delta: the store takes nothing that it has.
        objects.retain(|object| !before.contains(object));

        let begun = clock();
        store.handle_head(&head, NOW)?;
        store.handle_objects(objects)?;
        let mut point = activated(&mut store)?;
        let decision = point.decide(request, &Circumstances::default());
        gaps.push(begun.elapsed());
        if decision.outcome.is_ok() {
            return Err("the commit changes nothing".into());
        }
    }
    Ok(millis(percentile(&mut gaps, 50)))
}

fn activated(store: &mut Store) -> Outcome<DecisionPoint> {
    let mut effects = std::iter::from_fn(|| store.poll());
    let active = effects.find_map(|effect| match effect {
        Effect::Activate(active) => Some(active.snapshot),
        Effect::Deactivate | Effect::Fetch(_) | Effect::Forget(_) | Effect::Keep { .. } => None,
    });
    let active = active.ok_or("the commit is not active")?;
    Ok(DecisionPoint::new(active, None))
}

fn commit(key: &SigningKey, rules: &[Rule], sequence: u64) -> Outcome<(String, Vec<Vec<u8>>)> {
    let text = in_cedar(rules);
    let draft = Draft::of([("rules.cedar", &*text)], None, &Signature::default());
    let head = Head {
        ledger: "bench".into(),
        commit: draft.commit,
        sequence: Sequence(sequence),
        issued_at: NOW,
        expires_at: NOW + Duration::from_secs(60),
        shadow: None,
        reset: true,
    };
    let objects = draft.objects.into_iter().map(|(_, bytes)| bytes);
    Ok((head.sign(key)?, objects.collect()))
}

/// Whether the rule is what permits the requests.
fn opens(rule: &Rule) -> bool {
    rule.resources.contains(RESOURCE)
}

/// Starts a gateway in front of applications, which asks `server` about each request before it answers. A request is
/// the number of one of `requests`; the answer says whether it was let through.
fn gateway(server: Server, requests: Vec<AccessRequest>) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let behind = Arc::new((Mutex::new(server), requests));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let behind = Arc::clone(&behind);
            std::thread::spawn(move || {
                // A connection that fails shows at its other end.
                let _ = enforce(stream, &behind.0, &behind.1);
            });
        }
    });
    Ok(address)
}

fn enforce(
    mut stream: TcpStream,
    server: &Mutex<Server>,
    requests: &[AccessRequest],
) -> Outcome<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut number = [0; 4];
        stream.read_exact(&mut number)?;
        let number = usize::try_from(u32::from_be_bytes(number))?;
        let request = requests.get(number).ok_or("no such request")?;
        let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
        let is_permitted = server.decide(request)?;
        drop(server);
        stream.write_all(&[u8::from(is_permitted)])?;
    }
}

/// A connection through the gateway.
struct Client(TcpStream);

impl Client {
    fn connect(gateway: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(gateway)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Returns whether the request was let through.
    fn request(&mut self, number: u32) -> Outcome<bool> {
        self.0.write_all(&number.to_be_bytes())?;
        let mut answer = [0];
        self.0.read_exact(&mut answer)?;
        Ok(answer == [1])
    }
}

/// One connection that is kept alive.
struct Server {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Server {
    fn connect(base: &str) -> Outcome<Self> {
        let host = base.trim_start_matches("http://").trim_end_matches('/');
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            host: host.to_owned(),
            stream: BufReader::new(stream),
        })
    }

    fn decide(&mut self, request: &AccessRequest) -> Outcome<bool> {
        self.send("/access/v1/evaluation", &request.to_json().to_string())?;
        let decision = parse_decision(&self.receive()?)?;
        Ok(decision.outcome.is_ok())
    }

    fn send(&mut self, path: &str, body: &str) -> Outcome<()> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        self.stream.get_mut().write_all((head + body).as_bytes())?;
        Ok(())
    }

    fn receive(&mut self) -> Outcome<Vec<u8>> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.split(' ').nth(1) != Some("200") {
            return Err(format!("the server answers {line:?}").into());
        }
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }
}

/// Times each decision alone; one that denies ends the measurement.
fn timed<T>(
    rounds: usize,
    requests: &[T],
    mut decide: impl FnMut(&T) -> Outcome<bool>,
) -> Outcome<Vec<Duration>> {
    let mut times = Vec::with_capacity(rounds * requests.len());
    for request in (0..rounds).flat_map(|_| requests) {
        let begun = clock();
        let is_permitted = decide(request)?;
        times.push(begun.elapsed());
        if !is_permitted {
            return Err("a request that the rules permit is denied".into());
        }
    }
    Ok(times)
}

fn summary(mut warm: Vec<Duration>, mut cold: Vec<Duration>) -> Value {
    let total: Duration = warm.iter().sum();
    let count = u32::try_from(warm.len()).unwrap_or(u32::MAX);
    json!({
        "p50_us": micros(percentile(&mut warm, 50)),
        "p99_us": micros(percentile(&mut warm, 99)),
        "per_second": (f64::from(count) / total.as_secs_f64()).round(),
        "cold_p50_us": micros(percentile(&mut cold, 50)),
        "cold_p99_us": micros(percentile(&mut cold, 99)),
    })
}

fn percentile(times: &mut [Duration], share: usize) -> Duration {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    let place = (times.len() * share / 100).min(last);
    times.get(place).copied().unwrap_or(Duration::MAX)
}

/// The same person and application each time, from a hundred programs, so that the requests differ.
fn request(number: u32) -> AccessRequest {
    AccessRequest {
        person: person(&["staff", "finance"]),
        session: "session".into(),
        assurance: None,
        host: Some("laptop".into()),
        verdict: connector_core::posture::Verdict::default(),
        network: connector_core::network::NetworkKind::Unknown,
        flow: Flow {
            destination: Destination::Name(HOST.parse().unwrap_or_else(|_| unreachable!("{HOST}"))),
            protocol: Protocol::Tcp(80),
            workload: Workload::Known(Arc::new(Program {
                path: format!("/usr/bin/program-{number}"),
                user: Some(1000),
                sha256: None,
                ancestors: vec!["/usr/bin/bash".into()],
            })),
        },
        acting: connector_core::trust::Acting::Oneself,
        resource: Arc::new(resource()),
        time: NOW,
    }
}

fn person(groups: &[&str]) -> Arc<Person> {
    Arc::new(Person {
        issuer: "https://idp.corp.test".into(),
        subject: "carol".into(),
        name: None,
        email: Some("carol@corp.test".into()),
        groups: groups.iter().map(|group| (*group).into()).collect(),
    })
}

fn resource() -> Resource {
    Resource {
        id: RESOURCE.into(),
        title: "Payroll".into(),
        names: HOST.parse().into_iter().collect(),
        prefixes: vec![],
        ports: Ports {
            tcp: vec![80..=80],
            udp: vec![],
        },
        site: "hq".into(),
        lease: Duration::from_secs(300),
    }
}

fn clock() -> Instant {
    Instant::now()
}

fn micros(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e9).round() / 1e3
}

fn millis(duration: Duration) -> f64 {
    micros(duration) / 1e3
}

const RESOURCE: &str = "payroll";
const HOST: &str = "payroll.corp.test";
const REQUESTS: u32 = 100;

/// Twenty thousand requests.
const ROUNDS_REMOTE: usize = 200;

/// A hundred thousand decisions.
const ROUNDS_LOCAL: usize = 1000;

const GAPS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(10);
const MOMENT: Moment = Moment::from_boot(Duration::from_secs(1000));
const NOW: WallTime = WallTime::from_unix_millis(1_795_305_600_000);

//! The client of the tunnel's measurements: the engine with a network device, an access map of
//! the real connector that permits one route, and one gateway.
//!
//! ```text
//! transparent_peer --device NAME --address ADDRESS/LENGTH --private-key-file FILE
//!                  --gateway KEY@ADDRESS:PORT --route PREFIX [--mtu BYTES] [--no-enforcer]
//! ```
//!
//! It stays in the foreground. The route has to lie within the network of the device's address, as
//! it is the kernel's own route for that network that leads packets here.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
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
use tunnel_proto::keys::{PrivateKey, PublicKey};

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), String> {
    let resources = vec![options.resource()];
    let sites = vec![options.site()];
    let company = Company::new(
        resources.clone(),
        sites.clone(),
        vec![options.address],
        now(),
    );
    let (ask, questions) = mpsc::channel();
    let tunnel =
        Transparent::start(options.settings(ask)).map_err(|problem| problem.to_string())?;
    tunnel.set_access(&company.access());
    tunnel.configure(Some(Plan {
        private_key: options.private_key,
        addresses: vec![options.address],
        catalogue: Arc::new(Catalogue::new(resources, sites)),
    }));
    answer(company, &tunnel, &questions);
    Ok(())
}

/// Plays the service: puts questions to the policy, and publishes what comes of it.
fn answer(mut company: Company, tunnel: &Transparent, questions: &Receiver<Question>) {
    loop {
        let pause = company
            .poll_timeout()
            .map_or(LONGEST_PAUSE, |due| due.since(now()).min(LONGEST_PAUSE));
        let before = company.access();
        match questions.recv_timeout(pause) {
            Ok(question) => company.ask(question, now()),
            Err(RecvTimeoutError::Timeout) => company.pass(now()),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if !Arc::ptr_eq(&before, &company.access()) {
            tunnel.set_access(&company.access());
        }
    }
}

struct Options {
    device: String,
    address: IpAddr,
    length: u8,
    private_key: PrivateKey,
    gateway_key: PublicKey,
    gateway: SocketAddr,
    route: Prefix,
    mtu: u16,
    enforces: bool,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut given = Given(arguments.collect());
        let enforces = !given.flag("--no-enforcer");
        let mtu = given.value("--mtu").unwrap_or_else(|| "1420".to_owned());
        let file = given.needed("--private-key-file")?;
        let private_key =
            std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        let address = given.needed("--address")?;
        let (address, length) = split(&address, '/')?;
        let gateway = given.needed("--gateway")?;
        let (gateway_key, gateway) = split(&gateway, '@')?;
        let options = Self {
            device: given.needed("--device")?,
            address: parse(address)?,
            length: parse(length)?,
            private_key: private_key
                .trim()
                .parse()
                .map_err(|error| format!("{file}: {error}"))?,
            gateway_key: parse(gateway_key)?,
            gateway: parse(gateway)?,
            route: parse(&given.needed("--route")?)?,
            mtu: parse(&mtu)?,
            enforces,
        };
        match given.0.first() {
            Some(unknown) => Err(format!("there is no option {unknown}")),
            None => Ok(options),
        }
    }

    fn resource(&self) -> Resource {
        let any = vec![1..=u16::MAX];
        Resource {
            id: "route".into(),
            title: "The route".into(),
            names: vec![],
            prefixes: vec![self.route],
            ports: Ports {
                tcp: any.clone(),
                udp: any,
            },
            site: "site".into(),
            lease: Duration::from_secs(300),
        }
    }

    fn site(&self) -> Site {
        Site {
            id: "site".into(),
            resolvers: vec![],
            gateways: vec![Gateway {
                id: "gateway".into(),
                endpoint: Endpoint::Address(self.gateway),
                public_key: *self.gateway_key.as_bytes(),
                allowed_sources: vec![self.route],
            }],
        }
    }

    fn settings(&self, ask: mpsc::Sender<Question>) -> Settings {
        Settings {
            clock: now,
            device: DeviceConfig {
                name: self.device.clone(),
                addresses: vec![(self.address, self.length)],
                mtu: self.mtu,
                queue_length: QUEUE_LENGTH,
            },
            addressing: Addressing {
                name_of: Arc::new(|_| None),
                address_of: Arc::new(|_| None),
                device: vec![self.address],
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
            enforces: self.enforces,
        }
    }
}

/// What was given on the command line, and not taken yet.
struct Given(Vec<String>);

impl Given {
    fn flag(&mut self, name: &str) -> bool {
        let place = self.0.iter().position(|argument| argument == name);
        place.map(|at| self.0.remove(at)).is_some()
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|argument| argument == name)?;
        self.0.remove(at);
        (at < self.0.len()).then(|| self.0.remove(at))
    }

    fn needed(&mut self, name: &str) -> Result<String, String> {
        self.value(name)
            .ok_or_else(|| format!("{name} with its value is missing"))
    }
}

fn split(text: &str, at: char) -> Result<(&str, &str), String> {
    text.split_once(at)
        .ok_or_else(|| format!("{text:?} has no {at:?}"))
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

/// Boot time enough for a measurement, during which the machine does not sleep.
fn now() -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    Moment::from_boot(Duration::from_secs(1000) + START.get_or_init(Instant::now).elapsed())
}

#[expect(clippy::print_stderr, reason = "where this program complains")]
fn complain(problem: &str) {
    eprintln!("transparent_peer: {problem}");
}

/// As the service has it.
const QUEUE_LENGTH: u32 = 1000;

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

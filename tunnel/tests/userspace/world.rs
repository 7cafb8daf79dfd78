//! A signed-in device, a site behind gateways, and the real tunnel between them on loopback.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use connector_core::access::{AccessMap, Destination, Flow, Permit, Protocol, Verdict, Workload};
use connector_core::authzen::Decision;
use connector_core::catalogue::{Catalogue, Endpoint, Gateway, GatewayId, Ports, Resource, Site};
use connector_core::configuration::{
    Configuration, IdentityProvider, Organisation, PolicyPlan, PosturePlan, SessionLimits, Version,
};
use connector_core::connector::{Connector, Effect, Event, SignInMethod};
use connector_core::identity::{Owner, Person, Session};
use connector_core::time::{Moment, Now, WallTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel::far_end::{GatewayConfig, Handler, Resolver, Service, SiteConfig, SiteNetwork};
use tunnel::netstack::TcpStream;
use tunnel::userspace::{DialError, FlowEvent, FlowStream, Plan, Settings, Userspace};
use tunnel_proto::Seed;
use tunnel_proto::keys::PrivateKey;
use tunnel_proto::reach::{Admission, Reach};

pub(crate) struct World {
    pub(crate) tunnel: Userspace,
    pub(crate) site: SiteNetwork,
    pub(crate) company: Company,
    pub(crate) events: Arc<Mutex<Vec<FlowEvent>>>,
}

pub(crate) struct Options {
    pub(crate) gateways: u8,
    pub(crate) lease: Duration,
    pub(crate) connect_limit: Duration,
    /// The key that the gateways expect of the device.
    pub(crate) known_key: PrivateKey,
    pub(crate) dead: bool,
    /// Whether gateways are configured by name.
    pub(crate) named: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            gateways: 1,
            lease: Duration::from_secs(300),
            connect_limit: Duration::from_secs(5),
            known_key: device_key(),
            dead: false,
            named: false,
        }
    }
}

impl World {
    pub(crate) fn start(options: Options) -> Self {
        let site = start_site(options.gateways);
        site.add_peer(
            options.known_key.public_key(),
            Admission {
                addresses: [OURS.parse().unwrap()].into(),
                reach: Reach::Everything,
            },
        );
        if options.dead {
            for number in 0..options.gateways {
                site.stop_gateway(&gateway_id(number));
            }
        }
        let events: Arc<Mutex<Vec<FlowEvent>>> = Arc::default();
        let seen = Arc::clone(&events);
        let mut settings =
            Settings::new(now, Arc::new(move |event| seen.lock().unwrap().push(event)));
        settings.connect_limit = options.connect_limit;
        let tunnel = Userspace::start(settings);
        let company = Company::new(&site, &options);
        tunnel.configure(Some(company.plan()));
        Self {
            tunnel,
            site,
            company,
            events,
        }
    }

    pub(crate) async fn dial(&mut self, name: &str, port: u16) -> Result<FlowStream, DialError> {
        let permit = self.company.permit(&flow(name, port));
        self.tunnel.dial(permit).await
    }

    pub(crate) async fn ask(&mut self, port: u16) -> FlowStream {
        self.dial("app.corp.test", port).await.unwrap()
    }

    pub(crate) fn gateway_in_use(&self) -> Option<GatewayId> {
        use tunnel_proto::gateways::GatewayState;
        let status = self.tunnel.status();
        let used = status[0]
            .gateways
            .iter()
            .find(|gateway| gateway.state == GatewayState::InUse);
        used.map(|gateway| gateway.id.clone())
    }
}

/// The decisions, made by the real core and a policy that says yes.
pub(crate) struct Company {
    connector: Connector,
    pub(crate) access: Arc<AccessMap>,
    catalogue: Arc<Catalogue>,
}

impl Company {
    fn new(site: &SiteNetwork, options: &Options) -> Self {
        let gateways = (0..options.gateways)
            .map(|number| Gateway {
                id: gateway_id(number),
                endpoint: endpoint(site.endpoints()[&gateway_id(number)], options.named),
                public_key: *gateway_key(number).public_key().as_bytes(),
                allowed_sources: vec!["10.9.0.0/16".parse().unwrap()],
            })
            .collect();
        let catalogue = Arc::new(Catalogue::new(
            vec![Resource {
                id: "apps".into(),
                title: "Applications".into(),
                names: vec!["*.corp.test".parse().unwrap()],
                prefixes: vec!["10.9.0.0/16".parse().unwrap()],
                ports: Ports {
                    tcp: vec![1..=65535],
                    udp: vec![1..=65535],
                },
                site: "hq".into(),
                lease: options.lease,
            }],
            vec![Site {
                id: "hq".into(),
                resolvers: vec![RESOLVER.parse().unwrap()],
                gateways,
            }],
        ));
        let mut company = Self {
            connector: Connector::new(vec![]),
            access: Arc::default(),
            catalogue: Arc::clone(&catalogue),
        };
        company.feed(Event::ConfigurationAccepted(Box::new(configuration(
            catalogue,
        ))));
        let sign_in = company.feed(Event::SignInRequested {
            method: SignInMethod::Browser,
            owner: Owner::Machine,
        });
        for effect in sign_in {
            if let Effect::SignIn { attempt, .. } = effect {
                let session = session();
                company.feed(Event::SessionOpened {
                    attempt,
                    session,
                    signed_in_ago: Duration::ZERO,
                    restored_from: None,
                });
            }
        }
        company
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan {
            private_key: device_key(),
            addresses: [OURS.parse().unwrap()].into(),
            catalogue: Arc::clone(&self.catalogue),
        }
    }

    pub(crate) fn permit(&mut self, flow: &Flow) -> Permit {
        if let Verdict::Undecided(question) = self.access.decide(flow, now()) {
            for effect in self.feed(Event::AccessRequested(question)) {
                if let Effect::Evaluate { attempt, .. } = effect {
                    let outcome = Ok(Decision::permitted());
                    self.feed(Event::Evaluated {
                        attempt,
                        outcome,
                        latency: Duration::ZERO,
                    });
                    self.feed(Event::Recorded {
                        attempt,
                        written: true,
                    });
                }
            }
        }
        match self.access.decide(flow, now()) {
            Verdict::Permitted(permit) => permit,
            Verdict::Denied(denial) => panic!("{flow}: {denial}"),
            Verdict::Undecided(_) => panic!("{flow}: nobody answered"),
        }
    }

    /// Everybody is signed out: the map closes.
    pub(crate) fn sign_out(&mut self) {
        self.feed(Event::SignOutRequested);
    }

    fn feed(&mut self, event: Event) -> Vec<Effect> {
        let wall = WallTime::from_unix_millis(1_795_312_799_999);
        self.connector.handle_event(
            event,
            Now {
                moment: now(),
                wall,
            },
        );
        let mut effects = Vec::new();
        while let Some(effect) = self.connector.poll_effect() {
            if let Effect::PublishAccess(access) = &effect {
                self.access = Arc::clone(access);
            }
            effects.push(effect);
        }
        effects
    }
}

fn endpoint(address: SocketAddr, named: bool) -> Endpoint {
    if named {
        Endpoint::Name {
            host: "localhost".parse().unwrap(),
            port: address.port(),
        }
    } else {
        Endpoint::Address(address)
    }
}

fn start_site(gateways: u8) -> SiteNetwork {
    let app: IpAddr = APP.parse().unwrap();
    let service = |port, handler: Handler| Service {
        address: SocketAddr::new(app, port),
        handler,
    };
    let records = [
        ("app.corp.test", vec![app]),
        ("empty.corp.test", vec![]),
        ("evil.corp.test", vec!["127.0.0.1".parse().unwrap()]),
    ];
    let records: BTreeMap<_, _> = records
        .into_iter()
        .map(|(name, addresses)| (name.parse().unwrap(), addresses))
        .collect();
    SiteNetwork::start(SiteConfig {
        gateways: (0..gateways)
            .map(|number| GatewayConfig {
                id: gateway_id(number),
                listen: "127.0.0.1:0".parse().unwrap(),
                private_key: gateway_key(number),
            })
            .collect(),
        prefixes: vec!["10.9.0.0/16".parse().unwrap()],
        resolver: Some(Resolver {
            address: RESOLVER.parse().unwrap(),
            records,
        }),
        services: vec![
            service(ECHO, handler(echo)),
            service(SINK, handler(sink)),
            service(SOURCE, handler(source)),
            service(DISCARD, handler(discard)),
            service(ZEROS, handler(zeros)),
        ],
        mtu: 1420,
        buffer_budget: 64 << 20,
        clock: now,
    })
    .unwrap()
}

fn handler<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> Handler {
    Arc::new(move |stream, _| Box::pin(serve(stream)))
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Reads to the end, and answers with the digest of what it read.
async fn sink(mut stream: TcpStream) {
    let mut digest = Digest::default();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        digest.add(&buffer[..length]);
    }
    let _ = stream.write_all(&digest.0.to_le_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Sends as many bytes of the content as it is asked for.
async fn source(mut stream: TcpStream) {
    let Ok(length) = stream.read_u64().await else {
        return;
    };
    let mut content = Content::new();
    let mut left = usize::try_from(length).unwrap();
    while left > 0 {
        let piece = content.next(left.min(16 * 1024));
        if stream.write_all(&piece).await.is_err() {
            return;
        }
        left -= piece.len();
    }
    let _ = stream.shutdown().await;
}

/// Reads to the end, and answers with how much it read: for measuring.
async fn discard(mut stream: TcpStream) {
    let mut total = 0;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        total += length;
    }
    let _ = stream.write_u64(u64::try_from(total).unwrap()).await;
    let _ = stream.shutdown().await;
}

/// Sends as many zeros as it is asked for: for measuring.
async fn zeros(mut stream: TcpStream) {
    let Ok(length) = stream.read_u64().await else {
        return;
    };
    let piece = vec![0; 64 * 1024];
    let mut left = usize::try_from(length).unwrap();
    while left > 0 {
        let length = left.min(piece.len());
        if stream.write_all(&piece[..length]).await.is_err() {
            return;
        }
        left -= length;
    }
    let _ = stream.shutdown().await;
}

/// Bytes that are the same for everybody and look like none of their neighbours.
pub(crate) struct Content(Seed, Vec<u8>);

impl Content {
    pub(crate) fn new() -> Self {
        Self(Seed::new(42), Vec::new())
    }

    pub(crate) fn next(&mut self, length: usize) -> Vec<u8> {
        while self.1.len() < length {
            let bits = self.0.draw();
            self.1.extend(
                (0..16_u8).flat_map(|turn| bits.rotate_left(u32::from(turn) * 4).to_le_bytes()),
            );
        }
        let rest = self.1.split_off(length);
        std::mem::replace(&mut self.1, rest)
    }
}

/// FNV-1a over 64-bit words where they are whole: quick, and good against accidents.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Digest(pub(crate) u64);

impl Digest {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte))
                .wrapping_mul(0x0100_0000_01b3)
                .wrapping_add(1);
        }
    }

    pub(crate) fn of(length: usize) -> Self {
        let mut digest = Self::default();
        let (mut content, mut left) = (Content::new(), length);
        while left > 0 {
            let piece = content.next(left.min(1 << 20));
            digest.add(&piece);
            left -= piece.len();
        }
        digest
    }
}

/// Waits for a condition; fails the test if it does not come true in time.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn flow(name: &str, port: u16) -> Flow {
    let destination = match name.parse() {
        Ok(address) => Destination::Address(address),
        Err(_) => Destination::Name(name.parse().unwrap()),
    };
    Flow {
        destination,
        protocol: Protocol::Tcp(port),
        workload: Workload::Unknown,
    }
}

fn configuration(catalogue: Arc<Catalogue>) -> Configuration {
    Configuration {
        version: Version(1),
        expires_at: Moment::from_boot(Duration::from_secs(1_000_000)),
        organisation: Organisation {
            name: "Corp".into(),
            support: None,
        },
        identity: IdentityProvider {
            issuer: "https://idp.corp.test".parse().unwrap(),
            client_id: "ztna-connector".into(),
            scopes: vec![],
        },
        policy: Arc::new(PolicyPlan::remote("https://pdp.corp.test".parse().unwrap())),
        signals: None,
        session: SessionLimits {
            idle: Duration::from_secs(3600),
            absolute: Duration::from_secs(36_000),
        },
        catalogue,
        posture: PosturePlan::default(),
    }
}

fn session() -> Session {
    Session {
        id: "s1".into(),
        owner: Owner::Machine,
        person: Arc::new(Person {
            issuer: "https://idp.corp.test".into(),
            subject: "alice".into(),
            name: None,
            email: None,
            groups: vec![],
        }),
        assurance: None,
        addresses: [OURS.parse().unwrap()].into(),
        expires_at: now() + Duration::from_secs(86_400),
        expires_wall: WallTime::from_unix_millis(1_795_399_199_999),
    }
}

pub(crate) fn now() -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    Moment::from_boot(Duration::from_secs(1000) + start.elapsed())
}

pub(crate) fn gateway_id(number: u8) -> GatewayId {
    format!("gw-{number}").as_str().into()
}

pub(crate) fn device_key() -> PrivateKey {
    PrivateKey::from_bytes([200; 32])
}

fn gateway_key(number: u8) -> PrivateKey {
    PrivateKey::from_bytes([number + 1; 32])
}

pub(crate) const ECHO: u16 = 7;
pub(crate) const SINK: u16 = 9;
pub(crate) const SOURCE: u16 = 19;
pub(crate) const DISCARD: u16 = 10;
pub(crate) const ZEROS: u16 = 20;
const APP: &str = "10.9.0.7";
const OURS: &str = "10.1.0.2";
const RESOLVER: &str = "10.9.0.53";

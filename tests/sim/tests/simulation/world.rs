//! Two sites with two gateways each, a laptop, and a network that loses,
//! doubles, delays and reorders.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::PoisonError;
use std::time::Duration;

use connector_core::access::{Reason, Workload};
use connector_core::catalogue::{Catalogue, Endpoint, Gateway, Ports, Resource, Site};
use connector_core::connector::Event;
use connector_core::testing::Company;
use connector_core::time::Moment;
use tunnel_proto::Seed;
use tunnel_proto::dns::Query;
use tunnel_proto::gateways::{Gateways, TunnelConfig};
use tunnel_proto::keys::PrivateKey;
use tunnel_proto::noise::{Opened, Responder, SessionIndex};
use tunnel_proto::offload::VirtioHeader;
use tunnel_proto::packet::{Carried, Ends, Headers, Kind, reset_towards, udp_packet};
use tunnel_proto::reach::{Admission, Reach};
use tunnel_proto::router::{self, Inward, Output, Outward, Router, SiteIndex};

use crate::model::{Model, RESOURCES};

pub(crate) struct World {
    pub(crate) model: Model,
    now: Moment,
    seed: Seed,
    company: Company,
    router: Router,
    sites: Vec<ClientSite>,
    far: Vec<FarGateway>,
    attributions: VecDeque<Ends>,
    network: Vec<Datagram>,
    /// The programs' sockets: what they talk to.
    sockets: Vec<Ends>,
    next_port: u16,
    loss_percent: u64,
    opened: i64,
    closed: i64,
    refused: usize,
    asked: usize,
}

struct ClientSite {
    gateways: Gateways,
    waiting: VecDeque<Vec<u8>>,
}

struct FarGateway {
    address: SocketAddr,
    responder: Responder,
    is_alive: bool,
}

struct Datagram {
    at: Moment,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut seed = Seed::new(seed);
        let now = Moment::from_boot(Duration::from_secs(1_000));
        let model = Model::new();
        let catalogue = Catalogue::new(resources(), sites());
        let mut company = Company::new(resources(), sites(), vec![inner()], now);
        let permitted = model.permitted();
        company.set_policy(move |request| {
            let permitted = permitted.lock().unwrap_or_else(PoisonError::into_inner);
            if permitted.contains(request.resource.id.as_str()) {
                Ok(())
            } else {
                Err(Reason::PolicyDenied.into())
            }
        });
        let settings = router::Settings {
            device: vec![device()],
            mtu: 1420,
            name_of: Box::new(|address| {
                NAMES
                    .iter()
                    .find(|(_, synthetic, _)| synthetic.parse() == Ok(address))
                    .map(|(name, _, _)| name.parse().unwrap())
            }),
        };
        let mut router = Router::new(settings, Seed::new(seed.draw()));
        let known = sites()
            .into_iter()
            .map(|site| router::Site {
                id: site.id,
                addresses: vec![inner()],
                resolvers: site.resolvers,
            })
            .collect();
        router.set_sites(known, now);
        let config = TunnelConfig {
            private_key: PrivateKey::from_bytes([7; 32]),
            addresses: vec![inner()],
            mtu: 1420,
            keepalive: Some(Duration::from_secs(25)),
            resolvers: Vec::new(),
        };
        let client_sites = catalogue
            .sites()
            .map(|site| ClientSite {
                gateways: Gateways::new(&config, &site.gateways, Seed::new(seed.draw()), now),
                waiting: VecDeque::new(),
            })
            .collect();
        let far = (0..4).map(|number| far_gateway(number, now)).collect();
        let mut world = Self {
            model,
            now,
            seed,
            company,
            router,
            sites: client_sites,
            far,
            attributions: VecDeque::new(),
            network: vec![],
            sockets: vec![],
            next_port: 10_000,
            loss_percent: 0,
            opened: 0,
            closed: 0,
            refused: 0,
            asked: 0,
        };
        world.publish();
        world.pass(Duration::from_millis(100));
        world
    }

    /// Does one random thing.
    pub(crate) fn step(&mut self) {
        match self.seed.draw() % 24 {
            0..=4 => self.open(),
            5..=10 => self.talk(),
            11 => self.hang_up(),
            12 => self.send_nonsense(),
            13 => self.attack_from_a_site(),
            14 => self.switch_policy(),
            15 => self.sign_out_or_in(),
            16 => self.pause_or_resume(),
            17 => self.kill_or_revive_a_gateway(),
            18 => {
                let choice = self.pick(5);
                self.loss_percent = [0, 0, 10, 30, 100][choice];
            }
            19 => self.move_the_laptop(),
            20 => self.attribute_one(Workload::Unknown),
            21 => self.pass_some(Duration::from_secs(400)),
            22 => self.pass_some(Duration::from_secs(5)),
            _ => self.pass_some(Duration::from_millis(50)),
        }
        self.attribute_some();
        self.pass(Duration::from_millis(1));
        self.check();
    }

    /// Lets everything end, and checks that nothing is left.
    pub(crate) fn wind_down(&mut self) {
        self.company.sign_out(self.now);
        self.model.is_signed_in = false;
        self.publish();
        while !self.attributions.is_empty() {
            self.attribute_one(Workload::Unknown);
        }
        self.pass(Duration::from_secs(3 * 3600));
        assert_eq!(self.router.live_flows(), 0);
        assert_eq!(self.router.remembered_flows(), 0);
        assert_eq!(self.router.waiting_flows(), 0);
        assert_eq!(
            self.opened, self.closed,
            "every flow that opened has closed"
        );
    }

    fn open(&mut self) {
        let targets = [
            "100.96.0.10:80",
            "100.96.0.11:80",
            "100.96.0.12:22",
            "100.96.0.99:80",
            "10.9.1.7:443",
            "10.9.1.8:53",
            "10.9.3.3:80",
        ];
        let target: SocketAddr = targets[self.pick(targets.len())].parse().unwrap();
        self.next_port = 10_000 + self.next_port.wrapping_add(1) % 500;
        let carried = [Carried::Tcp, Carried::Tcp, Carried::Udp][self.pick(3)];
        let ends = Ends {
            carried,
            source: SocketAddr::new(device(), self.next_port),
            destination: target,
        };
        let denied_before = self.company.recorded + self.refused;
        self.sockets.push(ends);
        self.sockets.truncate(64);
        self.send(ends, SYN);
        self.attribute_some();
        // Nobody is let in on the sly: whatever did not open was asked about or written down.
        let noticed = self.company.recorded + self.refused + self.asked;
        assert!(noticed >= denied_before);
    }

    fn talk(&mut self) {
        if self.sockets.is_empty() {
            return;
        }
        let at = self.pick(self.sockets.len());
        self.send(self.sockets[at], ACK);
    }

    fn hang_up(&mut self) {
        if self.sockets.is_empty() {
            return;
        }
        let at = self.pick(self.sockets.len());
        let ends = self.sockets.swap_remove(at);
        self.send(ends, FIN_ACK);
    }

    fn send_nonsense(&mut self) {
        let length = self.pick(120);
        let mut packet: Vec<u8> = (0..length).map(|_| self.byte()).collect();
        if let Some(first) = packet.first_mut() {
            *first = if *first % 2 == 0 { 0x45 } else { 0x60 };
        }
        let outward = self
            .router
            .handle_outward(&VirtioHeader::default(), &mut packet, self.now);
        assert_eq!(outward, Outward::Kept);
        self.carry_out();
    }

    /// A hostile site sends what nobody asked for.
    fn attack_from_a_site(&mut self) {
        let source: SocketAddr = ["10.9.0.10:80", "10.9.1.7:443", "10.9.0.53:53", "8.8.8.8:53"]
            [self.pick(4)]
        .parse()
        .unwrap();
        let port = 9_000 + u16::try_from(self.pick(900)).unwrap();
        let ends = Ends {
            carried: Carried::Tcp,
            source,
            destination: SocketAddr::new(inner(), port),
        };
        let mut packet = reset_towards(ends, 1, None);
        packet[33] = SYN;
        let inward = self
            .router
            .handle_inward(SiteIndex(0), &mut packet, self.now);
        self.carry_out();
        assert_eq!(inward, Inward::Kept, "a site opened something");
    }

    fn switch_policy(&mut self) {
        let resource = RESOURCES[self.pick(RESOURCES.len())];
        self.model.toggle(resource);
        self.company.reconsider(self.now);
        self.publish();
    }

    fn sign_out_or_in(&mut self) {
        if self.model.is_signed_in {
            self.company.sign_out(self.now);
        } else {
            self.company.sign_in(vec![inner()], self.now);
        }
        self.model.is_signed_in = !self.model.is_signed_in;
        self.publish();
    }

    fn pause_or_resume(&mut self) {
        let event = if self.model.is_paused {
            Event::Resumed
        } else {
            Event::Paused {
                until: None,
                reason: None,
            }
        };
        self.model.is_paused = !self.model.is_paused;
        self.company.feed(event, self.now);
        self.publish();
    }

    fn kill_or_revive_a_gateway(&mut self) {
        let number = self.pick(self.far.len());
        let is_alive = !self.far[number].is_alive;
        self.far[number] = far_gateway(number, self.now);
        self.far[number].is_alive = is_alive;
    }

    fn move_the_laptop(&mut self) {
        for site in &mut self.sites {
            site.gateways.network_changed(self.now);
        }
    }

    fn send(&mut self, ends: Ends, flags: u8) {
        let mut packet = match ends.carried {
            Carried::Tcp => {
                let mut packet = reset_towards(ends, 100, Some(1));
                packet[33] = flags;
                packet
            }
            Carried::Udp | Carried::Echo => udp_packet(ends.source, ends.destination, b"hello"),
        };
        let header = VirtioHeader::default();
        if let Outward::Forward { site, .. } =
            self.router.handle_outward(&header, &mut packet, self.now)
        {
            self.transmit(site, packet);
        }
        self.carry_out();
    }

    fn attribute_some(&mut self) {
        while self.attributions.len() > 3 || (!self.attributions.is_empty() && self.pick(3) > 0) {
            self.attribute_one(Workload::Unknown);
        }
    }

    fn attribute_one(&mut self, workload: Workload) {
        let at = self.pick(self.attributions.len().max(1));
        if let Some(ends) = self.attributions.remove(at) {
            self.router
                .handle_attributed(ends, workload, None, self.now);
            self.carry_out();
        }
    }

    fn publish(&mut self) {
        self.router.set_access(self.company.access(), self.now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Asked(question) => {
                    self.asked += 1;
                    let before = self.company.recorded;
                    self.company.ask(question, self.now);
                    let is_open = self.company.access().closed().is_none();
                    assert!(
                        !is_open || self.company.recorded > before,
                        "a decision was not recorded"
                    );
                    self.router.set_access(self.company.access(), self.now);
                }
                Output::Attribute(ends) => self.attributions.push_back(ends),
                Output::Closed { flow, .. } => {
                    self.closed += 1;
                    self.company
                        .feed(Event::FlowClosed { flow, cut: None }, self.now);
                }
                Output::Opened(flow) => {
                    self.opened += 1;
                    self.company.feed(Event::FlowOpened(flow), self.now);
                }
                Output::Refused { flow, denial } => {
                    self.refused += 1;
                    let before = self.company.recorded;
                    self.company
                        .feed(Event::FlowRefused { flow, denial }, self.now);
                    assert!(self.company.recorded > before, "a denial was not recorded");
                }
                Output::ToSite { site, packet, .. } => self.transmit(site, packet),
                Output::Resolved(_)
                | Output::ToDevice(_)
                | Output::Unreachable { .. }
                | Output::Wanted(_) => {}
            }
        }
    }

    /// The one place where packets leave for a site.
    fn transmit(&mut self, site: SiteIndex, packet: Vec<u8>) {
        self.assert_may_leave(&packet);
        let site = &mut self.sites[usize::from(site.0)];
        if site.waiting.len() < 16 {
            site.waiting.push_back(packet);
        }
        self.flush();
    }

    fn assert_may_leave(&self, packet: &[u8]) {
        let headers = Headers::parse(packet).expect("a whole packet");
        assert_eq!(headers.source, inner(), "it speaks from our address");
        let Some(ends) = headers.ends() else {
            assert!(matches!(headers.kind, Kind::Error { .. }), "{headers:?}");
            assert!(self.model.may_pass(headers.destination), "{headers:?}");
            return;
        };
        let is_question = ends.destination.port() == 53
            && RESOLVERS.contains(&ends.destination.ip().to_string().as_str());
        let is_farewell = matches!(headers.kind, Kind::Tcp(tcp) if tcp.flags.rst());
        assert!(
            is_question || is_farewell || self.model.may_pass(headers.destination),
            "{ends:?} left without a permit at {:?}",
            self.now
        );
    }

    fn flush(&mut self) {
        for number in 0..self.sites.len() {
            let site = &mut self.sites[number];
            site.gateways
                .set_demand(!site.waiting.is_empty(), false, self.now);
            let mut out = [0; 2048];
            while site.gateways.can_send()
                && let Some(mut packet) = site.waiting.pop_front()
            {
                let length = packet.len();
                packet.resize(length + 16, 0);
                if let Ok((to, sealed)) =
                    site.gateways
                        .seal(&mut packet, length, true, &mut out, self.now)
                {
                    let bytes = out[..sealed].to_vec();
                    self.network.push(Datagram {
                        at: self.now,
                        from: laptop(),
                        to,
                        bytes,
                    });
                }
            }
            while let Some((to, control)) = self.sites[number].gateways.poll_control() {
                self.network.push(Datagram {
                    at: self.now,
                    from: laptop(),
                    to,
                    bytes: control.as_bytes().to_vec(),
                });
            }
        }
    }

    fn pass_some(&mut self, most: Duration) {
        let time = self.seed.below(most);
        self.pass(time);
    }

    /// Lets time pass, and everything that is due in it happen.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..5_000 {
            self.deliver();
            let due = self
                .sites
                .iter()
                .filter_map(|site| site.gateways.poll_timeout())
                .chain(self.router.poll_timeout())
                .chain(self.company.poll_timeout())
                .chain(self.network.iter().map(|datagram| datagram.at))
                .min();
            let Some(due) = due.filter(|due| *due <= until) else {
                break;
            };
            self.now = due.max(self.now + Duration::from_millis(1)).min(until);
            self.company.pass(self.now);
            self.router.set_access(self.company.access(), self.now);
            self.router.handle_timeout(self.now);
            self.carry_out();
            for site in &mut self.sites {
                site.gateways.handle_timeout(self.now);
            }
            self.flush();
            if self.now == until {
                break;
            }
        }
        self.now = self.now.max(until);
    }

    fn deliver(&mut self) {
        let due: Vec<Datagram> = {
            let now = self.now;
            let (due, later) = std::mem::take(&mut self.network)
                .into_iter()
                .partition(|datagram| datagram.at <= now);
            self.network = later;
            due
        };
        for datagram in due {
            if self.seed.draw() % 100 < self.loss_percent {
                continue;
            }
            if self.seed.draw().is_multiple_of(20) {
                let twice = Datagram {
                    at: self.now + self.seed.below(Duration::from_millis(30)),
                    bytes: datagram.bytes.clone(),
                    ..datagram
                };
                self.network.push(twice);
            }
            if datagram.to == laptop() {
                self.arrive_at_laptop(&datagram);
            } else {
                self.arrive_at_gateway(&datagram);
            }
        }
        self.flush();
    }

    fn arrive_at_laptop(&mut self, datagram: &Datagram) {
        let mut out = vec![0; 2048];
        let index = SessionIndex::of(&datagram.bytes);
        for number in 0..self.sites.len() {
            let gateways = &mut self.sites[number].gateways;
            if index.is_some_and(|index| !gateways.owns(index)) {
                continue;
            }
            let opened =
                gateways.handle_datagram(&datagram.bytes, datagram.from, &mut out, self.now);
            let Ok(Some(packet)) = opened else { continue };
            let length = packet.len();
            let from = Headers::parse(&out[..length]).map(|headers| headers.source);
            let site = SiteIndex(u16::try_from(number).unwrap());
            let inward = self
                .router
                .handle_inward(site, &mut out[..length], self.now);
            if inward == Inward::Deliver {
                let from = from.expect("a whole packet");
                assert!(
                    self.model.may_pass(from),
                    "{from} was delivered without a permit"
                );
            }
            self.carry_out();
        }
    }

    /// The site answers whatever reaches it.
    fn arrive_at_gateway(&mut self, datagram: &Datagram) {
        let now = self.now;
        let Some(far) = self.far.iter_mut().find(|far| far.address == datagram.to) else {
            return;
        };
        if !far.is_alive {
            return;
        }
        let mut out = vec![0; 2048];
        let mut answers = Vec::new();
        if let Ok(received) =
            far.responder
                .handle_datagram(&datagram.bytes, datagram.from, &mut out, now)
            && let Opened::Packet(packet) = received.opened
            && let Some(mut answer) = answer(packet)
        {
            let length = answer.len();
            answer.resize(length + 16, 0);
            let mut sealed = [0; 2048];
            if let Ok((to, length)) =
                far.responder
                    .seal(&mut answer, length, inner(), &mut sealed, now)
            {
                answers.push((to, sealed[..length].to_vec()));
            }
        }
        while let Some((to, control)) = far.responder.poll_control() {
            answers.push((to, control.as_bytes().to_vec()));
        }
        let from = far.address;
        for (to, bytes) in answers {
            let at = now + self.seed.below(Duration::from_millis(40));
            self.network.push(Datagram {
                at,
                from,
                to,
                bytes,
            });
        }
    }

    fn check(&self) {
        assert!(self.router.live_flows() <= self.router.remembered_flows());
        let live = i64::try_from(self.router.live_flows()).unwrap();
        assert_eq!(self.opened - self.closed, live, "flows are told of once");
        if !self.model.is_signed_in || self.model.is_paused {
            assert_eq!(live, 0, "nothing lives while nobody may do anything");
        }
    }

    fn pick(&mut self, among: usize) -> usize {
        usize::try_from(self.seed.draw() % u64::try_from(among).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.seed.draw().to_le_bytes()[0]
    }
}

/// Returns what the site has to say to a packet.
fn answer(packet: &[u8]) -> Option<Vec<u8>> {
    let headers = Headers::parse(packet)?;
    let ends = headers.ends()?;
    if ends.destination.port() == 53 && ends.carried == Carried::Udp {
        let query = Query::decode(&packet[headers.transport + 8..])?;
        let records: BTreeMap<&str, &str> = NAMES
            .iter()
            .map(|(name, _, address)| (*name, *address))
            .collect();
        let found: Option<Vec<IpAddr>> = records
            .get(query.name.as_str())
            .map(|address| vec![address.parse().unwrap()]);
        let message = query.encode_answer(found.as_deref());
        return Some(udp_packet(ends.destination, ends.source, &message));
    }
    match headers.kind {
        Kind::Udp { .. } => Some(udp_packet(ends.destination, ends.source, b"hi")),
        Kind::Tcp(tcp) if tcp.flags.rst() => None,
        Kind::Tcp(tcp) => {
            let mut packet = reset_towards(ends.reversed(), 500, Some(tcp.next_sequence()));
            packet[33] = if tcp.flags.syn() {
                SYN | ACK
            } else if tcp.flags.fin() {
                FIN_ACK
            } else {
                ACK
            };
            Some(packet)
        }
        Kind::Echo { .. } | Kind::Error { .. } | Kind::LaterFragment | Kind::Other(_) => None,
    }
}

fn resources() -> Vec<Resource> {
    let resource = |id: &str, name: Option<&str>, prefix: Option<&str>, site: &str| Resource {
        id: id.into(),
        title: id.into(),
        names: name.iter().map(|name| name.parse().unwrap()).collect(),
        prefixes: prefix
            .iter()
            .map(|prefix| prefix.parse().unwrap())
            .collect(),
        ports: Ports {
            tcp: vec![1..=65535],
            udp: vec![1..=65535],
        },
        site: site.into(),
        lease: Duration::from_secs(120),
    };
    vec![
        resource("wiki", Some("wiki.corp.test"), None, "hq"),
        resource("payroll", Some("payroll.corp.test"), None, "hq"),
        resource("net", None, Some("10.9.1.0/24"), "hq"),
        resource("branch", Some("branch.corp.test"), None, "branch"),
    ]
}

fn sites() -> Vec<Site> {
    let site = |id: &str, first: usize, sources: &str, resolver: &str| Site {
        id: id.into(),
        resolvers: vec![resolver.parse().unwrap()],
        gateways: (first..first + 2)
            .map(|number| Gateway {
                id: format!("gw-{number}").as_str().into(),
                endpoint: Endpoint::Address(gateway_address(number)),
                public_key: *gateway_key(number).public_key().as_bytes(),
                allowed_sources: vec![sources.parse().unwrap()],
            })
            .collect(),
    };
    vec![
        site("branch", 0, "10.8.0.0/16", RESOLVERS[0]),
        site("hq", 2, "10.9.0.0/16", RESOLVERS[1]),
    ]
}

fn far_gateway(number: usize, now: Moment) -> FarGateway {
    let key = gateway_key(number);
    let prefix = if number < 2 {
        "10.8.0.0/16"
    } else {
        "10.9.0.0/16"
    };
    let mut responder = Responder::new(key, vec![prefix.parse().unwrap()], 1420, now).relaxed();
    let client = PrivateKey::from_bytes([7; 32]).public_key();
    let mut seed = Seed::new(now.since_boot().as_secs());
    let admission = Admission {
        addresses: vec![connector_core::network::Prefix::host(inner())],
        reach: Reach::Everything,
    };
    responder.add_peer(client, admission, || seed.draw(), now);
    FarGateway {
        address: gateway_address(number),
        responder,
        is_alive: true,
    }
}

fn gateway_key(number: usize) -> PrivateKey {
    PrivateKey::from_bytes([u8::try_from(number).unwrap() + 20; 32])
}

fn gateway_address(number: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(number).unwrap() + 1], 51820))
}

fn laptop() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 40_000))
}

fn device() -> IpAddr {
    [100, 96, 0, 1].into()
}

fn inner() -> IpAddr {
    [10, 1, 0, 2].into()
}

/// Names, the synthetic addresses that stand for them, and where they really are.
const NAMES: [(&str, &str, &str); 3] = [
    ("wiki.corp.test", "100.96.0.10", "10.9.0.10"),
    ("payroll.corp.test", "100.96.0.11", "10.9.0.11"),
    ("branch.corp.test", "100.96.0.12", "10.8.0.10"),
];
const RESOLVERS: [&str; 2] = ["10.8.0.53", "10.9.0.53"];
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;

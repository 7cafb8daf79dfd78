use std::net::SocketAddr;

use connector_core::access::{Destination, Reason, Workload};
use connector_core::catalogue::{self, Ports, Resource};
use connector_core::testing::Company;

use super::*;
use crate::checksum;
use crate::packet::{Carried, reset_towards, udp_packet};

#[test]
fn the_first_packet_waits_until_its_program_is_known_and_the_policy_has_answered() {
    let mut world = World::new();
    let mut syn = tcp_packet(LAPTOP, PRINTER, SYN, 100, 0, b"");

    assert_eq!(world.outward(&mut syn), Outward::Kept);
    let ends = world.attributed_next();
    world.attribute(ends);

    let packet = world.sent_next();
    let headers = Headers::parse(&packet).unwrap();
    assert_eq!(headers.source, INNER.parse::<IpAddr>().unwrap());
    assert_eq!(
        headers.destination,
        PRINTER.parse::<SocketAddr>().unwrap().ip()
    );
    assert_checksums(&packet);
    assert_eq!(world.router.live_flows(), 1);
}

#[test]
fn what_the_policy_denies_is_reset_at_once_and_not_sent() {
    let mut world = World::new();
    world
        .company
        .set_policy(|_| Err(Reason::PolicyDenied.into()));
    let mut syn = tcp_packet(LAPTOP, PRINTER, SYN, 100, 0, b"");

    world.outward(&mut syn);
    let ends = world.attributed_next();
    world.attribute(ends);

    let reply = world.delivered_next();
    let Kind::Tcp(reset) = Headers::parse(&reply).unwrap().kind else {
        panic!("a reset");
    };
    assert!(reset.flags.rst());
    assert_eq!(reset.acknowledged, 101);
    assert_checksums(&reply);
    assert!(world.sent.is_empty());
    assert_eq!(world.router.waiting_flows(), 0);
}

#[test]
fn a_refused_datagram_is_answered_with_prohibited_and_asked_about_once() {
    let mut world = World::new();
    world
        .company
        .set_policy(|_| Err(Reason::PolicyDenied.into()));
    for _ in 0..5 {
        let mut packet = udp_packet(at(LAPTOP), at(PRINTER), b"hello");
        world.outward(&mut packet);
        while let Some(ends) = world.attributions.pop_front() {
            world.attribute(ends);
        }
    }

    assert_eq!(world.delivered.len(), 5);
    assert_eq!(world.asked, 1);
    let reply = Headers::parse(&world.delivered[0]).unwrap();
    assert!(matches!(reply.kind, Kind::Error { .. }));
    assert_eq!(world.delivered[0][20..22], [3, 13]);
}

#[test]
fn while_no_gateway_answers_whoever_begins_is_told_so_and_wanted() {
    let mut world = World::new();
    world.open(LAPTOP, PRINTER);
    let site = SiteIndex(0);
    world.router.set_reachable(site, false, world.now);
    world.sent.clear();

    let mut syn = tcp_packet("100.96.0.1:40001", PRINTER, SYN, 100, 0, b"");
    world.outward(&mut syn);
    let ends = world.attributed_next();
    world.attribute(ends);
    let mut repeated = tcp_packet(LAPTOP, PRINTER, SYN, 100, 0, b"");
    world.outward(&mut repeated);

    assert_eq!(world.wanted, [site, site]);
    assert!(world.sent.is_empty());
    assert_eq!(world.delivered.len(), 2);
    for reply in &world.delivered {
        assert_eq!(reply[20..22], [3, 1], "host unreachable");
    }
    assert_eq!(world.router.waiting_flows(), 0);

    let mut data = tcp_packet(LAPTOP, PRINTER, ACK, 101, 501, b"abc");
    assert!(
        matches!(world.outward(&mut data), Outward::Forward { .. }),
        "what is open waits"
    );
    world.router.set_reachable(site, true, world.now);
    world.open("100.96.0.1:40002", PRINTER);
    assert_eq!(world.wanted.len(), 2);
}

#[test]
fn an_answer_is_delivered_from_the_address_that_the_program_knows() {
    let mut world = World::new();
    world.open(LAPTOP, PRINTER);
    let mut answer = tcp_packet(PRINTER, WIRE, SYN_ACK, 500, 101, b"");

    assert_eq!(world.inward(&mut answer), Inward::Deliver);

    let headers = Headers::parse(&answer).unwrap();
    assert_eq!(headers.destination, at(LAPTOP).ip());
    assert_checksums(&answer);
}

#[test]
fn a_site_cannot_open_anything_towards_this_machine() {
    let mut world = World::new();
    world.open(LAPTOP, PRINTER);
    let strangers = [
        tcp_packet(PRINTER, "10.1.0.2:22", SYN, 1, 0, b""),
        tcp_packet("10.9.0.8:9100", WIRE, SYN_ACK, 1, 101, b""),
        udp_packet(at(PRINTER), at(WIRE), b"x"),
        echo_packet("10.9.0.7", INNER, true),
    ];

    for mut packet in strangers {
        assert_eq!(world.inward(&mut packet), Inward::Kept);
    }

    assert_eq!(world.router.counters().strangers, 4);
}

#[test]
fn a_map_that_no_longer_permits_a_flow_resets_it_on_both_sides() {
    let mut world = World::new();
    world.open(LAPTOP, PRINTER);
    world.inward(&mut tcp_packet(PRINTER, WIRE, SYN_ACK, 500, 101, b""));
    world.outward(&mut tcp_packet(LAPTOP, PRINTER, ACK, 101, 501, b"abc"));
    world.sent.clear();

    world.company.sign_out(world.now);
    world.publish();

    let inward = Headers::parse(&world.delivered_next()).unwrap();
    assert!(matches!(inward.kind, Kind::Tcp(tcp) if tcp.flags.rst() && tcp.sequence == 501));
    let outward = Headers::parse(&world.sent_next()).unwrap();
    assert!(matches!(outward.kind, Kind::Tcp(tcp) if tcp.flags.rst() && tcp.sequence == 104));
    assert_eq!(world.closed, 1);
    assert_eq!(world.router.live_flows(), 0);
    let mut late = tcp_packet(LAPTOP, PRINTER, ACK, 104, 501, b"d");
    assert_eq!(world.outward(&mut late), Outward::Kept);
}

#[test]
fn two_flows_that_would_look_alike_to_the_site_get_ports_of_their_own() {
    let mut world = World::new();
    world.known("a.corp.test", "10.9.0.7");
    world.known("b.corp.test", "10.9.0.7");

    world.open(LAPTOP, &format!("{}:80", synthetic("a.corp.test")));
    world.open(LAPTOP, &format!("{}:80", synthetic("b.corp.test")));

    let ports: Vec<u16> = world
        .opened_packets
        .iter()
        .map(|packet| {
            Headers::parse(packet)
                .unwrap()
                .ends()
                .unwrap()
                .source
                .port()
        })
        .collect();
    assert_eq!(ports[0], at(LAPTOP).port());
    assert_ne!(ports[1], ports[0]);
    assert_eq!(world.router.live_flows(), 2);
}

#[test]
fn a_name_is_resolved_behind_the_gateway_before_its_first_packet_leaves() {
    let mut world = World::new();
    world.known("wiki.corp.test", "10.9.0.10");

    world.open(LAPTOP, &format!("{}:80", synthetic("wiki.corp.test")));

    let packet = world.opened_packets.pop().unwrap();
    let headers = Headers::parse(&packet).unwrap();
    assert_eq!(headers.destination.to_string(), "10.9.0.10");
    assert_checksums(&packet);
}

#[test]
fn a_connection_that_ended_is_forgotten_and_its_end_told_once() {
    let mut world = World::new();
    world.open(LAPTOP, PRINTER);
    world.inward(&mut tcp_packet(PRINTER, WIRE, SYN_ACK, 500, 101, b""));

    world.outward(&mut tcp_packet(LAPTOP, PRINTER, FIN_ACK, 101, 501, b""));
    world.inward(&mut tcp_packet(PRINTER, WIRE, FIN_ACK, 501, 102, b""));
    assert_eq!((world.closed, world.router.live_flows()), (1, 0));
    assert_eq!(
        world.outward(&mut tcp_packet(LAPTOP, PRINTER, ACK, 102, 502, b"")),
        FORWARDED
    );

    world.pass(Duration::from_secs(11));
    assert_eq!((world.closed, world.router.remembered_flows()), (1, 0));
}

#[test]
fn a_lease_that_is_not_renewed_ends_the_flow() {
    let mut world = World::new();
    world.open(LAPTOP, PRINTER);

    world.pass(LEASE);

    assert_eq!((world.closed, world.router.live_flows()), (1, 0));
    let mut late = tcp_packet(LAPTOP, PRINTER, ACK, 101, 501, b"x");
    assert_eq!(world.outward(&mut late), Outward::Kept);
}

#[test]
fn an_icmp_error_about_a_flow_comes_in_and_about_nothing_does_not() {
    let mut world = World::new();
    world.open(LAPTOP, PRINTER);
    let sent = tcp_packet(WIRE, PRINTER, ACK, 101, 501, b"data");
    let headers = Headers::parse(&sent).unwrap();
    let mut about_us = packet::too_big(&sent, &headers, 1000).unwrap();
    let other = tcp_packet("10.1.0.2:1", PRINTER, ACK, 101, 501, b"data");
    let mut about_nothing = packet::unreachable(&other, &Headers::parse(&other).unwrap()).unwrap();

    assert_eq!(world.inward(&mut about_us), Inward::Deliver);
    assert_eq!(world.inward(&mut about_nothing), Inward::Kept);

    let outer = Headers::parse(&about_us).unwrap();
    assert_eq!(outer.destination, at(LAPTOP).ip());
    let quoted = Headers::parse_quoted(&about_us[28..]).unwrap();
    assert_eq!(quoted.ends().unwrap().source, at(LAPTOP));
    assert_eq!(checksum::fold(checksum::sum(&about_us[20..])), 0xffff);
}

#[test]
fn later_fragments_follow_the_first_one_in_both_directions() {
    let mut world = World::new();
    let mut first = udp_packet(at(LAPTOP), at(PRINTER), &[7; 64]);
    world.outward(&mut first.clone());
    let ends = world.attributed_next();
    world.attribute(ends);
    let mut later = first.clone();
    first[6] = 0x20;
    later[6..8].copy_from_slice(&[0, 9]);

    assert!(matches!(world.outward(&mut first), Outward::Forward { .. }));
    assert!(matches!(world.outward(&mut later), Outward::Forward { .. }));
    assert_eq!(
        Headers::parse(&later).unwrap().source,
        INNER.parse::<IpAddr>().unwrap()
    );

    let mut lost = later.clone();
    lost[4..6].copy_from_slice(&[9, 9]);
    lost[12..16].copy_from_slice(&[100, 96, 0, 1]);
    assert_eq!(world.outward(&mut lost), Outward::Kept);
}

#[test]
fn packets_from_another_address_than_the_devices_own_are_dropped() {
    let mut world = World::new();
    let mut packet = tcp_packet("192.168.1.5:1", PRINTER, SYN, 1, 0, b"");

    assert_eq!(world.outward(&mut packet), Outward::Kept);

    assert_eq!(world.router.counters().foreign, 1);
    assert!(world.attributions.is_empty());
}

#[test]
fn a_connection_that_began_before_the_router_is_reset() {
    let mut world = World::new();
    let mut packet = tcp_packet(LAPTOP, PRINTER, ACK, 77, 88, b"x");

    world.outward(&mut packet);

    let reset = Headers::parse(&world.delivered_next()).unwrap();
    assert!(matches!(reset.kind, Kind::Tcp(tcp) if tcp.flags.rst() && tcp.sequence == 88));
}

#[test]
fn an_announced_connection_needs_no_program() {
    let mut world = World::new();
    let flow = Flow {
        destination: Destination::Address(at(PRINTER).ip()),
        protocol: connector_core::access::Protocol::Tcp(9100),
        workload: Workload::Unknown,
    };
    let permit = world.company.permit(&flow, world.now).unwrap();
    world.publish();
    let ends = Ends {
        carried: Carried::Tcp,
        source: at(LAPTOP),
        destination: at(PRINTER),
    };

    world.router.expect(ends, permit, world.now);
    world.outward(&mut tcp_packet(LAPTOP, PRINTER, SYN, 1, 0, b""));

    assert!(world.attributions.is_empty());
    assert_eq!(world.sent.len(), 1);
}

/// A router, the company that decides, and what came out.
struct World {
    router: Router,
    company: Company,
    now: Moment,
    attributions: VecDeque<Ends>,
    sent: VecDeque<Vec<u8>>,
    delivered: VecDeque<Vec<u8>>,
    opened_packets: Vec<Vec<u8>>,
    records: Vec<(String, IpAddr)>,
    asked: usize,
    closed: usize,
    wanted: Vec<SiteIndex>,
}

impl World {
    fn new() -> Self {
        let now = Moment::from_boot(Duration::from_secs(1000));
        let resource = Resource {
            id: "apps".into(),
            title: "Applications".into(),
            names: vec!["*.corp.test".parse().unwrap()],
            prefixes: vec!["10.9.0.0/16".parse().unwrap()],
            ports: Ports {
                tcp: vec![1..=65535],
                udp: vec![1..=65535],
            },
            site: "hq".into(),
            lease: LEASE,
        };
        let site = catalogue::Site {
            id: "hq".into(),
            resolvers: vec![RESOLVER.parse().unwrap()],
            gateways: vec![],
        };
        let inner: Vec<IpAddr> = vec![INNER.parse().unwrap()];
        let settings = Settings {
            device: vec![at(LAPTOP).ip()],
            mtu: 1420,
            name_of: Box::new(|address| {
                ["a.corp.test", "b.corp.test", "wiki.corp.test"]
                    .into_iter()
                    .find(|name| synthetic(name) == address)
                    .map(|name| name.parse().unwrap())
            }),
        };
        let mut router = Router::new(settings, Seed::new(7));
        let sites = vec![Site {
            id: "hq".into(),
            addresses: inner.clone(),
            resolvers: site.resolvers.clone(),
        }];
        router.set_sites(sites, now);
        let mut world = Self {
            router,
            company: Company::new(vec![resource], vec![site], inner, now),
            now,
            attributions: VecDeque::new(),
            sent: VecDeque::new(),
            delivered: VecDeque::new(),
            opened_packets: vec![],
            records: vec![],
            asked: 0,
            closed: 0,
            wanted: Vec::new(),
        };
        world.publish();
        world
    }

    fn known(&mut self, name: &str, address: &str) {
        self.records
            .push((name.to_owned(), address.parse().unwrap()));
    }

    fn outward(&mut self, packet: &mut [u8]) -> Outward {
        let outward = self
            .router
            .handle_outward(&VirtioHeader::default(), packet, self.now);
        self.carry_out();
        outward
    }

    fn inward(&mut self, packet: &mut [u8]) -> Inward {
        let inward = self.router.handle_inward(SiteIndex(0), packet, self.now);
        self.carry_out();
        inward
    }

    fn attribute(&mut self, ends: Ends) {
        self.router
            .handle_attributed(ends, Workload::Unknown, None, self.now);
        self.carry_out();
    }

    fn attributed_next(&mut self) -> Ends {
        self.attributions.pop_front().expect("a flow to attribute")
    }

    fn sent_next(&mut self) -> Vec<u8> {
        self.sent.pop_front().expect("a packet to the site")
    }

    fn delivered_next(&mut self) -> Vec<u8> {
        self.delivered.pop_front().expect("a packet to the device")
    }

    fn open(&mut self, from: &str, to: &str) {
        self.outward(&mut tcp_packet(from, to, SYN, 100, 0, b""));
        let ends = self.attributed_next();
        self.attribute(ends);
        let packet = self.sent_next();
        self.opened_packets.push(packet);
    }

    fn publish(&mut self) {
        let access = self.company.access();
        self.router.set_access(access, self.now);
        self.carry_out();
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.router.poll_timeout().filter(|due| *due <= until) {
            self.now = due.max(self.now + Duration::from_millis(1));
            self.router.handle_timeout(self.now);
            self.carry_out();
        }
        self.now = until;
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Asked(question) => {
                    self.asked += 1;
                    self.company.ask(question, self.now);
                    let access = self.company.access();
                    self.router.set_access(access, self.now);
                }
                Output::Attribute(ends) => self.attributions.push_back(ends),
                Output::Closed { .. } => self.closed += 1,
                Output::ToDevice(packet) => self.delivered.push_back(packet),
                Output::ToSite { packet, .. } => match self.name_server_answer(&packet) {
                    Some(mut answer) => {
                        self.router
                            .handle_inward(SiteIndex(0), &mut answer, self.now);
                    }
                    None => self.sent.push_back(packet),
                },
                Output::Opened(_)
                | Output::Refused { .. }
                | Output::Resolved(_)
                | Output::Unreachable { .. } => {}
                Output::Wanted(site) => self.wanted.push(site),
            }
        }
    }

    fn name_server_answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let headers = Headers::parse(packet)?;
        let ends = headers.ends()?;
        if ends.destination != SocketAddr::new(RESOLVER.parse().unwrap(), 53) {
            return None;
        }
        let query = crate::dns::Query::decode(&packet[headers.transport + 8..])?;
        let addresses: Vec<IpAddr> = self
            .records
            .iter()
            .filter(|(name, _)| name == query.name.as_str())
            .map(|(_, address)| *address)
            .collect();
        let known = (!addresses.is_empty()).then_some(addresses.as_slice());
        let answer = query.encode_answer(known);
        Some(udp_packet(ends.destination, ends.source, &answer))
    }
}

fn synthetic(name: &str) -> IpAddr {
    let [first, ..] = name.as_bytes() else {
        panic!("a name")
    };
    IpAddr::from([100, 96, 1, *first])
}

fn tcp_packet(from: &str, to: &str, flags: u8, sequence: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    let (from, to) = (at(from), at(to));
    let ends = Ends {
        carried: Carried::Tcp,
        source: from,
        destination: to,
    };
    let mut packet = reset_towards(ends, sequence, Some(ack));
    packet.extend(payload);
    let length = u16::try_from(packet.len()).unwrap();
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[10..12].fill(0);
    let sum = !checksum::fold(checksum::sum(&packet[..20]));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet[33] = flags;
    packet[36..38].fill(0);
    let sum = checksum::transport(from.ip(), to.ip(), 6, &packet[20..]);
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn echo_packet(from: &str, to: &str, is_request: bool) -> Vec<u8> {
    let mut packet = udp_packet(at(&format!("{from}:1")), at(&format!("{to}:2")), b"");
    packet[9] = 1;
    packet[20..22].copy_from_slice(&[if is_request { 8 } else { 0 }, 0]);
    packet
}

fn assert_checksums(packet: &[u8]) {
    let headers = Headers::parse(packet).unwrap();
    assert_eq!(checksum::fold(checksum::sum(&packet[..20])), 0xffff);
    let body = &packet[20..];
    let protocol = packet[9];
    assert_eq!(
        checksum::transport(headers.source, headers.destination, protocol, body),
        0
    );
}

fn at(end: &str) -> SocketAddr {
    end.parse().unwrap()
}

const FORWARDED: Outward = Outward::Forward {
    site: SiteIndex(0),
    expects_answer: false,
};
const LAPTOP: &str = "100.96.0.1:40000";
const PRINTER: &str = "10.9.0.7:9100";
const INNER: &str = "10.1.0.2";
const WIRE: &str = "10.1.0.2:40000";
const RESOLVER: &str = "10.9.0.53";
const LEASE: Duration = Duration::from_secs(300);
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const SYN_ACK: u8 = 0x12;
const FIN_ACK: u8 = 0x11;

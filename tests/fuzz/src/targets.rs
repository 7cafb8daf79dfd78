mod documents;
mod local;
mod policy;
mod service;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use connector_core::access::Workload;
use connector_core::catalogue::{self, Ports, Resource};
use connector_core::testing::Company;
use connector_core::time::Moment;
use tunnel_proto::Seed;
use tunnel_proto::dns::{BadRequest, Query, RecordKind, Request, Transport};
use tunnel_proto::gateways::{Gateways, TunnelConfig};
use tunnel_proto::keys::PrivateKey;
use tunnel_proto::noise::{Peer, PeerConfig, Responder, SessionIndex};
use tunnel_proto::offload::{Coalescer, Offload, ROOM, Segments, VirtioHeader};
use tunnel_proto::packet::Headers;
use tunnel_proto::reach::{Admission, Reach};
use tunnel_proto::router::{Output, Router, Settings, Site, SiteIndex};
use tunnel_proto::split_dns::{Protection, SplitDns};
use tunnel_proto::synthetic::{SyntheticNames, SyntheticRange};

/// One thing that reads bytes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 26] = [
    Target {
        name: "access-requests",
        run: documents::access_requests,
    },
    Target {
        name: "authzen",
        run: documents::authzen,
    },
    Target {
        name: "certificate",
        run: service::certificate,
    },
    Target {
        name: "configuration",
        run: documents::configuration,
    },
    Target {
        name: "control",
        run: documents::control,
    },
    Target {
        name: "decision-log",
        run: documents::decision_log,
    },
    Target {
        name: "dns",
        run: dns,
    },
    Target {
        name: "ipc",
        run: local::ipc,
    },
    Target {
        name: "offload",
        run: offload,
    },
    Target {
        name: "otlp",
        run: service::otlp,
    },
    Target {
        name: "override",
        run: documents::override_code,
    },
    Target {
        name: "packets",
        run: packets,
    },
    Target {
        name: "permguard",
        run: service::permguard,
    },
    Target {
        name: "policy-head",
        run: policy::head,
    },
    Target {
        name: "policy-object",
        run: policy::object,
    },
    Target {
        name: "policy-replay",
        run: policy::replay,
    },
    Target {
        name: "policy-store",
        run: policy::store,
    },
    Target {
        name: "policy-table",
        run: policy::table,
    },
    Target {
        name: "proxy",
        run: local::proxy,
    },
    Target {
        name: "revocations",
        run: documents::revocations,
    },
    Target {
        name: "settings",
        run: service::settings,
    },
    Target {
        name: "sign-in-redirect",
        run: service::sign_in_redirect,
    },
    Target {
        name: "signals",
        run: documents::signals,
    },
    Target {
        name: "signals-kept",
        run: service::signals_kept,
    },
    Target {
        name: "transmitter",
        run: documents::transmitter,
    },
    Target {
        name: "wireguard",
        run: wireguard,
    },
];

/// Packets out of the device and out of a site's tunnel; the first byte says which.
fn packets(input: &[u8]) {
    let Some((kind, packet)) = input.split_first() else {
        return;
    };
    let _ = (Headers::parse(packet), Headers::parse_quoted(packet));
    let now = Moment::from_boot(Duration::from_secs(1000));
    let inner: IpAddr = [10, 1, 0, 2].into();
    let (mut router, mut company) = router(inner, now);
    let mut buffer = packet.to_vec();
    if kind % 2 == 0 {
        for _ in 0..2 {
            router.handle_outward(&VirtioHeader::default(), &mut buffer, now);
            settle(&mut router, &mut company, now);
        }
    } else {
        router.handle_inward(SiteIndex(0), &mut buffer, now);
    }
    settle(&mut router, &mut company, now);
    router.handle_timeout(now + Duration::from_secs(10));
}

/// Questions of programs, and answers of name servers.
fn dns(input: &[u8]) {
    let now = Moment::from_boot(Duration::from_secs(1000));
    for transport in [Transport::Udp, Transport::Tcp] {
        if let Ok(request) = Request::parse(input) {
            let _ = (request.name().text(), request.kind());
        } else if let Err(BadRequest::Answered(reply)) = Request::parse(input) {
            assert!(reply.len() <= 512);
        }
        let Ok(range) = SyntheticRange::choose(&[], 7) else {
            return;
        };
        let mut names = SplitDns::new(SyntheticNames::new(range, 7));
        names.set_protection(&Protection {
            catalogue: std::sync::Arc::new(catalogue::Catalogue::new(vec![resource()], vec![])),
            v6: true,
            ..Protection::default()
        });
        let _ = names.answer(input, transport, now);
        let _ = names.is_harmless(input);
    }
    let query = Query {
        id: u16::from_be_bytes([
            input.first().copied().unwrap_or_default(),
            input.get(1).copied().unwrap_or_default(),
        ]),
        name: match "wiki.corp.test".parse() {
            Ok(name) => name,
            Err(_) => return,
        },
        kind: RecordKind::A,
    };
    let _ = query.decode_answer(input);
    let _ = query.decode_response(input);
}

/// Datagrams to a gateway and to a client, in and out of a session.
fn wireguard(input: &[u8]) {
    let now = Moment::from_boot(Duration::from_secs(1000));
    let from: SocketAddr = ([192, 0, 2, 1], 51820).into();
    let (ours, theirs) = (
        PrivateKey::from_bytes([7; 32]),
        PrivateKey::from_bytes([9; 32]),
    );
    let everything = vec![IpAddr::from([10, 0, 0, 1])]
        .into_iter()
        .map(connector_core::network::Prefix::host)
        .collect::<Vec<_>>();
    let mut out = vec![0; 65_536 + 64];
    let mut responder = Responder::new(theirs.clone(), everything.clone(), 1420, now).relaxed();
    let admission = Admission {
        addresses: everything,
        reach: Reach::default(),
    };
    responder.add_peer(ours.public_key(), admission, || 1, now);
    let _ = responder.handle_datagram(input, from, &mut out, now);
    let config = TunnelConfig {
        private_key: ours.clone(),
        addresses: vec![[10, 0, 0, 1].into()],
        mtu: 1420,
        keepalive: None,
        resolvers: vec![[10, 0, 0, 53].into()],
    };
    let gateway = catalogue::Gateway {
        id: "gw".into(),
        endpoint: catalogue::Endpoint::Address(from),
        public_key: *theirs.public_key().as_bytes(),
        allowed_sources: vec![],
    };
    let mut gateways = Gateways::new(&config, &[gateway], Seed::new(3), now);
    let _ = gateways.handle_datagram(input, from, &mut out, now);
    let mut peer = Peer::new(
        PeerConfig {
            private_key: ours,
            remote: theirs.public_key(),
            index: SessionIndex::new(1),
            filter: tunnel_proto::noise::InnerFilter::default(),
            mtu: 1420,
        },
        now,
    );
    for length in [0, 148, out.len()] {
        let _ = peer.open(input, from.ip(), &mut out[..length], now);
    }
}

/// Super-packets from the device, and packets that are to become some.
fn offload(input: &[u8]) {
    if let Some((header, packet)) = input.split_first_chunk::<{ VirtioHeader::LENGTH }>()
        && let Ok(header) = VirtioHeader::parse(header)
    {
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + ROOM, 0);
        if let Ok(mut segments) = Segments::new(header, &mut buffer, packet.len()) {
            while let Some(segment) = segments.next() {
                assert!(segment.length <= segment.bytes.len());
            }
        }
    }
    let everything = Offload {
        tcp: true,
        udp: true,
    };
    let mut coalescer = Coalescer::new(64 * 1024, everything);
    let mut taken = 0;
    for piece in input.chunks(usize::from(input.first().copied().unwrap_or(1)).max(20)) {
        let Some(space) = coalescer.space() else {
            break;
        };
        space[..piece.len()].copy_from_slice(piece);
        coalescer.push(piece.len());
        taken += piece.len();
    }
    let mut given = 0;
    coalescer.drain(|_, slices| -> io::Result<()> {
        given += slices.iter().map(|slice| slice.len()).sum::<usize>();
        Ok(())
    });
    assert!(given <= taken);
}

fn router(inner: IpAddr, now: Moment) -> (Router, Company) {
    let settings = Settings {
        device: vec![[100, 96, 0, 1].into(), "fd00::1".parse().unwrap_or(inner)],
        mtu: 1420,
        name_of: Box::new(|_| None),
    };
    let mut router = Router::new(settings, Seed::new(1));
    let site = Site {
        id: "hq".into(),
        addresses: vec![inner, "fd01::2".parse().unwrap_or(inner)],
        resolvers: vec![],
    };
    router.set_sites(vec![site], now);
    let far = catalogue::Site {
        id: "hq".into(),
        resolvers: vec![],
        gateways: vec![],
    };
    let company = Company::new(vec![resource()], vec![far], vec![inner], now);
    router.set_access(company.access(), now);
    (router, company)
}

fn settle(router: &mut Router, company: &mut Company, now: Moment) {
    while let Some(output) = router.poll_output() {
        match output {
            Output::Attribute(ends) => {
                router.handle_attributed(ends, Workload::Unknown, None, now);
            }
            Output::Asked(question) => {
                company.ask(question, now);
                router.set_access(company.access(), now);
            }
            Output::ToDevice(packet) | Output::ToSite { packet, .. } => {
                assert!(Headers::parse(&packet).is_some(), "what we make is whole");
            }
            Output::Closed { .. }
            | Output::Opened(_)
            | Output::Refused { .. }
            | Output::Resolved(_)
            | Output::Unreachable { .. }
            | Output::Wanted(_) => {}
        }
    }
}

fn resource() -> Resource {
    Resource {
        id: "apps".into(),
        title: "Applications".into(),
        names: ["wiki.corp.test", "*.dev.corp.test"]
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect(),
        prefixes: ["10.9.0.0/16", "fd09::/64"]
            .iter()
            .filter_map(|prefix| prefix.parse().ok())
            .collect(),
        ports: Ports {
            tcp: vec![1..=65535],
            udp: vec![1..=65535],
        },
        site: "hq".into(),
        lease: Duration::from_secs(300),
    }
}

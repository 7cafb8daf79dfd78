//! Prints how many nanoseconds finding a flow among 10,000 takes, at the median.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use connector_core::access::Workload;
use connector_core::catalogue::{self, Ports, Resource};
use connector_core::testing::Company;
use connector_core::time::Moment;
use tunnel_proto::Seed;
use tunnel_proto::offload::VirtioHeader;
use tunnel_proto::packet::{Carried, Ends, reset_towards};
use tunnel_proto::router::{Output, Router, Settings, Site};

#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it is what this program is for"
)]
fn main() {
    let now = Moment::from_boot(Duration::from_secs(1000));
    let mut router = router_with_flows(now);
    assert_eq!(router.remembered_flows(), usize::from(FLOWS));

    let mut order = Seed::new(7);
    let ends: Vec<Ends> = (0..BATCH * BATCHES)
        .map(|_| ends(u16::try_from(order.draw() % u64::from(FLOWS)).unwrap_or_default()))
        .collect();
    let mut took: Vec<f64> = ends
        .chunks(BATCH)
        .map(|batch| {
            let start = Instant::now();
            let mut found = 0_usize;
            for ends in batch {
                found += usize::from(router.knows(std::hint::black_box(*ends)));
            }
            let took = start.elapsed();
            assert_eq!(found, batch.len());
            took.as_secs_f64() * 1e9 / batch.len() as f64
        })
        .collect();
    took.sort_by(f64::total_cmp);
    println!("{:.1}", took[took.len() / 2]);
}

fn router_with_flows(now: Moment) -> Router {
    let inner: IpAddr = [10, 1, 0, 2].into();
    let resource = Resource {
        id: "apps".into(),
        title: "Applications".into(),
        names: vec![],
        prefixes: vec!["10.9.0.0/16".parse().expect("a prefix")],
        ports: Ports {
            tcp: vec![1..=65535],
            udp: vec![],
        },
        site: "hq".into(),
        lease: Duration::from_secs(3000),
    };
    let site = catalogue::Site {
        id: "hq".into(),
        resolvers: vec![],
        gateways: vec![],
    };
    let settings = Settings {
        device: vec![device()],
        mtu: 1420,
        name_of: Box::new(|_| None),
    };
    let mut router = Router::new(settings, Seed::new(1));
    let known = Site {
        id: "hq".into(),
        addresses: vec![inner],
        resolvers: vec![],
    };
    router.set_sites(vec![known], now);
    let mut company = Company::new(vec![resource], vec![site], vec![inner], now);
    router.set_access(company.access(), now);
    for number in 0..FLOWS {
        let mut packet = reset_towards(ends(number), 1, None);
        // A SYN in the place of the reset.
        packet[33] = 0x02;
        router.handle_outward(&VirtioHeader::default(), &mut packet, now);
        while let Some(output) = router.poll_output() {
            match output {
                Output::Attribute(ends) => {
                    router.handle_attributed(ends, Workload::Unknown, None, now);
                }
                Output::Asked(question) => {
                    company.ask(question, now);
                    router.set_access(company.access(), now);
                }
                Output::Closed { .. }
                | Output::Opened(_)
                | Output::Refused { .. }
                | Output::Resolved(_)
                | Output::ToDevice(_)
                | Output::ToSite { .. }
                | Output::Unreachable { .. }
                | Output::Wanted(_) => {}
            }
        }
    }
    router
}

fn ends(number: u16) -> Ends {
    Ends {
        carried: Carried::Tcp,
        source: SocketAddr::new(device(), 20_000 + number),
        destination: SocketAddr::from(([10, 9, 0, 7], 443)),
    }
}

fn device() -> IpAddr {
    [100, 96, 0, 1].into()
}

const FLOWS: u16 = 10_000;

/// Long enough that reading the clock does not count.
const BATCH: usize = 64;
const BATCHES: usize = 20_000;

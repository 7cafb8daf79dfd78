//! How long it takes to decide anew about everything that is open, and once more about what is decided.
//!
//! Opens flows, changes what they rest on, answers every question at once as an
//! embedded policy would, and puts every flow to the new map as a tunnel does.
//! Prints one line of JSON; build it with `--release`.

use std::io::Write as _;
use std::time::{Duration, Instant};

use connector_core::access::{Destination, Flow, Permit, Protocol, Verdict, Workload};
use connector_core::catalogue::{Ports, Resource, Site};
use connector_core::connector::Event;
use connector_core::testing::Company;
use connector_core::time::Moment;

fn main() -> std::io::Result<()> {
    let distinct = Run::new(FLOWS).measure();
    let shared = Run::new(FLOWS / 100).measure();
    let cut = Run::new(1_000).measure_end();
    let (p50, p99) = Run::new(FLOWS).measure_cached();
    writeln!(
        std::io::stdout(),
        r#"{{"cached_p50_ns":{},"cached_p99_ns":{},"switch_10k_flows_ms":{:.2},"switch_100_destinations_ms":{:.2},"end_1k_flows_ms":{:.3}}}"#,
        p50.as_nanos(),
        p99.as_nanos(),
        milliseconds(distinct),
        milliseconds(shared),
        milliseconds(cut),
    )
}

struct Run {
    company: Company,
    live: Vec<Permit>,
    now: Moment,
}

impl Run {
    fn new(destinations: usize) -> Self {
        let now = Moment::from_boot(Duration::from_secs(1000));
        let mut company = Company::new(resources(), sites(), vec![], now);
        let live = (0..destinations)
            .filter_map(|number| {
                let flow = flow(number)?;
                let permit = company.permit(&flow, now).ok()?;
                company.feed(Event::FlowOpened(flow), now);
                Some(permit)
            })
            .collect();
        Self { company, live, now }
    }

    /// Returns the median time from other policies to the last renewed permit.
    fn measure(mut self) -> Duration {
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let begun = now();
                let commit = "c".into();
                self.company.feed(Event::PolicyChanged { commit }, self.now);
                let access = self.company.access();
                self.live = std::mem::take(&mut self.live)
                    .iter()
                    .filter_map(|permit| access.review(permit, self.now).ok())
                    .collect();
                begun.elapsed()
            })
            .collect();
        times.sort();
        times.get(ROUNDS / 2).copied().unwrap_or_default()
    }

    /// Returns median and 99th percentile of a decision that is in the map, each timed alone, the clock's own time
    /// included; the flows take turns, so that each is looked up anew.
    fn measure_cached(self) -> (Duration, Duration) {
        let access = self.company.access();
        let flows: Vec<Flow> = (0..FLOWS).filter_map(flow).collect();
        let mut times = Vec::with_capacity(ROUNDS * flows.len());
        for flow in (0..ROUNDS).flat_map(|_| &flows) {
            let begun = now();
            let verdict = access.decide(flow, self.now);
            let took = begun.elapsed();
            let is_permit = matches!(std::hint::black_box(verdict), Verdict::Permitted(_));
            times.push(if is_permit { took } else { Duration::MAX });
        }
        times.sort_unstable();
        let at = |place: usize| times.get(place).copied().unwrap_or(Duration::MAX);
        (at(times.len() / 2), at(times.len() * 99 / 100))
    }

    /// Returns the time from the end of the session to the last flow that is told so.
    fn measure_end(mut self) -> Duration {
        let begun = now();
        self.company.feed(Event::SignOutRequested, self.now);
        let access = self.company.access();
        let ended = self
            .live
            .iter()
            .filter(|permit| access.review(permit, self.now).is_err());
        let all = ended.count() == self.live.len();
        let took = begun.elapsed();
        if all { took } else { Duration::MAX }
    }
}

fn flow(number: usize) -> Option<Flow> {
    let name = format!("h{number}.dev.corp.test").parse().ok()?;
    Some(Flow {
        destination: Destination::Name(name),
        protocol: Protocol::Tcp(443),
        workload: Workload::Unknown,
    })
}

fn resources() -> Vec<Resource> {
    vec![Resource {
        id: "dev".into(),
        title: "Development".into(),
        names: "*.dev.corp.test".parse().into_iter().collect(),
        prefixes: vec![],
        ports: Ports {
            tcp: vec![443..=443],
            udp: vec![],
        },
        site: "hq".into(),
        lease: Duration::from_secs(300),
    }]
}

fn sites() -> Vec<Site> {
    vec![Site {
        id: "hq".into(),
        resolvers: vec![],
        gateways: vec![],
    }]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[expect(clippy::disallowed_methods, reason = "this measures")]
fn now() -> Instant {
    Instant::now()
}

const FLOWS: usize = 10_000;
const ROUNDS: usize = 21;

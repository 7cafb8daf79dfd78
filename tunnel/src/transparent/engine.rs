//! The loop that moves packets between the device and the sites.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use connector_core::time::Moment;
use tokio::sync::watch;
use tunnel_proto::Seed;
use tunnel_proto::gateways::TunnelConfig;
use tunnel_proto::noise::SessionIndex;
use tunnel_proto::offload::{Coalescer, ROOM, Segments, VirtioHeader};
use tunnel_proto::packet::Headers;
use tunnel_proto::queueing::Intake;
use tunnel_proto::router::{self, Inward, Output, Outward, Router, SiteIndex};

use super::site::{self, SiteTunnel, Waiting};
use super::workers::{Job, Workers};
use super::{Command, Event, Mailbox, Report, Settings, Shared, asleep, lock};
use crate::device::{Device, Reactor, Ready};
use crate::pace::read_ahead;
use crate::sockets::{Inbox, Outbox, PortOptions, Ports, RawPort};
use crate::userspace::Plan;

/// Everything that the thread owns.
pub(super) struct Engine {
    settings: Settings,
    device: Device,
    reactor: Reactor,
    ports: Ports<RawPort>,
    workers: Workers,
    mailbox: Arc<Mailbox>,

    router: Router,
    sites: Vec<SiteTunnel>,
    is_watched: bool,
    seed: Seed,

    intake: Intake,
    inbox: Inbox,
    outbox: Outbox,
    coalescer: Coalescer,

    report: Arc<Mutex<Report>>,
    live_flows: Arc<AtomicUsize>,
    changes: watch::Sender<u64>,
    reported_at: Moment,
    /// Something may have changed since the last report.
    is_stale: bool,
    /// When the loop last looked, on the boot clock and on one that stops in sleep.
    looked_at: (Moment, Instant),
}

impl Engine {
    pub(super) fn new(
        settings: Settings,
        device: Device,
        reactor: Reactor,
        shared: Shared,
    ) -> io::Result<Self> {
        let Shared {
            mailbox,
            report,
            live_flows,
            changes,
        } = shared;
        let mut seed = draw_seed()?;
        let now = (settings.clock)();
        let name_of = Arc::clone(&settings.addressing.name_of);
        let router = Router::new(
            router::Settings {
                device: settings.addressing.device.clone(),
                mtu: settings.device.mtu,
                name_of: Box::new(move |address| name_of(address)),
            },
            Seed::new(seed.draw()),
        );
        Ok(Self {
            ports: bind(settings.mark)?,
            workers: Workers::start(&settings.attribute, &mailbox)?,
            coalescer: Coalescer::new(ARENA, device.offload()),
            intake: Intake::new(LARGEST_READ),
            inbox: Inbox::new(),
            outbox: Outbox::patient(),
            sites: Vec::new(),
            is_watched: false,
            reported_at: now,
            is_stale: true,
            looked_at: (now, Instant::now()),
            settings,
            device,
            reactor,
            mailbox,
            router,
            seed,
            report,
            live_flows,
            changes,
        })
    }

    /// Moves packets until told to stop; then every flow is reset.
    pub(super) fn run(mut self) {
        let mut ready = Ready::default();
        loop {
            let now = self.look();
            if self.obey(now).is_break() {
                break;
            }
            let has_read = ready.device || !self.intake.is_empty();
            let more_received = ready.sockets && self.receive(now);
            let more_read = has_read && self.read_device(now);
            let due = self.settle(now);

            let must_wait = !self.outbox.is_empty();
            let more_taken = !must_wait && !self.intake.is_empty();
            let pause = if more_received || more_read || more_taken {
                Duration::ZERO
            } else {
                due.since((self.settings.clock)())
            };
            let wants_room = must_wait && !self.outbox.is_stranded();
            let pause = if self.outbox.is_stranded() {
                pause.min(STRANDED_PAUSE)
            } else {
                pause
            };
            // What cannot be sent on is left in the device, which tells the programs to wait.
            ready = match self
                .reactor
                .wait(!must_wait, &self.ports, wants_room, Some(pause))
            {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!(%error, "The tunnel cannot wait for packets");
                    break;
                }
            };
        }
        self.finish();
    }

    /// Reads the clock, and tells the sites if the machine slept.
    fn look(&mut self) -> Moment {
        let now = (self.settings.clock)();
        let instant = Instant::now();
        let (before, awake) = self.looked_at;
        let slept = asleep(now, before, instant.saturating_duration_since(awake));
        self.looked_at = (now, instant);
        if slept > SLEEP {
            for site in &mut self.sites {
                site.gateways.resumed(slept, now);
            }
        }
        now
    }

    /// Carries out commands that wait.
    fn obey(&mut self, now: Moment) -> std::ops::ControlFlow<()> {
        loop {
            let Some(command) = lock(&self.mailbox.commands).pop_front() else {
                return std::ops::ControlFlow::Continue(());
            };
            match command {
                Command::Attributed {
                    ends,
                    workload,
                    process,
                } => self.router.handle_attributed(ends, workload, process, now),
                Command::Configure(plan) => self.configure(plan, now),
                Command::Expect { ends, permit } => self.router.expect(ends, permit, now),
                Command::LookedUp {
                    site,
                    gateway,
                    addresses,
                } => {
                    if let Some(site) = self.sites.iter_mut().find(|known| *known.id() == site) {
                        site.gateways.handle_lookup(&gateway, &addresses, now);
                    }
                }
                Command::NetworkChanged => {
                    self.router.network_changed();
                    for site in &mut self.sites {
                        site.gateways.network_changed(now);
                    }
                }
                Command::SetAccess(access) => self.router.set_access(access, now),
                Command::SetWatched(watched) => self.is_watched = watched,
                Command::CallGateways => {
                    for site in &mut self.sites {
                        site.gateways.call_all(now);
                    }
                }
                Command::Stop => return std::ops::ControlFlow::Break(()),
            }
        }
    }

    fn configure(&mut self, plan: Option<Plan>, now: Moment) {
        let mut before = std::mem::take(&mut self.sites);
        for wanted in plan.iter().flat_map(|plan| plan.catalogue.sites()) {
            let Some(plan) = &plan else { break };
            let config = TunnelConfig {
                private_key: plan.private_key.clone(),
                addresses: plan.addresses.clone(),
                mtu: usize::from(self.settings.device.mtu),
                keepalive: self.settings.keepalive,
                resolvers: wanted.resolvers.clone(),
            };
            let kept = before.iter().position(|site| site.is_for(wanted, &config));
            let site = match kept {
                Some(at) => before.swap_remove(at),
                None => {
                    let seed = Seed::new(self.seed.draw());
                    SiteTunnel::new(wanted, config, seed, now)
                }
            };
            self.sites.push(site);
        }
        // Resets for the flows of sites that go are sealed by their old tunnels.
        let kept = self.sites.len();
        self.sites.extend(before);
        let sites = self.sites[..kept].iter().map(SiteTunnel::for_router);
        let numbers = self.router.set_sites(sites.collect(), now);
        self.carry_out(now);
        self.sites.truncate(kept);
        for (site, number) in self.sites.iter_mut().zip(numbers) {
            site.number = number;
        }
    }

    /// Takes in what has arrived; returns whether there may be more.
    fn receive(&mut self, now: Moment) -> bool {
        if !self.ports.try_receive(&mut self.inbox) {
            return false;
        }
        for (from, datagram) in self.inbox.datagrams() {
            if self.coalescer.space().is_none() {
                drain(&mut self.coalescer, &self.device);
            }
            let Some(space) = self.coalescer.space() else {
                continue;
            };
            let Some((site, length)) = open(&mut self.sites, datagram, from, space, now) else {
                continue;
            };
            let inward = if self.settings.enforces {
                self.router.handle_inward(site, &mut space[..length], now)
            } else {
                Inward::Deliver
            };
            if inward == Inward::Deliver {
                self.coalescer.push(length);
            }
        }
        drain(&mut self.coalescer, &self.device);
        true
    }

    /// Carries on what programs send; returns whether there may be more.
    fn read_device(&mut self, now: Moment) -> bool {
        if !self.outbox.is_empty() {
            return false;
        }
        let mut taken = 0;
        for _ in 0..MAX_ROUNDS {
            let is_drained = read_ahead(&self.device, &mut self.intake);
            while let Some(mut packet) = self.intake.take() {
                taken += packet.length;
                self.handle_read(&mut packet.buffer, packet.length, now);
                self.intake.give_back(packet.buffer);
                if self.outbox.waiting() > FLUSH_AT {
                    self.outbox.flush(&self.ports);
                }
                if !self.outbox.has_room() {
                    return false;
                }
                if taken > MAX_TAKEN {
                    return true;
                }
            }
            if is_drained {
                return false;
            }
        }
        true
    }

    fn handle_read(&mut self, buffer: &mut [u8], read: usize, now: Moment) {
        let Some((header, rest)) = buffer.split_first_chunk_mut::<{ VirtioHeader::LENGTH }>()
        else {
            return;
        };
        let length = read.saturating_sub(VirtioHeader::LENGTH);
        let (Ok(header), Some(packet)) = (VirtioHeader::parse(header), rest.get_mut(..length))
        else {
            return;
        };
        let outward = if self.settings.enforces {
            self.router.handle_outward(&header, packet, now)
        } else {
            unenforced(&self.sites, packet)
        };
        if let Outward::Forward {
            site,
            expects_answer,
        } = outward
        {
            let outgoing = Outgoing {
                header,
                length,
                expects_answer,
            };
            self.seal(site, &outgoing, rest, now);
        }
    }

    /// Encrypts a packet, split as its header says, or lets it wait for a gateway.
    fn seal(&mut self, number: SiteIndex, outgoing: &Outgoing, buffer: &mut [u8], now: Moment) {
        let Some(site) = self.sites.iter_mut().find(|site| site.number == number) else {
            return;
        };
        let Outgoing {
            header,
            length,
            expects_answer,
        } = *outgoing;
        if !site.gateways.can_send() {
            site.wait(Waiting {
                header,
                packet: buffer[..length].to_vec(),
                expects_answer,
            });
            return;
        }
        let Ok(mut segments) = Segments::new(header, buffer, length) else {
            return;
        };
        while let Some(segment) = segments.next() {
            if !self.outbox.has_room() {
                self.outbox.flush(&self.ports);
            }
            let Some(space) = self.outbox.space() else {
                return;
            };
            let (bytes, length) = (segment.bytes, segment.length);
            match site
                .gateways
                .seal(bytes, length, expects_answer, space, now)
            {
                Ok((to, sealed)) => self.outbox.commit(to, sealed),
                Err(_) => return,
            }
        }
    }

    /// Does what time and events ask for; returns when to look again.
    fn settle(&mut self, now: Moment) -> Moment {
        self.router.handle_timeout(now);
        self.carry_out(now);
        let busy = self.router.remembered_flows() > 0;
        for site in &mut self.sites {
            let wanted = site.take_demand();
            site.gateways.set_demand(wanted, busy, now);
            site.gateways.set_watched(self.is_watched, now);
            site.gateways.handle_timeout(now);
            self.router
                .set_reachable(site.number, !site.gateways.are_lost(), now);
            while let Some((to, control)) = site.gateways.poll_control() {
                self.outbox.push(to, control.as_bytes());
            }
            while let Some((gateway, host, port)) = site.gateways.poll_resolve() {
                self.workers.start_job(Job::LookUp {
                    site: site.id().clone(),
                    gateway,
                    host,
                    port,
                });
            }
        }
        self.carry_out(now);
        self.release_waiting(now);
        self.outbox.flush(&self.ports);
        self.tell(now);

        let gateways = self
            .sites
            .iter()
            .filter_map(|site| site.gateways.poll_timeout());
        let report = self.is_stale.then(|| self.reported_at + REPORT_PERIOD);
        gateways
            .chain(self.router.poll_timeout())
            .chain(report)
            .fold(now + LONGEST_PAUSE, Moment::min)
    }

    /// Sends what waited for a gateway that can be used now.
    fn release_waiting(&mut self, now: Moment) {
        for at in 0..self.sites.len() {
            while self.outbox.has_room()
                && let Some(waiting) = self.sites[at].next_waiting()
            {
                let number = self.sites[at].number;
                self.seal_owned(number, waiting, now);
            }
        }
    }

    /// Seals a packet that the thread owns, which has no room for padding.
    fn seal_owned(&mut self, number: SiteIndex, waiting: Waiting, now: Moment) {
        let Waiting {
            header,
            mut packet,
            expects_answer,
        } = waiting;
        let length = packet.len();
        packet.resize(length + ROOM, 0);
        let outgoing = Outgoing {
            header,
            length,
            expects_answer,
        };
        self.seal(number, &outgoing, &mut packet, now);
    }

    /// Carries out what the router asks for.
    fn carry_out(&mut self, now: Moment) {
        while let Some(output) = self.router.poll_output() {
            let event = match output {
                Output::Asked(question) => Event::Asked(question),
                Output::Attribute(ends) => {
                    self.workers.start_job(Job::Attribute(ends));
                    continue;
                }
                Output::Closed { flow, denial } => Event::Closed { flow, denial },
                Output::Opened(flow) => Event::Opened(flow),
                Output::Refused { flow, denial } => Event::Refused { flow, denial },
                Output::Resolved(resolved) => Event::Resolved(resolved),
                Output::ToDevice(packet) => {
                    let packet = [io::IoSlice::new(&packet)];
                    // The device drops what it has no room for, and so do we.
                    let _ = self.device.try_write(&[0; VirtioHeader::LENGTH], &packet);
                    continue;
                }
                Output::ToSite {
                    site,
                    header,
                    packet,
                } => {
                    let expects_answer =
                        Headers::parse(&packet).is_some_and(|headers| headers.expects_answer());
                    let waiting = Waiting {
                        header,
                        packet,
                        expects_answer,
                    };
                    self.seal_owned(site, waiting, now);
                    continue;
                }
                Output::Unreachable { flow, problem } => Event::Unreachable { flow, problem },
                Output::Wanted(number) => {
                    let wanted = self.sites.iter_mut().find(|site| site.number == number);
                    wanted.into_iter().for_each(SiteTunnel::want);
                    continue;
                }
            };
            (self.settings.on_event)(event);
        }
    }

    fn tell(&mut self, now: Moment) {
        self.live_flows
            .store(self.router.live_flows(), Ordering::Relaxed);
        self.is_stale = now.since(self.reported_at) < REPORT_PERIOD;
        if self.is_stale {
            return;
        }
        self.reported_at = now;
        let mut report = lock(&self.report);
        let counters = self.router.counters();
        let sites: Vec<_> = self
            .sites
            .iter()
            .map(|site| {
                let is_narrow = self.router.is_narrow(site.number, now);
                site.status(counters.strangers, is_narrow)
            })
            .collect();
        let has_changed = site::changed(&report.sites, &sites);
        report.sites = sites;
        report.counters = counters;
        drop(report);
        if has_changed {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Resets every flow, and lets the resets out if the kernel takes them.
    fn finish(&mut self) {
        let now = (self.settings.clock)();
        self.router.set_access(Arc::default(), now);
        self.carry_out(now);
        self.outbox.flush(&self.ports);
        self.live_flows.store(0, Ordering::Relaxed);
        *lock(&self.report) = Report::default();
    }
}

/// How a packet leaves for its site.
struct Outgoing {
    header: VirtioHeader,
    length: usize,
    expects_answer: bool,
}

/// Decrypts a datagram; returns whose it is and how long the packet in it is.
fn open(
    sites: &mut [SiteTunnel],
    datagram: &[u8],
    from: SocketAddr,
    space: &mut [u8],
    now: Moment,
) -> Option<(SiteIndex, usize)> {
    let index = SessionIndex::of(datagram);
    // A handshake initiation does not say whom it is for.
    let addressed = sites
        .iter_mut()
        .filter(|site| index.is_none_or(|index| site.owns(index)));
    for site in addressed {
        match site.gateways.handle_datagram(datagram, from, space, now) {
            Ok(packet) => return packet.map(|packet| (site.number, packet.len())),
            Err(rejected) => *site.dropped.datagrams.entry(rejected).or_default() += 1,
        }
    }
    None
}

/// Writes decrypted packets to the device.
fn drain(coalescer: &mut Coalescer, device: &Device) {
    // The device drops what it has no room for; TCP repeats it.
    coalescer.drain(|header, packet| device.try_write(header, packet));
}

/// Lets every packet through to the first site: what enforcing costs is
/// measured against this.
fn unenforced(sites: &[SiteTunnel], packet: &[u8]) -> Outward {
    match (sites.first(), Headers::parse(packet)) {
        (Some(site), Some(headers)) => Outward::Forward {
            site: site.number,
            expects_answer: headers.expects_answer(),
        },
        _ => Outward::Kept,
    }
}

/// Binds a socket for each IP version that the machine has.
fn bind(mark: Option<u32>) -> io::Result<Ports<RawPort>> {
    let options = PortOptions {
        mark,
        may_fragment: true,
    };
    let (v4, v6) = (
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    );
    Ports::bind_towards([v4, v6], options).or_else(|_| Ports::bind_towards([v4], options))
}

fn draw_seed() -> io::Result<Seed> {
    let mut bits = [0; 8];
    getrandom::fill(&mut bits).map_err(io::Error::other)?;
    Ok(Seed::new(u64::from_le_bytes(bits)))
}

/// The largest super-packet, its header, and room for padding.
const LARGEST_READ: usize = VirtioHeader::LENGTH + 65_536 + ROOM;

/// What is decrypted before it is given to the device: a few super-packets.
const ARENA: usize = 256 * 1024;

/// Then the other direction gets its turn: one packet of many bytes, or many of
/// few. Long turns make acknowledgements come in bursts, and these make queues.
const MAX_ROUNDS: u32 = 4;
const MAX_TAKEN: usize = 32 * 1024;

/// About one super-packet: more would only wait here.
const FLUSH_AT: usize = 32 * 1024;

/// Between tries to send while the machine is between two networks.
const STRANDED_PAUSE: Duration = Duration::from_millis(2);

/// How old a report may be.
const REPORT_PERIOD: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Clocks that differ by more than this after a turn: the machine slept.
const SLEEP: Duration = Duration::from_secs(1);

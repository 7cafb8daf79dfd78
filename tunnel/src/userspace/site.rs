use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_core::catalogue::{self, Endpoint, SiteId};
use connector_core::time::Moment;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tunnel_proto::Seed;
use tunnel_proto::gateways::{GatewayState, GatewayStatus, Gateways, TunnelConfig};
use tunnel_proto::ip::IpView;
use tunnel_proto::noise::Rejected;

use super::lookups::Lookups;
use super::{Attention, SiteStatus};
use crate::Clock;
use crate::netstack::{Budget, Link, Netstack, Role, Stack, StackConfig};
use crate::pace::{LONGEST_PAUSE, MAX_INBOXES, MAX_OUTBOXES, MAX_PACKET, PLAIN, SHORTEST_PAUSE};
use crate::sockets::{Inbox, Outbox, Ports};

/// One site's tunnel, as the rest of the process sees it.
#[derive(Debug)]
pub(super) struct Site {
    site: Arc<catalogue::Site>,
    config: TunnelConfig,
    netstack: Arc<Netstack>,
    report: Arc<Mutex<Report>>,
    stop: Arc<Notify>,
}

/// What the loop tells about itself.
#[derive(Debug, Default)]
struct Report {
    gateways: Vec<GatewayStatus>,
    dropped: Dropped,
}

/// Why datagrams and packets from outside were dropped, and how many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Datagrams that the tunnel refused.
    pub datagrams: BTreeMap<Rejected, u64>,
    /// Packets that belonged to no flow.
    pub strangers: u64,
}

impl Site {
    /// Starts a site's tunnel.
    pub(super) fn start(
        site: &Arc<catalogue::Site>,
        config: TunnelConfig,
        budget: &Arc<Budget>,
        clock: Clock,
        changes: &watch::Sender<u64>,
        attention: &watch::Sender<Attention>,
    ) -> Result<Arc<Self>, StartError> {
        let failed = |error| StartError {
            site: site.id.clone(),
            error,
        };
        let now = clock();
        let mut seed = draw_seed().map_err(failed)?;
        let stack = Stack::new(
            StackConfig {
                role: Role::Client(config.addresses.clone()),
                mtu: config.mtu,
                budget: Arc::clone(budget),
                seed: Seed::new(seed.draw()),
            },
            now,
        );
        let netstack = Arc::new(Netstack::new(stack, clock));
        let gateways = Gateways::new(&config, &site.gateways, seed, now);
        let ports = bind(site).map_err(failed)?;
        let started = Arc::new(Self {
            site: Arc::clone(site),
            netstack: Arc::clone(&netstack),
            report: Arc::new(Mutex::new(Report {
                gateways: gateways.status(),
                dropped: Dropped::default(),
            })),
            stop: Arc::new(Notify::new()),
            config,
        });
        let driver = Driver {
            plain: vec![0; PLAIN],
            packets: Vec::new(),
            outbox: Outbox::new(),
            dropped: Dropped::default(),
            reported_at: now,
            report: Arc::clone(&started.report),
            changes: changes.clone(),
            calls: attention.borrow().calls,
            attention: attention.subscribe(),
            lookups: Lookups::default(),
            gateways,
            netstack,
            ports,
        };
        tokio::spawn(driver.run(Arc::clone(&started.stop)));
        Ok(started)
    }

    /// Ends the tunnel: every connection is reset, and nothing is sent after that.
    pub(super) fn stop(&self) {
        self.stop.notify_one();
    }

    pub(super) fn is_for(&self, site: &catalogue::Site, config: &TunnelConfig) -> bool {
        *self.site == *site && self.config == *config
    }

    pub(super) fn id(&self) -> &SiteId {
        &self.site.id
    }

    pub(super) fn resolvers(&self) -> &[IpAddr] {
        &self.site.resolvers
    }

    pub(super) fn netstack(&self) -> &Arc<Netstack> {
        &self.netstack
    }

    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.site
            .gateways
            .iter()
            .map(|gateway| gateway.endpoint.clone())
            .collect()
    }

    pub(super) fn is_reachable(&self) -> bool {
        let report = lock(&self.report);
        report
            .gateways
            .iter()
            .any(|gateway| gateway.state == GatewayState::InUse)
    }

    pub(super) fn status(&self) -> SiteStatus {
        let report = lock(&self.report);
        SiteStatus {
            id: self.site.id.clone(),
            addresses: self.config.addresses.clone(),
            gateways: report.gateways.clone(),
            dropped: report.dropped.clone(),
            is_narrow: false,
        }
    }
}

/// The loop that moves one site's packets.
struct Driver {
    gateways: Gateways,
    lookups: Lookups,
    netstack: Arc<Netstack>,
    ports: Ports,
    outbox: Outbox,
    /// Decrypted packets of one turn, one after the other.
    plain: Vec<u8>,
    packets: Vec<(usize, usize)>,
    dropped: Dropped,
    reported_at: Moment,
    report: Arc<Mutex<Report>>,
    changes: watch::Sender<u64>,
    attention: watch::Receiver<Attention>,
    /// How many of the calls that somebody wanted were made.
    calls: u64,
}

impl Driver {
    async fn run(mut self, stop: Arc<Notify>) {
        let mut inbox = Inbox::new();
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        loop {
            let now = self.netstack.now();
            let due = self.turn(now);
            timer
                .as_mut()
                .reset(Instant::now() + due.since(now).max(SHORTEST_PAUSE));

            tokio::select! {
                () = self.ports.receive(&mut inbox) => self.receive(&mut inbox),
                () = self.netstack.work() => {}
                () = self.ports.writable(), if !self.outbox.is_empty() => {}
                (gateway, found) = self.lookups.next() => {
                    self.gateways.handle_lookup(&gateway, &found, self.netstack.now());
                }
                () = &mut timer => {}
                // Without a sender the tunnel is about to be stopped.
                Ok(()) = self.attention.changed() => {}
                () = stop.notified() => break,
            }
        }
        self.finish();
    }

    /// Takes in what has arrived, one inbox after another while there is more.
    fn receive(&mut self, inbox: &mut Inbox) {
        for turn in 1.. {
            let now = self.netstack.now();
            self.open(inbox, now);
            let mut stack = self.netstack.lock();
            let mut link = Uplink {
                gateways: &mut self.gateways,
                outbox: &mut self.outbox,
                now,
            };
            for (start, end) in self.packets.drain(..) {
                stack.handle_packet(&self.plain[start..end], &mut link, now);
            }
            drop(stack);
            self.pump(now);
            // What is received has to be taken in: ask for more only to take it.
            if turn == MAX_INBOXES || !self.ports.try_receive(inbox) {
                break;
            }
        }
    }

    /// Decrypts a batch of datagrams.
    fn open(&mut self, inbox: &Inbox, now: Moment) {
        let mut filled = 0;
        for (from, datagram) in inbox.datagrams() {
            let space = &mut self.plain[filled..];
            match self.gateways.handle_datagram(datagram, from, space, now) {
                Ok(Some(packet)) => {
                    let length = packet.len();
                    self.packets.push((filled, filled + length));
                    filled += length;
                }
                Ok(None) => {}
                Err(rejected) => *self.dropped.datagrams.entry(rejected).or_default() += 1,
            }
        }
    }

    /// Sends what can be sent; returns when to look again.
    fn turn(&mut self, now: Moment) -> Moment {
        let mut stack = self.netstack.lock();
        stack.handle_timeout(now);
        let wanted = stack.wants_to_send(now);
        let busy = stack.sockets() > 0;
        self.gateways.set_demand(wanted, busy, now);
        let attention = *self.attention.borrow_and_update();
        self.gateways.set_watched(attention.is_watched, now);
        if self.calls != attention.calls {
            self.calls = attention.calls;
            self.gateways.call_all(now);
        }
        self.gateways.handle_timeout(now);
        while let Some((to, control)) = self.gateways.poll_control() {
            self.outbox.push(to, control.as_bytes());
        }
        drop(stack);
        while let Some((gateway, host, port)) = self.gateways.poll_resolve() {
            self.lookups.start(gateway, host, port);
        }
        self.pump(now);

        let mut stack = self.netstack.lock();
        // While packets have to wait, the stack's clock stands still.
        let can_send = self.gateways.can_send() && self.outbox.is_empty();
        let stack_due = stack.poll_timeout(now).filter(|_| can_send);
        self.dropped.strangers = stack.counters().strangers;
        drop(stack);

        self.tell(now);
        let rest = now + LONGEST_PAUSE;
        stack_due
            .into_iter()
            .chain(self.gateways.poll_timeout())
            .fold(rest, Moment::min)
    }

    /// Moves packets from the stack to the kernel until either has enough.
    fn pump(&mut self, now: Moment) {
        for _ in 0..MAX_OUTBOXES {
            let mut link = Uplink {
                gateways: &mut self.gateways,
                outbox: &mut self.outbox,
                now,
            };
            self.netstack.lock().transmit(&mut link, now);
            let full = !self.outbox.has_room();
            self.outbox.flush(&self.ports);
            if !full || !self.outbox.is_empty() {
                return;
            }
        }
        self.netstack.wake_driver();
    }

    fn tell(&mut self, now: Moment) {
        let status = self.gateways.status();
        let mut report = lock(&self.report);
        let changed = !same_but_for_bytes(&report.gateways, &status);
        if !changed && now.since(self.reported_at) < REPORT_PERIOD {
            return;
        }
        self.reported_at = now;
        report.gateways = status;
        report.dropped = self.dropped.clone();
        drop(report);
        if changed {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Resets every connection, and lets the resets out if the kernel takes them.
    fn finish(&mut self) {
        let now = self.netstack.now();
        let mut stack = self.netstack.lock();
        stack.abort_all();
        let mut link = Uplink {
            gateways: &mut self.gateways,
            outbox: &mut self.outbox,
            now,
        };
        stack.transmit(&mut link, now);
        self.outbox.flush(&self.ports);
    }
}

/// Encrypts the stack's packets for the gateway in use.
struct Uplink<'a> {
    gateways: &'a mut Gateways,
    outbox: &'a mut Outbox,
    now: Moment,
}

impl Link for Uplink<'_> {
    fn has_room(&self) -> bool {
        self.gateways.can_send() && self.outbox.has_room()
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut packet = [0; MAX_PACKET];
        let result = write(&mut packet[..length]);
        let expects_answer =
            IpView::parse(&packet[..length]).is_some_and(|packet| packet.expects_answer());
        if let Some(space) = self.outbox.space()
            && let Ok((to, sealed)) =
                self.gateways
                    .seal(&mut packet, length, expects_answer, space, self.now)
        {
            self.outbox.commit(to, sealed);
        }
        result
    }
}

/// Binds the sockets that the site's gateways need; a name may lead to either
/// version of IP, as far as this machine has it.
fn bind(site: &catalogue::Site) -> io::Result<Ports> {
    let endpoints = || site.gateways.iter().map(|gateway| &gateway.endpoint);
    let known = || endpoints().filter_map(Endpoint::address);
    if endpoints().all(|endpoint| endpoint.address().is_some()) {
        return Ports::towards(known());
    }
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    Ports::towards(known().chain([v4, v6])).or_else(|_| Ports::towards(known().chain([v4])))
}

/// A site whose tunnel could not be started.
#[derive(Debug, thiserror::Error)]
#[error("could not start the tunnel to site {site}: {error}")]
pub(super) struct StartError {
    site: SiteId,
    error: io::Error,
}

fn same_but_for_bytes(before: &[GatewayStatus], after: &[GatewayStatus]) -> bool {
    before.len() == after.len()
        && before.iter().zip(after).all(|(before, after)| {
            before.state == after.state
                && before.last_handshake == after.last_handshake
                && before.behind == after.behind
        })
}

fn draw_seed() -> io::Result<Seed> {
    let mut bits = [0; 8];
    getrandom::fill(&mut bits).map_err(io::Error::other)?;
    Ok(Seed::new(u64::from_le_bytes(bits)))
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How old the byte counts in a status may be.
const REPORT_PERIOD: Duration = Duration::from_millis(250);

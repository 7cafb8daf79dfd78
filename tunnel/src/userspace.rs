//! The client without a network device: streams that are dialled with a
//! permit, carried by the site's gateways, and cut when the permit ends.

mod dial;
mod flows;
mod lookups;
mod site;
mod stream;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_core::access::{AccessMap, Denial, Flow, Permit};
use connector_core::catalogue::{Catalogue, SiteId};
use connector_core::time::Moment;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tunnel_proto::gateways::{GatewayStatus, TunnelConfig};
use tunnel_proto::keys::PrivateKey;

pub use self::dial::DialError;
use self::flows::Flows;
pub use self::site::Dropped;
use self::site::Site;
pub use self::stream::FlowStream;
use crate::Clock;
use crate::netstack::Budget;

/// The tunnel as the service holds it: one handle, which may be shared.
///
/// Dropping it closes everything.
#[derive(Debug)]
pub struct Userspace {
    settings: Settings,
    budget: Arc<Budget>,
    flows: Arc<Flows>,
    sites: Mutex<Sites>,
    changes: watch::Sender<u64>,
    attention: watch::Sender<Attention>,
    keeper: JoinHandle<()>,
}

/// What somebody wants to know of the gateways.
#[derive(Debug, Clone, Copy, Default)]
struct Attention {
    /// Whether they look at how the gateways are.
    is_watched: bool,
    /// How often they wanted all gateways to be called.
    calls: u64,
}

/// What stays the same for the life of a tunnel.
#[derive(Clone)]
pub struct Settings {
    /// Reads the boot clock, on which leases end.
    pub clock: Clock,
    /// Is told of every flow that opens or closes; must not block.
    pub on_flow: Arc<dyn Fn(FlowEvent) + Send + Sync>,
    /// How often an idle tunnel speaks, so that the way back to it stays open.
    pub keepalive: Option<Duration>,
    /// How long looking up a name and connecting may take together.
    pub connect_limit: Duration,
    /// What the buffers of all connections together may take, in bytes.
    pub buffer_budget: usize,
    /// The largest packet inside the tunnel, in bytes.
    pub mtu: usize,
}

impl Settings {
    /// Returns the settings that suit a laptop.
    #[must_use]
    pub fn new(clock: Clock, on_flow: Arc<dyn Fn(FlowEvent) + Send + Sync>) -> Self {
        Self {
            clock,
            on_flow,
            keepalive: Some(Duration::from_secs(25)),
            connect_limit: Duration::from_secs(5),
            buffer_budget: 32 << 20,
            mtu: 1420,
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("keepalive", &self.keepalive)
            .field("connect_limit", &self.connect_limit)
            .field("buffer_budget", &self.buffer_budget)
            .field("mtu", &self.mtu)
            .finish_non_exhaustive()
    }
}

/// What tunnels there are to be, for one session.
#[derive(Debug, Clone)]
pub struct Plan {
    /// This session's key.
    pub private_key: PrivateKey,
    /// The addresses that the control plane gave this session.
    pub addresses: Vec<IpAddr>,
    /// Where the sites are.
    pub catalogue: Arc<Catalogue>,
}

/// A flow that opened or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowEvent {
    /// It ended.
    Closed {
        /// Which one.
        flow: Flow,
        /// Why it was cut, if it did not end by itself.
        denial: Option<Denial>,
    },
    /// It began: its permit was spent.
    Opened(Flow),
}

#[derive(Debug, Default)]
struct Sites {
    sites: BTreeMap<SiteId, Arc<Site>>,
}

impl Userspace {
    /// Starts without tunnels. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let budget = Budget::new(settings.buffer_budget);
        let flows = Arc::new(Flows::new(
            settings.clock,
            Arc::clone(&settings.on_flow),
            budget.max_flows(),
        ));
        let keeper = tokio::spawn(keep_leases(Arc::clone(&flows)));
        Self {
            budget,
            settings,
            flows,
            sites: Mutex::default(),
            changes: watch::Sender::new(0),
            attention: watch::Sender::default(),
            keeper,
        }
    }

    /// Makes the tunnels what `plan` says: those that stay the same are left
    /// alone, those that changed are replaced, and without a plan all end.
    pub fn configure(&self, plan: Option<Plan>) {
        let mut sites = self.lock_sites();
        let mut before = std::mem::take(&mut sites.sites);
        if let Some(plan) = plan {
            for site in plan.catalogue.sites() {
                let config = TunnelConfig {
                    private_key: plan.private_key.clone(),
                    addresses: plan.addresses.clone(),
                    mtu: self.settings.mtu,
                    keepalive: self.settings.keepalive,
                    resolvers: site.resolvers.clone(),
                };
                if before
                    .get(&site.id)
                    .is_some_and(|running| running.is_for(site, &config))
                {
                    sites.sites.extend(before.remove_entry(&site.id));
                    continue;
                }
                match Site::start(
                    site,
                    config,
                    &self.budget,
                    self.settings.clock,
                    &self.changes,
                    &self.attention,
                ) {
                    Ok(started) => {
                        sites.sites.insert(site.id.clone(), started);
                    }
                    Err(error) => {
                        tracing::error!(error = format!("{error:#}"), "A site has no tunnel");
                    }
                }
            }
        }
        drop(sites);
        for site in before.into_values() {
            site.stop();
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Opens the one flow that `permit` was issued for.
    ///
    /// # Errors
    ///
    /// Why it could not be opened; the permit is spent either way.
    pub async fn dial(&self, permit: Permit) -> Result<FlowStream, DialError> {
        let site = self
            .lock_sites()
            .sites
            .get(permit.site())
            .cloned()
            .ok_or_else(|| DialError::NoTunnel(permit.site().clone()))?;
        dial::dial(&self.flows, &site, permit, self.settings.connect_limit).await
    }

    /// Puts every live flow to a new access map, at once: those that it does
    /// not permit are reset before this returns.
    pub fn set_access(&self, access: &Arc<AccessMap>, now: Moment) {
        self.flows.review(access, now);
    }

    /// Tells whether somebody looks at how the gateways are; then one that
    /// dies is noticed soon, also where nothing is sent.
    pub fn set_watched(&self, watched: bool) {
        self.attention
            .send_modify(|attention| attention.is_watched = watched);
    }

    /// Calls every gateway once: those that answer have a handshake after this.
    pub fn call_gateways(&self) {
        self.attention.send_modify(|attention| attention.calls += 1);
    }

    /// Returns how each site's tunnel is.
    #[must_use]
    pub fn status(&self) -> Vec<SiteStatus> {
        self.lock_sites()
            .sites
            .values()
            .map(|site| site.status())
            .collect()
    }

    /// Returns a counter that moves whenever [`status`](Self::status) changed
    /// in more than its byte counts.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns how many flows are open.
    #[must_use]
    pub fn live_flows(&self) -> usize {
        self.flows.count()
    }

    /// Returns how many connections hold buffers, those that still deliver
    /// their last bytes included.
    #[must_use]
    pub fn buffered_connections(&self) -> usize {
        self.budget.flows()
    }

    fn lock_sites(&self) -> MutexGuard<'_, Sites> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        self.keeper.abort();
        self.configure(None);
    }
}

/// Cuts flows whose leases end while nobody renews them.
async fn keep_leases(flows: Arc<Flows>) {
    loop {
        let changed: &Notify = flows.changed();
        match flows.next_lease_end() {
            None => changed.notified().await,
            Some(left) => {
                // Tokio's clock may stand still while the machine sleeps; look often.
                let pause = left.min(LEASE_CHECK);
                let _ = tokio::time::timeout(pause, changed.notified()).await;
                flows.end_leases();
            }
        }
    }
}

/// How one site's tunnel is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteStatus {
    /// Which site.
    pub id: SiteId,
    /// Our own addresses inside the tunnel.
    pub addresses: Vec<IpAddr>,
    /// Its gateways, in the order in which they are tried.
    pub gateways: Vec<GatewayStatus>,
    /// What was dropped, and why.
    pub dropped: Dropped,
    /// Whether only short packets are sent there, since longer ones vanished on the way.
    pub is_narrow: bool,
}

/// How late a lease may end after the machine slept.
const LEASE_CHECK: Duration = Duration::from_secs(1);

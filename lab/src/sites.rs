//! The lab's own gateways, and what is behind them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use anyhow::Context;
use connector_core::catalogue::GatewayId;
use connector_core::configuration::RawGateway;
use connector_core::name::DomainName;
use connector_core::network::Prefix;
use connector_core::time::Moment;
use tunnel::far_end::{GatewayConfig, Resolver, Service, SiteConfig, SiteNetwork};
use tunnel_proto::keys::{PrivateKey, PublicKey};
use tunnel_proto::reach::{Admission, Reach};

use crate::admin::{GatewaySwitch, GatewayView};
use crate::company::{Application, CompanySite};
use crate::entitlements::{Entitlements, Surroundings};
use crate::http_server::BoxFuture;
use crate::peers::{Guest, PeerError, PeerTable};
use crate::random;

/// Every site whose gateways the lab runs.
#[derive(Debug, Default)]
pub struct Sites {
    networks: Vec<Arc<Network>>,
}

/// One site, with what people may want to know about it.
#[derive(Debug)]
struct Network {
    site: String,
    surroundings: Surroundings,
    network: SiteNetwork,
    running: Mutex<BTreeMap<GatewayId, bool>>,
}

impl Sites {
    /// Starts the gateways of `site` on free ports of `address`, and describes them.
    pub(crate) fn start(
        &mut self,
        site: &CompanySite,
        address: IpAddr,
        resolver: IpAddr,
    ) -> anyhow::Result<Vec<RawGateway>> {
        let context = || format!("Failed to start the site {:?}", site.id);
        let mut gateways = Vec::new();
        let mut public_keys = Vec::new();
        for id in &site.gateways {
            let private_key = PrivateKey::from_bytes(random::bytes());
            public_keys.push(private_key.public_key());
            gateways.push(GatewayConfig {
                id: id.as_str().into(),
                listen: (address, 0).into(),
                private_key,
            });
        }
        let prefixes = site
            .prefixes
            .iter()
            .map(|prefix| prefix.parse())
            .collect::<Result<Vec<Prefix>, _>>()
            .with_context(context)?;
        let surroundings = Surroundings {
            site: site.id.as_str().into(),
            resolver,
            records: records(site).with_context(context)?,
        };
        let resolver = Resolver {
            address: resolver,
            records: surroundings.records.clone(),
        };
        let network = SiteNetwork::start(SiteConfig {
            gateways,
            prefixes,
            resolver: Some(resolver),
            services: site.applications.iter().map(service).collect(),
            mtu: MTU,
            buffer_budget: BUFFER_BUDGET,
            clock: boot_clock,
        })
        .with_context(context)?;

        let described = site
            .gateways
            .iter()
            .zip(public_keys)
            .map(|(id, public_key)| {
                let endpoint = network.endpoints().get(&GatewayId::from(id.as_str()));
                Ok(RawGateway {
                    id: id.clone(),
                    endpoint: endpoint
                        .with_context(|| format!("{id:?} appears twice"))?
                        .to_string(),
                    public_key: public_key.to_string(),
                    allowed_ips: site.prefixes.clone(),
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()
            .with_context(context)?;
        let running = network.endpoints().keys().map(|id| (id.clone(), true));
        self.networks.push(Arc::new(Network {
            site: site.id.clone(),
            surroundings,
            running: Mutex::new(running.collect()),
            network,
        }));
        Ok(described)
    }

    /// Returns the peer table of each site.
    pub(crate) fn peer_tables(&self) -> Vec<Box<dyn PeerTable>> {
        self.networks
            .iter()
            .map(|network| Box::new(SitePeers(Arc::clone(network))) as Box<dyn PeerTable>)
            .collect()
    }
}

impl GatewaySwitch for Sites {
    fn set_running(&self, id: &str, running: bool) -> anyhow::Result<()> {
        let id = GatewayId::from(id);
        for network in &self.networks {
            let mut states = network.running();
            let Some(state) = states.get_mut(&id) else {
                continue;
            };
            match (*state, running) {
                (false, true) => network
                    .network
                    .start_gateway(&id)
                    .with_context(|| format!("Failed to start {id}"))?,
                (true, false) => network.network.stop_gateway(&id),
                (false, false) | (true, true) => {}
            }
            *state = running;
            return Ok(());
        }
        anyhow::bail!("the lab runs no gateway {id}")
    }

    fn list(&self) -> Vec<GatewayView> {
        self.networks
            .iter()
            .flat_map(|network| {
                let running = network.running();
                network
                    .network
                    .endpoints()
                    .iter()
                    .map(|(id, endpoint)| GatewayView {
                        id: id.to_string(),
                        endpoint: *endpoint,
                        running: running.get(id).copied().unwrap_or_default(),
                    })
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

impl Network {
    fn running(&self) -> MutexGuard<'_, BTreeMap<GatewayId, bool>> {
        self.running
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[derive(Debug)]
struct SitePeers(Arc<Network>);

impl PeerTable for SitePeers {
    fn name(&self) -> &str {
        &self.0.site
    }

    fn add<'a>(
        &'a self,
        key: PublicKey,
        addresses: &'a [IpAddr],
    ) -> BoxFuture<'a, Result<(), PeerError>> {
        let admission = Admission {
            addresses: addresses.iter().copied().map(Prefix::host).collect(),
            reach: Reach::default(),
        };
        self.0.network.add_peer(key, admission);
        Box::pin(std::future::ready(Ok(())))
    }

    fn open(&self, key: PublicKey, guest: &Guest, entitlements: &Entitlements) {
        let reach = entitlements.reach(guest, &self.0.surroundings);
        self.0.network.set_reach(key, reach);
    }

    fn remove(&self, key: PublicKey) -> BoxFuture<'_, Result<(), PeerError>> {
        self.0.network.remove_peer(key);
        Box::pin(std::future::ready(Ok(())))
    }
}

fn service(application: &Application) -> Service {
    let app = application.app;
    Service {
        address: application.address,
        handler: Arc::new(move |stream, client: SocketAddr| Box::pin(app.serve(stream, client))),
    }
}

fn records(site: &CompanySite) -> anyhow::Result<BTreeMap<DomainName, Vec<IpAddr>>> {
    site.records
        .iter()
        .map(|(name, address)| {
            let name = name.parse().context("records")?;
            Ok((name, vec![*address]))
        })
        .collect()
}

/// A monotonic clock that starts with the process; the lab does not outlive a sleep.
pub(crate) fn boot_clock() -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    Moment::from_boot(START.get_or_init(Instant::now).elapsed())
}

/// What fits into an Ethernet frame on any path, as `wg-quick` computes it.
const MTU: usize = 1420;

/// A hundred connections at full speed.
const BUFFER_BUDGET: usize = 64 * 1024 * 1024;

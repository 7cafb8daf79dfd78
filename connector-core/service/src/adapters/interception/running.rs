use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_core::access::{Destination, Flow, Workload};
use connector_core::catalogue::{Catalogue, Endpoint, ResourceId};
use connector_core::connector::Event;
use connector_core::name::DomainName;
use connector_core::network::Prefix;
use connector_core::time::Moment;
use connector_platform::clock;
use connector_platform::owner::{self, Transport};
use connector_platform::steering::{self, Dns, MARK, Mended, Steering};
use tunnel::device::DeviceConfig;
use tunnel::stub::{Stub, StubConfig};
use tunnel::transparent::{self, Addressing, Transparent};
use tunnel_proto::packet::{Carried, Ends};
use tunnel_proto::router::Unreachable;
use tunnel_proto::split_dns::{Protection, SplitDns};
use tunnel_proto::synthetic::{SyntheticNames, SyntheticRange};

use super::{Keeper, Protected, State};
use crate::adapters::Events;

/// Everything that is up while traffic is taken.
pub(super) struct Running {
    tunnel: Arc<Transparent>,
    steering: Steering,
    /// Held for as long as it answers.
    _stub: Stub,
    names: Arc<Mutex<SplitDns>>,
    range: SyntheticRange,
    plan: steering::Plan,
    /// The names that whoever is signed in may know of.
    shown: Vec<DomainName>,
    mended: Option<String>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Running {
    pub(super) async fn start(keeper: &Keeper, target: &Protected) -> Result<Self, Failure> {
        // What a dead service left behind stays until it is taken over: its guard has no gap.
        let mut in_use = steering::ranges_in_use()?;
        in_use.extend(prefixes(&target.catalogue));
        let range = SyntheticRange::choose(&in_use, keeper.seed)?;
        let names = Arc::new(Mutex::new(SplitDns::new(SyntheticNames::new(
            range,
            keeper.seed,
        ))));
        lock(&names).set_protection(&protection(target));

        let addresses = vec![IpAddr::V4(range.device_v4()), IpAddr::V6(range.device_v6())];
        let tunnel = Arc::new(start_tunnel(keeper, &names, &range, &addresses)?);
        let plan = plan(tunnel.device(), &addresses, &range, target);
        let steering = Steering::start(keeper.state_dir.clone(), plan.clone()).await?;
        let stub = Stub::start(StubConfig {
            listen: addresses
                .iter()
                .map(|own| SocketAddr::new(*own, 53))
                .collect(),
            upstreams: steering.upstreams(),
            prepare: Arc::new(|socket| tunnel::device::set_mark(socket, MARK)),
            names: Arc::clone(&names),
            clock: clock::moment,
        })
        .await;
        let stub = match stub {
            Ok(stub) => stub,
            Err(error) => {
                steering.stop().await?;
                return Err(error.into());
            }
        };
        tracing::info!(device = %plan.device, "Traffic for protected applications is taken");
        Ok(Self {
            tunnel,
            steering,
            _stub: stub,
            names,
            range,
            plan,
            shown: shown(target),
            mended: None,
        })
    }

    /// Takes what `target` protects instead.
    pub(super) async fn change(&mut self, target: &Protected) -> Result<(), Failure> {
        let plan = plan(
            &self.plan.device,
            &self.plan.device_addresses,
            &self.range,
            target,
        );
        if plan != self.plan {
            self.steering.change(plan.clone()).await?;
            self.plan = plan;
        }
        lock(&self.names).set_protection(&protection(target));
        self.shown = shown(target);
        Ok(())
    }

    /// Leaves the machine as it was.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.steering.stop().await?;
        tracing::info!(device = %self.plan.device, "Traffic for protected applications is left alone");
        Ok(())
    }

    pub(super) async fn watch(&mut self) -> Mended {
        let mended = self.steering.watch().await;
        self.mended = Some(mended.to_string());
        mended
    }

    pub(super) fn tunnel(&self) -> &Arc<Transparent> {
        &self.tunnel
    }

    pub(super) fn state(&self) -> State {
        State::Up {
            device: self.plan.device.clone(),
            addresses: self.plan.device_addresses.clone(),
            names: self.shown.clone(),
            mended: self.mended.clone(),
        }
    }
}

fn start_tunnel(
    keeper: &Keeper,
    names: &Arc<Mutex<SplitDns>>,
    range: &SyntheticRange,
    addresses: &[IpAddr],
) -> std::io::Result<Transparent> {
    let (of_address, of_name) = (Arc::clone(names), Arc::clone(names));
    Transparent::start(transparent::Settings {
        clock: clock::moment,
        device: DeviceConfig {
            name: DEVICE.to_owned(),
            addresses: vec![
                (IpAddr::V4(range.device_v4()), 32),
                (IpAddr::V6(range.device_v6()), 128),
            ],
            mtu: MTU,
            queue_length: QUEUE_LENGTH,
        },
        addressing: Addressing {
            name_of: Arc::new(move |address| lock(&of_address).names().name_of(address).cloned()),
            address_of: Arc::new(move |name| {
                let found = lock(&of_name).names_mut().addresses_of(name);
                found.map(|found| IpAddr::V4(found.v4))
            }),
            device: addresses.to_vec(),
        },
        keepalive: Some(KEEPALIVE),
        mark: Some(MARK),
        on_event: Arc::new({
            let (events, names) = (keeper.events.clone(), Arc::clone(names));
            move |event| report(&events, &names, event)
        }),
        attribute: Arc::new(attribute),
        enforces: true,
    })
}

/// Tells the core what happened in the tunnel.
fn report(events: &Events, names: &Mutex<SplitDns>, event: transparent::Event) {
    let event = match event {
        transparent::Event::Asked(question) => Event::AccessRequested(question),
        transparent::Event::Closed { flow, denial } => {
            hold(names, &flow, false);
            Event::FlowClosed { flow, cut: denial }
        }
        transparent::Event::Opened(flow) => {
            hold(names, &flow, true);
            Event::FlowOpened(flow)
        }
        transparent::Event::Refused { flow, denial } => Event::FlowRefused { flow, denial },
        transparent::Event::Resolved(resolved) => {
            if let Some(known) = resolved.outcome.known() {
                let now: Moment = clock::moment();
                lock(names).learn(resolved.name, known, resolved.until, now);
            }
            return;
        }
        transparent::Event::Unreachable { flow, problem } if problem == Unreachable::NoGateway => {
            // The gateways' silence has been told already.
            tracing::debug!(%flow, "A permitted connection could not be made: {problem}");
            return;
        }
        transparent::Event::Unreachable { flow, problem } => {
            tracing::warn!(%flow, "A permitted connection could not be made: {problem}");
            return;
        }
    };
    if let Err(error) = events.try_send(event) {
        tracing::error!(%error, "What happened to a flow was not noted");
    }
}

/// Keeps a name's address for as long as a flow uses it.
fn hold(names: &Mutex<SplitDns>, flow: &Flow, is_used: bool) {
    let Destination::Name(name) = &flow.destination else {
        return;
    };
    let mut names = lock(names);
    let Some(addresses) = names.names_mut().addresses_of(name) else {
        return;
    };
    if is_used {
        names.names_mut().hold(IpAddr::V4(addresses.v4));
    } else {
        names.names_mut().release(IpAddr::V4(addresses.v4));
    }
}

/// Finds the program that has a socket.
fn attribute(ends: Ends) -> (Workload, Option<u32>) {
    let transport = match ends.carried {
        Carried::Echo => Transport::IcmpEcho,
        Carried::Tcp => Transport::Tcp,
        Carried::Udp => Transport::Udp,
    };
    match owner::of(transport, ends.source, ends.destination) {
        Ok(owner) => (owner.workload, owner.process),
        Err(error) => {
            tracing::debug!(%error, "The program behind a flow was not found");
            (Workload::Unknown, None)
        }
    }
}

fn plan(
    device: &str,
    addresses: &[IpAddr],
    range: &SyntheticRange,
    target: &Protected,
) -> steering::Plan {
    let mut routed: Vec<Prefix> = vec![range.v4(), range.v6()];
    routed.extend(prefixes(&target.catalogue));
    routed.sort_unstable();
    routed.dedup();
    steering::Plan {
        device: device.to_owned(),
        device_addresses: addresses.to_vec(),
        prefixes: routed,
        dns: Dns {
            servers: addresses.to_vec(),
            // The guard keeps what is concealed from leaving this machine as well.
            suffixes: zones(&target.catalogue, &BTreeSet::new()),
        },
    }
}

fn prefixes(catalogue: &Catalogue) -> Vec<Prefix> {
    let mut prefixes: Vec<Prefix> = catalogue
        .resources()
        .flat_map(|resource| resource.prefixes.iter().copied())
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

/// Returns the names of resources, and what their wildcards stand below.
fn zones(catalogue: &Catalogue, concealed: &BTreeSet<ResourceId>) -> Vec<DomainName> {
    let names: BTreeSet<DomainName> = catalogue
        .resources()
        .filter(|resource| !concealed.contains(&resource.id))
        .flat_map(|resource| resource.names.iter().map(|name| name.anchor().clone()))
        .collect();
    names.into_iter().collect()
}

fn shown(target: &Protected) -> Vec<DomainName> {
    zones(&target.catalogue, &target.concealed)
}

fn protection(target: &Protected) -> Protection {
    let gateways = target
        .catalogue
        .sites()
        .flat_map(|site| site.gateways.iter());
    Protection {
        catalogue: Arc::clone(&target.catalogue),
        concealed: Arc::clone(&target.concealed),
        zones: Vec::new(),
        outside: gateways
            .filter_map(|gateway| match &gateway.endpoint {
                Endpoint::Name { host, .. } => Some(host.clone()),
                Endpoint::Address(_) => None,
            })
            .collect(),
        v6: target.v6,
    }
}

fn lock(names: &Mutex<SplitDns>) -> MutexGuard<'_, SplitDns> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The device's name where systems let us choose it.
const DEVICE: &str = "ztna0";

/// What WireGuard leaves of an Ethernet frame, over either IP version.
const MTU: u16 = 1420;

/// Packets that wait in the device: about a super-packet each.
const QUEUE_LENGTH: u32 = 1000;

const KEEPALIVE: Duration = Duration::from_secs(25);

//! What people are shown: the core's types in the front-ends' words.

pub(crate) mod convert;

pub(crate) use self::convert::{behind, gateway_state};

use std::collections::BTreeSet;
use std::sync::Arc;

use connector_core::catalogue::{Resource, SiteId};
use connector_core::configuration::{Organisation, PolicyMode, Version};
use connector_core::connector::{Connector, Standing as CoreStanding};
use connector_core::identity::{HostId, Owner, Session};
use connector_core::pausing::PauseRules;
use connector_core::posture::{Check, Facts, Verdict};
use connector_core::time::Moment;
use connector_core::trust::{Granted, Refused};
use connector_ipc::{
    CheckReport, GatewayState, Identity, PostureReport, ProxyReport, Remedy, ResourceReport,
    ResourceState, SiteReport, Standing, Status, TrustLevel, TunnelReport,
};
use connector_platform::clock;
use connector_platform::sealing::Keeper;
use tokio::sync::watch;
use tunnel::userspace::SiteStatus;
use tunnel_proto::gateways::GatewayState as State;
use url::Url;

use crate::adapters::authorizer::Authorizer;
use crate::adapters::control::ControlState;
use crate::adapters::decisions::Recent;
use crate::adapters::managing::InForce;
use crate::adapters::policies::Shown;
use crate::adapters::shipping::Shipments;
use crate::adapters::sign_in::{Progress, Store};
use crate::adapters::tunnelling::Tunnel;
use crate::logging::LatestLines;

/// What the core says at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) standing: CoreStanding,
    pub(crate) session: Option<Session>,
    pub(crate) owner: Option<Owner>,
    pub(crate) organisation: Option<Organisation>,
    pub(crate) version: Option<Version>,
    pub(crate) configuration_ends: Option<Moment>,
    pub(crate) paused_until: Option<Moment>,
    pub(crate) pause_rules: PauseRules,
    pub(crate) is_overridden: bool,
    pub(crate) host: Option<HostId>,
    pub(crate) policy_mode: Option<PolicyMode>,
    pub(crate) checks: Vec<Check>,
    pub(crate) facts: Facts,
    pub(crate) verdict: Verdict,
    pub(crate) granted: Vec<Arc<Granted>>,
    pub(crate) refused: Vec<Arc<Refused>>,
    pub(crate) sites_in_use: BTreeSet<SiteId>,
}

impl Snapshot {
    pub(crate) fn of(connector: &Connector) -> Self {
        let configuration = connector.configuration();
        Self {
            standing: connector.standing(),
            session: connector.session().cloned(),
            owner: connector.owner(),
            organisation: configuration.map(|known| known.organisation.clone()),
            version: configuration.map(|known| known.version),
            configuration_ends: configuration.map(|known| known.expires_at),
            paused_until: connector.paused_until(),
            pause_rules: connector.pause_rules().clone(),
            is_overridden: connector.is_overridden(),
            host: connector.host().cloned(),
            policy_mode: configuration.map(|known| known.policy.mode),
            checks: connector.checks().to_vec(),
            facts: connector.facts().clone(),
            verdict: connector.verdict().clone(),
            granted: connector.granted().cloned().collect(),
            refused: connector.refused().cloned().collect(),
            sites_in_use: connector.sites_in_use().cloned().collect(),
        }
    }
}

/// Everything that front-ends can be shown.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(crate) control: watch::Receiver<ControlState>,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) authorizer: Authorizer,
    pub(crate) tunnel: Arc<Tunnel>,
    pub(crate) decisions: Recent,
    pub(crate) policies: Shown,
    pub(crate) shipments: Shipments,
    pub(crate) settings: watch::Receiver<Arc<InForce>>,
    pub(crate) control_plane: Url,
    pub(crate) proxy: ProxyReport,
    pub(crate) log: LatestLines,
    /// Where what a sign-in leaves is kept.
    pub(crate) store: Store,
    /// Who keeps the key to the host's key.
    pub(crate) host_keeper: Keeper,
}

impl View {
    /// Returns the one screen.
    pub(crate) fn status(&self) -> Status {
        let snapshot = Arc::clone(&self.snapshot.borrow());
        let control = self.control.borrow().clone();
        let tunnel = self.tunnel();
        let standing = standing(&snapshot, &tunnel);
        let now = clock::now();
        Status {
            standing,
            summary: summary(standing, &snapshot, &control),
            organisation: snapshot
                .organisation
                .as_ref()
                .map(|known| known.name.to_string()),
            support: self.support(&snapshot),
            identity: self.identity(),
            trust_level: convert::trust_level(snapshot.verdict.trust_level()),
            checks_unmet: snapshot.verdict.unmet().len(),
            interception: self.tunnel.interception().map(convert::interception),
            tunnel,
            proxy: self.proxy.clone(),
            records: Some(self.shipments.report()),
            control_plane: self.control_plane.to_string(),
            control_plane_reachable: control.reachable,
            configuration_version: snapshot.version.map(|Version(version)| version),
            configuration_expires_at: snapshot
                .configuration_ends
                .map(|ends| convert::ahead(ends, now)),
            paused_until: snapshot
                .paused_until
                .filter(|_| standing == Standing::Paused)
                .map(|until| convert::ahead(until, now)),
            managed: self.settings.borrow().managed.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Returns what users see while somebody else is signed in: that the service runs, and no more.
    pub(crate) fn status_for_strangers() -> Status {
        Status {
            standing: Standing::InUse,
            summary: Remedy {
                message: "Somebody else is signed in on this computer.".to_owned(),
                action: Some(
                    "Ask them to sign out with `ztna logout`, then run `ztna login`.".to_owned(),
                ),
            },
            organisation: None,
            support: None,
            identity: None,
            trust_level: TrustLevel::Low,
            checks_unmet: 0,
            tunnel: TunnelReport::default(),
            interception: None,
            proxy: ProxyReport::default(),
            records: None,
            control_plane: String::new(),
            control_plane_reachable: false,
            configuration_version: None,
            configuration_expires_at: None,
            paused_until: None,
            managed: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Returns where people get help: the administrator's word counts before the company's.
    pub(crate) fn support(&self, snapshot: &Snapshot) -> Option<String> {
        let own = self.settings.borrow().support.clone();
        let organisation = snapshot.organisation.as_ref();
        own.or_else(|| Some(organisation?.support.as_ref()?.to_string()))
    }

    /// Returns who is signed in.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.snapshot
            .borrow()
            .session
            .as_ref()
            .map(convert::identity)
    }

    /// Returns every check with its finding.
    pub(crate) fn posture(&self) -> PostureReport {
        let snapshot = Arc::clone(&self.snapshot.borrow());
        PostureReport {
            trust_level: convert::trust_level(snapshot.verdict.trust_level()),
            checks: snapshot
                .checks
                .iter()
                .map(|check| convert::check(check, &snapshot.facts, clock::now()))
                .collect(),
        }
    }

    /// Returns whether no gateway of a site answers, as far as that was tried.
    pub(crate) fn is_silent(&self, site: &SiteId) -> bool {
        let sites = self.tunnel.status();
        let states = sites
            .iter()
            .filter(|known| known.id == *site)
            .flat_map(|known| known.gateways.iter().map(|gateway| gateway.state));
        let is_of_use = |state| matches!(state, State::InUse | State::Idle);
        states.clone().any(|state| state == State::Silent) && !states.into_iter().any(is_of_use)
    }

    /// Returns the checks that do not pass.
    pub(crate) fn checks_unmet(&self) -> Vec<CheckReport> {
        let mut checks = self.posture().checks;
        checks.retain(|check| check.finding != connector_ipc::Finding::Pass);
        checks
    }

    /// Returns the protected applications and what is known about access to them.
    pub(crate) fn resources(&self) -> Vec<ResourceReport> {
        let access = self.authorizer.access();
        let state = |resource: &Resource| match access.last_answer(&resource.id, clock::moment()) {
            Some(Ok(())) => ResourceState::Permitted,
            Some(Err(_)) => ResourceState::Denied,
            None => ResourceState::Undecided,
        };
        access
            .shown()
            .map(|resource| convert::resource(resource, state(resource)))
            .collect()
    }

    /// Returns whether whoever is signed in must not learn of a resource.
    pub(crate) fn hides(&self, resource: &Resource) -> bool {
        let access = self.authorizer.access();
        access.concealed().contains(&resource.id)
    }

    /// Returns whether the policies on this device decide, and nobody else.
    pub(crate) fn decides_here(&self) -> bool {
        let wanted = self.snapshot.borrow().policy_mode;
        self.policies.mode.or(wanted) == Some(PolicyMode::Proximity)
    }

    fn tunnel(&self) -> TunnelReport {
        let now = clock::now();
        let sites = self.tunnel.status();
        let snapshot = Arc::clone(&self.snapshot.borrow());
        let session = snapshot.session.clone();
        TunnelReport {
            addresses: session
                .map(|session| session.addresses.to_vec())
                .unwrap_or_default(),
            sites: sites
                .iter()
                .map(|site| SiteReport {
                    id: site.id.to_string(),
                    in_use: snapshot.sites_in_use.contains(&site.id),
                    gateways: site
                        .gateways
                        .iter()
                        .map(|gateway| convert::gateway(gateway, now))
                        .collect(),
                })
                .collect(),
            open_flows: self.tunnel.live_flows(),
            dropped: dropped(&sites),
        }
    }
}

/// Returns how much from outside was dropped.
fn dropped(sites: &[SiteStatus]) -> u64 {
    let datagrams = sites
        .iter()
        .flat_map(|site| site.dropped.datagrams.values());
    // In the transparent tunnel every site tells of the strangers of all.
    let strangers = sites.iter().map(|site| site.dropped.strangers).max();
    datagrams.sum::<u64>() + strangers.unwrap_or_default()
}

fn standing(snapshot: &Snapshot, tunnel: &TunnelReport) -> Standing {
    let any = |state: GatewayState| {
        let mut gateways = tunnel.sites.iter().flat_map(|site| &site.gateways);
        gateways.any(|gateway| gateway.state == state)
    };
    match snapshot.standing {
        CoreStanding::NotConfigured => Standing::Starting,
        CoreStanding::Paused => Standing::Paused,
        CoreStanding::SignedOut => Standing::SignedOut,
        CoreStanding::SigningIn => Standing::SigningIn,
        CoreStanding::Ready if any(GatewayState::Active) => {
            if snapshot.verdict.unmet().is_empty() {
                Standing::Connected
            } else {
                Standing::Restricted
            }
        }
        CoreStanding::Ready if any(GatewayState::Down) => Standing::Degraded,
        CoreStanding::Ready => Standing::Connecting,
    }
}

fn summary(standing: Standing, snapshot: &Snapshot, control: &ControlState) -> Remedy {
    let (message, action) = match standing {
        Standing::Connected => ("Connected.".to_owned(), None),
        Standing::Connecting => ("The tunnel is coming up.".to_owned(), None),
        Standing::Degraded => (
            "No gateway answers.".to_owned(),
            Some("Check the network; the connector keeps trying."),
        ),
        Standing::Paused => {
            let message = match snapshot.paused_until {
                Some(_) => "Switched off for a time.",
                None => "Switched off.",
            };
            (message.to_owned(), Some("Run `ztna up`."))
        }
        Standing::Restricted => {
            let unmet = snapshot.verdict.unmet().len();
            let checks = if unmet == 1 {
                "check does"
            } else {
                "checks do"
            };
            (
                format!(
                    "Connected; {unmet} {checks} not pass, so some applications may be refused."
                ),
                Some("Run `ztna posture` to see which, and how to mend it."),
            )
        }
        Standing::InUse => ("Somebody else is signed in.".to_owned(), None),
        Standing::SignedOut => ("Nobody is signed in.".to_owned(), Some("Run `ztna login`.")),
        Standing::SigningIn => (
            "Waiting for the sign-in in the browser.".to_owned(),
            Some("Finish it there, or run `ztna login` to start again."),
        ),
        Standing::Starting => match &control.problem {
            Some(problem) => (
                format!("No configuration yet: {}.", problem.message),
                Some(problem.remedy),
            ),
            None => ("Waiting for the configuration.".to_owned(), None),
        },
    };
    Remedy {
        message,
        action: action.map(str::to_owned),
    }
}

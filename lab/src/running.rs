//! The whole company, started and stopped together.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use connector_core::catalogue::Endpoint;
use connector_core::configuration::{
    Document, RawGateway, RawIdentity, RawPolicy, RawSignals, RawSite,
};
use ed25519_dalek::SigningKey;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::admin::{Admin, AdminConfig};
use crate::clock::Clock;
use crate::company::Company;
use crate::control_plane::{
    ControlPlane, ControlPlaneConfig, Feed, HostStore, IdTokens, Policies, Sessions,
};
use crate::entitlements::{Basis, Entitlements};
use crate::idp::{Idp, IdpConfig};
use crate::pdp::{Pdp, RuleBook};
use crate::peers::{PeerTable, PeerTables};
use crate::ruling::{Ruling, Subordinates};
use crate::sites::Sites;
use crate::ssf::Transmitter;
use crate::wireguard_uapi::UapiSocket;
use crate::{overrides, random, state_file};

/// What to start, and what somebody else provides.
#[derive(Debug)]
pub struct Options {
    /// The company to play.
    pub company: Company,
    /// Where the policy key and the hosts are kept; nowhere unless told.
    pub state: Option<PathBuf>,
    /// Where the control plane listens; the other servers take free ports beside it.
    pub listen: SocketAddr,
    /// Somebody else's OpenID provider.
    pub issuer: Option<String>,
    /// The client at the OpenID provider, if not the company's usual one.
    pub client_id: Option<String>,
    /// Who decides, if not the lab's own decision point.
    pub policy: Option<RawPolicy>,
    /// Where decisions are made: `remote` unless told.
    pub policy_mode: Option<String>,
    /// Somebody else's gateways; a site that has such has no others.
    pub external_gateways: Vec<ExternalGateway>,
    /// The first site's name server, if not the company's usual one.
    pub site_resolver: Option<IpAddr>,
    /// The time.
    pub clock: Clock,
}

/// A WireGuard interface that the lab does not run.
#[derive(Debug, Clone)]
pub struct ExternalGateway {
    /// Names the gateway.
    pub id: String,
    /// The site that it leads to, the first one unless told.
    pub site: Option<String>,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Its public key in base64.
    pub public_key: String,
    /// Its configuration socket; without one its peers are set by hand.
    pub uapi: Option<PathBuf>,
}

/// What a connector, or a test, has to know about the running company.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    /// The control plane's base URL.
    pub control_plane: String,
    /// The key that its documents are signed with, in base64url.
    pub policy_key: String,
    /// Admits one host within ten minutes.
    pub enrolment_token: String,
    /// The OpenID provider.
    pub issuer: String,
    /// The client at the OpenID provider.
    pub client_id: String,
    /// The decision point.
    pub pdp: String,
    /// The lab's own levers.
    pub admin: String,
    /// Every gateway in the order in which they are tried.
    pub gateways: Vec<ReadyGateway>,
    /// The DNS suffixes that the company may claim.
    pub suffixes: Vec<String>,
}

/// A gateway and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadyGateway {
    /// Names the gateway.
    pub id: String,
    /// Where it listens, as in the configuration.
    pub endpoint: String,
}

/// The running company; everything stops when it is dropped.
#[derive(Debug)]
pub struct Lab {
    ready: Ready,
    sessions: Arc<Sessions>,
    _admin: Admin,
    _idp: Option<Idp>,
}

impl Lab {
    /// Starts everything and returns once everything listens.
    ///
    /// # Errors
    ///
    /// Fails if an address is taken, a folder cannot be written to, or the
    /// company contradicts itself.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let address = options.listen.ip();
        anyhow::ensure!(
            address.is_loopback(),
            "--listen {address}: the lab speaks plain HTTP and stays on loopback addresses"
        );
        let company = &options.company;
        let client_id = options
            .client_id
            .clone()
            .unwrap_or_else(|| company.identity.client_id.clone());
        let idp = start_idp(&options, &client_id).await?;
        let pdp = start_pdp(&options).await?;
        let (described, sites) = start_sites(&options, address)?;
        let gateways = ready_gateways(&described);
        let peers = Arc::new(peer_tables(&options, &sites));

        let signals_listener = listen((address, 0).into()).await?;
        let document = first_document(
            &options,
            RawIdentity {
                issuer: idp.issuer(),
                client_id,
                scopes: company.identity.scopes.clone(),
            },
            pdp.policy(),
            described,
            &Transmitter::issuer_at(&signals_listener)?,
        );
        let identity = document.identity.clone();
        let pdp_base = document.policy.pdp.clone().unwrap_or_default();
        let ruling = start_ruling(&options, document, &peers, pdp)?;
        let sessions = Arc::new(Sessions::new(
            &company.session,
            Arc::clone(&peers),
            options.clock.clone(),
        )?);
        let control_plane =
            Arc::new(start_control_plane(&options, &identity, &ruling, &sessions).await?);
        let signals = Arc::new(Transmitter::start(
            signals_listener,
            Arc::clone(&control_plane),
            options.clock.clone(),
        )?);

        let ready = Ready {
            control_plane: control_plane.base().to_string(),
            policy_key: ruling.feed().policy_key().to_string(),
            enrolment_token: control_plane.make_enrolment_token()?,
            issuer: identity.issuer,
            client_id: identity.client_id,
            pdp: pdp_base,
            admin: String::new(),
            gateways,
            suffixes: company.suffixes.clone(),
        };
        let admin = Admin::start(
            listen((address, 0).into()).await?,
            AdminConfig {
                control_plane,
                sessions: Arc::clone(&sessions),
                ruling,
                signals,
                gateways: Arc::new(sites),
                resources: company.resources.clone(),
                posture: company.posture.clone(),
            },
        )?;
        Ok(Self {
            ready: Ready {
                admin: admin.base(),
                ..ready
            },
            sessions,
            _admin: admin,
            _idp: idp.own(),
        })
    }

    /// Ends every session, so that nobody's gateway keeps the keys, and stops.
    pub async fn stop(self) {
        self.sessions.end_all().await;
    }

    /// Returns what a connector has to know.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }
}

/// A server of the lab's own, or the address of somebody else's.
#[derive(Debug)]
enum Server<T> {
    Foreign(String),
    Own(T),
}

impl<T> Server<T> {
    fn own(self) -> Option<T> {
        match self {
            Self::Foreign(_) => None,
            Self::Own(server) => Some(server),
        }
    }
}

impl Server<Idp> {
    fn issuer(&self) -> String {
        match self {
            Self::Foreign(issuer) => issuer.clone(),
            Self::Own(idp) => idp.issuer().to_string(),
        }
    }
}

/// A decision point of the lab's own, or what a document says of somebody else's.
#[derive(Debug)]
enum Decider {
    Foreign(RawPolicy),
    Own(Arc<Pdp>),
}

impl Decider {
    fn policy(&self) -> RawPolicy {
        match self {
            Self::Foreign(policy) => policy.clone(),
            Self::Own(pdp) => RawPolicy::remote(pdp.base()),
        }
    }

    /// What the gateways decide by: the rules, if they are the decision point's as well.
    fn basis(&self) -> Basis {
        match self {
            Self::Foreign(_) => Basis::Catalogue,
            Self::Own(pdp) => Basis::Rules(pdp.rules().rules().to_vec()),
        }
    }

    fn own(self) -> Option<Arc<Pdp>> {
        match self {
            Self::Foreign(_) => None,
            Self::Own(pdp) => Some(pdp),
        }
    }
}

async fn start_idp(options: &Options, client_id: &str) -> anyhow::Result<Server<Idp>> {
    if let Some(issuer) = &options.issuer {
        return Ok(Server::Foreign(issuer.clone()));
    }
    let config = IdpConfig {
        organisation: options.company.organisation.name.clone(),
        client_id: client_id.to_owned(),
        people: options.company.people.clone(),
        clock: options.clock.clone(),
    };
    let listener = listen((options.listen.ip(), 0).into()).await?;
    Idp::start(listener, config).map(Server::Own)
}

async fn start_pdp(options: &Options) -> anyhow::Result<Decider> {
    if let Some(policy) = &options.policy {
        return Ok(Decider::Foreign(policy.clone()));
    }
    let company = &options.company;
    let rules = RuleBook::new(company.rules.clone(), &company.resources, &company.posture)
        .with_clock(options.clock.clone());
    let listener = listen((options.listen.ip(), 0).into()).await?;
    Ok(Decider::Own(Arc::new(Pdp::start(listener, rules)?)))
}

/// Starts everything that follows from the rules: what is signed with the policy key, and what gateways open.
fn start_ruling(
    options: &Options,
    document: Document,
    peers: &Arc<PeerTables>,
    pdp: Decider,
) -> anyhow::Result<Arc<Ruling>> {
    let company = &options.company;
    let key = policy_key(options.state.as_deref())?;
    let lifetime = company.configuration_lifetime();
    let clock = &options.clock;
    let policies = Policies::new(
        key.clone(),
        lifetime,
        clock.clone(),
        &company.rules,
        &company.policies,
    )?;
    let feed = Feed::new(key, company.suffixes()?, lifetime, clock.clone(), document)?;
    peers.set_entitlements(Entitlements::new(feed.catalogue(), pdp.basis()));
    let subordinates = Subordinates {
        clock: clock.clone(),
        feed: Arc::new(feed),
        peers: Arc::clone(peers),
        pdp: pdp.own(),
        policies: Arc::new(policies),
    };
    let rules = company.rules.clone();
    Ok(Arc::new(Ruling::new(subordinates, rules)))
}

async fn start_control_plane(
    options: &Options,
    identity: &RawIdentity,
    ruling: &Arc<Ruling>,
    sessions: &Arc<Sessions>,
) -> anyhow::Result<ControlPlane> {
    let hosts = match &options.state {
        Some(state) => HostStore::File(state.join("hosts.json")),
        None => HostStore::Memory,
    };
    let clock = options.clock.clone();
    let config = ControlPlaneConfig {
        clock: clock.clone(),
        hosts,
        id_tokens: IdTokens::new(&identity.issuer, &identity.client_id, clock)?,
        ruling: Arc::clone(ruling),
        sessions: Arc::clone(sessions),
    };
    ControlPlane::start(listen(options.listen).await?, config)
}

/// Returns the configuration; its version and times are set when it is signed.
fn first_document(
    options: &Options,
    identity: RawIdentity,
    policy: RawPolicy,
    sites: Vec<RawSite>,
    signals: &url::Url,
) -> Document {
    let company = &options.company;
    Document {
        version: 0,
        issued_at: 0,
        expires_at: 0,
        organisation: company.organisation.clone(),
        identity,
        policy: RawPolicy {
            mode: options.policy_mode.clone(),
            ..policy
        },
        session: company.session.limits(),
        sites,
        resources: company.resources.clone(),
        posture: company.posture.clone(),
        signals: Some(RawSignals {
            issuer: signals.to_string(),
            lease_seconds: SIGNALS_LEASE,
        }),
    }
}

/// Starts the gateways that nobody else provides, and describes all of them.
fn start_sites(options: &Options, address: IpAddr) -> anyhow::Result<(Vec<RawSite>, Sites)> {
    let first = options.company.sites.first().map(|site| &site.id);
    for gateway in &options.external_gateways {
        if let Some(wanted) = &gateway.site {
            anyhow::ensure!(
                options.company.sites.iter().any(|site| site.id == *wanted),
                "--external-gateway {}: there is no site {wanted:?}",
                gateway.id
            );
        }
    }

    let mut described = Vec::new();
    let mut sites = Sites::default();
    for site in &options.company.sites {
        let is_first = Some(&site.id) == first;
        let external: Vec<RawGateway> = options
            .external_gateways
            .iter()
            .filter(|gateway| gateway.site.as_ref().map_or(is_first, |id| *id == site.id))
            .map(|gateway| RawGateway {
                id: gateway.id.clone(),
                endpoint: gateway.endpoint.to_string(),
                public_key: gateway.public_key.clone(),
                allowed_ips: site.prefixes.clone(),
            })
            .collect();
        let resolver = options
            .site_resolver
            .filter(|_| is_first)
            .unwrap_or(site.resolver);
        let gateways = if external.is_empty() {
            sites.start(site, address, resolver)?
        } else {
            external
        };
        described.push(RawSite {
            id: site.id.clone(),
            resolvers: vec![resolver],
            gateways,
        });
    }
    Ok((described, sites))
}

fn ready_gateways(sites: &[RawSite]) -> Vec<ReadyGateway> {
    sites
        .iter()
        .flat_map(|site| &site.gateways)
        .map(|gateway| ReadyGateway {
            id: gateway.id.clone(),
            endpoint: gateway.endpoint.clone(),
        })
        .collect()
}

fn peer_tables(options: &Options, sites: &Sites) -> PeerTables {
    let mut tables = sites.peer_tables();
    for gateway in &options.external_gateways {
        if let Some(path) = &gateway.uapi {
            let socket: Box<dyn PeerTable> =
                Box::new(UapiSocket::new(gateway.id.clone(), path.clone()));
            tables.push(socket);
        }
    }
    PeerTables::new(tables)
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("Failed to listen on {address}"))
}

/// Returns the policy key of the state folder, a fresh one if there is none.
fn policy_key(state: Option<&Path>) -> anyhow::Result<SigningKey> {
    let Some(state) = state else {
        return Ok(SigningKey::from_bytes(&random::bytes()));
    };
    std::fs::create_dir_all(state)
        .with_context(|| format!("Failed to make the folder {}", state.display()))?;
    let path = state.join(overrides::POLICY_KEY);
    if let Some(bytes) = state_file::read(&path)? {
        let bytes: [u8; 32] = bytes
            .try_into()
            .ok()
            .with_context(|| format!("{} is no key of 32 bytes; remove it", path.display()))?;
        return Ok(SigningKey::from_bytes(&bytes));
    }
    let key = SigningKey::from_bytes(&random::bytes());
    state_file::write(&path, &key.to_bytes())?;
    Ok(key)
}

/// Seconds that the transmitter may stay silent before devices deny everything.
const SIGNALS_LEASE: u64 = 300;

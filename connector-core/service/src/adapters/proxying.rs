//! Decides and dials for the local proxy.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use connector_core::access::{Denial, Destination, Flow, Protocol, Reason, Workload};
use connector_core::name::DomainName;
use connector_platform::endpoint::Audience;
use connector_platform::owner::{self, Owner};
use proxy::{Host, Refusal, RefusalKind, Target, Upstream};
use tokio::sync::Semaphore;
use tunnel::{transparent, userspace};

use super::authorizer::Authorizer;
use super::tunnelling::{DialError, Stream, Tunnel};

/// What the proxy asks: who a client is, what it may reach, and the way there.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    authorizer: Authorizer,
    tunnel: Arc<Tunnel>,
    lookups: Arc<Semaphore>,
    audience: Audience,
}

impl Gate {
    /// Makes the gate of a service that is for `audience`.
    pub(crate) fn new(authorizer: Authorizer, tunnel: Arc<Tunnel>, audience: Audience) -> Self {
        Self {
            authorizer,
            tunnel,
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            audience,
        }
    }

    async fn open(&self, flow: &Flow, process: Option<u32>) -> Result<Stream, Unopened> {
        let permit = self.authorizer.authorize(flow, process).await;
        let permit = permit.map_err(Unopened::Denied)?;
        self.tunnel
            .dial(permit)
            .await
            .map_err(Unopened::Unreachable)
    }

    /// Finds out who connects; a few at a time, since each reads the process table.
    async fn owner(&self, client: SocketAddr, local: SocketAddr) -> std::io::Result<Owner> {
        let turn = Arc::clone(&self.lookups).acquire_owned().await;
        let turn = turn.map_err(std::io::Error::other)?;
        tokio::task::spawn_blocking(move || {
            let owner = owner::of_tcp(client, local);
            drop(turn);
            owner
        })
        .await
        .map_err(std::io::Error::other)?
    }
}

/// The program that connects.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    workload: Workload,
    process: Option<u32>,
}

/// Why a flow did not open.
enum Unopened {
    Denied(Denial),
    Unreachable(DialError),
}

impl Upstream for Gate {
    type Client = Client;
    type Stream = Stream;

    async fn admit(&self, client: SocketAddr, local: SocketAddr) -> Result<Client, Refusal> {
        match self.owner(client, local).await {
            // Whose session it is, every decision looks at.
            Ok(owner) if owner.is_same_user || self.audience == Audience::Machine => Ok(Client {
                workload: owner.workload,
                process: owner.process,
            }),
            Ok(_) => {
                tracing::warn!(%client, "Another user's process was turned away from the proxy");
                Err(not_allowed("This proxy belongs to another user."))
            }
            Err(error) => {
                tracing::warn!(%client, %error, "A client of the proxy could not be identified");
                Err(not_allowed(
                    "The program that connects could not be identified.",
                ))
            }
        }
    }

    async fn connect(&self, client: &Client, target: &Target) -> Result<Stream, Refusal> {
        let flow = Flow {
            destination: destination(&target.host)?,
            protocol: Protocol::Tcp(target.port),
            workload: client.workload.clone(),
        };
        match self.open(&flow, client.process).await {
            // What the permit rested on changed between the answer and the
            // connection; nobody has said no.
            Err(Unopened::Unreachable(DialError::Userspace(userspace::DialError::Cut(denial))))
                if denial.reason == Reason::LeaseExpired =>
            {
                self.open(&flow, client.process).await
            }
            outcome => outcome,
        }
        .map_err(|unopened| match unopened {
            Unopened::Denied(denial) => refusal(&denial),
            Unopened::Unreachable(error) => unreachable(&error),
        })
    }

    fn pac_patterns(&self) -> Vec<String> {
        let access = self.authorizer.access();
        access
            .shown()
            .flat_map(|resource| resource.names.iter().map(ToString::to_string))
            .collect()
    }
}

fn destination(host: &Host) -> Result<Destination, Refusal> {
    match host {
        Host::Ipv4(address) => Ok(Destination::Address(IpAddr::V4(*address))),
        Host::Ipv6(address) => Ok(Destination::Address(IpAddr::V6(*address))),
        Host::Name(name) => name
            .parse::<DomainName>()
            .map(Destination::Name)
            .map_err(|_| refusal(&Reason::UnknownResource.into())),
    }
}

fn refusal(denial: &Denial) -> Refusal {
    let kind = match denial.reason {
        Reason::Hidden | Reason::UnknownResource => RefusalKind::UnknownDestination,
        Reason::TooBusy => RefusalKind::LimitReached,
        Reason::ConfigurationExpired
        | Reason::DelegationNeeded
        | Reason::LeaseExpired
        | Reason::NotConfigured
        | Reason::NotRecorded
        | Reason::Offline
        | Reason::OtherUser
        | Reason::Paused
        | Reason::PdpLate
        | Reason::PdpMalformed
        | Reason::PdpStatus(_)
        | Reason::PdpUnreachable
        | Reason::PolicyDenied
        | Reason::PortNotOffered
        | Reason::PostureUnmet
        | Reason::SessionExpired
        | Reason::SessionRevoked
        | Reason::SignalsSilent
        | Reason::SignedOut
        | Reason::Stopping => RefusalKind::Denied,
    };
    Refusal::new(kind, denial.reason.code(), denial.message()).with_remedy(denial.reason.remedy())
}

fn unreachable(error: &DialError) -> Refusal {
    match error {
        DialError::Transparent(error) => unreachable_transparently(error),
        DialError::Userspace(error) => unreachable_in_userspace(error),
    }
}

fn unreachable_transparently(error: &transparent::DialError) -> Refusal {
    use transparent::DialError;
    let (kind, code, remedy) = match error {
        DialError::Failed { .. } | DialError::NoDevice => (
            RefusalKind::GatewayUnavailable,
            "gateway_unavailable",
            CHECK_NETWORK,
        ),
        DialError::NoAddress(_) | DialError::Unreachable(_) => (
            RefusalKind::NameNotResolved,
            "name_not_found",
            "Check the name; its site does not know it, or its name servers do not answer.",
        ),
        DialError::Refused(_) => (
            RefusalKind::ConnectionRefused,
            "connection_refused",
            ASK_OWNER,
        ),
        DialError::TimedOut { .. } => (RefusalKind::Timeout, "timed_out", ASK_OWNER),
        DialError::Unsupported(_) => (RefusalKind::Internal, "not_supported", NOT_CARRIED),
    };
    Refusal::new(kind, code, sentence(&error.to_string())).with_remedy(remedy)
}

fn unreachable_in_userspace(error: &userspace::DialError) -> Refusal {
    use userspace::DialError;
    let (kind, code, remedy) = match error {
        DialError::Cut(denial) => return refusal(denial),
        DialError::NameNotFound { .. } => (
            RefusalKind::NameNotResolved,
            "name_not_found",
            "Check the name; its site does not know it.",
        ),
        DialError::NoGateway { .. } | DialError::NoTunnel(_) => (
            RefusalKind::GatewayUnavailable,
            "gateway_unavailable",
            CHECK_NETWORK,
        ),
        DialError::Refused(_) => (
            RefusalKind::ConnectionRefused,
            "connection_refused",
            ASK_OWNER,
        ),
        DialError::Reserved { .. } => (
            RefusalKind::AddressProhibited,
            "address_prohibited",
            "Tell your administrator: the site's name server gives a wrong answer.",
        ),
        DialError::TimedOut { .. } => (RefusalKind::Timeout, "timed_out", ASK_OWNER),
        DialError::TooMany => (
            RefusalKind::LimitReached,
            "too_many_connections",
            "Close some connections and try again.",
        ),
        DialError::Unaddressable(_) | DialError::Unsupported(_) => {
            (RefusalKind::Internal, "not_supported", NOT_CARRIED)
        }
    };
    Refusal::new(kind, code, sentence(&error.to_string())).with_remedy(remedy)
}

fn not_allowed(reason: &str) -> Refusal {
    Refusal::new(RefusalKind::NotAllowedHere, "not_allowed_here", reason)
}

/// Turns an error's text into a sentence; a name at its start stays as it is.
fn sentence(text: &str) -> String {
    let first_word = text.split(' ').next().unwrap_or_default();
    if first_word.contains(['.', ':']) {
        return format!("{text}.");
    }
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).chain(['.']).collect()
}

const ASK_OWNER: &str = "Try again later; if it stays, tell whoever runs the application.";
const CHECK_NETWORK: &str =
    "Check the network; the connector keeps trying. `ztna status` shows the gateways.";
const NOT_CARRIED: &str = "Tell your administrator that this version cannot carry it.";

/// Enough to keep the cores busy, few enough to leave threads for everything else.
const MAX_LOOKUPS: usize = 4;

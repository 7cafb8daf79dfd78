//! Decides and dials for the local proxy.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use connector_core::access::{Denial, Destination, Flow, Protocol, Reason, Workload};
use connector_core::name::DomainName;
use connector_platform::owner::{Owner, Owners};
use proxy::{Host, Refusal, RefusalKind, Target, Upstream};
use tunnel::userspace::{DialError, FlowStream, Userspace};

use super::authorizer::Authorizer;

/// What the proxy asks: who a client is, what it may reach, and the way there.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    authorizer: Authorizer,
    tunnel: Arc<Userspace>,
    owners: Arc<Mutex<Owners>>,
}

impl Gate {
    pub(crate) fn new(authorizer: Authorizer, tunnel: Arc<Userspace>) -> Self {
        Self {
            authorizer,
            tunnel,
            owners: Arc::default(),
        }
    }

    async fn open(&self, flow: &Flow) -> Result<FlowStream, Unopened> {
        let permit = self.authorizer.authorize(flow).await;
        let permit = permit.map_err(Unopened::Denied)?;
        self.tunnel
            .dial(permit)
            .await
            .map_err(Unopened::Unreachable)
    }

    async fn owner(&self, client: SocketAddr, local: SocketAddr) -> std::io::Result<Owner> {
        let owners = Arc::clone(&self.owners);
        tokio::task::spawn_blocking(move || {
            owners
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .of_tcp(client, local)
        })
        .await
        .map_err(std::io::Error::other)?
    }
}

/// Why a flow did not open.
enum Unopened {
    Denied(Denial),
    Unreachable(DialError),
}

impl Upstream for Gate {
    type Client = Workload;
    type Stream = FlowStream;

    async fn admit(&self, client: SocketAddr, local: SocketAddr) -> Result<Workload, Refusal> {
        match self.owner(client, local).await {
            Ok(owner) if owner.is_same_user => Ok(owner.workload),
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

    async fn connect(&self, client: &Workload, target: &Target) -> Result<FlowStream, Refusal> {
        let flow = Flow {
            destination: destination(&target.host)?,
            protocol: Protocol::Tcp(target.port),
            workload: client.clone(),
        };
        match self.open(&flow).await {
            // What the permit rested on changed between the answer and the
            // connection; nobody has said no.
            Err(Unopened::Unreachable(DialError::Cut(denial)))
                if denial.reason == Reason::LeaseExpired =>
            {
                self.open(&flow).await
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
            .catalogue()
            .resources()
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
        Reason::UnknownResource => RefusalKind::UnknownDestination,
        Reason::TooBusy => RefusalKind::LimitReached,
        Reason::ConfigurationExpired
        | Reason::LeaseExpired
        | Reason::NotConfigured
        | Reason::NotRecorded
        | Reason::Paused
        | Reason::PdpLate
        | Reason::PdpMalformed
        | Reason::PdpStatus(_)
        | Reason::PdpUnreachable
        | Reason::PolicyDenied
        | Reason::PortNotOffered
        | Reason::PostureUnmet
        | Reason::SessionExpired
        | Reason::SignedOut
        | Reason::Stopping => RefusalKind::Denied,
    };
    Refusal::new(kind, denial.reason.code(), denial.message()).with_remedy(denial.reason.remedy())
}

fn unreachable(error: &DialError) -> Refusal {
    let (kind, code) = match error {
        DialError::Cut(denial) => return refusal(denial),
        DialError::NameNotFound { .. } => (RefusalKind::NameNotResolved, "name_not_found"),
        DialError::NoGateway { .. } | DialError::NoTunnel(_) => {
            (RefusalKind::GatewayUnavailable, "gateway_unavailable")
        }
        DialError::Refused(_) => (RefusalKind::ConnectionRefused, "connection_refused"),
        DialError::Reserved { .. } => (RefusalKind::AddressProhibited, "address_prohibited"),
        DialError::TimedOut { .. } => (RefusalKind::Timeout, "timed_out"),
        DialError::TooMany => (RefusalKind::LimitReached, "too_many_connections"),
        DialError::Unaddressable(_) | DialError::Unsupported(_) => {
            (RefusalKind::Internal, "not_supported")
        }
    };
    Refusal::new(kind, code, sentence(&error.to_string()))
}

fn not_allowed(reason: &str) -> Refusal {
    Refusal::new(RefusalKind::NotAllowedHere, "not_allowed_here", reason)
}

/// Turns an error's text into a sentence.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).chain(['.']).collect()
}

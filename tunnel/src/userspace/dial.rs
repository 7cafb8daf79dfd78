use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use connector_core::access::{Denial, Destination, Permit, Protocol};
use connector_core::catalogue::{Endpoint, SiteId};
use connector_core::name::DomainName;
use connector_core::network::Prefix;

use super::flows::{Flows, OpenFlow};
use super::site::Site;
use super::stream::FlowStream;
use crate::netstack::{ConnectError, LookupError, TcpStream, look_up};

/// Spends `permit` on a connection through `site`, within `limit`.
pub(super) async fn dial(
    flows: &Arc<Flows>,
    site: &Site,
    permit: Permit,
    limit: Duration,
) -> Result<FlowStream, DialError> {
    let flow = permit.flow().clone();
    let Protocol::Tcp(port) = flow.protocol else {
        return Err(DialError::Unsupported(flow.protocol.transport()));
    };
    let open = flows.open(permit)?;
    let lease = Arc::clone(&open.lease);
    let connected = connect(site, &flow.destination, port, open);

    tokio::select! {
        biased;
        denial = lease.cut_off() => Err(DialError::Cut(denial)),
        connected = tokio::time::timeout(limit, connected) => connected.unwrap_or_else(|_| {
            Err(if site.is_reachable() {
                DialError::TimedOut { target: flow.to_string(), limit }
            } else {
                DialError::NoGateway { site: site.id().clone(), tried: site.endpoints(), limit }
            })
        }),
    }
}

async fn connect(
    site: &Site,
    destination: &Destination,
    port: u16,
    mut open: OpenFlow,
) -> Result<FlowStream, DialError> {
    let addresses = match destination {
        Destination::Address(address) => vec![*address],
        Destination::Name(name) => resolve(site, name).await?,
    };
    for address in addresses {
        let stream = TcpStream::connect(site.netstack(), SocketAddr::new(address, port))?;
        // From here on a cut resets the connection, under way or not.
        let attempt = FlowStream::new(open, stream);
        if attempt.established().await.is_ok() {
            return Ok(attempt);
        }
        open = attempt.give_up();
    }
    Err(DialError::Refused(format!("{destination}:{port}")))
}

async fn resolve(site: &Site, name: &DomainName) -> Result<Vec<IpAddr>, DialError> {
    let addresses = look_up(site.netstack(), name, site.resolvers())
        .await
        .map_err(|error| DialError::NameNotFound {
            name: name.to_string(),
            error,
        })?;
    // A name server must not lead us to ourselves or to everybody.
    for address in &addresses {
        if let Some(range) = Prefix::host(*address).reserved() {
            return Err(DialError::Reserved {
                name: name.to_string(),
                address: *address,
                range,
            });
        }
    }
    Ok(addresses)
}

/// Why a flow could not be opened, and whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The permit ended before the connection was made.
    #[error("{0}")]
    Cut(Denial),
    /// The site has no address for the name.
    #[error("{name} was not found behind the gateway: {error}")]
    NameNotFound {
        /// The name.
        name: String,
        /// What went wrong.
        error: LookupError,
    },
    /// No gateway of the site answered.
    #[error(
        "no gateway of site {site} answered within {limit:?}; tried {}",
        list(tried)
    )]
    NoGateway {
        /// The site.
        site: SiteId,
        /// Where its gateways were looked for.
        tried: Vec<Endpoint>,
        /// How long.
        limit: Duration,
    },
    /// There is no tunnel to the site.
    #[error("there is no tunnel to site {0}; the configuration has to name it")]
    NoTunnel(SiteId),
    /// The application refused the connection.
    #[error("{0} refused the connection: the application does not listen there")]
    Refused(String),
    /// The site's name server answered with an address that no application has.
    #[error("the site's name server leads {name} to {address}, which is reserved ({range})")]
    Reserved {
        /// The name.
        name: String,
        /// What it resolved to.
        address: IpAddr,
        /// What the address is reserved for.
        range: &'static str,
    },
    /// The gateway is there, but what lies behind it did not answer.
    #[error(
        "{target} did not answer within {limit:?}; the gateway is reachable, the application is not"
    )]
    TimedOut {
        /// What was dialled.
        target: String,
        /// How long.
        limit: Duration,
    },
    /// Too many connections are open.
    #[error("too many connections are open; close some and try again")]
    TooMany,
    /// The tunnel has no address to reach such an address from.
    #[error("{0} cannot be reached from the tunnel's own addresses")]
    Unaddressable(SocketAddr),
    /// Only TCP can be dialled.
    #[error("{0} cannot be carried without a network device; only tcp can")]
    Unsupported(&'static str),
}

impl From<ConnectError> for DialError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused => Self::Refused("the application".to_owned()),
            ConnectError::TooMany => Self::TooMany,
            ConnectError::Unaddressable(remote) => Self::Unaddressable(remote),
        }
    }
}

fn list(endpoints: &[Endpoint]) -> String {
    let texts: Vec<String> = endpoints.iter().map(Endpoint::to_string).collect();
    texts.join(", ")
}

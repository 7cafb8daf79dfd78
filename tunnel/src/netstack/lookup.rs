use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use connector_core::name::DomainName;
use tokio::time::{Instant, timeout_at};
use tunnel_proto::dns::{Answer, Query, RecordKind};

use super::{Netstack, UdpSocket};

/// Asks the name servers of a site for the addresses of `name`: IPv4 first,
/// then IPv6. Takes as long as it takes: the caller bounds the time.
///
/// # Errors
///
/// The name does not exist, or no server answers the question.
pub async fn look_up(
    netstack: &Arc<Netstack>,
    name: &DomainName,
    servers: &[IpAddr],
) -> Result<Vec<IpAddr>, LookupError> {
    if servers.is_empty() {
        return Err(LookupError::NoServers);
    }
    for kind in [RecordKind::A, RecordKind::Aaaa] {
        match ask(netstack, name, kind, servers).await? {
            Answer::Addresses(addresses) if !addresses.is_empty() => return Ok(addresses),
            Answer::Addresses(_) => {}
            Answer::NoSuchName => return Err(LookupError::NoSuchName),
            Answer::Failed(code) => return Err(LookupError::Failed(code)),
        }
    }
    Err(LookupError::NoSuchName)
}

async fn ask(
    netstack: &Arc<Netstack>,
    name: &DomainName,
    kind: RecordKind,
    servers: &[IpAddr],
) -> Result<Answer, LookupError> {
    for server in servers.iter().cycle() {
        // A fresh port and number for every question leave nothing to guess.
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(|_| LookupError::NoRandomness)?;
        let query = Query {
            id: u16::from_le_bytes(id),
            name: name.clone(),
            kind,
        };
        let server = SocketAddr::new(*server, DNS_PORT);
        let socket = UdpSocket::bind(netstack, None).ok_or(LookupError::NoServers)?;
        socket.send_to(&query.encode(), server);

        let deadline = Instant::now() + ASK_AGAIN;
        while let Ok((message, sender)) = timeout_at(deadline, socket.receive()).await {
            let answer = query
                .decode_answer(&message)
                .filter(|_| sender.remote() == server);
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }
    Err(LookupError::NoServers)
}

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The name server answered with this code (RFC 1035, section 4.1.1).
    #[error("the site's name server answered with code {0}")]
    Failed(u16),
    /// The system has no random numbers.
    #[error("the system gave no random numbers")]
    NoRandomness,
    /// The site has no name servers.
    #[error("the site has no name servers; its configuration must list them")]
    NoServers,
    /// The name does not exist at the site.
    #[error("the site knows no such name")]
    NoSuchName,
}

const DNS_PORT: u16 = 53;

/// Lost questions are common on a path that is being set up.
const ASK_AGAIN: Duration = Duration::from_secs(1);

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use connector_core::catalogue::GatewayId;
use connector_core::name::DomainName;
use tokio::task::JoinSet;

/// Look-ups of gateways' names by the system's resolver, at most one for each
/// gateway; they end with their owner.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    running: JoinSet<(GatewayId, Vec<SocketAddr>)>,
    asked: BTreeSet<GatewayId>,
}

impl Lookups {
    /// Starts to look a name up, unless that is under way.
    pub(super) fn start(&mut self, gateway: GatewayId, host: DomainName, port: u16) {
        if !self.asked.insert(gateway.clone()) {
            return;
        }
        self.running.spawn(async move {
            let found = look_up(&host, port).await;
            (gateway, found)
        });
    }

    /// Waits for the next answer; it has no addresses if the look-up failed.
    /// Waits forever while nothing is looked up.
    pub(super) async fn next(&mut self) -> (GatewayId, Vec<SocketAddr>) {
        loop {
            match self.running.join_next().await {
                Some(Ok((gateway, found))) => {
                    self.asked.remove(&gateway);
                    return (gateway, found);
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "A look-up of a gateway's name broke off");
                    self.asked.clear();
                }
                None => std::future::pending().await,
            }
        }
    }
}

async fn look_up(host: &DomainName, port: u16) -> Vec<SocketAddr> {
    let lookup = tokio::net::lookup_host((host.as_str(), port));
    match tokio::time::timeout(LOOKUP_LIMIT, lookup).await {
        Ok(Ok(found)) => found.take(MAX_ADDRESSES).collect(),
        Ok(Err(error)) => {
            tracing::debug!(%host, %error, "A gateway's name was not found");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(%host, "A gateway's name was not found in time");
            Vec::new()
        }
    }
}

/// As long as resolvers wait for one server.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// More than any gateway has.
const MAX_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_looked_up_once_at_a_time() {
        let mut lookups = Lookups::default();
        let gateway = GatewayId::from("gw");
        let host: DomainName = "localhost".parse().unwrap();

        lookups.start(gateway.clone(), host.clone(), 7);
        lookups.start(gateway.clone(), host.clone(), 7);
        assert_eq!(lookups.running.len(), 1);
        let (found, addresses) = lookups.next().await;

        assert_eq!(found, gateway);
        assert!(
            addresses.contains(&"127.0.0.1:7".parse().unwrap()),
            "{addresses:?}"
        );
        lookups.start(gateway, host, 7);
        assert_eq!(lookups.running.len(), 1, "it may be asked again");
    }
}

use std::net::SocketAddr;
use std::time::Duration;

use connector_core::catalogue::{Endpoint, GatewayId};
use connector_core::time::Moment;

use super::choice::Phase;
use super::path::Path;
use super::{Behind, Gateways};

/// How one gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayStatus {
    /// Which one.
    pub id: GatewayId,
    /// Where it listens, as configured.
    pub endpoint: Endpoint,
    /// Where datagrams for it go, unless its name still has to be looked up.
    pub address: Option<SocketAddr>,
    /// What it is doing for us.
    pub state: GatewayState,
    /// When the last handshake with it was done.
    pub last_handshake: Option<Moment>,
    /// How long the last handshake that we started took: one round trip and
    /// the gateway's thinking.
    pub handshake_took: Option<Duration>,
    /// What came of asking behind it; none unless it is in use, and somebody watched.
    pub behind: Option<Behind>,
    /// Bytes of datagrams received from it.
    pub received_bytes: u64,
    /// Bytes of datagrams sent to it.
    pub sent_bytes: u64,
}

/// What a gateway is doing for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayState {
    /// We called it, or look its name up to call it, and wait for an answer.
    Calling,
    /// It is not needed.
    Idle,
    /// It carries the site's packets.
    InUse,
    /// It did not answer when it was last called.
    Silent,
}

impl Gateways {
    /// Returns how each gateway is, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<GatewayStatus> {
        self.paths
            .iter()
            .enumerate()
            .map(|(number, path)| {
                let state = self.state_of(number, path);
                let is_in_use = state == GatewayState::InUse;
                let behind = self.inquiry.report().filter(|_| is_in_use);
                path.status(state, behind)
            })
            .collect()
    }

    fn state_of(&self, number: usize, path: &Path) -> GatewayState {
        match self.phase {
            Phase::Calling { path, .. } if path == number => GatewayState::Calling,
            Phase::Using { path: used, doubt } if used == number => match doubt {
                None if path.peer.has_session() => GatewayState::InUse,
                None => GatewayState::Idle,
                Some(_) => GatewayState::Calling,
            },
            Phase::Calling { .. } | Phase::Resting { .. } | Phase::Using { .. } => {
                if path.silent_since.is_some() {
                    GatewayState::Silent
                } else {
                    GatewayState::Idle
                }
            }
        }
    }
}

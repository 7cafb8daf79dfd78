use std::collections::VecDeque;
use std::sync::Arc;

use connector_core::catalogue::{self, SiteId};
use connector_core::time::Moment;
use tunnel_proto::Seed;
use tunnel_proto::gateways::{GatewayStatus, Gateways, TunnelConfig};
use tunnel_proto::noise::SessionIndex;
use tunnel_proto::offload::VirtioHeader;
use tunnel_proto::router::{self, SiteIndex};

use crate::userspace::{Dropped, SiteStatus};

/// One site's tunnel: its gateways, and what waits for one of them.
#[derive(Debug)]
pub(super) struct SiteTunnel {
    site: Arc<catalogue::Site>,
    config: TunnelConfig,
    pub(super) number: SiteIndex,
    pub(super) gateways: Gateways,
    waiting: VecDeque<Waiting>,
    /// Whether somebody was turned away because no gateway answers.
    is_wanted: bool,
    pub(super) dropped: Dropped,
}

/// A packet that waits for a gateway.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) header: VirtioHeader,
    pub(super) packet: Vec<u8>,
    pub(super) expects_answer: bool,
}

impl SiteTunnel {
    pub(super) fn new(
        site: &Arc<catalogue::Site>,
        config: TunnelConfig,
        seed: Seed,
        now: Moment,
    ) -> Self {
        Self {
            gateways: Gateways::new(&config, &site.gateways, seed, now),
            site: Arc::clone(site),
            config,
            number: SiteIndex(u16::MAX),
            waiting: VecDeque::new(),
            is_wanted: false,
            dropped: Dropped::default(),
        }
    }

    pub(super) fn is_for(&self, site: &catalogue::Site, config: &TunnelConfig) -> bool {
        *self.site == *site && self.config == *config
    }

    pub(super) fn id(&self) -> &SiteId {
        &self.site.id
    }

    pub(super) fn owns(&self, index: SessionIndex) -> bool {
        self.gateways.owns(index)
    }

    /// Returns what the router has to know.
    pub(super) fn for_router(&self) -> router::Site {
        router::Site {
            id: self.site.id.clone(),
            addresses: self.config.addresses.clone(),
            resolvers: self.site.resolvers.clone(),
        }
    }

    /// Keeps a packet until a gateway can take it; the oldest goes first.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(waiting);
    }

    /// Notes that somebody was turned away who would have sent.
    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// Returns whether anybody has wanted to send and could not.
    pub(super) fn take_demand(&mut self) -> bool {
        std::mem::take(&mut self.is_wanted) || !self.waiting.is_empty()
    }

    /// Takes the next packet that a gateway can take now.
    pub(super) fn next_waiting(&mut self) -> Option<Waiting> {
        if self.gateways.can_send() {
            self.waiting.pop_front()
        } else {
            None
        }
    }

    pub(super) fn status(&self, strangers: u64, is_narrow: bool) -> SiteStatus {
        SiteStatus {
            id: self.site.id.clone(),
            addresses: self.config.addresses.clone(),
            gateways: self.gateways.status(),
            dropped: Dropped {
                strangers,
                ..self.dropped.clone()
            },
            is_narrow,
        }
    }
}

/// Returns whether two reports differ in more than their byte counts.
pub(super) fn changed(before: &[SiteStatus], after: &[SiteStatus]) -> bool {
    let same_gateways = |before: &[GatewayStatus], after: &[GatewayStatus]| {
        before.len() == after.len()
            && before.iter().zip(after).all(|(before, after)| {
                before.state == after.state
                    && before.last_handshake == after.last_handshake
                    && before.behind == after.behind
            })
    };
    before.len() != after.len()
        || before.iter().zip(after).any(|(before, after)| {
            before.id != after.id || !same_gateways(&before.gateways, &after.gateways)
        })
}

/// Packets that wait while gateways are called: the beginnings of connections.
const MAX_WAITING: usize = 64;

//! Later fragments have no ports: they follow the first one of their datagram.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use connector_core::time::Moment;

use super::SiteIndex;
use super::table::FlowId;
use crate::packet::{Fragment, Headers};

/// First fragments that were seen a short while ago.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    outward: VecDeque<Seen>,
    inward: VecDeque<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    site: Option<SiteIndex>,
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    flow: FlowId,
    at: Moment,
}

impl Fragments {
    pub(super) fn note_outward(&mut self, headers: &Headers, flow: FlowId, now: Moment) {
        note(&mut self.outward, None, headers, flow, now);
    }

    pub(super) fn note_inward(
        &mut self,
        site: SiteIndex,
        headers: &Headers,
        flow: FlowId,
        now: Moment,
    ) {
        note(&mut self.inward, Some(site), headers, flow, now);
    }

    pub(super) fn find_outward(&self, headers: &Headers, now: Moment) -> Option<FlowId> {
        find(&self.outward, None, headers, now)
    }

    pub(super) fn find_inward(
        &self,
        site: SiteIndex,
        headers: &Headers,
        now: Moment,
    ) -> Option<FlowId> {
        find(&self.inward, Some(site), headers, now)
    }

    /// Forgets the fragments of a flow that is gone, since its place may be taken again.
    pub(super) fn forget(&mut self, flow: FlowId) {
        self.outward.retain(|seen| seen.flow != flow);
        self.inward.retain(|seen| seen.flow != flow);
    }
}

fn note(
    seen: &mut VecDeque<Seen>,
    site: Option<SiteIndex>,
    headers: &Headers,
    flow: FlowId,
    now: Moment,
) {
    let Some(Fragment { id, .. }) = headers.fragment else {
        return;
    };
    if seen.len() == MAX_DATAGRAMS {
        seen.pop_front();
    }
    seen.push_back(Seen {
        site,
        source: headers.source,
        destination: headers.destination,
        id,
        flow,
        at: now,
    });
}

fn find(
    seen: &VecDeque<Seen>,
    site: Option<SiteIndex>,
    headers: &Headers,
    now: Moment,
) -> Option<FlowId> {
    let id = headers.fragment?.id;
    seen.iter()
        .rev()
        .find(|seen| {
            seen.site == site
                && seen.id == id
                && seen.source == headers.source
                && seen.destination == headers.destination
                && now.since(seen.at) < REASSEMBLY
        })
        .map(|seen| seen.flow)
}

/// Datagrams in pieces that are under way at one time.
const MAX_DATAGRAMS: usize = 64;

/// How long a receiver waits for the rest (RFC 8200, section 4.5).
const REASSEMBLY: Duration = Duration::from_secs(60);

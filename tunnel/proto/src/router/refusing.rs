//! What programs are answered whose packets are not carried.

use std::time::Duration;

use connector_core::access::{Denial, Flow};
use connector_core::time::Moment;

use super::opening::{Asked, Parked};
use super::{Output, Router, Unreachable};
use crate::packet::{self, Carried, Ends, Headers, Kind};

/// A flow that was refused a moment ago.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    pub(super) until: Moment,
    pub(super) is_unreachable: bool,
}

impl Router {
    pub(super) fn refuse(
        &mut self,
        ends: Ends,
        flow: Flow,
        denial: Denial,
        asked: Asked,
        now: Moment,
    ) {
        if let Some(opening) = self.openings.remove(&ends) {
            self.refuse_packets(ends, opening.parked, false, now);
        }
        if asked == Asked::No {
            self.outputs.push_back(Output::Refused { flow, denial });
        }
    }

    pub(super) fn give_up(&mut self, ends: Ends, flow: Flow, problem: Unreachable, now: Moment) {
        if let Some(opening) = self.openings.remove(&ends) {
            self.refuse_packets(ends, opening.parked, true, now);
        }
        self.outputs
            .push_back(Output::Unreachable { flow, problem });
    }

    pub(super) fn refuse_packets(
        &mut self,
        ends: Ends,
        parked: Vec<Parked>,
        is_unreachable: bool,
        now: Moment,
    ) {
        for parked in parked {
            if let Some(headers) = Headers::parse(&parked.packet) {
                self.answer_refused(&parked.packet, &headers, is_unreachable);
            }
        }
        // A connection is not repeated after a reset; whatever else is repeated
        // gets the same answer for a while, without asking anybody.
        if ends.carried != Carried::Tcp && self.refused.len() < MAX_REFUSED {
            let until = now + REFUSED_FOR;
            let refused = Refused {
                until,
                is_unreachable,
            };
            self.refused.insert(ends, refused);
            self.sweep_soon(now);
        }
    }

    pub(super) fn answer_refused(
        &mut self,
        packet: &[u8],
        headers: &Headers,
        is_unreachable: bool,
    ) {
        self.counters.refused += 1;
        let reply = match (headers.kind, headers.ends()) {
            _ if is_unreachable => packet::unreachable(packet, headers),
            (Kind::Tcp(tcp), Some(ends)) => packet::reset_of(ends, &tcp),
            _ => packet::prohibited(packet, headers),
        };
        self.answer(reply);
    }
}

/// Refusals that are remembered at one time.
const MAX_REFUSED: usize = 1024;

/// How long the same answer is given to whatever is repeated.
const REFUSED_FOR: Duration = Duration::from_secs(2);

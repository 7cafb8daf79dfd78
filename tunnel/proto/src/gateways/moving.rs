//! What a device that moves, sleeps, or looks names up tells its gateways.

use std::net::SocketAddr;
use std::time::Duration;

use connector_core::catalogue::{Endpoint, GatewayId};
use connector_core::name::DomainName;
use connector_core::time::Moment;

use super::Gateways;
use super::choice::{Call, DOUBT_AGAIN, Phase, RECHECK};
use super::path::Path;

/// Addresses and routes change several times within one move: the first change
/// is acted on at once, those that follow closely are acted on together.
#[derive(Debug, Default)]
pub(super) struct Settling {
    until: Moment,
    again: bool,
}

impl Gateways {
    /// Tells that the machine's addresses or routes changed.
    ///
    /// The gateway in use is spoken to at once, in its session, so that it sends
    /// to where we are now; it is called if nothing is heard from it soon. When
    /// none is in use, calling starts over at once.
    pub fn network_changed(&mut self, now: Moment) {
        if self.settling.until > now {
            self.settling.again = true;
        } else {
            self.look_around(now);
        }
    }

    /// Tells that the machine slept for `asleep` and woke up: sessions that
    /// outlived their keys are dropped, and a handshake is made at once.
    pub fn resumed(&mut self, asleep: Duration, now: Moment) {
        for path in &mut self.paths {
            path.resumed(asleep, now);
            path.look_up(Duration::ZERO, now);
        }
        self.recheck_at = now + RECHECK;
        match self.phase {
            Phase::Using { path, .. } if self.paths[path].peer.has_session() => {
                self.phase = Phase::Using { path, doubt: None };
                self.paths[path].probe(DOUBT_AGAIN, now);
                self.inquiry.forget();
                self.ask_behind_if_wanted(now);
            }
            Phase::Using { path, .. } => self.start_calling(path, 0, now),
            Phase::Calling { .. } | Phase::Resting { .. } => self.start_over(now),
        }
    }

    /// Tells where a gateway that is configured by name is to be reached:
    /// datagrams go there from now on, and it is called there if it is in use
    /// or wanted. Gateways that are not, or not by name, stay as they are.
    pub fn set_endpoint(&mut self, id: &GatewayId, address: SocketAddr, now: Moment) {
        let Some(number) = self.named(id) else { return };
        let path = &mut self.paths[number];
        if path.address.replace(address) == Some(address) {
            return;
        }
        match self.phase {
            Phase::Calling { path, passed, .. } if path == number => {
                self.start_calling(path, passed, now);
            }
            Phase::Using { path, doubt: None } if path == number => {
                self.paths[path].probe(DOUBT_AGAIN, now);
            }
            Phase::Using {
                path,
                doubt: Some(_),
            } if path == number => {
                self.start_doubting(path, now);
            }
            Phase::Resting { .. } => path.call(now),
            // A better one begins to show that it is steady.
            Phase::Using { path: used, .. } if number < used => path.call(now),
            Phase::Calling { .. } | Phase::Using { .. } => {}
        }
    }

    /// Tells every address that a look-up found, none if it failed. Of several
    /// the first is taken, and the next one whenever the gateway fell silent.
    pub fn handle_lookup(&mut self, id: &GatewayId, addresses: &[SocketAddr], now: Moment) {
        let Some(number) = self.named(id) else { return };
        let path = &self.paths[number];
        let current = addresses
            .iter()
            .position(|address| Some(*address) == path.address);
        let chosen = match current {
            Some(current) if path.silent_since.is_some() => (current + 1) % addresses.len(),
            Some(current) => current,
            None => 0,
        };
        if let Some(chosen) = addresses.get(chosen) {
            self.set_endpoint(id, *chosen, now);
            return;
        }
        // There is nothing to wait for.
        if let Phase::Calling { path, passed, .. } = self.phase
            && path == number
            && self.paths[path].address.is_none()
        {
            self.give_up_calling(path, passed, now);
        }
    }

    /// Returns the next gateway whose name is to be looked up, outside the
    /// tunnel; the answer goes to [`handle_lookup`](Self::handle_lookup) or
    /// [`set_endpoint`](Self::set_endpoint). It is asked for again if none comes.
    #[must_use]
    pub fn poll_resolve(&mut self) -> Option<(GatewayId, DomainName, u16)> {
        self.paths.iter_mut().find_map(Path::poll_resolve)
    }

    /// Returns every gateway that is configured by name.
    pub fn names(&self) -> impl Iterator<Item = (&GatewayId, &DomainName, u16)> {
        self.paths.iter().filter_map(|path| match &path.endpoint {
            Endpoint::Address(_) => None,
            Endpoint::Name { host, port } => Some((&path.id, host, *port)),
        })
    }

    /// Makes sure that the network as it is now leads to the gateway and back.
    pub(super) fn look_around(&mut self, now: Moment) {
        self.settling = Settling {
            until: now + SETTLE,
            again: false,
        };
        for path in &mut self.paths {
            path.look_up(Duration::ZERO, now);
        }
        match self.phase {
            Phase::Using { path, doubt: None } if self.paths[path].peer.has_session() => {
                self.paths[path].speak_up(HEARD_WITHIN, now);
                self.inquiry.forget();
                self.ask_behind_if_wanted(now);
            }
            Phase::Using { path, doubt: None } => {
                if self.keepalive.is_some() || self.wanted || self.busy {
                    self.start_calling(path, 0, now);
                }
            }
            Phase::Using {
                path,
                doubt: Some(_),
            } => {
                self.paths[path].peer.keep_alive(now);
                self.start_doubting(path, now);
            }
            Phase::Calling { .. } | Phase::Resting { .. } => self.start_over(now),
        }
    }

    fn start_over(&mut self, now: Moment) {
        self.lost_rounds = 0;
        self.lost = false;
        self.start_calling(0, 0, now);
    }

    fn start_doubting(&mut self, path: usize, now: Moment) {
        self.paths[path].call(now);
        let doubt = Some(Call::first(now));
        self.phase = Phase::Using { path, doubt };
    }

    fn named(&self, id: &GatewayId) -> Option<usize> {
        self.paths
            .iter()
            .position(|path| path.id == *id && path.endpoint.address().is_none())
    }
}

impl Settling {
    pub(super) fn due(&self) -> Option<Moment> {
        self.again.then_some(self.until)
    }

    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.due().is_some_and(|due| due <= now)
    }
}

/// Longer than the burst of events that one change makes, and short enough for
/// the last of them to be acted on within a person's reaction time.
const SETTLE: Duration = Duration::from_millis(100);

/// A round trip to anywhere on Earth: a gateway that carries a transfer was
/// heard by then, one that is idle is called.
const HEARD_WITHIN: Duration = Duration::from_millis(300);

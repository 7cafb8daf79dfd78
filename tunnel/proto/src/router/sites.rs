//! The sites that packets are carried to, and how the way there is.

use std::time::Duration;

use connector_core::access::Reason;
use connector_core::catalogue::SiteId;
use connector_core::time::Moment;

use super::{LEAST_MTU, Router, Site, SiteIndex};

#[derive(Debug)]
pub(super) struct SiteState {
    pub(super) site: Site,
    /// Until when only packets of [`LEAST_MTU`] are sent, since longer ones vanished.
    pub(super) lowered_until: Option<Moment>,
    /// Whether a long packet has come from there since this machine last moved.
    pub(super) is_proven: bool,
    /// Whether a gateway of it answers, or may: some have yet to be called.
    pub(super) is_reachable: bool,
}

impl Router {
    /// Sets the sites that there are tunnels to; flows to those that are gone or
    /// changed are cut. Returns each site's number.
    pub fn set_sites(&mut self, sites: Vec<Site>, now: Moment) -> Vec<SiteIndex> {
        let mut numbers = Vec::with_capacity(sites.len());
        let mut gone: Vec<usize> = (0..self.sites.len()).collect();
        for site in sites {
            let kept = self.sites.iter().position(|known| {
                known
                    .as_ref()
                    .is_some_and(|known| known.site.id == site.id && known.site == site)
            });
            let at = match kept {
                Some(at) => at,
                None => {
                    self.sites.push(Some(SiteState {
                        site,
                        lowered_until: None,
                        is_proven: false,
                        is_reachable: true,
                    }));
                    self.sites.len() - 1
                }
            };
            gone.retain(|number| *number != at);
            numbers.push(SiteIndex(u16::try_from(at).unwrap_or(u16::MAX)));
        }
        for at in gone {
            if self.sites[at].take().is_some() {
                let site = SiteIndex(u16::try_from(at).unwrap_or(u16::MAX));
                self.cut_where(now, |entry| {
                    (entry.site == site).then(|| Reason::LeaseExpired.into())
                });
            }
        }
        numbers
    }

    /// Tells whether any gateway of a site answers. While none does, programs are
    /// told so rather than left to wait, and the driver that somebody does
    /// ([`Output::Wanted`](super::Output::Wanted)).
    pub fn set_reachable(&mut self, site: SiteIndex, is_reachable: bool, now: Moment) {
        let state = self
            .sites
            .get_mut(usize::from(site.0))
            .and_then(Option::as_mut);
        let Some(state) = state.filter(|state| state.is_reachable != is_reachable) else {
            return;
        };
        state.is_reachable = is_reachable;
        if !is_reachable {
            let id = state.site.id.clone();
            self.give_up_resolving(&id, now);
        }
    }

    /// Tells that the machine moved: the way to the sites may carry long packets again.
    pub fn network_changed(&mut self) {
        for site in self.sites.iter_mut().flatten() {
            site.lowered_until = None;
            site.is_proven = false;
        }
    }

    /// Returns whether only short packets are sent to a site, since longer ones vanished.
    #[must_use]
    pub fn is_narrow(&self, site: SiteIndex, now: Moment) -> bool {
        let lowered = self.site(site).and_then(|state| state.lowered_until);
        lowered.is_some_and(|until| until > now)
    }

    pub(super) fn site(&self, index: SiteIndex) -> Option<&SiteState> {
        self.sites.get(usize::from(index.0))?.as_ref()
    }

    pub(super) fn site_called(&self, id: &SiteId) -> Option<(SiteIndex, &Site)> {
        self.sites.iter().enumerate().find_map(|(at, state)| {
            let site = &state.as_ref()?.site;
            (site.id == *id).then(|| (SiteIndex(u16::try_from(at).unwrap_or(u16::MAX)), site))
        })
    }
}

/// Returns whether any gateway of a site answers, or may.
pub(super) fn is_reachable(sites: &[Option<SiteState>], site: SiteIndex) -> bool {
    let state = sites.get(usize::from(site.0)).and_then(Option::as_ref);
    state.is_some_and(|state| state.is_reachable)
}

/// Sends only short packets to a site for a while.
pub(super) fn lower_mtu(sites: &mut [Option<SiteState>], site: SiteIndex, now: Moment) {
    if let Some(state) = sites.get_mut(usize::from(site.0)).and_then(Option::as_mut) {
        state.lowered_until = Some(now + LOWERED_FOR);
    }
}

/// Returns the longest packet that is thought to get to a site.
pub(super) fn mtu(sites: &mut [Option<SiteState>], site: SiteIndex, now: Moment) -> u16 {
    let Some(state) = sites.get_mut(usize::from(site.0)).and_then(Option::as_mut) else {
        return u16::MAX;
    };
    if state.lowered_until.is_some_and(|until| until <= now) {
        state.lowered_until = None;
    }
    match state.lowered_until {
        Some(_) => LEAST_MTU,
        None => u16::MAX,
    }
}

/// As long as systems remember what a path carries (RFC 8201, section 5.2).
const LOWERED_FOR: Duration = Duration::from_secs(600);

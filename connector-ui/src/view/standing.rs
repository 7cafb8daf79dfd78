use connector_ipc::{
    BehindReport, GatewayState, InterceptionReport, ResourceState, SiteReport, Standing, Status,
};

use super::{Known, Snapshot};
use crate::icon::{Colour, Icon, Shape};

/// Where the connector stands, as people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The device's state keeps everything closed.
    BlockedByDevice,
    /// No gateway answers.
    BlockedByNetwork,
    /// All is well.
    Connected,
    /// The tunnel is coming up.
    Connecting,
    /// Another user of this computer is signed in.
    InUse,
    /// No service answers.
    NotRunning,
    /// Connected, but the company's server cannot be reached; what it said last holds for a time.
    Offline,
    /// Switched off.
    Paused,
    /// Connected, but a check of the device does not pass.
    Restricted,
    /// Nobody is signed in.
    SignedOut,
    /// The person is signing in.
    SigningIn,
    /// No configuration has come yet.
    Starting,
    /// Connected, but something is not as it should be.
    Warning,
}

impl State {
    /// Says where the connector stands. It is connected only while the service says so and a
    /// gateway carries packets.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let known = match snapshot {
            Snapshot::NotRunning => return Self::NotRunning,
            Snapshot::Running(known) => known.as_ref(),
        };
        let status = &known.status;
        match status.standing {
            Standing::Connected | Standing::Restricted => Self::of_connected(known),
            Standing::Connecting => Self::Connecting,
            Standing::Degraded => Self::BlockedByNetwork,
            Standing::InUse => Self::InUse,
            Standing::Paused => Self::Paused,
            Standing::SignedOut => Self::SignedOut,
            Standing::SigningIn => Self::SigningIn,
            Standing::Starting => Self::Starting,
        }
    }

    fn of_connected(known: &Known) -> Self {
        let status = &known.status;
        if !status.tunnel.sites.iter().any(answers) {
            return Self::Connecting;
        }
        if status.standing == Standing::Restricted || status.checks_unmet > 0 {
            let is_refused = |state| state == ResourceState::Denied;
            let nothing_is_left = !known.resources.is_empty()
                && known.resources.iter().all(|known| is_refused(known.state));
            return match nothing_is_left {
                true => Self::BlockedByDevice,
                false => Self::Restricted,
            };
        }
        if !status.control_plane_reachable {
            return Self::Offline;
        }
        match troubles(status).next() {
            Some(_) => Self::Warning,
            None => Self::Connected,
        }
    }

    /// Returns whether the person may take it that protected applications are reached.
    #[must_use]
    pub const fn is_connected(self) -> bool {
        matches!(
            self,
            Self::Connected | Self::Offline | Self::Restricted | Self::Warning
        )
    }

    /// Returns the icon.
    #[must_use]
    pub const fn icon(self) -> Icon {
        let (shape, colour) = match self {
            Self::BlockedByDevice | Self::BlockedByNetwork => (Shape::Barred, Colour::Red),
            Self::Connected => (Shape::Ticked, Colour::Green),
            Self::Connecting | Self::Starting => (Shape::Open, Colour::Blue),
            Self::InUse => (Shape::Ring, Colour::Amber),
            Self::NotRunning => (Shape::Cross, Colour::Red),
            Self::Offline => (Shape::Half, Colour::Amber),
            Self::Paused => (Shape::Bars, Colour::Grey),
            Self::Restricted => (Shape::Diamond, Colour::Amber),
            Self::SignedOut => (Shape::Ring, Colour::Grey),
            Self::SigningIn => (Shape::Dotted, Colour::Blue),
            Self::Warning => (Shape::Warning, Colour::Amber),
        };
        Icon { shape, colour }
    }

    /// Returns the key of the text that names the state.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::BlockedByDevice => "state-blocked-by-device",
            Self::BlockedByNetwork => "state-blocked-by-network",
            Self::Connected => "state-connected",
            Self::Connecting => "state-connecting",
            Self::InUse => "state-in-use",
            Self::NotRunning => "state-not-running",
            Self::Offline => "state-offline",
            Self::Paused => "state-paused",
            Self::Restricted => "state-restricted",
            Self::SignedOut => "state-signed-out",
            Self::SigningIn => "state-signing-in",
            Self::Starting => "state-starting",
            Self::Warning => "state-warning",
        }
    }

    /// Returns the key of the text that offers to sign in, unless nobody can now.
    pub(crate) const fn sign_in(self) -> Option<&'static str> {
        match self {
            Self::InUse | Self::Starting => None,
            Self::SigningIn => Some("sign-in-again"),
            Self::BlockedByDevice
            | Self::BlockedByNetwork
            | Self::Connected
            | Self::Connecting
            | Self::NotRunning
            | Self::Offline
            | Self::Paused
            | Self::Restricted
            | Self::SignedOut
            | Self::Warning => Some("sign-in"),
        }
    }

    pub(super) const fn needs_attention(self) -> bool {
        matches!(
            self,
            Self::BlockedByDevice | Self::BlockedByNetwork | Self::NotRunning | Self::SignedOut
        )
    }
}

/// What is not as it should be while the connector is connected.
pub(super) enum Trouble<'a> {
    /// A gateway of a site answers, and nothing behind it does.
    Behind(&'a str),
    /// Traffic of programs cannot be taken.
    Interception(&'a str),
    /// Decisions cannot be written or delivered.
    Records(&'a str),
    /// No gateway of a site answers.
    Site(&'a str),
}

pub(super) fn troubles(status: &Status) -> impl Iterator<Item = Trouble<'_>> {
    let interception = match &status.interception {
        Some(InterceptionReport::Failed { problem }) => Some(Trouble::Interception(problem)),
        Some(InterceptionReport::Down | InterceptionReport::Up { .. }) | None => None,
    };
    let records = status.records.as_ref();
    let records = records.and_then(|records| Some(Trouble::Records(records.problem.as_deref()?)));
    let sites = status.tunnel.sites.iter().filter(|site| is_silent(site));
    let dead_ends = status.tunnel.sites.iter().filter(|site| is_dead_end(site));
    interception
        .into_iter()
        .chain(sites.map(|site| Trouble::Site(&site.id)))
        .chain(dead_ends.map(|site| Trouble::Behind(&site.id)))
        .chain(records)
}

/// Returns whether a gateway carries the site's packets.
pub(super) fn answers(site: &SiteReport) -> bool {
    let mut states = site.gateways.iter().map(|gateway| gateway.state);
    states.any(|state| state == GatewayState::Active)
}

/// Returns whether a gateway carries the site's packets to where nothing answers.
fn is_dead_end(site: &SiteReport) -> bool {
    let mut gateways = site.gateways.iter();
    gateways.any(|gateway| gateway.behind == Some(BehindReport::Silent))
}

/// Returns whether no gateway of the site answered when it was last called.
pub(crate) fn is_silent(site: &SiteReport) -> bool {
    let is_down = |state| state == GatewayState::Down;
    let states = || site.gateways.iter().map(|gateway| gateway.state);
    !states().any(|state| state == GatewayState::Active) && states().any(is_down)
}

use std::fmt;
use std::sync::Arc;

/// Why a flow was refused. Shown to the user, recorded, never swallowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rule that refused.
    pub reason: Reason,
    /// What the policy wants the person to read, if it said anything.
    pub explanation: Option<Arc<str>>,
}

impl Denial {
    /// Returns what to tell the person.
    #[must_use]
    pub fn message(&self) -> &str {
        match &self.explanation {
            Some(explanation) => explanation,
            None => self.reason.message(),
        }
    }
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            explanation: None,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Denial {}

/// The rule that refused a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The last signed configuration is past its expiry.
    ConfigurationExpired,
    /// The program may act for the person only with their consent.
    DelegationNeeded,
    /// No policy could ever permit this to the person, who must not learn that it is there:
    /// in every word as [`UnknownResource`](Self::UnknownResource).
    Hidden,
    /// The permit ran out and was not renewed.
    LeaseExpired,
    /// No signed configuration has arrived yet.
    NotConfigured,
    /// The decision could not be written to the log.
    NotRecorded,
    /// No policy could be asked for longer than the permission lasts without one.
    Offline,
    /// The program belongs to another user of the machine than the one who signed in, or
    /// nobody can tell to whom it belongs.
    OtherUser,
    /// The person switched the connector off with `ztna down`.
    Paused,
    /// The policy decision point did not answer in time.
    PdpLate,
    /// The policy decision point answered something that is no decision.
    PdpMalformed,
    /// The policy decision point answered with an error status.
    PdpStatus(u16),
    /// The policy decision point could not be reached.
    PdpUnreachable,
    /// The policy says no.
    PolicyDenied,
    /// The resource exists but not on this port.
    PortNotOffered,
    /// The policy says no because of the device's state.
    PostureUnmet,
    /// The session's time is over.
    SessionExpired,
    /// The company ended the session.
    SessionRevoked,
    /// Nothing was heard for too long from where the company would say that access ends.
    SignalsSilent,
    /// Nobody is signed in.
    SignedOut,
    /// The service is stopping.
    Stopping,
    /// Too many decisions are waiting.
    TooBusy,
    /// No resource has this name or address.
    UnknownResource,
}

impl Reason {
    /// Returns the token used in records, JSON output and `Proxy-Status`.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.texts().0
    }

    /// Returns what happened, for people.
    #[must_use]
    pub fn message(self) -> &'static str {
        self.texts().1
    }

    /// Returns what the person can do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        self.texts().2
    }

    #[expect(clippy::too_many_lines, reason = "a table is read line by line")]
    fn texts(self) -> (&'static str, &'static str, &'static str) {
        const ASK_SUPPORT: &str = "Try again shortly; if it stays, tell your administrator.";
        match self {
            Self::ConfigurationExpired => (
                "configuration_expired",
                "The configuration from the control plane has expired.",
                "Check that the control plane can be reached; `ztna status` shows it.",
            ),
            Self::DelegationNeeded => (
                "delegation_needed",
                "This program may do this only with your consent.",
                "Run `ztna delegate PROGRAM --to APPLICATION --for 1h`; `ztna why --as PROGRAM` fills it in.",
            ),
            Self::LeaseExpired => (
                "lease_expired",
                "The permission ran out and was not renewed.",
                ASK_SUPPORT,
            ),
            Self::NotConfigured => (
                "not_configured",
                "No configuration has arrived from the control plane yet.",
                "Check that the control plane can be reached; `ztna status` shows it.",
            ),
            Self::NotRecorded => (
                "not_recorded",
                "The decision could not be written to the log, so it was not acted on.",
                "Check free disk space on this device.",
            ),
            Self::Offline => (
                "offline",
                "The permission ran out while no policy could be asked.",
                "Check the network; access returns by itself when the policy can be asked.",
            ),
            Self::OtherUser => (
                "other_user",
                "Somebody else is signed in on this computer; what they may reach is for their programs only.",
                "Ask them to sign out with `ztna logout`, then run `ztna login`.",
            ),
            Self::Paused => ("paused", "The connector is switched off.", "Run `ztna up`."),
            Self::PdpLate => (
                "pdp_late",
                "The policy server did not answer in time.",
                ASK_SUPPORT,
            ),
            Self::PdpMalformed => (
                "pdp_malformed",
                "The policy server gave an answer that is no decision.",
                ASK_SUPPORT,
            ),
            Self::PdpStatus(_) => (
                "pdp_status",
                "The policy server answered with an error.",
                ASK_SUPPORT,
            ),
            Self::PdpUnreachable => (
                "pdp_unreachable",
                "The policy server could not be reached.",
                "Check the network; access returns by itself when the policy server answers.",
            ),
            Self::PolicyDenied => (
                "policy_denied",
                "The policy does not permit this.",
                "Ask your administrator if you need access.",
            ),
            Self::PortNotOffered => (
                "port_not_offered",
                "The application is not offered on this port.",
                "Check the port; `ztna resources` lists what is offered.",
            ),
            Self::PostureUnmet => (
                "posture_unmet",
                "This device does not meet the policy's conditions.",
                "Run `ztna posture` to see which check fails and how to mend it.",
            ),
            Self::SessionExpired => (
                "session_expired",
                "Your session has ended.",
                "Run `ztna login`.",
            ),
            Self::SessionRevoked => (
                "session_revoked",
                "Your company has ended your session.",
                "Run `ztna login`; if that is refused, ask your administrator.",
            ),
            Self::SignalsSilent => (
                "signals_silent",
                "This device has not heard for too long whether your access still stands.",
                "Check the network; access returns by itself when the company's signals can be heard.",
            ),
            Self::SignedOut => ("signed_out", "Nobody is signed in.", "Run `ztna login`."),
            Self::Stopping => (
                "stopping",
                "The service is stopping.",
                "Start it again with `ztnad`.",
            ),
            Self::TooBusy => (
                "too_busy",
                "Too many connections are waiting for a decision.",
                ASK_SUPPORT,
            ),
            Self::Hidden | Self::UnknownResource => (
                "unknown_resource",
                "No protected application has this name.",
                "Check the name; `ztna resources` lists what is offered.",
            ),
        }
    }
}

//! What the connector is told, and what it asks for.

use std::sync::Arc;
use std::time::Duration;

use crate::access::{AccessMap, Concealed, Denial, Flow, Question, Reason};
use crate::audit::{
    PleaRecord, Pleading, ProtectionRecord, Record, Rejected, RejectionRecord, TrustRecord,
};
use crate::authzen::{AccessRequest, Decision, StepUp};
use crate::catalogue::Catalogue;
use crate::configuration::{Configuration, IdentityProvider, PolicyPlan, Signals};
use crate::identity::{HostId, Owner, Session, SessionId};
use crate::network::NetworkKind;
use crate::overriding::OverrideGrant;
use crate::pausing::PauseRules;
use crate::posture::{Check, Measurement};
use crate::signals::{Revocation, SecurityEvent};
use crate::time::{Moment, WallTime};
use crate::trust::{TrustId, TrustRequest, Wish};

/// Something that happened in the world.
#[derive(Debug)]
pub enum Event {
    /// The person asked to be let in somewhere and was answered, or it became known what
    /// came of it.
    AccessPleaded(Pleading),
    /// A flow waits for an answer.
    AccessRequested(Question),
    /// A signed configuration was verified.
    ConfigurationAccepted(Box<Configuration>),
    /// The policy answered, or could not be asked.
    Evaluated {
        /// The question's attempt.
        attempt: Attempt,
        /// The answer.
        outcome: Result<Decision, PdpFailure>,
        /// How long it took.
        latency: Duration,
    },
    /// A permitted flow is over.
    FlowClosed {
        /// The flow.
        flow: Flow,
        /// Why it was ended, unless it ended by itself.
        cut: Option<Denial>,
    },
    /// A permit was spent.
    FlowOpened(Flow),
    /// A flow was refused without asking the policy.
    FlowRefused {
        /// The flow.
        flow: Flow,
        /// Why.
        denial: Denial,
    },
    /// The control plane admitted this host.
    HostEnrolled(HostId),
    /// The machine is in another network, or has other addresses; of which kind the network is now.
    NetworkChanged(NetworkKind),
    /// A code of the company switched the connector off.
    Overridden {
        /// What the code allows.
        grant: OverrideGrant,
        /// Why the person needs it.
        reason: Arc<str>,
    },
    /// A code was tried and refused.
    OverrideRefused {
        /// Why.
        problem: Arc<str>,
    },
    /// The administrator's settings are others.
    PauseRulesChanged {
        /// What they say about switching off.
        rules: PauseRules,
        /// Which settings changed; none at the start.
        keys: Vec<Arc<str>>,
    },
    /// The person switched the connector off.
    Paused {
        /// When it switches itself on again; none if only the person does.
        until: Option<Moment>,
        /// Why, where they said so.
        reason: Option<Arc<str>>,
    },
    /// Other policies are in force.
    PolicyChanged {
        /// The commit that names them.
        commit: Arc<str>,
    },
    /// Checks were measured.
    PostureMeasured(Vec<(Check, Measurement)>),
    /// Somebody wants to see fresh findings.
    PostureRefreshRequested,
    /// A decision was written down, or could not be.
    Recorded {
        /// The question's attempt.
        attempt: Attempt,
        /// Whether it was written.
        written: bool,
    },
    /// Something was sent in the company's name and is not followed.
    Rejected(Rejected),
    /// Which resources whoever is signed in must not learn of was found out anew.
    ResourcesConcealed(Concealed),
    /// The person switched the connector on again.
    Resumed,
    /// Revocations that an earlier run kept; before anything else is known.
    RevocationsRestored(Vec<Revocation>),
    /// The control plane admitted a person.
    SessionOpened {
        /// The sign-in's attempt.
        attempt: Attempt,
        /// The session.
        session: Session,
        /// How long ago the person signed in, if it was before this start.
        signed_in_ago: Duration,
        /// The session before it, if this one goes on from it without the person.
        restored_from: Option<SessionId>,
    },
    /// A sign-in did not lead to a session.
    SignInFailed {
        /// The sign-in's attempt.
        attempt: Attempt,
        /// Whether trying again by itself may help.
        retry: bool,
    },
    /// Whoever asked for the sign-in under way no longer waits for it.
    SignInAbandoned(Attempt),
    /// Somebody wants to sign in; refused without a word while the session is another user's.
    SignInRequested {
        /// How.
        method: SignInMethod,
        /// Whose programs the session is to carry.
        owner: Owner,
    },
    /// A verified event arrived; it is acknowledged once what follows from it was started.
    SignalReceived(Box<SecurityEvent>),
    /// The transmitter answered, and everything that it had to say has been handled.
    SignalsHeard,
    /// What an earlier run was told about this device; before anything else is known.
    SignalsRestored(Compliance),
    /// The person signed out.
    SignOutRequested,
    /// The service is about to end.
    Stopping,
    /// The policy answered about a wish, or could not be asked.
    TrustEvaluated {
        /// The question's attempt.
        attempt: Attempt,
        /// The answer.
        outcome: Result<Decision, PdpFailure>,
    },
    /// The record of a wish was written down, or could not be.
    TrustRecorded {
        /// The question's attempt.
        attempt: Attempt,
        /// Whether it was written.
        written: bool,
    },
    /// The person wants to consent to something, or to act in another context.
    TrustRequested {
        /// Names what comes of it.
        id: TrustId,
        /// What is wanted.
        wish: Wish,
    },
    /// The person takes back a consent, or stops acting in another context.
    TrustRevoked(TrustId),
}

impl Event {
    /// Returns whether this is about one flow or one answer, and leaves alone what
    /// the others rest on.
    pub(super) fn is_of_one_flow(&self) -> bool {
        match self {
            Self::AccessRequested(_)
            | Self::Evaluated { .. }
            | Self::FlowClosed { .. }
            | Self::FlowOpened(_)
            | Self::FlowRefused { .. }
            | Self::Recorded { .. } => true,
            Self::AccessPleaded(_)
            | Self::ConfigurationAccepted(_)
            | Self::HostEnrolled(_)
            | Self::NetworkChanged(_)
            | Self::Overridden { .. }
            | Self::OverrideRefused { .. }
            | Self::PauseRulesChanged { .. }
            | Self::Paused { .. }
            | Self::PolicyChanged { .. }
            | Self::PostureMeasured(_)
            | Self::PostureRefreshRequested
            | Self::Rejected(_)
            | Self::ResourcesConcealed(_)
            | Self::Resumed
            | Self::RevocationsRestored(_)
            | Self::SessionOpened { .. }
            | Self::SignInAbandoned(_)
            | Self::SignInFailed { .. }
            | Self::SignInRequested { .. }
            | Self::SignOutRequested
            | Self::SignalReceived(_)
            | Self::SignalsHeard
            | Self::SignalsRestored(_)
            | Self::Stopping
            | Self::TrustEvaluated { .. }
            | Self::TrustRecorded { .. }
            | Self::TrustRequested { .. }
            | Self::TrustRevoked(_) => false,
        }
    }
}

/// Something the driver must do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Carry traffic by this plan, or none at all.
    ApplyTunnel(Option<TunnelPlan>),
    /// Tell the control plane that the session is over, and drop its keys.
    EndSession(SessionId),
    /// Ask the policy and report [`Event::Evaluated`].
    Evaluate {
        /// To be repeated in the answer.
        attempt: Attempt,
        /// Who decides.
        policy: Arc<PolicyPlan>,
        /// The question.
        request: Arc<AccessRequest>,
    },
    /// Ask the policy about a wish and report [`Event::TrustEvaluated`].
    EvaluateTrust {
        /// To be repeated in the answer.
        attempt: Attempt,
        /// Who decides.
        policy: Arc<PolicyPlan>,
        /// The question.
        request: Box<TrustRequest>,
    },
    /// Listen to this transmitter, or to none.
    FollowSignals(Option<Signals>),
    /// Forget what an earlier sign-in left for the next start.
    ForgetSignIn,
    /// Measure these checks and report [`Event::PostureMeasured`].
    Measure(Vec<Check>),
    /// Hand a new access map to the tunnel and the proxy.
    PublishAccess(Arc<AccessMap>),
    /// Write this down and, if an attempt is given, report [`Event::Recorded`].
    Record {
        /// To be repeated in the report.
        attempt: Option<Attempt>,
        /// What to write.
        record: Box<Record>,
    },
    /// Write down that the person asked for access.
    RecordPlea(Box<PleaRecord>),
    /// Write down that protection was switched off or on, or its settings changed.
    RecordProtection(Box<ProtectionRecord>),
    /// Write down that something is not followed.
    RecordRejection(Box<RejectionRecord>),
    /// Write down that a signal arrived, and what came of it.
    RecordSignal(Box<SignalRecord>),
    /// Write this down and, if an attempt is given, report [`Event::TrustRecorded`].
    RecordTrust {
        /// To be repeated in the report.
        attempt: Option<Attempt>,
        /// What to write.
        record: Box<TrustRecord>,
    },
    /// Keep this for the next start, before the signal that said it is acknowledged.
    RememberCompliance(Compliance),
    /// Keep these and no others for the next start, before the signal that said it is acknowledged.
    RememberRevocations(Vec<Revocation>),
    /// Sign in and report [`Event::SessionOpened`] or [`Event::SignInFailed`].
    SignIn {
        /// To be repeated in the report.
        attempt: Attempt,
        /// Where.
        provider: IdentityProvider,
        /// How.
        method: SignInMethod,
        /// Whose programs the session is to carry.
        owner: Owner,
    },
}

/// How to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignInMethod {
    /// The person goes to the identity provider in a browser.
    Browser,
    /// The person goes there again, to sign in in a stronger way than before.
    StepUp(StepUp),
    /// With what an earlier sign-in left in the store.
    Stored,
}

/// What another system found about this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compliance {
    /// When, by the transmitter's clock.
    pub at: WallTime,
    /// Whether the device complies.
    pub is_compliant: bool,
}

/// A signal, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalRecord {
    /// When it arrived.
    pub time: WallTime,
    /// The signal.
    pub event: SecurityEvent,
    /// What came of it.
    pub outcome: SignalOutcome,
    /// Who was signed in, if it is about them.
    pub session: Option<Session>,
    /// This host, if it is about it or who uses it.
    pub host: Option<HostId>,
}

/// What came of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalOutcome {
    /// It changed what is permitted, or made the policy decide anew.
    Applied,
    /// It is about somebody or something else.
    Elsewhere,
    /// It is of a kind that changes nothing here.
    Noted,
}

impl SignalOutcome {
    /// Returns the word used in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Elsewhere => "elsewhere",
            Self::Noted => "noted",
        }
    }
}

/// What the tunnel needs to carry a session's traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelPlan {
    /// The session, whose key the gateways know.
    pub session: SessionId,
    /// The addresses that the tunnel speaks from.
    pub addresses: Vec<std::net::IpAddr>,
    /// The sites and their gateways.
    pub catalogue: Arc<Catalogue>,
}

/// Ties an answer to its question, so that a late answer is told from a current one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(u64);

impl Attempt {
    pub(super) fn take(&mut self) -> Self {
        self.0 += 1;
        *self
    }
}

/// Why the policy could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PdpFailure {
    /// No answer within the time allowed.
    Late,
    /// An answer that is no decision.
    Malformed,
    /// An answer with another status than 200.
    Status(u16),
    /// No connection.
    Unreachable,
}

impl From<PdpFailure> for Reason {
    fn from(failure: PdpFailure) -> Self {
        match failure {
            PdpFailure::Late => Self::PdpLate,
            PdpFailure::Malformed => Self::PdpMalformed,
            PdpFailure::Status(status) => Self::PdpStatus(status),
            PdpFailure::Unreachable => Self::PdpUnreachable,
        }
    }
}

/// Where the connector stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No configuration is in force.
    NotConfigured,
    /// Switched off by the person.
    Paused,
    /// Signed in, enforcing.
    Ready,
    /// Nobody is signed in; everything is denied.
    SignedOut,
    /// The person is at the identity provider.
    SigningIn,
}

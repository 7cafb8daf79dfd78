//! What the service and its front-ends say to each other.
//!
//! A front-end connects to the local endpoint and sends [`Hello`]; the service
//! answers with [`Reply::Welcome`] or [`Reply::Failed`] and, from then on, one or more
//! [`Reply`] frames to each [`Request`]. Frames are length-prefixed JSON, see
//! [`frame`]. Unknown members are ignored on both sides, unknown requests are
//! refused, so that a front-end and a service of neighbouring versions
//! understand each other.

mod diagnosis;
pub mod frame;
mod managed;
mod message;
mod policy;
mod request;
mod status;
mod trust;

pub use self::diagnosis::{
    Condition, DiagnosisReport, ExaminedReport, GatewayPathReport, NetworkReport,
};
pub use self::managed::{ManagedReport, OverrideChallengeReport, OverrideReport};
pub use self::message::{Failure, FailureKind, Hello, Reply, Request, Welcome};
pub use self::policy::{
    CommitReport, CommitState, HeadReport, NotFollowedReport, PolicyCommitReport, PolicyFileReport,
    PolicyLogReport, PolicyReplayReport, PolicyTestReport, ReplayChange, RowReport, VerdictReport,
};
pub use self::request::{AccessRequestReport, AccessRequestStatus};
pub use self::status::{
    AccessReport, BehindReport, CheckReport, DecisionReport, Finding, GatewayReport, GatewayState,
    GrantedReport, Identity, InterceptionReport, Outcome, PostureReport, ProxyReport,
    RecordsReport, Remedy, ResourceReport, ResourceState, SaidReport, SettingReport, SiteReport,
    Standing, Status, StepUpReport, TrustLevel, TunnelReport, WorkloadReport,
};
pub use self::trust::{DelegationReport, ElevationReport};

/// The version of this protocol. A service speaks this one and refuses others.
pub const VERSION: u16 = 1;

//! What people are shown. Times are RFC 3339 in UTC.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::managed::ManagedReport;

/// Where the connector stands; one screen for people, one object for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The overall state.
    pub standing: Standing,
    /// One sentence about it, and what to do if something is to be done.
    pub summary: Remedy,
    /// The company, once its configuration has arrived.
    pub organisation: Option<String>,
    /// Where to get help.
    pub support: Option<String>,
    /// Who is signed in.
    pub identity: Option<Identity>,
    /// What the device's findings add up to.
    pub trust_level: TrustLevel,
    /// How many checks do not pass.
    pub checks_unmet: usize,
    /// The tunnel.
    pub tunnel: TunnelReport,
    /// Whether traffic of unmodified programs is taken; none where only the
    /// local proxy leads in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interception: Option<InterceptionReport>,
    /// The local proxy.
    pub proxy: ProxyReport,
    /// The decision log, and how far it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordsReport>,
    /// The control plane's URL; empty where it is not the reader's to know.
    pub control_plane: String,
    /// Whether the control plane answered when it was last asked.
    pub control_plane_reachable: bool,
    /// The version of the signed configuration in force.
    pub configuration_version: Option<u64>,
    /// When that configuration lapses unless the control plane renews it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration_expires_at: Option<String>,
    /// When the connector switches itself on again, if it is switched off for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<String>,
    /// What the administrator manages, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedReport>,
    /// The service's version.
    pub version: String,
}

/// The overall state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Signed in, measured, a gateway answers.
    Connected,
    /// Signed in; the tunnel is coming up.
    Connecting,
    /// Signed in, but no gateway answers.
    Degraded,
    /// Another user of the computer is signed in; nothing else is told.
    InUse,
    /// Switched off by the person.
    Paused,
    /// Connected, but a posture check does not pass.
    Restricted,
    /// Nobody is signed in.
    SignedOut,
    /// The person is at the identity provider.
    SigningIn,
    /// No configuration yet.
    Starting,
}

/// What is the case, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// What is the case.
    pub message: String,
    /// What to do, if anything is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The provider's stable name for the person.
    pub subject: String,
    /// The name for people.
    pub name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The groups that the provider asserted.
    pub groups: Vec<String>,
    /// The provider.
    pub issuer: String,
    /// The session.
    pub session_id: String,
    /// When the session ends at the latest.
    pub expires_at: String,
}

/// What the findings add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustLevel {
    /// Every check passes.
    High,
    /// A check fails, or nothing was measured.
    Low,
    /// Nothing fails, but something could not be measured.
    Medium,
}

/// The tunnel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelReport {
    /// The addresses that it speaks from.
    pub addresses: Vec<IpAddr>,
    /// The networks that it leads to.
    pub sites: Vec<SiteReport>,
    /// Connections open right now.
    pub open_flows: usize,
    /// Packets and datagrams from outside that were dropped, since they belong to no connection or prove nothing.
    #[serde(default)]
    pub dropped: u64,
}

/// How traffic of unmodified programs is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum InterceptionReport {
    /// It is not: the connector is switched off, or has no configuration.
    Down,
    /// It is to be, but cannot; it is tried again.
    Failed {
        /// Why not.
        problem: String,
    },
    /// It is.
    Up {
        /// The network device.
        device: String,
        /// The device's own addresses.
        addresses: Vec<IpAddr>,
        /// The names that are answered by the connector, with all names below them.
        names: Vec<String>,
        /// What another program undid last, if any did; it was put back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mended: Option<String>,
    },
}

/// A network behind gateways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteReport {
    /// The site's id.
    pub id: String,
    /// Its gateways in order of preference.
    pub gateways: Vec<GatewayReport>,
    /// Whether connections to it are open.
    #[serde(default)]
    pub in_use: bool,
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayReport {
    /// The gateway's id.
    pub id: String,
    /// Where it listens: an address or a name, and a port.
    pub endpoint: String,
    /// How it is.
    pub state: GatewayState,
    /// When the last handshake was completed.
    pub last_handshake: Option<String>,
    /// How long that handshake took, in microseconds.
    pub handshake_micros: Option<u64>,
    /// What is behind it, if that was asked lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<BehindReport>,
    /// Bytes received through it.
    pub rx_bytes: u64,
    /// Bytes sent through it.
    pub tx_bytes: u64,
}

/// What came of asking a name server behind a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BehindReport {
    /// It answers.
    Answers {
        /// How long its last answer took, in microseconds.
        micros: u64,
    },
    /// Nothing answers, though the gateway does.
    Silent,
}

/// How a gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayState {
    /// It carries the site's traffic.
    Active,
    /// A handshake is under way.
    Connecting,
    /// It does not answer.
    Down,
    /// It is not needed now.
    Standby,
}

/// The local proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyReport {
    /// Where it listens, for HTTP and SOCKS5; none if switched off.
    pub listen: Option<SocketAddr>,
    /// The address of the PAC file.
    pub pac_url: Option<String>,
}

/// The decision log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsReport {
    /// The number of the last line.
    pub written: u64,
    /// The number of the last signed checkpoint.
    pub sealed: u64,
    /// The number of the last line that the control plane has; none if it takes no lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<u64>,
    /// Lines that made room for new ones in this run, before anybody had taken them.
    #[serde(default)]
    pub dropped: u64,
    /// What keeps lines from being written or taken, while that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A protected application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceReport {
    /// The resource's id.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// The names it is reached by.
    pub names: Vec<String>,
    /// The ports it offers, as in `tcp/443`.
    pub ports: Vec<String>,
    /// Where it lives.
    pub site: String,
    /// What is known about access to it.
    pub state: ResourceState,
}

/// What is known about access to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceState {
    /// The last answer was no.
    Denied,
    /// A permit is in force.
    Permitted,
    /// Nobody has asked yet; `ztna why` does.
    Undecided,
}

/// The device's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostureReport {
    /// What the findings add up to.
    pub trust_level: TrustLevel,
    /// Every check.
    pub checks: Vec<CheckReport>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The check's id.
    pub id: String,
    /// What should be true.
    pub title: String,
    /// The outcome.
    pub finding: Finding,
    /// What was seen, or why nothing was.
    pub evidence: String,
    /// What to do if it does not pass.
    pub remedy: String,
    /// When it was measured.
    pub measured_at: Option<String>,
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Measured, and does not comply.
    Fail,
    /// Measured, and complies.
    Pass,
    /// Could not be measured.
    Unknown,
}

/// One decision that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionReport {
    /// Names the decision's record.
    pub id: String,
    /// When it was made.
    pub time: String,
    /// What was asked for, as `NAME:PORT`.
    pub target: String,
    /// The resource, if there is one.
    pub resource: Option<String>,
    /// The answer.
    pub outcome: Outcome,
    /// The rule, as a token.
    pub reason: String,
    /// The reason for people.
    pub message: String,
    /// What to do, if it was refused.
    pub remedy: Option<String>,
    /// The program that asked.
    pub workload: Option<WorkloadReport>,
    /// Who was signed in.
    pub subject: Option<String>,
    /// Who decided: `pdp`, or `local` where no policy had to be asked.
    pub decided_by: String,
    /// How long the answer took, in microseconds.
    pub latency_micros: u64,
    /// For how many decisions alike this one stands, itself included.
    pub count: u64,
    /// Whether those were about other targets too, or had other reasons.
    pub is_mixed: bool,
    /// What the policy said beside its answer.
    #[serde(flatten)]
    pub said: SaidReport,
}

/// What the policy said beside its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidReport {
    /// The commit of the policies that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Who answered: `embedded`, or a server as its kind and its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
    /// How to sign in so that it would be enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUpReport>,
    /// Who can approve a request for access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requestable: Option<String>,
    /// The approved request for access that the answer rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<GrantedReport>,
    /// When time alone may change the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// Whether somebody only asked for a program that did not connect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hypothetical: bool,
}

/// An approved request for access.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedReport {
    /// Names the request.
    pub id: String,
    /// Why the person asked, where the policy's answer says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A stronger way of signing in (RFC 9470 section 3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepUpReport {
    /// The authentication contexts, of which one is needed, separated by blanks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr_values: Option<String>,
    /// Seconds since signing in, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Refused.
    Denied,
    /// Permitted.
    Permitted,
    /// Permitted before, and ended while it was in use.
    Revoked,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadReport {
    /// The absolute path of the executable.
    pub path: String,
    /// The numeric user.
    pub user: Option<u32>,
}

/// The answer to "why can I, or can I not, reach this?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessReport {
    /// The decision.
    pub decision: DecisionReport,
    /// The resource's title.
    pub title: Option<String>,
    /// The site whose gateway would carry it.
    pub site: Option<String>,
    /// Whether none of that site's gateways answered when they were last called.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_site_silent: bool,
    /// Seconds that the permit may be relied on.
    pub lease_seconds: Option<u64>,
    /// The checks that do not pass.
    pub checks_unmet: Vec<CheckReport>,
    /// The last time that a program was refused there, if any was of late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refused: Option<Box<DecisionReport>>,
}

/// One setting and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingReport {
    /// The key, as in `proxy.listen`.
    pub key: String,
    /// The value as it would be written in the file; secrets are left out.
    pub value: String,
    /// Where it comes from: `default`, a file's path, an environment variable or a flag.
    pub origin: String,
    /// Whether the administrator manages it, so that nobody else changes it.
    #[serde(default)]
    pub locked: bool,
    /// What it does.
    #[serde(default)]
    pub description: String,
}

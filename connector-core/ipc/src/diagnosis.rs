use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::status::{BehindReport, GatewayState};

/// What was examined, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosisReport {
    /// Everything that was examined, in the order in which one builds on the other.
    pub examined: Vec<ExaminedReport>,
    /// What was measured of the network.
    pub network: NetworkReport,
}

/// One thing that can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExaminedReport {
    /// Names it, in documents and support cases, as in `clock`.
    pub code: String,
    /// Whether it is about the way to the company.
    pub is_network: bool,
    /// What came of it.
    pub condition: Condition,
    /// What it is about, for people.
    pub title: String,
    /// What was seen.
    pub finding: String,
    /// What to do, if anything is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// How something that was examined is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// As it should be.
    Good,
    /// It keeps the connector from its work.
    Problem,
    /// It could not be found out.
    Unknown,
    /// It may get in the way.
    Warning,
}

/// What was measured of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkReport {
    /// How long the control plane took to answer, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_micros: Option<u64>,
    /// By how many seconds the control plane's clock is ahead of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_seconds: Option<i64>,
    /// The gateways.
    pub gateways: Vec<GatewayPathReport>,
}

/// The way to a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayPathReport {
    /// The site.
    pub site: String,
    /// The gateway.
    pub id: String,
    /// Where it listens, as configured.
    pub endpoint: String,
    /// Its address, unless its name could not be looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// How it is.
    pub state: GatewayState,
    /// How long the last handshake took, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake_micros: Option<u64>,
    /// What is behind it, if it is in use and that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<BehindReport>,
    /// How long a packet on the way there may be, in bytes, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_mtu: Option<u32>,
    /// Whether long packets to its site vanished without a word, so that the tunnel sends short ones.
    #[serde(default)]
    pub is_narrow: bool,
}

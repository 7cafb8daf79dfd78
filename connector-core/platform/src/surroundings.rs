//! What surrounds the connector on this machine, for whoever looks for what is wrong.

use std::net::SocketAddr;

#[cfg_attr(target_os = "linux", path = "surroundings/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "surroundings/other.rs")]
mod imp;

/// What else is on the machine that can get in the way, as far as the system tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The names of the bridges that containers and virtual machines are behind, in order.
    pub bridges: Vec<String>,
    /// What this system runs in, if it runs in another one.
    pub host: Option<Host>,
    /// The names of the network devices that belong to tunnels, in order.
    pub tunnels: Vec<String>,
}

/// What a system can run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// A container.
    Container,
    /// The Windows Subsystem for Linux.
    Wsl,
}

/// Looks at the machine. Blocks for as long as the system's files take to read.
#[must_use]
pub fn look() -> Surroundings {
    imp::look()
}

/// Returns how long a packet to each of `destinations` may be, in bytes, where the system tells. A
/// long datagram of zeros goes there, which no protocol knows, so that whatever is too narrow for
/// it says so (RFC 1191); what says nothing is not found out. Blocks for a third of a second.
#[must_use]
pub fn path_mtus(destinations: &[SocketAddr]) -> Vec<Option<u32>> {
    imp::path_mtus(destinations)
}

//! What kind of network the machine is in.

use connector_core::network::NetworkKind;

#[cfg_attr(target_os = "linux", path = "network/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "network/other.rs")]
mod imp;

/// Returns the kind of the device that the default routes lead through, as far as the system
/// tells; unknown where they lead through devices of different kinds, or through another tunnel.
/// Blocks for as long as a few of the kernel's files take to read.
#[must_use]
pub fn kind() -> NetworkKind {
    imp::kind()
}

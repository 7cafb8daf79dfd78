//! Carries permitted flows to gateways.
//!
//! [`transparent`] is the client with a network device: packets of unmodified
//! programs. [`userspace`] is the whole client without a network device: TCP streams that
//! are dialled with a permit and end with it. [`netstack`] and [`sockets`] are
//! what it is made of; [`far_end`] makes the other side of the same.

pub mod device;
pub mod far_end;
pub mod netstack;
mod pace;
pub mod sockets;
pub mod stub;
pub mod transparent;
pub mod userspace;

use connector_core::time::Moment;

/// Reads the boot clock.
pub type Clock = fn() -> Moment;

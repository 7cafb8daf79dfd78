//! Finds the program that opened a flow on this machine.
//!
//! A wrong answer is worse than none: whatever leaves a doubt about the program
//! makes it [`Workload::UnknownOf`] somebody, or [`Workload::Unknown`]. The doubt is about programs that do not know of
//! each other. Two processes of one user that work together (one relays for the
//! other, debugs it, or runs its code inside it) cannot be told apart by anybody.

use std::io;
use std::net::SocketAddr;

use connector_core::access::Workload;

#[cfg(any(target_os = "macos", test))]
mod descriptor;
pub(crate) mod digest;
#[cfg(any(windows, test))]
mod table;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use self::linux as imp;
#[cfg(target_os = "linux")]
pub(crate) use self::linux::{Socket, attribute_patiently, may_look_into_others};
#[cfg(target_os = "macos")]
use self::macos as imp;
#[cfg(windows)]
use self::windows as imp;

/// What a flow speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// ICMP echoes; in place of the local port stands their identifier.
    IcmpEcho,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Who opened a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The numeric user whom the socket belongs to, if there is but one. On Windows the number
    /// stands for the security identifier.
    pub user: Option<u32>,
    /// Whether the socket belongs to the user that this process runs as.
    pub is_same_user: bool,
    /// The program, unless there is any doubt.
    pub workload: Workload,
    /// A process that holds the socket, for the record.
    pub process: Option<u32>,
}

/// Returns who sends from `local` to `remote`, which may be on this machine or
/// elsewhere; the remote port of [`Transport::IcmpEcho`] is ignored. Blocks for as
/// long as the system's tables take to read, and the first time that a program is
/// met, for as long as its executable takes to hash.
///
/// # Errors
///
/// `NotFound` or `NotConnected` if no socket of this machine sends from there: it was closed
/// meanwhile, or the packets are made by somebody who is privileged to forge
/// them. Otherwise what the system says. Nothing is known of the program then.
pub fn of(transport: Transport, local: SocketAddr, remote: SocketAddr) -> io::Result<Owner> {
    imp::of(transport, canonical(local), canonical(remote))
}

/// Returns who holds the socket that is bound to `client` and connected to
/// `server`, both on this machine, as [`of`] does.
///
/// # Errors
///
/// If the system does not tell; nobody must be let in then.
pub fn of_tcp(client: SocketAddr, server: SocketAddr) -> io::Result<Owner> {
    of(Transport::Tcp, client, server)
}

impl Owner {
    /// Describes a socket whose user is all that is known.
    fn nobody_known(user: Option<u32>, is_same_user: bool) -> Self {
        Self {
            user,
            is_same_user,
            workload: user.map_or(Workload::Unknown, Workload::UnknownOf),
            process: None,
        }
    }
}

/// A socket for both families writes IPv4 addresses as IPv6 ones.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

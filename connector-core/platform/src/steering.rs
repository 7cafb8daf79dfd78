//! Steers traffic for protected applications into the tunnel's device, and
//! undoes it.
//!
//! Three layers that do not rely on one another: routes that come before the
//! machine's own, a guard in the packet filter that refuses protected traffic on
//! any other way, and the resolver, which is pointed at the tunnel's stub for
//! protected names alone. Every change is written to a journal before it is
//! made, so that [`repair`] can undo it when the process is long dead.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use connector_core::name::DomainName;
use connector_core::network::Prefix;
use tokio::sync::watch;

use crate::private::PrivateDir;

mod journal;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(target_os = "macos", test))]
mod macos;
#[cfg(any(target_os = "macos", windows, test))]
mod ranges;
#[cfg(any(target_os = "macos", windows, test))]
mod sequence;
#[cfg(any(windows, test))]
mod windows;

#[cfg(target_os = "linux")]
use linux as imp;
#[cfg(target_os = "macos")]
use macos as imp;
#[cfg(windows)]
use windows as imp;

/// The mark on the sockets of the tunnel and of the stub, which are let out
/// beside the tunnel (Linux: `SO_MARK`).
pub const MARK: u32 = 0x5a54_4e41;

/// What the machine is to do with traffic for protected applications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The name of the tunnel's device, which exists and is up.
    pub device: String,
    /// The device's own addresses.
    pub device_addresses: Vec<IpAddr>,
    /// Where the device leads: the synthetic ranges and the resources' prefixes.
    pub prefixes: Vec<Prefix>,
    /// Which names are asked for in the tunnel.
    pub dns: Dns,
}

/// Which names are put to the tunnel's stub instead of the machine's name servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// The stub's addresses, which are among the device's own (port 53).
    pub servers: Vec<IpAddr>,
    /// The protected zones: each name stands for itself and every name below it.
    pub suffixes: Vec<DomainName>,
}

/// A machine that is being steered; dropping it leaves everything in place, so
/// that nothing leaks when the process dies.
#[derive(Debug)]
pub struct Steering(imp::Steering);

impl Steering {
    /// Carries out `plan`: the guard comes first and the resolver last. What an
    /// earlier process has left behind is taken over, without a gap in the guard;
    /// nothing of it stays that `plan` does not name.
    ///
    /// # Errors
    ///
    /// If the machine refuses a change. What was done before it has been undone by
    /// then; only what an earlier process left is kept, refuses as before, and is in
    /// the journal for [`repair`].
    pub async fn start(state: PrivateDir, plan: Plan) -> Result<Self, SteeringError> {
        imp::Steering::start(state, plan).await.map(Self)
    }

    /// Carries out `plan` in the place of the one before, touching only what
    /// differs. The guard has no gap.
    ///
    /// # Errors
    ///
    /// If the machine refuses a change; calling this again completes it.
    pub async fn change(&mut self, plan: Plan) -> Result<(), SteeringError> {
        self.0.change(plan).await
    }

    /// Undoes everything, in reverse order.
    ///
    /// # Errors
    ///
    /// If the machine refuses; what is left is in the journal, for [`repair`].
    pub async fn stop(self) -> Result<(), SteeringError> {
        self.0.stop().await
    }

    /// Returns the name servers that the machine would use without us, as they
    /// change. The stub is never among them.
    #[must_use]
    pub fn upstreams(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.0.upstreams()
    }

    /// Waits until somebody else has undone a part of the plan, and puts it back.
    ///
    /// To be called in a loop for as long as the plan is in force. Cancelling it
    /// loses nothing.
    pub async fn watch(&mut self) -> Mended {
        self.0.watch().await
    }
}

/// A part of the plan that somebody else had undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// What it was.
    pub part: Part,
    /// Why it could not be put back, if so; it is tried again until it can.
    pub problem: Option<String>,
}

impl fmt::Display for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.part;
        match &self.problem {
            None => write!(f, "another program changed {part}; it was put back"),
            Some(problem) => write!(
                f,
                "another program changed {part}, and it could not be put back: {problem}"
            ),
        }
    }
}

/// One of the things that steering consists of, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The packet filter that keeps protected traffic off every other way.
    Guard,
    /// Where packets for protected applications go.
    Routes,
    /// Who answers questions for protected names.
    Resolver,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guard => "the guard against leaks in the packet filter",
            Self::Resolver => "the name server settings for protected names",
            Self::Routes => "the routes to protected applications",
        })
    }
}

/// Undoes what a service that is no longer running has left behind, and returns
/// what that was, or with `dry_run` only tells. Once everything is undone there
/// is nothing to tell. Blocks.
///
/// Must not be called while [`Steering`] is in use with the same `state`.
///
/// # Errors
///
/// If the journal cannot be read or the machine refuses to undo a change; the
/// other changes have been undone then.
pub fn repair(state: &PrivateDir, dry_run: bool) -> Result<Vec<Change>, RepairError> {
    imp::repair(state, dry_run)
}

/// Returns whether some service steers this machine, or has left traces, whatever
/// any journal says. Only Linux can be asked; it takes the rights of a guard.
///
/// # Errors
///
/// If the system does not tell.
pub fn has_traces() -> io::Result<bool> {
    imp::has_traces()
}

/// Carries out the one request for the resolver's file that a service without the right
/// to it has made, and says what came of it. Linux only.
///
/// # Errors
///
/// If nothing can be answered; a request that is refused is answered.
pub fn change_resolver_file(request: impl io::Read, answer: impl io::Write) -> io::Result<()> {
    imp::change_resolver_file(request, answer)
}

/// One change to the machine, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change(String);

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns every address and route of the machine, in all its tables, so that
/// ranges can be chosen which collide with nothing. Blocks for as long as the
/// system's tables take to read.
///
/// # Errors
///
/// If the system does not tell.
pub fn ranges_in_use() -> io::Result<Vec<Prefix>> {
    imp::ranges_in_use()
}

/// Tells when the machine's addresses, links or default routes change, as they
/// do when it moves to another network.
#[derive(Debug)]
pub struct NetworkChanges(imp::NetworkChanges);

impl NetworkChanges {
    /// Starts listening; changes from now on are told. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the system does not tell of changes.
    pub fn listen() -> io::Result<Self> {
        imp::NetworkChanges::listen().map(Self)
    }

    /// Waits for the next change. Changes that came together count as one.
    /// Cancelling it loses nothing.
    pub async fn next(&mut self) {
        self.0.next().await;
    }
}

/// The machine could not be steered as planned.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {problem}")]
pub struct SteeringError {
    action: String,
    problem: io::Error,
}

impl SteeringError {
    /// Tells what was to be done, as in `add the route to 10.0.0.0/8`, and what
    /// came of it.
    fn new(action: impl Into<String>, problem: io::Error) -> Self {
        Self {
            action: action.into(),
            problem,
        }
    }
}

/// What was changed could not all be undone.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {problem}")]
pub struct RepairError {
    action: String,
    problem: io::Error,
}

impl RepairError {
    /// As [`SteeringError::new`].
    fn new(action: impl Into<String>, problem: io::Error) -> Self {
        Self {
            action: action.into(),
            problem,
        }
    }
}

impl From<RepairError> for SteeringError {
    fn from(error: RepairError) -> Self {
        Self::new(error.action, error.problem)
    }
}

//! The system's log of events, where what a service prints is lost: on Windows.

#[cfg_attr(windows, path = "event_log/windows.rs")]
#[cfg_attr(not(windows), path = "event_log/other.rs")]
mod imp;

use std::borrow::Cow;

#[cfg(windows)]
pub(crate) use self::imp::{register, unregister};

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something does not work.
    Error,
    /// It works, and what happened goes by.
    Information,
    /// Somebody should look into it.
    Warning,
}

/// What an event is about; viewers can filter by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A record of the decision log.
    Audit,
    /// The service itself.
    Service,
}

/// Writes an event if the Service Control Manager runs this process, and does nothing elsewhere:
/// `text` is asked for only if it is written.
pub fn write<'a>(kind: Kind, severity: Severity, text: impl FnOnce() -> Cow<'a, str>) {
    imp::write(kind, severity, text);
}

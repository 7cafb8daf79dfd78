//! Measures the device by putting SQL to tables under osquery's names.
//!
//! A [`Check`](connector_core::posture::Check) is a query whose first row says
//! pass or fail. [`Prober`] puts it to a [`QueryEngine`]; the one built in,
//! [`Tables`], answers from the files of a [`Machine`]. Whatever goes wrong on
//! the way ends in a finding of *unknown*, which satisfies nothing.

mod builtin;
mod catalogue;
mod engine;
mod machine;
mod prober;
mod tables;

pub use builtin::builtin_checks;
pub use engine::{QueryEngine, QueryError, Row};
pub use machine::{Machine, Ownership, ScreenLock, ScreenLocks};
pub use prober::{Prober, read_measurement};
pub use tables::{OpenTablesError, Tables};

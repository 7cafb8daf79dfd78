//! What differs between operating systems, behind one interface each.
//!
//! Each module `x.rs` is the interface; `x/{linux,unix,macos,windows,other}.rs` are
//! the implementations. No other package but `tunnel::device` asks which
//! system it runs on.

#[cfg(windows)]
mod access_list;
#[cfg(windows)]
mod account;
#[cfg(windows)]
pub mod balloon;
pub mod clock;
pub mod decision_log;
pub mod endpoint;
pub mod event_log;
pub mod executable;
pub mod instance;
#[cfg(feature = "system")]
pub mod managed;
pub mod network;
pub mod owner;
pub mod paths;
pub mod private;
pub mod programs;
pub mod registration;
#[cfg(any(windows, test))]
mod registry;
pub mod rights;
#[cfg(feature = "system")]
pub mod sealing;
pub mod signals;
#[cfg(feature = "system")]
pub mod steering;
pub mod supervisor;
#[cfg(feature = "system")]
pub mod surroundings;
#[cfg(windows)]
mod wide;

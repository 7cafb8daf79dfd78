//! The connector's decisions, as pure state machines.
//!
//! Nothing here performs I/O, reads a clock or spawns a task: the driver in
//! `connector-service` feeds events in and carries effects out. The same code
//! therefore runs under the service, under a simulator and under a fuzzer.

pub mod access;
pub mod audit;
pub mod authzen;
pub mod catalogue;
pub mod configuration;
pub mod connector;
pub mod control;
pub mod identity;
pub mod jws;
pub mod name;
pub mod network;
pub mod overriding;
pub mod pausing;
pub mod posture;
pub mod signals;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod trust;

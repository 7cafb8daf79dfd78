//! The tunnel's packet path as pure state machines.
//!
//! Datagrams and packets go in through `handle_*` and `seal`; what is to be
//! sent comes out through `poll_*`. Nothing here performs I/O. Time is an
//! argument, but for the clock inside boringtun, which [`noise`] wraps.

pub mod checksum;
pub mod dns;
pub mod gateways;
pub mod ip;
pub mod keys;
pub mod noise;
pub mod offload;
pub mod packet;
pub mod queueing;
mod random;
pub mod reach;
pub mod resolving;
pub mod router;
pub mod split_dns;
pub mod synthetic;

pub use self::random::Seed;

//! Fuzz targets for what reads bytes from outside: the tunnel, the proxy, the policy store, and
//! the documents and messages of others.
//!
//! A target takes any bytes and must neither panic nor go on for ever. `corpus/`
//! holds inputs that once were worth keeping: hand-made ones, and whatever ever
//! broke a target. The tests replay all of it, and some thousand mutations of
//! each from a fixed seed. `cargo run --release -p fuzz -- TARGET SECONDS`
//! looks further and keeps what breaks.

mod mutation;
mod targets;

pub use self::mutation::Mutator;
pub use self::targets::{TARGETS, Target};

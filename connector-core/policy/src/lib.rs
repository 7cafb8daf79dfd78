//! The policy store and the embedded decision point.
//!
//! Policies are files of Cedar in a content-addressed [`store`]: a signed
//! [`head`] names a commit, the commit its trees, and these their files. What
//! was verified as a whole becomes a [`snapshot`], which answers requests by
//! itself. Nothing here performs I/O, reads a clock or spawns a task.

pub mod author;
mod cbor;
pub mod evaluation;
pub mod head;
pub mod manifest;
pub mod object;
pub mod oid;
pub mod pack;
pub mod policy;
pub mod schema;
pub mod snapshot;
pub mod store;
pub mod table;
#[cfg(test)]
mod testing;
mod trust;

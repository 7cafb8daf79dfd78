//! The local front doors: HTTP `CONNECT`, HTTP absolute-form, SOCKS5 and the PAC file.
//!
//! One listener on loopback serves all four; the first byte of a connection tells
//! which. Nothing is decided and nothing is resolved here: an [`Upstream`] says who
//! may use the proxy, decides about each [`Target`] and hands back the stream to it.
//!
//! The life of a connection: [`serve`] accepts, [`Upstream::admit`] looks at the
//! client before a byte is read, the request is parsed strictly, the destination is
//! held against a floor that no policy can lift, [`Upstream::connect`] decides and
//! dials, and bytes are moved with back-pressure until one side ends. A stream that
//! fails in the middle is passed on as a failure: a cut is never mistaken for an end.

mod answer;
mod client_socket;
mod door;
mod floor;
mod head;
mod hop;
mod limits;
mod pac;
mod relay;
mod server;
mod socks5;
mod target;
#[cfg(feature = "testing")]
pub mod testing;
mod upstream;

pub use limits::Limits;
pub use server::{ServeError, serve};
pub use target::{BadTarget, Host, Target};
pub use upstream::{Refusal, RefusalKind, Upstream};

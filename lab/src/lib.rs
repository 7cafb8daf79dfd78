//! A whole small company in one process, on loopback addresses.
//!
//! An OpenID provider, a control plane, an AuthZEN decision point, WireGuard
//! gateways and applications behind them; real protocols on every wire, so that
//! each of them can be replaced by somebody else's.

pub mod admin;
pub mod apps;
pub mod clock;
pub mod company;
pub mod control_plane;
pub mod entitlements;
pub mod expiring;
pub mod gateway;
pub mod http_server;
pub mod idp;
pub mod overrides;
pub mod pdp;
pub mod peers;
pub mod problem;
pub mod random;
pub mod requests;
pub mod ruling;
pub mod running;
pub mod sites;
pub mod ssf;
mod state_file;
pub mod wireguard_uapi;

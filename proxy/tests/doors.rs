//! The front doors over real loopback sockets, with a made-up upstream behind them.

#![expect(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

#[path = "doors/support.rs"]
mod support;

#[path = "doors/absolute_form.rs"]
mod absolute_form;
#[path = "doors/bad_input.rs"]
mod bad_input;
#[path = "doors/bounds.rs"]
mod bounds;
#[path = "doors/refusals.rs"]
mod refusals;
#[path = "doors/tunnels.rs"]
mod tunnels;

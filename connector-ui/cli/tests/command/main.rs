//! The command as people and scripts meet it: arguments in, text, JSON and an
//! exit code out, with a fake service at the other end of a real endpoint.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, also in what it calls"
)]

mod audit;
mod examples;
mod failures;
mod fake;
mod manual;
mod streams;
mod trust;
mod verbs;

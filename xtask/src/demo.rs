//! `cargo demo`: the whole product on this machine, without root.

use anyhow::bail;
use clap::Args;

/// What the demo is asked to do.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DemoArgs {}

/// Runs the demo; succeeds only if every step held.
///
/// # Errors
/// Names the step that did not hold.
pub(crate) fn run(_args: DemoArgs) -> anyhow::Result<()> {
    bail!("the demo is not built yet")
}

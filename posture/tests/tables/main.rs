//! The built-in engine over trees of files, under attack, and on this machine.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may end when its own setting fails, and shows what it saw"
)]

mod checks;
mod hostile;
mod schema;
mod this_machine;
mod tree;

//! How much either end of a tunnel does before others get their turn.

use std::time::Duration;

/// Room for everything that one full inbox decrypts to.
pub(crate) const PLAIN: usize = 4 * 64 * 1500 + MAX_PACKET;

/// Above any MTU that a tunnel is given.
pub(crate) const MAX_PACKET: usize = 2048;

/// Then others get their turn.
pub(crate) const MAX_INBOXES: u32 = 8;
pub(crate) const MAX_OUTBOXES: usize = 16;

/// Tokio's timers count milliseconds.
pub(crate) const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

//! How much either end of a tunnel does before others get their turn.

use std::io;
use std::time::Duration;

use tunnel_proto::queueing::Intake;

use crate::device::Device;

/// Takes in what the device has, as far as there is room; returns whether that
/// was all.
pub(crate) fn read_ahead(device: &Device, intake: &mut Intake) -> bool {
    while let Some(space) = intake.space() {
        match device.try_read(space) {
            Ok(length) => intake.commit(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) => {
                tracing::warn!(%error, "The device could not be read");
                return true;
            }
        }
    }
    false
}

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

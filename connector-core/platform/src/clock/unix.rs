use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// On Linux the monotonic clock stops in sleep and the boot clock does not; on
/// macOS `CLOCK_MONOTONIC` itself counts sleep.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

pub(super) fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(CLOCK)).unwrap_or(Duration::ZERO)
}

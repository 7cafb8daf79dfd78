//! Reads the clocks that decisions rest on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use connector_core::time::{Moment, Now, WallTime};

#[cfg_attr(unix, path = "clock/unix.rs")]
#[cfg_attr(windows, path = "clock/windows.rs")]
mod imp;

/// Reads the boot clock, which runs on while the machine sleeps.
#[must_use]
pub fn moment() -> Moment {
    Moment::from_boot(imp::since_boot())
}

/// Reads both clocks.
#[must_use]
pub fn now() -> Now {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Now {
        moment: moment(),
        wall: WallTime::default() + since_epoch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_does_not_go_back() {
        let first = moment();

        assert!(first.since_boot() > Duration::ZERO);
        assert!(moment() >= first);
    }
}

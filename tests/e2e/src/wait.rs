//! Waiting for conditions, never for time.

use std::time::{Duration, Instant};

/// Long enough for a busy machine; reaching it is a failure.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Asks until there is an answer, and returns it.
///
/// # Panics
///
/// If there is none within `limit`; `what` says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::park_timeout(PAUSE);
    }
}

/// Between two looks: short beside anything that is measured here.
const PAUSE: Duration = Duration::from_millis(3);

//! Linux has no place of its own: the file is all there is.

use super::{Found, ManagedError};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the other systems have a place that may not be readable"
)]
pub(super) fn native() -> Result<Option<Found>, ManagedError> {
    Ok(None)
}

//! The desktop that shows the icon, its menu and messages.

#[cfg_attr(target_os = "linux", path = "desktop/freedesktop.rs")]
#[cfg_attr(not(target_os = "linux"), path = "desktop/native.rs")]
mod imp;

pub(crate) use self::imp::{Desktop, run};

/// A person chooses one thing at a time.
const MAX_CHOICES: usize = 16;

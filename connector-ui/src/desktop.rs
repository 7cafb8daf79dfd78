//! The desktop that shows the icon, its menu and messages.

#[cfg_attr(target_os = "linux", path = "desktop/freedesktop.rs")]
#[cfg_attr(not(target_os = "linux"), path = "desktop/native.rs")]
mod imp;

pub(crate) use self::imp::{Desktop, run};

/// Returns the person's locales, the most important first.
pub(crate) fn locales() -> impl Iterator<Item = String> {
    ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
}

/// A person chooses one thing at a time.
const MAX_CHOICES: usize = 16;

//! The desktop that shows the icon, its menu and messages.

#[cfg_attr(target_os = "linux", path = "desktop/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "desktop/other.rs")]
mod imp;

pub(crate) use self::imp::Desktop;

/// Returns the person's locales, the most important first.
pub(crate) fn locales() -> impl Iterator<Item = String> {
    ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
}

//! Systems whose supervisor asks nothing of the service.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

pub(super) fn host(_body: fn() -> bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[derive(Debug)]
pub(super) struct Supervisor;

impl Supervisor {
    pub(super) fn find(_environment: impl Fn(&str) -> Option<OsString>) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "systemd has one")]
    pub(super) const fn pace(&self) -> Option<Duration> {
        None
    }

    #[expect(
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut,
        reason = "systemd is told"
    )]
    pub(super) const fn alive(&mut self) {}

    #[expect(clippy::unused_self, reason = "systemd is told")]
    pub(super) const fn tell(&self, _state: &str) {}
}

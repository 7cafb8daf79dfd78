//! Descriptors from which the kernel tells of things.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// A descriptor that is read whenever there is something.
#[derive(Debug)]
pub(super) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Takes a descriptor that does not block. Needs a tokio runtime.
    #[expect(unsafe_code, reason = "tokio cannot know that a descriptor stays open")]
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: an owned descriptor stays open, and the same, until it is dropped.
        let registered = unsafe { AsyncFd::register(descriptor) };
        Ok(registered.map(Self)?)
    }

    /// Waits until there is something, then reads until there is nothing. Returns
    /// whether something was lost.
    ///
    /// Cancelling it loses nothing.
    pub(super) async fn drain(
        &self,
        mut read: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    ) -> bool {
        let Ok(mut guard) = self.0.readable().await else {
            // The runtime is being shut down.
            return std::future::pending().await;
        };
        let mut was_lost = false;
        loop {
            match read(guard.get_inner().as_fd()) {
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::NOBUFS) => was_lost = true,
                Err(_) => {
                    was_lost = true;
                    break;
                }
            }
        }
        guard.clear_ready();
        was_lost
    }
}

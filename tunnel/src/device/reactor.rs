//! One thread's wait for the device, the sockets, and others' calls.

#[cfg_attr(unix, path = "reactor/unix.rs")]
#[cfg_attr(windows, path = "reactor/windows.rs")]
mod imp;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Device;
use crate::sockets::{Ports, RawPort};

/// Waits for whatever comes first; what is ready stays so until it is taken.
#[derive(Debug)]
pub struct Reactor {
    inner: imp::Reactor,
    shared: Arc<Shared>,
}

/// Ends a [`Reactor`]'s wait from any thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Shared>);

/// What a wait was ended by; nothing, if the time was up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ready {
    /// The device has packets, or is gone.
    pub device: bool,
    /// A socket has datagrams.
    pub sockets: bool,
    /// A socket has room to send.
    pub writable: bool,
    /// Somebody called.
    pub woken: bool,
}

#[derive(Debug)]
struct Shared {
    /// Whether a call is on its way already: ten take one system call.
    is_called: AtomicBool,
    bell: imp::Bell,
}

impl Reactor {
    /// Prepares to wait for `device`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn new(device: &Device) -> io::Result<(Self, Waker)> {
        let (inner, bell) = imp::Reactor::new(&device.inner)?;
        let shared = Arc::new(Shared {
            is_called: AtomicBool::new(false),
            bell,
        });
        let waker = Waker(Arc::clone(&shared));
        Ok((Self { inner, shared }, waker))
    }

    /// Waits for datagrams, for a call, for the device if `device` says so, and
    /// for room to send if `writable` does, at most for `timeout`. It may also
    /// end early.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn wait(
        &mut self,
        device: bool,
        sockets: &Ports<RawPort>,
        writable: bool,
        timeout: Option<Duration>,
    ) -> io::Result<Ready> {
        let ready = self.inner.wait(device, sockets, writable, timeout)?;
        if ready.woken {
            self.shared.bell.silence();
            // Whoever calls from now on rings again; what was left for us
            // before is seen by whoever looks after this.
            self.shared.is_called.swap(false, Ordering::AcqRel);
        }
        Ok(ready)
    }
}

impl Waker {
    /// Ends the current wait, or the next one if there is none.
    pub fn wake(&self) {
        if !self.0.is_called.swap(true, Ordering::AcqRel) {
            self.0.bell.ring();
        }
    }
}

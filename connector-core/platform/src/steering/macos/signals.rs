//! What the system tells of changes to routes, links, addresses and resolvers.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::{Errno, ioctl_fionbio, read};
use tokio::io::unix::AsyncFd;

use super::super::sequence;
use super::route_message::{self, Message};
use super::routing_socket;

/// Tells of moves to another network.
#[derive(Debug)]
pub(crate) struct NetworkChanges(RoutingSignals);

impl NetworkChanges {
    pub(crate) fn listen() -> io::Result<Self> {
        RoutingSignals::listen().map(Self)
    }

    pub(crate) async fn next(&self) {
        self.0.next(Message::tells_of_roaming).await;
    }
}

/// Tells that a route or a resolver may be other than it was made. The packet
/// filter tells nobody; it is looked at whenever anything else is told.
#[derive(Debug)]
pub(in crate::steering) struct Signals {
    routing: RoutingSignals,
    resolver: AsyncFd<Notification>,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            routing: RoutingSignals::listen()?,
            resolver: watched(Notification::register()?)?,
        })
    }
}

impl sequence::Signals for Signals {
    async fn next(&mut self) {
        tokio::select! {
            () = self.routing.next(Message::tells_of_routing) => {}
            () = drained(&self.resolver, |_| true) => {}
        }
    }
}

#[derive(Debug)]
struct RoutingSignals(AsyncFd<OwnedFd>);

impl RoutingSignals {
    fn listen() -> io::Result<Self> {
        let socket = routing_socket::open()?;
        ioctl_fionbio(&socket, true)?;
        watched(socket).map(Self)
    }

    async fn next(&self, wanted: fn(Message) -> bool) {
        drained(&self.0, |bytes| route_message::messages(bytes).any(wanted)).await;
    }
}

#[expect(
    unsafe_code,
    reason = "a descriptor may be closed behind its owner's back"
)]
fn watched<Source: AsRawFd>(source: Source) -> io::Result<AsyncFd<Source>> {
    // SAFETY: the sources here own a valid descriptor, which they neither
    // replace nor close before they are dropped.
    Ok(unsafe { AsyncFd::register(source) }?)
}

/// Waits until something `wanted` can be read, and reads everything there is.
async fn drained<Source: AsFd + AsRawFd>(source: &AsyncFd<Source>, wanted: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 2048];
    loop {
        let Ok(mut ready) = source.readable().await else {
            // The runtime is going down.
            return std::future::pending().await;
        };
        let mut is_wanted = false;
        loop {
            match read(source.get_ref(), &mut buffer) {
                // Nothing will come any more.
                Ok(0) => return std::future::pending().await,
                Ok(length) => is_wanted |= wanted(&buffer[..length]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Messages were lost: what they told is unknown.
                Err(Errno::NOBUFS) => is_wanted = true,
                Err(_) => return std::future::pending().await,
            }
        }
        ready.clear_ready();
        if is_wanted {
            return;
        }
    }
}

/// A registration for one of the system's notifications (notify(3)).
#[derive(Debug)]
struct Notification {
    descriptor: RawFd,
    token: i32,
}

impl Notification {
    /// Registers for changes to what the machine asks for names.
    #[expect(unsafe_code, reason = "the system's interface")]
    fn register() -> io::Result<Self> {
        let (mut descriptor, mut token) = (-1, -1);
        // SAFETY: the name ends with zero, both pointers are to live integers.
        let status = unsafe {
            notify_register_file_descriptor(
                c"com.apple.system.SystemConfiguration.dns_configuration".as_ptr(),
                &raw mut descriptor,
                0,
                &raw mut token,
            )
        };
        if status != NOTIFY_STATUS_OK {
            return Err(io::Error::other(format!(
                "the system does not tell of changed name servers: notify_register_file_descriptor gives {status}"
            )));
        }
        let registered = Self { descriptor, token };
        ioctl_fionbio(&registered, true)?;
        Ok(registered)
    }
}

impl AsRawFd for Notification {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor
    }
}

impl AsFd for Notification {
    #[expect(unsafe_code, reason = "the library owns the descriptor")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor stays open until the registration is dropped.
        unsafe { BorrowedFd::borrow_raw(self.descriptor) }
    }
}

impl Drop for Notification {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn drop(&mut self) {
        // SAFETY: the token is of a registration that was not cancelled; the
        // library closes the descriptor.
        unsafe { notify_cancel(self.token) };
    }
}

const NOTIFY_STATUS_OK: u32 = 0;

#[expect(unsafe_code, reason = "part of the system's library, missing in libc")]
unsafe extern "C" {
    fn notify_register_file_descriptor(
        name: *const libc::c_char,
        descriptor: *mut libc::c_int,
        flags: libc::c_int,
        token: *mut libc::c_int,
    ) -> u32;
    fn notify_cancel(token: libc::c_int) -> u32;
}

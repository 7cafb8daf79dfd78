//! What the Unixes have in common, and no crate of ours offers.

use std::io;
use std::os::fd::AsRawFd;

use socket2::Socket;

/// Sets an option of a socket to zero.
pub(super) fn switch_off(
    socket: &Socket,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<()> {
    let off: libc::c_int = 0;
    let length = libc::socklen_t::try_from(size_of_val(&off)).unwrap_or_default();
    #[expect(unsafe_code, reason = "a system call")]
    // SAFETY: `off` lives through the call and is as long as `length` says; the
    // descriptor is the socket's, which lives as well.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const off).cast(),
            length,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

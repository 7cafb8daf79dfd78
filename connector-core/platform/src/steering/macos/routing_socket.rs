//! The kernel's routing socket and its dumps (route(4), sysctl(3)).

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr;

use connector_core::network::Prefix;
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, Shutdown, SocketType, shutdown, socket};

use super::route_message::{self, ADDRESS_HEADER, Message, ROUTE_HEADER, Request, Route};

/// Opens a socket that tells of every change, and takes requests.
pub(super) fn open() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::ROUTE, SocketType::RAW, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(socket)
}

/// Asks the kernel to add or delete a route; it answers through the error.
pub(super) fn send(request: Request, prefix: Prefix, interface: u16) -> Result<(), Errno> {
    let socket = socket(AddressFamily::ROUTE, SocketType::RAW, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    // What the kernel tells everybody about the change is not read here.
    shutdown(&socket, Shutdown::Read)?;
    let message = route_message::request(request, prefix, interface, 1);
    rustix::io::write(&socket, &message).map(drop)
}

/// Returns every route of the machine, without those made for neighbours in use.
pub(super) fn routes() -> io::Result<Vec<Route>> {
    let bytes = dump(libc::NET_RT_DUMP)?;
    let routes = route_message::messages(&bytes).filter_map(|message| match message {
        Message::Route(route) if !route.is_clone => Some(route),
        Message::Route(_) | Message::Address { .. } | Message::Link | Message::Other => None,
    });
    Ok(routes.collect())
}

/// Returns every address of the machine, with the prefix that is on its link.
pub(super) fn addresses() -> io::Result<Vec<Prefix>> {
    let bytes = dump(libc::NET_RT_IFLIST)?;
    let prefixes = route_message::messages(&bytes).filter_map(|message| match message {
        Message::Address { prefix } => prefix,
        Message::Route(_) | Message::Link | Message::Other => None,
    });
    Ok(prefixes.collect())
}

/// Returns the number of the interface called `name`.
pub(super) fn interface(name: &str) -> io::Result<Option<u16>> {
    Ok(interface_index(name)?.and_then(|index| u16::try_from(index).ok()))
}

#[expect(unsafe_code, reason = "the system's interface")]
pub(super) fn interface_index(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name)?;
    // SAFETY: the name ends with zero and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    Ok((index != 0).then_some(index))
}

/// Returns what the kernel knows, as messages.
fn dump(what: i32) -> io::Result<Vec<u8>> {
    let mut name = [libc::CTL_NET, libc::PF_ROUTE, 0, libc::AF_UNSPEC, what, 0];
    for _ in 0..ATTEMPTS {
        let mut length = 0;
        sysctl(&mut name, None, &mut length)?;
        // Routes may come while the buffer is being made.
        length += length / 4;
        let mut bytes = vec![0; length];
        match sysctl(&mut name, Some(&mut bytes), &mut length) {
            Ok(()) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(
        "the routing table grows faster than it can be read",
    ))
}

#[expect(unsafe_code, reason = "the system's interface")]
fn sysctl(name: &mut [i32; 6], buffer: Option<&mut Vec<u8>>, length: &mut usize) -> io::Result<()> {
    let start = buffer.map_or(ptr::null_mut(), |bytes| {
        *length = bytes.len();
        bytes.as_mut_ptr().cast()
    });
    // SAFETY: the name has six numbers; the buffer, if there is one, has
    // `length` bytes; nothing is set.
    let outcome = unsafe { libc::sysctl(name.as_mut_ptr(), 6, start, length, ptr::null_mut(), 0) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// How often a dump is tried while routes come in.
const ATTEMPTS: u32 = 8;

const _: () = assert!(size_of::<libc::rt_msghdr>() == ROUTE_HEADER);
const _: () = assert!(size_of::<libc::ifa_msghdr>() == ADDRESS_HEADER);

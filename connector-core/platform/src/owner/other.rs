use std::io;
use std::net::SocketAddr;

use super::Owner;

pub(super) fn of_tcp(_client: SocketAddr, _server: SocketAddr) -> io::Result<Owner> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this version cannot tell who owns a connection on this system",
    ))
}

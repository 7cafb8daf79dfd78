use std::io;
use std::net::SocketAddr;

use super::Owner;

#[derive(Debug, Default)]
pub(super) struct Owners;

impl Owners {
    #[expect(
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut,
        reason = "the interface is shared"
    )]
    pub(super) fn of_tcp(&mut self, _client: SocketAddr, _server: SocketAddr) -> io::Result<Owner> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this version cannot tell who owns a connection on this system",
        ))
    }
}

use std::net::SocketAddr;

use super::Surroundings;

pub(super) fn look() -> Surroundings {
    Surroundings::default()
}

pub(super) fn path_mtu(_destination: SocketAddr) -> Option<u32> {
    None
}

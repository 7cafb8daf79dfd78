use std::net::SocketAddr;

use super::Surroundings;

pub(super) fn look() -> Surroundings {
    Surroundings::default()
}

pub(super) fn path_mtus(destinations: &[SocketAddr]) -> Vec<Option<u32>> {
    vec![None; destinations.len()]
}

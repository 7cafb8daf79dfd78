//! Notices of the network having changed.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use super::kernel::{self, Address, RawRoute};
use super::netlink::{Notices, ROUTES, Socket};

/// See [`crate::steering::NetworkChanges`].
#[derive(Debug)]
pub(crate) struct NetworkChanges {
    notices: Notices,
    /// What is known, and whether it can be used: addresses that are announced
    /// again and again are told each time.
    addresses: BTreeMap<(u32, IpAddr), bool>,
}

impl NetworkChanges {
    pub(crate) fn listen() -> io::Result<Self> {
        let groups = kernel::GROUP_LINKS | kernel::GROUP_ADDRESSES | kernel::GROUP_ROUTES;
        let notices = Notices::join(ROUTES, groups)?;
        let addresses = kernel::addresses(&Socket::open(ROUTES)?)?;
        Ok(Self {
            notices,
            addresses: addresses
                .iter()
                .map(|known| ((known.link, known.address), known.is_usable))
                .collect(),
        })
    }

    pub(crate) async fn next(&mut self) {
        let addresses = &mut self.addresses;
        while !self
            .notices
            .next(|kind, body| is_change(addresses, kind, body))
            .await
        {}
    }
}

fn is_change(addresses: &mut BTreeMap<(u32, IpAddr), bool>, kind: u16, body: &[u8]) -> bool {
    match kind {
        kernel::NEW_ADDRESS => Address::parse(body).is_some_and(|told| {
            let before = addresses.insert((told.link, told.address), told.is_usable);
            told.is_usable && before != Some(true)
        }),
        kernel::DELETE_ADDRESS => Address::parse(body)
            .is_some_and(|told| addresses.remove(&(told.link, told.address)).is_some()),
        kernel::NEW_LINK => kernel::is_change_of_link(body),
        kernel::DELETE_LINK => true,
        kernel::NEW_ROUTE | kernel::DELETE_ROUTE => {
            RawRoute::parse(body).is_some_and(|route| route.is_default())
        }
        _ => false,
    }
}

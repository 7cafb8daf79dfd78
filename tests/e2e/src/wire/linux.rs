//! Packet sockets (packet(7)).

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::RcvBuf;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind,
    recvfrom, send, setsockopt, socket,
};

use super::Received;

#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    kind: u16,
}

impl Wire {
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let address = link_address(interface)?;
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )?;
        // The address names the interface and no protocol, so that the socket's own stays: all of them.
        bind(socket.as_raw_fd(), &address)?;
        // As much as the system gives: it may be less.
        setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER)?;
        Ok(Self {
            socket,
            kind: address.hatype(),
        })
    }

    pub(super) fn has_ethernet(&self) -> bool {
        self.kind == ARPHRD_ETHER
    }

    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        loop {
            return match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), buffer) {
                Ok((length, from)) => Ok(Some(Received {
                    length: length.min(buffer.len()),
                    came_in: from.is_none_or(|from| from.pkttype() != PACKET_OUTGOING),
                })),
                Err(Errno::EAGAIN) => Ok(None),
                // The interface was taken down: said once, and over when it is up again.
                Err(Errno::EINTR | Errno::ENETDOWN) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

fn link_address(interface: &str) -> io::Result<LinkAddr> {
    let of_name = getifaddrs()?.filter(|found| found.interface_name == interface);
    of_name
        .filter_map(|found| found.address)
        .find_map(|address: SockaddrStorage| address.as_link_addr().copied())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no interface {interface}"),
            )
        })
}

pub(super) fn read_orders(buffer: &mut [u8]) -> io::Result<usize> {
    Ok(nix::unistd::read(io::stdin().as_fd(), buffer)?)
}

pub(super) fn wait(wires: &[&Wire], limit: Option<Duration>) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut watched = vec![PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    watched.extend(
        wires
            .iter()
            .map(|wire| PollFd::new(wire.socket.as_fd(), PollFlags::POLLIN)),
    );
    let timeout = match limit {
        // Rounded up: a frame that is due within the millisecond is polled for once, not a thousand times.
        Some(limit) => {
            PollTimeout::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
        }
        None => PollTimeout::NONE,
    };
    match poll(&mut watched, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(watched[0].any().unwrap_or(false))
}

/// `<linux/if_arp.h>`
const ARPHRD_ETHER: u16 = 1;
/// `<linux/if_packet.h>`
const PACKET_OUTGOING: u8 = 4;
/// Enough for the burst of a whole TCP window.
const RECEIVE_BUFFER: usize = 8 << 20;

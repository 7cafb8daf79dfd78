//! Packet sockets (packet(7)).

use std::cell::OnceCell;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{RcvBuf, ReceiveTimestampns};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrStorage, bind, recvmsg, sendto, setsockopt, socket,
};
use nix::sys::time::TimeSpec;

use super::Received;

#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    /// The kernel's number of the interface.
    index: usize,
    /// How the kernel calls the interface. It tells at once where stations have addresses, and with the first frame
    /// where they have none, as on TUN devices.
    address: OnceCell<LinkAddr>,
}

impl Wire {
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let index = usize::try_from(if_nametoindex(interface)?).unwrap_or_default();
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )?;
        // As much as the system gives: it may be less.
        setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER)?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        let address = OnceCell::new();
        if let Some(known) = link_address(interface)? {
            // It names the interface and no protocol, so that the socket's own stays: all of them.
            bind(socket.as_raw_fd(), &known)?;
            let _first = address.set(known);
        }
        Ok(Self {
            socket,
            index,
            address,
        })
    }

    pub(super) fn has_ethernet(&self) -> bool {
        self.address
            .get()
            .is_some_and(|address| address.hatype() == ARPHRD_ETHER)
    }

    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        loop {
            match receive(&self.socket, buffer) {
                Ok((Some(from), length, at)) if from.ifindex() == self.index => {
                    let _known = self.address.set(from);
                    return Ok(Some(Received {
                        length,
                        came_in: from.pkttype() != PACKET_OUTGOING,
                        at,
                    }));
                }
                // Another interface's; or the interface was taken down: said once, and over when it is up again.
                Ok(_) | Err(Errno::EINTR | Errno::ENETDOWN) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        let unknown = || {
            io::Error::new(
                io::ErrorKind::NotConnected,
                "no frame has shown how the interface is called",
            )
        };
        let address = self.address.get().ok_or_else(unknown)?;
        sendto(
            self.socket.as_raw_fd(),
            frame,
            address,
            MsgFlags::MSG_DONTWAIT,
        )?;
        Ok(())
    }
}

/// Takes a frame: where it was seen, how much of it is in the buffer, and when the kernel saw it.
fn receive(
    socket: &OwnedFd,
    buffer: &mut [u8],
) -> Result<(Option<LinkAddr>, usize, Duration), Errno> {
    let mut control = cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<LinkAddr>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let mut at = Duration::ZERO;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmTimestampns(time) = part {
            at = time.into();
        }
    }
    Ok((message.address, message.bytes, at))
}

fn link_address(interface: &str) -> io::Result<Option<LinkAddr>> {
    let of_name = getifaddrs()?.filter(|found| found.interface_name == interface);
    let mut addresses = of_name.filter_map(|found| found.address);
    Ok(addresses.find_map(|address: SockaddrStorage| address.as_link_addr().copied()))
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

#[path = "unix.rs"]
mod unix;

use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use socket2::Socket;
use tun_rs::{DeviceBuilder, SyncDevice};
use tunnel_proto::offload::VirtioHeader;

use super::{DeviceConfig, Offload, OpenError};

pub(super) struct Device {
    tun: SyncDevice,
    addresses: Mutex<Vec<(IpAddr, u8)>>,
}

impl Device {
    pub(super) fn open(
        config: &DeviceConfig,
        _offload: bool,
    ) -> Result<(Self, Offload), OpenError> {
        let mut builder = DeviceBuilder::new()
            .mtu(config.mtu)
            .with(|builder| {
                // Routes are not the device's business.
                builder.associate_route(false).packet_information(true);
            })
            .inherit_enable_state();
        if config.name.starts_with("utun") {
            builder = builder.name(&config.name);
        }
        let tun = builder
            .build_sync()
            .map_err(|problem| refusal(config, problem))?;
        tun.set_nonblocking(true)
            .map_err(|problem| OpenError::other(config, "set up", problem))?;
        let device = Self {
            tun,
            addresses: Mutex::default(),
        };
        Ok((device, Offload::default()))
    }

    pub(super) fn name(&self) -> io::Result<String> {
        self.tun.name()
    }

    pub(super) fn bring_up(&self) -> io::Result<()> {
        self.tun.enabled(true)
    }

    pub(super) fn try_read(
        &self,
        header: &mut [u8; VirtioHeader::LENGTH],
        packet: &mut [u8],
    ) -> io::Result<usize> {
        let mut family = [0; FAMILY];
        let mut slices = [IoSliceMut::new(&mut family), IoSliceMut::new(packet)];
        let length = rustix::io::readv(&self.tun, &mut slices)?;
        header.fill(0);
        Ok(VirtioHeader::LENGTH + length.saturating_sub(FAMILY))
    }

    pub(super) fn try_write(
        &self,
        header: &[u8; VirtioHeader::LENGTH],
        packet: &[IoSlice<'_>],
    ) -> io::Result<()> {
        let ([packet], [0, 0, ..]) = (packet, header) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let family = match packet.first().map(|first| first >> 4) {
            Some(4) => libc::AF_INET,
            Some(6) => libc::AF_INET6,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let family = family.to_be_bytes();
        rustix::io::writev(&self.tun, &[IoSlice::new(&family), *packet])?;
        Ok(())
    }

    pub(super) fn set_addresses(&self, wanted: &[(IpAddr, u8)]) -> io::Result<()> {
        let mut present = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for address in std::mem::take(&mut *present) {
            if wanted.contains(&address) {
                present.push(address);
            } else {
                self.tun.remove_address(address.0)?;
            }
        }
        for address in wanted {
            if present.contains(address) {
                continue;
            }
            match *address {
                (IpAddr::V4(address), prefix) => self.tun.add_address_v4(address, prefix)?,
                (IpAddr::V6(address), prefix) => self.tun.add_address_v6(address, prefix)?,
            }
            present.push(*address);
        }
        Ok(())
    }

    pub(super) fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        self.tun.set_mtu(mtu)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tun.as_fd()
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").finish_non_exhaustive()
    }
}

fn refusal(config: &DeviceConfig, problem: io::Error) -> OpenError {
    let name = config.name.clone();
    match Errno::from_io_error(&problem) {
        Some(Errno::BUSY) => OpenError::InUse { name },
        Some(Errno::PERM | Errno::ACCESS) => OpenError::NotPermitted {
            name,
            problem,
            remedy: "as root",
        },
        _ => OpenError::other(config, "make", problem),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(super) fn set_mark(_socket: &Socket, _mark: u32) -> io::Result<()> {
    Ok(())
}

pub(super) fn allow_fragments(socket: &Socket, is_v6: bool) -> io::Result<()> {
    let (level, option) = if is_v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG)
    } else {
        (libc::IPPROTO_IP, libc::IP_DONTFRAG)
    };
    unix::switch_off(socket, level, option)
}

pub(super) fn enlarge_buffers(socket: &Socket, bytes: usize) {
    // The system refuses what is above its limit (kern.ipc.maxsockbuf).
    let mut bytes = bytes;
    while bytes > DEFAULT_BUFFER && socket.set_recv_buffer_size(bytes).is_err() {
        bytes /= 2;
    }
    while bytes > DEFAULT_BUFFER && socket.set_send_buffer_size(bytes).is_err() {
        bytes /= 2;
    }
}

/// The address family before each packet of a utun device, in the network's byte order.
const FAMILY: usize = 4;

/// What sockets have by default is not worth asking for.
const DEFAULT_BUFFER: usize = 256 << 10;

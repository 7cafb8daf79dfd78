#[path = "linux/netlink.rs"]
mod netlink;
#[path = "unix.rs"]
mod unix;

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use socket2::Socket;
use tun_rs::{DeviceBuilder, SyncDevice};
use tunnel_proto::offload::VirtioHeader;

use super::{DeviceConfig, Offload, OpenError};

pub(super) struct Device {
    tun: SyncDevice,
    /// Whether packets come and go behind headers.
    has_headers: bool,
    index: u32,
    addresses: Mutex<Vec<(IpAddr, u8)>>,
}

impl Device {
    pub(super) fn open(config: &DeviceConfig, offload: bool) -> Result<(Self, Offload), OpenError> {
        let tun = if offload {
            // A kernel that lacks the offload says so in one way or another.
            build(config, true).or_else(|problem| match Errno::from_io_error(&problem) {
                Some(Errno::BUSY | Errno::PERM | Errno::ACCESS | Errno::NOENT) => Err(problem),
                _ => build(config, false),
            })
        } else {
            build(config, false)
        };
        let tun = tun.map_err(|problem| refusal(config, problem))?;
        let failed = |problem| OpenError::other(config, "set up", problem);
        tun.set_nonblocking(true).map_err(failed)?;
        let index = tun.if_index().map_err(failed)?;
        netlink::set_queue_length(index, config.queue_length).map_err(failed)?;
        if let Err(problem) = netlink::forbid_own_addresses(index) {
            // Then the system talks to itself through the device, in vain.
            tracing::debug!(%problem, "The device may get a link-local address");
        }
        let offload = Offload {
            tcp: tun.tcp_gso(),
            udp: tun.udp_gso(),
        };
        let device = Self {
            has_headers: offload.tcp,
            index,
            addresses: Mutex::default(),
            tun,
        };
        Ok((device, offload))
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
        if self.has_headers {
            let mut slices = [io::IoSliceMut::new(header), io::IoSliceMut::new(packet)];
            return Ok(rustix::io::readv(&self.tun, &mut slices)?);
        }
        header.fill(0);
        Ok(VirtioHeader::LENGTH + rustix::io::read(&self.tun, packet)?)
    }

    pub(super) fn try_write(
        &self,
        header: &[u8; VirtioHeader::LENGTH],
        packet: &[IoSlice<'_>],
    ) -> io::Result<()> {
        if !self.has_headers {
            if *header != [0; VirtioHeader::LENGTH] {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            rustix::io::writev(&self.tun, packet)?;
            return Ok(());
        }
        let header = IoSlice::new(header);
        if let [packet] = packet {
            rustix::io::writev(&self.tun, &[header, *packet])?;
            return Ok(());
        }
        let mut slices = [header; 1 + MAX_SLICES];
        let used = slices
            .get_mut(1..=packet.len())
            .ok_or(io::ErrorKind::InvalidInput)?;
        used.copy_from_slice(packet);
        rustix::io::writev(&self.tun, &slices[..=packet.len()])?;
        Ok(())
    }

    pub(super) fn set_addresses(&self, wanted: &[(IpAddr, u8)]) -> io::Result<()> {
        let mut present = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Those that are to go first: with the first address of a network go
        // the others of it.
        for address in std::mem::take(&mut *present) {
            if !wanted.contains(&address) {
                match netlink::remove_address(self.index, address) {
                    Err(problem) if !is_absent(&problem) => return Err(problem),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        for address in wanted {
            match netlink::add_address(self.index, *address) {
                Ok(()) => {
                    await_delivery(address.0);
                    present.push(*address);
                }
                Err(problem) if address.0.is_ipv6() && is_switched_off(&problem) => {
                    tracing::info!("This machine has no IPv6, so the device has none either");
                }
                Err(problem) => return Err(problem),
            }
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
        f.debug_struct("Device")
            .field("index", &self.index)
            .field("has_headers", &self.has_headers)
            .finish_non_exhaustive()
    }
}

fn build(config: &DeviceConfig, offload: bool) -> io::Result<SyncDevice> {
    DeviceBuilder::new()
        .name(&config.name)
        .mtu(config.mtu)
        .with(|builder| {
            builder.offload(offload);
        })
        // It has no address yet.
        .inherit_enable_state()
        .build_sync()
}

/// Waits until packets for an address are delivered: the kernel finishes adding
/// one of IPv6 after it has said that it has, and drops packets until then.
fn await_delivery(address: IpAddr) {
    let deadline = Instant::now() + DELIVERY_TAKES;
    while !netlink::is_local(address).unwrap_or(false) {
        if Instant::now() >= deadline {
            tracing::debug!(%address, "The device's address is not in use yet");
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn refusal(config: &DeviceConfig, problem: io::Error) -> OpenError {
    let name = config.name.clone();
    match Errno::from_io_error(&problem) {
        Some(Errno::BUSY) => OpenError::InUse { name },
        Some(Errno::PERM | Errno::ACCESS) => OpenError::NotPermitted {
            name,
            problem,
            remedy: "as root or with the capability CAP_NET_ADMIN",
        },
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => OpenError::NoDriver {
            problem,
            remedy: "load the driver with `modprobe tun`; a container has to be given /dev/net/tun",
        },
        _ => OpenError::other(config, "make", problem),
    }
}

fn is_absent(problem: &io::Error) -> bool {
    Errno::from_io_error(problem) == Some(Errno::ADDRNOTAVAIL)
}

fn is_switched_off(problem: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(problem),
        Some(Errno::ACCESS | Errno::AFNOSUPPORT | Errno::OPNOTSUPP)
    )
}

pub(super) fn set_mark(socket: &Socket, mark: u32) -> io::Result<()> {
    socket.set_mark(mark)
}

pub(super) fn allow_fragments(socket: &Socket, is_v6: bool) -> io::Result<()> {
    if is_v6 {
        sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT)?;
        unix::switch_off(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG)?;
    }
    // An IPv6 socket may be one for both.
    sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)?;
    Ok(())
}

pub(super) fn enlarge_buffers(socket: &Socket, bytes: usize) {
    if sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        // Up to net.core.rmem_max, then.
        let _ = socket.set_recv_buffer_size(bytes);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, bytes).is_err() {
        let _ = socket.set_send_buffer_size(bytes);
    }
}

/// The headers of a super-packet and the payloads of its 64 segments.
const MAX_SLICES: usize = 65;

/// It takes a few milliseconds, unless something is very wrong.
const DELIVERY_TAKES: Duration = Duration::from_secs(1);

//! The network device that programs' packets come out of, and what else of the
//! system the packet path needs. No other module of this package asks which
//! system it runs on.

mod reactor;

#[cfg_attr(target_os = "linux", path = "device/linux.rs")]
#[cfg_attr(target_os = "macos", path = "device/macos.rs")]
#[cfg_attr(windows, path = "device/windows.rs")]
mod imp;

use std::io::{self, IoSlice};
use std::net::IpAddr;

use socket2::Socket;
pub use tunnel_proto::offload::Offload;
use tunnel_proto::offload::VirtioHeader;

pub use self::reactor::{Reactor, Ready, Waker};

/// A network device (TUN): packets that the system routes into it are read from
/// it, and what is written to it the system receives.
///
/// It exists for as long as this value, and a [`Reactor`] that waits for it, do.
#[derive(Debug)]
pub struct Device {
    inner: imp::Device,
    name: String,
    offload: Offload,
}

/// What a device is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Its name, where the system lets us choose; macOS numbers its devices by itself.
    pub name: String,
    /// Its own addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The longest packet, in bytes.
    pub mtu: u16,
    /// How many packets the system queues for us, where it can be told.
    pub queue_length: u32,
}

impl Device {
    /// Makes the device, with whatever offload the system has, and brings it up.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which says what to do.
    pub fn open(config: &DeviceConfig) -> Result<Self, OpenError> {
        Self::open_as(config, true)
    }

    /// Makes the device without any offload, as a system would that has none.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which says what to do.
    pub fn open_plain(config: &DeviceConfig) -> Result<Self, OpenError> {
        Self::open_as(config, false)
    }

    fn open_as(config: &DeviceConfig, offload: bool) -> Result<Self, OpenError> {
        let (inner, offload) = imp::Device::open(config, offload)?;
        let name = inner
            .name()
            .map_err(|problem| OpenError::other(config, "read the name of", problem))?;
        let device = Self {
            inner,
            name,
            offload,
        };
        device
            .inner
            .bring_up()
            .map_err(|problem| OpenError::other(config, "bring up", problem))?;
        device
            .set_addresses(&config.addresses)
            .map_err(|problem| OpenError::other(config, "set the addresses of", problem))?;
        tracing::debug!(device = %device.name, ?offload, "The network device is up");
        Ok(device)
    }

    /// Returns what the system calls the device.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what may be written to the device, and read from it, at once.
    #[must_use]
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// Reads one (super-)packet behind its header, which is zero where the
    /// system has none; returns how many bytes both have. What does not fit
    /// `buffer` is lost: it has to hold the header and 64 KiB.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if there is nothing now; anything else
    /// means that the device is gone.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (header, packet) = buffer
            .split_first_chunk_mut::<{ VirtioHeader::LENGTH }>()
            .ok_or(io::ErrorKind::InvalidInput)?;
        self.inner.try_read(header, packet)
    }

    /// Writes one (super-)packet, given in slices.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if the device does not take such a
    /// super-packet; anything else is about this packet, or the device is gone.
    pub fn try_write(
        &self,
        header: &[u8; VirtioHeader::LENGTH],
        packet: &[IoSlice<'_>],
    ) -> io::Result<()> {
        self.inner.try_write(header, packet)
    }

    /// Replaces the device's own addresses. One of an IP version that is
    /// switched off on this machine is left out.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_addresses(&self, addresses: &[(IpAddr, u8)]) -> io::Result<()> {
        self.inner.set_addresses(addresses)
    }

    /// Sets the longest packet, in bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        self.inner.set_mtu(mtu)
    }
}

/// Marks what a socket sends, so that routing and firewall can tell it (Linux's
/// `SO_MARK`); other systems know sockets by other means, and nothing is done.
///
/// # Errors
///
/// What the system says, for instance that it takes `CAP_NET_ADMIN`.
pub fn set_mark(socket: &Socket, mark: u32) -> io::Result<()> {
    imp::set_mark(socket, mark)
}

/// Lets datagrams of a UDP socket be fragmented on their way.
///
/// # Errors
///
/// What the system says.
pub fn allow_fragments(socket: &Socket) -> io::Result<()> {
    let is_v6 = socket.local_addr()?.is_ipv6();
    imp::allow_fragments(socket, is_v6)
}

/// Gives a socket send and receive buffers of up to `bytes`, as much as the
/// system allows; without it bursts are lost, not correctness.
pub fn enlarge_buffers(socket: &Socket, bytes: usize) {
    imp::enlarge_buffers(socket, bytes);
}

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has a device of this name.
    #[error(
        "the network device {name} is in use by another process; stop that one, or choose another name"
    )]
    InUse {
        /// The device.
        name: String,
    },
    /// The system has no such devices.
    #[error("this machine has no network devices for programs: {remedy} ({problem})")]
    NoDriver {
        /// What the system says.
        problem: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// It takes more rights than this process has.
    #[error(
        "this process may not make the network device {name}: run it {remedy}, or without a device ({problem})"
    )]
    NotPermitted {
        /// The device.
        name: String,
        /// What the system says.
        problem: io::Error,
        /// As whom to run.
        remedy: &'static str,
    },
    /// Something else went wrong.
    #[error("cannot {doing} the network device {name}: {problem}")]
    Other {
        /// The device.
        name: String,
        /// What was tried.
        doing: &'static str,
        /// What the system says.
        problem: io::Error,
    },
}

impl OpenError {
    fn other(config: &DeviceConfig, doing: &'static str, problem: io::Error) -> Self {
        Self::Other {
            name: config.name.clone(),
            doing,
            problem,
        }
    }
}

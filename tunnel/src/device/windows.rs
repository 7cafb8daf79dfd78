use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::os::windows::io::AsRawSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::Socket;
use tun_rs::{DeviceBuilder, SyncDevice};
use tunnel_proto::offload::VirtioHeader;
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_MOD_NOT_FOUND};
use windows_sys::Win32::Networking::WinSock::{
    IP_DONTFRAGMENT, IPPROTO_IP, IPPROTO_IPV6, IPV6_DONTFRAG, SOCKET, setsockopt,
};

use super::{DeviceConfig, Offload, OpenError};

pub(super) struct Device {
    /// Shared with the thread that waits for it.
    pub(super) tun: Arc<SyncDevice>,
    /// Whether packets may be left: the system tells of one only after it was
    /// asked in vain.
    pub(super) has_more: Arc<AtomicBool>,
    addresses: Mutex<Vec<(IpAddr, u8)>>,
}

impl Device {
    pub(super) fn open(
        config: &DeviceConfig,
        _offload: bool,
    ) -> Result<(Self, Offload), OpenError> {
        let tun = build(config).map_err(|problem| refusal(config, problem))?;
        let device = Self {
            tun: Arc::new(tun),
            has_more: Arc::new(AtomicBool::new(true)),
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
        header.fill(0);
        let received = self.tun.try_recv(packet);
        let is_empty = matches!(&received, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.has_more.store(!is_empty, Ordering::Relaxed);
        Ok(VirtioHeader::LENGTH + received?)
    }

    pub(super) fn try_write(
        &self,
        header: &[u8; VirtioHeader::LENGTH],
        packet: &[IoSlice<'_>],
    ) -> io::Result<()> {
        let ([packet], [0, 0, ..]) = (packet, header) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.tun.try_send(packet)?;
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
                // The first of IPv4 takes the place of what the system chose.
                (IpAddr::V4(address), prefix) => {
                    self.tun.set_network_address(address, prefix, None)?;
                }
                (IpAddr::V6(address), prefix) => self.tun.add_address_v6(address, prefix)?,
            }
            present.push(*address);
        }
        Ok(())
    }

    pub(super) fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        self.tun.set_mtu(mtu)?;
        self.tun.set_mtu_v6(mtu)
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").finish_non_exhaustive()
    }
}

fn build(config: &DeviceConfig) -> io::Result<SyncDevice> {
    // By its whole path: a library of this name elsewhere may be anybody's.
    let program = std::env::current_exe()?;
    let driver = program.with_file_name("wintun.dll");
    let driver = driver
        .to_str()
        .ok_or_else(|| io::Error::other("the program's folder has a name that is not Unicode"))?;
    DeviceBuilder::new()
        .name(&config.name)
        .mtu(config.mtu)
        .with(|builder| {
            builder
                .wintun_file(driver.to_owned())
                .ring_capacity(RING_CAPACITY);
        })
        .inherit_enable_state()
        .build_sync()
}

fn refusal(config: &DeviceConfig, problem: io::Error) -> OpenError {
    let code = problem
        .raw_os_error()
        .and_then(|code| u32::try_from(code).ok());
    // The loader wraps what the system says.
    let is_missing = || problem.to_string().contains("LoadLibrary");
    match code {
        Some(ERROR_ACCESS_DENIED) => OpenError::NotPermitted {
            name: config.name.clone(),
            problem,
            remedy: "as the service or as an administrator",
        },
        Some(ERROR_MOD_NOT_FOUND) => no_driver(problem),
        None if is_missing() => no_driver(problem),
        _ => OpenError::other(config, "make", problem),
    }
}

fn no_driver(problem: io::Error) -> OpenError {
    OpenError::NoDriver {
        problem,
        remedy: "install the product again, or put wintun.dll beside its program",
    }
}

#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(super) fn set_mark(_socket: &Socket, _mark: u32) -> io::Result<()> {
    Ok(())
}

pub(super) fn allow_fragments(socket: &Socket, is_v6: bool) -> io::Result<()> {
    let (level, option) = if is_v6 {
        (IPPROTO_IPV6, IPV6_DONTFRAG)
    } else {
        (IPPROTO_IP, IP_DONTFRAGMENT)
    };
    let handle = SOCKET::try_from(socket.as_raw_socket()).map_err(io::Error::other)?;
    let off = 0_u32.to_ne_bytes();
    #[expect(unsafe_code, reason = "a system call")]
    // SAFETY: `off` lives through the call and is as long as it says; the
    // handle is the socket's, which lives as well.
    let outcome = unsafe { setsockopt(handle, level, option, off.as_ptr(), 4) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

pub(super) fn enlarge_buffers(socket: &Socket, bytes: usize) {
    let _ = socket.set_recv_buffer_size(bytes);
    let _ = socket.set_send_buffer_size(bytes);
}

/// Room for some milliseconds at full speed; a power of two, as Wintun wants it.
const RING_CAPACITY: u32 = 4 << 20;

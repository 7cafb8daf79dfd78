//! `sock_diag` tells a socket's user and inode, `/proc` the processes that hold it.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use connector_core::access::{Program, Workload};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use rustix::process::geteuid;

use super::Owner;

pub(super) fn of_tcp(client: SocketAddr, server: SocketAddr) -> io::Result<Owner> {
    let socket = find_socket(client, server)?;
    let is_same_user = socket.user == geteuid().as_raw();
    Ok(Owner {
        is_same_user,
        workload: if is_same_user {
            workload(&socket)
        } else {
            Workload::Unknown
        },
    })
}

/// Returns the one program that holds the socket; where two do, it is unknown.
///
/// A process that hides its files from others of its user (not dumpable) is not
/// seen to hold it.
fn workload(socket: &Socket) -> Workload {
    let link = format!("socket:[{}]", socket.inode);
    let holders: Vec<u32> = processes_of(socket.user)
        .filter(|pid| holds(*pid, &link))
        .collect();

    let mut paths = holders.iter().map(|pid| executable(*pid));
    let Some(Some(path)) = paths.next() else {
        return Workload::Unknown;
    };
    let same_program = paths.all(|other| other.as_ref() == Some(&path));
    // The executables were read while the same processes held the socket.
    let still_held = holders.iter().all(|pid| holds(*pid, &link));
    if !(same_program && still_held) {
        return Workload::Unknown;
    }

    Workload::Known(Arc::new(Program {
        path,
        user: Some(socket.user),
        sha256: None,
    }))
}

struct Socket {
    user: u32,
    inode: u32,
}

/// Asks the kernel for exactly one socket (`sock_diag(7)`, without a dump).
fn find_socket(client: SocketAddr, server: SocketAddr) -> io::Result<Socket> {
    let diag = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&diag, &request(client, server), SendFlags::empty())?;

    let mut buffer = [0_u8; 1024];
    let (length, _) = recv(&diag, &mut buffer, RecvFlags::empty())?;
    parse_answer(&buffer[..length])
}

fn request(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let mut request = Vec::with_capacity(REQUEST_LENGTH);
    // struct nlmsghdr
    request.extend(72_u32.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    // struct inet_diag_req_v2
    request.extend([family(client), IPPROTO_TCP, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes());
    // struct inet_diag_sockid
    request.extend(client.port().to_be_bytes());
    request.extend(server.port().to_be_bytes());
    request.extend(address_bytes(client.ip()));
    request.extend(address_bytes(server.ip()));
    request.extend([0; 4]);
    request.extend([0xff; 8]);
    request
}

fn parse_answer(answer: &[u8]) -> io::Result<Socket> {
    let malformed = || io::Error::other("the kernel's answer cannot be read");
    let kind = u16::from_ne_bytes(field(answer, 4).ok_or_else(malformed)?);
    match kind {
        NLMSG_ERROR => {
            let code = i32::from_ne_bytes(field(answer, 16).ok_or_else(malformed)?);
            Err(io::Error::from_raw_os_error(-code))
        }
        SOCK_DIAG_BY_FAMILY => {
            let user = u32::from_ne_bytes(field(answer, 80).ok_or_else(malformed)?);
            let inode = u32::from_ne_bytes(field(answer, 84).ok_or_else(malformed)?);
            // A socket that is being closed has neither.
            if inode == 0 {
                return Err(io::ErrorKind::NotConnected.into());
            }
            Ok(Socket { user, inode })
        }
        _ => Err(malformed()),
    }
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

fn family(address: SocketAddr) -> u8 {
    match address {
        SocketAddr::V4(_) => AF_INET,
        SocketAddr::V6(_) => AF_INET6,
    }
}

fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    }
}

fn processes_of(user: u32) -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(move |pid| owner(*pid) == Some(user))
}

/// Returns the user whom a process belongs to; a process that does not let
/// itself be looked into belongs to root by this account.
fn owner(pid: u32) -> Option<u32> {
    Some(fs::metadata(format!("/proc/{pid}")).ok()?.uid())
}

fn holds(pid: u32, link: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target == Path::new(link))
}

fn executable(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    path.to_str().map(str::to_owned)
}

/// From `linux/netlink.h`, `linux/sock_diag.h` and `linux/socket.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const REQUEST_LENGTH: usize = 72;

//! The name servers of the machine's network adapters.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::ptr;

use windows_sys::Win32::Foundation::ERROR_BUFFER_OVERFLOW;
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_INCLUDE_GATEWAYS, GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_MULTICAST,
    GAA_FLAG_SKIP_UNICAST, GetAdaptersAddresses, IP_ADAPTER_ADDRESSES_LH,
    IP_ADAPTER_DNS_SERVER_ADDRESS_XP,
};
use windows_sys::Win32::NetworkManagement::Ndis::IfOperStatusUp;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, AF_UNSPEC, SOCKADDR_IN, SOCKADDR_IN6, SOCKADDR_INET,
};

use super::routes;
use crate::registry::check;

/// Returns the name servers of the adapters that are up: those with a gateway
/// first, and then by their metric.
pub(super) fn name_servers() -> io::Result<Vec<SocketAddr>> {
    let buffer = read()?;
    let mut adapters: Vec<Adapter> = adapters(&buffer).collect();
    adapters.sort_by_key(|adapter| (!adapter.has_gateway, adapter.metric));
    let mut servers: Vec<SocketAddr> = Vec::new();
    for server in adapters.into_iter().flat_map(|adapter| adapter.servers) {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    Ok(servers)
}

struct Adapter {
    has_gateway: bool,
    metric: u32,
    servers: Vec<SocketAddr>,
}

/// Reads the list of adapters; its parts point to one another, and are aligned
/// like the numbers of the buffer.
#[expect(unsafe_code, reason = "the system's interface")]
fn read() -> io::Result<Vec<u64>> {
    let mut length = FIRST_LENGTH;
    for _ in 0..ATTEMPTS {
        let mut buffer = vec![0_u64; (length as usize).div_ceil(size_of::<u64>())];
        // SAFETY: the buffer has at least `length` bytes.
        let outcome = unsafe {
            GetAdaptersAddresses(
                u32::from(AF_UNSPEC),
                GAA_FLAG_INCLUDE_GATEWAYS
                    | GAA_FLAG_SKIP_ANYCAST
                    | GAA_FLAG_SKIP_MULTICAST
                    | GAA_FLAG_SKIP_UNICAST,
                ptr::null(),
                buffer.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if outcome != ERROR_BUFFER_OVERFLOW {
            return check(outcome).map(|()| buffer);
        }
    }
    Err(io::Error::other(
        "the list of network adapters grows faster than it can be read",
    ))
}

#[expect(unsafe_code, reason = "the system's structures point to one another")]
fn adapters(buffer: &[u64]) -> impl Iterator<Item = Adapter> {
    let mut next: *const IP_ADAPTER_ADDRESSES_LH = buffer.as_ptr().cast();
    std::iter::from_fn(move || {
        // SAFETY: the system has filled the buffer, which is borrowed for as
        // long as this is used; the last part points to nothing.
        let adapter = unsafe { next.as_ref() }?;
        next = adapter.Next;
        Some(adapter)
    })
    .filter(|adapter| adapter.OperStatus == IfOperStatusUp)
    .map(|adapter| Adapter {
        has_gateway: !adapter.FirstGatewayAddress.is_null(),
        metric: adapter.Ipv4Metric.min(adapter.Ipv6Metric),
        servers: servers(adapter.FirstDnsServerAddress),
    })
}

#[expect(unsafe_code, reason = "the system's structures point to one another")]
fn servers(first: *const IP_ADAPTER_DNS_SERVER_ADDRESS_XP) -> Vec<SocketAddr> {
    let mut next = first;
    let entries = std::iter::from_fn(|| {
        // SAFETY: the list is a part of the buffer that the system has filled;
        // the last entry points to nothing.
        let entry = unsafe { next.as_ref() }?;
        next = entry.Next;
        Some(entry)
    });
    entries.filter_map(server).collect()
}

#[expect(unsafe_code, reason = "the system's structures point to one another")]
fn server(entry: &IP_ADAPTER_DNS_SERVER_ADDRESS_XP) -> Option<SocketAddr> {
    let raw = entry.Address.lpSockaddr;
    // SAFETY: the address is a part of the buffer that the system has filled.
    let family = unsafe { raw.as_ref() }?.sa_family;
    let (address, scope) = match family {
        AF_INET => {
            // SAFETY: the family tells what the pointer leads to.
            let v4 = unsafe { *raw.cast::<SOCKADDR_IN>() };
            (SOCKADDR_INET { Ipv4: v4 }, 0)
        }
        AF_INET6 => {
            // SAFETY: the family tells what the pointer leads to.
            let v6 = unsafe { *raw.cast::<SOCKADDR_IN6>() };
            // SAFETY: every part of the union is a plain number of this size.
            let scope = unsafe { v6.Anonymous.sin6_scope_id };
            (SOCKADDR_INET { Ipv6: v6 }, scope)
        }
        _ => return None,
    };
    match routes::to_address(&address)? {
        IpAddr::V4(v4) => Some(SocketAddr::new(v4.into(), DNS_PORT)),
        // The system fills in addresses that nobody answers at where there is
        // no server (draft-ietf-ipv6-dns-discovery).
        IpAddr::V6(v6) if v6.octets().starts_with(&[0xfe, 0xc0]) => None,
        IpAddr::V6(v6) => Some(SocketAddrV6::new(v6, DNS_PORT, 0, scope).into()),
    }
}

const DNS_PORT: u16 = 53;

/// What the system's documentation advises to begin with, in bytes.
const FIRST_LENGTH: u32 = 15_000;

/// How often the list is read while adapters come.
const ATTEMPTS: u32 = 4;

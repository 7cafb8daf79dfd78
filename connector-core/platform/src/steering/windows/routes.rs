//! The routing table (IP Helper).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

use connector_core::network::Prefix;
use windows_sys::Win32::Foundation::{
    ERROR_INVALID_NAME, ERROR_NOT_FOUND, ERROR_OBJECT_ALREADY_EXISTS,
};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    ConvertInterfaceAliasToLuid, CreateIpForwardEntry2, DeleteIpForwardEntry2, FreeMibTable,
    GetIpForwardEntry2, GetIpForwardTable2, GetIpInterfaceEntry, GetUnicastIpAddressTable,
    IP_ADDRESS_PREFIX, InitializeIpForwardEntry, InitializeIpInterfaceEntry, MIB_IPFORWARD_ROW2,
    MIB_IPFORWARD_TABLE2, MIB_IPINTERFACE_ROW, MIB_UNICASTIPADDRESS_TABLE, SetIpInterfaceEntry,
};
use windows_sys::Win32::NetworkManagement::Ndis::NET_LUID_LH;
use windows_sys::Win32::Networking::WinSock::{
    ADDRESS_FAMILY, AF_INET, AF_INET6, AF_UNSPEC, MIB_IPPROTO_NETMGMT, SOCKADDR_IN, SOCKADDR_IN6,
    SOCKADDR_INET,
};

use super::super::ranges;
use crate::registry::check;
use crate::wide::wide;

/// Returns the locally unique number of the interface called `name`.
#[expect(unsafe_code, reason = "the system's interface")]
pub(super) fn device(name: &str) -> io::Result<Option<u64>> {
    let name = wide(name);
    let mut number = NET_LUID_LH::default();
    // SAFETY: the name ends with zero and the out pointer is valid.
    let outcome = unsafe { ConvertInterfaceAliasToLuid(name.as_ptr(), &raw mut number) };
    match outcome {
        ERROR_INVALID_NAME | ERROR_NOT_FOUND => Ok(None),
        outcome => {
            check(outcome)?;
            // SAFETY: every part of the union is a plain number of this size.
            Ok(Some(unsafe { number.Value }))
        }
    }
}

/// Routes `prefix` through `device`, before other routes for the same prefix.
#[expect(unsafe_code, reason = "the system's interface")]
pub(super) fn add(prefix: Prefix, device: u64) -> io::Result<()> {
    prefer(device, family(prefix.address()))?;
    let row = row(prefix, device);
    // SAFETY: the row is initialised.
    let outcome = unsafe { CreateIpForwardEntry2(&raw const row) };
    match outcome {
        ERROR_OBJECT_ALREADY_EXISTS => Ok(()),
        outcome => check(outcome),
    }
}

/// Removes the route that [`add`] made, if it is there.
#[expect(unsafe_code, reason = "the system's interface")]
pub(super) fn delete(prefix: Prefix, device: u64) -> io::Result<()> {
    let row = row(prefix, device);
    // SAFETY: the row is initialised.
    let outcome = unsafe { DeleteIpForwardEntry2(&raw const row) };
    match outcome {
        ERROR_NOT_FOUND => Ok(()),
        outcome => check(outcome),
    }
}

/// Returns whether the route that [`add`] made is there.
#[expect(unsafe_code, reason = "the system's interface")]
pub(super) fn has(prefix: Prefix, device: u64) -> io::Result<bool> {
    let mut row = row(prefix, device);
    // SAFETY: the row is initialised, and names the route by prefix, interface
    // and next hop.
    let outcome = unsafe { GetIpForwardEntry2(&raw mut row) };
    match outcome {
        ERROR_NOT_FOUND => Ok(false),
        outcome => check(outcome).map(|()| row.Metric == METRIC),
    }
}

/// Returns every route and address of the machine.
pub(super) fn ranges() -> io::Result<Vec<Prefix>> {
    let mut used = addresses()?;
    for row in &routes()? {
        let prefix = &row.DestinationPrefix;
        if let Some(address) = to_address(&prefix.Prefix) {
            used.extend(ranges::around(address, prefix.PrefixLength));
        }
    }
    Ok(used)
}

#[expect(unsafe_code, reason = "the system's interface")]
fn routes() -> io::Result<Vec<MIB_IPFORWARD_ROW2>> {
    let mut table: *mut MIB_IPFORWARD_TABLE2 = ptr::null_mut();
    // SAFETY: the out pointer is valid.
    check(unsafe { GetIpForwardTable2(AF_UNSPEC, &raw mut table) })?;
    // SAFETY: the call has succeeded, so that the table is there.
    let count = unsafe { (*table).NumEntries };
    // SAFETY: as above; no reference to the one row of the declaration is made.
    let first = unsafe { (&raw const (*table).Table).cast::<MIB_IPFORWARD_ROW2>() };
    // SAFETY: the system has written as many rows as it says.
    let rows = unsafe { std::slice::from_raw_parts(first, count as usize) }.to_vec();
    // SAFETY: the table is the system's and is not used any more.
    unsafe { FreeMibTable(table.cast()) };
    Ok(rows)
}

#[expect(unsafe_code, reason = "the system's interface")]
fn addresses() -> io::Result<Vec<Prefix>> {
    let mut table: *mut MIB_UNICASTIPADDRESS_TABLE = ptr::null_mut();
    // SAFETY: the out pointer is valid.
    check(unsafe { GetUnicastIpAddressTable(AF_UNSPEC, &raw mut table) })?;
    // SAFETY: the call has succeeded, so that the table is there.
    let count = unsafe { (*table).NumEntries };
    // SAFETY: as above; no reference to the one row of the declaration is made.
    let first = unsafe { (&raw const (*table).Table).cast() };
    // SAFETY: the system has written as many rows as it says.
    let rows: &[windows_sys::Win32::NetworkManagement::IpHelper::MIB_UNICASTIPADDRESS_ROW] =
        unsafe { std::slice::from_raw_parts(first, count as usize) };
    let prefixes = rows
        .iter()
        .filter_map(|row| ranges::around(to_address(&row.Address)?, row.OnLinkPrefixLength))
        .collect();
    // SAFETY: the table is the system's and is not used any more.
    unsafe { FreeMibTable(table.cast()) };
    Ok(prefixes)
}

/// Makes the device's routes come before those of other interfaces for the same
/// prefix. The device is ours, and takes the setting with it.
#[expect(unsafe_code, reason = "the system's interface")]
fn prefer(device: u64, family: ADDRESS_FAMILY) -> io::Result<()> {
    let mut row = MIB_IPINTERFACE_ROW::default();
    // SAFETY: the row is valid for writing.
    unsafe { InitializeIpInterfaceEntry(&raw mut row) };
    row.Family = family;
    row.InterfaceLuid = NET_LUID_LH { Value: device };
    // SAFETY: the row names an interface and a family.
    check(unsafe { GetIpInterfaceEntry(&raw mut row) })?;
    if row.Metric == METRIC && !row.UseAutomaticMetric {
        return Ok(());
    }
    row.UseAutomaticMetric = false;
    row.Metric = METRIC;
    // The system refuses to set an IPv4 interface with a length it has itself told.
    row.SitePrefixLength = 0;
    // SAFETY: the row was filled by the system.
    check(unsafe { SetIpInterfaceEntry(&raw mut row) })
}

#[expect(unsafe_code, reason = "the system's interface")]
fn row(prefix: Prefix, device: u64) -> MIB_IPFORWARD_ROW2 {
    let mut row = MIB_IPFORWARD_ROW2::default();
    // SAFETY: the row is valid for writing.
    unsafe { InitializeIpForwardEntry(&raw mut row) };
    row.InterfaceLuid = NET_LUID_LH { Value: device };
    row.DestinationPrefix = IP_ADDRESS_PREFIX {
        Prefix: from_address(prefix.address()),
        PrefixLength: prefix.length(),
    };
    row.NextHop = from_address(match prefix.address() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    });
    row.Metric = METRIC;
    row.Protocol = MIB_IPPROTO_NETMGMT;
    row
}

fn family(address: IpAddr) -> ADDRESS_FAMILY {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

fn from_address(address: IpAddr) -> SOCKADDR_INET {
    match address {
        IpAddr::V4(v4) => {
            let mut raw = SOCKADDR_IN {
                sin_family: AF_INET,
                ..Default::default()
            };
            raw.sin_addr.S_un.S_addr = u32::from_ne_bytes(v4.octets());
            SOCKADDR_INET { Ipv4: raw }
        }
        IpAddr::V6(v6) => {
            let mut raw = SOCKADDR_IN6 {
                sin6_family: AF_INET6,
                ..Default::default()
            };
            raw.sin6_addr.u.Byte = v6.octets();
            SOCKADDR_INET { Ipv6: raw }
        }
    }
}

/// Returns the address in what the system has written.
#[expect(unsafe_code, reason = "the system's structures are unions")]
pub(super) fn to_address(raw: &SOCKADDR_INET) -> Option<IpAddr> {
    // SAFETY: every part of the union begins with the family.
    let family = unsafe { raw.si_family };
    match family {
        AF_INET => {
            // SAFETY: the family tells which part was written.
            let v4 = unsafe { raw.Ipv4 };
            // SAFETY: every part of an IPv4 address has the same four bytes.
            let bits = unsafe { v4.sin_addr.S_un.S_addr };
            Some(Ipv4Addr::from(bits.to_ne_bytes()).into())
        }
        AF_INET6 => {
            // SAFETY: the family tells which part was written.
            let v6 = unsafe { raw.Ipv6 };
            // SAFETY: every part of an IPv6 address has the same sixteen bytes.
            let octets = unsafe { v6.sin6_addr.u.Byte };
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// The lowest metric an interface can have; the route's own is added to it.
const METRIC: u32 = 1;

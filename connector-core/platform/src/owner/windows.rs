//! The tables of connections tell the process that made a socket.
//!
//! A process that was given a copy of a socket is not told. A handle on the process
//! keeps its number from being given away while it is looked at.

mod process;

use std::io;
use std::net::SocketAddr;
use std::ptr;
use std::sync::Arc;

use connector_core::access::{Program, Workload};
use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, GetExtendedUdpTable, TCP_TABLE_OWNER_PID_CONNECTIONS, UDP_TABLE_OWNER_PID,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};

use self::process::Process;
use super::table::Table;
use super::{Owner, Transport};
use crate::account::Account;

pub(super) fn of(transport: Transport, local: SocketAddr, remote: SocketAddr) -> io::Result<Owner> {
    let owners = owners(transport, local, remote)?;
    let Some(first) = owners.first().copied() else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let processes: Vec<Process> = owners
        .iter()
        .map(|pid| Process::open(*pid))
        .collect::<io::Result<_>>()?;
    // From here on the numbers belong to these processes.
    if self::owners(transport, local, remote)? != owners {
        return Err(io::ErrorKind::NotConnected.into());
    }

    let account = account(&processes);
    let user = account.as_ref().map(Account::number);
    let own = Account::own()?;
    let is_same_user = account.is_some_and(|account| account.is_same_user(&own));
    let Some(program) = attribute(&processes, user) else {
        return Ok(Owner::nobody_known(user, is_same_user));
    };
    Ok(Owner {
        user,
        is_same_user,
        process: Some(first),
        workload: Workload::Known(Arc::new(program)),
    })
}

/// Returns whom all of the processes run as, if it is the same for all.
fn account(processes: &[Process]) -> Option<Account> {
    let mut accounts = processes.iter().map(Process::account);
    let first = accounts.next()??;
    accounts
        .all(|other| other.as_ref() == Some(&first))
        .then_some(first)
}

fn attribute(processes: &[Process], user: Option<u32>) -> Option<Program> {
    let first = processes.first()?;
    let path = first.path()?;
    if !processes
        .iter()
        .all(|process| process.path().as_ref() == Some(&path))
    {
        return None;
    }
    Some(Program {
        sha256: process::sha256(&path)?,
        path,
        user,
        ancestors: first.ancestors(),
    })
}

/// Returns the processes whose sockets can have sent from `local` to `remote`, in order.
fn owners(transport: Transport, local: SocketAddr, remote: SocketAddr) -> io::Result<Vec<u32>> {
    // A socket of the sixth version sends packets of the fourth as well.
    let tables: &[Table] = match (transport, local) {
        // The system keeps no table of them.
        (Transport::IcmpEcho, _) => return Err(io::ErrorKind::Unsupported.into()),
        (Transport::Tcp, SocketAddr::V4(_)) => &[Table::Tcp4, Table::Tcp6],
        (Transport::Tcp, SocketAddr::V6(_)) => &[Table::Tcp6],
        (Transport::Udp, SocketAddr::V4(_)) => &[Table::Udp4, Table::Udp6],
        (Transport::Udp, SocketAddr::V6(_)) => &[Table::Udp6],
    };
    let mut owners = vec![];
    for table in tables {
        let found = table.owners(&read(*table)?, local, remote);
        owners.extend(
            found
                .ok_or_else(|| io::Error::other("the system's table of sockets cannot be read"))?,
        );
    }
    owners.sort_unstable();
    owners.dedup();
    Ok(owners)
}

fn read(table: Table) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0_u8; FIRST_LENGTH];
    for _ in 0..ATTEMPTS {
        let mut length = u32::try_from(buffer.len()).map_err(io::Error::other)?;
        match fill(table, &mut buffer, &mut length) {
            NO_ERROR => return Ok(buffer),
            ERROR_INSUFFICIENT_BUFFER => {
                let length = usize::try_from(length).map_err(io::Error::other)?;
                // More sockets may be there by the next time.
                buffer.resize(length + FIRST_LENGTH, 0);
            }
            code => return Err(io::Error::from_raw_os_error(code.cast_signed())),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

#[expect(unsafe_code, reason = "the system's interface")]
fn fill(table: Table, buffer: &mut [u8], length: &mut u32) -> u32 {
    let family = u32::from(match table {
        Table::Tcp4 | Table::Udp4 => AF_INET,
        Table::Tcp6 | Table::Udp6 => AF_INET6,
    });
    let rows = buffer.as_mut_ptr().cast();
    let length = ptr::from_mut(length);
    match table {
        Table::Tcp4 | Table::Tcp6 => {
            // SAFETY: the buffer is as long as is said.
            unsafe {
                GetExtendedTcpTable(rows, length, 0, family, TCP_TABLE_OWNER_PID_CONNECTIONS, 0)
            }
        }
        Table::Udp4 | Table::Udp6 => {
            // SAFETY: the buffer is as long as is said.
            unsafe { GetExtendedUdpTable(rows, length, 0, family, UDP_TABLE_OWNER_PID, 0) }
        }
    }
}

/// Some hundred sockets.
const FIRST_LENGTH: usize = 16 * 1024;

/// The table grows between two calls only if programs open sockets all the time.
const ATTEMPTS: usize = 5;

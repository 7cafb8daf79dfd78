//! libproc tells the descriptors of every process: those of the own user, and
//! for root those of all.
//!
//! There is no table of sockets to begin with, so every process that may be looked
//! into is, and a socket that two programs hold is found out. A path that libproc
//! gives is that of the running file, wherever it was moved.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::iter;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use connector_core::access::{Program, Workload};
use rustix::process::geteuid;

use super::descriptor::{self, Ends};
use super::digest::{self, FileState};
use super::{Owner, Transport};

pub(super) fn of(transport: Transport, local: SocketAddr, remote: SocketAddr) -> io::Result<Owner> {
    let holders = match transport {
        // The kernel does not know which identifiers a socket uses.
        Transport::IcmpEcho => return Err(io::ErrorKind::Unsupported.into()),
        Transport::Tcp | Transport::Udp => holders(transport, local, remote)?,
    };
    let Some(first) = holders.first() else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let user = first.user;
    let is_one_user = holders.iter().all(|holder| holder.user == user);
    let mut owner = Owner::nobody_known(
        is_one_user.then_some(user),
        is_one_user && user == geteuid().as_raw(),
    );
    if is_one_user && let Some(program) = attribute(&holders) {
        let again: Vec<Process> = self::holders(transport, local, remote)?;
        if again == holders {
            owner.workload = Workload::Known(Arc::new(program));
            owner.process = Some(first.pid);
        }
    }
    Ok(owner)
}

fn attribute(holders: &[Process]) -> Option<Program> {
    let first = holders.first()?;
    let path = first.path()?;
    if !holders
        .iter()
        .all(|holder| holder.path().as_ref() == Some(&path))
    {
        return None;
    }
    let file = File::open(&path).ok()?;
    let state = file_state(&file)?;
    let sha256 = digest::of(&file, state).ok()?;
    if file_state(&file)? != state {
        return None;
    }
    Some(Program {
        path,
        user: Some(first.user),
        sha256,
        ancestors: iter::successors(first.parent(), Process::parent)
            .take(Program::MAX_ANCESTORS)
            .map_while(|ancestor| ancestor.path())
            .collect(),
    })
}

fn holders(
    transport: Transport,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<Vec<Process>> {
    let mut holders = vec![];
    for pid in all()? {
        let holds = sockets(pid)
            .iter()
            .any(|ends| ends.can_have_sent(transport, local, remote));
        if holds && let Some(process) = Process::find(pid) {
            holders.push(process);
        }
    }
    Ok(holders)
}

/// A process, told by its start from one that had its number before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    user: u32,
    started: (u64, u64),
}

impl Process {
    fn find(pid: u32) -> Option<Self> {
        let mut buffer = [0_u8; size_of::<libc::proc_bsdinfo>()];
        let length = pid_info(pid, libc::PROC_PIDTBSDINFO, &mut buffer)?;
        let info = buffer.get(..length)?;
        let number = |offset: usize| {
            let bytes = info.get(offset..)?.first_chunk()?;
            Some(u32::from_ne_bytes(*bytes))
        };
        let long = |offset: usize| {
            let bytes = info.get(offset..)?.first_chunk()?;
            Some(u64::from_ne_bytes(*bytes))
        };
        Some(Self {
            pid,
            parent: number(std::mem::offset_of!(libc::proc_bsdinfo, pbi_ppid))?,
            user: number(std::mem::offset_of!(libc::proc_bsdinfo, pbi_uid))?,
            started: (
                long(std::mem::offset_of!(libc::proc_bsdinfo, pbi_start_tvsec))?,
                long(std::mem::offset_of!(libc::proc_bsdinfo, pbi_start_tvusec))?,
            ),
        })
    }

    fn parent(&self) -> Option<Self> {
        let parent = Self::find(self.parent)?;
        // If the number was given to another process meanwhile, that one is younger.
        (parent.pid != 0 && parent.started <= self.started).then_some(parent)
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn path(&self) -> Option<String> {
        let mut buffer = vec![0_u8; PATH_LENGTH];
        let capacity = u32::try_from(buffer.len()).ok()?;
        let pid = self.pid.try_into().ok()?;
        // SAFETY: the buffer is as long as is said.
        let length = unsafe { libc::proc_pidpath(pid, buffer.as_mut_ptr().cast(), capacity) };
        buffer.truncate(usize::try_from(length).ok().filter(|length| *length > 0)?);
        // The process may have ended and its number been given away before the path was read.
        let is_the_same = Self::find(self.pid).is_some_and(|now| now.started == self.started);
        let path = String::from_utf8(buffer).ok()?;
        (is_the_same && path.starts_with('/')).then_some(path)
    }
}

#[expect(unsafe_code, reason = "the system's interface")]
fn all() -> io::Result<BTreeSet<u32>> {
    let mut pids = vec![0_i32; MAX_PROCESSES];
    let length = i32::try_from(size_of_val(pids.as_slice())).map_err(io::Error::other)?;
    // SAFETY: the buffer is as long as is said.
    let count = unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast(), length) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    if count >= pids.len() {
        return Err(io::Error::other("too many processes run to look into each"));
    }
    pids.truncate(count);
    Ok(pids
        .into_iter()
        .filter_map(|pid| u32::try_from(pid).ok())
        .collect())
}

fn sockets(pid: u32) -> Vec<Ends> {
    let mut table = vec![0_u8; MAX_DESCRIPTORS * DESCRIPTOR_LENGTH];
    let Some(length) = pid_info(pid, libc::PROC_PIDLISTFDS, &mut table) else {
        return vec![];
    };
    let descriptors = table.get(..length).unwrap_or_default();
    descriptors
        .chunks_exact(DESCRIPTOR_LENGTH)
        .filter_map(|descriptor| {
            let number = i32::from_ne_bytes(*descriptor.first_chunk()?);
            let kind = u32::from_ne_bytes(*descriptor.last_chunk()?);
            (kind == PROX_FDTYPE_SOCKET).then(|| socket(pid, number))?
        })
        .collect()
}

#[expect(unsafe_code, reason = "the system's interface")]
fn socket(pid: u32, descriptor: i32) -> Option<Ends> {
    let mut info = [0_u8; descriptor::LENGTH];
    let capacity = i32::try_from(info.len()).ok()?;
    let pid = pid.try_into().ok()?;
    let buffer: *mut c_void = info.as_mut_ptr().cast();
    // SAFETY: the buffer is as long as is said.
    let length =
        unsafe { libc::proc_pidfdinfo(pid, descriptor, PROC_PIDFDSOCKETINFO, buffer, capacity) };
    Ends::parse(info.get(..usize::try_from(length).ok()?)?)
}

/// Fills `buffer` and returns how much of it, if the system tells.
#[expect(unsafe_code, reason = "the system's interface")]
fn pid_info(pid: u32, flavor: i32, buffer: &mut [u8]) -> Option<usize> {
    let capacity = i32::try_from(buffer.len()).ok()?;
    let pid = pid.try_into().ok()?;
    // SAFETY: the buffer is as long as is said.
    let length =
        unsafe { libc::proc_pidinfo(pid, flavor, 0, buffer.as_mut_ptr().cast(), capacity) };
    usize::try_from(length).ok().filter(|length| *length > 0)
}

fn file_state(file: &File) -> Option<FileState> {
    let metadata = file.metadata().ok()?;
    let changed = Duration::new(
        u64::try_from(metadata.ctime()).ok()?,
        u32::try_from(metadata.ctime_nsec()).ok()?,
    );
    Some(FileState {
        device: metadata.dev(),
        inode: metadata.ino(),
        length: metadata.len(),
        modified: metadata.modified().ok()?,
        changed: SystemTime::UNIX_EPOCH + changed,
    })
}

/// From `sys/proc_info.h`.
const PROC_PIDFDSOCKETINFO: i32 = 3;
const PROX_FDTYPE_SOCKET: u32 = 2;
const DESCRIPTOR_LENGTH: usize = 8;
const PATH_LENGTH: usize = 4 * 1024;

/// More than the system starts, by its default.
const MAX_PROCESSES: usize = 16 * 1024;

/// More descriptors than this are not looked at; programs have a few hundred.
const MAX_DESCRIPTORS: usize = 16 * 1024;

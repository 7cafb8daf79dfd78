use std::fs::File;
use std::io;
use std::iter;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::ptr;
use std::time::{Duration, SystemTime};

use connector_core::access::Program;
use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, GetFileInformationByHandle,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::Threading::{
    GetProcessTimes, OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION,
    QueryFullProcessImageNameW,
};

use super::super::digest::{self, FileState};
use crate::account::{Account, owned};

/// A process whose number is not given away while this lives.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    handle: OwnedHandle,
}

impl Process {
    #[expect(unsafe_code, reason = "the system's interface")]
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: the call takes numbers only.
        let handle = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
        Ok(Self {
            pid,
            handle: owned(handle)?,
        })
    }

    /// Returns whom it runs as, if the system tells.
    pub(super) fn account(&self) -> Option<Account> {
        Account::of_process(self.handle.as_raw_handle()).ok()
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    pub(super) fn path(&self) -> Option<String> {
        let mut buffer = vec![0_u16; PATH_LENGTH];
        let mut length = u32::try_from(buffer.len()).ok()?;
        // SAFETY: the handle is open and the buffer as long as is said.
        let told = unsafe {
            QueryFullProcessImageNameW(
                self.handle.as_raw_handle(),
                PROCESS_NAME_WIN32,
                buffer.as_mut_ptr(),
                &raw mut length,
            )
        };
        let path = buffer.get(..usize::try_from(length).ok()?)?;
        (told != 0).then(|| String::from_utf16(path).ok())?
    }

    /// Returns the paths of the processes that this one descends from, nearest first.
    pub(super) fn ancestors(&self) -> Vec<String> {
        let Some(parents) = parents() else {
            return vec![];
        };
        let parent = |child: &Self| {
            let (_, parent) = parents.iter().find(|(pid, _)| *pid == child.pid)?;
            let parent = Self::open(*parent).ok()?;
            // If the number was given to another process meanwhile, that one is younger.
            (parent.started()? <= child.started()?).then_some(parent)
        };
        iter::successors(parent(self), parent)
            .take(Program::MAX_ANCESTORS)
            .map_while(|ancestor| ancestor.path())
            .collect()
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn started(&self) -> Option<u64> {
        let mut times = [FILETIME::default(); 4];
        let [created, exited, kernel, user] = &mut times;
        // SAFETY: the handle is open and the four out pointers are valid.
        let told = unsafe {
            GetProcessTimes(
                self.handle.as_raw_handle(),
                ptr::from_mut(created),
                ptr::from_mut(exited),
                ptr::from_mut(kernel),
                ptr::from_mut(user),
            )
        };
        (told != 0).then(|| ticks(*created))
    }
}

/// Returns the hash of the executable at `path`, or that it cannot have one.
pub(super) fn sha256(path: &str) -> Option<Option<String>> {
    let file = File::open(path).ok()?;
    let state = file_state(&file)?;
    let sha256 = digest::of(&file, state).ok()?;
    (file_state(&file)? == state).then_some(sha256)
}

/// Returns every process with its parent's number.
#[expect(unsafe_code, reason = "the system's interface")]
fn parents() -> Option<Vec<(u32, u32)>> {
    // SAFETY: the call takes numbers only.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    let snapshot = owned(snapshot).ok()?;
    let mut entry = PROCESSENTRY32W {
        dwSize: u32::try_from(size_of::<PROCESSENTRY32W>()).ok()?,
        ..PROCESSENTRY32W::default()
    };
    let mut parents = vec![];
    // SAFETY: the snapshot is open and the entry tells its size.
    let mut more = unsafe { Process32FirstW(snapshot.as_raw_handle(), &raw mut entry) };
    while more != 0 {
        parents.push((entry.th32ProcessID, entry.th32ParentProcessID));
        // SAFETY: the snapshot is open and the entry tells its size.
        more = unsafe { Process32NextW(snapshot.as_raw_handle(), &raw mut entry) };
    }
    Some(parents)
}

#[expect(unsafe_code, reason = "the system's interface")]
fn file_state(file: &File) -> Option<FileState> {
    let mut info = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open and the out pointer valid.
    let told = unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut info) };
    if told == 0 {
        return None;
    }
    let written = SystemTime::UNIX_EPOCH
        + Duration::from_nanos(
            ticks(info.ftLastWriteTime)
                .saturating_sub(UNIX_EPOCH)
                .saturating_mul(100),
        );
    Some(FileState {
        device: info.dwVolumeSerialNumber.into(),
        inode: joined(info.nFileIndexHigh, info.nFileIndexLow),
        length: joined(info.nFileSizeHigh, info.nFileSizeLow),
        modified: written,
        changed: written,
    })
}

fn ticks(time: FILETIME) -> u64 {
    joined(time.dwHighDateTime, time.dwLowDateTime)
}

fn joined(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The longest path that the system knows, in 16-bit units.
const PATH_LENGTH: usize = 32 * 1024;

/// 1970 in the system's ticks of 100 ns since 1601.
const UNIX_EPOCH: u64 = 116_444_736_000_000_000;

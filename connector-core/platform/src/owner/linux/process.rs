//! One process through its directory in `/proc`.
//!
//! The directory is opened once and everything is read through it. It stays bound
//! to its process: when that has ended, reading fails, even if the number has been
//! given to another.

use std::cell::OnceCell;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RawDir, Stat, fstat, fstatfs, openat, readlinkat, readlinkat_raw,
    statat,
};
use rustix::io::Errno;

use super::super::digest::FileState;

/// A process that was there when it was opened.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    directory: OwnedFd,
    status: OnceCell<Option<Status>>,
}

impl Process {
    pub(super) fn open(pid: u32) -> Option<Self> {
        let directory = open_directory(CWD, format!("/proc/{pid}"), OFlags::PATH).ok()?;
        Some(Self {
            pid,
            directory,
            status: OnceCell::new(),
        })
    }

    /// Returns whom the process belongs to by its directory: its effective user,
    /// or root if it does not let itself be looked into.
    pub(super) fn keeper(&self) -> Option<u32> {
        Some(fstat(&self.directory).ok()?.st_uid)
    }

    /// Returns the effective user.
    pub(super) fn user(&self) -> Option<u32> {
        match self.keeper()? {
            0 => parse_effective_user(&self.read(c"status")?),
            user => Some(user),
        }
    }

    /// Returns the number of a descriptor that leads to one of `sockets`.
    ///
    /// Errors with `Errno::ACCESS` or `Errno::PERM` if the process does not let
    /// itself be looked into; one that has ended holds nothing.
    pub(super) fn descriptor_of(
        &self,
        sockets: &[&SocketLink],
    ) -> Result<Option<Descriptor>, Errno> {
        let mut found = None;
        self.each_descriptor(|number, target| {
            if !sockets.iter().any(|link| link.is(target)) {
                return ControlFlow::Continue(());
            }
            found = Some(number);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Returns the inodes of all sockets that the process holds, as far as it lets
    /// itself be looked into.
    pub(super) fn sockets(&self) -> Vec<u32> {
        let mut inodes = vec![];
        let _incomplete = self.each_descriptor(|_, target| {
            inodes.extend(socket_inode(target));
            ControlFlow::Continue(())
        });
        inodes
    }

    /// Shows `visit` each descriptor and what it leads to, until told to stop; errors
    /// as [`descriptor_of`](Self::descriptor_of) does.
    fn each_descriptor(
        &self,
        mut visit: impl FnMut(Descriptor, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Errno> {
        let table = match open_directory(&self.directory, c"fd", OFlags::RDONLY) {
            Ok(table) => table,
            Err(Errno::NOENT | Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(&table, &mut buffer);
        let mut target = [0; SocketLink::ROOM];
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::NOENT | Errno::SRCH) => return Ok(()),
                Err(error) => return Err(error),
            };
            // A directory has entries for itself and for its parent as well.
            let name = entry.file_name();
            if let Some(number) = name.to_str().ok().and_then(|name| name.parse().ok())
                && let Ok(length) = readlinkat_raw(&table, name, &mut target[..])
                && visit(number, &target[..length]).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether `descriptor` is closed when the process becomes another
    /// program: then it was not there when the process became this one.
    pub(super) fn closes_on_exec(&self, descriptor: Descriptor) -> bool {
        let Ok(name) = CString::new(format!("fdinfo/{descriptor}")) else {
            return false;
        };
        self.read(&name)
            .is_some_and(|text| parse_closes_on_exec(&text))
    }

    /// Returns whether `descriptor` leads to `socket`.
    pub(super) fn holds_at(&self, descriptor: Descriptor, socket: &SocketLink) -> bool {
        let mut target = [0; SocketLink::ROOM];
        readlinkat_raw(&self.directory, format!("fd/{descriptor}"), &mut target[..])
            .is_ok_and(|length| socket.is(&target[..length]))
    }

    /// Returns what tells the running executable from others.
    pub(super) fn image_id(&self) -> Option<ImageId> {
        let stat = statat(&self.directory, c"exe", AtFlags::empty()).ok()?;
        Some(image_id(&stat))
    }

    /// Returns the running executable, provided that its path leads to it: neither
    /// has it been deleted or replaced, nor does the process see another file
    /// there (as in a mount namespace of its own).
    pub(super) fn image(&self) -> Option<Image> {
        let path = readlinkat(&self.directory, c"exe", Vec::new()).ok()?;
        let path = path.into_string().ok()?;
        let (file, stat) = match openat(&self.directory, c"exe", READ, Mode::empty()) {
            Ok(file) => {
                let stat = fstat(&file).ok()?;
                (Some(file), stat)
            }
            // It may be executed, but not read, by whoever we are.
            Err(Errno::ACCESS) => (
                None,
                statat(&self.directory, c"exe", AtFlags::empty()).ok()?,
            ),
            Err(_) => return None,
        };
        let named = statat(CWD, &path, AtFlags::empty()).ok()?;
        (path.starts_with('/') && image_id(&named) == image_id(&stat)).then(|| Image {
            path,
            id: image_id(&stat),
            state: file_state(&stat),
            // A file system in user space can show two readers two contents.
            file: file
                .filter(|file| fstatfs(file).is_ok_and(|system| system.f_type != FUSE_SUPER_MAGIC))
                .map(File::from),
        })
    }

    /// Returns the process that this one descends from.
    pub(super) fn parent(&self) -> Option<Self> {
        let own = self.status()?;
        let parent = Self::open(own.parent)?;
        // If the number was given to another process meanwhile, that one is younger.
        (parent.status()?.started <= own.started).then_some(parent)
    }

    /// Returns the processes that this one's threads have started.
    pub(super) fn children(&self) -> Vec<u32> {
        let Ok(threads) = open_directory(&self.directory, c"task", OFlags::RDONLY) else {
            return vec![];
        };
        let mut children = vec![];
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(&threads, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            let Ok(thread) = entry.file_name().to_str() else {
                continue;
            };
            if !is_number(entry.file_name()) {
                continue;
            }
            let Ok(list) = openat(&threads, format!("{thread}/children"), READ, Mode::empty())
            else {
                continue;
            };
            let mut text = String::new();
            if File::from(list).read_to_string(&mut text).is_ok() {
                children.extend(
                    text.split_ascii_whitespace()
                        .filter_map(|pid| pid.parse::<u32>().ok()),
                );
            }
        }
        children
    }

    fn status(&self) -> Option<Status> {
        *self
            .status
            .get_or_init(|| parse_status(&self.read(c"stat")?))
    }

    /// Reads the beginning of a small file; these are made up as a whole at the first read.
    fn read(&self, name: &CStr) -> Option<String> {
        let file = openat(&self.directory, name, READ, Mode::empty()).ok()?;
        let mut text = [0; 2048];
        let length = rustix::io::read(&file, &mut text[..]).ok()?;
        Some(String::from_utf8_lossy(&text[..length]).into_owned())
    }
}

/// Returns the numbers of all processes, smallest first.
pub(super) fn all() -> io::Result<Vec<u32>> {
    let directory = open_directory(CWD, c"/proc", OFlags::RDONLY)?;
    let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
    let mut entries = RawDir::new(&directory, &mut buffer);
    let mut pids = vec![];
    while let Some(entry) = entries.next() {
        if let Ok(name) = entry?.file_name().to_str()
            && let Ok(pid) = name.parse()
        {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// Returns the session (of a terminal or service) that a process belongs to; zero
/// is the one of the kernel's own threads.
#[expect(unsafe_code, reason = "rustix takes session zero for impossible")]
pub(super) fn session(pid: u32) -> Option<u32> {
    let pid = pid.try_into().ok()?;
    // SAFETY: the call takes a number and touches no memory.
    let session = unsafe { libc::getsid(pid) };
    u32::try_from(session).ok()
}

/// A file descriptor of another process.
pub(super) type Descriptor = u32;

/// How a socket reads in a process' table of descriptors.
#[derive(Debug, Clone)]
pub(super) struct SocketLink(String);

impl SocketLink {
    /// Longer than the longest.
    const ROOM: usize = 64;

    pub(super) fn new(inode: u32) -> Self {
        Self(format!("socket:[{inode}]"))
    }

    fn is(&self, target: &[u8]) -> bool {
        self.0.as_bytes() == target
    }
}

/// Tells one executable from another: its device and inode.
pub(super) type ImageId = (u64, u64);

/// A running executable.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) path: String,
    pub(super) id: ImageId,
    pub(super) state: FileState,
    /// Its content, where that can be read and trusted.
    pub(super) file: Option<File>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Status {
    parent: u32,
    /// In ticks since boot.
    started: u64,
}

/// Reads `/proc/PID/stat`: the name in brackets may contain anything.
fn parse_status(text: &str) -> Option<Status> {
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    Some(Status {
        parent: fields.nth(1)?.parse().ok()?,
        started: fields.nth(17)?.parse().ok()?,
    })
}

/// Reads `/proc/PID/status`; the second number is the effective user.
fn parse_effective_user(text: &str) -> Option<u32> {
    let users = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn is_number(name: &CStr) -> bool {
    name.to_bytes().first().is_some_and(u8::is_ascii_digit)
}

/// Reads where a descriptor leads to, if that is a socket.
fn socket_inode(target: &[u8]) -> Option<u32> {
    let inode = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inode).ok()?.parse().ok()
}

/// Reads `/proc/PID/fdinfo/N`: the flags are in octal.
fn parse_closes_on_exec(text: &str) -> bool {
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| OFlags::from_bits_retain(flags).contains(OFlags::CLOEXEC))
}

fn open_directory(
    at: impl std::os::fd::AsFd,
    path: impl rustix::path::Arg,
    access: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

pub(super) fn image_id(stat: &Stat) -> ImageId {
    (stat.st_dev, stat.st_ino)
}

pub(super) fn file_state(stat: &Stat) -> FileState {
    let time = |seconds: i64, nanoseconds: u64| {
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(nanoseconds)
    };
    FileState {
        device: stat.st_dev,
        inode: stat.st_ino,
        length: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
    }
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

/// From `linux/magic.h`.
const FUSE_SUPER_MAGIC: rustix::fs::FsWord = 0x6573_5546;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_be_named_anything() {
        let text = "42 (a) S 1 (b) S 7) S 41 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";

        let status = parse_status(text).unwrap();

        assert_eq!(
            status,
            Status {
                parent: 41,
                started: 98765
            }
        );
        assert_eq!(parse_status("42 (a S 41"), None);
        assert_eq!(parse_status("42 (a) S 41 42"), None);
    }

    #[test]
    fn the_effective_user_is_the_second() {
        let text = "Name:\tx\nUid:\t1000\t1001\t1002\t1003\nGid:\t1\t2\t3\t4\n";

        assert_eq!(parse_effective_user(text), Some(1001));
        assert_eq!(parse_effective_user("Name:\tx\n"), None);
    }

    #[test]
    fn only_sockets_have_an_inode_and_only_the_flag_tells_what_is_closed() {
        assert_eq!(socket_inode(b"socket:[42]"), Some(42));
        assert_eq!(socket_inode(b"pipe:[42]"), None);
        assert_eq!(socket_inode(b"/tmp/socket:[42]"), None);
        assert!(parse_closes_on_exec("pos:\t0\nflags:\t02000002\nino:\t9\n"));
        assert!(!parse_closes_on_exec("pos:\t0\nflags:\t04002\n"));
        assert!(!parse_closes_on_exec("pos:\t0\n"));
    }

    #[test]
    fn a_process_that_has_ended_is_not_mistaken_for_another() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let process = Process::open(child.id()).unwrap();
        assert!(process.image().is_some());

        drop(child.stdin.take());
        child.wait().unwrap();

        assert!(process.image().is_none());
        assert!(process.status().is_none());
        assert_eq!(process.descriptor_of(&[]), Ok(None));
    }
}

//! The way to the deputy, and what the deputy can be asked.

mod frame;
mod serving;

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use connector_core::access::Program;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::{ScreenLock, ScreenLocks};
use crate::executable::Executable;
use crate::owner::{self, Socket};

pub(super) fn executable_of(process: u32) -> io::Result<Option<String>> {
    match read_executable(process) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let deputy = Deputy::find().ok_or(error)?;
            let answer = deputy.ask(&Question::Executable { process })?;
            let Answer::Executable(path) = answer else {
                return Err(answer.unexpected());
            };
            Ok(path)
        }
        read => read,
    }
}

pub(super) fn executable_at(path: &Path) -> io::Result<Executable> {
    let deputy = Deputy::find().ok_or(io::ErrorKind::PermissionDenied)?;
    let path = path.to_str().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    let answer = deputy.ask(&Question::Program { path })?;
    let Answer::Program { path, sha256 } = answer else {
        return Err(answer.unexpected());
    };
    Ok(Executable { path, sha256 })
}

pub(super) fn screen_locks() -> io::Result<Option<ScreenLocks>> {
    let Some(deputy) = Deputy::find() else {
        return Ok(None);
    };
    let answer = deputy.ask(&Question::ScreenLocks)?;
    let Answer::ScreenLocks(locks) = answer else {
        return Err(answer.unexpected());
    };
    let locks = locks.into_iter().map(|lock| lock.map(ScreenLock::from));
    Ok(Some(locks.collect()))
}

pub(super) fn serve(screen_locks: fn() -> io::Result<ScreenLocks>) -> io::Result<()> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    serving::serve(
        &listener,
        move |question| answer(question, screen_locks),
        IDLE,
    )
}

/// The way to a deputy, with connections that are kept for the next question.
#[derive(Debug)]
pub(crate) struct Deputy {
    path: PathBuf,
    connections: Mutex<Connections>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Connections {
    kept: Vec<UnixStream>,
    in_use: usize,
}

impl Deputy {
    /// Returns the way, where there is one for this user and it is needed.
    pub(crate) fn find() -> Option<&'static Self> {
        static SYSTEMS: LazyLock<Deputy> = LazyLock::new(|| Deputy::at(Path::new(SOCKET)));
        (!owner::may_look_into_others() && SYSTEMS.is_for_this_user()).then(|| &*SYSTEMS)
    }

    /// Returns the one program that holds `sockets`, and its process.
    ///
    /// Errors if the deputy cannot be asked; nothing is known of the program then.
    pub(crate) fn holder_of(&self, sockets: &[Socket]) -> io::Result<Option<(Program, u32)>> {
        let sockets: Vec<RawSocket> = sockets.iter().copied().map(RawSocket::from).collect();
        let answer = self.ask(&Question::Holder { sockets })?;
        let Answer::Holder(holder) = answer else {
            return Err(answer.unexpected());
        };
        Ok(holder.map(RawHolder::into_program))
    }

    fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            connections: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    fn is_for_this_user(&self) -> bool {
        fs::metadata(&self.path)
            .is_ok_and(|it| it.file_type().is_socket() && it.uid() == geteuid().as_raw())
    }

    fn ask(&self, question: &Question) -> io::Result<Answer> {
        let about = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        };
        let deadline = Instant::now() + PATIENCE;
        let mut turn = self.turn(deadline).map_err(about)?;
        if let Some(kept) = turn.kept.take() {
            match exchange(&kept, question, deadline) {
                Ok(answer) => {
                    turn.kept = Some(kept);
                    return Ok(answer);
                }
                // The deputy ends when it is idle, and its successor listens at the same place.
                Err(error) if is_closed(&error) => {}
                Err(error) => return Err(about(error)),
            }
        }
        let stream = open(&self.path, deadline).map_err(about)?;
        let answer = exchange(&stream, question, deadline).map_err(about)?;
        turn.kept = Some(stream);
        Ok(answer)
    }

    /// Waits until fewer than [`MAX_IN_USE`] others ask.
    fn turn(&self, deadline: Instant) -> io::Result<Turn<'_>> {
        let mut connections = self.lock();
        while connections.in_use >= MAX_IN_USE {
            let left = frame::left_until(deadline)?;
            let waited = self.freed.wait_timeout(connections, left);
            (connections, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        connections.in_use += 1;
        Ok(Turn {
            deputy: self,
            kept: connections.kept.pop(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to use one connection, which is kept if it is put back.
struct Turn<'a> {
    deputy: &'a Deputy,
    kept: Option<UnixStream>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut connections = self.deputy.lock();
        connections.in_use -= 1;
        connections.kept.extend(self.kept.take());
        drop(connections);
        self.deputy.freed.notify_one();
    }
}

fn exchange(stream: &UnixStream, question: &Question, deadline: Instant) -> io::Result<Answer> {
    frame::send(stream, question, MAX_QUESTION, deadline)?;
    frame::receive(stream, MAX_ANSWER, deadline)
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

/// Connects, and does not wait for ever where many others do.
fn open(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_timeout(&socket, Timeout::Send, Some(frame::left_until(deadline)?))?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// What the deputy can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "kebab-case", deny_unknown_fields)]
enum Question {
    /// Which executable a process runs.
    Executable { process: u32 },
    /// Which one program holds all of these sockets.
    Holder { sockets: Vec<RawSocket> },
    /// What a program is that somebody may execute.
    Program { path: String },
    /// How the screens of all desktop sessions lock themselves.
    ScreenLocks,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Executable(Option<String>),
    Holder(Option<RawHolder>),
    Program { path: String, sha256: String },
    Refused(String),
    ScreenLocks(Vec<Option<RawScreenLock>>),
}

impl Answer {
    fn unexpected(self) -> io::Error {
        match self {
            Self::Refused(why) => io::Error::other(why),
            Self::Executable(_) | Self::Holder(_) | Self::Program { .. } | Self::ScreenLocks(_) => {
                let problem = "the deputy answers another question";
                io::Error::new(io::ErrorKind::InvalidData, problem)
            }
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSocket {
    user: u32,
    inode: u32,
}

impl From<Socket> for RawSocket {
    fn from(Socket { user, inode }: Socket) -> Self {
        Self { user, inode }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct RawHolder {
    process: u32,
    path: String,
    user: Option<u32>,
    sha256: Option<String>,
    ancestors: Vec<String>,
}

impl RawHolder {
    fn new((program, process): (Program, u32)) -> Self {
        Self {
            process,
            path: program.path,
            user: program.user,
            sha256: program.sha256,
            ancestors: program.ancestors,
        }
    }

    fn into_program(self) -> (Program, u32) {
        let program = Program {
            path: self.path,
            user: self.user,
            sha256: self.sha256,
            ancestors: self.ancestors,
        };
        (program, self.process)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct RawScreenLock {
    is_enabled: bool,
    grace_seconds: u32,
}

impl From<RawScreenLock> for ScreenLock {
    fn from(raw: RawScreenLock) -> Self {
        Self {
            is_enabled: raw.is_enabled,
            grace_seconds: raw.grace_seconds,
        }
    }
}

/// What the deputy says.
fn answer(question: Question, screen_locks: fn() -> io::Result<ScreenLocks>) -> Answer {
    let refused = |error: io::Error| Answer::Refused(error.to_string());
    match question {
        Question::Executable { process } => match read_executable(process) {
            Ok(path) => Answer::Executable(path),
            // Something else keeps even the deputy out, as a security module does.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Answer::Executable(None)
            }
            Err(error) => refused(error),
        },
        Question::Holder { sockets } => {
            let sockets = sockets.into_iter().map(|raw| Socket {
                user: raw.user,
                inode: raw.inode,
            });
            let sockets: Vec<Socket> = sockets.collect();
            Answer::Holder(owner::attribute_patiently(&sockets).map(RawHolder::new))
        }
        Question::Program { path } => read_program(Path::new(&path)),
        Question::ScreenLocks => screen_locks().map_or_else(refused, |locks| {
            let raw = |lock: ScreenLock| RawScreenLock {
                is_enabled: lock.is_enabled,
                grace_seconds: lock.grace_seconds,
            };
            Answer::ScreenLocks(locks.into_iter().map(|lock| lock.map(raw)).collect())
        }),
    }
}

/// Tells of files that may be executed, and nothing of others: not even whether they are there.
fn read_program(path: &Path) -> Answer {
    let may_be_executed = |metadata: &Metadata| metadata.mode() & 0o111 != 0;
    match Executable::read_if(path, may_be_executed) {
        Ok(Executable { path, sha256 }) => Answer::Program { path, sha256 },
        Err(_) => Answer::Refused("it is no program, or a script".to_owned()),
    }
}

fn read_executable(process: u32) -> io::Result<Option<String>> {
    match fs::read_link(format!("/proc/{process}/exe")) {
        Ok(path) => Ok(path.into_os_string().into_string().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // It ended while it was looked at.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where systemd listens; as in `installers/linux/ztna-programs.socket`.
const SOCKET: &str = "/run/ztna-programs.sock";

/// As long as a flow's first packet waits; a large executable takes a second to hash.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than threads of the service ask at a time, and fewer than the deputy takes.
const MAX_IN_USE: usize = 12;

/// Three hundred sockets; few ports have more than one.
const MAX_QUESTION: u32 = 16 * 1024;

/// A path of 4096 bytes for a program and each of its ancestors, with every other one escaped.
const MAX_ANSWER: u32 = 128 * 1024;

/// Starting anew costs some milliseconds, and each executable that is met is hashed again.
const IDLE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests;

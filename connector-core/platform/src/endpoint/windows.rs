use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, IntoRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::ptr;

use tokio::net::windows::named_pipe::{NamedPipeClient, NamedPipeServer, PipeMode, ServerOptions};
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_PIPE_BUSY};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION};

use super::{Audience, BindError, ConnectError, Peer};
use crate::access_list::{self, Descriptor, Subject};
use crate::account::Account;

/// The front-end's side of a connection.
pub type ClientStream = NamedPipeClient;

/// The service's side of a connection.
pub type ServerStream = NamedPipeServer;

/// Accepts front-ends at a named pipe with an access list of its own.
#[derive(Debug)]
pub struct Listener {
    next: NamedPipeServer,
    path: PathBuf,
    audience: Audience,
}

impl Listener {
    /// Listens at `path`; nobody else may already own a pipe of that name.
    ///
    /// # Errors
    ///
    /// [`BindError`], with what the system says.
    pub fn bind(path: &Path, audience: Audience) -> Result<Self, BindError> {
        let next = create(path, audience, true).map_err(|problem| BindError {
            path: path.to_owned(),
            problem,
        })?;
        Ok(Self {
            next,
            path: path.to_owned(),
            audience,
        })
    }

    /// Waits for the next front-end.
    ///
    /// # Errors
    ///
    /// What the system says; listening goes on.
    pub async fn accept(&mut self) -> io::Result<ServerStream> {
        self.next.connect().await?;
        let next = create(&self.path, self.audience, false)?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

/// Returns who is at the other end of `stream`, once something was read from it.
///
/// # Errors
///
/// What the system says, also if nothing was read yet. Nobody must be let in then.
pub fn peer(stream: &ServerStream) -> io::Result<Peer> {
    let client = Account::of_pipe_client(stream.as_raw_handle())?;
    Ok(Peer {
        is_trusted: client.is_administrator() || client.is_same_user(&Account::own()?),
        user: Some(client.number()),
        process: None,
    })
}

/// Returns the number of the user whom this process runs as, if the system tells.
#[must_use]
pub fn own_user() -> Option<u32> {
    Account::own().ok().map(|own| own.number())
}

pub(super) async fn connect(path: &Path) -> Result<ClientStream, ConnectError> {
    let is = |error: &io::Error, code: u32| error.raw_os_error() == Some(code.cast_signed());
    let mut attempts = 0;
    loop {
        match open_client(path) {
            Ok(stream) => return checked(stream, path),
            Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => {
                return Err(ConnectError::NotRunning {
                    path: path.to_owned(),
                });
            }
            Err(error) if is(&error, ERROR_PIPE_BUSY) && attempts < BUSY_ATTEMPTS => {
                attempts += 1;
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(problem) => {
                return Err(ConnectError::Io {
                    path: path.to_owned(),
                    problem,
                });
            }
        }
    }
}

#[expect(
    unsafe_code,
    reason = "tokio's own way in asks for the right to serve the pipe"
)]
fn open_client(path: &Path) -> io::Result<ClientStream> {
    let pipe = OpenOptions::new()
        .access_mode(access_list::SPEAK)
        .custom_flags(FILE_FLAG_OVERLAPPED)
        .security_qos_flags(SECURITY_IDENTIFICATION)
        .open(path)?;
    let pipe: OwnedHandle = pipe.into();
    // SAFETY: it was opened for overlapped use, and is a pipe's: only such have such paths.
    unsafe { NamedPipeClient::from_raw_handle(pipe.into_raw_handle()) }
}

/// Anybody may make a pipe while no service runs: nothing is said to it before its owner is known.
fn checked(stream: ClientStream, path: &Path) -> Result<ClientStream, ConnectError> {
    match access_list::is_ours(Subject::Pipe(stream.as_raw_handle())) {
        Ok(true) => Ok(stream),
        Ok(false) => Err(ConnectError::Io {
            path: path.to_owned(),
            problem: io::Error::other(
                "it is served by neither you nor an administrator; nothing was sent",
            ),
        }),
        Err(problem) => Err(ConnectError::Io {
            path: path.to_owned(),
            problem,
        }),
    }
}

fn create(path: &Path, audience: Audience, first: bool) -> io::Result<NamedPipeServer> {
    let descriptor = Descriptor::owned(match audience {
        Audience::Machine => access_list::OWNER_AND_INTERACTIVE,
        Audience::Own => access_list::OWNER,
    })?;
    let mut attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).map_err(io::Error::other)?,
        lpSecurityDescriptor: descriptor.as_ptr(),
        bInheritHandle: 0,
    };
    let mut options = ServerOptions::new();
    options
        .first_pipe_instance(first)
        .reject_remote_clients(true)
        .pipe_mode(PipeMode::Byte);
    open(&options, path, &mut attributes)
}

#[expect(unsafe_code, reason = "the access list is given as a raw pointer")]
fn open(
    options: &ServerOptions,
    path: &Path,
    attributes: &mut SECURITY_ATTRIBUTES,
) -> io::Result<NamedPipeServer> {
    // SAFETY: the pointer is to a live SECURITY_ATTRIBUTES whose descriptor
    // outlives the call.
    unsafe { options.create_with_security_attributes_raw(path, ptr::from_mut(attributes).cast()) }
}

/// All instances of the pipe are taken for a moment while one is being accepted.
const BUSY_ATTEMPTS: u32 = 50;
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_front_end_is_known_once_it_has_spoken() {
        let path = unique("speaks");
        let mut listener = Listener::bind(&path, Audience::Machine).unwrap();
        let (client, server) = tokio::join!(connect(&path), listener.accept());
        let (mut client, mut server) = (client.unwrap(), server.unwrap());

        client.write_all(b"hello").await.unwrap();
        server.read_exact(&mut [0; 5]).await.unwrap();

        let peer = peer(&server).unwrap();
        assert!(peer.is_trusted);
        assert_eq!(peer.user, own_user());
    }

    fn unique(name: &str) -> PathBuf {
        let process = std::process::id();
        PathBuf::from(format!(r"\\.\pipe\ztna-test-{process}-{name}"))
    }
}

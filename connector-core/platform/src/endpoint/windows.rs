use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use tokio::net::windows::named_pipe::{
    ClientOptions, NamedPipeClient, NamedPipeServer, PipeMode, ServerOptions,
};
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_PIPE_BUSY, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES};

use super::{Audience, BindError, ConnectError, Peer};

/// The front-end's side of a connection.
pub type ClientStream = NamedPipeClient;

/// The service's side of a connection.
pub type ServerStream = NamedPipeServer;

/// Accepts front-ends at a named pipe that the system and the owner may open.
#[derive(Debug)]
pub struct Listener {
    next: NamedPipeServer,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`; nobody else may already own a pipe of that name.
    ///
    /// # Errors
    ///
    /// [`BindError`], with what the system says.
    pub fn bind(path: &Path, _audience: Audience) -> Result<Self, BindError> {
        let next = create(path, true).map_err(|problem| BindError {
            path: path.to_owned(),
            problem,
        })?;
        Ok(Self {
            next,
            path: path.to_owned(),
        })
    }

    /// Waits for the next front-end.
    ///
    /// # Errors
    ///
    /// What the system says; listening goes on.
    pub async fn accept(&mut self) -> io::Result<(ServerStream, Peer)> {
        self.next.connect().await?;
        let connected = std::mem::replace(&mut self.next, create(&self.path, false)?);
        // The pipe's access list has let in nobody but the owner and the system.
        let peer = Peer {
            is_trusted: true,
            user: None,
            process: None,
        };
        Ok((connected, peer))
    }
}

/// Returns nothing: users have no numbers here.
#[must_use]
pub fn own_user() -> Option<u32> {
    None
}

pub(super) async fn connect(path: &Path) -> Result<ClientStream, ConnectError> {
    let is = |error: &io::Error, code: u32| error.raw_os_error() == Some(code.cast_signed());
    let mut attempts = 0;
    loop {
        match ClientOptions::new().open(path) {
            Ok(stream) => return Ok(stream),
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

fn create(path: &Path, first: bool) -> io::Result<NamedPipeServer> {
    let descriptor = Descriptor::parse(OWNER_AND_SYSTEM)?;
    let mut attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).map_err(io::Error::other)?,
        lpSecurityDescriptor: descriptor.0,
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

/// A security descriptor that the system allocated.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn parse(sddl: &str) -> io::Result<Self> {
        let text: Vec<u16> = OsStr::new(sddl).encode_wide().chain([0]).collect();
        let mut descriptor = ptr::null_mut();
        // SAFETY: the text ends with zero, the out pointer is valid, the size is not asked for.
        let parsed = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        };
        if parsed == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(descriptor))
    }
}

impl Drop for Descriptor {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn drop(&mut self) {
        // SAFETY: the system allocated it, and nothing else frees it.
        unsafe { LocalFree(self.0) };
    }
}

/// Full access for the owner, administrators and the system; no entry for anybody else.
const OWNER_AND_SYSTEM: &str = "D:P(A;;GA;;;OW)(A;;GA;;;BA)(A;;GA;;;SY)";

/// All instances of the pipe are taken for a moment while one is being accepted.
const BUSY_ATTEMPTS: u32 = 50;
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

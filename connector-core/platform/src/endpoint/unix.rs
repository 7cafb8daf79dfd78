use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};

use super::{Audience, BindError, ConnectError, Peer};
use crate::paths::Paths;
use crate::private::PrivateDir;

/// The front-end's side of a connection.
pub type ClientStream = UnixStream;

/// The service's side of a connection.
pub type ServerStream = UnixStream;

/// Accepts front-ends; removes the endpoint when dropped.
#[derive(Debug)]
pub struct Listener {
    inner: UnixListener,
    path: PathBuf,
    /// The socket's device and inode: another service's at the same path is not ours to remove.
    identity: (u64, u64),
}

impl Listener {
    /// Listens at `path`, in a directory that only this user may enter, or for
    /// [`Audience::Machine`], that nobody else may write to; a socket that a killed
    /// service left behind is replaced.
    ///
    /// # Errors
    ///
    /// [`BindError`], also when something that is no socket is in the way.
    pub fn bind(path: &Path, audience: Audience) -> Result<Self, BindError> {
        let wrap = |problem: io::Error| BindError {
            path: path.to_owned(),
            problem,
        };
        let parent = path
            .parent()
            .ok_or_else(|| wrap(io::Error::other("it has no directory")))?;
        match audience {
            Audience::Machine => open_shared(parent).map_err(wrap)?,
            Audience::Own => {
                PrivateDir::open(parent)
                    .map_err(|error| wrap(io::Error::other(error.to_string())))?;
            }
        }

        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.file_type().is_socket() => {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    return Err(wrap(io::Error::other(
                        "another ztnad answers there; stop it, or give this one another --socket",
                    )));
                }
                fs::remove_file(path).map_err(wrap)?;
            }
            Ok(_) => {
                return Err(wrap(io::Error::other(
                    "something that is no socket is there; remove it",
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(wrap(error)),
        }
        let inner = UnixListener::bind(path).map_err(|problem| {
            if path.as_os_str().len() > LONGEST_PATH {
                let problem = format!(
                    "the path is too long; choose a --socket of at most {LONGEST_PATH} bytes"
                );
                return wrap(io::Error::other(problem));
            }
            wrap(problem)
        })?;
        let mode = match audience {
            Audience::Machine => 0o666,
            Audience::Own => 0o600,
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(wrap)?;
        let identity = identity(path).map_err(wrap)?;

        Ok(Self {
            inner,
            path: path.to_owned(),
            identity,
        })
    }

    /// Waits for the next front-end.
    ///
    /// # Errors
    ///
    /// What the system says; listening goes on.
    pub async fn accept(&mut self) -> io::Result<ServerStream> {
        let (stream, _) = self.inner.accept().await?;
        Ok(stream)
    }
}

/// Returns who is at the other end of `stream`, once something was read from it.
///
/// # Errors
///
/// What the system says. Nobody must be let in then.
pub fn peer(stream: &ServerStream) -> io::Result<Peer> {
    let credentials = stream.peer_cred()?;
    Ok(Peer {
        is_trusted: credentials.uid() == 0 || credentials.uid() == geteuid().as_raw(),
        user: Some(credentials.uid()),
        process: credentials.pid().and_then(|pid| pid.try_into().ok()),
    })
}

impl Drop for Listener {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // Nothing is left to do about a failure; the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns the numeric user whom this process runs as.
#[must_use]
pub fn own_user() -> Option<u32> {
    Some(geteuid().as_raw())
}

/// Opens a directory that others may enter and this user alone may change, creating it if need be.
fn open_shared(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    let metadata = fs::symlink_metadata(path)?;
    let own = geteuid().as_raw();
    if !metadata.is_dir() || metadata.uid() != own {
        return Err(io::Error::other(format!(
            "{} is not a directory of user {own}",
            path.display()
        )));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other(format!(
            "others may write to {}; run `chmod 755` on it",
            path.display()
        )));
    }
    Ok(())
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// What fits `sockaddr_un` on every system, without the final zero.
const LONGEST_PATH: usize = 103;

pub(super) async fn connect(path: &Path) -> Result<ClientStream, ConnectError> {
    let path = path.to_owned();
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Err(ConnectError::NotRunning { path });
        }
        Err(problem) => return Err(ConnectError::Io { path, problem }),
    };
    match stream.peer_cred() {
        Ok(server) if is_trusted(server.uid(), &path) => Ok(stream),
        Ok(server) => Err(ConnectError::Untrusted {
            path,
            user: server.uid(),
        }),
        Err(problem) => Err(ConnectError::Io { path, problem }),
    }
}

/// Returns whether a service of this user may be spoken to at `path`.
fn is_trusted(user: u32, path: &Path) -> bool {
    let is_appointed = || {
        *path == Paths::system().socket
            && path.parent().and_then(|directory| appointed(directory, 0)) == Some(user)
    };
    user == 0 || user == geteuid().as_raw() || is_appointed()
}

/// Returns the user to whom the administrator has given a directory: it lies where
/// nobody else can make, give away or replace one, and only its owner writes into it.
fn appointed(directory: &Path, administrator: u32) -> Option<u32> {
    let is_sealed = |found: &fs::Metadata| found.is_dir() && found.mode() & 0o022 == 0;
    let above = fs::symlink_metadata(directory.parent()?).ok()?;
    let own = fs::symlink_metadata(directory).ok()?;
    (is_sealed(&above) && above.uid() == administrator && is_sealed(&own)).then(|| own.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_front_end_reaches_the_service_and_both_know_who_it_is() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/ztnad.sock");
        let mut listener = Listener::bind(&path, Audience::Own).unwrap();

        let (client, accepted) = tokio::join!(connect(&path), listener.accept());

        assert!(client.is_ok());
        assert!(peer(&accepted.unwrap()).unwrap().is_trusted);
        drop(listener);
        assert!(matches!(
            connect(&path).await,
            Err(ConnectError::NotRunning { .. })
        ));
    }

    #[tokio::test]
    async fn a_second_service_neither_takes_nor_removes_the_firsts_socket() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/ztnad.sock");
        let mut first = Listener::bind(&path, Audience::Own).unwrap();

        assert!(Listener::bind(&path, Audience::Own).is_err());
        let (client, accepted) = tokio::join!(connect(&path), async {
            first.accept().await.unwrap();
            first.accept().await
        });
        assert!(client.is_ok() && accepted.is_ok());

        fs::remove_file(&path).unwrap();
        let second = Listener::bind(&path, Audience::Own).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
    }

    #[test]
    fn a_directory_tells_who_was_appointed_only_where_the_administrator_alone_could_say_so() {
        let root = tempfile::tempdir().unwrap();
        let own = geteuid().as_raw();
        let directory = root.path().join("run");
        fs::create_dir(&directory).unwrap();
        let set = |path: &Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        set(&directory, 0o755);

        assert_eq!(appointed(&directory, own), Some(own));
        // Somebody else could have made it.
        assert_eq!(appointed(&directory, own + 1), None);
        set(root.path(), 0o777);
        assert_eq!(appointed(&directory, own), None);
        set(root.path(), 0o700);
        // Others could put a socket into it.
        set(&directory, 0o775);
        assert_eq!(appointed(&directory, own), None);
        set(&directory, 0o700);
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&directory, &link).unwrap();
        assert_eq!(appointed(&link, own), None);
        assert_eq!(appointed(&root.path().join("missing"), own), None);
    }

    #[test]
    fn another_users_service_is_trusted_nowhere_but_at_the_systems_place() {
        let own = geteuid().as_raw();

        assert!(is_trusted(own, Path::new("/tmp/x/ztnad.sock")));
        assert!(is_trusted(0, Path::new("/tmp/x/ztnad.sock")));
        assert!(!is_trusted(own + 1, Path::new("/tmp/x/ztnad.sock")));
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_but_a_file_is_not() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/ztnad.sock");
        // Closed without being removed, as by a killed service.
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());

        drop(Listener::bind(&path, Audience::Own).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(Listener::bind(&path, Audience::Own).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_shared_endpoint_is_open_to_others_in_a_directory_that_they_cannot_change() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/ztnad.sock");

        let listener = Listener::bind(&path, Audience::Machine).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&path), 0o666);
        assert_eq!(mode(path.parent().unwrap()) & 0o022, 0);
        drop(listener);

        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Listener::bind(&path, Audience::Machine).is_err());
    }
}

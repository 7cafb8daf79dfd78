//! The conversation with the service.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use connector_ipc::frame::{self, PREFIX};
use connector_ipc::{Hello, Reply, Request, VERSION, Welcome};
use connector_platform::endpoint::{self, ClientStream, ConnectError};
use connector_platform::paths::Paths;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::exit::{Failure, is_forbidden};

/// Where the service is, and how long to wait for it.
#[derive(Debug)]
pub(crate) struct Service {
    socket: PathBuf,
    /// Whether the socket is the system's, for want of a better one.
    is_fallback: bool,
    timeout: Option<u64>,
}

impl Service {
    /// Takes what was given on the command line; what was not is looked up.
    pub(crate) fn new(socket: Option<PathBuf>, timeout: Option<u64>) -> Self {
        let is_named = socket.is_some() || env::var_os("ZTNA_SOCKET").is_some();
        let socket = socket.unwrap_or_else(Paths::client_socket);
        Self {
            is_fallback: !is_named && socket == Paths::system().socket,
            socket,
            timeout,
        }
    }

    /// Returns the one reply to `request`.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Reply, Failure> {
        self.open(request, ONE_ANSWER).await?.next().await
    }

    /// Carries out a request that is answered with nothing.
    pub(crate) async fn order(&self, request: &Request) -> Result<(), Failure> {
        let Reply::Done = self.ask(request).await? else {
            return Err(Failure::Unexpected);
        };
        Ok(())
    }

    /// Sends `request`; its replies are to arrive within `patience` seconds,
    /// unless the person said otherwise.
    pub(crate) async fn open(&self, request: &Request, patience: u64) -> Result<Replies, Failure> {
        let (mut replies, _) = self.greet(patience).await?;
        replies.send(&frame::encode(request)?).await?;
        Ok(replies)
    }

    /// Returns what the service says about itself.
    pub(crate) async fn welcome(&self) -> Result<Welcome, Failure> {
        let (_, welcome) = self.greet(ONE_ANSWER).await?;
        Ok(welcome)
    }

    async fn greet(&self, patience: u64) -> Result<(Replies, Welcome), Failure> {
        let seconds = self.timeout.unwrap_or(patience);
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let stream = timeout_at(deadline, endpoint::connect(&self.socket))
            .await
            .map_err(|_| Failure::TimedOut(seconds))?
            .map_err(|error| unconnected(error, self.is_fallback))?;
        let mut replies = Replies {
            stream,
            deadline,
            seconds,
        };
        let hello = Hello {
            version: VERSION,
            client: concat!("ztna ", env!("CARGO_PKG_VERSION")).into(),
        };

        // A service that refuses us may close without reading; its reply tells more.
        let sent = replies.send(&frame::encode(&hello)?).await;
        let reply = match (sent, replies.next().await) {
            (Err(failure), Err(Failure::Closed)) => return Err(failure),
            (_, reply) => reply?,
        };
        let Reply::Welcome(welcome) = reply else {
            return Err(Failure::Unexpected);
        };
        if welcome.version != VERSION {
            return Err(Failure::Version {
                service: welcome.version,
            });
        }

        Ok((replies, welcome))
    }
}

fn unconnected(error: ConnectError, is_fallback: bool) -> Failure {
    match error {
        ConnectError::Io { ref problem, .. } if is_fallback && is_forbidden(problem) => {
            Failure::NoneOfYourOwn(error)
        }
        ConnectError::Io { .. }
        | ConnectError::NotRunning { .. }
        | ConnectError::Untrusted { .. } => Failure::Connect(error),
    }
}

/// The replies to one request.
#[derive(Debug)]
pub(crate) struct Replies {
    stream: ClientStream,
    deadline: Instant,
    seconds: u64,
}

impl Replies {
    /// Waits for the next reply until the time is up.
    pub(crate) async fn next(&mut self) -> Result<Reply, Failure> {
        let (deadline, seconds) = (self.deadline, self.seconds);
        timeout_at(deadline, self.next_whenever())
            .await
            .map_err(|_| Failure::TimedOut(seconds))?
    }

    /// Waits for the next reply as long as it takes.
    pub(crate) async fn next_whenever(&mut self) -> Result<Reply, Failure> {
        let mut prefix = [0; PREFIX];
        self.stream.read_exact(&mut prefix).await?;
        let mut body = vec![0; frame::body_length(prefix)?];
        self.stream.read_exact(&mut body).await?;

        let reply = frame::decode(&body)?;
        if let Reply::Failed(failure) = reply {
            return Err(failure.into());
        }
        Ok(reply)
    }

    async fn send(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let written = timeout_at(self.deadline, self.stream.write_all(frame)).await;
        written.map_err(|_| Failure::TimedOut(self.seconds))??;
        Ok(())
    }
}

/// Seconds that suffice for a policy server on a slow line, and that a person
/// still waits.
pub(crate) const ONE_ANSWER: u64 = 30;

/// Seconds in which a person finds their second factor.
pub(crate) const ONE_SIGN_IN: u64 = 300;

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_who_named_no_socket_lacks_a_service_of_their_own() {
        let forbidden = || ConnectError::Io {
            path: "/run/ztna/ztnad.sock".into(),
            problem: io::ErrorKind::PermissionDenied.into(),
        };

        assert!(matches!(
            unconnected(forbidden(), true),
            Failure::NoneOfYourOwn(_)
        ));
        assert!(matches!(
            unconnected(forbidden(), false),
            Failure::Connect(_)
        ));
    }
}

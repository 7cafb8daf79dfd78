//! The conversation with the service.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, io};

use connector_ipc::frame::{self, EncodeError, PREFIX, TooLong};
use connector_ipc::{Hello, Reply, Request, VERSION, Welcome};
use connector_platform::endpoint::{self, ClientStream, ConnectError};
use connector_platform::paths::Paths;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// Where the service is, and how long to wait for it.
#[derive(Debug)]
pub struct Service {
    socket: PathBuf,
    /// What was given on the command line.
    named: Option<PathBuf>,
    /// Whether the socket is the system's, for want of a better one.
    is_fallback: bool,
    timeout: Option<u64>,
    client: &'static str,
}

impl Service {
    /// Takes what was given on the command line; what was not is looked up. `client` says who
    /// asks, as in `ztna 0.1.0`.
    #[must_use]
    pub fn new(client: &'static str, socket: Option<PathBuf>, timeout: Option<u64>) -> Self {
        let named = socket.clone();
        let is_named = socket.is_some() || env::var_os("ZTNA_SOCKET").is_some();
        let socket = socket.unwrap_or_else(Paths::client_socket);
        Self {
            is_fallback: !is_named && socket == Paths::system().socket,
            socket,
            named,
            timeout,
            client,
        }
    }

    /// Returns the endpoint that was given on the command line, for programs that are to ask the
    /// same service.
    #[must_use]
    pub fn named_socket(&self) -> Option<&Path> {
        self.named.as_deref()
    }

    /// Returns the one reply to `request`.
    ///
    /// # Errors
    ///
    /// [`ServiceError`], which says why there is no answer.
    pub async fn ask(&self, request: &Request) -> Result<Reply, ServiceError> {
        self.open(request, ONE_ANSWER).await?.next().await
    }

    /// Carries out a request that is answered with nothing.
    ///
    /// # Errors
    ///
    /// [`ServiceError`], which says why there is no answer.
    pub async fn order(&self, request: &Request) -> Result<(), ServiceError> {
        let Reply::Done = self.ask(request).await? else {
            return Err(ServiceError::Unexpected);
        };
        Ok(())
    }

    /// Sends `request`; its replies are to arrive within `patience` seconds,
    /// unless the person said otherwise.
    ///
    /// # Errors
    ///
    /// [`ServiceError`], which says why there is no answer.
    pub async fn open(&self, request: &Request, patience: u64) -> Result<Replies, ServiceError> {
        let (mut replies, _) = self.greet(patience).await?;
        replies.send(&frame::encode(request)?).await?;
        Ok(replies)
    }

    /// Returns what the service says about itself.
    ///
    /// # Errors
    ///
    /// [`ServiceError`], which says why there is no answer.
    pub async fn welcome(&self) -> Result<Welcome, ServiceError> {
        let (_, welcome) = self.greet(ONE_ANSWER).await?;
        Ok(welcome)
    }

    async fn greet(&self, patience: u64) -> Result<(Replies, Welcome), ServiceError> {
        let seconds = self.timeout.unwrap_or(patience);
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let stream = timeout_at(deadline, endpoint::connect(&self.socket))
            .await
            .map_err(|_| ServiceError::TimedOut(seconds))?
            .map_err(|error| unconnected(error, self.is_fallback))?;
        let mut replies = Replies {
            stream,
            deadline,
            seconds,
        };
        let hello = Hello {
            version: VERSION,
            client: self.client.into(),
        };

        // A service that refuses us may close without reading; its reply tells more.
        let sent = replies.send(&frame::encode(&hello)?).await;
        let reply = match (sent, replies.next().await) {
            (Err(failure), Err(ServiceError::Closed)) => return Err(failure),
            (_, reply) => reply?,
        };
        let Reply::Welcome(welcome) = reply else {
            return Err(ServiceError::Unexpected);
        };
        if welcome.version != VERSION {
            return Err(ServiceError::Version {
                service: welcome.version,
            });
        }

        Ok((replies, welcome))
    }
}

fn unconnected(error: ConnectError, is_fallback: bool) -> ServiceError {
    match error {
        ConnectError::Io { ref problem, .. } if is_fallback && is_forbidden(problem) => {
            ServiceError::NoneOfYourOwn(error)
        }
        ConnectError::Io { .. }
        | ConnectError::NotRunning { .. }
        | ConnectError::Untrusted { .. } => ServiceError::Connect(error),
    }
}

/// The replies to one request.
#[derive(Debug)]
pub struct Replies {
    stream: ClientStream,
    deadline: Instant,
    seconds: u64,
}

impl Replies {
    /// Waits for the next reply until the time is up.
    ///
    /// # Errors
    ///
    /// [`ServiceError`], which says why there is no answer.
    pub async fn next(&mut self) -> Result<Reply, ServiceError> {
        let (deadline, seconds) = (self.deadline, self.seconds);
        timeout_at(deadline, self.next_whenever())
            .await
            .map_err(|_| ServiceError::TimedOut(seconds))?
    }

    /// Waits for the next reply as long as it takes.
    ///
    /// # Errors
    ///
    /// [`ServiceError`], which says why there is no answer.
    pub async fn next_whenever(&mut self) -> Result<Reply, ServiceError> {
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

    async fn send(&mut self, frame: &[u8]) -> Result<(), ServiceError> {
        let written = timeout_at(self.deadline, self.stream.write_all(frame)).await;
        written.map_err(|_| ServiceError::TimedOut(self.seconds))??;
        Ok(())
    }
}

/// Why the service did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It went.
    #[error("the service ended the connection before it had answered")]
    Closed,
    /// It cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What is asked does not fit a message.
    #[error("the request cannot be sent: {0}")]
    Encode(#[from] EncodeError),
    /// It speaks in riddles.
    #[error("the service's answer cannot be read: {0}")]
    Garbled(#[from] serde_json::Error),
    /// The connection broke.
    #[error("the connection to the service failed: {0}")]
    Io(io::Error),
    /// The person did not start a service, and may not use the system's.
    #[error("no service of your own runs, and the system's refuses you: {0}")]
    NoneOfYourOwn(ConnectError),
    /// It said no.
    #[error(transparent)]
    Refused(#[from] connector_ipc::Failure),
    /// It took longer than so many seconds.
    #[error("the service did not answer within {}", limit(*.0))]
    TimedOut(u64),
    /// It said more than anybody may.
    #[error("the service's answer cannot be read: {0}")]
    TooLong(#[from] TooLong),
    /// It answered another question.
    #[error("the service answered something else than was asked for")]
    Unexpected,
    /// It is of another release.
    #[error(
        "this front-end speaks version {VERSION} of the protocol, the service version {service}"
    )]
    Version {
        /// The version that the service speaks.
        service: u16,
    },
}

impl From<io::Error> for ServiceError {
    fn from(error: io::Error) -> Self {
        let is_closed = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
        );
        if is_closed {
            Self::Closed
        } else {
            Self::Io(error)
        }
    }
}

fn limit(seconds: u64) -> String {
    match seconds {
        1 => "1 second".to_owned(),
        _ => format!("{seconds} seconds"),
    }
}

/// Returns whether the system forbids what was tried.
#[must_use]
pub fn is_forbidden(problem: &io::Error) -> bool {
    problem.kind() == io::ErrorKind::PermissionDenied
}

/// Seconds that suffice for a policy server on a slow line, and that a person
/// still waits.
pub const ONE_ANSWER: u64 = 30;

/// Seconds in which a person finds their second factor.
pub const ONE_SIGN_IN: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_named_no_socket_lacks_a_service_of_their_own() {
        let forbidden = || ConnectError::Io {
            path: "/run/ztna/ztnad.sock".into(),
            problem: io::ErrorKind::PermissionDenied.into(),
        };

        assert!(matches!(
            unconnected(forbidden(), true),
            ServiceError::NoneOfYourOwn(_)
        ));
        assert!(matches!(
            unconnected(forbidden(), false),
            ServiceError::Connect(_)
        ));
    }
}

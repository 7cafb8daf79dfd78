//! One front-end's connection: hello, then requests.

use std::io;
use std::time::Duration;

use connector_ipc::{Failure, FailureKind, Hello, Reply, Request, VERSION, Welcome, frame};
use connector_platform::endpoint::{self, ServerStream};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::answering::Answering;

pub(super) struct Connection {
    stream: ServerStream,
}

impl Connection {
    pub(super) fn new(stream: ServerStream) -> Self {
        Self { stream }
    }

    /// Serves the front-end until it goes, or until it says something that
    /// cannot be understood.
    pub(super) async fn serve(mut self, answering: &Answering) -> io::Result<()> {
        let hello = tokio::time::timeout(HELLO_LIMIT, self.receive::<Hello>())
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        let hello = match hello {
            Ok(hello) => hello,
            Err(error) => return self.refuse(error).await,
        };
        let Some(caller) = answering.caller(endpoint::peer(&self.stream)?) else {
            tracing::warn!("A front-end of another user was turned away");
            return self
                .fail(
                    FailureKind::PermissionDenied,
                    "this service belongs to another user",
                )
                .await;
        };
        if hello.version != VERSION {
            let message = format!(
                "{} speaks version {}, this service speaks version {VERSION}; install the same release of both",
                hello.client, hello.version
            );
            return self.fail(FailureKind::VersionMismatch, &message).await;
        }
        self.send(&Reply::Welcome(Welcome {
            version: VERSION,
            service: env!("CARGO_PKG_VERSION").to_owned(),
        }))
        .await?;

        loop {
            match self.receive::<Request>().await {
                Ok(request) => answering.answer(request, caller, &mut self).await?,
                Err(ReceiveError::Gone) => return Ok(()),
                Err(error) => return self.refuse(error).await,
            }
        }
    }

    pub(super) async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let frame = frame::encode(reply).map_err(io::Error::other)?;
        tokio::time::timeout(SEND_LIMIT, self.stream.write_all(&frame))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Completes when the front-end has gone or says something out of turn.
    pub(super) async fn gone(&mut self) {
        let _ = self.stream.read_u8().await;
    }

    async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, ReceiveError> {
        let mut prefix = [0; frame::PREFIX];
        match self.stream.read_exact(&mut prefix).await {
            Ok(_) => {}
            Err(_) => return Err(ReceiveError::Gone),
        }
        let length = frame::body_length(prefix)
            .map_err(|error| ReceiveError::Unacceptable(error.to_string()))?;
        let mut body = Vec::with_capacity(length.min(FIRST_READ));
        let mut rest = (&mut self.stream).take(length as u64);
        let read = tokio::time::timeout(BODY_LIMIT, rest.read_to_end(&mut body)).await;
        match read {
            Ok(Ok(count)) if count == length => {}
            Ok(Ok(_) | Err(_)) | Err(_) => return Err(ReceiveError::Gone),
        }
        frame::decode(&body).map_err(|error| ReceiveError::Unacceptable(error.to_string()))
    }

    async fn refuse(&mut self, error: ReceiveError) -> io::Result<()> {
        match error {
            ReceiveError::Gone => Ok(()),
            ReceiveError::Unacceptable(problem) => {
                self.fail(FailureKind::BadRequest, &problem).await
            }
        }
    }

    async fn fail(&mut self, kind: FailureKind, message: &str) -> io::Result<()> {
        self.send(&Reply::Failed(Failure {
            kind,
            message: message.to_owned(),
            remedy: None,
        }))
        .await
    }
}

enum ReceiveError {
    Gone,
    Unacceptable(String),
}

/// A front-end says hello at once.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// The rest of a frame follows its first bytes at once.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// A front-end that does not read for so long has stopped.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// What is set aside before a single byte of a body has come.
const FIRST_READ: usize = 4096;

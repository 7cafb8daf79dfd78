//! Serves HTTP/1.1 with bounded connections, heads and bodies.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

/// A future that can be kept in a struct.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A task that ends when its owner drops it.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Task {
    /// Starts `future`.
    pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves `router` on `listener` until the returned task is dropped, which also
/// ends the connections.
#[must_use]
pub fn serve(listener: TcpListener, router: Router) -> Task {
    Task::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            while connections.len() >= MAX_CONNECTIONS {
                connections.join_next().await;
            }
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve_stream(stream, router.clone()));
                    }
                    // Out of file descriptors, most likely; they come back as connections end.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

/// Serves `router` on one stream until either side closes it.
pub async fn serve_stream<S>(stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Reads a whole body of at most [`MAX_BODY`] bytes.
///
/// # Errors
///
/// [`BodyError`] if it is larger, slow, or breaks off; no more than the limit
/// is ever held.
pub async fn read_body(body: Body) -> Result<Bytes, BodyError> {
    read_body_within(body, MAX_BODY).await
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
///
/// As [`read_body`].
pub async fn read_body_within(body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let limited = Limited::new(body, limit);
    match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge(limit)),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::TooSlow),
    }
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection ended or the framing is wrong.
    #[error("the body breaks off")]
    Broken,
    /// More than the limit, in bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not arrive in time.
    #[error("the body did not arrive within {} seconds", BODY_TIMEOUT.as_secs())]
    TooSlow,
}

/// The largest body in bytes; the largest honest one is an ID token with many groups.
pub const MAX_BODY: usize = 64 * 1024;

/// Enough for a company of one process, below the usual limit of 1024 descriptors.
const MAX_CONNECTIONS: usize = 400;

/// Bounds the request head; the longest honest one carries an authorization request.
const MAX_BUFFER: usize = 64 * 1024;

/// Also ends idle connections, so it is longer than clients keep theirs warm.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Every peer is on a fast path; only an attacker needs longer.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

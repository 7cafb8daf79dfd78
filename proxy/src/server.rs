//! Accepts clients, and ends them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::answer::{Answer, Form};
use crate::door::{self, Door};
use crate::limits::Limits;
use crate::upstream::Upstream;

/// Serves clients on a loopback listener until `shutdown` resolves.
///
/// Returns within a second of it, with every connection closed; those in the middle of a
/// transfer are reset. Dropping the future does the same.
///
/// # Errors
///
/// Fails at once where the listener is not on loopback. A failure to accept a client is
/// logged and does not end it.
pub async fn serve<U, F>(
    listener: TcpListener,
    upstream: U,
    limits: Limits,
    shutdown: F,
) -> Result<(), ServeError>
where
    U: Upstream,
    F: Future<Output = ()>,
{
    let local = listener.local_addr().map_err(ServeError::LocalAddress)?;
    if !local.ip().is_loopback() {
        return Err(ServeError::NotLoopback(local));
    }

    let max_connections = limits.max_connections;
    let door = Arc::new(Door::new(upstream, limits));
    let mut clients = JoinSet::new();
    let mut backoff = Backoff::default();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = clients.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => {
                    backoff.reset();
                    if clients.len() < max_connections {
                        clients.spawn(door::serve_client(Arc::clone(&door), tcp, peer));
                    } else {
                        turn_away(&tcp);
                    }
                }
                Err(error) if is_about_one_client(&error) => {}
                Err(error) => {
                    let pause = backoff.next();
                    tracing::warn!(%error, ?pause, "Cannot accept proxy clients for now");
                    tokio::select! {
                        () = &mut shutdown => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            },
        }
    }

    drop(listener);
    clients.shutdown().await;
    Ok(())
}

/// Why the proxy could not begin to serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener's address cannot be read.
    #[error("cannot read the proxy listener's own address: {0}")]
    LocalAddress(#[source] io::Error),
    /// The listener would serve other machines.
    #[error("the proxy listener {0} is not on loopback; use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
}

/// How long to wait before accepting again, while the process has no file descriptor to
/// accept with.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn reset(&mut self) {
        self.failures = 0;
    }

    /// Doubles from 10 ms to 640 ms: a client's handshake timeout is not spent, and a
    /// full process is not kept busy.
    fn next(&mut self) -> Duration {
        let pause = Duration::from_millis(10 << self.failures.min(6));
        self.failures += 1;
        pause
    }
}

/// Tells whether accepting failed for a client that is gone rather than for the listener.
fn is_about_one_client(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::ConnectionAborted
        || kind == io::ErrorKind::ConnectionReset
        || kind == io::ErrorKind::ConnectionRefused
        || kind == io::ErrorKind::Interrupted
}

/// Answers without a task, a buffer or a wait: an empty socket takes this much at once.
fn turn_away(tcp: &TcpStream) {
    tracing::debug!("Turned a client away; too many connections are open");
    // A client that cannot be told sees the connection close.
    let _told = tcp.try_write(&Answer::overloaded().to_bytes(Form::default()));
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "A proxy connection ended in a panic");
    }
}

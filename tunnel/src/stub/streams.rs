//! Questions that come over TCP (RFC 7766).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tunnel_proto::dns::{Reply, Transport};
use tunnel_proto::split_dns::Answer;

use super::forward::{read_message, write_message};
use super::{PAUSE_AFTER_ERROR, Shared};

/// Serves connections, as many as there are permits; others wait their turn.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, connections: Arc<Semaphore>) {
    let mut clients = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let accepted = loop {
            tokio::select! {
                accepted = listener.accept() => break accepted,
                Some(_) = clients.join_next() => {}
            }
        };
        match accepted {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                clients.spawn(async move {
                    if let Err(error) = converse(&shared, stream).await {
                        tracing::debug!(%error, "a DNS connection ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "could not accept a DNS connection");
                sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// Answers one question after another until the client has no more.
async fn converse(shared: &Shared, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let Some(message) = timeout(IDLE, read_message(&mut stream)).await?? else {
            return Ok(());
        };
        let reply = match shared.answer(&message, Transport::Tcp) {
            Answer::Forward(request) => match shared.forwards.try_acquire() {
                Ok(_permit) => shared.forward(&request, &message, Transport::Tcp).await,
                Err(_) => request.reply(&Reply::Failed, Transport::Tcp),
            },
            Answer::Ignore => return Ok(()),
            Answer::Reply(reply) => reply,
        };
        timeout(IDLE, write_message(&mut stream, &reply)).await??;
    }
}

/// Connections at the same time.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// How long a client may take for a question, or to take an answer in.
const IDLE: Duration = Duration::from_secs(10);

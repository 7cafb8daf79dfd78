//! One client's connection, from the first byte to the end.

mod exchange;
mod gate;
mod http;
mod socks;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::client_socket::ClientSocket;
use crate::floor;
use crate::limits::Limits;
use crate::relay::{Buffers, relay};
use crate::socks5;
use crate::target::Target;
use crate::upstream::{Refusal, RefusalKind, Upstream};

/// What all connections share.
pub(crate) struct Door<U> {
    upstream: U,
    limits: Limits,
    buffers: Buffers,
}

impl<U: Upstream> Door<U> {
    pub(crate) fn new(upstream: U, limits: Limits) -> Self {
        Self {
            upstream,
            limits,
            buffers: Buffers::default(),
        }
    }

    /// Holds a destination against the floor, then has it decided and dialled.
    async fn connect(&self, client: &U::Client, target: &Target) -> Result<U::Stream, Refusal> {
        floor::check(target)?;
        timeout(
            self.limits.connect_timeout,
            self.upstream.connect(client, target),
        )
        .await
        .unwrap_or_else(|_| {
            Err(Refusal::new(
                RefusalKind::Timeout,
                "connect_timeout",
                format!("{target} could not be connected to in time"),
            )
            .with_remedy("Try again; if it stays like this, tell your administrator."))
        })
    }

    /// Joins the two streams until both have ended.
    async fn tunnel(&self, mut client: ClientSocket, mut upstream: U::Stream, early: BytesMut) {
        client.begin();
        let ended = relay(
            &mut client,
            &mut upstream,
            early,
            &self.buffers,
            self.limits.idle_timeout,
        )
        .await;
        match ended {
            Ok(()) => client.complete(),
            Err(error) => tracing::debug!(%error, "Cut a tunnel"),
        }
    }
}

/// Serves one accepted connection.
pub(crate) async fn serve_client<U: Upstream>(
    door: Arc<Door<U>>,
    tcp: TcpStream,
    peer: SocketAddr,
) {
    let Ok(local) = tcp.local_addr() else {
        return;
    };
    // Without it a request's last segment waits for an acknowledgement.
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "Cannot set TCP_NODELAY on a client's connection");
    }

    let opening = Instant::now();
    let admitted = timeout(
        door.limits.handshake_timeout,
        door.upstream.admit(peer, local),
    );
    let who = match admitted.await {
        Ok(Ok(who)) => who,
        Ok(Err(refusal)) => {
            tracing::info!(%peer, code = %refusal.code, "Refused a client of the proxy");
            return;
        }
        Err(_elapsed) => {
            tracing::warn!(%peer, "A client of the proxy was not identified in time");
            return;
        }
    };

    let mut client = ClientSocket::new(tcp);
    let mut bytes = BytesMut::with_capacity(FIRST_READ);
    let first = client.read_buf(&mut bytes);
    match timeout_at(opening + door.limits.header_timeout, first).await {
        Ok(Ok(1..)) => {}
        // A browser opens connections that it never uses.
        Ok(Ok(0) | Err(_)) | Err(_) => return,
    }
    match bytes.chunk().first() {
        Some(&socks5::VERSION) => socks::serve(&door, &who, client, bytes, opening).await,
        _ => http::serve(&door, &who, client, bytes, local, opening).await,
    }
}

/// Room for a usual request, so that it arrives in one read.
const FIRST_READ: usize = 2048;

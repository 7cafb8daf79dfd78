//! SOCKS5 on a client's connection.

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::Door;
use crate::client_socket::ClientSocket;
use crate::socks5::{self, BadSocks, Greeting, Parsed, Reply};
use crate::upstream::Upstream;

/// Serves a client whose first byte was SOCKS5's.
pub(super) async fn serve<U: Upstream>(
    door: &Door<U>,
    who: &U::Client,
    mut client: ClientSocket,
    mut bytes: BytesMut,
    opening: Instant,
) {
    let deadline = opening + door.limits.handshake_timeout;
    let Ok(Some(greeting)) = read(&mut client, &mut bytes, deadline, Greeting::parse).await else {
        return;
    };
    let choice = socks5::method_choice(greeting.offers_none);
    if !greeting.offers_none {
        return client.close_with(&choice).await;
    }
    if client.write_all(&choice).await.is_err() {
        return;
    }

    let target = match read(&mut client, &mut bytes, deadline, socks5::parse_request).await {
        Ok(Some(target)) => target,
        Ok(None) => return,
        Err(error) => {
            tracing::debug!(%error, "Refused a SOCKS request");
            if let Some(reply) = error.reply() {
                client.close_with(&reply.to_bytes()).await;
            }
            return;
        }
    };

    match door.connect(who, &target).await {
        Ok(upstream) => {
            let reply = Reply::Succeeded.to_bytes();
            if client.write_all(&reply).await.is_ok() {
                door.tunnel(client, upstream, bytes).await;
            }
        }
        Err(refusal) => {
            tracing::debug!(%target, %refusal, "Refused a SOCKS request");
            client
                .close_with(&Reply::from(refusal.kind).to_bytes())
                .await;
        }
    }
}

/// Reads one message and leaves what follows it in `bytes`; returns nothing where the
/// client went away or took too long.
async fn read<T>(
    client: &mut ClientSocket,
    bytes: &mut BytesMut,
    deadline: Instant,
    parse: impl Fn(&[u8]) -> Result<Parsed<T>, BadSocks>,
) -> Result<Option<T>, BadSocks> {
    loop {
        if let Parsed::Complete(message, used) = parse(bytes)? {
            bytes.advance(used);
            return Ok(Some(message));
        }
        bytes.reserve(socks5::MAX_MESSAGE);
        match timeout_at(deadline, client.read_buf(bytes)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => return Ok(None),
        }
    }
}

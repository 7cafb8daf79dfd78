//! The programs behind the gateways.

mod wiki;

use std::net::SocketAddr;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::http_server;

/// One of the lab's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum App {
    /// Pages of a development server.
    Dev,
    /// Sends back what it receives, until the other side is done.
    Echo,
    /// Pages that few may see.
    Payroll,
    /// Pages, downloads, uploads.
    Wiki,
}

impl App {
    /// Serves one connection from the inner address `client`.
    pub async fn serve<S>(self, stream: S, client: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match self {
            Self::Dev => http_server::serve_stream(stream, wiki::dev(client)).await,
            Self::Echo => echo(stream).await,
            Self::Payroll => http_server::serve_stream(stream, wiki::payroll(client)).await,
            Self::Wiki => http_server::serve_stream(stream, wiki::wiki(client)).await,
        }
    }
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut buffer = vec![0; ECHO_BUFFER];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
    if let Err(error) = stream.shutdown().await {
        tracing::debug!(%error, "echo ended early");
    }
}

/// A few segments at a time; the sender waits for the rest.
const ECHO_BUFFER: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn echo_returns_everything_and_then_closes() {
        let (mut near, far) = tokio::io::duplex(64);
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let app = tokio::spawn(App::Echo.serve(far, "100.64.0.1:5".parse().unwrap()));

        let (mut reader, mut writer) = tokio::io::split(&mut near);
        let mut received = Vec::new();
        let (written, read) = tokio::join!(
            async {
                writer.write_all(&sent).await?;
                writer.shutdown().await
            },
            reader.read_to_end(&mut received)
        );

        written.unwrap();
        read.unwrap();
        app.await.unwrap();
        assert_eq!(received, sent);
    }
}

//! The client's connection, which ends as what it was: complete or cut.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A client's TCP connection.
///
/// Whatever ends it between [`begin`](Self::begin) and [`complete`](Self::complete), also
/// the death of the process, it is reset rather than closed, so that nobody takes a cut
/// transfer for a whole one.
#[derive(Debug)]
pub(crate) struct ClientSocket {
    tcp: TcpStream,
}

impl ClientSocket {
    /// Takes a connection that nothing was sent on.
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp }
    }

    /// Marks the beginning of somebody else's bytes.
    pub(crate) fn begin(&self) {
        // Now rather than on drop, so that it holds when the process is killed, too.
        // Nothing is left to try where it fails; the close follows anyway.
        let _reset = self.tcp.set_zero_linger();
    }

    /// Marks their end.
    #[expect(deprecated, reason = "switching it off again blocks nobody")]
    pub(crate) fn complete(&self) {
        let _orderly = self.tcp.set_linger(None);
    }

    /// Says the last word and closes.
    ///
    /// Reads on for a moment, because closing with unread bytes resets the connection and
    /// may take the last word with it.
    pub(crate) async fn close_with(mut self, last_word: &[u8]) {
        let farewell = async {
            self.tcp.write_all(last_word).await?;
            self.tcp.shutdown().await?;
            let mut unread = [0; 4096];
            let mut left = LINGER_BYTES;
            while left > 0 {
                match self.tcp.read(&mut unread).await? {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
            io::Result::Ok(())
        };
        // However it goes, the connection is closed.
        let _ended = timeout(LINGER, farewell).await;
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// How long a client may take to read the last word: far more than loopback needs, and
/// short enough for a stop.
const LINGER: Duration = Duration::from_secs(1);

/// How much of what a client still sends is read before it is cut off.
const LINGER_BYTES: usize = 1 << 20;

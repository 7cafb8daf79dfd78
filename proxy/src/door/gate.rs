//! What the HTTP library may see of a client's connection: one request, to the byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

use crate::client_socket::ClientSocket;
use crate::head::Framing;

/// A client's connection for the length of one request.
///
/// Reads give the header section that was approved and then exactly the request's content.
/// What follows is set aside: it is the next request and has yet to be approved. Writes
/// go through.
#[derive(Debug)]
pub(super) struct Gate {
    /// The header section and what arrived of the content.
    arrived: BytesMut,
    /// The client, with what is left of the content as its limit.
    client: Take<ClientSocket>,
    ahead: BytesMut,
    progress: Arc<Progress>,
}

impl Gate {
    /// Opens the gate for a request whose content, and what follows it, begin in `bytes`.
    pub(super) fn new(
        client: ClientSocket,
        head: &[u8],
        framing: Framing,
        mut bytes: BytesMut,
        progress: Arc<Progress>,
    ) -> Self {
        let mut arrived = BytesMut::from(head);
        let left = match framing {
            Framing::Chunked => {
                arrived.unsplit(bytes.split());
                u64::MAX
            }
            Framing::Length(length) => {
                let here = usize::try_from(length).map_or(bytes.len(), |n| n.min(bytes.len()));
                arrived.unsplit(bytes.split_to(here));
                // The loop only ever subtracts what was there.
                length.saturating_sub(here as u64)
            }
        };
        Self {
            arrived,
            client: client.take(left),
            ahead: bytes,
            progress,
        }
    }

    /// Returns the connection, what was set aside, and whether the content was read whole.
    pub(super) fn into_parts(self) -> (ClientSocket, BytesMut, bool) {
        let whole = self.arrived.is_empty() && self.client.limit() == 0;
        (self.client.into_inner(), self.ahead, whole)
    }

    /// Waits for the client to leave; only an end or a failure is ready.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.len() < MAX_AHEAD {
            let mut bytes = [0; 1024];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(self.client.get_mut()).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.ahead.extend_from_slice(read.filled());
        }
        Poll::Pending
    }
}

impl AsyncRead for Gate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.arrived.has_remaining() {
            let count = self.arrived.len().min(buf.remaining());
            buf.put_slice(&self.arrived.split_to(count));
            return Poll::Ready(Ok(()));
        }
        if self.client.limit() == 0 {
            return self.poll_ahead(cx);
        }
        ready!(Pin::new(&mut self.client).poll_read(cx, buf))?;
        self.progress.moved.store(true, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gate {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(self.client.get_mut()).poll_write(cx, buf))?;
        self.progress.moved.store(true, Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(self.client.get_mut()).poll_write_vectored(cx, bufs))?;
        self.progress.moved.store(true, Relaxed);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.client.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(self.client.get_mut()).poll_flush(cx))?;
        self.progress.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(self.client.get_mut()).poll_shutdown(cx))?;
        self.progress.flushed();
        Poll::Ready(Ok(()))
    }
}

/// How far an exchange has come; shared by its parts, which are polled by one task.
#[derive(Debug, Default)]
pub(super) struct Progress {
    moved: AtomicBool,
    upload_failed: AtomicBool,
    download_ended: AtomicBool,
    answered: AtomicBool,
}

impl Progress {
    /// Tells whether bytes moved since the last call.
    pub(super) fn take_moved(&self) -> bool {
        self.moved.swap(false, Relaxed)
    }

    /// Notes that the client's content broke off or is malformed.
    pub(super) fn upload_failed(&self) {
        self.upload_failed.store(true, Relaxed);
    }

    /// Tells whether it did.
    pub(super) fn is_upload_failed(&self) -> bool {
        self.upload_failed.load(Relaxed)
    }

    /// Notes that the response's last byte is on its way.
    pub(super) fn download_ended(&self) {
        self.download_ended.store(true, Relaxed);
    }

    /// Tells whether the client was sent the whole response.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    fn flushed(&self) {
        if self.download_ended.load(Relaxed) {
            self.answered.store(true, Relaxed);
        }
    }
}

/// How much of later requests is taken in before the current one is answered.
const MAX_AHEAD: usize = 16 * 1024;

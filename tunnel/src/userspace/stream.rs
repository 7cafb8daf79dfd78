use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use connector_core::access::Denial;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flows::OpenFlow;
use crate::netstack::{ConnectError, TcpStream};

/// The bytes of one permitted flow.
///
/// Ends with an error of kind [`io::ErrorKind::ConnectionReset`] in both
/// directions as soon as the permit does.
#[derive(Debug)]
pub struct FlowStream {
    // Dropped in this order: the flow leaves the table before its socket may be reused.
    flow: OpenFlow,
    stream: TcpStream,
}

impl FlowStream {
    pub(super) fn new(flow: OpenFlow, stream: TcpStream) -> Self {
        flow.attach(&stream);
        Self { flow, stream }
    }

    pub(super) async fn established(&self) -> Result<(), ConnectError> {
        self.stream.established().await
    }

    /// Drops the connection, but keeps the flow open for another one.
    pub(super) fn give_up(self) -> OpenFlow {
        self.flow.detach();
        self.flow
    }

    /// Returns why the flow was cut, if it was.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial> {
        self.flow.lease.cut()
    }

    /// Resets the connection instead of closing it.
    pub fn abort(self) {
        self.stream.abort();
    }

    fn check(&self) -> io::Result<()> {
        let lease = &self.flow.lease;
        if !lease.has_ended(self.flow.now()) {
            return Ok(());
        }
        self.stream.abort();
        Err(match lease.cut() {
            Some(denial) => io::Error::new(io::ErrorKind::ConnectionReset, denial.clone()),
            None => io::ErrorKind::ConnectionReset.into(),
        })
    }
}

impl AsyncRead for FlowStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for FlowStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.stream).poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

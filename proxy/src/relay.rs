//! Moves bytes both ways between two streams, with back-pressure and without holding a
//! buffer while nothing moves.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Moves bytes until both sides have ended.
///
/// An end of stream on one side is passed on and the other direction continues. `early`
/// is what the client sent before there was an upstream.
///
/// # Errors
///
/// Fails as soon as either side fails, or when nothing moved for `idle`.
pub(crate) async fn relay<C, U>(
    client: &mut C,
    upstream: &mut U,
    early: BytesMut,
    buffers: &Buffers,
    idle: Duration,
) -> Result<(), RelayError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Flow::new(buffers, early);
    let mut down = Flow::new(buffers, BytesMut::new());
    let mut quiet = Quiet::new(idle);

    poll_fn(|cx| {
        let (mut client, mut upstream) = (Pin::new(&mut *client), Pin::new(&mut *upstream));
        let up_ended = match up.poll_move(cx, client.as_mut(), upstream.as_mut()) {
            Poll::Ready(Err(FlowError::Read(error))) => return client_failed(error),
            Poll::Ready(Err(FlowError::Write(error))) => return upstream_failed(error),
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        let down_ended = match down.poll_move(cx, upstream, client) {
            Poll::Ready(Err(FlowError::Read(error))) => return upstream_failed(error),
            Poll::Ready(Err(FlowError::Write(error))) => return client_failed(error),
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        if up_ended && down_ended {
            return Poll::Ready(Ok(()));
        }

        let moved = std::mem::take(&mut up.moved) | std::mem::take(&mut down.moved);
        quiet.poll(cx, moved).map(|()| Err(RelayError::Idle))
    })
    .await
}

fn client_failed<T>(error: io::Error) -> Poll<Result<T, RelayError>> {
    Poll::Ready(Err(RelayError::Client(error)))
}

fn upstream_failed<T>(error: io::Error) -> Poll<Result<T, RelayError>> {
    Poll::Ready(Err(RelayError::Upstream(error)))
}

/// Why bytes stopped moving before both sides had ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("the client's connection failed: {0}")]
    Client(io::Error),
    #[error("nothing moved for the idle time")]
    Idle,
    #[error("the connection to the destination failed or was withdrawn: {0}")]
    Upstream(io::Error),
}

/// A few buffers that connections share: one is only held while bytes wait in it.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    spare: Mutex<Vec<Box<[u8]>>>,
}

impl Buffers {
    fn take(&self) -> Box<[u8]> {
        let spare = match self.spare.lock() {
            Ok(mut spare) => spare.pop(),
            Err(_poisoned) => None,
        };
        spare.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice())
    }

    fn put(&self, buffer: Box<[u8]>) {
        if let Ok(mut spare) = self.spare.lock()
            && spare.len() < SPARE
        {
            spare.push(buffer);
        }
    }
}

/// Notices when nothing has moved for a while, without reading a clock for every byte.
#[derive(Debug)]
pub(crate) struct Quiet {
    tick: Pin<Box<tokio::time::Sleep>>,
    every: Duration,
    ticks_left: u8,
}

impl Quiet {
    /// Counts from now; `idle` is noticed up to a quarter late.
    pub(crate) fn new(idle: Duration) -> Self {
        let every = idle / u32::from(TICKS);
        Self {
            tick: Box::pin(tokio::time::sleep(every)),
            every,
            ticks_left: TICKS,
        }
    }

    /// Is ready once nothing has moved for the idle time.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<()> {
        if moved {
            // The tick that is running began before this.
            self.ticks_left = TICKS + 1;
        }
        loop {
            ready!(self.tick.as_mut().poll(cx));
            self.ticks_left -= 1;
            if self.ticks_left == 0 {
                return Poll::Ready(());
            }
            let next = tokio::time::Instant::now() + self.every;
            self.tick.as_mut().reset(next);
        }
    }
}

/// One direction.
struct Flow<'b> {
    buffers: &'b Buffers,
    early: BytesMut,
    pending: Option<Pending>,
    stage: Stage,
    needs_flush: bool,
    moved: bool,
}

impl<'b> Flow<'b> {
    fn new(buffers: &'b Buffers, early: BytesMut) -> Self {
        Self {
            buffers,
            early,
            pending: None,
            stage: Stage::Moving,
            needs_flush: false,
            moved: false,
        }
    }

    /// Is ready when the reader's end was passed on to the writer.
    fn poll_move<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: Pin<&mut R>,
        mut writer: Pin<&mut W>,
    ) -> Poll<Result<(), FlowError>>
    where
        R: AsyncRead,
        W: AsyncWrite,
    {
        // Bounded, so that one busy connection leaves room for others.
        for _ in 0..ROUNDS {
            ready!(self.poll_write_pending(cx, writer.as_mut())).map_err(FlowError::Write)?;
            match self.stage {
                Stage::Moving => {
                    if self.poll_fill(cx, reader.as_mut())?.is_pending() {
                        ready!(self.poll_flush(cx, writer)).map_err(FlowError::Write)?;
                        return Poll::Pending;
                    }
                }
                Stage::Ending => {
                    match ready!(writer.as_mut().poll_shutdown(cx)) {
                        // The writer is gone already; its own direction tells how.
                        Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                        other => other.map_err(FlowError::Write)?,
                    }
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_fill<R: AsyncRead>(
        &mut self,
        cx: &mut Context<'_>,
        reader: Pin<&mut R>,
    ) -> Poll<Result<(), FlowError>> {
        let mut buffer = self.buffers.take();
        let mut read = ReadBuf::new(&mut buffer);
        let outcome = reader.poll_read(cx, &mut read);
        let end = read.filled().len();
        match outcome {
            Poll::Ready(Ok(())) if end > 0 => {
                self.moved = true;
                self.pending = Some(Pending {
                    buffer,
                    start: 0,
                    end,
                });
                Poll::Ready(Ok(()))
            }
            ended @ (Poll::Ready(_) | Poll::Pending) => {
                self.buffers.put(buffer);
                ready!(ended).map_err(FlowError::Read)?;
                self.stage = Stage::Ending;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_write_pending<W: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut writer: Pin<&mut W>,
    ) -> Poll<io::Result<()>> {
        while self.early.has_remaining() {
            let count = ready!(writer.as_mut().poll_write(cx, &self.early))?;
            self.early.advance(wrote(count)?);
            self.needs_flush = true;
            self.moved = true;
        }
        while let Some(pending) = &mut self.pending {
            let bytes = &pending.buffer[pending.start..pending.end];
            pending.start += wrote(ready!(writer.as_mut().poll_write(cx, bytes))?)?;
            self.needs_flush = true;
            self.moved = true;
            if pending.start == pending.end
                && let Some(done) = self.pending.take()
            {
                self.buffers.put(done.buffer);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush<W: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        writer: Pin<&mut W>,
    ) -> Poll<io::Result<()>> {
        if self.needs_flush {
            ready!(writer.poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Bytes that were read and not yet written.
struct Pending {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// How far a direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Moving,
    Ending,
    Ended,
}

/// Which end of a direction failed.
enum FlowError {
    Read(io::Error),
    Write(io::Error),
}

fn wrote(count: usize) -> io::Result<usize> {
    match count {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

/// As much as loopback sockets take at once, and small enough for the second-level cache.
const BUFFER: usize = 64 * 1024;

/// How many unused buffers are kept: about as many as threads that poll.
const SPARE: usize = 16;

/// How many buffers one direction moves before others get their turn.
const ROUNDS: usize = 16;

/// How many times within the idle time a connection is looked at.
const TICKS: u8 = 4;

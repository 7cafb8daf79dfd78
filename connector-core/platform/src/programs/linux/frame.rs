//! One question or answer on a stream: its length in four bytes, the lowest first, then JSON.
//!
//! Deadlines are for whole messages, however they are cut into pieces.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send as send_some};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Sends `message`, as a whole by `deadline`.
pub(super) fn send<T: Serialize>(
    stream: &UnixStream,
    message: &T,
    limit: u32,
    deadline: Instant,
) -> io::Result<()> {
    let mut bytes = vec![0; HEAD];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - HEAD).ok();
    let length = length.filter(|length| *length <= limit);
    let length = length.ok_or_else(|| invalid("the message is too long"))?;
    bytes[..HEAD].copy_from_slice(&length.to_le_bytes());

    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        match send_some(stream, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => rest = &rest[sent..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(stream, PollFlags::POLLOUT, deadline)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits for as long as it takes until the peer begins a message; returns whether it does.
pub(super) fn has_begun(stream: &UnixStream) -> io::Result<bool> {
    loop {
        match recv(stream, &mut [0; 1], RecvFlags::PEEK) {
            Ok((_, seen)) => return Ok(seen > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives a message, as a whole by `deadline`.
pub(super) fn receive<T: DeserializeOwned>(
    stream: &UnixStream,
    limit: u32,
    deadline: Instant,
) -> io::Result<T> {
    let mut head = [0; HEAD];
    receive_all(stream, &mut head, deadline)?;
    let length = u32::from_le_bytes(head);
    if length > limit {
        return Err(invalid("the message is too long"));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    receive_all(stream, &mut bytes, deadline)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Returns how long it is until `deadline`.
///
/// Errors with `TimedOut` if it has passed.
pub(super) fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

fn receive_all(stream: &UnixStream, mut room: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !room.is_empty() {
        match recv(stream, &mut *room, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((received, _)) => room = &mut room[received..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(stream, PollFlags::POLLIN, deadline)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until something can be done with the socket, or not any more, at most until `deadline`.
fn wait(stream: &UnixStream, until: PollFlags, deadline: Instant) -> io::Result<()> {
    let left = left_until(deadline)?;
    is_ready(stream, until, left).map(drop)
}

/// Waits for at most so long until something can be done with a socket; returns whether it can.
pub(super) fn is_ready(socket: impl AsFd, until: PollFlags, left: Duration) -> io::Result<bool> {
    let timeout = PollTimeout::try_from(left + ROUNDING).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(socket.as_fd(), until)], timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

const HEAD: usize = 4;

/// `poll(2)` counts whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(1);

//! Netlink messages (`netlink(7)`), as far as steering needs them.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send,
    socket_with,
};

use super::readable::Readable;

/// A part of the kernel that answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subsystem(Option<Protocol>);

/// Links, addresses, routes and rules; number 0, which is no `Protocol`.
pub(super) const ROUTES: Subsystem = Subsystem(None);

/// The packet filter.
pub(super) const FILTER: Subsystem = Subsystem(Some(netlink::NETFILTER));

/// A conversation with one of the kernel's subsystems.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    pub(super) fn open(subsystem: Subsystem) -> io::Result<Self> {
        open(subsystem, SocketFlags::CLOEXEC, 0).map(Self)
    }

    /// Puts one request, and returns once it was carried out.
    pub(super) fn request(&self, request: &Message) -> io::Result<()> {
        self.send(request, REQUEST | ACKNOWLEDGE)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = self.receive(&mut buffer)?;
            for part in parts(&buffer[..length]) {
                match part.kind {
                    ERROR => return error_of(&part),
                    DONE => return Ok(()),
                    // What was changed, told because it was asked for by nobody.
                    _ => {}
                }
            }
        }
    }

    /// Returns the first message of the answer to a question.
    pub(super) fn ask(&self, question: &Message) -> io::Result<Vec<u8>> {
        self.send(question, REQUEST)?;
        let mut buffer = vec![0; BUFFER];
        let length = self.receive(&mut buffer)?;
        let part = parts(&buffer[..length]).next().ok_or_else(unreadable)?;
        if part.kind == ERROR {
            error_of(&part)?;
        }
        Ok(part.body.to_vec())
    }

    /// Returns every message of the answer to a question for a whole table.
    pub(super) fn dump(&self, question: &Message) -> io::Result<Vec<Vec<u8>>> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(all) = self.try_dump(question)? {
                return Ok(all);
            }
        }
        Err(io::Error::other(
            "the kernel's table changed each time it was read",
        ))
    }

    /// Returns nothing if the table was changed while it was being read.
    fn try_dump(&self, question: &Message) -> io::Result<Option<Vec<Vec<u8>>>> {
        self.send(question, REQUEST | DUMP)?;
        let mut buffer = vec![0; BUFFER];
        let mut all = Vec::new();
        let mut is_consistent = true;
        loop {
            let length = self.receive(&mut buffer)?;
            for part in parts(&buffer[..length]) {
                is_consistent &= part.flags & DUMP_INTERRUPTED == 0;
                match part.kind {
                    ERROR => error_of(&part)?,
                    DONE => return Ok(is_consistent.then_some(all)),
                    _ => all.push(part.body.to_vec()),
                }
            }
        }
    }

    fn send(&self, message: &Message, flags: u16) -> io::Result<()> {
        let bytes = message.encode(flags);
        send(&self.0, &bytes, SendFlags::empty())?;
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (_, length) = recv(&self.0, &mut *buffer, RecvFlags::TRUNC)?;
        if length > buffer.len() {
            return Err(io::Error::other("the kernel's answer is too long"));
        }
        Ok(length)
    }
}

/// What the kernel tells unasked.
#[derive(Debug)]
pub(super) struct Notices(Readable);

impl Notices {
    /// Joins `groups`, a bit set of `RTMGRP_*` or the like.
    pub(super) fn join(subsystem: Subsystem, groups: u32) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Readable::new(open(subsystem, flags, groups)?).map(Self)
    }

    /// Waits for notices and returns whether one of them, given its type, is one
    /// that `concerns`, or may have been: some were lost.
    ///
    /// Cancelling it loses nothing.
    pub(super) async fn next(&self, mut concerns: impl FnMut(u16, &[u8]) -> bool) -> bool {
        let mut is_concerned = false;
        let mut buffer = vec![0; BUFFER];
        let was_lost = self
            .0
            .drain(|socket| {
                let (_, length) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
                for part in parts(&buffer[..length]) {
                    is_concerned |= concerns(part.kind, part.body);
                }
                Ok(())
            })
            .await;
        is_concerned || was_lost
    }
}

fn open(subsystem: Subsystem, flags: SocketFlags, groups: u32) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, subsystem.0)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// A message to the kernel: a header of its subsystem, then attributes.
#[derive(Debug, Clone)]
pub(super) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    pub(super) fn new(kind: u16, header: &[u8]) -> Self {
        let mut body = header.to_vec();
        pad(&mut body);
        Self {
            kind,
            flags: 0,
            body,
        }
    }

    pub(super) const fn with_flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        // An attribute is an address, a number or a short name.
        let length = u16::try_from(value.len() + ATTRIBUTE_HEADER).unwrap_or(u16::MAX);
        self.body.extend(length.to_ne_bytes());
        self.body.extend(kind.to_ne_bytes());
        self.body.extend(value);
        pad(&mut self.body);
        self
    }

    fn encode(&self, flags: u16) -> Vec<u8> {
        let length = u32::try_from(self.body.len() + MESSAGE_HEADER).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(self.body.len() + MESSAGE_HEADER);
        bytes.extend(length.to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend((self.flags | flags).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(&self.body);
        bytes
    }
}

/// Returns the attributes after a header of `header` bytes, their types without flags.
pub(super) fn attributes(body: &[u8], header: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(aligned(header)..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(field(rest, 0)?));
        let kind = u16::from_ne_bytes(field(rest, 2)?);
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind & ATTRIBUTE_TYPE, value))
    })
}

/// Returns the number in an attribute of four bytes.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    field(value, 0).map(u32::from_ne_bytes)
}

/// Returns the text in an attribute that ends in a zero byte.
pub(super) fn text(value: &[u8]) -> &[u8] {
    value.strip_suffix(&[0]).unwrap_or(value)
}

pub(super) fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

struct Part<'a> {
    kind: u16,
    flags: u16,
    body: &'a [u8],
}

fn parts(datagram: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(number(rest)?).ok()?;
        let part = Part {
            kind: u16::from_ne_bytes(field(rest, 4)?),
            flags: u16::from_ne_bytes(field(rest, 6)?),
            body: rest.get(MESSAGE_HEADER..length)?,
        };
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(part)
    })
}

fn error_of(part: &Part<'_>) -> io::Result<()> {
    match field(part.body, 0).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        None => Err(unreadable()),
    }
}

fn unreadable() -> io::Error {
    io::Error::other("the kernel's answer cannot be read")
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(aligned(bytes.len()), 0);
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Flags of a request that makes something new, and only if it is not there.
pub(super) const CREATE: u16 = 0x400 | 0x200;

/// From `linux/netlink.h`.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const MESSAGE_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// The kernel never answers with more in one datagram than 32 KiB.
const BUFFER: usize = 64 * 1024;

/// A table that is changed while it is read is read again; on a machine whose
/// tables never rest, an error is better than a loop.
const DUMP_ATTEMPTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_written() {
        let message = Message::new(24, &[1, 2, 3])
            .attribute(1, &[9])
            .attribute(0x8002, b"name\0");

        let read: Vec<_> = attributes(&message.body, 3).collect();

        assert_eq!(read, [(1, &[9][..]), (2, &b"name\0"[..])]);
        assert_eq!(text(read[1].1), b"name");
    }

    #[test]
    fn what_is_cut_off_or_malformed_ends_the_reading() {
        let whole = Message::new(24, &[0; 12])
            .attribute(1, &[1, 2, 3, 4])
            .encode(0);
        for length in 0..whole.len() {
            assert_eq!(parts(&whole[..length]).count(), 0, "{length} bytes");
        }
        for length in [0_u16, 1, 3, 200] {
            let mut body = length.to_ne_bytes().to_vec();
            body.extend([0; 6]);
            assert_eq!(attributes(&body, 0).count(), 0, "length {length}");
        }
    }
}

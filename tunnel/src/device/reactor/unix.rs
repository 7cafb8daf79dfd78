use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::Ready;
use crate::device::imp;
use crate::sockets::{Ports, RawPort};

#[derive(Debug)]
pub(super) struct Reactor {
    device: OwnedFd,
    called: PipeReader,
}

/// A pipe, on every Unix alike; a call is the byte in it.
#[derive(Debug)]
pub(super) struct Bell {
    called: PipeReader,
    caller: PipeWriter,
}

impl Reactor {
    pub(super) fn new(device: &imp::Device) -> io::Result<(Self, Bell)> {
        let (called, caller) = io::pipe()?;
        rustix::io::ioctl_fionbio(&called, true)?;
        rustix::io::ioctl_fionbio(&caller, true)?;
        let bell = Bell {
            called: called.try_clone()?,
            caller,
        };
        let device = device.as_fd().try_clone_to_owned()?;
        Ok((Self { device, called }, bell))
    }

    pub(super) fn wait(
        &self,
        device: bool,
        sockets: &Ports<RawPort>,
        writable: bool,
        timeout: Option<Duration>,
    ) -> io::Result<Ready> {
        let mut wanted = PollFlags::IN;
        wanted.set(PollFlags::OUT, writable);
        let from_device = if device {
            PollFd::new(&self.device, PollFlags::IN)
        } else {
            self.nothing()
        };
        let mut places = sockets.iter();
        let mut socket = || match places.next() {
            Some(port) => PollFd::new(port.socket(), wanted),
            None => self.nothing(),
        };
        let mut polled = [
            PollFd::new(&self.called, PollFlags::IN),
            from_device,
            socket(),
            socket(),
        ];

        // More than can be said is as good as no limit.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }

        let [woken, from_device, sockets @ ..] = polled.map(|place| place.revents());
        let any = |flags| sockets.iter().any(|seen| seen.intersects(flags));
        Ok(Ready {
            device: device && !from_device.is_empty(),
            // An error is taken by receiving.
            sockets: any(PollFlags::IN | PollFlags::ERR),
            writable: writable && any(PollFlags::OUT | PollFlags::ERR),
            woken: woken.intersects(PollFlags::IN),
        })
    }

    /// A place that waits for nothing.
    fn nothing(&self) -> PollFd<'_> {
        PollFd::new(&self.called, PollFlags::empty())
    }
}

impl Bell {
    pub(super) fn ring(&self) {
        // A pipe that is full has rung already.
        let _ = (&self.caller).write(&[1]);
    }

    pub(super) fn silence(&self) {
        let _ = (&self.called).read(&mut [0; 16]);
    }
}

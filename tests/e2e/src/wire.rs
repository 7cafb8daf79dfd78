//! Frames as they are on an interface. Linux only: elsewhere nothing can be opened.

use std::io;
use std::time::Duration;

#[cfg_attr(target_os = "linux", path = "wire/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "wire/other.rs")]
mod system;

/// An open interface: every frame that passes it, and a way to send more.
#[derive(Debug)]
pub struct Wire(system::Wire);

impl Wire {
    /// Opens the interface of this name in the process's network namespace.
    ///
    /// # Errors
    ///
    /// If there is none, or the process may not (`CAP_NET_RAW`).
    pub fn open(interface: &str) -> io::Result<Self> {
        system::Wire::open(interface).map(Self)
    }

    /// Tells whether frames begin with an Ethernet header; those of a TUN device are bare packets.
    #[must_use]
    pub fn has_ethernet(&self) -> bool {
        self.0.has_ethernet()
    }

    /// Takes the next frame, if one waits.
    ///
    /// # Errors
    ///
    /// If the interface is gone.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        self.0.try_receive(buffer)
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// If the interface is down, its queue is full, or the frame is longer than it takes.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame)
    }
}

/// A frame in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// How long it is.
    pub length: usize,
    /// Whether it came in; those that this machine sends are seen as well.
    pub came_in: bool,
    /// When the kernel saw it, since 1970.
    pub at: Duration,
}

/// Lines on standard input.
#[derive(Debug, Default)]
pub struct Orders {
    partial: String,
    ended: bool,
}

impl Orders {
    /// Returns the lines that have come since; none for ever after the end.
    ///
    /// # Errors
    ///
    /// If standard input cannot be read.
    pub fn take(&mut self) -> io::Result<Vec<String>> {
        let mut bytes = [0; 4096];
        let length = system::read_orders(&mut bytes)?;
        self.ended = length == 0;
        self.partial += &String::from_utf8_lossy(&bytes[..length]);
        let mut lines: Vec<String> = self.partial.split('\n').map(str::to_owned).collect();
        self.partial = lines.pop().unwrap_or_default();
        Ok(lines)
    }

    /// Tells whether no more will come.
    #[must_use]
    pub fn have_ended(&self) -> bool {
        self.ended
    }
}

/// Waits until a frame or an order has come, at most for `limit`. Returns whether it was an order.
///
/// # Errors
///
/// If the system refuses to wait.
pub fn wait(wires: &[&Wire], limit: Option<Duration>) -> io::Result<bool> {
    let wires: Vec<&system::Wire> = wires.iter().map(|wire| &wire.0).collect();
    system::wait(&wires, limit)
}

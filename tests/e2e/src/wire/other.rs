//! No packet sockets here.

use std::io;
use std::time::Duration;

use super::Received;

#[derive(Debug)]
pub(super) enum Wire {}

impl Wire {
    pub(super) fn open(_interface: &str) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn has_ethernet(&self) -> bool {
        match *self {}
    }

    pub(super) fn try_receive(&self, _buffer: &mut [u8]) -> io::Result<Option<Received>> {
        match *self {}
    }

    pub(super) fn send(&self, _frame: &[u8]) -> io::Result<()> {
        match *self {}
    }
}

pub(super) fn read_orders(_buffer: &mut [u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn wait(_wires: &[&Wire], _limit: Option<Duration>) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

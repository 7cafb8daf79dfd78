//! Notices of somebody having changed what we set.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::netlink::{FILTER, Notices as Netlink, ROUTES};
use super::readable::Readable;
use super::routes::Table;
use super::{kernel, nft};
use crate::steering::Part;

/// Every source of notices that steering has.
#[derive(Debug)]
pub(super) struct Notices {
    routes: Netlink,
    filter: Netlink,
    files: OwnedFd,
    file_events: Readable,
}

impl Notices {
    pub(super) fn listen() -> io::Result<Self> {
        let groups = kernel::GROUP_LINKS
            | kernel::GROUP_ADDRESSES
            | kernel::GROUP_ROUTES
            | kernel::GROUP_RULES;
        let files = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            routes: Netlink::join(ROUTES, groups)?,
            filter: Netlink::join(FILTER, nft::GROUP)?,
            file_events: Readable::new(files.try_clone()?)?,
            files,
        })
    }

    /// Watches these files and directories too, as far as they are there.
    pub(super) fn watch(&self, paths: &[PathBuf]) {
        let events = WatchFlags::ATTRIB
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MODIFY
            | WatchFlags::MOVE
            | WatchFlags::MOVE_SELF;
        for path in paths {
            // What is not there is seen to come by its directory, or by the next check.
            let _ = inotify::add_watch(&self.files, path, events);
        }
    }

    /// Waits for a notice that concerns `device`, our `table` or another part.
    /// Cancelling it loses nothing.
    pub(super) async fn next(&self, table: Table, device: &str) -> Part {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        loop {
            let (part, is_concerned) = tokio::select! {
                told = self.routes.next(|kind, body| match kind {
                    kernel::NEW_ROUTE | kernel::DELETE_ROUTE => table.is_told_of(body),
                    kernel::NEW_LINK | kernel::DELETE_LINK => kernel::is_about_link(body, device),
                    _ => true,
                }) => (Part::Routes, told),
                told = self.filter.next(nft::is_told_of) => (Part::Guard, told),
                _ = self.file_events.drain(|files| rustix::io::read(files, &mut buffer).map(drop)) => {
                    (Part::Resolver, true)
                }
            };
            if is_concerned {
                return part;
            }
        }
    }
}

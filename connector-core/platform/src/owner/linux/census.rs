//! Which processes hold which sockets, from one pass over all of them.
//!
//! A pass takes milliseconds. Whoever asks while one is under way waits for the next,
//! together with all others who do: many questions cost little more than one.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use super::process::{self, Process};

/// The holders of all sockets, as far as processes let themselves be looked into.
#[derive(Debug, Default)]
pub(super) struct Census {
    holders: HashMap<u32, Vec<u32>>,
}

impl Census {
    /// Returns the processes that held the socket of this inode.
    pub(super) fn holders(&self, inode: u32) -> &[u32] {
        self.holders.get(&inode).map_or(&[], Vec::as_slice)
    }

    fn take() -> Self {
        let mut holders = HashMap::<u32, Vec<u32>>::new();
        for pid in process::all().unwrap_or_default() {
            let sockets = Process::open(pid).map(|process| process.sockets());
            for inode in sockets.unwrap_or_default() {
                holders.entry(inode).or_default().push(pid);
            }
        }
        Self { holders }
    }
}

/// Returns a census that began no earlier than this call.
pub(super) fn beginning_now() -> Arc<Census> {
    let mut office = lock();
    let wanted = office.begun + 1;
    loop {
        if office.done >= wanted {
            return Arc::clone(&office.latest);
        }
        if office.begun > office.done {
            office = DONE.wait(office).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        office.begun += 1;
        drop(office);
        let census = Arc::new(Census::take());
        office = lock();
        office.done = office.begun;
        office.latest = census;
        DONE.notify_all();
    }
}

/// Where passes are counted: at most one is under way.
#[derive(Debug, Default)]
struct Office {
    begun: u64,
    done: u64,
    latest: Arc<Census>,
}

fn lock() -> MutexGuard<'static, Office> {
    OFFICE.lock().unwrap_or_else(PoisonError::into_inner)
}

static OFFICE: LazyLock<Mutex<Office>> = LazyLock::new(Mutex::default);
static DONE: Condvar = Condvar::new();

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::thread;

    use super::*;

    #[test]
    fn each_of_many_who_ask_at_once_sees_the_socket_that_it_has_just_made() {
        let askers: Vec<_> = (0..8)
            .map(|_| {
                thread::spawn(|| {
                    for _ in 0..20 {
                        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                        let descriptor = socket.as_raw_fd();
                        let path = format!("/proc/self/fd/{descriptor}");
                        let inode = std::fs::metadata(path).unwrap().ino();

                        let census = beginning_now();

                        let inode = u32::try_from(inode).unwrap();
                        assert!(census.holders(inode).contains(&std::process::id()));
                    }
                })
            })
            .collect();
        for asker in askers {
            asker.join().unwrap();
        }
    }
}

//! TCP and UDP inside the process, over [`Link`]s that encrypt.
//!
//! One stack serves one site, so that sites may use the same addresses. The
//! sockets' buffers are the only buffers: a reader who is slow closes the
//! window of whoever sends, and a tunnel that is slow makes writers wait.

mod budget;
mod device;
mod lookup;
mod stack;
mod tcp;
mod udp;

use std::sync::{Mutex, MutexGuard, PoisonError};

use connector_core::time::Moment;
use tokio::sync::Notify;

pub use self::budget::Budget;
pub use self::device::Link;
pub use self::lookup::{LookupError, look_up};
pub use self::stack::{Counters, Role, Stack, StackConfig};
pub(crate) use self::tcp::abort;
pub use self::tcp::{ConnectError, TcpStream};
pub use self::udp::{Sender, UdpSocket};
use crate::Clock;

/// A stack that sockets and the loop that drives it share.
#[derive(Debug)]
pub struct Netstack {
    stack: Mutex<Stack>,
    driver: Notify,
    clock: Clock,
}

impl Netstack {
    /// Wraps a stack; somebody has to drive it.
    #[must_use]
    pub fn new(stack: Stack, clock: Clock) -> Self {
        Self {
            stack: Mutex::new(stack),
            driver: Notify::new(),
            clock,
        }
    }

    /// Gives access to the stack, for as long as it takes to move one batch of packets.
    pub fn lock(&self) -> MutexGuard<'_, Stack> {
        self.stack.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the driver that there is something to do.
    pub fn wake_driver(&self) {
        self.driver.notify_one();
    }

    /// Completes when somebody called [`wake_driver`](Self::wake_driver).
    pub async fn work(&self) {
        self.driver.notified().await;
    }

    /// Reads the clock that the stack runs on.
    #[must_use]
    pub fn now(&self) -> Moment {
        (self.clock)()
    }
}

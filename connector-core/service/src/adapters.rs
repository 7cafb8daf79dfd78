//! One adapter for each thing outside: each starts effects and brings back
//! what came of them as events.

pub(crate) mod authorizer;
pub(crate) mod control;
pub(crate) mod decisions;
pub(crate) mod diagnosing;
pub(crate) mod front_ends;
pub(crate) mod granting;
pub(crate) mod http;
pub(crate) mod interception;
pub(crate) mod keys;
pub(crate) mod managing;
pub(crate) mod measuring;
pub(crate) mod networking;
pub(crate) mod pdp;
pub(crate) mod policies;
pub(crate) mod proxying;
pub(crate) mod shipping;
pub(crate) mod sign_in;
pub(crate) mod signals;
pub(crate) mod tunnelling;

use connector_core::connector::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Brings events to the driver.
pub(crate) type Events = mpsc::Sender<Event>;

/// An event that somebody waits for until it has come into effect.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) event: Event,
    pub(crate) done: oneshot::Sender<()>,
}

/// Brings orders to the driver.
pub(crate) type Orders = mpsc::Sender<Order>;

/// A task that ends when its owner lets go of it.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    /// Runs `work` until it is done or the task is dropped.
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

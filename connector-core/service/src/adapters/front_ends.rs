//! Serves `ztna` and other front-ends at the local endpoint.

mod answering;
mod connection;
mod rights;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use connector_core::jws::PublicKey;
use connector_platform::endpoint::{Audience, Listener};
use tokio::task::{AbortHandle, JoinSet};

use self::answering::Answering;
use self::connection::Connection;
use super::granting::Granting;
use super::http::Http;
use super::{Events, Orders, Task};
use crate::view::View;

/// What answering needs.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) view: Arc<View>,
    pub(crate) granting: Granting,
    pub(crate) http: Http,
    pub(crate) audience: Audience,
    /// Signs the codes that open what the administrator locked.
    pub(crate) code_key: PublicKey,
    pub(crate) events: Events,
    pub(crate) orders: Orders,
}

/// Serves front-ends until dropped.
pub(crate) fn start(listener: Listener, config: Config) -> Task {
    Task::spawn(accept(listener, Arc::new(Answering::new(config))))
}

async fn accept(mut listener: Listener, answering: Arc<Answering>) {
    let mut connections = JoinSet::new();
    let mut oldest_first = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "A front-end could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection: &AbortHandle| !connection.is_finished());
        if oldest_first.len() >= MAX_CONNECTIONS
            && let Some(oldest) = oldest_first.pop_front()
        {
            // Front-ends that were forgotten must not keep new ones out.
            tracing::warn!("Too many front-ends are connected; the oldest is turned away");
            oldest.abort();
        }
        let answering = Arc::clone(&answering);
        oldest_first.push_back(connections.spawn(async move {
            if let Err(error) = Connection::new(stream).serve(&answering).await {
                tracing::debug!(%error, "A front-end's connection ended");
            }
        }));
    }
}

/// A shell, a tray and a window or two for each of a few users.
const MAX_CONNECTIONS: usize = 64;

/// After a failure that is likely to come again at once, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

//! The status, once or at each change.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_ipc::Reply;

use super::super::connection::Connection;
use super::super::rights::{Caller, Role};
use super::Answering;
use crate::adapters::tunnelling::Tunnel;
use crate::view::View;

/// Sends the status; with `follow`, again at each change until the front-end goes.
pub(super) async fn status(
    answering: &Answering,
    caller: Caller,
    follow: bool,
    to: &mut Connection,
) -> io::Result<()> {
    let view = &answering.view;
    // Whose the session is may change meanwhile.
    let status = || match answering.role(caller) {
        Role::Stranger => View::status_for_strangers(),
        Role::Administrator | Role::Owner | Role::Visitor => view.status(),
    };
    let mut shown = status();
    to.send(&Reply::Status(Box::new(shown.clone()))).await?;
    if !follow {
        return Ok(());
    }
    let _following = answering.followers.join(&view.tunnel);
    let mut snapshot = view.snapshot.clone();
    let mut control = view.control.clone();
    let mut tunnel = view.tunnel.changes();
    let mut settings = view.settings.clone();
    let mut refresh = tokio::time::interval(REFRESH);
    loop {
        tokio::select! {
            changed = snapshot.changed() => if changed.is_err() { return Ok(()) },
            changed = control.changed() => if changed.is_err() { return Ok(()) },
            changed = tunnel.changed() => if changed.is_err() { return Ok(()) },
            changed = settings.changed() => if changed.is_err() { return Ok(()) },
            _ = refresh.tick() => {}
            () = to.gone() => return Ok(()),
        }
        let now = status();
        if now != shown {
            shown = now;
            to.send(&Reply::Status(Box::new(shown.clone()))).await?;
        }
    }
}

/// How many follow the status: while anybody does, dead gateways are looked for.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<usize>);

impl Followers {
    fn join<'a>(&'a self, tunnel: &'a Tunnel) -> Following<'a> {
        let mut count = self.lock();
        *count += 1;
        tunnel.set_watched(true);
        Following {
            followers: self,
            tunnel,
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them, until dropped.
struct Following<'a> {
    followers: &'a Followers,
    tunnel: &'a Tunnel,
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        let mut count = self.followers.lock();
        *count = count.saturating_sub(1);
        self.tunnel.set_watched(*count > 0);
    }
}

/// How often a followed status shows new byte counts.
const REFRESH: Duration = Duration::from_secs(1);

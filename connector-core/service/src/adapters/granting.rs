//! Requests for access: asks the control plane in the name of whoever is signed in, and has
//! written down what becomes of them.

mod following;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_core::audit::{Pleading, Settlement};
use connector_core::authzen::printable;
use connector_core::connector::Event;
use connector_core::control::{GrantRequest, GrantTask};
use connector_core::identity::SessionId;
use connector_core::time::WallTime;
use connector_platform::clock;
use tokio::sync::Notify;

use self::following::{Followed, Heard};
use super::control::{ApiError, ControlPlane};
use super::keys::KeyRing;
use super::{Events, Task};

/// The way to ask for access.
#[derive(Debug)]
pub(crate) struct Granting {
    asking: Arc<Asking>,
    _task: Task,
}

#[derive(Debug)]
struct Asking {
    api: ControlPlane,
    keys: KeyRing,
    events: Events,
    followed: Mutex<Followed>,
    changed: Notify,
}

impl Granting {
    pub(crate) fn new(api: ControlPlane, keys: KeyRing, events: Events) -> Self {
        let asking = Arc::new(Asking {
            api,
            keys,
            events,
            followed: Mutex::default(),
            changed: Notify::new(),
        });
        let following = Arc::clone(&asking);
        Self {
            asking,
            _task: Task::spawn(async move { following.follow().await }),
        }
    }

    /// Asks for access on the session's own word.
    pub(crate) async fn ask(
        &self,
        session: &SessionId,
        request: &GrantRequest,
    ) -> Result<GrantTask, NotAsked> {
        let task = self.asking.ask(session, request).await?;
        let heard = Heard::One(&task);
        self.asking.note(session, heard).await;
        Ok(task)
    }

    /// Returns what the session's person has asked for, the latest first.
    pub(crate) async fn list(&self, session: &SessionId) -> Result<Vec<GrantTask>, NotAsked> {
        let tasks = self.asking.list(session).await?;
        self.asking.note(session, Heard::All(&tasks)).await;
        Ok(tasks)
    }
}

impl Asking {
    /// Asks what became of requests while any may change.
    async fn follow(&self) {
        loop {
            let next = self.lock().next(clock::now().wall);
            let Some((session, pause)) = next else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.changed.notified() => continue,
            }
            match self.list(&session).await {
                Ok(tasks) => self.note(&session, Heard::All(&tasks)).await,
                Err(NotAsked::Api(error)) => {
                    tracing::debug!(%error, "What became of requests for access is not known");
                    tokio::time::sleep(RETRY).await;
                }
                Err(NotAsked::NobodyToAsk | NotAsked::SessionOver) => self.lock().clear(),
            }
        }
    }

    async fn note(&self, session: &SessionId, heard: Heard<'_>) {
        let news = self.lock().note(session, heard);
        for task in news {
            let settled = Event::AccessPleaded(Pleading::Settled(settlement(&task)));
            // A service that stops writes nothing down.
            let _ = self.events.send(settled).await;
        }
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(
        &self,
        session: &SessionId,
        request: &GrantRequest,
    ) -> Result<GrantTask, NotAsked> {
        let keys = self.keys.find(session).ok_or(NotAsked::SessionOver)?;
        let answer = self
            .api
            .request_access(session.as_str(), &keys.signing, request);
        answer.await?.ok_or(NotAsked::NobodyToAsk)
    }

    async fn list(&self, session: &SessionId) -> Result<Vec<GrantTask>, NotAsked> {
        let keys = self.keys.find(session).ok_or(NotAsked::SessionOver)?;
        let answer = self.api.access_requests(session.as_str(), &keys.signing);
        answer.await?.ok_or(NotAsked::NobodyToAsk)
    }
}

fn settlement(task: &GrantTask) -> Settlement {
    let until = task.expires_at.map(|seconds| seconds.saturating_mul(1000));
    Settlement {
        id: printable(&task.id),
        resource: (&*printable(&task.resource.id)).into(),
        state: task.status.as_str().into(),
        approver: task.approver.as_deref().map(printable),
        until: until.map(WallTime::from_unix_millis),
    }
}

/// Why nothing was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAsked {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("your company takes no requests for access here")]
    NobodyToAsk,
    #[error("the session is over")]
    SessionOver,
}

/// Between tries while the control plane cannot be asked.
const RETRY: Duration = Duration::from_secs(30);

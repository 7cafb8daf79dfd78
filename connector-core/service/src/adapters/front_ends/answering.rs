//! What the service does about each request.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use connector_core::connector::{Event, SignInMethod, Standing};
use connector_ipc::{DecisionReport, Failure, FailureKind, Outcome, Reply, Request};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::super::Events;
use super::super::sign_in::Progress;
use super::connection::Connection;
use crate::view::View;

mod why;

#[derive(Debug)]
pub(super) struct Answering {
    view: Arc<View>,
    events: Events,
}

impl Answering {
    pub(super) fn new(view: Arc<View>, events: Events) -> Self {
        Self { view, events }
    }

    pub(super) async fn answer(&self, request: Request, to: &mut Connection) -> io::Result<()> {
        let reply = match request {
            Request::Config => Reply::Settings(self.view.settings.clone()),
            Request::Decisions {
                follow,
                denied,
                limit,
            } => return self.decisions(follow, denied, limit, to).await,
            Request::Down => self.order(Event::Paused).await,
            Request::Login => return self.login(to).await,
            Request::Logout => self.order(Event::SignOutRequested).await,
            Request::Posture { refresh } => self.posture(refresh).await,
            Request::Resources => Reply::Resources(self.view.resources()),
            Request::Status { follow } => return self.status(follow, to).await,
            Request::Up => self.order(Event::Resumed).await,
            Request::Whoami => match self.view.identity() {
                Some(identity) => Reply::Identity(identity),
                None => failed(
                    FailureKind::NotSignedIn,
                    "nobody is signed in",
                    Some("Run `ztna login`."),
                ),
            },
            Request::Why { host, port } => match why::ask(&self.view, &host, port).await {
                Ok(report) => Reply::Access(report),
                Err(problem) => failed(FailureKind::BadRequest, &problem, None),
            },
        };
        to.send(&reply).await
    }

    /// Feeds an event to the core and waits until it has come into effect.
    async fn order(&self, event: Event) -> Reply {
        let mut snapshot = self.view.snapshot.clone();
        snapshot.borrow_and_update();
        if self.events.send(event).await.is_err() {
            return failed(FailureKind::Internal, "the service is stopping", None);
        }
        // Nothing changes if it was so already.
        let _ = tokio::time::timeout(EFFECT_LIMIT, snapshot.changed()).await;
        Reply::Done
    }

    async fn posture(&self, refresh: bool) -> Reply {
        if refresh {
            let mut snapshot = self.view.snapshot.clone();
            let before = snapshot.borrow_and_update().facts.clone();
            let _ = self.events.send(Event::PostureRefreshRequested).await;
            let fresh = snapshot.wait_for(|snapshot| snapshot.facts != before);
            let _ = tokio::time::timeout(MEASURING_LIMIT, fresh).await;
        }
        Reply::Posture(self.view.posture())
    }

    async fn login(&self, to: &mut Connection) -> io::Result<()> {
        if self.view.snapshot.borrow().standing == Standing::NotConfigured {
            return to.send(&self.not_configured()).await;
        }
        let mut progress = self.view.progress.clone();
        progress.borrow_and_update();
        if self
            .events
            .send(Event::SignInRequested(SignInMethod::Browser))
            .await
            .is_err()
        {
            return Ok(());
        }
        loop {
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return Ok(()) },
                () = to.gone() => {
                    let _ = self.events.send(Event::SignInAbandoned).await;
                    return Ok(());
                }
            }
            let now = progress.borrow_and_update().clone();
            match now {
                Progress::Idle | Progress::Working => {}
                Progress::AwaitingPerson { url } => to.send(&Reply::SignInPage { url }).await?,
                Progress::Failed(error) => {
                    let kind = if error.may_pass() {
                        FailureKind::Offline
                    } else {
                        FailureKind::SignInRefused
                    };
                    return to.send(&failed(kind, &format!("{error:#}"), None)).await;
                }
                Progress::SignedIn => return to.send(&self.signed_in().await).await,
            }
        }
    }

    async fn signed_in(&self) -> Reply {
        let mut snapshot = self.view.snapshot.clone();
        let session = snapshot.wait_for(|snapshot| snapshot.session.is_some());
        let _ = tokio::time::timeout(EFFECT_LIMIT, session).await;
        match self.view.identity() {
            Some(identity) => Reply::Identity(identity),
            None => failed(
                FailureKind::SignInRefused,
                "another sign-in or a sign-out came in between",
                Some("Run `ztna login` again."),
            ),
        }
    }

    fn not_configured(&self) -> Reply {
        match &self.view.control.borrow().problem {
            Some(problem) => failed(FailureKind::Offline, &problem.message, Some(problem.remedy)),
            None => failed(
                FailureKind::Offline,
                "no configuration has arrived from the control plane yet",
                Some("Try again in a moment; `ztna status` shows when it is there."),
            ),
        }
    }

    async fn status(&self, follow: bool, to: &mut Connection) -> io::Result<()> {
        let mut shown = self.view.status();
        to.send(&Reply::Status(Box::new(shown.clone()))).await?;
        if !follow {
            return Ok(());
        }
        let mut snapshot = self.view.snapshot.clone();
        let mut control = self.view.control.clone();
        let mut tunnel = self.view.tunnel.changes();
        let mut refresh = tokio::time::interval(REFRESH);
        loop {
            tokio::select! {
                changed = snapshot.changed() => if changed.is_err() { return Ok(()) },
                changed = control.changed() => if changed.is_err() { return Ok(()) },
                changed = tunnel.changed() => if changed.is_err() { return Ok(()) },
                _ = refresh.tick() => {}
                () = to.gone() => return Ok(()),
            }
            let status = self.view.status();
            if status != shown {
                shown = status;
                to.send(&Reply::Status(Box::new(shown.clone()))).await?;
            }
        }
    }

    async fn decisions(
        &self,
        follow: bool,
        denied: bool,
        limit: usize,
        to: &mut Connection,
    ) -> io::Result<()> {
        let (mut past, mut feed) = self.view.decisions.follow();
        past.retain(|report| !denied || report.outcome != Outcome::Permitted);
        let skipped = past.len().saturating_sub(limit);
        for report in past.into_iter().skip(skipped) {
            to.send(&Reply::Decision(report)).await?;
        }
        if follow {
            return follow_decisions(&mut feed, denied, to).await;
        }
        to.send(&Reply::Done).await
    }
}

async fn follow_decisions(
    feed: &mut Receiver<DecisionReport>,
    denied: bool,
    to: &mut Connection,
) -> io::Result<()> {
    loop {
        let next = tokio::select! {
            next = feed.recv() => next,
            () = to.gone() => return Ok(()),
        };
        match next {
            Ok(report) if !denied || report.outcome != Outcome::Permitted => {
                to.send(&Reply::Decision(report)).await?;
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

fn failed(kind: FailureKind, message: &str, remedy: Option<&str>) -> Reply {
    Reply::Failed(Failure {
        kind,
        message: message.to_owned(),
        remedy: remedy.map(str::to_owned),
    })
}

/// An order comes into effect as soon as the driver has seen it.
const EFFECT_LIMIT: Duration = Duration::from_secs(1);

/// Every check of a large pack, on a slow disk.
const MEASURING_LIMIT: Duration = Duration::from_secs(10);

/// How often a followed status shows new byte counts.
const REFRESH: Duration = Duration::from_secs(1);

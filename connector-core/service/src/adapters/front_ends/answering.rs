//! What the service does about each request.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use connector_core::access::Reason;
use connector_core::connector::{Event, SignInMethod, Standing};
use connector_core::control::is_reason;
use connector_core::identity::SessionId;
use connector_ipc::{DecisionReport, Failure, FailureKind, Outcome, Reply, Request};
use connector_platform::clock;
use connector_platform::endpoint::{self, Audience, Peer};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

use self::following::Followers;
use self::overriding::Codes;
use super::super::diagnosing;
use super::super::granting::Granting;
use super::super::http::Http;
use super::super::policies::Shelf;
use super::super::sign_in::Stage;
use super::super::{Events, Order, Orders};
use super::Config;
use super::connection::Connection;
use super::rights::{Caller, Role};
use crate::view::View;

mod following;
mod granting;
mod overriding;
mod policy;
mod trusting;
mod why;

#[derive(Debug)]
pub(super) struct Answering {
    view: Arc<View>,
    granting: Granting,
    http: Http,
    events: Events,
    orders: Orders,
    followers: Followers,
    codes: Codes,
    audience: Audience,
}

impl Answering {
    pub(super) fn new(config: Config) -> Self {
        Self {
            view: config.view,
            granting: config.granting,
            http: config.http,
            events: config.events,
            orders: config.orders,
            followers: Followers::default(),
            codes: Codes::new(config.code_key),
            audience: config.audience,
        }
    }

    /// Returns who `peer` is to this service, if it is anybody.
    pub(super) fn caller(&self, peer: Peer) -> Option<Caller> {
        Caller::of(peer, self.audience)
    }

    /// Returns whose service this is, if it is one user's.
    fn own_user(&self) -> Option<u32> {
        match self.audience {
            Audience::Machine => None,
            Audience::Own => endpoint::own_user(),
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table is read line by line")]
    pub(super) async fn answer(
        &self,
        request: Request,
        caller: Caller,
        to: &mut Connection,
    ) -> io::Result<()> {
        if !self.role(caller).may(&request) {
            return to.send(&self.not_yours(caller)).await;
        }
        let reply = match request {
            Request::AccessRequests => granting::list(&self.view, &self.granting).await,
            Request::Config => Reply::Settings(self.view.settings.borrow().report.clone()),
            Request::Decisions {
                follow,
                denied,
                limit,
            } => return self.decisions(caller, follow, denied, limit, to).await,
            Request::Delegate {
                program,
                scope,
                seconds,
                reason,
            } => trusting::delegate(self, program, &scope, seconds, reason).await,
            Request::Delegations => trusting::delegations(&self.view),
            Request::Diagnose => {
                Reply::Diagnosis(diagnosing::diagnose(&self.http, &self.view).await)
            }
            Request::Down { seconds, reason } => self.pause(seconds, reason).await,
            Request::Elevate {
                target,
                reason,
                evidence,
                seconds,
            } => trusting::elevate(self, &target, &reason, &evidence, seconds).await,
            Request::Elevations => trusting::elevations(&self.view),
            Request::Log => return self.log(to).await,
            Request::Login => return self.login(caller, SignInMethod::Browser, to).await,
            Request::Logout => self.order(Event::SignOutRequested).await,
            Request::OverrideChallenge => overriding::challenge(self),
            Request::OverrideRedeem { code, reason } => {
                overriding::redeem(self, &code, &reason).await
            }
            Request::PolicyLog => self.policies(policy::log).await,
            Request::PolicyReplay { commit, since } => self.replay(commit, since).await,
            Request::PolicyShow { commit, file: None } => {
                self.policies(move |shelf| policy::commit(shelf, &commit))
                    .await
            }
            Request::PolicyShow {
                commit,
                file: Some(file),
            } => return self.policy_text(commit, file, to).await,
            Request::PolicyTest { commit, table } => {
                self.policies(move |shelf| policy::test(shelf, &commit, &table))
                    .await
            }
            Request::Posture { refresh } => self.posture(refresh).await,
            Request::RequestAccess {
                host,
                port,
                reason,
                seconds,
            } => {
                let wish = granting::Wish {
                    host: &host,
                    port,
                    reason,
                    seconds,
                };
                granting::ask(&self.view, &self.granting, &self.events, wish).await
            }
            Request::Resources => Reply::Resources(self.view.resources()),
            Request::RevokeDelegation { id } => trusting::revoke(self, "delegate", &id).await,
            Request::RevokeElevation { id } => trusting::revoke(self, "elevate", &id).await,
            Request::Status { follow } => {
                return following::status(self, caller, follow, to).await;
            }
            Request::StepUp { host, port } => return self.step_up(caller, &host, port, to).await,
            Request::Up => self.switch(Event::Resumed).await,
            Request::Whoami => {
                let identity = self.view.identity();
                identity.map_or_else(granting::signed_out, Reply::Identity)
            }
            Request::Why {
                host,
                port,
                program,
            } => match why::ask(&self.view, &self.events, &host, port, program).await {
                Ok(report) => Reply::Access(report),
                Err(problem) => failed(FailureKind::BadRequest, &problem, None),
            },
        };
        to.send(&reply).await
    }

    fn role(&self, caller: Caller) -> Role {
        caller.role(self.view.snapshot.borrow().owner)
    }

    fn not_yours(&self, caller: Caller) -> Reply {
        match self.role(caller) {
            Role::Administrator | Role::Owner => failed(
                FailureKind::PermissionDenied,
                "only the administrator may do this",
                Some("Run it with the administrator's rights."),
            ),
            Role::Stranger => failed(
                FailureKind::PermissionDenied,
                "somebody else is signed in on this computer",
                Some("Ask them to sign out with `ztna logout`, then run `ztna login`."),
            ),
            Role::Visitor => failed(
                FailureKind::NotSignedIn,
                "nobody is signed in",
                Some("Run `ztna login`."),
            ),
        }
    }

    /// Feeds an event to the core and waits until it has come into effect.
    async fn order(&self, event: Event) -> Reply {
        let (done, carried_out) = oneshot::channel();
        let sent = self.orders.send(Order { event, done }).await;
        if sent.is_err() || carried_out.await.is_err() {
            return failed(FailureKind::Internal, "the service is stopping", None);
        }
        Reply::Done
    }

    /// Feeds an event that changes what is taken from the machine, and waits
    /// until that is done.
    async fn switch(&self, event: Event) -> Reply {
        let reply = self.order(event).await;
        if !matches!(reply, Reply::Done) {
            return reply;
        }
        match self.view.tunnel.settled().await {
            Ok(()) => Reply::Done,
            Err(problem) => failed(FailureKind::Internal, &problem, None),
        }
    }

    async fn pause(&self, seconds: Option<u64>, reason: Option<String>) -> Reply {
        if seconds.is_some_and(|seconds| seconds == 0 || seconds > LONGEST_BREAK) {
            return failed(
                FailureKind::BadRequest,
                "a pause lasts from one second to thirty days",
                Some("Ask for another time, or for none: then it lasts until `ztna up`."),
            );
        }
        if reason.as_ref().is_some_and(|reason| !is_reason(reason)) {
            return trusting::bad_reason();
        }
        let snapshot = Arc::clone(&self.view.snapshot.borrow());
        let wanted = seconds.map(Duration::from_secs);
        let judged = snapshot.pause_rules.judge(wanted, reason.as_deref());
        let length = match judged {
            // What a code allows is not made longer, and need not be asked for again.
            _ if snapshot.is_overridden => return Reply::Done,
            Ok(length) => length,
            Err(refused) => {
                let remedy = Some(refused.remedy());
                return failed(FailureKind::Locked, &refused.to_string(), remedy);
            }
        };
        let until = length.map(|length| clock::moment() + length);
        let reason = reason.map(Into::into);
        self.switch(Event::Paused { until, reason }).await
    }

    /// Looks at the policies, on a thread that may wait.
    async fn policies(&self, look: impl FnOnce(&Shelf) -> Reply + Send + 'static) -> Reply {
        let shelf = self.view.policies.shelf.clone();
        let looked = tokio::task::spawn_blocking(move || look(&shelf)).await;
        looked.unwrap_or_else(|_| failed(FailureKind::Internal, "the service is stopping", None))
    }

    async fn replay(&self, commit: Option<String>, since: Option<u64>) -> Reply {
        let log_dir = self.view.policies.log_dir.clone();
        let replay = move |shelf: &Shelf| policy::replay(shelf, commit.as_deref(), since, &log_dir);
        self.policies(replay).await
    }

    async fn policy_text(
        &self,
        commit: String,
        file: String,
        to: &mut Connection,
    ) -> io::Result<()> {
        let shelf = self.view.policies.shelf.clone();
        let replies = tokio::task::spawn_blocking(move || policy::text(&shelf, &commit, &file));
        for reply in replies.await.map_err(io::Error::other)? {
            to.send(&reply).await?;
        }
        Ok(())
    }

    async fn log(&self, to: &mut Connection) -> io::Result<()> {
        for lines in self.view.log.all().chunks(LINES_AT_ONCE) {
            let lines = lines.to_vec();
            to.send(&Reply::LogLines { lines }).await?;
        }
        to.send(&Reply::Done).await
    }

    async fn posture(&self, refresh: bool) -> Reply {
        if refresh && !self.view.snapshot.borrow().checks.is_empty() {
            let mut snapshot = self.view.snapshot.clone();
            let before = snapshot.borrow_and_update().facts.clone();
            let _ = self.events.send(Event::PostureRefreshRequested).await;
            let fresh = snapshot.wait_for(|snapshot| snapshot.facts != before);
            let _ = tokio::time::timeout(MEASURING_LIMIT, fresh).await;
        }
        Reply::Posture(self.view.posture())
    }

    /// Signs in again in the way that the policy wants for a destination.
    async fn step_up(
        &self,
        caller: Caller,
        host: &str,
        port: Option<u16>,
        to: &mut Connection,
    ) -> io::Result<()> {
        match why::step_up(&self.view, &self.events, host, port).await {
            Ok(step_up) => self.login(caller, SignInMethod::StepUp(step_up), to).await,
            Err(problem) => {
                let reply = failed(FailureKind::BadRequest, &problem, None);
                to.send(&reply).await
            }
        }
    }

    async fn login(
        &self,
        caller: Caller,
        method: SignInMethod,
        to: &mut Connection,
    ) -> io::Result<()> {
        if self.view.snapshot.borrow().standing == Standing::NotConfigured {
            return to.send(&self.not_configured()).await;
        }
        let mut progress = self.view.progress.clone();
        let before = progress.borrow_and_update().attempt;
        let request = Event::SignInRequested {
            method,
            owner: caller.owner(self.own_user()),
        };
        let mut snapshot = self.view.snapshot.clone();
        if self.events.send(request).await.is_err() {
            return Ok(());
        }
        let mut own = None;
        // Whoever asked opens what they are told, each time that they are told.
        let mut told = None;
        loop {
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return Ok(()) },
                changed = snapshot.changed() => if changed.is_err() { return Ok(()) },
                () = to.gone() => {
                    if let Some(attempt) = own {
                        let _ = self.events.send(Event::SignInAbandoned(attempt)).await;
                    }
                    return Ok(());
                }
            }
            if self.role(caller) == Role::Stranger {
                return to.send(&self.not_yours(caller)).await;
            }
            let now = progress.borrow_and_update().clone();
            if now.attempt == before {
                continue;
            }
            if own.is_some() && own != now.attempt {
                return to.send(&superseded()).await;
            }
            own = now.attempt;
            match now.stage {
                Stage::Idle | Stage::Working => {}
                Stage::AwaitingPerson { url } if told.as_ref() != Some(&url) => {
                    told = Some(url.clone());
                    to.send(&Reply::SignInPage { url }).await?;
                }
                Stage::AwaitingPerson { .. } => {}
                Stage::Failed(error) => {
                    let kind = if error.may_pass() {
                        FailureKind::Offline
                    } else {
                        FailureKind::SignInRefused
                    };
                    return to.send(&failed(kind, &error.to_string(), None)).await;
                }
                Stage::SignedIn(session) => return to.send(&self.signed_in(&session).await).await,
            }
        }
    }

    async fn signed_in(&self, id: &SessionId) -> Reply {
        let mut snapshot = self.view.snapshot.clone();
        let opened = snapshot.wait_for(|snapshot| {
            let session = snapshot.session.as_ref();
            session.is_some_and(|session| session.id == *id)
        });
        let opened = tokio::time::timeout(EFFECT_LIMIT, opened).await;
        match (opened.is_ok(), self.view.identity()) {
            (true, Some(identity)) => Reply::Identity(identity),
            (true | false, Some(_) | None) => superseded(),
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

    async fn decisions(
        &self,
        caller: Caller,
        follow: bool,
        denied: bool,
        limit: usize,
        to: &mut Connection,
    ) -> io::Result<()> {
        let is_shown = |report: &DecisionReport| {
            (!denied || report.outcome != Outcome::Permitted) && self.may_see(caller, report)
        };
        let (mut past, mut feed) = self.view.decisions.follow();
        past.retain(is_shown);
        let skipped = past.len().saturating_sub(limit);
        for report in past.into_iter().skip(skipped) {
            to.send(&Reply::Decision(report)).await?;
        }
        if follow {
            return follow_decisions(&mut feed, is_shown, to).await;
        }
        to.send(&Reply::Done).await
    }

    /// Returns whether a decision is the caller's to see: what was decided for their session, and
    /// not what other users of the machine tried meanwhile.
    fn may_see(&self, caller: Caller, report: &DecisionReport) -> bool {
        match self.role(caller) {
            Role::Administrator => true,
            Role::Owner => {
                let own = self.view.identity().map(|identity| identity.subject);
                report.subject == own && report.reason != Reason::OtherUser.code()
            }
            Role::Stranger | Role::Visitor => false,
        }
    }
}

async fn follow_decisions(
    feed: &mut Receiver<DecisionReport>,
    is_shown: impl Fn(&DecisionReport) -> bool,
    to: &mut Connection,
) -> io::Result<()> {
    loop {
        let next = tokio::select! {
            next = feed.recv() => next,
            () = to.gone() => return Ok(()),
        };
        match next {
            Ok(report) if is_shown(&report) => {
                to.send(&Reply::Decision(report)).await?;
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

fn superseded() -> Reply {
    failed(
        FailureKind::SignInRefused,
        "another sign-in or a sign-out came in between",
        Some("Run `ztna whoami` to see who is signed in."),
    )
}

fn failed(kind: FailureKind, message: &str, remedy: Option<&str>) -> Reply {
    Reply::Failed(Failure {
        kind,
        message: message.to_owned(),
        remedy: remedy.map(str::to_owned),
    })
}

/// As many log lines as fit a frame, however long they are.
const LINES_AT_ONCE: usize = 50;

/// An order comes into effect as soon as the driver has seen it.
const EFFECT_LIMIT: Duration = Duration::from_secs(1);

/// Every check of a large pack, on a slow disk.
const MEASURING_LIMIT: Duration = Duration::from_secs(10);

/// Nobody means a longer one; in seconds.
const LONGEST_BREAK: u64 = 30 * 86_400;

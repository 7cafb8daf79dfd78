//! From nobody to a session, and back.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, Effect, SignInMethod};
use crate::access::{Denial, Reason};
use crate::configuration::{IdentityProvider, SessionLimits};
use crate::identity::{Assurance, HostId, Owner, Session, SessionId};
use crate::signals::Local;
use crate::time::Moment;

/// Who is signed in, and what is under way about it.
#[derive(Debug, Default)]
pub(super) struct SigningIn {
    session: Option<OpenSession>,
    sign_in: SignIn,
    /// A session that the control plane has yet to be told the end of.
    ended: Option<SessionId>,
    /// Whether what was stored for the next start has yet to be forgotten.
    forget: bool,
    /// Why nobody is signed in, if it was not the person's wish.
    ended_by: Option<Denial>,
    failures: u32,
    attempts: Attempt,
}

#[derive(Debug)]
struct OpenSession {
    session: Arc<Session>,
    restored_from: Option<SessionId>,
    idle_limit: Duration,
    last_used: Moment,
}

/// A session that the control plane admitted.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) session: Session,
    /// How long ago the person signed in, if it was before this start.
    pub(super) signed_in_ago: Duration,
    /// The session before it, if this one goes on from it without the person.
    pub(super) restored_from: Option<SessionId>,
}

#[derive(Debug, Default)]
enum SignIn {
    #[default]
    Idle,
    /// Asked for, not before the given moment; starts when the provider is known.
    Wanted {
        method: SignInMethod,
        owner: Owner,
        not_before: Moment,
    },
    UnderWay {
        attempt: Attempt,
        method: SignInMethod,
        owner: Owner,
        deadline: Moment,
    },
}

impl SigningIn {
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref().map(|open| &*open.session)
    }

    /// Returns the same, to be kept.
    pub(super) fn shared_session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref().map(|open| &open.session)
    }

    /// Returns what signals can be about, on `host`.
    pub(super) fn local<'a>(&'a self, host: Option<&'a HostId>) -> Local<'a> {
        let open = self.session.as_ref();
        Local {
            host,
            session: open.map(|open| &*open.session),
            restored_from: open.and_then(|open| open.restored_from.as_ref()),
        }
    }

    /// Returns whose session is open; else, whose is about to be.
    pub(super) fn owner(&self) -> Option<Owner> {
        match (&self.session, &self.sign_in) {
            (Some(open), _) => Some(open.session.owner),
            (None, SignIn::Wanted { owner, .. } | SignIn::UnderWay { owner, .. }) => Some(*owner),
            (None, SignIn::Idle) => None,
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        matches!(
            self.sign_in,
            SignIn::UnderWay {
                method: SignInMethod::Browser | SignInMethod::StepUp(_),
                ..
            }
        )
    }

    pub(super) fn why_signed_out(&self) -> Denial {
        let ended_by = self.ended_by.clone();
        ended_by.unwrap_or_else(|| Reason::SignedOut.into())
    }

    /// Returns whether the sign-in of `attempt` goes without the person.
    pub(super) fn is_from_the_store(&self, attempt: Attempt) -> bool {
        let is_stored = matches!(
            self.sign_in,
            SignIn::UnderWay {
                method: SignInMethod::Stored,
                ..
            }
        );
        is_stored && self.is_current(attempt)
    }

    pub(super) fn set_assurance(&mut self, assurance: &Arc<Assurance>) {
        if let Some(open) = &mut self.session {
            Arc::make_mut(&mut open.session).assurance = Some(Arc::clone(assurance));
        }
    }

    /// Takes away the groups that the person is no longer in. New ones count
    /// from the next sign-in: a signal only narrows.
    pub(super) fn narrow_groups(&mut self, groups: &BTreeSet<Arc<str>>) {
        if let Some(open) = &mut self.session {
            let session = Arc::make_mut(&mut open.session);
            let person = Arc::make_mut(&mut session.person);
            person.groups.retain(|group| groups.contains(group));
        }
    }

    pub(super) fn handle_requested(&mut self, method: SignInMethod, owner: Owner, now: Moment) {
        let session = self.session.as_ref().map(|open| open.session.owner);
        if session.is_some_and(|of| of != owner && owner != Owner::Machine) {
            return;
        }
        self.failures = 0;
        self.sign_in = SignIn::Wanted {
            method,
            owner,
            not_before: now,
        };
    }

    /// Returns whether the session was taken; a late one is not.
    pub(super) fn handle_opened(
        &mut self,
        attempt: Attempt,
        opened: Opened,
        limits: Option<SessionLimits>,
        now: Moment,
    ) -> bool {
        let mut session = opened.session;
        if !self.is_current(attempt) {
            self.ended = Some(session.id);
            self.forget |= self.session.is_none() && matches!(self.sign_in, SignIn::Idle);
            return false;
        }
        self.end();
        let idle_limit = limits.map_or(Duration::ZERO, |limits| limits.idle);
        let absolute = limits.map_or(Duration::ZERO, |limits| limits.absolute);
        session.limit(absolute.saturating_sub(opened.signed_in_ago), now);
        self.sign_in = SignIn::Idle;
        self.ended_by = None;
        self.session = Some(OpenSession {
            session: Arc::new(session),
            restored_from: opened.restored_from,
            idle_limit,
            last_used: now,
        });
        true
    }

    pub(super) fn handle_failed(&mut self, attempt: Attempt, retry: bool, now: Moment) {
        let SignIn::UnderWay { method, owner, .. } = &self.sign_in else {
            // It may have stored something before the person signed out.
            self.forget |= self.session.is_none() && matches!(self.sign_in, SignIn::Idle);
            return;
        };
        if !self.is_current(attempt) {
            return;
        }
        self.sign_in = if retry && *method == SignInMethod::Stored {
            self.failures += 1;
            SignIn::Wanted {
                method: SignInMethod::Stored,
                owner: *owner,
                not_before: now + retry_pause(self.failures),
            }
        } else {
            SignIn::Idle
        };
    }

    pub(super) fn handle_signed_out(&mut self) {
        self.sign_in = SignIn::Idle;
        self.ended_by = None;
        self.forget = true;
        self.end();
    }

    /// Ends the session for the company, which may have told the person why.
    pub(super) fn handle_revoked(&mut self, explanation: Option<Arc<str>>) {
        self.handle_signed_out();
        self.ended_by = Some(Denial {
            explanation,
            ..Reason::SessionRevoked.into()
        });
    }

    pub(super) fn handle_abandoned(&mut self, attempt: Attempt) {
        if self.is_current(attempt) {
            self.sign_in = SignIn::Idle;
        }
    }

    /// Notes that the session is in use.
    pub(super) fn touch(&mut self, now: Moment) {
        if let Some(open) = &mut self.session {
            open.last_used = now;
        }
    }

    /// Starts what is due and ends what has lapsed; returns whether the session
    /// is no longer the one that answers rest on.
    pub(super) fn settle(
        &mut self,
        provider: Option<&IdentityProvider>,
        in_use: bool,
        now: Moment,
        effects: &mut VecDeque<Effect>,
    ) -> bool {
        if in_use {
            self.touch(now);
        }
        if self.session.as_ref().is_some_and(|open| open.ends() <= now) {
            self.expire();
        }
        if let SignIn::UnderWay { deadline, .. } = self.sign_in
            && deadline <= now
        {
            self.sign_in = SignIn::Idle;
        }
        if let (
            SignIn::Wanted {
                method,
                owner,
                not_before,
            },
            Some(provider),
        ) = (&self.sign_in, provider)
            && *not_before <= now
        {
            let (attempt, method, owner) = (self.attempts.take(), method.clone(), *owner);
            effects.push_back(Effect::SignIn {
                attempt,
                provider: provider.clone(),
                method: method.clone(),
                owner,
            });
            self.sign_in = SignIn::UnderWay {
                attempt,
                method,
                owner,
                deadline: now + SIGN_IN_LIMIT,
            };
        }

        if let Some(ended) = self.ended.take() {
            effects.push_back(Effect::EndSession(ended));
        }
        if std::mem::take(&mut self.forget) {
            effects.push_back(Effect::ForgetSignIn);
        }
        self.session.is_none()
    }

    pub(super) fn poll_timeout(&self, provider_known: bool) -> Option<Moment> {
        let session = self.session.as_ref().map(OpenSession::ends);
        let sign_in = match &self.sign_in {
            SignIn::Idle => None,
            SignIn::UnderWay { deadline, .. } => Some(*deadline),
            SignIn::Wanted { not_before, .. } => provider_known.then_some(*not_before),
        };
        session.into_iter().chain(sign_in).min()
    }

    fn expire(&mut self) {
        self.ended_by = Some(Reason::SessionExpired.into());
        self.forget = true;
        self.end();
    }

    fn end(&mut self) {
        if let Some(open) = self.session.take() {
            self.ended = Some(open.session.id.clone());
        }
    }

    fn is_current(&self, attempt: Attempt) -> bool {
        matches!(self.sign_in, SignIn::UnderWay { attempt: current, .. } if current == attempt)
    }
}

impl OpenSession {
    fn ends(&self) -> Moment {
        self.session
            .expires_at
            .min(self.last_used + self.idle_limit)
    }
}

fn retry_pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(5))
}

/// Long enough for a person who has to find their second factor first.
const SIGN_IN_LIMIT: Duration = Duration::from_secs(300);

//! What the company's signals mean for what is permitted, and what silence means.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{Compliance, Connector, Effect, SignalOutcome, SignalRecord};
use crate::configuration::Signals;
use crate::posture::Verdict;
use crate::signals::{Revocation, SecurityEvent, Signal, Subject};
use crate::time::{Moment, Now, WallTime};

/// What was heard of this device, and when.
#[derive(Debug, Default)]
pub(super) struct Signalling {
    followed: Option<Signals>,
    /// When somebody could last have told us that access ends: the transmitter, or
    /// the control plane as it admitted a person.
    vouched_at: Moment,
    /// Whether silence was noted when the state was last settled.
    is_silent: bool,
    compliance: Option<Compliance>,
    /// Sessions that were revoked while nobody was signed in: a stored sign-in
    /// that is under way may go on from one, or be of the same person.
    unclaimed: VecDeque<Revocation>,
    /// Whether these are others than those that are kept for the next start.
    is_unclaimed_news: bool,
}

impl Signalling {
    /// Follows whom the configuration names.
    pub(super) fn follow(
        &mut self,
        wanted: Option<&Signals>,
        now: Moment,
        effects: &mut VecDeque<Effect>,
    ) {
        if self.followed.as_ref() == wanted {
            return;
        }
        let issuer = |signals: Option<&Signals>| signals.map(|signals| signals.issuer.clone());
        if issuer(self.followed.as_ref()) != issuer(wanted) {
            self.vouched_at = now;
        }
        self.followed = wanted.cloned();
        effects.push_back(Effect::FollowSignals(wanted.cloned()));
    }

    /// Notes that the company could have said no, and has not.
    pub(super) fn vouch(&mut self, now: Moment) {
        self.vouched_at = self.vouched_at.max(now);
    }

    /// Returns whether silence has begun since the last time.
    pub(super) fn settle(&mut self, now: Moment) -> bool {
        let was_silent = self.is_silent;
        self.is_silent = self.silent_at().is_some_and(|silent_at| silent_at <= now);
        self.is_silent && !was_silent
    }

    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        self.silent_at().filter(|_| !self.is_silent)
    }

    /// Notes what another system found about the device; news that is older than
    /// what is known already changes nothing. Returns whether it was news.
    pub(super) fn note_compliance(&mut self, found: Compliance) -> bool {
        // Of two that say they happened at once, the one that narrows counts.
        let is_news = self.compliance.is_none_or(|known| {
            known.at < found.at || (known.at == found.at && !found.is_compliant)
        });
        if is_news {
            self.compliance = Some(found);
        }
        is_news
    }

    /// Lets what other systems found make the verdict worse.
    pub(super) fn worsen(&self, verdict: &mut Verdict) {
        if self.compliance.is_some_and(|known| !known.is_compliant) {
            verdict.fail(COMPLIANCE_CHECK.into());
        }
    }

    /// Keeps a revocation that nobody who is signed in can be meant by.
    fn keep_unclaimed(&mut self, event: &SecurityEvent, now: WallTime) {
        // The same again, as after a crash before it was acknowledged, takes no room.
        self.unclaimed
            .retain(|known| is_recent(known, now) && known.subject != event.subject);
        if self.unclaimed.len() >= MAX_UNCLAIMED {
            self.unclaimed.pop_front();
        }
        self.unclaimed.push_back(Revocation {
            subject: event.subject.clone(),
            reason_user: event.reason_user.clone(),
            arrived_at: now,
        });
        self.is_unclaimed_news = true;
    }

    /// Takes in the revocations that an earlier run kept, the latest last.
    pub(super) fn restore(&mut self, kept: Vec<Revocation>, now: WallTime) {
        let too_many = kept.len().saturating_sub(MAX_UNCLAIMED);
        let kept = kept.into_iter().skip(too_many);
        self.unclaimed = kept.filter(|known| is_recent(known, now)).collect();
    }

    /// Returns what the first kept revocation that is about whom `means` accepts tells the
    /// person, and forgets them all.
    pub(super) fn claim(
        &mut self,
        now: WallTime,
        means: impl Fn(&Subject) -> bool,
    ) -> Option<Option<Arc<str>>> {
        self.is_unclaimed_news |= !self.unclaimed.is_empty();
        let kept = std::mem::take(&mut self.unclaimed);
        let mut recent = kept.into_iter().filter(|known| is_recent(known, now));
        let found = recent.find(|known| means(&known.subject));
        found.map(|known| known.reason_user)
    }

    /// Has the revocations kept for the next start, if they are others than before.
    pub(super) fn remember(&mut self, effects: &mut VecDeque<Effect>) {
        if std::mem::take(&mut self.is_unclaimed_news) {
            let unclaimed = self.unclaimed.iter().cloned().collect();
            effects.push_back(Effect::RememberRevocations(unclaimed));
        }
    }

    fn silent_at(&self) -> Option<Moment> {
        let followed = self.followed.as_ref()?;
        Some(self.vouched_at + followed.lease)
    }
}

impl Connector {
    /// Does what a signal asks for, if it is about this device or who is using it.
    pub(super) fn note_signal(&mut self, event: SecurityEvent, now: Now) {
        let local = self.known.signing_in.local(self.known.host.as_ref());
        let is_about_us = event.subject.concerns(local);
        let is_about_device = event.subject.concerns_device(local);
        let is_signed_in = local.session.is_some();
        let concerned = (is_about_us || is_about_device).then_some(local);
        let session = concerned.and_then(|local| local.session.cloned());
        let host = concerned.and_then(|local| local.host.cloned());
        let outcome = match &event.signal {
            Signal::Other { .. } | Signal::StreamUpdated { .. } | Signal::Verification { .. } => {
                SignalOutcome::Noted
            }
            Signal::DeviceComplianceChange { is_compliant } if is_about_device => {
                let compliance = Compliance {
                    at: event.happened_at,
                    is_compliant: *is_compliant,
                };
                if self.known.signalling.note_compliance(compliance) {
                    let remember = Effect::RememberCompliance(compliance);
                    self.effects.push_back(remember);
                }
                SignalOutcome::Applied
            }
            Signal::SessionRevoked if !is_signed_in => {
                self.known.signalling.keep_unclaimed(&event, now.wall);
                SignalOutcome::Elsewhere
            }
            Signal::SessionRevoked if is_about_us => {
                let explanation = event.reason_user.clone();
                self.known.signing_in.handle_revoked(explanation);
                SignalOutcome::Applied
            }
            Signal::AssuranceLevelChange(assurance) if is_about_us && is_signed_in => {
                self.known.signing_in.set_assurance(assurance);
                self.reconsider(now);
                SignalOutcome::Applied
            }
            Signal::CredentialChange if is_about_us && is_signed_in => {
                self.reconsider(now);
                SignalOutcome::Applied
            }
            Signal::TokenClaimsChange { groups } if is_about_us && is_signed_in => {
                if let Some(groups) = groups {
                    self.known.signing_in.narrow_groups(groups);
                }
                self.reconsider(now);
                SignalOutcome::Applied
            }
            Signal::AssuranceLevelChange(_)
            | Signal::CredentialChange
            | Signal::DeviceComplianceChange { .. }
            | Signal::SessionRevoked
            | Signal::TokenClaimsChange { .. } => SignalOutcome::Elsewhere,
        };
        let record = SignalRecord {
            time: now.wall,
            event,
            outcome,
            session,
            host,
        };
        self.effects
            .push_back(Effect::RecordSignal(Box::new(record)));
    }
}

fn is_recent(revocation: &Revocation, now: WallTime) -> bool {
    let age = now
        .unix_millis()
        .saturating_sub(revocation.arrived_at.unix_millis());
    Duration::from_millis(age) < UNCLAIMED_FOR
}

/// The name under which policies and people see what other systems found.
pub(super) const COMPLIANCE_CHECK: &str = "device-compliance";

/// What arrives between the start and the sign-in; more are events about others.
const MAX_UNCLAIMED: usize = 64;

/// How long a revocation is kept that nobody claims: longer than what is stored of a sign-in is good for.
const UNCLAIMED_FOR: Duration = Duration::from_secs(60 * 24 * 3600);

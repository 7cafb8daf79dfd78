//! Switching off, within what the administrator allows, and on again.

use std::sync::Arc;
use std::time::Duration;

use super::{Connector, Effect};
use crate::audit::{ProtectionChange, ProtectionRecord, ResumedBy};
use crate::overriding::OverrideGrant;
use crate::pausing::PauseRules;
use crate::time::{Moment, Now};

/// The connector is switched off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    pub(super) until: Option<Moment>,
    /// Whether a code of the company did it: the administrator's rules do not end it.
    pub(super) is_overridden: bool,
}

impl Pause {
    fn is_over(self, now: Moment) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Connector {
    /// Returns what the administrator fixed about switching the connector off.
    #[must_use]
    pub fn pause_rules(&self) -> &PauseRules {
        &self.pause_rules
    }

    /// Returns when the connector switches itself on again, if it is switched off for a time.
    #[must_use]
    pub fn paused_until(&self) -> Option<Moment> {
        self.pause?.until
    }

    /// Returns whether a code of the company has switched the connector off.
    #[must_use]
    pub fn is_overridden(&self) -> bool {
        self.pause.is_some_and(|pause| pause.is_overridden)
    }

    /// Switches off for a person, if the rules let it happen.
    pub(super) fn pause_for_person(
        &mut self,
        until: Option<Moment>,
        reason: Option<Arc<str>>,
        now: Now,
    ) {
        if self.is_overridden() {
            return;
        }
        let wanted = until.map(|until| until.since(now.moment));
        // Whoever asked was told no by whoever took the order; this is for those who did not ask.
        let Ok(length) = self.pause_rules.judge(wanted, reason.as_deref()) else {
            return;
        };
        let length = match (length, self.rest_of_limited_pause(now)) {
            (Some(length), Some(rest)) => Some(length.min(rest)),
            (length, _) => length,
        };
        self.pause = Some(Pause {
            until: length.map(|length| now.moment + length),
            is_overridden: false,
        });
        let until = length.map(|length| now.wall + length);
        self.record_protection(ProtectionChange::Paused { reason, until }, now);
    }

    /// Returns how much is left of the running pause, where pauses have a limit: whoever asks
    /// again and again does not get around it.
    fn rest_of_limited_pause(&self, now: Now) -> Option<Duration> {
        self.pause_rules.limit?;
        Some(self.pause.as_ref()?.until?.since(now.moment))
    }

    /// Switches off by a code of the company.
    pub(super) fn pause_by_code(&mut self, grant: OverrideGrant, reason: Arc<str>, now: Now) {
        self.pause = Some(Pause {
            until: Some(now.moment + grant.length),
            is_overridden: true,
        });
        let change = ProtectionChange::Overridden {
            code: grant.code,
            by: grant.by,
            allowed_for: grant.reason,
            reason,
            until: now.wall + grant.length,
        };
        self.record_protection(change, now);
    }

    /// Switches on for a person.
    pub(super) fn resume(&mut self, by: ResumedBy, now: Now) {
        if self.pause.take().is_some() {
            self.record_protection(ProtectionChange::Resumed(by), now);
        }
    }

    /// Switches on if the time is over.
    pub(super) fn settle_pause(&mut self, now: Now) {
        if self.pause.is_some_and(|pause| pause.is_over(now.moment)) {
            self.resume(ResumedBy::Time, now);
        }
    }

    /// Goes by other rules from now on, and tells which settings changed, if any did.
    pub(super) fn set_pause_rules(&mut self, rules: PauseRules, keys: Vec<Arc<str>>, now: Now) {
        if !keys.is_empty() {
            let managed_by = rules.managed_by.clone();
            let change = ProtectionChange::SettingsChanged { keys, managed_by };
            self.record_protection(change, now);
        }
        self.pause_rules = rules;
        let Some(pause) = self.pause.filter(|pause| !pause.is_overridden) else {
            return;
        };
        let left = pause.until.map(|until| until.since(now.moment));
        // Why it was switched off was nobody's question then.
        match self.pause_rules.judge(left, Some("earlier")) {
            Ok(left) => self.shorten(left, now.moment),
            Err(_) => self.resume(ResumedBy::Administrator, now),
        }
    }

    pub(super) fn refuse_override(&mut self, problem: Arc<str>, now: Now) {
        self.record_protection(ProtectionChange::OverrideRefused { problem }, now);
    }

    fn shorten(&mut self, left: Option<Duration>, now: Moment) {
        if let Some(pause) = &mut self.pause {
            pause.until = left.map(|left| now + left);
        }
    }

    fn record_protection(&mut self, change: ProtectionChange, now: Now) {
        let record = ProtectionRecord {
            time: now.wall,
            change,
            session: self.session().cloned(),
            host: self.known.host.clone(),
        };
        self.effects
            .push_back(Effect::RecordProtection(Box::new(record)));
    }
}

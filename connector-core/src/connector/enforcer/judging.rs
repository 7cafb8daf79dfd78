//! From the policy's word to an answer that is kept.

use std::sync::Arc;
use std::time::Duration;

use super::{DENIAL_PAUSE, FAILURE_PAUSE, Grounds, REVIEW_LIMIT};
use crate::access::{Answer, Grant, Lapse, Reason};
use crate::audit::{DecidedBy, Outcome, Said};
use crate::authzen::Decision;
use crate::catalogue::Resource;
use crate::connector::PdpFailure;
use crate::time::Moment;
use crate::trust::Acting;

/// What follows from the policy's word, or from its silence.
#[derive(Debug)]
pub(super) enum Judged {
    /// This is written down and then kept.
    Keep(Kept),
    /// The lease in force runs on.
    RunsOn,
    /// The permission was over before it arrived.
    TooLate,
}

/// An answer to keep, and an outcome to write down.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) answer: Answer,
    pub(super) outcome: Outcome,
    pub(super) decided_by: DecidedBy,
}

/// What was said and granted last: flows that are answered alike one after the other
/// share what they are answered with.
#[derive(Debug, Default)]
pub(super) struct Latest {
    said: Arc<Said>,
    grant: Option<Arc<Grant>>,
}

impl Latest {
    fn said(&mut self, said: Said) -> Arc<Said> {
        if *self.said != said {
            self.said = Arc::new(said);
        }
        Arc::clone(&self.said)
    }

    fn grant(&mut self, grant: Grant) -> Arc<Grant> {
        let latest = self.grant.take().filter(|latest| **latest == grant);
        let latest = latest.unwrap_or_else(|| Arc::new(grant));
        Arc::clone(self.grant.insert(latest))
    }
}

/// Judges what the policy said to `acting`; `ends` is when the consent or the elevation ends that
/// it rests on.
pub(super) fn judge(
    mut decision: Decision,
    resource: &Arc<Resource>,
    (acting, ends): (&Acting, Option<Moment>),
    grounds: &Grounds<'_>,
    latest: &mut Latest,
) -> Judged {
    let now = grounds.now.moment;
    let outcome = std::mem::replace(&mut decision.outcome, Ok(()));
    let valid_until = decision.valid_until;
    let (wanted, offline) = (decision.lease, decision.offline);
    let decided_by = DecidedBy::Pdp(latest.said(Said::from(decision)));
    if let Err(denial) = outcome {
        let answer = Answer::Refused {
            denial: denial.clone(),
            decided_by: decided_by.clone(),
            until: now + DENIAL_PAUSE,
        };
        return Judged::Keep(Kept {
            answer,
            outcome: Outcome::Denied(denial),
            decided_by,
        });
    }

    // Turned into the boot clock here and now: nobody's changed wall clock stretches it.
    let window = valid_until.map(|until| {
        let millis = until.unix_millis();
        Duration::from_millis(millis.saturating_sub(grounds.now.wall.unix_millis()))
    });
    if window.is_some_and(|window| window.is_zero()) {
        return Judged::TooLate;
    }
    let most =
        longest(grounds, ends).min(window.map_or(Duration::MAX, |window| window + REVIEW_LIMIT));
    let wanted = wanted.map_or(resource.lease, |lease| lease.max(LEAST_LEASE));
    let lease = wanted.min(resource.lease).min(most);
    let grant = Grant {
        resource: Arc::clone(resource),
        lease_ends: now + lease,
        renew_at: renewal(lease, window, now),
        window_ends: window.map(|window| now + window),
        offline_until: now + offline.unwrap_or_default().min(most),
        lapse: Lapse::NotRenewed,
        acting: acting.clone(),
    };
    Judged::Keep(Kept {
        answer: Answer::Granted(latest.grant(grant)),
        outcome: Outcome::Permitted { lease },
        decided_by,
    })
}

/// Judges that the policy could not be asked.
pub(super) fn judge_failure(
    failure: PdpFailure,
    before: Option<&Answer>,
    ends: Option<Moment>,
    grounds: &Grounds<'_>,
) -> Judged {
    let now = grounds.now.moment;
    // What is being reviewed is not held by an allowance: its grounds have changed.
    let Some(Answer::Granted(grant)) = before.filter(|before| now < before.ends()) else {
        return Judged::Keep(refusal(failure, now));
    };
    let until = grant.offline_until.min(now + longest(grounds, ends));
    if until <= grant.lease_ends {
        return Judged::RunsOn;
    }
    // In steps, so that it is asked again and written down each time.
    let lease_ends = until.min(grant.lease_ends + OFFLINE_STEP);
    let lease = lease_ends.since(now);
    let extended = Grant {
        lease_ends,
        renew_at: renewal(lease, None, now),
        lapse: Lapse::Offline,
        ..Grant::clone(grant)
    };
    Judged::Keep(Kept {
        answer: Answer::Granted(Arc::new(extended)),
        outcome: Outcome::Permitted { lease },
        decided_by: DecidedBy::Local,
    })
}

/// Refuses because the policy gave no answer that can be gone by.
pub(super) fn refusal(failure: PdpFailure, now: Moment) -> Kept {
    let denial: crate::access::Denial = Reason::from(failure).into();
    Kept {
        answer: Answer::Refused {
            denial: denial.clone(),
            decided_by: DecidedBy::Local,
            until: now + FAILURE_PAUSE,
        },
        outcome: Outcome::Denied(denial),
        decided_by: DecidedBy::Local,
    }
}

/// A lease never outlives what it rests on.
fn longest(grounds: &Grounds<'_>, ends: Option<Moment>) -> Duration {
    let now = grounds.now.moment;
    let trusted = ends.map_or(Duration::MAX, |ends| ends.since(now));
    grounds
        .session
        .expires_at
        .since(now)
        .min(grounds.configuration.expires_at.since(now))
        .min(trusted)
}

/// Early enough for several tries before the lease ends; what ends with a time
/// window is asked for again when the window is over, not before.
fn renewal(lease: Duration, window: Option<Duration>, now: Moment) -> Moment {
    let renew_after = lease - (lease / 4).min(Duration::from_secs(60));
    match window {
        Some(window) if window <= lease => now + window,
        Some(_) | None => now + renew_after,
    }
}

/// A shorter lease would be over before it is written down.
const LEAST_LEASE: Duration = Duration::from_secs(1);

/// How much longer a permission holds at a time while no policy can be asked.
const OFFLINE_STEP: Duration = Duration::from_secs(300);

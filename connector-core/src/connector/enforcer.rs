//! Asks the policy, keeps its answers for their lease, and asks again in time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, Effect, PdpFailure};
use crate::access::{Answer, Denial, Flow, Grant, Question, Reason};
use crate::audit::{DecidedBy, Outcome, Record};
use crate::authzen::{AccessRequest, Decision};
use crate::catalogue::{Lookup, Resource};
use crate::configuration::Configuration;
use crate::identity::{HostId, Session};
use crate::posture::Verdict;
use crate::time::{Moment, Now};

/// What an answer rests on; when any of it changes, the answer is asked for again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grounds<'a> {
    pub(super) session: &'a Session,
    pub(super) configuration: &'a Configuration,
    pub(super) host: Option<&'a HostId>,
    pub(super) verdict: &'a Verdict,
    pub(super) now: Now,
}

impl Grounds<'_> {
    /// Describes a decision that was made on these grounds at once.
    fn record(
        &self,
        flow: &Flow,
        resource: Option<&Arc<Resource>>,
        outcome: Outcome,
        decided_by: DecidedBy,
    ) -> Record {
        Record {
            time: self.now.wall,
            flow: flow.clone(),
            process: None,
            resource: resource.map(Arc::clone),
            outcome,
            decided_by,
            latency: Duration::ZERO,
            session: Some(self.session.clone()),
            host: self.host.cloned(),
            verdict: self.verdict.clone(),
            configuration: Some(self.configuration.version),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Enforcer {
    /// Shared with the published map, so that an unchanged set is told by its address.
    answers: Arc<BTreeMap<Flow, Answer>>,
    live: BTreeMap<Flow, Live>,
    pending: BTreeMap<Flow, Pending>,
    attempts: Attempt,
}

/// Connections that are open under one answer.
#[derive(Debug, Default)]
struct Live {
    connections: usize,
    /// When a renewal that failed is tried again.
    retry_at: Moment,
}

/// A question on its way to an answer.
#[derive(Debug)]
struct Pending {
    attempt: Attempt,
    process: Option<u32>,
    resource: Arc<Resource>,
    step: Step,
    /// When an adapter that lost the question is no longer waited for.
    deadline: Moment,
}

#[derive(Debug)]
enum Step {
    AwaitingDecision,
    AwaitingRecord(Answer),
}

impl Enforcer {
    pub(super) fn answers(&self) -> &Arc<BTreeMap<Flow, Answer>> {
        &self.answers
    }

    /// Returns who gave the refusal that is kept for `flow`.
    pub(super) fn refused_by(&self, flow: &Flow, denial: &Denial) -> DecidedBy {
        match self.answers.get(flow) {
            Some(Answer::Refused {
                denial: kept,
                decided_by,
                ..
            }) if kept == denial => decided_by.clone(),
            Some(Answer::Granted(_) | Answer::Refused { .. } | Answer::Reviewing { .. }) | None => {
                DecidedBy::Local
            }
        }
    }

    pub(super) fn has_live_flows(&self) -> bool {
        !self.live.is_empty()
    }

    /// Forgets everything: nobody is signed in.
    pub(super) fn clear(&mut self) {
        self.answers = Arc::default();
        self.pending.clear();
    }

    /// Puts `question` to the policy, unless it is being asked already.
    pub(super) fn ask(
        &mut self,
        question: Question,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        if self.pending.contains_key(&question.flow) {
            return;
        }
        if self.pending.len() >= MAX_PENDING {
            self.refuse(question, Reason::TooBusy, BUSY_PAUSE, grounds, effects);
            return;
        }
        self.evaluate(question, grounds, effects);
    }

    pub(super) fn handle_evaluated(
        &mut self,
        attempt: Attempt,
        outcome: Result<Decision, PdpFailure>,
        latency: Duration,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let Some((flow, pending)) = self
            .pending
            .iter_mut()
            .find(|(_, pending)| pending.attempt == attempt)
        else {
            return;
        };
        if let (Err(_), Some(Answer::Granted(grant))) = (&outcome, self.answers.get(flow))
            && grounds.now.moment < grant.lease_ends
        {
            // Nobody said no: the lease in force runs on, and is asked for again later.
            let flow = flow.clone();
            self.pending.remove(&flow);
            return;
        }

        let lease = lease(&pending.resource, grounds);
        let decided_by = match &outcome {
            Ok(decision) => DecidedBy::Pdp {
                policy: decision.policy.clone(),
            },
            Err(_) => DecidedBy::Local,
        };
        let (answer, recorded) = judge(
            &outcome,
            &decided_by,
            &pending.resource,
            lease,
            grounds.now.moment,
        );
        pending.step = Step::AwaitingRecord(answer);
        let record = Record {
            latency,
            process: pending.process,
            ..grounds.record(flow, Some(&pending.resource), recorded, decided_by)
        };
        effects.push_back(Effect::Record {
            attempt: Some(attempt),
            record: Box::new(record),
        });
    }

    pub(super) fn handle_recorded(&mut self, attempt: Attempt, written: bool, now: Moment) {
        let Some(flow) = self
            .pending
            .iter()
            .find(|(_, pending)| pending.attempt == attempt)
            .map(|(flow, _)| flow.clone())
        else {
            return;
        };
        let Some(Pending {
            step: Step::AwaitingRecord(answer),
            ..
        }) = self.pending.remove(&flow)
        else {
            return;
        };
        if written {
            self.keep(flow, answer);
        } else {
            self.keep_refusal(flow, Reason::NotRecorded, now + FAILURE_PAUSE);
        }
    }

    pub(super) fn handle_opened(&mut self, flow: &Flow) {
        self.live.entry(flow.clone()).or_default().connections += 1;
    }

    pub(super) fn handle_closed(&mut self, flow: &Flow) {
        if let Some(live) = self.live.get_mut(flow) {
            live.connections -= 1;
            if live.connections == 0 {
                self.live.remove(flow);
            }
        }
    }

    /// Asks again about every open flow and forgets the other answers, because
    /// the grounds changed. Open flows go on for at most [`REVIEW_LIMIT`].
    pub(super) fn reconsider(&mut self, grounds: &Grounds<'_>, effects: &mut VecDeque<Effect>) {
        let until = grounds.now.moment + REVIEW_LIMIT;
        let pending = std::mem::take(&mut self.pending).into_iter();
        let mut again: BTreeMap<Flow, Option<u32>> = pending
            .map(|(flow, pending)| (flow, pending.process))
            .collect();
        let mut kept = BTreeMap::new();
        for (flow, answer) in self.answers.iter() {
            // A flow that is being reviewed already gets no more time.
            let (grant, until) = match answer {
                Answer::Granted(grant) => (grant, until),
                Answer::Reviewing {
                    grant,
                    until: before,
                } => (grant, until.min(*before)),
                Answer::Refused { .. } => continue,
            };
            let until = until.min(grant.lease_ends);
            if self.live.contains_key(flow) && grounds.now.moment < until {
                let review = Answer::Reviewing {
                    grant: grant.clone(),
                    until,
                };
                kept.insert(flow.clone(), review);
                again.entry(flow.clone()).or_default();
            }
        }
        self.answers = Arc::new(kept);

        for (flow, process) in again {
            self.evaluate(Question { flow, process }, grounds, effects);
        }
    }

    /// Renews what is in use and about to lapse, and forgets what has lapsed.
    pub(super) fn settle(&mut self, grounds: &Grounds<'_>, effects: &mut VecDeque<Effect>) {
        let now = grounds.now.moment;
        let lost: Vec<Question> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(flow, pending)| Question {
                flow: flow.clone(),
                process: pending.process,
            })
            .collect();
        for question in lost {
            self.pending.remove(&question.flow);
            let lease_runs = matches!(
                self.answers.get(&question.flow),
                Some(Answer::Granted(grant)) if now < grant.lease_ends
            );
            if !lease_runs {
                self.refuse(question, Reason::PdpLate, FAILURE_PAUSE, grounds, effects);
            }
        }

        if self.answers.values().any(|answer| answer.ends() <= now) {
            Arc::make_mut(&mut self.answers).retain(|_, answer| answer.ends() > now);
        }
        let due: Vec<Flow> = self
            .renewals()
            .filter(|(_, due)| *due <= now)
            .map(|(flow, _)| flow.clone())
            .collect();
        for flow in due {
            if let Some(live) = self.live.get_mut(&flow) {
                live.retry_at = now + RENEWAL_PAUSE;
            }
            // An answer is shared by every process that has the flow open.
            let question = Question {
                flow,
                process: None,
            };
            self.evaluate(question, grounds, effects);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let ends = self.answers.values().map(Answer::ends);
        let renewals = self.renewals().map(|(_, due)| due);
        let deadlines = self.pending.values().map(|pending| pending.deadline);
        ends.chain(renewals).chain(deadlines).min()
    }

    /// Returns the answers in use that will be asked for again, and when.
    fn renewals(&self) -> impl Iterator<Item = (&Flow, Moment)> {
        self.live
            .iter()
            .filter(|(flow, _)| !self.pending.contains_key(*flow))
            .filter_map(|(flow, live)| match self.answers.get(flow)? {
                Answer::Granted(grant) => Some((flow, grant.renew_at.max(live.retry_at))),
                Answer::Refused { .. } | Answer::Reviewing { .. } => None,
            })
    }

    fn evaluate(
        &mut self,
        question: Question,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let reason = match grounds.configuration.catalogue.lookup(&question.flow) {
            Lookup::Offered(resource) => {
                let resource = Arc::clone(resource);
                return self.put(question, resource, grounds, effects);
            }
            Lookup::PortNotOffered(_) => Reason::PortNotOffered,
            Lookup::Unknown => Reason::UnknownResource,
        };
        self.refuse(question, reason, DENIAL_PAUSE, grounds, effects);
    }

    /// Puts a question to the policy.
    fn put(
        &mut self,
        question: Question,
        resource: Arc<Resource>,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let Question { flow, process } = question;
        let attempt = self.attempts.take();
        let request = AccessRequest {
            person: Arc::clone(&grounds.session.person),
            session: grounds.session.id.clone(),
            host: grounds.host.cloned(),
            verdict: grounds.verdict.clone(),
            flow: flow.clone(),
            resource: Arc::clone(&resource),
            time: grounds.now.wall,
        };
        effects.push_back(Effect::Evaluate {
            attempt,
            pdp: grounds.configuration.pdp.clone(),
            request: Box::new(request),
        });
        let pending = Pending {
            attempt,
            process,
            resource,
            step: Step::AwaitingDecision,
            deadline: grounds.now.moment + ANSWER_LIMIT,
        };
        self.pending.insert(flow, pending);
    }

    /// Refuses what no policy was asked about, or none could be, and writes it down.
    fn refuse(
        &mut self,
        question: Question,
        reason: Reason,
        pause: Duration,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let Question { flow, process } = question;
        let resource = grounds.configuration.catalogue.lookup(&flow).resource();
        let outcome = Outcome::Denied(reason.into());
        let record = Record {
            process,
            ..grounds.record(&flow, resource, outcome, DecidedBy::Local)
        };
        effects.push_back(Effect::Record {
            attempt: None,
            record: Box::new(record),
        });
        self.keep_refusal(flow, reason, grounds.now.moment + pause);
    }

    fn keep_refusal(&mut self, flow: Flow, reason: Reason, until: Moment) {
        let answer = Answer::Refused {
            denial: reason.into(),
            decided_by: DecidedBy::Local,
            until,
        };
        self.keep(flow, answer);
    }

    /// Keeps an answer; when there are too many, the one goes that ends first
    /// and is not in use.
    fn keep(&mut self, flow: Flow, answer: Answer) {
        let answers = Arc::make_mut(&mut self.answers);
        if answers.len() >= MAX_ANSWERS && !answers.contains_key(&flow) {
            let idle = answers
                .iter()
                .filter(|(flow, _)| !self.live.contains_key(*flow));
            let first = idle.min_by_key(|(_, answer)| answer.ends());
            if let Some(first) = first.map(|(flow, _)| flow.clone()) {
                answers.remove(&first);
            }
        }
        answers.insert(flow, answer);
    }
}

impl Answer {
    fn ends(&self) -> Moment {
        match self {
            Self::Granted(grant) => grant.lease_ends,
            Self::Refused { until, .. } | Self::Reviewing { until, .. } => *until,
        }
    }
}

/// Turns the policy's word into an answer to keep and an outcome to write down.
fn judge(
    outcome: &Result<Decision, PdpFailure>,
    decided_by: &DecidedBy,
    resource: &Resource,
    lease: Duration,
    now: Moment,
) -> (Answer, Outcome) {
    let (denial, pause) = match outcome {
        Ok(Decision {
            outcome: Ok(()), ..
        }) => {
            let grant = Grant {
                resource: resource.id.clone(),
                site: resource.site.clone(),
                lease_ends: now + lease,
                renew_at: now + (lease - renewal_margin(lease)),
            };
            return (Answer::Granted(grant), Outcome::Permitted { lease });
        }
        Ok(Decision {
            outcome: Err(denial),
            ..
        }) => (denial.clone(), DENIAL_PAUSE),
        Err(failure) => (Reason::from(*failure).into(), FAILURE_PAUSE),
    };
    let answer = Answer::Refused {
        denial: denial.clone(),
        decided_by: decided_by.clone(),
        until: now + pause,
    };
    (answer, Outcome::Denied(denial))
}

/// A lease never outlives what it rests on.
fn lease(resource: &Resource, grounds: &Grounds<'_>) -> Duration {
    let now = grounds.now.moment;
    resource
        .lease
        .min(grounds.session.expires_at.since(now))
        .min(grounds.configuration.expires_at.since(now))
}

/// Early enough for several tries before the lease ends.
fn renewal_margin(lease: Duration) -> Duration {
    (lease / 4).min(Duration::from_secs(60))
}

/// Questions that wait for an answer at one time; more are a flood.
const MAX_PENDING: usize = 256;

/// Answers that are kept at one time, beside those in use.
const MAX_ANSWERS: usize = 4096;

/// The adapter gives the policy 800 ms; this catches an adapter that lost the question.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// How long open flows go on while they are asked about again: the policy's
/// 800 ms and a little for writing the answer down.
const REVIEW_LIMIT: Duration = Duration::from_secs(1);

/// How long a policy's no is kept, so that a retrying program does not flood it.
const DENIAL_PAUSE: Duration = Duration::from_secs(2);

/// How long a failure is kept.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// How long to wait when too much is waiting.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// Between tries to renew while the policy does not answer.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

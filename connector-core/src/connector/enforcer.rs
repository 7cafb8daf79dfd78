//! Asks the policy, keeps its answers for their lease, and asks again in time.

mod differences;
mod judging;
mod lapsing;
mod reviewing;
mod schedule;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::differences::Differences;
use self::judging::{Judged, Latest, judge, judge_failure};
use self::reviewing::Review;
use self::schedule::Schedule;
use super::trusting::Trusting;
use super::{Attempt, Effect, PdpFailure};
use crate::access::{
    Answer, ByFlow, Concealed, Denial, Flow, Lapse, Question, Reason, Reviewed, not_offered,
};
use crate::audit::{DecidedBy, Outcome, Record};
use crate::authzen::{AccessRequest, Decision};
use crate::catalogue::{Lookup, Resource, SiteId};
use crate::configuration::Configuration;
use crate::identity::{HostId, Session};
use crate::network::NetworkKind;
use crate::posture::Verdict;
use crate::time::{Moment, Now};
use crate::trust::Acting;

/// What an answer rests on; when any of it changes, the answer is asked for again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grounds<'a> {
    pub(super) session: &'a Arc<Session>,
    pub(super) configuration: &'a Configuration,
    pub(super) concealed: &'a Concealed,
    pub(super) host: Option<&'a HostId>,
    pub(super) verdict: &'a Verdict,
    pub(super) network: NetworkKind,
    pub(super) trusting: &'a Trusting,
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
            acting: Acting::Oneself,
            process: None,
            resource: resource.map(Arc::clone),
            outcome,
            decided_by,
            latency: Duration::ZERO,
            session: Some(Arc::clone(self.session)),
            host: self.host.cloned(),
            verdict: self.verdict.clone(),
            network: self.network,
            configuration: Some(self.configuration.version),
            repetition: None,
        }
    }
}

/// Keeps the answers.
///
/// Every event costs the logarithm of what is kept; only [`reconsider`](Self::reconsider)
/// goes through everything, once. What is due is known from the schedule, and a
/// published set of answers is copied once however many change before the next.
#[derive(Debug, Default)]
pub(super) struct Enforcer {
    /// Shared with the published map, so that an unchanged set is told by its address.
    answers: Arc<ByFlow<Answer>>,
    /// What live flows go on by until they are answered anew.
    reviewed: Option<Reviewed>,
    live: ByFlow<Live>,
    /// How many connections are open to each site.
    in_use: BTreeMap<SiteId, usize>,
    /// What is being asked, in the order in which it was put.
    pending: BTreeMap<Attempt, Pending>,
    /// The flows that are being asked about.
    asked: ByFlow<Attempt>,
    review: Review,
    schedule: Schedule,
    attempts: Attempt,
    latest: Latest,
    differences: Differences,
}

/// Connections that are open under one answer.
#[derive(Debug, Clone, Default)]
struct Live {
    connections: usize,
    /// When a renewal that failed is tried again.
    retry_at: Moment,
    /// In whose name they were permitted last.
    acting: Acting,
    /// The site that they lead to.
    site: Option<SiteId>,
}

/// A question on its way to an answer.
#[derive(Debug)]
struct Pending {
    request: Arc<AccessRequest>,
    process: Option<u32>,
    /// When the consent or the elevation ends that the answer rests on.
    acting_ends: Option<Moment>,
    step: Step,
    /// When an adapter that lost the question is no longer waited for.
    deadline: Moment,
    /// Whether the answer before came too late to be good.
    is_repeated: bool,
}

#[derive(Debug)]
enum Step {
    AwaitingDecision,
    AwaitingRecord(Answer),
}

impl Enforcer {
    pub(super) fn answers(&self) -> &Arc<ByFlow<Answer>> {
        &self.answers
    }

    pub(super) fn reviewed(&self) -> Option<&Reviewed> {
        self.reviewed.as_ref()
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

    pub(super) fn sites_in_use(&self) -> impl Iterator<Item = &SiteId> {
        self.in_use.keys()
    }

    pub(super) fn has_live_flows(&self) -> bool {
        !self.live.is_empty()
    }

    /// Forgets everything: nobody is signed in.
    pub(super) fn clear(&mut self) {
        self.answers = Arc::default();
        self.reviewed = None;
        self.pending.clear();
        self.asked.clear();
        self.review.clear();
        self.schedule.clear();
        self.latest = Latest::default();
    }

    /// Puts `question` to the policy, unless it is being asked already.
    pub(super) fn ask(
        &mut self,
        question: Question,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        if self.asked.contains(&question.flow) {
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
        let Some(pending) = self.pending.get_mut(&attempt) else {
            return;
        };
        let AccessRequest { flow, resource, .. } = &*pending.request;
        if let Ok(Decision {
            difference: Some(difference),
            ..
        }) = &outcome
            && self
                .differences
                .is_news(flow, difference, grounds.now.moment, resource.lease)
        {
            let outcome = Outcome::Differs(Arc::clone(difference));
            let record = Record {
                process: pending.process,
                acting: pending.request.acting.clone(),
                ..grounds.record(flow, Some(resource), outcome, DecidedBy::Local)
            };
            effects.push_back(Effect::Record {
                attempt: None,
                record: Box::new(record),
            });
        }
        let judged = match outcome {
            Ok(decision) => {
                let context = (&pending.request.acting, pending.acting_ends);
                judge(decision, resource, context, grounds, &mut self.latest)
            }
            Err(failure) => {
                let before = self.answers.get(flow);
                judge_failure(failure, before, pending.acting_ends, grounds)
            }
        };
        let kept = match judged {
            Judged::Keep(kept) => kept,
            Judged::RunsOn => return self.let_lease_run(attempt),
            Judged::TooLate if !pending.is_repeated => {
                return self.repeat(attempt, grounds, effects);
            }
            Judged::TooLate => judging::refusal(PdpFailure::Malformed, grounds.now.moment),
        };
        pending.step = Step::AwaitingRecord(kept.answer);
        let record = Record {
            latency,
            process: pending.process,
            acting: pending.request.acting.clone(),
            ..grounds.record(flow, Some(resource), kept.outcome, kept.decided_by)
        };
        effects.push_back(Effect::Record {
            attempt: Some(attempt),
            record: Box::new(record),
        });
    }

    pub(super) fn handle_recorded(&mut self, attempt: Attempt, written: bool, now: Moment) {
        let Some(pending) = self.take_pending(attempt) else {
            return;
        };
        let Step::AwaitingRecord(answer) = pending.step else {
            return;
        };
        let flow = pending.request.flow.clone();
        if written {
            self.keep(flow, answer);
        } else {
            self.keep_refusal(flow, Reason::NotRecorded, now + FAILURE_PAUSE);
        }
    }

    pub(super) fn handle_opened(&mut self, flow: &Flow) {
        if let Some(live) = self.live.get_mut(flow) {
            live.connections += 1;
            if let Some(site) = &live.site {
                *self.in_use.entry(site.clone()).or_default() += 1;
            }
            return;
        }
        let (acting, site) = match self.answers.get(flow) {
            Some(Answer::Granted(grant)) => {
                (grant.acting.clone(), Some(grant.resource.site.clone()))
            }
            Some(Answer::Refused { .. } | Answer::Reviewing { .. }) | None => {
                (Acting::Oneself, None)
            }
        };
        if let Some(site) = &site {
            *self.in_use.entry(site.clone()).or_default() += 1;
        }
        let live = Live {
            connections: 1,
            acting,
            site,
            ..Live::default()
        };
        self.live.insert(flow.clone(), live);
        self.plan(flow.clone());
    }

    /// Counts a connection less, and returns in whose name it was permitted.
    pub(super) fn handle_closed(&mut self, flow: &Flow) -> Acting {
        let Some(live) = self.live.get_mut(flow) else {
            return Acting::Oneself;
        };
        let acting = live.acting.clone();
        if let Some(site) = &live.site
            && let Some(open) = self.in_use.get_mut(site)
        {
            *open -= 1;
            if *open == 0 {
                self.in_use.remove(site);
            }
        }
        live.connections -= 1;
        if live.connections == 0 {
            self.live.remove(flow);
        }
        acting
    }

    fn take_pending(&mut self, attempt: Attempt) -> Option<Pending> {
        let pending = self.pending.remove(&attempt)?;
        self.asked.remove(&pending.request.flow);
        Some(pending)
    }

    /// Nobody said no: the lease in force runs on, and is asked for again later.
    fn let_lease_run(&mut self, attempt: Attempt) {
        let Some(Pending { request, .. }) = self.take_pending(attempt) else {
            return;
        };
        let flow = &request.flow;
        let is_news = matches!(
            self.answers.get(flow),
            Some(Answer::Granted(grant)) if grant.lapse != Lapse::Offline
        );
        if is_news
            && let Some(Answer::Granted(grant)) = Arc::make_mut(&mut self.answers).get_mut(flow)
        {
            Arc::make_mut(grant).lapse = Lapse::Offline;
        }
        self.plan(flow.clone());
    }

    /// Asks once more: a time window ended between the question and the answer.
    fn repeat(&mut self, attempt: Attempt, grounds: &Grounds<'_>, effects: &mut VecDeque<Effect>) {
        let Some(Pending {
            request, process, ..
        }) = self.take_pending(attempt)
        else {
            return;
        };
        let flow = request.flow.clone();
        self.evaluate(Question { flow, process }, grounds, effects);
        if let Some(pending) = self
            .asked
            .get(&request.flow)
            .and_then(|attempt| self.pending.get_mut(attempt))
        {
            pending.is_repeated = true;
        }
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
            Lookup::PortNotOffered(resource) => not_offered(resource, grounds.concealed),
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
        let (acting, acting_ends) = grounds.trusting.acting(&flow.workload, &resource.id);
        let request = Arc::new(AccessRequest {
            person: Arc::clone(&grounds.session.person),
            session: grounds.session.id.clone(),
            assurance: grounds.session.assurance.clone(),
            host: grounds.host.cloned(),
            verdict: grounds.verdict.clone(),
            flow,
            acting,
            resource,
            network: grounds.network,
            time: grounds.now.wall,
        });
        self.asked.insert(request.flow.clone(), attempt);
        effects.push_back(Effect::Evaluate {
            attempt,
            policy: Arc::clone(&grounds.configuration.policy),
            request: Arc::clone(&request),
        });
        let pending = Pending {
            request,
            process,
            acting_ends,
            step: Step::AwaitingDecision,
            deadline: grounds.now.moment + ANSWER_LIMIT,
            is_repeated: false,
        };
        self.pending.insert(attempt, pending);
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

    /// Keeps an answer; when there are too many, one goes that ends soon and is not in use.
    fn keep(&mut self, flow: Flow, answer: Answer) {
        // Those in use are kept beside the others, so they are not counted.
        let idle = self.answers.len().saturating_sub(self.live.len());
        if idle >= MAX_ANSWERS && !self.answers.contains(&flow) {
            let first = self
                .schedule
                .soonest(|flow| self.answers.contains(flow) && !self.live.contains(flow));
            let is_idle = |flow: &&Flow| !self.live.contains(flow);
            let first = first.or_else(|| self.answers.flows().find(is_idle).cloned());
            if let Some(first) = first {
                self.forget(&first);
            }
        }
        // The policy has spoken: a short lease is to be renewed in its own time.
        if let Answer::Granted(grant) = &answer
            && let Some(live) = self.live.get_mut(&flow)
        {
            live.acting = grant.acting.clone();
            if grant.lapse != Lapse::Offline {
                live.retry_at = Moment::default();
            }
        }
        // Nobody keeps an answer to a flow that is still being asked about.
        let live = self.live.get(&flow);
        let renewal = live.and_then(|live| answer.renewal(live));
        let due = [renewal, answer.window_ends()];
        let next = due.into_iter().flatten().fold(answer.ends(), Moment::min);
        self.schedule.add(next, flow.clone());
        Arc::make_mut(&mut self.answers).insert(flow, answer);
    }
}

impl Answer {
    fn ends(&self) -> Moment {
        match self {
            Self::Granted(grant) => grant.lease_ends,
            Self::Refused { until, .. } | Self::Reviewing { until, .. } => *until,
        }
    }

    fn window_ends(&self) -> Option<Moment> {
        match self {
            Self::Granted(grant) => grant.window_ends,
            Self::Refused { .. } | Self::Reviewing { .. } => None,
        }
    }

    /// Returns when this is asked for again if it is in use.
    fn renewal(&self, live: &Live) -> Option<Moment> {
        match self {
            Self::Granted(grant) => Some(grant.renew_at.max(live.retry_at)),
            Self::Refused { .. } | Self::Reviewing { .. } => None,
        }
    }

    /// Returns the same as an answer that is under review, if live flows may go on by it.
    fn under_review(&self, limit: Moment, now: Moment) -> Option<Self> {
        let (grant, until) = self.reviewed(limit)?;
        (now < until).then(|| Self::Reviewing {
            grant: Arc::clone(grant),
            until,
        })
    }
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

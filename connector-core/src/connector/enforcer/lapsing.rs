//! What time does to questions and answers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Enforcer, FAILURE_PAUSE, Grounds, MAX_ANSWERS, RENEWAL_PAUSE, REVIEW_LIMIT, Step};
use crate::access::{Answer, Flow, Question, Reason};
use crate::connector::Effect;
use crate::time::Moment;

impl Enforcer {
    /// Asks again about every open flow, whose lease runs on meanwhile, and forgets
    /// the other answers.
    pub(in crate::connector) fn renew_all(
        &mut self,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let live = &self.live;
        Arc::make_mut(&mut self.answers).retain(|flow, _| live.contains(flow));
        let granted: Vec<Flow> = self
            .answers
            .iter()
            .filter(|(_, answer)| matches!(answer, Answer::Granted(_)))
            .map(|(flow, _)| flow.clone())
            .collect();
        for flow in granted {
            if !self.asked.contains(&flow) {
                let question = Question {
                    flow,
                    process: None,
                };
                self.evaluate(question, grounds, effects);
            }
        }
    }

    /// Renews what is in use and about to lapse, and forgets what has lapsed.
    pub(in crate::connector) fn settle(
        &mut self,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let now = grounds.now.moment;
        let is_answered = self.pending.is_empty() && self.review.is_over();
        self.reviewed
            .take_if(|reviewed| is_answered || reviewed.until <= now);
        while let Some(flow) = self.schedule.pop_due(now) {
            self.end_what_is_over(&flow, grounds, effects);
            if self.renewal(&flow).is_some_and(|due| due <= now) {
                if let Some(live) = self.live.get_mut(&flow) {
                    live.retry_at = now + RENEWAL_PAUSE;
                }
                // An answer is shared by every process that has the flow open.
                let question = Question {
                    flow: flow.clone(),
                    process: None,
                };
                self.evaluate(question, grounds, effects);
            }
            self.plan(flow);
        }
        if self.schedule.len() > 4 * (self.answers.len() + self.pending.len()) + MAX_ANSWERS {
            self.plan_all();
        }
    }

    pub(in crate::connector) fn poll_timeout(&self) -> Option<Moment> {
        let reviewed = self.reviewed.as_ref().map(|reviewed| reviewed.until);
        self.schedule.next().into_iter().chain(reviewed).min()
    }

    /// Ends a question that nobody answers, and an answer whose time is over.
    fn end_what_is_over(
        &mut self,
        flow: &Flow,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let now = grounds.now.moment;
        if let Some(attempt) = self.asked.get(flow).copied()
            && self
                .pending
                .get(&attempt)
                .is_some_and(|pending| pending.deadline <= now)
            && let Some(pending) = self.take_pending(attempt)
        {
            // A denial that could not be written down in time is a denial all the same.
            let was_refused = matches!(pending.step, Step::AwaitingRecord(Answer::Refused { .. }));
            let lease_runs = matches!(
                self.answers.get(flow),
                Some(Answer::Granted(grant)) if now < grant.lease_ends
            );
            if was_refused {
                self.keep_refusal(pending.flow, Reason::NotRecorded, now + FAILURE_PAUSE);
            } else if !lease_runs {
                let question = Question {
                    flow: pending.flow,
                    process: pending.process,
                };
                self.refuse(question, Reason::PdpLate, FAILURE_PAUSE, grounds, effects);
            }
        }
        let Some(answer) = self.answers.get(flow) else {
            return;
        };
        if answer.ends() <= now {
            Arc::make_mut(&mut self.answers).remove(flow);
        } else if answer.window_ends().is_some_and(|ends| ends <= now) {
            let review = answer
                .under_review(now + REVIEW_LIMIT, now)
                .filter(|_| self.live.contains(flow));
            let answers = Arc::make_mut(&mut self.answers);
            let Some(review) = review else {
                answers.remove(flow);
                return;
            };
            answers.insert(flow.clone(), review);
            if !self.asked.contains(flow) {
                let question = Question {
                    flow: flow.clone(),
                    process: None,
                };
                self.evaluate(question, grounds, effects);
            }
        }
    }

    /// Returns when the answer to a flow in use is asked for again.
    fn renewal(&self, flow: &Flow) -> Option<Moment> {
        if self.asked.contains(flow) {
            return None;
        }
        self.answers.get(flow)?.renewal(self.live.get(flow)?)
    }

    /// Puts the next moment at which something is to be done about `flow` into the schedule.
    pub(super) fn plan(&mut self, flow: Flow) {
        let answer = self.answers.get(&flow);
        let (deadline, renewal) = match self.asked.get(&flow) {
            Some(attempt) => (self.pending.get(attempt).map(|it| it.deadline), None),
            None => {
                let renewal = answer.and_then(|answer| answer.renewal(self.live.get(&flow)?));
                (None, renewal)
            }
        };
        let next = [
            answer.map(Answer::ends),
            answer.and_then(Answer::window_ends),
            deadline,
            renewal,
        ];
        if let Some(next) = next.into_iter().flatten().min() {
            self.schedule.add(next, flow);
        }
    }

    /// Makes the schedule anew, without what has been overtaken.
    fn plan_all(&mut self) {
        self.schedule.clear();
        let answered = self.answers.flows().cloned();
        let flows: Vec<Flow> = answered.chain(self.asked.flows().cloned()).collect();
        for flow in flows {
            self.plan(flow);
        }
    }
}

//! What time does to questions and answers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{
    Enforcer, FAILURE_PAUSE, Grounds, MAX_ANSWERS, Pending, RENEWAL_PAUSE, REVIEW_LIMIT, Step,
};
use crate::access::{Answer, Flow, Question, Reason};
use crate::connector::{Attempt, Effect};
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

    /// Puts every question that is on its way once more; the answers to those before are not
    /// taken.
    pub(in crate::connector) fn put_again(
        &mut self,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        self.asked.clear();
        for pending in std::mem::take(&mut self.pending).into_values() {
            let question = Question {
                flow: pending.request.flow.clone(),
                process: pending.process,
            };
            self.evaluate(question, grounds, effects);
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
        while let Some(attempt) = self.overdue(now) {
            self.give_up(attempt, grounds, effects);
        }
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
        let deadline = self.oldest().map(|(_, pending)| pending.deadline);
        let next = self.schedule.next();
        next.into_iter().chain(reviewed).chain(deadline).min()
    }

    /// Returns the question that was put first: all have the same time, so none is due before it.
    fn oldest(&self) -> Option<(Attempt, &Pending)> {
        let (attempt, pending) = self.pending.first_key_value()?;
        Some((*attempt, pending))
    }

    /// Returns a question that nobody answers.
    fn overdue(&self, now: Moment) -> Option<Attempt> {
        let oldest = self.oldest();
        let overdue = oldest.filter(|(_, pending)| pending.deadline <= now);
        overdue.map(|(attempt, _)| attempt)
    }

    /// Ends a question that nobody answers.
    fn give_up(&mut self, attempt: Attempt, grounds: &Grounds<'_>, effects: &mut VecDeque<Effect>) {
        let Some(pending) = self.take_pending(attempt) else {
            return;
        };
        let now = grounds.now.moment;
        let flow = pending.request.flow.clone();
        // A denial that could not be written down in time is a denial all the same.
        let was_refused = matches!(pending.step, Step::AwaitingRecord(Answer::Refused { .. }));
        let lease_runs = matches!(
            self.answers.get(&flow),
            Some(Answer::Granted(grant)) if now < grant.lease_ends
        );
        if was_refused {
            self.keep_refusal(flow, Reason::NotRecorded, now + FAILURE_PAUSE);
        } else if lease_runs {
            self.plan(flow);
        } else {
            let process = pending.process;
            let question = Question { flow, process };
            self.refuse(question, Reason::PdpLate, FAILURE_PAUSE, grounds, effects);
        }
    }

    /// Ends an answer whose time is over.
    fn end_what_is_over(
        &mut self,
        flow: &Flow,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let now = grounds.now.moment;
        let Some(answer) = self.answers.get(flow) else {
            return;
        };
        if answer.ends() <= now {
            self.forget(flow);
        } else if answer.window_ends().is_some_and(|ends| ends <= now) {
            let review = answer
                .under_review(now + REVIEW_LIMIT, now)
                .filter(|_| self.live.contains(flow));
            let Some(review) = review else {
                self.forget(flow);
                return;
            };
            Arc::make_mut(&mut self.answers).insert(flow.clone(), review);
            if !self.asked.contains(flow) {
                let question = Question {
                    flow: flow.clone(),
                    process: None,
                };
                self.evaluate(question, grounds, effects);
            }
        }
    }

    /// Forgets the answer to a flow, and what an answer before it permitted.
    pub(super) fn forget(&mut self, flow: &Flow) {
        Arc::make_mut(&mut self.answers).remove(flow);
        if let Some(reviewed) = &mut self.reviewed
            && reviewed.answers.contains(flow)
        {
            Arc::make_mut(&mut reviewed.answers).remove(flow);
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
        let next = [
            answer.map(Answer::ends),
            answer.and_then(Answer::window_ends),
            self.renewal(&flow),
        ];
        if let Some(next) = next.into_iter().flatten().min() {
            self.schedule.add(next, flow);
        }
    }

    /// Makes the schedule anew, without what has been overtaken.
    fn plan_all(&mut self) {
        self.schedule.clear();
        let flows: Vec<Flow> = self.answers.flows().cloned().collect();
        for flow in flows {
            self.plan(flow);
        }
    }
}

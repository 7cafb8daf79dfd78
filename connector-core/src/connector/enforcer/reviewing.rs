//! Asks again about everything that is in use, because its grounds changed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Enforcer, Grounds};
use crate::access::{Answer, Flow, Question};
use crate::catalogue::Lookup;
use crate::connector::Effect;
use crate::time::Now;

/// The questions of a review that have yet to be put.
///
/// They are put a few at a time, so that where answers come at once no question
/// waits for all the others to be written, and what one needs is still at hand.
#[derive(Debug, Default)]
pub(super) struct Review {
    begun: Now,
    questions: VecDeque<Question>,
}

impl Review {
    pub(super) fn clear(&mut self) {
        self.questions.clear();
    }
}

impl Enforcer {
    /// Begins to ask again about every open flow and forgets the other answers, because
    /// the grounds changed. Open flows go on for at most [`REVIEW_LIMIT`](super::REVIEW_LIMIT);
    /// those that no policy has to be asked about end at once.
    pub(in crate::connector) fn reconsider(
        &mut self,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let now = grounds.now;
        let before = std::mem::take(&mut self.answers);
        let kept = before.filter_map(|flow, answer| {
            let is_live = self.live.contains(flow);
            is_live.then(|| answer.reviewed(now.moment)).flatten()
        });

        let unput = std::mem::take(&mut self.review.questions).into_iter();
        let unput = unput.map(|question| (question.flow, question.process));
        let mut waiting: BTreeMap<Flow, Option<u32>> = unput.collect();
        for pending in std::mem::take(&mut self.pending).into_values() {
            waiting.insert(pending.flow, pending.process);
        }
        let others = kept.flows().filter(|flow| !waiting.contains_key(*flow));
        let mut questions: VecDeque<Question> = others.map(about).collect();
        let waiting = waiting.into_iter();
        questions.extend(waiting.map(|(flow, process)| Question { flow, process }));
        let catalogue = &grounds.configuration.catalogue;
        let mut refused = Vec::new();
        questions.retain(|question| {
            let is_offered = matches!(catalogue.lookup(&question.flow), Lookup::Offered(_));
            if !is_offered {
                refused.push(question.clone());
            }
            is_offered
        });
        self.review = Review {
            begun: now,
            questions,
        };

        self.asked.clear();
        self.schedule.clear();
        for (flow, answer) in kept.iter() {
            self.schedule.add(answer.ends(), flow.clone());
        }
        self.answers = Arc::new(kept);
        for question in refused {
            self.evaluate(question, grounds, effects);
        }
    }

    /// Returns when the review began whose questions have yet to be put.
    pub(in crate::connector) fn review_begun(&self) -> Option<Now> {
        let is_over = self.review.questions.is_empty();
        (!is_over).then_some(self.review.begun)
    }

    /// Puts some more questions of the review.
    pub(in crate::connector) fn review_on(
        &mut self,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        for _ in 0..AT_A_TIME {
            let Some(question) = self.review.questions.pop_front() else {
                return;
            };
            let is_answered = matches!(
                self.answers.get(&question.flow),
                Some(Answer::Granted(_) | Answer::Refused { .. })
            );
            if !is_answered && !self.asked.contains(&question.flow) {
                self.evaluate(question, grounds, effects);
            }
        }
    }
}

/// Asks about a flow whose answer is shared by every process that has it open.
fn about(flow: &Flow) -> Question {
    Question {
        flow: flow.clone(),
        process: None,
    }
}

/// Few enough to stay in a processor's cache with all that follows from them.
const AT_A_TIME: usize = 64;

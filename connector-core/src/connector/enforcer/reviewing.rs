//! Asks again about everything that is in use, because its grounds changed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Enforcer, Grounds, REVIEW_LIMIT};
use crate::access::{Answer, ByFlow, Flow, Question, Reviewed};
use crate::catalogue::{Lookup, Resource};
use crate::connector::Effect;
use crate::time::{Moment, Now};

/// The questions of a review that have yet to be put.
///
/// They are put one at a time, so that where answers come at once no question
/// waits for all the others to be written, and what one needs is still at hand.
#[derive(Debug, Default)]
pub(super) struct Review {
    begun: Now,
    questions: VecDeque<(Question, Arc<Resource>)>,
}

impl Review {
    pub(super) fn clear(&mut self) {
        self.questions.clear();
    }

    /// Returns whether all its questions were put.
    pub(super) fn is_over(&self) -> bool {
        self.questions.is_empty()
    }
}

impl Enforcer {
    /// Begins to ask again about every open flow and forgets the other answers, because
    /// the grounds changed. Open flows go on for at most [`REVIEW_LIMIT`];
    /// those that no policy has to be asked about end at once.
    pub(in crate::connector) fn reconsider(
        &mut self,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let now = grounds.now;
        let kept = self.put_aside(now.moment);

        let unput = std::mem::take(&mut self.review.questions).into_iter();
        let unput = unput.map(|(question, _)| (question.flow, question.process));
        let mut waiting: BTreeMap<Flow, Option<u32>> = unput.collect();
        for pending in std::mem::take(&mut self.pending).into_values() {
            waiting.insert(pending.request.flow.clone(), pending.process);
        }
        let others = kept.flows().filter(|flow| !waiting.contains_key(*flow));
        let waiting = waiting.iter().map(|(flow, process)| Question {
            flow: flow.clone(),
            process: *process,
        });

        let catalogue = &grounds.configuration.catalogue;
        let mut questions = VecDeque::with_capacity(kept.len());
        let mut refused = Vec::new();
        for question in others.map(about).chain(waiting) {
            match catalogue.lookup(&question.flow) {
                Lookup::Offered(resource) => questions.push_back((question, Arc::clone(resource))),
                Lookup::PortNotOffered(_) | Lookup::Unknown => refused.push(question),
            }
        }
        self.review = Review {
            begun: now,
            questions,
        };

        self.asked.clear();
        self.schedule.clear();
        self.reviewed = (!kept.is_empty()).then(|| Reviewed {
            answers: Arc::new(kept),
            until: now.moment + REVIEW_LIMIT,
        });
        for question in refused {
            self.evaluate(question, grounds, effects);
        }
    }

    /// Takes away all answers and returns those by which open flows go on for now.
    fn put_aside(&mut self, now: Moment) -> ByFlow<Answer> {
        let before = std::mem::take(&mut self.answers);
        let earlier = self.reviewed.take();
        // Whoever holds the map that is published shares all that stays.
        let mut kept = ByFlow::clone(&before);
        kept.retain_common(&self.live, |answer| {
            let until = answer.reviewed(now + REVIEW_LIMIT);
            until.is_some_and(|(_, until)| now < until)
        });
        // What is being reviewed already gets no more time.
        for (flow, answer) in earlier.iter().flat_map(|earlier| earlier.answers.iter()) {
            let limit = earlier.as_ref().map_or(now, |earlier| earlier.until);
            if !before.contains(flow)
                && self.live.contains(flow)
                && let Some(answer) = answer.under_review(limit, now)
            {
                kept.insert(flow.clone(), answer);
            }
        }
        kept
    }

    /// Returns when the review began whose questions have yet to be put.
    pub(in crate::connector) fn review_begun(&self) -> Option<Now> {
        (!self.review.is_over()).then_some(self.review.begun)
    }

    /// Puts the next question of the review.
    pub(in crate::connector) fn review_on(
        &mut self,
        grounds: &Grounds<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let Some((question, resource)) = self.review.questions.pop_front() else {
            return;
        };
        let is_answered = matches!(
            self.answers.get(&question.flow),
            Some(Answer::Granted(_) | Answer::Refused { .. })
        );
        if !is_answered && !self.asked.contains(&question.flow) {
            self.put(question, resource, grounds, effects);
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

//! Consents and elevations: asked for, decided, written down, and ended in time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, Effect, PdpFailure};
use crate::access::{Denial, Reason, Workload};
use crate::audit::{Said, TrustEnd, TrustOutcome, TrustRecord};
use crate::authzen::Decision;
use crate::catalogue::ResourceId;
use crate::configuration::PolicyPlan;
use crate::identity::{HostId, Session};
use crate::network::NetworkKind;
use crate::posture::Verdict;
use crate::time::{Moment, Now};
use crate::trust::{Acting, Elevated, Granted, Refused, TrustId, TrustRequest, Wish};

/// What a wish rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) session: &'a Session,
    pub(super) policy: &'a Arc<PolicyPlan>,
    pub(super) host: Option<&'a HostId>,
    pub(super) verdict: &'a Verdict,
    pub(super) network: NetworkKind,
    pub(super) now: Now,
}

impl<'a> Scene<'a> {
    fn at(&self) -> At<'a> {
        (self.host, self.verdict, self.now)
    }
}

/// On which host, in which state, and when.
pub(super) type At<'a> = (Option<&'a HostId>, &'a Verdict, Now);

/// What is in force, and what is being decided.
///
/// A grant counts once it is written down. It is put to the policy again whenever
/// its grounds change, and ends unless the policy says yes once more.
#[derive(Debug, Default)]
pub(super) struct Trusting {
    in_force: Vec<InForce>,
    pending: BTreeMap<Attempt, Pending>,
    /// The latest refusals, for whoever asked.
    refused: VecDeque<Arc<Refused>>,
    attempts: Attempt,
}

#[derive(Debug, Clone)]
struct InForce {
    granted: Arc<Granted>,
    session: Session,
    ends: Moment,
    /// When the policy may say something else, because a time window begins or ends.
    ask_again: Option<Moment>,
}

/// A question on its way to an answer.
#[derive(Debug)]
struct Pending {
    id: TrustId,
    wish: Arc<Wish>,
    session: Session,
    step: Step,
    /// When an adapter that lost the question is no longer waited for.
    deadline: Moment,
}

#[derive(Debug)]
enum Step {
    /// The policy is asked for the first time.
    Deciding,
    /// It was granted; `is_stale` says that its grounds have changed since.
    Recording { grant: InForce, is_stale: bool },
    /// The policy is asked again about what is in force.
    Reviewing,
}

impl Trusting {
    /// Returns what is in force.
    pub(super) fn granted(&self) -> impl Iterator<Item = &Arc<Granted>> {
        self.in_force.iter().map(|known| &known.granted)
    }

    /// Returns the latest refusals.
    pub(super) fn refused(&self) -> impl Iterator<Item = &Arc<Refused>> {
        self.refused.iter()
    }

    /// Returns in whose name a program acts towards a resource, and when that ends.
    ///
    /// A program that acts by consent acts for the person, and not for whom they act.
    pub(super) fn acting(
        &self,
        workload: &Workload,
        resource: &ResourceId,
    ) -> (Acting, Option<Moment>) {
        let delegated = self
            .in_force
            .iter()
            .find(|known| match &*known.granted.wish {
                Wish::Delegate(delegation) => delegation.covers(workload, resource),
                Wish::Elevate(_) => false,
            });
        if let Some(known) = delegated {
            let id = known.granted.id.clone();
            return (Acting::Delegated(id), Some(known.ends));
        }
        let elevated = self.in_force.iter().find_map(|known| {
            let Wish::Elevate(elevation) = &*known.granted.wish else {
                return None;
            };
            let elevated = Elevated {
                id: known.granted.id.clone(),
                target: Arc::clone(&elevation.target),
            };
            Some((Acting::Elevated(elevated), Some(known.ends)))
        });
        elevated.unwrap_or((Acting::Oneself, None))
    }

    /// Puts a wish to the policy.
    pub(super) fn request(
        &mut self,
        id: TrustId,
        wish: Wish,
        scene: &Scene<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let wish = Arc::new(wish);
        match self.obstacle(&id, &wish) {
            Some(denial) => self.refuse(id, wish, denial, None, scene, effects),
            None => self.put(id, wish, Step::Deciding, scene, effects),
        }
    }

    /// Takes an answer; returns whether what is in force has changed.
    pub(super) fn handle_evaluated(
        &mut self,
        attempt: Attempt,
        outcome: Result<Decision, PdpFailure>,
        scene: &Scene<'_>,
        effects: &mut VecDeque<Effect>,
    ) -> bool {
        let Some(pending) = self.pending.remove(&attempt) else {
            return false;
        };
        let (answer, said, ask_again) = read(outcome, scene.now);
        let (id, wish) = (pending.id, pending.wish);
        match (pending.step, answer) {
            (Step::Deciding, Ok(())) => {
                let said = said.unwrap_or_default();
                let grant = InForce::new(&id, &wish, said, ask_again, scene);
                let outcome = TrustOutcome::Granted {
                    expires_at: grant.granted.expires_at,
                };
                let record = grant.record(outcome, scene.at());
                effects.push_back(Effect::RecordTrust {
                    attempt: Some(attempt),
                    record: Box::new(record),
                });
                let step = Step::Recording {
                    grant,
                    is_stale: false,
                };
                let pending = Pending {
                    id,
                    wish,
                    session: pending.session,
                    step,
                    deadline: scene.now.moment + ANSWER_LIMIT,
                };
                self.pending.insert(attempt, pending);
                false
            }
            (Step::Deciding, Err(denial)) => {
                self.refuse(id, wish, denial, said, scene, effects);
                false
            }
            (Step::Reviewing, Ok(())) => {
                let mut all = self.in_force.iter_mut();
                if let Some(known) = all.find(|known| known.granted.id == id) {
                    known.ask_again = ask_again;
                }
                false
            }
            (Step::Reviewing, Err(denial)) => {
                let end = TrustEnd::NoLongerPermitted(denial);
                self.end(&id, end, scene.at(), effects)
            }
            (step @ Step::Recording { .. }, _) => {
                let pending = Pending {
                    id,
                    wish,
                    step,
                    ..pending
                };
                self.pending.insert(attempt, pending);
                false
            }
        }
    }

    /// Puts in force what was written down; returns whether anything is.
    pub(super) fn handle_recorded(
        &mut self,
        attempt: Attempt,
        written: bool,
        scene: &Scene<'_>,
        effects: &mut VecDeque<Effect>,
    ) -> bool {
        let Some(pending) = self.pending.remove(&attempt) else {
            return false;
        };
        let Step::Recording { grant, is_stale } = pending.step else {
            return false;
        };
        if !written {
            self.tell(Refused {
                id: pending.id,
                denial: Reason::NotRecorded.into(),
                said: None,
            });
            return false;
        }
        let wish = Arc::clone(&grant.granted.wish);
        self.in_force.push(grant);
        if is_stale {
            self.put(pending.id, wish, Step::Reviewing, scene, effects);
        }
        true
    }

    /// Ends what the person no longer wants; returns whether there was such a thing.
    pub(super) fn revoke(
        &mut self,
        id: &TrustId,
        scene: &Scene<'_>,
        effects: &mut VecDeque<Effect>,
    ) -> bool {
        self.end(id, TrustEnd::Revoked, scene.at(), effects)
    }

    /// Asks again about everything, because its grounds changed.
    pub(super) fn review(&mut self, scene: &Scene<'_>, effects: &mut VecDeque<Effect>) {
        let mut deadlines = BTreeMap::new();
        for pending in std::mem::take(&mut self.pending) {
            let (attempt, mut pending) = pending;
            match &mut pending.step {
                Step::Deciding => {
                    let (id, wish) = (pending.id, pending.wish);
                    self.put(id, wish, Step::Deciding, scene, effects);
                }
                Step::Recording { is_stale, .. } => {
                    *is_stale = true;
                    self.pending.insert(attempt, pending);
                }
                Step::Reviewing => _ = deadlines.insert(pending.id, pending.deadline),
            }
        }
        let all: Vec<Arc<Granted>> = self.granted().cloned().collect();
        for granted in all {
            let (id, wish) = (granted.id.clone(), Arc::clone(&granted.wish));
            self.put(id, wish, Step::Reviewing, scene, effects);
        }
        // Grounds that keep changing give nobody more time to answer.
        for pending in self.pending.values_mut() {
            if let Some(earlier) = deadlines.get(&pending.id) {
                pending.deadline = pending.deadline.min(*earlier);
            }
        }
    }

    /// Ends what is over, and asks again what is due; returns whether what is in force has
    /// changed. Without a scene, nobody is signed in.
    pub(super) fn settle(
        &mut self,
        scene: Option<&Scene<'_>>,
        at: At<'_>,
        effects: &mut VecDeque<Effect>,
    ) -> bool {
        let (_, _, now) = at;
        let current = scene.map(|scene| &scene.session.id);
        self.pending
            .retain(|_, pending| Some(&pending.session.id) == current);
        let mut ended = Vec::new();
        for known in &self.in_force {
            if Some(&known.session.id) != current {
                ended.push((known.granted.id.clone(), TrustEnd::SessionOver));
            } else if known.ends <= now.moment {
                ended.push((known.granted.id.clone(), TrustEnd::TimeOver));
            }
        }
        let mut has_changed = !ended.is_empty();
        for (id, end) in ended {
            self.end(&id, end, at, effects);
        }
        let Some(scene) = scene else {
            return has_changed;
        };

        let late: Vec<Attempt> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.deadline <= now.moment)
            .map(|(attempt, _)| *attempt)
            .collect();
        for attempt in late {
            has_changed |= self.give_up(attempt, scene, effects);
        }
        let is_due = |known: &&mut InForce| known.ask_again.is_some_and(|due| due <= now.moment);
        let due: Vec<Arc<Granted>> = self
            .in_force
            .iter_mut()
            .filter(is_due)
            .map(|known| {
                known.ask_again = None;
                Arc::clone(&known.granted)
            })
            .collect();
        for granted in due {
            let (id, wish) = (granted.id.clone(), Arc::clone(&granted.wish));
            self.put(id, wish, Step::Reviewing, scene, effects);
        }
        has_changed
    }

    /// Ends everything, because the service does.
    pub(super) fn finish(&mut self, at: At<'_>, effects: &mut VecDeque<Effect>) {
        let all: Vec<TrustId> = self.granted().map(|granted| granted.id.clone()).collect();
        for id in all {
            self.end(&id, TrustEnd::Stopped, at, effects);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let ends = self.in_force.iter().map(|known| match known.ask_again {
            Some(due) => due.min(known.ends),
            None => known.ends,
        });
        let deadlines = self.pending.values().map(|pending| pending.deadline);
        ends.chain(deadlines).min()
    }

    /// Returns why a wish is not even put to the policy, if it is not.
    fn obstacle(&self, id: &TrustId, wish: &Wish) -> Option<Denial> {
        let denied = |reason: Reason, explanation: String| {
            Some(Denial {
                explanation: Some(explanation.into()),
                ..reason.into()
            })
        };
        let waiting = self.pending.values().map(|pending| &pending.id);
        let known = self.granted().map(|granted| &granted.id);
        if waiting.chain(known).any(|taken| taken == id) {
            return denied(Reason::TooBusy, format!("The id {id} is taken; try again."));
        }
        if self.in_force.len() + self.pending.len() >= MAX_TRUST {
            let most = format!("No more than {MAX_TRUST} can be in force; revoke one first.");
            return denied(Reason::TooBusy, most);
        }
        let Wish::Elevate(_) = wish else {
            return None;
        };
        let wishes = self.granted().map(|granted| (&granted.id, &granted.wish));
        let pending = self.pending.values();
        let mut wishes = wishes.chain(pending.map(|pending| (&pending.id, &pending.wish)));
        wishes.find_map(|(id, wish)| {
            let Wish::Elevate(elevation) = &**wish else {
                return None;
            };
            let (target, verb) = (&elevation.target, format!("ztna elevate --revoke {id}"));
            denied(
                Reason::PolicyDenied,
                format!("You act in the context of {target} already; `{verb}` ends that."),
            )
        })
    }

    /// Puts a wish to the policy; of two questions about the same one, the later counts.
    fn put(
        &mut self,
        id: TrustId,
        wish: Arc<Wish>,
        step: Step,
        scene: &Scene<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        self.pending.retain(|_, pending| pending.id != id);
        let attempt = self.attempts.take();
        let request = TrustRequest {
            person: Arc::clone(&scene.session.person),
            session: scene.session.id.clone(),
            assurance: scene.session.assurance.clone(),
            host: scene.host.cloned(),
            verdict: scene.verdict.clone(),
            wish: Arc::clone(&wish),
            network: scene.network,
            time: scene.now.wall,
        };
        effects.push_back(Effect::EvaluateTrust {
            attempt,
            policy: Arc::clone(scene.policy),
            request: Box::new(request),
        });
        let pending = Pending {
            id,
            wish,
            session: scene.session.clone(),
            step,
            deadline: scene.now.moment + ANSWER_LIMIT,
        };
        self.pending.insert(attempt, pending);
    }

    /// Does without an answer; returns whether what is in force has changed.
    fn give_up(
        &mut self,
        attempt: Attempt,
        scene: &Scene<'_>,
        effects: &mut VecDeque<Effect>,
    ) -> bool {
        let Some(pending) = self.pending.remove(&attempt) else {
            return false;
        };
        match pending.step {
            Step::Deciding => {
                let denial = Reason::PdpLate.into();
                self.refuse(pending.id, pending.wish, denial, None, scene, effects);
                false
            }
            Step::Recording { .. } => {
                self.tell(Refused {
                    id: pending.id,
                    denial: Reason::NotRecorded.into(),
                    said: None,
                });
                false
            }
            Step::Reviewing => {
                let end = TrustEnd::NoLongerPermitted(Reason::PdpLate.into());
                self.end(&pending.id, end, scene.at(), effects)
            }
        }
    }

    fn refuse(
        &mut self,
        id: TrustId,
        wish: Arc<Wish>,
        denial: Denial,
        said: Option<Arc<Said>>,
        scene: &Scene<'_>,
        effects: &mut VecDeque<Effect>,
    ) {
        let record = TrustRecord {
            time: scene.now.wall,
            id: id.clone(),
            wish,
            outcome: TrustOutcome::Refused(denial.clone()),
            said: said.clone(),
            session: scene.session.clone(),
            host: scene.host.cloned(),
            verdict: scene.verdict.clone(),
        };
        effects.push_back(Effect::RecordTrust {
            attempt: None,
            record: Box::new(record),
        });
        self.tell(Refused { id, denial, said });
    }

    fn tell(&mut self, refused: Refused) {
        if self.refused.len() == MAX_REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back(Arc::new(refused));
    }

    fn end(
        &mut self,
        id: &TrustId,
        end: TrustEnd,
        at: At<'_>,
        effects: &mut VecDeque<Effect>,
    ) -> bool {
        let mut all = self.in_force.iter();
        let Some(index) = all.position(|known| known.granted.id == *id) else {
            return false;
        };
        let known = self.in_force.remove(index);
        self.pending.retain(|_, pending| pending.id != *id);
        let record = known.record(TrustOutcome::Ended(end), at);
        effects.push_back(Effect::RecordTrust {
            attempt: None,
            record: Box::new(record),
        });
        true
    }
}

impl InForce {
    fn new(
        id: &TrustId,
        wish: &Arc<Wish>,
        said: Arc<Said>,
        ask_again: Option<Moment>,
        scene: &Scene<'_>,
    ) -> Self {
        let now = scene.now;
        let session_left = scene.session.expires_at.since(now.moment);
        let lasts = wish.duration().min(session_left);
        let granted = Granted {
            id: id.clone(),
            wish: Arc::clone(wish),
            trust_level: scene.verdict.trust_level(),
            said,
            expires_at: now.wall + lasts,
        };
        Self {
            granted: Arc::new(granted),
            session: scene.session.clone(),
            ends: now.moment + lasts,
            ask_again,
        }
    }

    fn record(&self, outcome: TrustOutcome, (host, verdict, now): At<'_>) -> TrustRecord {
        TrustRecord {
            time: now.wall,
            id: self.granted.id.clone(),
            wish: Arc::clone(&self.granted.wish),
            outcome,
            said: Some(Arc::clone(&self.granted.said)),
            session: self.session.clone(),
            host: host.cloned(),
            verdict: verdict.clone(),
        }
    }
}

/// Reads an answer: yes or no, who said so, and when to ask again.
fn read(
    outcome: Result<Decision, PdpFailure>,
    now: Now,
) -> (Result<(), Denial>, Option<Arc<Said>>, Option<Moment>) {
    let decision = match outcome {
        Ok(decision) => decision,
        Err(failure) => return (Err(Reason::from(failure).into()), None, None),
    };
    // Turned into the boot clock here and now: nobody's changed wall clock stretches it.
    let ask_again = decision.valid_until.map(|until| {
        let left = until.unix_millis().saturating_sub(now.wall.unix_millis());
        now.moment + Duration::from_millis(left.max(LEAST_WINDOW_MILLIS))
    });
    let outcome = decision.outcome.clone();
    (outcome, Some(Arc::new(Said::from(decision))), ask_again)
}

/// Consents and elevations at one time; a person has a few.
const MAX_TRUST: usize = 64;

/// Refusals that are remembered until whoever asked has read them.
const MAX_REFUSED: usize = 16;

/// The adapter gives the policy 800 ms; this catches one that lost the question.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A window that ends at once is asked about again a moment later, not for ever.
const LEAST_WINDOW_MILLIS: u64 = 100;

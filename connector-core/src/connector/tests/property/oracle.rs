//! Until when each flow may live, from what was said and when, and from nothing else.

use std::collections::BTreeSet;

use super::super::*;
use super::LEASE;
use crate::trust::Acting;

/// Whoever listens to everything that is said, and adds up what follows.
///
/// It knows nothing of maps, renewals or reviews: every yes is good until a moment that
/// is known when it is written down, and everything that happens later can only
/// shorten that, until the next yes.
#[derive(Debug)]
pub(super) struct Oracle {
    now: Moment,
    words: BTreeMap<Flow, Word>,
    questions: BTreeMap<Attempt, Question>,
    /// None while nobody is signed in.
    session_ends: Option<Moment>,
    configuration_ends: Moment,
    heard_at: Moment,
    paused: Option<Option<Moment>>,
    device: Device,
    pub(super) trusts: BTreeMap<TrustId, Trust>,
    /// What is over never begins again.
    over: BTreeSet<TrustId>,
    wishes: BTreeMap<Attempt, Wished>,
    pub(super) assurance: Option<Arc<str>>,
    pub(super) is_staff: bool,
}

/// The latest yes to a flow.
#[derive(Debug, Clone)]
struct Word {
    /// Until when whatever is open may go on.
    until: Moment,
    /// When it is over because of a no that is being written down.
    cut_at: Option<Moment>,
    /// Until when something may open.
    opens_until: Moment,
    window_ends: Option<Moment>,
    /// Until when it can be prolonged while nobody can be asked.
    offline_until: Moment,
}

/// A question on its way to the policy and into the log.
#[derive(Debug)]
struct Question {
    flow: Flow,
    put_at: Moment,
    /// When the consent or the elevation ends that it is put under.
    ends: Option<Moment>,
    /// What is about to be written down; none in it is a no.
    said: Option<Option<Word>>,
}

#[derive(Debug, Clone)]
pub(super) struct Trust {
    ends: Moment,
    is_consent: bool,
}

/// A question about a consent or an elevation.
#[derive(Debug)]
struct Wished {
    id: TrustId,
    wish: Arc<Wish>,
    put_at: Moment,
}

/// What the state of the device was last known to be.
#[derive(Debug)]
struct Device {
    finding: Finding,
    measured_at: Moment,
    complies: bool,
    news_at: WallTime,
    known: (Finding, bool),
}

impl Oracle {
    pub(super) fn new(now: Now, session_ends: Moment, configuration_ends: Moment) -> Self {
        Self {
            now: now.moment,
            words: BTreeMap::new(),
            questions: BTreeMap::new(),
            session_ends: Some(session_ends),
            configuration_ends,
            heard_at: now.moment,
            paused: None,
            device: Device {
                finding: Finding::Pass,
                measured_at: now.moment,
                complies: true,
                news_at: WallTime::from_unix_millis(0),
                known: (Finding::Pass, true),
            },
            trusts: BTreeMap::new(),
            over: BTreeSet::new(),
            wishes: BTreeMap::new(),
            assurance: None,
            is_staff: true,
        }
    }

    /// Returns until when whatever is open of `flow` may go on.
    pub(super) fn until(&self, flow: &Flow) -> Option<Moment> {
        self.words.get(flow).map(|word| word.until)
    }

    /// Returns whether something of `flow` may open.
    pub(super) fn opens(&self, flow: &Flow) -> bool {
        let word = self.words.get(flow);
        word.is_some_and(|word| self.now < word.opens_until) && !self.is_cut(flow)
    }

    /// Returns whether `flow` must be over by now because of a no, written down or not.
    pub(super) fn is_cut(&self, flow: &Flow) -> bool {
        let word = self.words.get(flow);
        word.is_none_or(|word| word.cut_at.is_some_and(|cut_at| cut_at <= self.now))
    }

    /// Returns whether nothing at all may be open.
    pub(super) fn is_closed(&self) -> bool {
        self.session_ends.is_none_or(|ends| ends <= self.now)
            || self.configuration_ends <= self.now
            || self.paused.is_some()
            || self.is_silent()
    }

    fn is_silent(&self) -> bool {
        self.heard_at + LEASE <= self.now
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Lets it become `now`.
    pub(super) fn pass(&mut self, now: Moment) {
        self.now = now;
        if self.is_silent() {
            self.void();
            self.words.clear();
        }
        if self.session_ends.is_some_and(|ends| ends <= now) {
            self.end_session();
        }
        if self.configuration_ends <= now {
            // Nobody could be asked again about what is in force.
            self.trusts.clear();
            self.wishes.clear();
            self.shake();
        }
        if self.paused.flatten().is_some_and(|until| until <= now) {
            self.paused = None;
        }
        self.look_at_device();
        let mut over: Vec<TrustId> = self
            .trusts
            .iter()
            .filter(|(_, trust)| trust.ends <= now)
            .map(|(id, _)| id.clone())
            .collect();
        self.wishes.retain(|_, wished| {
            let is_late = wished.put_at + ANSWER_LIMIT <= now;
            if is_late {
                over.push(wished.id.clone());
            }
            !is_late
        });
        for id in over {
            self.end_trust(&id);
        }
    }

    /// What answers rest on is something else: open flows get a moment, new ones none, and
    /// no answer to an earlier question counts.
    pub(super) fn shake(&mut self) {
        self.void();
        let limit = self.now + REVIEW;
        for word in self.words.values_mut() {
            word.until = word.until.min(limit);
            word.opens_until = Moment::default();
            word.offline_until = Moment::default();
        }
    }

    fn void(&mut self) {
        self.questions.clear();
    }

    pub(super) fn hear(&mut self) {
        self.heard_at = self.now;
    }

    pub(super) fn configure(&mut self, ends: Moment) {
        self.configuration_ends = ends;
        self.shake();
    }

    pub(super) fn pause(&mut self, until: Option<Moment>) {
        self.paused = Some(until);
    }

    pub(super) fn resume(&mut self) {
        self.paused = None;
    }

    pub(super) fn begin_session(&mut self, ends: Moment) {
        self.end_session();
        self.session_ends = Some(ends);
        self.heard_at = self.now;
        self.assurance = None;
        self.is_staff = true;
    }

    pub(super) fn end_session(&mut self) {
        self.void();
        self.words.clear();
        self.trusts.clear();
        self.wishes.clear();
        self.session_ends = None;
    }

    pub(super) fn measure(&mut self, finding: Finding) {
        self.device.finding = finding;
        self.device.measured_at = self.now;
        self.look_at_device();
    }

    /// Notes what another system found, unless something newer is known.
    pub(super) fn comply(&mut self, complies: bool, at: WallTime) {
        let device = &mut self.device;
        if device.news_at < at || (device.news_at == at && !complies) {
            device.news_at = at;
            device.complies = complies;
        }
        self.look_at_device();
    }

    fn look_at_device(&mut self) {
        let device = &mut self.device;
        let is_fresh = self.now < device.measured_at + check().max_age;
        let finding = if is_fresh {
            device.finding
        } else {
            Finding::Unknown
        };
        let before = std::mem::replace(&mut device.known, (finding, device.complies));
        if before != self.device.known {
            self.shake();
        }
    }

    /// Notes a question to the policy, and that it is put in the right name.
    pub(super) fn put(&mut self, attempt: Attempt, request: &AccessRequest) {
        let in_force = |id: &TrustId, is_consent: bool| {
            let trust = self.trusts.get(id);
            let trust = trust.filter(|trust| trust.is_consent == is_consent);
            Some(trust.unwrap_or_else(|| panic!("{id} is not in force")).ends)
        };
        let ends = match &request.acting {
            Acting::Oneself => None,
            Acting::Delegated(id) => in_force(id, true),
            Acting::Elevated(elevated) => in_force(&elevated.id, false),
        };
        let level = request.assurance.as_ref().map(|known| &known.level);
        assert_eq!(level, self.assurance.as_ref(), "an assurance of before");
        assert_eq!(request.person.groups.is_empty(), !self.is_staff);
        let question = Question {
            flow: request.flow.clone(),
            put_at: self.now,
            ends,
            said: None,
        };
        self.questions.insert(attempt, question);
    }

    /// Notes what the policy said; it counts once it is written down.
    pub(super) fn say(
        &mut self,
        attempt: Attempt,
        outcome: &Result<Decision, PdpFailure>,
        now: Now,
    ) {
        let Some(question) = self.questions.get_mut(&attempt) else {
            return;
        };
        let forgotten_at = question.put_at + ANSWER_LIMIT;
        if forgotten_at <= self.now {
            self.questions.remove(&attempt);
            return;
        }
        let known = self.words.get_mut(&question.flow);
        let said = match outcome {
            Ok(decision) if decision.outcome.is_ok() => {
                let bounds = [self.session_ends, question.ends];
                let ends = bounds
                    .into_iter()
                    .flatten()
                    .fold(self.configuration_ends, Moment::min);
                let Some(word) = Word::of(decision, ends, now) else {
                    self.questions.remove(&attempt);
                    return;
                };
                Some(word)
            }
            Ok(_) => {
                if let Some(word) = known {
                    word.cut_at = Some(forgotten_at);
                }
                None
            }
            Err(_) => match known.filter(|word| self.now < word.opens_until) {
                Some(word) if word.offline_until <= word.until => {
                    self.questions.remove(&attempt);
                    return;
                }
                Some(word) => Some(word.prolonged()),
                None => None,
            },
        };
        question.said = Some(said);
    }

    /// Notes that what was said is written down, or cannot be.
    pub(super) fn write(&mut self, attempt: Attempt, is_written: bool) {
        let Some(question) = self.questions.remove(&attempt) else {
            return;
        };
        let Some(said) = question.said else {
            return;
        };
        if question.put_at + ANSWER_LIMIT <= self.now {
            return;
        }
        match said.filter(|_| is_written) {
            Some(word) => self.words.insert(question.flow, word),
            None => self.words.remove(&question.flow),
        };
    }

    /// Notes a question about a consent or an elevation; of two about one the later counts,
    /// but nobody has more time to answer it if it is in force.
    pub(super) fn put_wish(&mut self, attempt: Attempt, wish: &Arc<Wish>) {
        let id = id_of(wish);
        let earlier = self.wishes.values().find(|wished| wished.id == id);
        let earlier = earlier.filter(|wished| self.trusts.contains_key(&wished.id));
        let put_at = earlier.map_or(self.now, |wished| wished.put_at);
        self.wishes.retain(|_, wished| wished.id != id);
        let wished = Wished {
            id,
            wish: Arc::clone(wish),
            put_at,
        };
        self.wishes.insert(attempt, wished);
    }

    /// Notes an answer about a consent or an elevation, which is written down at once.
    pub(super) fn answer_wish(&mut self, attempt: Attempt, is_yes: bool) {
        let Some(Wished { id, wish, .. }) = self.wishes.remove(&attempt) else {
            return;
        };
        if !is_yes {
            self.end_trust(&id);
        } else if !self.trusts.contains_key(&id) && !self.over.contains(&id) {
            let trust = Trust {
                ends: self.now + wish.duration(),
                is_consent: matches!(*wish, Wish::Delegate(_)),
            };
            self.trusts.insert(id, trust);
            self.shake();
        }
    }

    /// Notes that a consent or an elevation is over, if it is in force.
    pub(super) fn end_trust(&mut self, id: &TrustId) {
        if self.trusts.remove(id).is_some() {
            self.over.insert(id.clone());
            self.wishes.retain(|_, wished| wished.id != *id);
            self.shake();
        }
    }
}

impl Word {
    /// Returns what a yes is good for, if it did not come after its window.
    fn of(decision: &Decision, ends: Moment, now: Now) -> Option<Self> {
        let window = decision.valid_until.map(|until| {
            let millis = until.unix_millis().saturating_sub(now.wall.unix_millis());
            Duration::from_millis(millis)
        });
        if window == Some(Duration::ZERO) {
            return None;
        }
        let window_ends = window.map(|window| now.moment + window);
        let ends = window_ends.map_or(ends, |window_ends| ends.min(window_ends + REVIEW));
        let lease = decision.lease.unwrap_or(RESOURCE_LEASE).min(RESOURCE_LEASE);
        let until = (now.moment + lease).min(ends);
        Some(Self {
            until,
            cut_at: None,
            opens_until: window_ends.map_or(until, |window_ends| until.min(window_ends)),
            window_ends,
            offline_until: (now.moment + decision.offline.unwrap_or_default()).min(ends),
        })
    }

    /// Returns what it is good for after one more try to ask somebody.
    fn prolonged(&self) -> Self {
        let until = self.offline_until.min(self.until + OFFLINE_STEP);
        Self {
            until,
            cut_at: None,
            opens_until: self.window_ends.map_or(until, |ends| ends.min(until)),
            ..self.clone()
        }
    }
}

/// Returns the name of a wish of these tests, which is in its reason.
fn id_of(wish: &Wish) -> TrustId {
    match wish {
        Wish::Delegate(delegation) => delegation.reason.as_deref().unwrap_or_default().into(),
        Wish::Elevate(elevation) => (&*elevation.reason).into(),
    }
}

/// What open flows get while the policy is asked again.
const REVIEW: Duration = Duration::from_secs(1);

/// How long anybody waits for an answer to be given and written down.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// What the resources of the fixture allow at most.
const RESOURCE_LEASE: Duration = Duration::from_secs(300);

/// How much a permission is prolonged at a time.
const OFFLINE_STEP: Duration = Duration::from_secs(300);

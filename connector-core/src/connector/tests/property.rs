//! For any sequence of events, no flow outlives its permit.
//!
//! The oracle knows nothing of maps, leases that are renewed or reviews. It keeps
//! for each flow when somebody last said yes, for how long, and when somebody
//! last said no or closed everything, and demands that the connector is never
//! more generous than that.

use std::io::Write as _;

use super::signals::{LEASE, alice, following};
use super::*;
use crate::signals::Signal;

#[test]
fn no_flow_outlives_its_permit_whatever_happens() {
    let seed = std::env::var("CORE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| {
            // Different each time, and printed when it fails.
            let place = Box::new(0_u8);
            std::ptr::from_ref(&*place).addr() as u64 ^ u64::from(std::process::id()) << 32
        });
    let _closed = writeln!(std::io::stderr(), "CORE_SEED={seed}");
    for round in 0..60 {
        Play::new(seed.wrapping_add(round)).run(400);
    }
}

#[test]
fn a_flow_that_nobody_permitted_would_be_noticed() {
    let found = std::panic::catch_unwind(|| {
        let mut play = Play::new(1);
        let flow = play.any_flow();
        let permit = play.world.open(&flow);
        play.live.push(permit);
        play.check();
    });

    assert!(found.is_err(), "the oracle believes everything");
}

/// What the oracle knows of one flow.
#[derive(Debug, Default)]
struct Word {
    /// The latest moment until which any yes so far can be relied on.
    good_until: Moment,
    /// When the grounds last changed without a yes since: live flows have one second from the first change.
    shaken_at: Option<Moment>,
}

struct Play {
    world: World,
    draw: Draw,
    flows: Vec<Flow>,
    words: BTreeMap<Flow, Word>,
    /// The permits that the tunnel holds, renewed at each map as it does.
    live: Vec<Permit>,
    asked: BTreeMap<Attempt, (Flow, Moment)>,
    /// Everything was closed, and by what.
    closed: bool,
    heard_at: Moment,
    version: u64,
    finding: Finding,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut world = World::signed_in();
        world.feed(Event::ConfigurationAccepted(Box::new(following(2))));
        let flows = (0..6)
            .map(|host| crate::catalogue::fixture::flow(&format!("h{host}.dev.corp.test"), 80));
        Self {
            heard_at: world.now.moment,
            world,
            draw: Draw(seed | 1),
            flows: flows.collect(),
            words: BTreeMap::new(),
            live: vec![],
            asked: BTreeMap::new(),
            closed: false,
            version: 2,
            finding: Finding::Pass,
        }
    }

    fn run(mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
            self.note_questions();
            self.check();
        }
    }

    fn step(&mut self) {
        match self.draw.below(20) {
            0..=4 => self.ask(),
            5..=9 => self.answer(),
            10..=12 => self.pass(),
            13 => self.open(),
            14 => self.close_one(),
            15 => self.shake(),
            16 => {
                self.world.feed(Event::SignalsHeard);
                self.heard_at = self.world.now.moment;
            }
            17 => self.end_everything(),
            18 => self.toggle_pause(),
            _ => self.come_back(),
        }
    }

    fn ask(&mut self) {
        let flow = self.any_flow();
        if let Answer::Undecided(question) = self.world.access.decide(&flow, self.now()) {
            self.world.feed(Event::AccessRequested(question));
        }
    }

    fn answer(&mut self) {
        let waiting: Vec<Attempt> = self.asked.keys().copied().collect();
        let Some(attempt) = self.draw.of(&waiting).copied() else {
            return;
        };
        let Some((flow, asked_at)) = self.asked.remove(&attempt) else {
            return;
        };
        let written = self.draw.below(10) > 0;
        let outcome = match self.draw.below(4) {
            0 => {
                // An answer that is later than the core waits is no answer.
                if self.now() < asked_at + Duration::from_secs(2) {
                    self.words.remove(&flow);
                }
                no()
            }
            1 => Err(PdpFailure::Unreachable),
            _ => {
                let lease = Duration::from_secs(1 + self.draw.below(400));
                let offline = Duration::from_secs(self.draw.below(3) * 200);
                let window = Duration::from_secs(self.draw.below(300));
                let decision = Decision {
                    lease: Some(lease),
                    offline: Some(offline),
                    valid_until: (window > Duration::from_secs(100))
                        .then(|| self.world.now.wall + window),
                    ..Decision::permitted()
                };
                self.note_yes(&flow, asked_at, &decision, window);
                Ok(decision)
            }
        };
        let latency = Duration::ZERO;
        self.world.feed(Event::Evaluated {
            attempt,
            outcome,
            latency,
        });
        self.world.feed(Event::Recorded { attempt, written });
    }

    fn note_yes(&mut self, flow: &Flow, asked_at: Moment, decision: &Decision, window: Duration) {
        let now = self.now();
        let word = self.words.entry(flow.clone()).or_default();
        if word.shaken_at.is_some_and(|shaken_at| asked_at < shaken_at) {
            return;
        }
        let lease = decision
            .lease
            .unwrap_or_default()
            .min(Duration::from_secs(300));
        let mut good_for = lease.max(decision.offline.unwrap_or_default());
        if decision.valid_until.is_some() {
            good_for = good_for.min(window + Duration::from_secs(1));
        }
        word.good_until = word.good_until.max(now + good_for);
        word.shaken_at = None;
    }

    fn pass(&mut self) {
        let longest = self
            .draw
            .of(&[1_u64, 900, 20_000, 90_000])
            .copied()
            .unwrap_or(1);
        let time = Duration::from_millis(1 + self.draw.below(longest));
        let end = self.now() + time;
        while self.now() < end {
            let step = end.since(self.now()).min(Duration::from_millis(250));
            self.world.advance(step);
            self.renew();
        }
        // A check that nobody measures would only end everything.
        let finding = self.finding;
        self.world.measure(finding);
    }

    fn open(&mut self) {
        let flow = self.any_flow();
        if let Answer::Permitted(permit) = self.world.access.decide(&flow, self.now()) {
            self.live.push(permit);
            self.world.feed(Event::FlowOpened(flow));
        }
    }

    fn close_one(&mut self) {
        if !self.live.is_empty() {
            let count = u64::try_from(self.live.len()).unwrap();
            let index = usize::try_from(self.draw.below(count)).unwrap();
            let permit = self.live.swap_remove(index);
            let flow = permit.flow().clone();
            self.world.feed(Event::FlowClosed { flow, cut: None });
        }
    }

    /// Changes what answers rest on.
    fn shake(&mut self) {
        match self.draw.below(4) {
            0 => {
                // Not a change that anything ends by: the leases run on.
                self.world.feed(Event::NetworkChanged);
                return;
            }
            1 => self.world.signal(Signal::CredentialChange, &alice()),
            2 => {
                self.version += 1;
                let next = following(self.version);
                self.world
                    .feed(Event::ConfigurationAccepted(Box::new(next)));
            }
            _ => {
                self.finding = match self.finding {
                    Finding::Fail => Finding::Pass,
                    Finding::Pass | Finding::Unknown => Finding::Fail,
                };
                let finding = self.finding;
                self.world.measure(finding);
            }
        }
        let now = self.now();
        self.asked.clear();
        for flow in &self.flows {
            let word = self.words.entry(flow.clone()).or_default();
            word.shaken_at = Some(word.shaken_at.unwrap_or(now));
        }
    }

    fn end_everything(&mut self) {
        if self.draw.below(2) == 0 {
            self.world.signal(Signal::SessionRevoked, &alice());
        } else {
            self.world.feed(Event::SignOutRequested);
        }
        self.forget_all();
        self.closed = true;
    }

    fn toggle_pause(&mut self) {
        self.world.feed(Event::Paused {
            until: None,
            reason: None,
        });
        self.check_all_cut();
        self.world.feed(Event::Resumed);
    }

    fn come_back(&mut self) {
        if self.world.connector.session().is_some() {
            return;
        }
        self.world.feed(Event::SignInRequested {
            method: SignInMethod::Browser,
            owner: Owner::Machine,
        });
        if let Some(attempt) = self.world.sign_ins.pop() {
            let session = session(self.world.now);
            let signed_in_ago = Duration::ZERO;
            self.world.feed(Event::SessionOpened {
                attempt,
                session,
                signed_in_ago,
                restored_from: None,
            });
            self.closed = false;
            self.heard_at = self.now();
        }
    }

    fn forget_all(&mut self) {
        self.words.clear();
        self.asked.clear();
    }

    /// Does what a tunnel does with a map: renews, or cuts.
    fn renew(&mut self) {
        let now = self.now();
        let mut ended = Vec::new();
        for permit in std::mem::take(&mut self.live) {
            match self.world.access.review(&permit, now) {
                Ok(renewed) => self.live.push(renewed),
                Err(denial) => ended.push((permit.flow().clone(), denial)),
            }
        }
        for (flow, denial) in ended {
            let cut = Some(denial);
            self.world.feed(Event::FlowClosed { flow, cut });
        }
    }

    fn note_questions(&mut self) {
        let now = self.now();
        let attempts = std::mem::take(&mut self.world.evaluations);
        let requests = std::mem::take(&mut self.world.requests);
        for (attempt, request) in attempts.into_iter().zip(requests) {
            self.asked.insert(attempt, (request.flow, now));
        }
    }

    fn check(&mut self) {
        self.renew();
        let now = self.now();
        if self.closed || self.heard_at + LEASE <= now {
            self.check_all_cut();
        }
        for permit in &self.live {
            let word = self.words.get(permit.flow());
            let word = word.unwrap_or_else(|| panic!("{}: nobody said yes", permit.flow()));
            assert!(permit.lease_ends() > now);
            assert!(
                permit.lease_ends() <= word.good_until,
                "{}: permitted until {:?}, but the policy's word holds until {:?}",
                permit.flow(),
                permit.lease_ends(),
                word.good_until
            );
            if let Some(shaken_at) = word.shaken_at {
                assert!(
                    permit.lease_ends() <= shaken_at + REVIEW,
                    "{}: goes on although its grounds changed at {shaken_at:?}",
                    permit.flow()
                );
            }
        }
    }

    /// Nothing is live and nothing opens.
    fn check_all_cut(&mut self) {
        self.renew();
        assert!(self.live.is_empty(), "{:?} outlives its permit", self.live);
        for flow in &self.flows {
            let verdict = self.world.access.decide(flow, self.now());
            assert!(matches!(verdict, Answer::Denied(_)), "{flow}: {verdict:?}");
        }
    }

    fn any_flow(&mut self) -> Flow {
        self.draw.of(&self.flows).unwrap().clone()
    }

    fn now(&self) -> Moment {
        self.world.now.moment
    }
}

/// A generator of the xorshift family: small, and the same everywhere.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(choices.len())
            .ok()
            .filter(|count| *count > 0)?;
        choices.get(usize::try_from(self.below(count)).ok()?)
    }
}

/// What the core gives live flows while it asks again.
const REVIEW: Duration = Duration::from_secs(1);

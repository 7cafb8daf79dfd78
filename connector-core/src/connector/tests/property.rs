//! For any sequence of events, no flow outlives its permit.
//!
//! The player feeds whatever can happen, in any order; the [oracle](self::oracle) listens,
//! and demands that the connector is never more generous than what was said.

mod oracle;

use std::collections::BTreeSet;
use std::io::Write as _;

use serde_json::Value;

use self::oracle::Oracle;
use super::signals::{LEASE, alice, device, following};
use super::trust::{agent, delegation, dev, elevation};
use super::*;
use crate::identity::Assurance;
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
    let mut met = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut play = Play::new(seed.wrapping_add(round.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        for _ in 0..STEPS {
            play.step();
        }
        for (event, count) in play.met {
            *met.entry(event).or_insert(0) += count;
        }
    }
    for event in EVENTS {
        let count = met.get(event).copied().unwrap_or(0_usize);
        assert!(count > 0, "{event} never met an open flow: {met:?}");
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

struct Play {
    world: World,
    oracle: Oracle,
    draw: Draw,
    flows: Vec<Flow>,
    /// The permits that the tunnel holds, renewed at each map as it does.
    live: Vec<Permit>,
    asked: Vec<Attempt>,
    unwritten: Vec<Attempt>,
    wished: Vec<Attempt>,
    is_control_plane_up: bool,
    is_pdp_up: bool,
    finding: Finding,
    version: u64,
    names: u64,
    /// How often each event met a flow that was open.
    met: BTreeMap<&'static str, usize>,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut world = World::signed_in();
        world.feed(Event::HostEnrolled("host-1".into()));
        world.feed(Event::ConfigurationAccepted(Box::new(following(2))));
        let own = (0..3)
            .map(|host| crate::catalogue::fixture::flow(&format!("h{host}.dev.corp.test"), 80));
        let agents = [agent("ab", 80), dev(agent("ab", 80)), agent("cd", 80)];
        let session = session(world.now);
        let oracle = Oracle::new(world.now, session.expires_at, following(2).expires_at);
        Self {
            oracle,
            world,
            draw: Draw(seed | 1),
            flows: own.chain(agents).collect(),
            live: vec![],
            asked: vec![],
            unwritten: vec![],
            wished: vec![],
            is_control_plane_up: true,
            is_pdp_up: true,
            finding: Finding::Pass,
            version: 2,
            names: 0,
            met: BTreeMap::new(),
        }
    }

    /// Does one random thing.
    fn step(&mut self) {
        match self.draw.below(32) {
            0..=7 => self.ask_and_open(),
            8..=14 => self.answer_some(),
            15..=17 => self.write_some(),
            18..=21 => self.pass(),
            22 => self.close_one(),
            23..=24 => self.answer_wishes(),
            25 => self.wish(),
            26..=27 => self.happen(),
            28 => self.happen_in_a_row(),
            _ => self.come_back(),
        }
        self.check();
    }

    /// A change seldom comes alone: the next one comes before the policy has answered.
    fn happen_in_a_row(&mut self) {
        for _ in 0..3 {
            self.happen();
            self.check();
            let time = Duration::from_millis(1 + self.draw.below(900));
            self.advance(time);
            self.check();
        }
    }

    /// Whatever changes what answers rest on, or ends them.
    fn happen(&mut self) {
        let event = *self.draw.of(&EVENTS).unwrap();
        if !self.live.is_empty() {
            *self.met.entry(event).or_insert(0) += 1;
        }
        match event {
            "assurance-level-change" => self.change_assurance(),
            "clocks" => self.change_wall_clock(),
            "configuration" => self.configure(),
            "control-plane" => self.is_control_plane_up = !self.is_control_plane_up,
            "credential-change" => {
                self.oracle.shake();
                self.signal(Signal::CredentialChange, &alice());
            }
            "device-compliance-change" => {
                let is_compliant = self.draw.below(2) == 0;
                self.oracle.comply(is_compliant, self.world.now.wall);
                self.signal(Signal::DeviceComplianceChange { is_compliant }, &device());
            }
            "network" => self.feed(Event::NetworkChanged(NetworkKind::Unknown)),
            "pause" => self.pause_or_resume(),
            "pdp" => self.is_pdp_up = !self.is_pdp_up,
            "policy" => {
                self.oracle.shake();
                let commit = "c2".into();
                self.feed(Event::PolicyChanged { commit });
            }
            "posture" => {
                let findings = [Finding::Pass, Finding::Fail, Finding::Unknown];
                self.finding = *self.draw.of(&findings).unwrap();
                self.measure();
            }
            "session-revoked" => {
                self.oracle.end_session();
                self.signal(Signal::SessionRevoked, &alice());
            }
            "sign-out" => {
                self.oracle.end_session();
                self.feed(Event::SignOutRequested);
            }
            "sleep" => self.sleep(),
            "token-claims-change" => self.change_groups(),
            "trust-revoked" => self.revoke_trust(),
            other => panic!("{other} is no event"),
        }
    }

    fn ask_and_open(&mut self) {
        let flow = self.any_flow();
        match self.world.access.decide(&flow, self.now()) {
            Answer::Undecided(question) => self.feed(Event::AccessRequested(question)),
            Answer::Permitted(permit) => {
                self.live.push(permit);
                self.feed(Event::FlowOpened(flow));
            }
            Answer::Denied(_) => {}
        }
    }

    fn answer_some(&mut self) {
        for _ in 0..=self.draw.below(6) {
            let Some(attempt) = self.draw.take(&mut self.asked) else {
                return;
            };
            let outcome = self.any_outcome();
            self.oracle.say(attempt, &outcome, self.world.now);
            let latency = Duration::ZERO;
            self.feed(Event::Evaluated {
                attempt,
                outcome,
                latency,
            });
            self.unwritten.push(attempt);
            if self.draw.below(8) > 0 {
                self.write_some();
            }
        }
    }

    fn any_outcome(&mut self) -> Result<Decision, PdpFailure> {
        if !self.is_pdp_up || self.draw.below(10) == 0 {
            return Err(PdpFailure::Unreachable);
        }
        if self.draw.below(10) == 0 {
            return no();
        }
        let window = Duration::from_secs(self.draw.below(100));
        Ok(Decision {
            lease: Some(Duration::from_secs(1 + self.draw.below(400))),
            offline: Some(Duration::from_secs(self.draw.below(3) * 400)),
            valid_until: (self.draw.below(4) == 0).then(|| self.world.now.wall + window),
            ..Decision::permitted()
        })
    }

    fn write_some(&mut self) {
        while let Some(attempt) = self.draw.take(&mut self.unwritten) {
            let written = self.draw.below(20) > 0;
            self.oracle.write(attempt, written);
            self.feed(Event::Recorded { attempt, written });
        }
    }

    fn pass(&mut self) {
        let longest = *self.draw.of(&[1_u64, 900, 5_000, 90_000]).unwrap();
        let end = self.now() + Duration::from_millis(1 + self.draw.below(longest));
        while self.now() < end {
            let step = end.since(self.now()).min(Duration::from_millis(250));
            self.advance(step);
            self.renew();
            if self.draw.below(40) == 0 {
                self.measure();
                self.be_heard();
            }
        }
    }

    /// The machine sleeps: nobody looks at anything, and then it is later.
    fn sleep(&mut self) {
        let longest = *self.draw.of(&[5_u64, 100, 1_000, 40_000]).unwrap();
        let time = Duration::from_secs(1 + self.draw.below(longest));
        self.advance(time);
    }

    fn change_wall_clock(&mut self) {
        let by = self.draw.below(2 * HOUR_MILLIS);
        let now = self.world.now.wall.unix_millis() + by;
        self.world.now.wall = WallTime::from_unix_millis(now.saturating_sub(HOUR_MILLIS));
    }

    fn be_heard(&mut self) {
        if self.is_control_plane_up {
            self.oracle.hear();
            self.feed(Event::SignalsHeard);
        }
    }

    fn measure(&mut self) {
        self.oracle.measure(self.finding);
        self.world.measure(self.finding);
        self.note_questions();
    }

    fn configure(&mut self) {
        if !self.is_control_plane_up {
            return;
        }
        self.version += 1;
        let mut next = following(self.version);
        if self.draw.below(2) == 0 {
            next.expires_at = self.now() + Duration::from_secs(1 + self.draw.below(200));
        }
        self.oracle.configure(next.expires_at);
        self.feed(Event::ConfigurationAccepted(Box::new(next)));
    }

    fn change_assurance(&mut self) {
        let level: Arc<str> = (*self.draw.of(&["aal1", "aal2", "aal3"]).unwrap()).into();
        self.oracle.shake();
        if self.world.connector.session().is_some() {
            self.oracle.assurance = Some(Arc::clone(&level));
        }
        let namespace = "NIST-AAL".into();
        let assurance = Arc::new(Assurance { namespace, level });
        self.signal(Signal::AssuranceLevelChange(assurance), &alice());
    }

    fn change_groups(&mut self) {
        let group: Arc<str> = (*self.draw.of(&["staff", "others"]).unwrap()).into();
        self.oracle.shake();
        if self.world.connector.session().is_some() {
            self.oracle.is_staff &= &*group == "staff";
        }
        let groups = Some(BTreeSet::from([group]));
        self.signal(Signal::TokenClaimsChange { groups }, &alice());
    }

    fn pause_or_resume(&mut self) {
        if self.oracle.is_paused() {
            self.oracle.resume();
            self.feed(Event::Resumed);
            return;
        }
        let length = Duration::from_secs(1 + self.draw.below(60));
        let until = (self.draw.below(2) == 0).then(|| self.now() + length);
        self.oracle.pause(until);
        let reason = None;
        self.feed(Event::Paused { until, reason });
    }

    fn wish(&mut self) {
        self.names += 1;
        let name: Arc<str> = format!("t{}", self.names).into();
        let duration = Duration::from_secs(1 + self.draw.below(120));
        let mut wish = if self.draw.below(3) == 0 {
            elevation()
        } else {
            delegation(0)
        };
        match &mut wish {
            Wish::Delegate(it) => {
                (it.reason, it.duration) = (Some(Arc::clone(&name)), duration);
                it.scope.insert("dev".into());
            }
            Wish::Elevate(it) => (it.reason, it.duration) = (Arc::clone(&name), duration),
        }
        let id = (&*name).into();
        self.feed(Event::TrustRequested { id, wish });
    }

    fn answer_wishes(&mut self) {
        while let Some(attempt) = self.draw.take(&mut self.wished) {
            let outcome = match self.draw.below(8) {
                0 => no(),
                1 => Err(PdpFailure::Unreachable),
                _ => yes(),
            };
            // What is written down at once comes into force at once.
            let is_yes = outcome.is_ok_and(|decision| decision.outcome.is_ok());
            let outcome = if is_yes { yes() } else { no() };
            self.world.feed(Event::TrustEvaluated { attempt, outcome });
            self.oracle.answer_wish(attempt, is_yes);
            let written = true;
            self.feed(Event::TrustRecorded { attempt, written });
        }
    }

    fn revoke_trust(&mut self) {
        let known: Vec<TrustId> = self.oracle.trusts.keys().cloned().collect();
        if let Some(id) = self.draw.of(&known) {
            self.oracle.end_trust(id);
            self.feed(Event::TrustRevoked(id.clone()));
        }
    }

    fn close_one(&mut self) {
        if let Some(permit) = self.draw.take(&mut self.live) {
            let flow = permit.flow().clone();
            self.feed(Event::FlowClosed { flow, cut: None });
        }
    }

    /// Whatever was lost comes back by and by: the session, the control plane, the policy.
    fn come_back(&mut self) {
        self.be_heard();
        self.measure();
        match self.draw.below(4) {
            0 => self.is_control_plane_up = true,
            1 => self.is_pdp_up = true,
            2 if self.oracle.is_paused() => self.pause_or_resume(),
            3 if self.world.connector.configuration().is_none() => self.configure(),
            _ => {}
        }
        if self.world.connector.session().is_some() {
            return;
        }
        self.feed(Event::SignInRequested {
            method: SignInMethod::Browser,
            owner: Owner::Machine,
        });
        if let Some(attempt) = self.world.sign_ins.pop() {
            self.names += 1;
            let session = Session {
                id: format!("s{}", self.names).as_str().into(),
                expires_at: self.now() + Duration::from_secs(1 + self.draw.below(2_000)),
                ..session(self.world.now)
            };
            self.oracle.begin_session(session.expires_at);
            self.feed(Event::SessionOpened {
                attempt,
                session,
                signed_in_ago: Duration::ZERO,
                restored_from: None,
            });
        }
    }

    fn signal(&mut self, signal: Signal, subject: &Value) {
        self.world.signal(signal, subject);
        self.note_questions();
    }

    fn feed(&mut self, event: Event) {
        self.world.feed(event);
        self.note_questions();
    }

    fn advance(&mut self, time: Duration) {
        // Whoever holds the map of before ends what is over without being told.
        self.renew_by(self.now() + time);
        self.world.advance(time);
        self.oracle.pass(self.now());
        self.note_questions();
    }

    fn note_questions(&mut self) {
        let attempts = std::mem::take(&mut self.world.evaluations);
        let requests = std::mem::take(&mut self.world.requests);
        for (attempt, request) in attempts.into_iter().zip(&requests) {
            self.oracle.put(attempt, request);
            self.asked.push(attempt);
        }
        for (attempt, request) in std::mem::take(&mut self.world.wishes) {
            self.oracle.put_wish(attempt, &request.wish);
            self.wished.push(attempt);
        }
    }

    fn renew(&mut self) {
        self.renew_by(self.now());
    }

    /// Does what a tunnel does with a map: renews, or cuts.
    fn renew_by(&mut self, now: Moment) {
        let mut ended = Vec::new();
        for permit in std::mem::take(&mut self.live) {
            match self.world.access.review(&permit, now) {
                Ok(renewed) => self.live.push(renewed),
                Err(denial) => ended.push((permit.flow().clone(), denial)),
            }
        }
        self.hold_to_the_word(now);
        for (flow, denial) in ended {
            let cut = Some(denial);
            self.feed(Event::FlowClosed { flow, cut });
        }
    }

    fn hold_to_the_word(&self, now: Moment) {
        for permit in &self.live {
            let (flow, ends) = (permit.flow(), permit.lease_ends());
            let until = self.oracle.until(flow);
            let until = until.unwrap_or_else(|| panic!("{flow}: nobody said yes"));
            assert!(now < ends && now < until, "{flow} outlives its permit");
            assert!(
                ends <= until,
                "{flow}: permitted until {ends:?}, but the policy's word holds until {until:?}",
            );
        }
    }

    fn check(&mut self) {
        self.renew();
        let is_closed = self.oracle.is_closed();
        assert!(!is_closed || self.live.is_empty(), "{:?}", self.live);
        for permit in &self.live {
            let flow = permit.flow();
            assert!(!self.oracle.is_cut(flow), "{flow} outlives a no");
        }
        for flow in &self.flows {
            if let Answer::Permitted(permit) = self.world.access.decide(flow, self.now()) {
                assert!(!is_closed, "{flow} opens although everything is closed");
                assert!(self.oracle.opens(flow), "{flow} opens, and nobody said yes");
                assert!(Some(permit.lease_ends()) <= self.oracle.until(flow));
            }
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
        (self.0 >> 11) % end
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let index = self.index(choices.len())?;
        choices.get(index)
    }

    fn take<T>(&mut self, choices: &mut Vec<T>) -> Option<T> {
        let index = self.index(choices.len())?;
        Some(choices.swap_remove(index))
    }

    fn index(&mut self, count: usize) -> Option<usize> {
        let count = u64::try_from(count).ok().filter(|count| *count > 0)?;
        usize::try_from(self.below(count)).ok()
    }
}

/// Everything that is drawn beside questions, answers, wishes and time.
const EVENTS: [&str; 16] = [
    "assurance-level-change",
    "clocks",
    "configuration",
    "control-plane",
    "credential-change",
    "device-compliance-change",
    "network",
    "pause",
    "pdp",
    "policy",
    "posture",
    "session-revoked",
    "sign-out",
    "sleep",
    "token-claims-change",
    "trust-revoked",
];

const ROUNDS: u64 = 60;
const STEPS: usize = 400;
const HOUR_MILLIS: u64 = 3_600_000;

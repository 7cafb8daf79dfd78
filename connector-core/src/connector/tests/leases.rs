use super::*;
use crate::authzen::{Difference, Opinion};

#[test]
fn the_policys_lease_counts_if_it_is_shorter_than_the_resources() {
    for (wanted, given) in [(60, 60), (3600, 300), (0, 1)] {
        let mut world = World::signed_in();
        let attempt = world.ask(&wiki(80));

        world.answer(
            attempt,
            permitted(|decision| decision.lease = Some(seconds(wanted))),
        );

        let permit = world.decide(&wiki(80)).unwrap();
        assert_eq!(permit.lease_ends().since(world.now.moment), seconds(given));
    }
}

#[test]
fn a_lease_that_is_shorter_than_the_pause_between_tries_is_renewed_again_and_again() {
    for lease in [1, 2, 5, 6] {
        let wanted = |decision: &mut Decision| decision.lease = Some(seconds(lease));
        let mut world = World::signed_in();
        let permit = world.open_with(&wiki(80), wanted);
        let end = world.now.moment + seconds(40);

        while world.now.moment < end {
            world.sleep(Duration::from_millis(250));
            world.measure(Finding::Pass);
            while let Some(attempt) = world.evaluations.pop() {
                world.answer(attempt, permitted(wanted));
            }
            let live = world.access.review(&permit, world.now.moment);
            assert!(live.is_ok(), "{lease} s: {live:?}");
        }
    }
}

#[test]
fn a_flow_is_put_to_the_policy_when_its_time_window_ends_and_a_no_ends_it() {
    let mut world = World::signed_in();
    let closing = world.now.wall + seconds(40);
    let permit = world.open_with(&wiki(80), |decision| decision.valid_until = Some(closing));

    world.sleep(seconds(39));
    assert!(
        world.evaluations.is_empty(),
        "asking earlier would change nothing"
    );
    assert!(world.decide(&wiki(80)).is_ok());
    world.sleep(seconds(1));

    assert!(world.decide(&wiki(80)).is_err(), "nothing opens any more");
    let attempt = world.take_evaluation();
    world.answer(attempt, no());
    assert_eq!(
        world.access.review(&permit, world.now.moment),
        Err(denied())
    );
}

#[test]
fn a_flow_goes_on_without_a_gap_if_the_policy_permits_it_beyond_the_window() {
    let mut world = World::signed_in();
    let closing = world.now.wall + seconds(40);
    let permit = world.open_with(&wiki(80), |decision| decision.valid_until = Some(closing));
    world.sleep(seconds(40));

    assert!(world.access.review(&permit, world.now.moment).is_ok());
    let attempt = world.take_evaluation();
    world.answer(attempt, yes());

    let renewed = world.access.review(&permit, world.now.moment).unwrap();
    assert!(renewed.lease_ends() > permit.lease_ends());
}

#[test]
fn a_window_ends_on_time_even_if_nobody_answers_or_the_clock_on_the_wall_is_set_back() {
    let mut world = World::signed_in();
    let closing = world.now.wall + seconds(40);
    let permit = world.open_with(&wiki(80), |decision| decision.valid_until = Some(closing));
    world.now.wall = WallTime::from_unix_millis(0);

    world.sleep(seconds(41));

    assert!(world.access.review(&permit, world.now.moment).is_err());
    assert!(permit.lease_ends().since(world.now.moment).is_zero());
}

#[test]
fn an_answer_that_was_overtaken_by_the_end_of_its_window_is_asked_for_once_more() {
    let mut world = World::signed_in();
    let over = world.now.wall;
    let attempt = world.ask(&wiki(80));

    world.answer(
        attempt,
        permitted(|decision| decision.valid_until = Some(over)),
    );
    let attempt = world.take_evaluation();
    assert!(world.decide(&wiki(80)).is_err());
    world.answer(
        attempt,
        permitted(|decision| decision.valid_until = Some(over)),
    );

    assert!(world.evaluations.is_empty());
    assert_eq!(world.decide(&wiki(80)), Err(Reason::PdpMalformed.into()));
}

#[test]
fn a_flow_goes_on_while_the_answer_of_a_review_is_asked_for_once_more() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));
    let over = world.now.wall;
    world.measure(Finding::Fail);

    let attempt = world.take_evaluation();
    world.answer(
        attempt,
        permitted(|decision| decision.valid_until = Some(over)),
    );

    let reviewed = world.access.review(&permit, world.now.moment).unwrap();
    assert_eq!(reviewed.lease_ends(), world.now.moment + seconds(1));
    let attempt = world.take_evaluation();
    world.answer(attempt, permitted(|_| {}));
    let renewed = world.access.review(&permit, world.now.moment).unwrap();
    assert!(renewed.lease_ends() > reviewed.lease_ends());
}

#[test]
fn a_candidate_that_does_not_agree_is_written_down_once_a_lease_and_changes_nothing() {
    let mut world = World::signed_in();
    let opinion = |permitted| Opinion {
        permitted,
        policy: None,
        commit: None,
    };
    let difference = Arc::new(Difference {
        active: opinion(true),
        candidate: opinion(false),
    });
    let differing = || permitted(|decision| decision.difference = Some(Arc::clone(&difference)));
    let mut written = Vec::new();

    for _ in 0..3 {
        let attempt = world.ask(&wiki(80));
        world.answer(attempt, differing());
        assert!(world.decide(&wiki(80)).is_ok());
        let of_its_kind = world.records.iter().filter(
            |record| matches!(&record.outcome, Outcome::Differs(found) if *found == difference),
        );
        written.push(of_its_kind.count());
        world.feed(Event::PolicyChanged {
            commit: "another".into(),
        });
        if written.len() == 2 {
            world.sleep(seconds(300));
        }
    }

    assert_eq!(written, [1, 1, 2]);
}

#[test]
fn what_may_go_on_offline_does_for_its_time_and_no_longer() {
    let mut world = World::signed_in();
    let permit = world.open_with(&wiki(80), |decision| decision.offline = Some(seconds(1000)));
    let opened_at = world.now.moment;

    let ended = world.fail_until_the_end_of(&permit);

    assert_eq!(ended.since(opened_at), seconds(1000));
    assert_eq!(world.last_denial(&permit), Reason::Offline);
    let permitted = world
        .records
        .iter()
        .filter(|record| matches!(record.outcome, Outcome::Permitted { .. }));
    assert_eq!(permitted.count(), 4, "each extension is written down");
}

#[test]
fn what_may_not_go_on_offline_ends_with_its_lease_and_says_why() {
    let mut world = World::signed_in();
    let permit = world.open_with(&wiki(80), |_| {});
    let opened_at = world.now.moment;

    let ended = world.fail_until_the_end_of(&permit);

    assert_eq!(ended.since(opened_at), seconds(300));
    assert_eq!(world.last_denial(&permit), Reason::Offline);
}

#[test]
fn an_allowance_does_not_hold_what_lost_its_grounds() {
    let mut world = World::signed_in();
    let permit = world.open_with(&wiki(80), |decision| decision.offline = Some(seconds(1000)));

    world.measure(Finding::Fail);
    let attempt = world.take_evaluation();
    world.answer(attempt, Err(PdpFailure::Unreachable));

    assert_eq!(
        world.access.review(&permit, world.now.moment),
        Err(Reason::PdpUnreachable.into())
    );
}

#[test]
fn a_policy_that_can_be_asked_again_renews_what_went_on_offline() {
    let mut world = World::signed_in();
    let permit = world.open_with(&wiki(80), |decision| decision.offline = Some(seconds(1000)));
    while world.now.moment < permit.lease_ends() + seconds(100) {
        world.sleep_measuring(seconds(1));
        while let Some(attempt) = world.evaluations.pop() {
            world.answer(attempt, Err(PdpFailure::Unreachable));
        }
    }
    let extended = world.access.review(&permit, world.now.moment).unwrap();

    world.sleep_measuring(extended.lease_ends().since(world.now.moment) - seconds(30));
    let attempt = world.take_evaluation();
    world.answer(
        attempt,
        permitted(|decision| decision.offline = Some(seconds(1000))),
    );

    let renewed = world.access.review(&permit, world.now.moment).unwrap();
    assert_eq!(renewed.lapse().reason, Reason::LeaseExpired);
    assert!(renewed.lease_ends() > extended.lease_ends());
}

#[test]
fn many_flows_are_renewed_each_in_its_own_time() {
    let mut world = World::signed_in();
    let flows: Vec<Flow> = (0..200)
        .map(|host| crate::catalogue::fixture::flow(&format!("h{host}.dev.corp.test"), 80))
        .collect();
    for flow in &flows {
        let _ = world.open(flow);
        world.sleep_measuring(Duration::from_millis(100));
    }

    let mut asked = 0;
    for _ in 0..600 {
        world.sleep_measuring(seconds(1));
        for attempt in std::mem::take(&mut world.evaluations) {
            asked += 1;
            world.answer(attempt, yes());
        }
    }

    assert!(flows.iter().all(|flow| world.decide(flow).is_ok()));
    assert!(
        (400..=600).contains(&asked),
        "{asked} renewals in 600 s of leases of 300 s"
    );
}

#[test]
fn what_was_permitted_before_a_review_does_not_count_again_when_the_answer_after_it_is_over() {
    let mut world = World::signed_in();
    let permit = world.open(&wiki(80));
    let _unanswered = world.open(&wiki(8443));
    world.feed(Event::PolicyChanged {
        commit: "c2".into(),
    });
    let asked = world
        .requests
        .iter()
        .rev()
        .zip(world.evaluations.iter().rev());
    let (_, attempt) = asked
        .into_iter()
        .find(|(request, _)| request.flow == wiki(80))
        .unwrap();
    let window_ends = world.now.wall + Duration::from_millis(300);
    world.answer(*attempt, permitted(|it| it.valid_until = Some(window_ends)));
    world.feed(Event::FlowClosed {
        flow: wiki(80),
        cut: None,
    });

    world.sleep(Duration::from_millis(400));

    let reviewed = world.access.review(&permit, world.now.moment);
    assert_eq!(reviewed, Err(Reason::LeaseExpired.into()));
}

impl World {
    fn open_with(&mut self, flow: &Flow, change: impl FnOnce(&mut Decision)) -> Permit {
        let attempt = self.ask(flow);
        self.answer(attempt, permitted(change));
        let permit = self.decide(flow).unwrap();
        self.feed(Event::FlowOpened(flow.clone()));
        permit
    }

    /// Lets every question fail from now on, and returns when the flow ended.
    fn fail_until_the_end_of(&mut self, permit: &Permit) -> Moment {
        loop {
            match self.access.review(permit, self.now.moment) {
                Ok(_) => {}
                Err(_) => return self.now.moment,
            }
            self.last = self.access.review(permit, self.now.moment).ok();
            self.sleep_measuring(seconds(1));
            while let Some(attempt) = self.evaluations.pop() {
                self.answer(attempt, Err(PdpFailure::Unreachable));
            }
        }
    }

    /// Returns what the tunnel says when the permit that it last had runs out.
    fn last_denial(&self, permit: &Permit) -> Reason {
        self.last.as_ref().unwrap_or(permit).lapse().reason
    }
}

#[expect(clippy::unnecessary_wraps, reason = "reads as the adapter's answer")]
fn permitted(change: impl FnOnce(&mut Decision)) -> Result<Decision, PdpFailure> {
    let mut decision = Decision::permitted();
    change(&mut decision);
    Ok(decision)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

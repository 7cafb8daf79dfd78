use connector_ipc::GatewayState;

use super::*;
use crate::sample::{CLOCK, connected, managed, refusal, request, signed_out, site, unmet};
use crate::texts::Language;

#[test]
fn what_was_there_before_is_no_news() {
    let mut known = unmet(&[Finding::Fail]);
    known.refused = vec![refusal("d-1", "wiki:80")];
    let mut world = World::default();

    assert_eq!(world.between(None, Some(&known)), NOTHING);
    assert_eq!(world.between(Some(&known), Some(&known)), NOTHING);
    assert_eq!(world.between(Some(&known), None), NOTHING);
}

#[test]
fn a_refusal_is_told_with_its_reason_and_not_again_for_the_same_target() {
    let before = connected();
    let mut after = connected();
    after.refused = vec![refusal("d-1", "wiki:80"), refusal("d-2", "wiki:80")];
    let mut later = after.clone();
    later.refused.push(refusal("d-3", "wiki:80"));
    let mut world = World::default();

    let first = world.notices(Some(&before), Some(&after));
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].title, "“wiki:80” was refused");
    assert_eq!(first[0].body, "The policy says no. Ask Bob.");
    assert_eq!(world.between(Some(&after), Some(&later)), NOTHING);
    world.now += REPEATING;
    assert_eq!(world.between(Some(&after), Some(&later)).len(), 1);
}

#[test]
fn what_somebody_only_asked_about_is_no_refusal() {
    let mut after = connected();
    after.refused = vec![refusal("d-1", "wiki:80")];
    after.refused[0].said.hypothetical = true;

    assert_eq!(
        World::default().between(Some(&connected()), Some(&after)),
        NOTHING
    );
}

#[test]
fn while_signed_out_no_refusal_is_told() {
    let mut after = signed_out();
    after.refused = vec![refusal("d-1", "wiki:80")];

    assert_eq!(
        World::default().between(Some(&signed_out()), Some(&after)),
        NOTHING
    );
}

#[test]
fn a_flood_of_refusals_hides_nothing_else() {
    let mut flooded = connected();
    let refused = (0..50).map(|number| refusal(&format!("d-{number}"), &format!("h{number}:80")));
    flooded.refused = refused.collect();
    let mut failing = unmet(&[Finding::Fail]);
    failing.refused = flooded.refused.clone();
    let mut world = World::default();

    let told = world.between(Some(&connected()), Some(&flooded));
    let then = world.between(Some(&flooded), Some(&failing));

    assert_eq!((told.len(), then.len()), (3, 1), "{then:?}");
}

#[test]
fn a_flood_is_told_as_three_messages_a_minute() {
    let flood = |first: u32| {
        let mut known = connected();
        let numbers = first..first + 50;
        let refused =
            numbers.map(|number| refusal(&format!("d-{number}"), &format!("h{number}:80")));
        known.refused = refused.collect();
        known
    };
    let mut world = World::default();

    assert_eq!(world.between(Some(&connected()), Some(&flood(0))).len(), 3);
    world.now += 30;
    assert_eq!(world.between(Some(&flood(0)), Some(&flood(50))), NOTHING);
    world.now += 31;
    assert_eq!(world.between(Some(&flood(50)), Some(&flood(100))).len(), 3);
}

#[test]
fn posture_lost_says_what_to_do_and_regained_is_told_to_who_was_told_of_the_loss() {
    let (fine, failing) = (connected(), unmet(&[Finding::Unknown, Finding::Fail]));
    let mut world = World::default();

    let lost = world.notices(Some(&fine), Some(&failing));
    assert_eq!(lost[0].body, "Check 1 passes. What to do: Mend 1.");
    assert!(lost[0].is_urgent);
    assert_eq!(
        world.between(Some(&failing), Some(&fine)),
        ["This device is in order again"]
    );
    assert_eq!(
        world.between(Some(&fine), Some(&failing)),
        NOTHING,
        "it flaps"
    );
    assert_eq!(
        World::default().between(Some(&failing), Some(&fine)),
        NOTHING
    );
}

#[test]
fn a_session_that_ends_soon_is_told_once_with_a_way_to_go_on() {
    let known = connected();
    let mut world = World {
        now: CLOCK.now + 8 * 3600 - SOON - 1,
        ..World::default()
    };
    assert_eq!(world.between(Some(&known), Some(&known)), NOTHING);

    world.now += 1;
    let soon = world.notices(Some(&known), Some(&known));
    world.now += 60;

    assert_eq!(soon[0].title, "Your session ends in 10 minutes");
    assert_eq!(soon[0].offer.as_ref().unwrap().1, Action::SignIn);
    assert_eq!(world.between(Some(&known), Some(&known)), NOTHING);
}

#[test]
fn the_end_of_a_session_is_told_unless_the_person_ended_it() {
    let mut world = World::default();
    assert_eq!(
        world.between(Some(&connected()), Some(&signed_out())),
        ["You are signed out"]
    );

    let mut world = World::default();
    world.notices.person_signs_out(CLOCK);
    assert_eq!(
        world.between(Some(&connected()), Some(&signed_out())),
        NOTHING
    );
}

#[test]
fn a_gateway_that_is_lost_is_told_to_who_used_it_however_slowly_it_goes() {
    let mut using = connected();
    using.status.tunnel.sites[0].in_use = true;
    let with = |state, in_use| {
        let mut known = connected();
        known.status.tunnel.sites = vec![site("hq", state)];
        known.status.tunnel.sites[0].in_use = in_use;
        known
    };
    let (calling, down) = (
        with(GatewayState::Connecting, true),
        with(GatewayState::Down, false),
    );

    let mut world = World::default();
    assert_eq!(world.between(Some(&using), Some(&using)), NOTHING);
    assert_eq!(world.between(Some(&using), Some(&calling)), NOTHING);
    world.now += 5;
    assert_eq!(
        world.between(Some(&calling), Some(&down)),
        ["“hq” does not answer any more"]
    );
    assert_eq!(world.between(Some(&down), Some(&down)), NOTHING);

    let mut idle = World::default();
    idle.between(Some(&connected()), Some(&connected()));
    assert_eq!(idle.between(Some(&connected()), Some(&down)), NOTHING);
    let mut elsewhere = connected();
    elsewhere.status.tunnel.open_flows = 1;
    let mut other = World::default();
    other.between(Some(&elsewhere), Some(&elsewhere));
    assert_eq!(other.between(Some(&elsewhere), Some(&down)), NOTHING);
}

#[test]
fn an_answer_to_a_request_is_told_once() {
    let with = |status| {
        let mut known = connected();
        known.requests = vec![request("r-1", status)];
        known
    };
    let pending = with(AccessRequestStatus::Pending);
    let mut world = World::default();

    let approved = with(AccessRequestStatus::Approved);
    let told = world.notices(Some(&pending), Some(&approved));
    assert_eq!(told[0].body, "The wiki: granted for another 60 minutes");
    assert_eq!(world.between(Some(&pending), Some(&approved)), NOTHING);
    let denied = with(AccessRequestStatus::Denied);
    assert_eq!(
        World::default()
            .between(Some(&pending), Some(&denied))
            .len(),
        1
    );
}

#[test]
fn new_settings_are_told_but_not_the_first_ones() {
    let mut none = connected();
    none.status.configuration_version = None;
    let mut new = connected();
    new.status.configuration_version = Some(18);

    let mut world = World::default();
    assert_eq!(world.between(Some(&none), Some(&connected())), NOTHING);
    assert_eq!(world.between(Some(&connected()), Some(&new)).len(), 1);
}

#[test]
fn settings_that_the_administrator_changes_are_told_and_those_of_the_start_are_not() {
    let mut first = connected();
    first.status.managed = Some(managed());
    first.status.managed.as_mut().unwrap().changes = 0;
    let mut changed = connected();
    changed.status.managed = Some(managed());
    let mut world = World::default();

    assert_eq!(world.between(Some(&first), Some(&first)), NOTHING);
    let notices = world.notices(Some(&first), Some(&changed));

    assert_eq!(notices.len(), 1);
    assert!(notices[0].body.starts_with("Corp IT has changed"));
    assert_eq!(world.between(Some(&changed), Some(&changed)), NOTHING);
}

#[test]
fn settings_for_which_the_service_starts_anew_are_told_when_it_answers_again() {
    let mut before = connected();
    before.status.managed = Some(managed());
    let mut anew = before.clone();
    anew.status.managed.as_mut().unwrap().changes += 1;
    let mut started = before.clone();
    started.status.managed.as_mut().unwrap().changes = 0;
    let mut world = World::default();

    assert_eq!(world.between(None, Some(&before)), NOTHING);
    assert_eq!(world.between(Some(&before), None), NOTHING);
    assert_eq!(world.between(None, Some(&anew)).len(), 1);
    assert_eq!(world.between(Some(&anew), None), NOTHING);
    assert_eq!(world.between(None, Some(&started)), NOTHING);
}

const NOTHING: &[&str] = &[];

struct World {
    notices: Notices,
    now: i64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            notices: Notices::default(),
            now: CLOCK.now,
        }
    }
}

impl World {
    fn notices(&mut self, before: Option<&Known>, after: Option<&Known>) -> Vec<Notice> {
        let snapshot = |known: Option<&Known>| match known {
            Some(known) => Snapshot::Running(Box::new(known.clone())),
            None => Snapshot::NotRunning,
        };
        let clock = Clock {
            now: self.now,
            ..CLOCK
        };
        let texts = Texts::new(Language::English);
        self.notices
            .between(&snapshot(before), &snapshot(after), &texts, clock)
    }

    fn between(&mut self, before: Option<&Known>, after: Option<&Known>) -> Vec<String> {
        let notices = self.notices(before, after);
        notices.into_iter().map(|notice| notice.title).collect()
    }
}

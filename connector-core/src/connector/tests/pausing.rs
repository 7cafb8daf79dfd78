//! Switching off, within the administrator's rules and by a code, in a whole world.

use super::*;
use crate::audit::ResumedBy;
use crate::overriding::OverrideGrant;
use crate::pausing::PauseRules;

#[test]
fn what_is_always_on_is_not_switched_off_and_what_was_off_is_on_again() {
    let mut world = World::signed_in();
    world.feed(paused(None));
    assert_eq!(world.connector.standing(), Standing::Paused);

    world.rules(always_on());
    assert_eq!(world.connector.standing(), Standing::Ready);
    assert!(world.tunnel.is_some());
    world.feed(paused(Some(world.now.moment + MINUTE)));

    assert_eq!(world.connector.standing(), Standing::Ready);
    assert_eq!(
        world.protection.last(),
        Some(&ProtectionChange::Resumed(ResumedBy::Administrator))
    );
}

#[test]
fn a_code_switches_off_for_its_time_even_what_is_always_on() {
    let mut world = World::signed_in();
    world.rules(always_on());

    world.feed(overridden());
    assert_eq!(world.decide(&wiki(80)), Err(Reason::Paused.into()));
    assert_eq!(world.tunnel, None);
    world.rules(always_on());
    world.advance(MINUTE * 30 - Duration::from_secs(1));
    assert_eq!(world.connector.standing(), Standing::Paused);
    world.advance(Duration::from_secs(1));

    assert_eq!(world.connector.standing(), Standing::Ready);
    let changes = &world.protection[world.protection.len() - 2..];
    assert!(
        matches!(changes, [ProtectionChange::Overridden { code, .. }, ProtectionChange::Resumed(ResumedBy::Time)] if &**code == "code-1"),
        "{changes:?}"
    );
}

#[test]
fn a_code_is_used_up_by_switching_on() {
    let mut world = World::signed_in();
    world.rules(always_on());
    world.feed(overridden());

    world.feed(Event::Resumed);
    world.feed(paused(None));

    assert_eq!(world.connector.standing(), Standing::Ready);
}

#[test]
fn a_changed_clock_does_not_stretch_what_a_code_allows() {
    let mut world = World::signed_in();
    world.rules(always_on());
    world.feed(overridden());

    world.now.wall = WallTime::from_unix_millis(0);
    world.advance(MINUTE * 30);

    assert_eq!(world.connector.standing(), Standing::Ready);
}

#[test]
fn a_person_cannot_turn_what_a_code_allows_into_a_pause_without_end() {
    let mut world = World::signed_in();
    world.feed(overridden());

    world.feed(paused(None));

    assert_eq!(
        world.connector.paused_until(),
        Some(world.now.moment + MINUTE * 30)
    );
}

#[test]
fn a_code_opens_also_while_nobody_is_signed_in() {
    let mut world = World::signed_in();
    world.feed(Event::SignOutRequested);
    world.feed(paused(None));
    assert_eq!(
        world.access.closed().map(|denial| denial.reason),
        Some(Reason::SignedOut)
    );

    world.feed(overridden());

    assert_eq!(
        world.access.closed().map(|denial| denial.reason),
        Some(Reason::Paused)
    );
    assert_eq!(world.connector.standing(), Standing::Paused);
}

#[test]
fn a_limit_that_comes_later_shortens_the_pause() {
    let mut world = World::signed_in();
    world.feed(paused(None));

    world.rules(PauseRules {
        limit: Some(MINUTE * 10),
        needs_reason: true,
        ..PauseRules::default()
    });

    assert_eq!(
        world.connector.paused_until(),
        Some(world.now.moment + MINUTE * 10)
    );
}

#[test]
fn whoever_switches_off_again_does_not_lengthen_a_limited_pause() {
    let mut world = World::signed_in();
    world.rules(PauseRules {
        limit: Some(MINUTE * 10),
        ..PauseRules::default()
    });
    world.feed(paused(None));
    let end = world.connector.paused_until();

    world.advance(MINUTE);
    world.feed(paused(None));

    assert_eq!(world.connector.paused_until(), end);
}

#[test]
fn what_changed_is_written_down_and_the_rules_of_the_start_are_not() {
    let mut world = World::signed_in();
    world.rules(PauseRules::default());
    assert!(world.protection.is_empty());

    let rules = PauseRules {
        managed_by: Some("Corp IT".into()),
        ..always_on()
    };
    let keys = vec!["always_on.enabled".into()];
    world.feed(Event::PauseRulesChanged {
        rules,
        keys: keys.clone(),
    });

    assert_eq!(
        world.protection,
        [ProtectionChange::SettingsChanged {
            keys,
            managed_by: Some("Corp IT".into())
        }]
    );
}

impl World {
    fn rules(&mut self, rules: PauseRules) {
        self.feed(Event::PauseRulesChanged {
            rules,
            keys: Vec::new(),
        });
    }
}

fn always_on() -> PauseRules {
    PauseRules {
        is_always_on: true,
        ..PauseRules::default()
    }
}

fn paused(until: Option<Moment>) -> Event {
    Event::Paused {
        until,
        reason: None,
    }
}

fn overridden() -> Event {
    Event::Overridden {
        grant: OverrideGrant {
            code: "code-1".into(),
            by: "Help desk".into(),
            reason: "Hotel network".into(),
            length: MINUTE * 30,
        },
        reason: "The portal does not open".into(),
    }
}

const MINUTE: Duration = Duration::from_secs(60);

//! What is sent in the company's name and not followed.

use super::*;

#[test]
fn the_first_is_a_line_of_its_own_and_one_line_tells_of_those_that_follow() {
    let mut world = World::signed_in();

    for number in 0..1000 {
        world.reject_policies(&format!("head {number}"));
    }
    world.reject_event("jti-1");
    let at_once = counts(&world);
    world.sleep(Duration::from_secs(61));

    assert_eq!(at_once, [1, 1]);
    assert_eq!(counts(&world), [1, 1, 999]);
    let last = &world.rejections[2];
    let problem = Rejected::Policies {
        problem: "head 999".into(),
    };
    assert_eq!(last.rejected, problem);
    assert!(last.time < world.now.wall, "the last one's own time");
    world.sleep(Duration::from_secs(200));
    assert_eq!(counts(&world), [1, 1, 999], "nothing is told twice");
}

#[test]
fn after_a_quiet_span_it_is_news_again() {
    let mut world = World::signed_in();
    world.reject_event("jti-1");
    world.sleep(Duration::from_secs(61));

    world.reject_event("jti-2");

    assert_eq!(counts(&world), [1, 1]);
}

#[test]
fn what_was_counted_is_told_when_the_service_stops() {
    let mut world = World::signed_in();
    for name in ["jti-1", "jti-2", "jti-3"] {
        world.reject_event(name);
    }

    world.feed(Event::Stopping);

    assert_eq!(counts(&world), [1, 2]);
}

fn counts(world: &World) -> Vec<u64> {
    world.rejections.iter().map(|record| record.count).collect()
}

impl World {
    fn reject_policies(&mut self, problem: &str) {
        let problem = problem.into();
        self.feed(Event::Rejected(Rejected::Policies { problem }));
    }

    fn reject_event(&mut self, name: &str) {
        self.feed(Event::Rejected(Rejected::SecurityEvent {
            name: name.into(),
            error: "invalid_request".into(),
            problem: "it is no token".into(),
        }));
    }
}

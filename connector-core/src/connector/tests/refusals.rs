//! Programs that are refused over and over.

use super::*;

#[test]
fn the_first_refusals_are_lines_of_their_own_and_one_line_tells_of_the_rest() {
    let mut world = World::signed_in();
    world.records.clear();

    world.refuse(&wiki(81), 50);
    let at_once = world.records.len();
    world.sleep(Duration::from_secs(11));

    assert_eq!(at_once, 8);
    assert_eq!(world.records.len(), 9);
    let summary = world.records[8].repetition.unwrap();
    assert_eq!((summary.count, summary.is_mixed), (42, false));
    assert!(
        world.records[8].time < world.now.wall,
        "the last one's own time"
    );
}

#[test]
fn a_program_that_goes_on_leaves_one_line_for_each_span_and_a_quiet_one_none() {
    let mut world = World::signed_in();
    world.refuse(&wiki(81), 9);
    world.sleep(Duration::from_secs(11));
    world.records.clear();

    world.refuse(&wiki(81), 30);
    world.sleep(Duration::from_secs(11));
    let busy = world.records.len();
    world.sleep(Duration::from_secs(60));

    assert_eq!(busy, 1);
    assert_eq!(world.records[0].repetition.unwrap().count, 30);
    assert_eq!(world.records.len(), 1);
    world.refuse(&wiki(81), 1);
    assert_eq!(world.records.len(), 2, "after a pause it is news again");
}

#[test]
fn refusals_of_more_kinds_than_can_be_told_apart_are_counted_together() {
    let mut world = World::signed_in();
    world.records.clear();

    for port in 1..=400 {
        world.refuse(&wiki(1000 + port), 1);
    }
    let at_once = world.records.len();
    world.sleep(Duration::from_secs(11));

    assert_eq!(at_once, 256);
    assert_eq!(world.records.len(), 257);
    let summary = world.records[256].repetition.unwrap();
    assert_eq!((summary.count, summary.is_mixed), (144, true));
}

#[test]
fn what_was_held_back_is_told_before_the_service_ends() {
    let mut world = World::signed_in();
    world.refuse(&wiki(81), 20);
    world.records.clear();

    world.feed(Event::Stopping);

    let told: u64 = world
        .records
        .iter()
        .filter_map(|record| record.repetition)
        .map(|repetition| repetition.count)
        .sum();
    assert_eq!(told, 12);
}

impl World {
    fn refuse(&mut self, flow: &Flow, times: u32) {
        for _ in 0..times {
            let (flow, denial) = (flow.clone(), Reason::PortNotOffered.into());
            self.feed(Event::FlowRefused { flow, denial });
        }
    }
}

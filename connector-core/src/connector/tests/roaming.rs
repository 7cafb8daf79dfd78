//! Another kind of network, in a whole world.

use super::trust::elevation;
use super::*;

#[test]
fn every_question_and_record_names_the_network_of_its_time() {
    let mut world = World::signed_in();
    let _ = world.open(&wiki(80));
    assert_eq!(world.requests.pop().unwrap().network, NetworkKind::Unknown);

    world.feed(Event::NetworkChanged(NetworkKind::Wired));

    assert_eq!(world.requests.pop().unwrap().network, NetworkKind::Wired);
    let attempt = world.take_evaluation();
    world.answer(attempt, no());
    let record = world.records.pop().unwrap();
    assert_eq!(record.network, NetworkKind::Wired);
    assert!(world.decide(&wiki(80)).is_err());
}

#[test]
fn an_answer_to_what_was_asked_from_another_kind_of_network_is_not_taken() {
    let mut world = World::signed_in();
    world.feed(Event::NetworkChanged(NetworkKind::Wired));
    let before = world.ask(&wiki(80));

    world.feed(Event::NetworkChanged(NetworkKind::Wireless));
    world.answer(before, yes());

    assert!(world.decide(&wiki(80)).is_err());
    let after = world.take_evaluation();
    world.answer(after, yes());
    assert!(world.decide(&wiki(80)).is_ok());
}

#[test]
fn an_answer_that_is_being_written_down_counts_in_its_kind_of_network_alone() {
    let mut world = World::signed_in();
    let attempt = world.ask(&wiki(80));
    world.feed(Event::Evaluated {
        attempt,
        outcome: yes(),
        latency: Duration::ZERO,
    });

    world.feed(Event::NetworkChanged(NetworkKind::Cellular));
    world.feed(Event::Recorded {
        attempt,
        written: true,
    });

    assert!(world.decide(&wiki(80)).is_err());
}

#[test]
fn an_elevation_is_asked_about_again_in_another_kind_of_network_only() {
    let mut world = World::signed_in();
    world.grant("e-1", elevation());
    world.wishes.clear();

    world.feed(Event::NetworkChanged(NetworkKind::Unknown));
    assert!(world.wishes.is_empty());
    world.feed(Event::NetworkChanged(NetworkKind::Wireless));

    let (attempt, request) = world.wishes.pop().expect("it is asked about again");
    assert_eq!(request.network, NetworkKind::Wireless);
    let outcome = no();
    world.feed(Event::TrustEvaluated { attempt, outcome });
    assert_eq!(world.connector.granted().count(), 0);
}

use std::collections::BTreeSet;

use axum::response::IntoResponse;

use super::*;
use crate::company::Level;

#[test]
fn an_approved_request_grants_until_its_time_is_over() {
    let mut requests = Requests::default();
    let task = requests.ask(plea("payroll"), &rules(), 100).unwrap();
    assert_eq!(task.status, GrantStatus::Pending);
    assert_eq!(task.expires_at, Some(100 + PATIENCE));
    assert!(requests.grants(&rules()).is_empty());

    let approved = requests.approve(&task.id, 200).unwrap();

    assert_eq!(approved.status, GrantStatus::Approved);
    assert_eq!(approved.expires_at, Some(260));
    let grants = requests.grants(&rules());
    assert_eq!(grants.len(), 1);
    assert_eq!((&*grants[0].person, grants[0].until), ("alice", 260));
    assert!(grants[0].checks.contains("demo-tool"), "{grants:?}");
    assert!(!requests.end_lapsed(259));
    assert!(requests.end_lapsed(260));
    assert!(requests.grants(&rules()).is_empty());
    assert_eq!(requests.of("alice")[0].status, GrantStatus::Expired);
    assert!(requests.of("bob").is_empty());
}

#[test]
fn a_denied_request_grants_nothing_and_one_that_was_approved_can_be_taken_back() {
    let mut requests = Requests::default();
    let first = requests.ask(plea("payroll"), &rules(), 0).unwrap();
    requests.deny(&first.id, 1).unwrap();
    assert_eq!(status(requests.approve(&first.id, 2).unwrap_err()), 404);

    let second = requests.ask(plea("payroll"), &rules(), 3).unwrap();
    requests.approve(&second.id, 4).unwrap();
    requests.deny(&second.id, 5).unwrap();

    assert!(requests.grants(&rules()).is_empty());
    let states: Vec<GrantStatus> = requests.of("alice").iter().map(|it| it.status).collect();
    assert_eq!(states, [GrantStatus::Denied, GrantStatus::Denied]);
}

#[test]
fn a_request_that_nobody_answers_lapses_after_a_day() {
    let mut requests = Requests::default();
    let task = requests.ask(plea("payroll"), &rules(), 0).unwrap();

    let late = requests.approve(&task.id, PATIENCE).unwrap_err();

    assert_eq!(status(late), 404);
    assert_eq!(requests.of("alice")[0].status, GrantStatus::Expired);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut requests = Requests::default();
    let wrong = |change: fn(&mut Plea)| {
        let mut plea = plea("payroll");
        change(&mut plea);
        plea
    };
    for (plea, expected) in [
        (wrong(|plea| plea.reason = " ".to_owned()), 400),
        (wrong(|plea| plea.reason = "a\nb".to_owned()), 400),
        (wrong(|plea| plea.reason = "x".repeat(MAX_REASON + 1)), 400),
        (wrong(|plea| plea.seconds = 0), 400),
        (wrong(|plea| plea.seconds = LONGEST + 1), 400),
        (wrong(|plea| plea.seconds = u64::MAX), 400),
        (plea("wiki"), 403),
        (plea("nowhere"), 403),
    ] {
        let refusal = requests.ask(plea.clone(), &rules(), 0).unwrap_err();

        assert_eq!(status(refusal), expected, "{plea:?}");
    }
    requests.ask(plea("payroll"), &rules(), 0).unwrap();
    let again = requests.ask(plea("payroll"), &rules(), 1).unwrap_err();
    assert_eq!(status(again), 409);
}

#[test]
fn what_is_over_makes_room_and_what_is_open_does_not() {
    let mut requests = Requests::default();
    for number in 0..MAX_KEPT + 10 {
        let task = requests.ask(plea("payroll"), &rules(), 0).unwrap();
        if number < MAX_KEPT + 9 {
            requests.deny(&task.id, 0).unwrap();
        }
    }

    assert_eq!(requests.by_number.len(), MAX_KEPT);
    assert_eq!(requests.of("alice")[0].status, GrantStatus::Pending);
    assert_eq!(requests.of("alice").len(), MAX_SHOWN);
}

fn plea(resource: &str) -> Plea {
    Plea {
        person: "alice".to_owned(),
        resource: resource.to_owned(),
        reason: "Pay day".to_owned(),
        seconds: 60,
    }
}

fn rules() -> Vec<Rule> {
    let set = |words: &[&str]| -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    };
    let rule = |id: &str, resource, approver: Option<&str>| Rule {
        id: id.to_owned(),
        groups: set(&["finance"]),
        resources: set(&[resource]),
        checks: set(&["demo-tool"]),
        trust_level: Level::Low,
        requestable: approver.map(str::to_owned),
        acting_as: None,
    };
    vec![
        rule("wiki", "wiki", None),
        rule("payroll", "payroll", Some("finance-leads")),
        rule("payroll-auditors", "payroll", None),
    ]
}

fn status(refusal: Refusal) -> u16 {
    refusal.into_response().status().as_u16()
}

//! Where servers are asked, how many questions at once, and whose word counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connector_core::access::Reason;
use connector_core::authzen::Decision;
use connector_core::configuration::PolicyPlan;
use connector_core::connector::{Attempt, Event, PdpFailure};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::deciding::Deciding;
use super::super::{Pdp, within_limit};
use super::server::{JSON, Piece, Received, Server, deny, not_found, ok, permit, response};
use super::{asking, http, request};
use crate::adapters::policies::Embedded;

#[tokio::test]
async fn a_question_comes_back_as_an_event_that_names_the_server() {
    let server = Server::answering(permit()).await;
    let plan = Arc::new(PolicyPlan::remote(server.base.clone()));
    let (events, mut queue) = mpsc::channel(1);
    let mut pdp = Pdp::new(http(), None, Embedded::default(), events);

    pdp.ask(&plan, Attempt::default(), Arc::new(request("wiki")));

    let Some(Event::Evaluated { outcome, .. }) = queue.recv().await else {
        panic!("an answer");
    };
    let named = format!("authzen {}", server.base);
    assert_eq!(outcome.unwrap().answered_by.as_deref(), Some(&*named));
    let question = server.questions().remove(0);
    assert_eq!(question.path(), "/access/v1/evaluation");
    assert_eq!(question.json(), request("wiki").to_json());
}

#[tokio::test]
async fn questions_go_where_the_metadata_says_through_one_connection() {
    let server = described(|base| {
        json!({"policy_decision_point": base, "access_evaluation_endpoint": format!("{base}elsewhere")})
    })
    .await;
    let deciding = asking(&server.base, None);

    for _ in 0..5 {
        assert!(within_limit(&deciding, &request("wiki")).await.is_ok());
    }

    let questions = server.questions();
    assert!(questions.iter().all(|it| it.path() == "/elsewhere"));
    assert_eq!((questions.len(), server.connections()), (5, 1));
}

#[tokio::test]
async fn metadata_that_speaks_for_somebody_else_stops_every_question() {
    let server = described(|base| {
        json!({"policy_decision_point": "https://evil.test",
            "access_evaluation_endpoint": format!("{base}access/v1/evaluation")})
    })
    .await;

    let outcome = within_limit(&asking(&server.base, None), &request("wiki")).await;

    assert_eq!(outcome, Err(PdpFailure::Malformed));
    assert_eq!(server.questions().len(), 0);
}

#[tokio::test]
async fn metadata_that_does_not_come_costs_a_question_a_part_of_its_time() {
    let silent = |request: &Received| match request.is_post() {
        true => permit(),
        false => vec![Piece::Silence],
    };
    let server = Server::start(silent).await;
    let begun = Instant::now();

    let outcome = within_limit(&asking(&server.base, None), &request("wiki")).await;

    assert!(outcome.is_ok(), "{outcome:?} after {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_echo_of_the_request_s_id_is_accepted() {
    let server = Server::start(|request: &Received| {
        if !request.is_post() {
            return not_found();
        }
        let id = request.field("x-request-id").unwrap_or_default();
        let fields = format!("{JSON}X-Request-ID: {id}\r\n");
        response("200 OK", &fields, br#"{"decision":true}"#)
    })
    .await;

    let outcome = within_limit(&asking(&server.base, None), &request("wiki")).await;

    assert!(outcome.is_ok(), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_wait_together_travel_together_and_each_gets_its_own_answer() {
    let server = batching(|question| {
        let id = question["resource"]["id"].as_str().unwrap();
        let number: usize = id.parse().unwrap();
        json!({"decision": number.is_multiple_of(3), "context": {"policy": id}})
    })
    .await;
    let deciding = asking(&server.base, None);

    let answers = ask_many(&deciding, 100).await;

    for (number, outcome) in answers {
        let decision = outcome.unwrap();
        assert_eq!(decision.policy.as_deref(), Some(&*number.to_string()));
        assert_eq!(
            decision.outcome.is_ok(),
            number.is_multiple_of(3),
            "{number}"
        );
    }
    let requests = server.questions().len();
    assert!(requests < 50, "{requests} requests for 100 questions");
    assert!(
        server
            .questions()
            .iter()
            .all(|it| it.field("x-request-id").is_some())
    );
}

#[tokio::test]
async fn a_lone_question_does_not_wait_for_company() {
    let server = batching(|_| json!({"decision": true})).await;
    let deciding = asking(&server.base, None);
    assert!(within_limit(&deciding, &request("0")).await.is_ok());

    assert!(within_limit(&deciding, &request("0")).await.is_ok());

    let paths: Vec<_> = server
        .questions()
        .iter()
        .map(|it| it.path().to_owned())
        .collect();
    assert_eq!(paths, ["/access/v1/evaluation"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_that_fails_fails_alone() {
    let server = batching(|question| match question["resource"]["id"].as_str() {
        Some("7") => {
            json!({"decision": false, "context": {"error": {"status": 422, "message": "?"}}})
        }
        Some("8") => json!({"decision": "yes"}),
        _ => json!({"decision": true}),
    })
    .await;

    for (number, outcome) in ask_many(&asking(&server.base, None), 24).await {
        match number {
            // Alone, the same answers would be a plain no and no decision.
            7 => assert!(
                !matches!(
                    outcome,
                    Ok(Decision {
                        outcome: Ok(()),
                        ..
                    })
                ),
                "{outcome:?}"
            ),
            8 => assert_eq!(outcome, Err(PdpFailure::Malformed)),
            _ => assert_eq!(outcome.unwrap().outcome, Ok(()), "{number}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_several_at_once_is_asked_one_by_one() {
    let server = described_with(several, |request| {
        if request.path().ends_with("evaluations") {
            return response("400 Bad Request", "", b"one of them is wrong");
        }
        permit()
    })
    .await;

    // How many are put together depends on how fast the server answers.
    let deciding = asking(&server.base, None);
    let begun = Instant::now();
    let is_asked_together = |it: &Received| it.path().ends_with("evaluations");
    while !server.questions().iter().any(is_asked_together) {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "never asked together"
        );
        for (number, outcome) in ask_many(&deciding, 40).await {
            assert!(outcome.is_ok(), "{number}: {outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_another_length_answers_nobody() {
    for change in [-1_i32, 1] {
        let server = described_with(several, move |request| {
            let question = request.json();
            let Some(items) = question["evaluations"].as_array() else {
                return permit();
            };
            let count = items
                .len()
                .saturating_add_signed(change.try_into().unwrap());
            ok(&json!({"evaluations": vec![json!({"decision": true}); count]}))
        })
        .await;
        let deciding = asking(&server.base, None);

        let answers = ask_many(&deciding, 60).await;

        let alone = server
            .questions()
            .iter()
            .filter(|it| it.path().ends_with("evaluation"))
            .count();
        let permitted = answers
            .iter()
            .filter(|(_, outcome)| outcome.is_ok())
            .count();
        assert!(alone < 60, "nothing travelled together");
        // One was asked before, to learn the metadata.
        assert_eq!(permitted, alone - 1, "{change}");
    }
}

#[tokio::test]
async fn when_the_first_server_is_slow_the_second_answers_and_is_named() {
    let first = Server::answering(vec![Piece::Silence]).await;
    let second = Server::answering(permit()).await;
    let deciding = asking(&first.base, Some(&second.base));
    let begun = Instant::now();

    let decision = within_limit(&deciding, &request("wiki")).await.unwrap();

    let named = format!("authzen {}", second.base);
    assert_eq!(decision.answered_by.as_deref(), Some(&*named));
    assert!(
        begun.elapsed() >= Duration::from_millis(290),
        "asked too soon"
    );
    assert_eq!((first.questions().len(), second.questions().len()), (1, 1));
}

#[tokio::test]
async fn when_the_first_server_fails_the_second_is_asked_at_once() {
    for failing in [
        vec![Piece::Close],
        response("500 Oh", JSON, b""),
        response("200 OK", JSON, b"{}"),
    ] {
        let first = Server::answering(failing).await;
        let second = Server::answering(deny()).await;

        let outcome =
            within_limit(&asking(&first.base, Some(&second.base)), &request("wiki")).await;

        let denial = outcome.unwrap().outcome.unwrap_err();
        assert_eq!(denial.reason, Reason::PolicyDenied);
    }
}

#[tokio::test]
async fn a_denial_is_not_taken_to_somebody_else() {
    let first = Server::answering(deny()).await;
    let second = Server::answering(permit()).await;
    let deciding = asking(&first.base, Some(&second.base));

    for _ in 0..20 {
        let decision = within_limit(&deciding, &request("wiki")).await.unwrap();
        assert!(decision.outcome.is_err());
    }

    assert_eq!(second.questions().len(), 0);
}

#[tokio::test]
async fn when_both_fail_the_first_one_s_failure_is_the_reason() {
    let first = Server::answering(response("503 Busy", "", b"")).await;
    let second = Server::answering(response("200 OK", JSON, b"{}")).await;

    let outcome = within_limit(&asking(&first.base, Some(&second.base)), &request("wiki")).await;

    assert_eq!(outcome, Err(PdpFailure::Status(503)));
}

#[tokio::test]
async fn a_server_that_is_out_of_order_is_left_alone_and_found_again() {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let server = Server::start(move |request: &Received| match request.is_post() {
        true if down.load(Ordering::Relaxed) => response("503 Busy", "", b""),
        true => permit(),
        false => not_found(),
    })
    .await;
    let deciding = asking(&server.base, None);
    for _ in 0..5 {
        let outcome = within_limit(&deciding, &request("wiki")).await;
        assert_eq!(outcome, Err(PdpFailure::Status(503)));
    }
    let asked = server.questions().len();

    for _ in 0..50 {
        let outcome = within_limit(&deciding, &request("wiki")).await;
        assert_eq!(outcome, Err(PdpFailure::Status(503)));
    }

    // One may have gone to see, if this machine is slow.
    let meanwhile = server.questions().len() - asked;
    assert!(meanwhile <= 2, "{meanwhile} questions in a rest");
    is_down.store(false, Ordering::Relaxed);
    let back = Instant::now();
    while within_limit(&deciding, &request("wiki")).await.is_err() {
        assert!(back.elapsed() < Duration::from_secs(5), "not found again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_first_server_that_hangs_is_soon_not_waited_for() {
    let first = Server::answering(vec![Piece::Silence]).await;
    let second = Server::answering(permit()).await;
    let deciding = asking(&first.base, Some(&second.base));
    for _ in 0..5 {
        assert!(within_limit(&deciding, &request("wiki")).await.is_ok());
    }
    let begun = Instant::now();

    for _ in 0..20 {
        assert!(within_limit(&deciding, &request("wiki")).await.is_ok());
    }

    // Each would have waited for 300 ms.
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

/// Asks as many questions as there are numbers below `count`, all at once.
async fn ask_many(
    deciding: &Arc<Deciding>,
    count: usize,
) -> Vec<(usize, Result<Decision, PdpFailure>)> {
    // The metadata is known, so that nothing but the questions is in question.
    let _known = within_limit(deciding, &request("0")).await;
    let mut questions = JoinSet::new();
    for number in 0..count {
        let deciding = Arc::clone(deciding);
        questions.spawn(async move {
            let outcome = within_limit(&deciding, &request(&number.to_string())).await;
            (number, outcome)
        });
    }
    questions.join_all().await
}

/// A server whose metadata is `document` of its base.
async fn described(document: fn(&str) -> Value) -> Server {
    described_with(document, |_| permit()).await
}

async fn described_with(
    document: fn(&str) -> Value,
    answer: impl Fn(&Received) -> Vec<Piece> + Send + Sync + 'static,
) -> Server {
    Server::start(move |request: &Received| {
        if request.is_post() {
            return answer(request);
        }
        let host = request.field("host").unwrap_or_default();
        ok(&document(&format!("http://{host}/")))
    })
    .await
}

/// A server that takes several questions at once, slowly enough that more gather.
async fn batching(decide: fn(&Value) -> Value) -> Server {
    described_with(several, move |request| {
        let question = request.json();
        match question["evaluations"].as_array() {
            Some(items) => {
                let answers: Vec<Value> = items.iter().map(decide).collect();
                ok(&json!({"evaluations": answers}))
            }
            None => ok(&decide(&question)),
        }
    })
    .await
}

fn several(base: &str) -> Value {
    json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{base}access/v1/evaluations"),
    })
}

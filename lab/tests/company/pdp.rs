//! Decisions over AuthZEN, and everything that is no question.

use lab::company::Company;
use lab::pdp::{CannedAnswer, Counts, Interference, Pdp, RuleBook};
use serde_json::{Value, json};

use crate::support::{client, json_of, listener, post_json};

#[tokio::test]
async fn staff_reach_the_wiki_from_a_device_in_order() {
    let pdp = start().await;

    let answer = ask(&pdp, &question()).await;

    assert_eq!(answer["decision"], true);
    assert_eq!(answer["context"]["policy"], "staff-tools");
}

#[tokio::test]
async fn what_no_rule_permits_is_denied_in_words_that_help() {
    let pdp = start().await;
    for (pointer, value, code, policy, words) in denied_changes() {
        let mut question = question();
        *question.pointer_mut(pointer).unwrap() = value.clone();

        let answer = ask(&pdp, &question).await;

        assert_eq!(answer["decision"], false, "{pointer} = {value}");
        assert_eq!(answer["context"]["code"], code, "{pointer} = {value}");
        assert_eq!(answer["context"]["policy"], policy, "{pointer} = {value}");
        let reason = answer["context"]["reason_user"]["403"].as_str().unwrap();
        assert!(reason.contains(words), "{reason}");
        assert!(answer["context"]["reason_admin"]["403"].is_string());
    }
}

#[tokio::test]
async fn a_rule_can_ask_for_a_trust_level() {
    let pdp = start().await;
    let rules =
        json!([{"id": "high", "groups": ["staff"], "resources": ["wiki"], "trust_level": "high"}]);
    let rules = serde_json::from_value(rules).unwrap();
    pdp.change_rules(|book| book.set_rules(rules));
    for (level, decision) in [
        (json!("high"), true),
        (json!("medium"), false),
        (json!("low"), false),
        (json!("HIGH"), false),
        (json!(null), false),
    ] {
        let mut question = question();
        question["subject"]["properties"]["device"]["trust_level"] = level.clone();

        let answer = ask(&pdp, &question).await;

        assert_eq!(answer["decision"], decision, "{level}");
    }
}

#[tokio::test]
async fn an_ended_session_is_denied_everything() {
    let pdp = start().await;
    pdp.change_rules(|book| book.end_session("session-1".to_owned()));

    let answer = ask(&pdp, &question()).await;

    assert_eq!(
        (&answer["decision"], &answer["context"]["policy"]),
        (&json!(false), &json!("ended-session"))
    );
}

#[tokio::test]
async fn every_answer_fits_the_published_schema() {
    let pdp = start().await;
    let schema: Value =
        serde_json::from_str(include_str!("../fixtures/evaluation-response.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut denied = question();
    denied["resource"]["id"] = json!("payroll");

    for question in [question(), denied] {
        let answer = ask(&pdp, &question).await;
        assert!(validator.is_valid(&answer), "{answer}");
    }
    assert!(!validator.is_valid(&json!({"decision": "yes"})));
}

#[tokio::test]
async fn a_request_that_is_no_question_is_400_with_a_message() {
    let pdp = start().await;
    let url = format!("{}/access/v1/evaluation", pdp.base());
    let mut cases: Vec<String> = ["", "{", "null", "[]", "1", "{\"subject\":1,\"subject\":2}"]
        .map(str::to_owned)
        .to_vec();
    for pointer in [
        "/subject",
        "/action",
        "/resource",
        "/subject/type",
        "/subject/id",
        "/action/name",
        "/resource/type",
        "/resource/id",
    ] {
        for value in [json!(null), json!(1), json!(""), json!([])] {
            let mut question = question();
            *question.pointer_mut(pointer).unwrap() = value;
            cases.push(question.to_string());
        }
    }
    for (member, value) in [("context", json!([])), ("context", json!("x"))] {
        let mut question = question();
        question[member] = value;
        cases.push(question.to_string());
    }
    let mut question = question();
    question["subject"]["properties"] = json!("x");
    cases.push(question.to_string());
    let count = u64::try_from(cases.len()).unwrap();

    for body in cases {
        let response = client()
            .post(&url)
            .header("content-type", "application/json")
            .header("x-request-id", "r-1")
            .body(body.clone())
            .send()
            .await
            .unwrap();

        assert_eq!(response.status(), 400, "{body}");
        assert_eq!(response.headers()["x-request-id"], "r-1");
        assert!(!response.text().await.unwrap().is_empty());
    }
    assert_eq!(
        pdp.counts(),
        Counts {
            malformed: count,
            ..Counts::default()
        }
    );
}

#[tokio::test]
async fn large_deep_and_mistyped_requests_are_refused() {
    let pdp = start().await;
    let url = format!("{}/access/v1/evaluation", pdp.base());
    let large = format!("{{\"context\":{{\"x\":\"{}\"}}}}", "x".repeat(1 << 20));
    let deep = format!("{{\"context\":{{\"x\":{}", "[".repeat(60_000));
    let good = question().to_string();
    for (body, kind, status) in [
        (&large, "application/json", 413),
        (&deep, "application/json", 400),
        (&good, "text/plain", 400),
    ] {
        let response = client()
            .post(&url)
            .header("content-type", kind)
            .body(body.clone())
            .send()
            .await
            .unwrap();

        assert_eq!(response.status(), status, "{:.20}", body);
    }
}

#[tokio::test]
async fn unknown_members_are_ignored_and_the_request_id_comes_back() {
    let pdp = start().await;
    let mut question = question();
    question["later"] = json!({"x": 1});
    question["subject"]["later"] = json!(1);

    let response = client()
        .post(format!("{}/access/v1/evaluation", pdp.base()))
        .header("content-type", "application/json; charset=utf-8")
        .header("x-request-id", "r-2")
        .body(question.to_string())
        .send()
        .await
        .unwrap();

    assert_eq!(response.headers()["x-request-id"], "r-2");
    assert_eq!(json_of(response).await["decision"], true);
}

#[tokio::test]
async fn a_batch_fills_in_defaults_and_stops_where_it_is_told_to() {
    let pdp = start().await;
    let url = format!("{}/access/v1/evaluations", pdp.base());
    let item = |id: &str| json!({"resource": {"type": "application", "id": id}});
    let mut batch = question();
    batch["evaluations"] =
        json!([item("payroll"), item("wiki"), {"resource": {"type": "application"}}, item("echo")]);
    for (semantic, expected) in [
        (None, vec![false, true, false, true]),
        (Some("execute_all"), vec![false, true, false, true]),
        (Some("deny_on_first_deny"), vec![false]),
        (Some("permit_on_first_permit"), vec![false, true]),
    ] {
        batch["options"] =
            semantic.map_or(json!(null), |word| json!({"evaluations_semantic": word}));

        let answer = json_of(post_json(&url, &batch).await).await;

        let decisions: Vec<bool> = answer["evaluations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|decision| decision["decision"].as_bool().unwrap())
            .collect();
        assert_eq!(decisions, expected, "{semantic:?}");
    }
    batch["options"] = json!({"evaluations_semantic": "whatever"});
    assert_eq!(post_json(&url, &batch).await.status(), 400);
    assert_eq!(
        json_of(post_json(&url, &question()).await).await["decision"],
        true
    );
}

#[tokio::test]
async fn metadata_names_this_point_and_its_endpoints() {
    let pdp = start().await;
    let url = format!("{}/.well-known/authzen-configuration", pdp.base());

    let metadata = json_of(client().get(url).send().await.unwrap()).await;

    assert_eq!(metadata["policy_decision_point"], pdp.base());
    let endpoint = metadata["access_evaluation_endpoint"].as_str().unwrap();
    assert_eq!(post_json(endpoint, &question()).await.status(), 200);
}

#[tokio::test]
async fn answers_can_be_replaced_delayed_and_held() {
    let pdp = start().await;
    let url = format!("{}/access/v1/evaluation", pdp.base());

    pdp.interfere(Interference {
        answer: Some(CannedAnswer {
            status: 500,
            body: "{\"decision\":".to_owned(),
            content_type: "text/html".to_owned(),
        }),
        ..Interference::default()
    });
    let replaced = post_json(&url, &question()).await;
    assert_eq!(replaced.status(), 500);
    assert_eq!(replaced.text().await.unwrap(), "{\"decision\":");

    pdp.interfere(Interference {
        delay_ms: 300,
        ..Interference::default()
    });
    let before = std::time::Instant::now();
    assert_eq!(post_json(&url, &question()).await.status(), 200);
    assert!(before.elapsed().as_millis() >= 300);

    pdp.interfere(Interference {
        hold: true,
        ..Interference::default()
    });
    let question = question();
    let mut held = Box::pin(post_json(&url, &question));
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut held).await;
    assert!(early.is_err());
    pdp.interfere(Interference::default());
    assert_eq!(held.await.status(), 200);
    assert_eq!(
        pdp.counts(),
        Counts {
            permits: 3,
            replaced: 1,
            ..Counts::default()
        }
    );
}

fn denied_changes() -> [(
    &'static str,
    Value,
    &'static str,
    &'static str,
    &'static str,
); 11] {
    [
        (
            "/resource/id",
            json!("payroll"),
            "policy_denied",
            "finance-payroll",
            "finance",
        ),
        (
            "/subject/properties/groups",
            json!(["guests"]),
            "policy_denied",
            "staff-tools",
            "guests",
        ),
        (
            "/subject/properties/groups",
            json!("staff"),
            "policy_denied",
            "staff-tools",
            "no group",
        ),
        (
            "/resource/id",
            json!("unknown"),
            "policy_denied",
            "default-deny",
            "no such application",
        ),
        (
            "/resource/type",
            json!("printer"),
            "policy_denied",
            "default-deny",
            "no such application",
        ),
        (
            "/action/name",
            json!("delete"),
            "policy_denied",
            "default-deny",
            "no such application",
        ),
        (
            "/subject/type",
            json!("agent"),
            "policy_denied",
            "default-deny",
            "no such application",
        ),
        (
            "/subject/properties/device/posture/demo-tool",
            json!("fail"),
            "posture_unmet",
            "staff-tools",
            "ztna-demo-forbidden is not running\u{201d} is not so",
        ),
        (
            "/subject/properties/device/posture/demo-tool",
            json!("unknown"),
            "posture_unmet",
            "staff-tools",
            "could not be verified",
        ),
        (
            "/subject/properties/device/posture/demo-tool",
            json!(true),
            "posture_unmet",
            "staff-tools",
            "could not be verified",
        ),
        (
            "/subject/properties/device",
            json!(null),
            "posture_unmet",
            "staff-tools",
            "demo-tool",
        ),
    ]
}

async fn start() -> Pdp {
    let company = Company::built_in();
    let rules = RuleBook::new(company.rules, &company.resources, &company.posture);
    Pdp::start(listener().await, rules).unwrap()
}

async fn ask(pdp: &Pdp, question: &Value) -> Value {
    let response = post_json(&format!("{}/access/v1/evaluation", pdp.base()), question).await;
    assert_eq!(response.status(), 200);
    json_of(response).await
}

fn question() -> Value {
    json!({
        "subject": {
            "type": "user",
            "id": "alice",
            "properties": {
                "groups": ["staff"],
                "email": "alice@corp.test",
                "device": {
                    "id": "host-1",
                    "trust_level": "medium",
                    "posture": {"demo-tool": "pass", "firewall": "unknown"},
                },
            },
        },
        "action": {"name": "connect", "properties": {"protocol": "tcp"}},
        "resource": {
            "type": "application",
            "id": "wiki",
            "properties": {"host": "wiki.corp.test", "port": 80, "site": "hq"},
        },
        "context": {"time": "2026-11-22T02:00:00Z", "session_id": "session-1"},
    })
}

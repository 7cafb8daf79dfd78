//! Requests for access, through the API and the levers.

use connector_core::control::GrantAnswer;
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{Corp, Device, client, json_of};

#[tokio::test]
async fn a_person_asks_on_the_sessions_word_and_sees_only_their_own() {
    let corp = Corp::start().await;
    let (alice, of_alice) = signed_in(&corp, "alice").await;
    let (bob, of_bob) = signed_in(&corp, "bob").await;

    let asked = ask(
        &corp,
        &alice.session_assertion(&corp, &of_alice),
        &plea("alice"),
    )
    .await;

    assert_eq!(asked.status(), 201);
    let answer: GrantAnswer = serde_json::from_value(json_of(asked).await).unwrap();
    assert_eq!(answer.task.approver.as_deref(), Some("finance-leads"));
    let own = list(&corp, &alice.session_assertion(&corp, &of_alice)).await;
    assert_eq!(own["tasks"][0]["id"], answer.task.id.as_str());
    assert_eq!(own["tasks"][0]["status"], "pending");
    let of_others = list(&corp, &bob.session_assertion(&corp, &of_bob)).await;
    assert_eq!(of_others, json!({"tasks": []}));
}

#[tokio::test]
async fn nobody_asks_for_somebody_else_or_without_a_session() {
    let corp = Corp::start().await;
    let (bob, of_bob) = signed_in(&corp, "bob").await;
    let session = || bob.session_assertion(&corp, &of_bob);

    for (assertion, body, expected) in [
        (session(), plea("alice"), 403),
        (bob.host_assertion(&corp), plea("bob"), 401),
        ("nonsense".to_owned(), plea("bob"), 401),
        (session(), changed("/action/name", "delete"), 400),
        (session(), changed("/resource/type", "group"), 400),
        (session(), changed("/resource/id", "nowhere"), 403),
        (session(), changed("/context/reason", "two\nlines"), 400),
        (session(), changed("/requested_access/seconds", -1), 400),
        (session(), changed("/requested_access/seconds", 1e9), 400),
        (session(), json!([]), 400),
    ] {
        let answer = ask(&corp, &assertion, &body).await;

        assert_eq!(answer.status(), expected, "{body}");
    }
    assert_eq!(list(&corp, &session()).await, json!({"tasks": []}));
}

async fn signed_in(corp: &Corp, login: &str) -> (Device, String) {
    let device = corp.device().await;
    let tokens = corp.provider.tokens(login).await;
    let id_token = tokens["id_token"].as_str().unwrap();
    let grant = json_of(device.open_session(corp, id_token).await).await;
    (device, grant["session_id"].as_str().unwrap().to_owned())
}

fn plea(person: &str) -> Value {
    json!({
        "subject": {"type": "user", "id": person},
        "action": {"name": "connect"},
        "resource": {"type": "application", "id": "payroll"},
        "context": {"reason": "Pay day"},
        "requested_access": {"seconds": 3600},
    })
}

fn changed(pointer: &str, value: impl Into<Value>) -> Value {
    let mut plea = plea("bob");
    *plea.pointer_mut(pointer).unwrap() = value.into();
    plea
}

async fn ask(corp: &Corp, assertion: &str, body: &Value) -> Response {
    let request = client()
        .post(corp.url("v1/access-requests"))
        .header("authorization", assertion)
        .header("content-type", "application/json")
        .body(body.to_string());
    request.send().await.unwrap()
}

async fn list(corp: &Corp, assertion: &str) -> Value {
    let request = client().get(corp.url("v1/access-requests"));
    let answer = request
        .header("authorization", assertion)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    json_of(answer).await
}

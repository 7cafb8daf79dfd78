//! The lab's own levers, and the company as a whole.

use connector_core::configuration::RawPolicy;
use lab::running::{ExternalGateway, Lab, Options};
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{client, json_of, options, post_json};

#[tokio::test]
async fn the_whole_company_starts_and_says_where() {
    let lab = Lab::start(options()).await.unwrap();

    let ready = lab.ready();
    let state = state(&lab).await;

    assert_eq!(ready.suffixes, ["corp.test"]);
    let ids: Vec<&str> = ready
        .gateways
        .iter()
        .map(|gateway| gateway.id.as_str())
        .collect();
    assert_eq!(ids, ["hq-1", "hq-2"]);
    assert!(
        ready
            .gateways
            .iter()
            .all(|gateway| !gateway.endpoint.ends_with(":0"))
    );
    for url in [
        format!("{}.well-known/ztna-control-plane", ready.control_plane),
        format!("{}/.well-known/openid-configuration", ready.issuer),
        format!("{}/.well-known/authzen-configuration", ready.pdp),
    ] {
        assert_eq!(
            client().get(&url).send().await.unwrap().status(),
            200,
            "{url}"
        );
    }
    assert_eq!(state["gateways"].as_array().unwrap().len(), 2);
    assert_eq!(state["sessions"], json!([]));
}

#[tokio::test]
async fn gateways_stop_and_start_again_where_they_were() {
    let lab = Lab::start(options()).await.unwrap();
    let before = state(&lab).await["gateways"].clone();

    let stopped = post(&lab, "lab/gateways/hq-1/stop", &json!({}))
        .await
        .status();
    let meanwhile = state(&lab).await["gateways"].clone();
    let endpoint = lab.ready().gateways[0].endpoint.as_str();
    // The port is free once the gateway has let go of it.
    tokio::time::timeout(crate::support::DEADLINE, async {
        while tokio::net::UdpSocket::bind(endpoint).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let started = post(&lab, "lab/gateways/hq-1/start", &json!({}))
        .await
        .status();

    assert_eq!((stopped.as_u16(), started.as_u16()), (204, 204));
    assert_eq!(meanwhile[0]["running"], false);
    assert_eq!(meanwhile[1]["running"], true);
    assert_eq!(state(&lab).await["gateways"], before);
    for path in ["lab/gateways/hq-9/stop", "lab/gateways/hq-1/explode"] {
        assert_eq!(post(&lab, path, &json!({})).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn rules_and_posture_change_with_a_new_version() {
    let lab = Lab::start(options()).await.unwrap();
    let first = version(&state(&lab).await);
    let rules = json!([{"id": "all", "groups": ["guests"], "resources": ["payroll"]}]);

    let changed = json_of(post(&lab, "lab/rules", &rules).await).await;
    let state_after = state(&lab).await;
    let posture = json!({"builtin": ["uptime"], "checks": []});
    let posture_changed = json_of(post(&lab, "lab/posture", &posture).await).await;

    assert!(first < version(&changed) && version(&changed) < version(&posture_changed));
    assert_eq!(state_after["rules"][0]["id"], "all");
    assert_eq!(state(&lab).await["posture"]["builtin"], json!(["uptime"]));
}

#[tokio::test]
async fn a_change_that_makes_no_sense_is_refused_and_changes_nothing() {
    let lab = Lab::start(options()).await.unwrap();
    let before = state(&lab).await;

    for (path, body) in [
        (
            "lab/rules",
            json!([{"id": "x", "groups": [], "resources": ["nothing"]}]),
        ),
        (
            "lab/rules",
            json!([{"id": "x", "groups": [], "resources": [], "more": 1}]),
        ),
        ("lab/rules", json!({})),
        // A rule needs this check.
        ("lab/posture", json!({"builtin": [], "checks": []})),
        (
            "lab/posture",
            json!({"builtin": ["demo-tool"], "checks": [check()]}),
        ),
        ("lab/pdp", json!({"answer": {"status": 99}})),
        ("lab/pdp", json!({"unknown": 1})),
    ] {
        let response = post(&lab, path, &body).await;
        assert_eq!(response.status(), 400, "{path} {body}");
    }

    assert_eq!(state(&lab).await, before);
}

#[tokio::test]
async fn web_pages_and_other_host_names_get_nothing() {
    let lab = Lab::start(options()).await.unwrap();
    let url = format!("{}lab/state", lab.ready().admin);

    for (name, value) in [("origin", "http://evil.example"), ("host", "evil.example")] {
        let response = client().get(&url).header(name, value).send().await.unwrap();
        assert_eq!(response.status(), 403, "{name}");
    }
}

#[tokio::test]
async fn answers_are_disturbed_and_counted() {
    let lab = Lab::start(options()).await.unwrap();
    let canned = json!({"answer": {"status": 200, "body": "maybe"}});
    let question = format!("{}/access/v1/evaluation", lab.ready().pdp);

    assert_eq!(post(&lab, "lab/pdp", &canned).await.status(), 204);
    let disturbed = post_json(&question, &json!({})).await;
    assert_eq!(post(&lab, "lab/pdp", &json!({})).await.status(), 204);
    let undisturbed = post_json(&question, &json!({})).await;

    assert_eq!(disturbed.text().await.unwrap(), "maybe");
    assert_eq!(undisturbed.status(), 400);
    let url = format!("{}lab/decisions", lab.ready().admin);
    let counts = json_of(client().get(url).send().await.unwrap()).await;
    assert_eq!(
        counts,
        json!({"permits": 0, "denials": 0, "malformed": 2, "replaced": 1, "together": 0})
    );
}

#[tokio::test]
async fn a_kept_state_keeps_the_policy_key_and_versions_grow() {
    let folder = tempfile::tempdir().unwrap();
    let kept = || Options {
        state: Some(folder.path().join("state")),
        ..options()
    };
    let first = Lab::start(kept()).await.unwrap();
    let (key, before) = (
        first.ready().policy_key.clone(),
        version(&state(&first).await),
    );
    first.stop().await;

    let second = Lab::start(kept()).await.unwrap();
    let fresh = Lab::start(options()).await.unwrap();

    assert_eq!(second.ready().policy_key, key);
    assert!(version(&state(&second).await) > before);
    assert_ne!(fresh.ready().policy_key, key);
}

#[tokio::test]
async fn somebody_elses_servers_take_the_place_of_the_labs_own() {
    let lab = Lab::start(Options {
        issuer: Some("http://127.0.0.1:9/op".to_owned()),
        client_id: Some("other".to_owned()),
        policy: Some(RawPolicy::remote("http://127.0.0.1:9")),
        policy_mode: None,
        site_resolver: Some("10.20.0.54".parse().unwrap()),
        external_gateways: vec![ExternalGateway {
            id: "theirs".to_owned(),
            site: None,
            endpoint: "192.0.2.1:51820".parse().unwrap(),
            public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
            uapi: None,
        }],
        ..options()
    })
    .await
    .unwrap();

    let ready = lab.ready();
    assert_eq!(ready.issuer, "http://127.0.0.1:9/op");
    assert_eq!(ready.client_id, "other");
    assert_eq!(ready.gateways.len(), 1);
    assert_eq!(post(&lab, "lab/pdp", &json!({})).await.status(), 404);
    assert_eq!(
        post(&lab, "lab/gateways/theirs/stop", &json!({}))
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn the_lab_stays_on_loopback_addresses() {
    let refused = Lab::start(Options {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..options()
    })
    .await;

    assert!(refused.unwrap_err().to_string().contains("loopback"));
}

fn check() -> Value {
    json!({
        "id": "demo-tool",
        "title": "twice",
        "sql": {},
        "remedy": "",
        "interval_seconds": 1,
        "max_age_seconds": 2,
    })
}

async fn post(lab: &Lab, path: &str, body: &Value) -> Response {
    post_json(&format!("{}{path}", lab.ready().admin), body).await
}

async fn state(lab: &Lab) -> Value {
    let url = format!("{}lab/state", lab.ready().admin);
    json_of(client().get(url).send().await.unwrap()).await
}

fn version(value: &Value) -> u64 {
    value["version"].as_u64().unwrap()
}

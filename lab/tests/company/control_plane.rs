//! Enrolment, configuration and sessions, and every way in which they are refused.

use std::time::Duration;

use connector_core::configuration::{Trust, Version};
use connector_core::control::{Assertion, Discovery, ENROLMENT_TYPE, EnrolmentProof};
use connector_core::jws::{self, PublicKey};
use connector_core::time::{Moment, Now, WallTime};
use ed25519_dalek::SigningKey;
use lab::company::Company;
use lab::control_plane::HostStore;
use lab::random;
use reqwest::Response;
use serde_json::json;

use crate::support::{Corp, DEADLINE, Device, client, json_of, post_json};

#[tokio::test]
async fn discovery_leads_to_every_endpoint() {
    let corp = Corp::start().await;

    let response = client()
        .get(corp.url(".well-known/ztna-control-plane"))
        .send()
        .await
        .unwrap();

    let found: Discovery = serde_json::from_value(json_of(response).await).unwrap();
    assert_eq!(&found.control_plane, corp.plane.base());
    assert_eq!(found.host_endpoint.as_str(), corp.url("v1/hosts"));
}

#[tokio::test]
async fn a_host_key_is_admitted_once_and_stays_the_same_host() {
    let corp = Corp::start().await;
    let token = corp.plane.make_enrolment_token().unwrap();
    let fresh = corp.plane.make_enrolment_token().unwrap();
    let device = Device::new();

    let mut ids = Vec::new();
    for token in [&token, &token, &fresh] {
        let enrolment = device.enrolment(&corp, Some(token)).await;
        let response = post_json(&corp.url("v1/hosts"), &enrolment).await;
        ids.push(json_of(response).await["host_id"].clone());
    }
    let other = Device::new().enrolment(&corp, Some(&fresh)).await;
    let other = json_of(post_json(&corp.url("v1/hosts"), &other).await).await;

    assert!(
        ids[0].is_string() && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );
    assert!(
        other["host_id"].is_string() && other["host_id"] != ids[0],
        "{other}"
    );
}

#[tokio::test]
async fn of_many_devices_with_one_token_exactly_one_is_admitted() {
    let corp = Corp::start().await;
    let token = corp.plane.make_enrolment_token().unwrap();
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let enrolment = Device::new().enrolment(&corp, Some(&token)).await;
        let url = corp.url("v1/hosts");
        attempts.spawn(async move { post_json(&url, &enrolment).await.status().as_u16() });
    }

    let mut statuses = attempts.join_all().await;

    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(
        statuses[1..].iter().all(|status| *status == 403),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn an_enrolment_without_a_good_proof_or_token_is_refused() {
    let corp = Corp::start().await;
    let token = corp.plane.make_enrolment_token().unwrap();
    let device = Device::new();
    let proof = |key: &SigningKey, kind, aud: &str, challenge: String| {
        let proof = EnrolmentProof {
            aud: aud.to_owned(),
            challenge,
        };
        json!(jws::sign(key, kind, &proof).unwrap())
    };
    let base = corp.plane.base().to_string();
    let stranger = SigningKey::from_bytes(&random::bytes());
    let good = device.enrolment(&corp, Some(&token)).await;

    let mut cases = vec![
        (
            "proof",
            proof(&stranger, ENROLMENT_TYPE, &base, corp.challenge().await),
            403,
        ),
        (
            "proof",
            proof(
                &device.key,
                "ztna-assertion+jwt",
                &base,
                corp.challenge().await,
            ),
            403,
        ),
        (
            "proof",
            proof(
                &device.key,
                ENROLMENT_TYPE,
                "https://other.example/",
                corp.challenge().await,
            ),
            403,
        ),
        (
            "proof",
            proof(&device.key, ENROLMENT_TYPE, &base, "invented".to_owned()),
            403,
        ),
        ("proof", json!("x.y.z"), 403),
        ("public_key", json!("x"), 400),
        ("name", json!(""), 400),
        ("name", json!("a\nb"), 400),
        ("os", json!("x".repeat(65)), 400),
        ("os", json!(1), 400),
    ];
    for wrong in [json!("invented"), json!(""), json!(null)] {
        cases.push(("token", wrong, 403));
    }
    for (member, value, status) in cases {
        let mut enrolment = device.enrolment(&corp, Some(&token)).await;
        enrolment[member] = value.clone();

        let response = post_json(&corp.url("v1/hosts"), &enrolment).await;

        assert_eq!(response.status(), status, "{member} = {value}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let problem = json_of(response).await;
        assert!(
            problem["title"].is_string() && problem["detail"].is_string(),
            "{problem}"
        );
    }
    assert_eq!(post_json(&corp.url("v1/hosts"), &good).await.status(), 200);
}

#[tokio::test]
async fn a_challenge_serves_one_attempt_and_lapses() {
    let corp = Corp::start().await;
    let token = corp.plane.make_enrolment_token().unwrap();
    let device = Device::new();
    let mut spent = device.enrolment(&corp, Some("wrong")).await;
    let lapsed = device.enrolment(&corp, Some(&token)).await;

    post_json(&corp.url("v1/hosts"), &spent).await;
    spent["token"] = json!(token);
    let replayed = post_json(&corp.url("v1/hosts"), &spent).await;
    corp.clock.advance(Duration::from_secs(300));
    let late = post_json(&corp.url("v1/hosts"), &lapsed).await;

    assert_eq!(replayed.status(), 403);
    assert!(
        json_of(late).await["detail"]
            .as_str()
            .unwrap()
            .contains("challenge")
    );
}

#[tokio::test]
async fn an_enrolment_token_lapses_after_ten_minutes() {
    let corp = Corp::start().await;
    let token = corp.plane.make_enrolment_token().unwrap();
    corp.clock.advance(Duration::from_secs(600));
    let enrolment = Device::new().enrolment(&corp, Some(&token)).await;

    let response = post_json(&corp.url("v1/hosts"), &enrolment).await;

    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn admitted_hosts_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = HostStore::File(folder.path().join("hosts.json"));
    let before = Corp::start_with(store.clone()).await;
    let device = before.device().await;
    drop(before);

    let after = Corp::start_with(store).await;

    assert_eq!(
        read(&after, &device.host_assertion(&after), "", None)
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn the_configuration_is_one_that_connectors_accept() {
    let corp = Corp::start().await;
    let device = corp.device().await;

    let response = read(&corp, &device.host_assertion(&corp), "", None).await;

    assert_eq!(response.headers()["content-type"], "application/jose");
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    let trust = Trust {
        key: corp.feed.policy_key(),
        suffixes: Company::built_in().suffixes().unwrap(),
    };
    let now = Now {
        moment: Moment::default(),
        wall: WallTime::from_unix_millis(corp.clock.unix_millis()),
    };
    let configuration = trust
        .accept(&response.text().await.unwrap(), Version(0), now)
        .unwrap();
    assert_eq!(etag, format!("\"{}\"", configuration.version));
    assert_eq!(configuration.catalogue.resources().count(), 4);
}

#[tokio::test]
async fn a_long_poll_wakes_on_a_change() {
    let corp = Corp::start().await;
    let device = corp.device().await;
    let known = format!("\"{}\"", corp.feed.version());
    let assertion = device.host_assertion(&corp);
    let url = corp.url("v1/configuration?wait=60");
    let waiting = tokio::spawn(async move {
        client()
            .get(url)
            .header("authorization", assertion)
            .header("if-none-match", known)
            .send()
            .await
            .unwrap()
    });
    // A second request shows that the first one does not hold anything up.
    let unchanged = format!("\"{}\"", corp.feed.version());
    let at_once = read(
        &corp,
        &device.host_assertion(&corp),
        "?wait=0",
        Some(&unchanged),
    )
    .await;

    let version = corp
        .feed
        .change(|document| document.organisation.name = "New".to_owned())
        .unwrap();

    let response = tokio::time::timeout(DEADLINE, waiting)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(at_once.status(), 304);
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["etag"],
        format!("\"{version}\"").as_str()
    );
}

#[tokio::test]
async fn a_long_poll_without_a_change_ends_with_304() {
    let corp = Corp::start().await;
    let device = corp.device().await;
    let known = format!("\"0\", W/\"{}\"", corp.feed.version());
    let before = std::time::Instant::now();

    let response = read(
        &corp,
        &device.host_assertion(&corp),
        "?wait=1",
        Some(&known),
    )
    .await;

    assert_eq!(response.status(), 304);
    assert!(before.elapsed() >= Duration::from_secs(1));
    assert!(response.headers().contains_key("etag"));
    let bad = read(&corp, &device.host_assertion(&corp), "?wait=soon", None).await;
    assert_eq!(bad.status(), 400);
}

#[tokio::test]
async fn versions_only_grow_and_a_configuration_is_renewed_before_it_lapses() {
    let corp = Corp::start().await;
    let device = corp.device().await;
    let first = corp.feed.version();
    let second = corp.feed.change(|_| {}).unwrap();
    let refused = corp
        .feed
        .change(|document| document.resources[0].names = vec!["bank.example".to_owned()]);
    assert!(refused.is_err() && first < second && corp.feed.version() == second);

    corp.clock.advance(Duration::from_secs(43_200));

    let known = format!("\"{second}\"");
    let response = read(
        &corp,
        &device.host_assertion(&corp),
        "?wait=20",
        Some(&known),
    )
    .await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn every_bad_assertion_is_refused() {
    let corp = Corp::start().await;
    let device = corp.device().await;
    let good = device.claims(&corp);
    let now = corp.clock.unix_seconds();
    for (name, claims) in bad_claims(&good, now) {
        let response = read(&corp, &device.sign(&claims), "", None).await;

        assert_eq!(response.status(), 401, "{name}");
        assert!(response.headers().contains_key("www-authenticate"));
    }

    let stranger = Device {
        host_id: device.host_id.clone(),
        ..Device::new()
    };
    let tampered = device.host_assertion(&corp).replace("eyJ", "eyK");
    let wrong_type = format!(
        "Bearer {}",
        jws::sign(&device.key, ENROLMENT_TYPE, &good).unwrap()
    );
    for bad in [
        stranger.host_assertion(&corp),
        tampered,
        wrong_type,
        "Bearer x".to_owned(),
        "Basic eDp5".to_owned(),
    ] {
        assert_eq!(read(&corp, &bad, "", None).await.status(), 401, "{bad}");
    }
    let none = client()
        .get(corp.url("v1/configuration"))
        .send()
        .await
        .unwrap();
    assert_eq!(none.status(), 401);
}

#[tokio::test]
async fn an_assertion_is_good_for_one_request() {
    let corp = Corp::start().await;
    let device = corp.device().await;
    let assertion = device.host_assertion(&corp);

    let first = read(&corp, &assertion, "", None).await;
    let replay = read(&corp, &assertion, "", None).await;

    assert_eq!(
        (first.status().as_u16(), replay.status().as_u16()),
        (200, 401)
    );
}

#[tokio::test]
async fn a_session_admits_the_tunnels_key_until_it_is_ended() {
    let corp = Corp::start().await;
    let device = corp.device().await;
    let tokens = corp.provider.tokens("alice").await;

    let response = device
        .open_session(&corp, tokens["id_token"].as_str().unwrap())
        .await;
    assert_eq!(response.status(), 200);
    let grant = json_of(response).await;
    let id = grant["session_id"].as_str().unwrap();
    let listed = corp.sessions.list().await;
    let ended = end(&corp, id, &device.session_assertion(&corp, id)).await;

    assert_eq!(grant["addresses"], json!(["100.64.0.1"]));
    assert_eq!(grant["expires_in"], 43_200);
    assert_eq!((listed.len(), listed[0].subject.as_str()), (1, "alice"));
    assert_eq!(ended, 204);
    let key = &listed[0].wireguard_key;
    assert_eq!(
        corp.told.all(),
        [format!("+{key} [100.64.0.1]"), format!("-{key}")]
    );
    assert!(corp.peers.list().is_empty());
}

#[tokio::test]
async fn a_new_session_of_a_host_replaces_the_one_before() {
    let corp = Corp::start().await;
    let mut device = corp.device().await;
    let tokens = corp.provider.tokens("alice").await;
    let id_token = tokens["id_token"].as_str().unwrap();

    let first = json_of(device.open_session(&corp, id_token).await).await;
    device.wireguard_key = [9; 32];
    let second = json_of(device.open_session(&corp, id_token).await).await;

    let open: Vec<_> = corp
        .sessions
        .list()
        .await
        .into_iter()
        .map(|session| session.id)
        .collect();
    assert_eq!(open, [second["session_id"].as_str().unwrap()]);
    assert_ne!(first["addresses"], second["addresses"]);
    assert_eq!(corp.peers.list().len(), 1);
    assert_eq!(corp.told.all().len(), 3);
}

#[tokio::test]
async fn sessions_end_when_their_time_is_over() {
    let corp = Corp::start().await;
    let device = corp.device().await;
    let tokens = corp.provider.tokens("alice").await;
    let grant = json_of(
        device
            .open_session(&corp, tokens["id_token"].as_str().unwrap())
            .await,
    )
    .await;
    let id = grant["session_id"].as_str().unwrap();

    corp.clock.advance(Duration::from_secs(43_200));

    let assertion = device.session_assertion(&corp, id);
    assert_eq!(end(&corp, id, &assertion).await, 401);
    tokio::time::timeout(DEADLINE, async {
        while !corp.peers.list().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn nobody_ends_or_takes_over_somebody_elses_session() {
    let corp = Corp::start().await;
    let (alice, mut bob) = (corp.device().await, corp.device().await);
    let tokens = corp.provider.tokens("alice").await;
    let id_token = tokens["id_token"].as_str().unwrap();
    let grant = json_of(alice.open_session(&corp, id_token).await).await;
    let id = grant["session_id"].as_str().unwrap();

    bob.wireguard_key = alice.wireguard_key;
    let takeover = bob.open_session(&corp, id_token).await.status();
    let foreign = end(&corp, id, &bob.host_assertion(&corp)).await;
    let by_session = read(&corp, &alice.session_assertion(&corp, id), "", None)
        .await
        .status();
    let own = end(&corp, id, &alice.host_assertion(&corp)).await;
    let again = end(&corp, id, &alice.host_assertion(&corp)).await;

    assert_eq!((takeover.as_u16(), foreign), (409, 404));
    assert_eq!(by_session, 401, "a session key is no host key");
    assert_eq!((own, again), (204, 404));
}

#[tokio::test]
async fn a_session_needs_a_good_id_token_and_good_keys() {
    let corp = Corp::start().await;
    let device = corp.device().await;
    let tokens = corp.provider.tokens("alice").await;
    let token = tokens["id_token"].as_str().unwrap();
    let forged = forge(token, "mallory");
    let stranger = crate::support::Provider::start().await;
    let foreign = stranger.tokens("alice").await;
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", token.split('.').nth(1).unwrap());

    for bad in [
        &forged,
        foreign["id_token"].as_str().unwrap(),
        &unsigned,
        "x.y.z",
        "",
    ] {
        let response = device.open_session(&corp, bad).await;
        assert_eq!(response.status(), 403, "{bad}");
    }
    for (member, value) in [
        ("session_key", "x"),
        ("wireguard_key", "x"),
        ("wireguard_key", ""),
    ] {
        let mut request = device.session_request(token);
        request[member] = json!(value);
        let response = client()
            .post(corp.url("v1/sessions"))
            .header("authorization", device.host_assertion(&corp))
            .header("content-type", "application/json")
            .body(request.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 400, "{member}");
    }
    corp.clock.advance(Duration::from_secs(301));
    assert_eq!(
        device.open_session(&corp, token).await.status(),
        403,
        "expired"
    );
    assert!(corp.told.all().is_empty());
}

#[tokio::test]
async fn large_deep_and_mistyped_requests_are_refused() {
    let corp = Corp::start().await;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20));
    let deep = format!("{{\"name\":{}", "[".repeat(60_000));
    for (body, kind, status) in [
        (large.as_str(), "application/json", 413),
        (&deep, "application/json", 400),
        ("{", "application/json", 400),
        ("[]", "application/json", 400),
        (r#"{"name":"a","name":"b"}"#, "application/json", 400),
        ("{}", "text/plain", 415),
    ] {
        let response = client()
            .post(corp.url("v1/hosts"))
            .header("content-type", kind)
            .body(body.to_owned())
            .send()
            .await
            .unwrap();

        assert_eq!(response.status(), status, "{:.20}", body);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
}

/// Changes the subject of a token, as somebody without the key would.
fn forge(token: &str, subject: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let parts: Vec<&str> = token.split('.').collect();
    let mut claims = crate::support::claims_of(token);
    claims["sub"] = json!(subject);
    format!(
        "{}.{}.{}",
        parts[0],
        URL_SAFE_NO_PAD.encode(claims.to_string()),
        parts[2]
    )
}

fn bad_claims(good: &Assertion, now: u64) -> [(&'static str, Assertion); 8] {
    [
        (
            "another audience",
            Assertion {
                aud: "https://other.example/".to_owned(),
                ..good.clone()
            },
        ),
        (
            "lapsed",
            Assertion {
                iat: now - 120,
                exp: now - 61,
                ..good.clone()
            },
        ),
        (
            "too long",
            Assertion {
                exp: now + 200,
                ..good.clone()
            },
        ),
        (
            "from the future",
            Assertion {
                iat: now + 70,
                exp: now + 100,
                ..good.clone()
            },
        ),
        (
            "backwards",
            Assertion {
                iat: now + 50,
                exp: now + 40,
                ..good.clone()
            },
        ),
        (
            "no jti",
            Assertion {
                jti: String::new(),
                ..good.clone()
            },
        ),
        (
            "a huge jti",
            Assertion {
                jti: "x".repeat(129),
                ..good.clone()
            },
        ),
        (
            "another host",
            Assertion {
                iss: "host-x".to_owned(),
                ..good.clone()
            },
        ),
    ]
}

async fn read(corp: &Corp, assertion: &str, query: &str, known: Option<&str>) -> Response {
    let mut request = client()
        .get(corp.url(&format!("v1/configuration{query}")))
        .header("authorization", assertion);
    if let Some(known) = known {
        request = request.header("if-none-match", known);
    }
    request.send().await.unwrap()
}

async fn end(corp: &Corp, id: &str, assertion: &str) -> u16 {
    client()
        .delete(corp.url(&format!("v1/sessions/{id}")))
        .header("authorization", assertion)
        .send()
        .await
        .unwrap()
        .status()
        .as_u16()
}

#[test]
fn the_policy_key_is_written_as_connectors_read_it() {
    let key = PublicKey::of(&SigningKey::from_bytes(&[7; 32]));

    assert_eq!(key.to_string().parse(), Ok(key));
}

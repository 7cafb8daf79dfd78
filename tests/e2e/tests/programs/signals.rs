//! The company says that access ends, or falls silent.

use std::time::{Duration, Instant};

use e2e::curl::{Curl, Form};
use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};
use serde_json::{Value, json};

const ENDLESS: &str = "http://wiki.corp.test/download?rate=1000000";

#[test]
fn a_revoked_session_ends_its_connections_at_once_and_stays_ended_after_a_restart() {
    let scene = Scene::new("caep");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    let mut download = curl.download(Form::Absolute, ENDLESS);
    download.wait_for(100_000, DEADLINE);
    wait_until_verified(&lab);

    let sent = Instant::now();
    emit(&lab, "session-revoked", &subject(&lab, "alice"), &json!({}));
    assert_ne!(download.wait(DEADLINE), 0);
    scene.figure(
        "from the order to revoke to the end of the connection, with two processes started in between",
        sent.elapsed(),
    );

    let (_, why) = connector.ask(&["why", "wiki.corp.test"]);
    assert_eq!(why["decision"]["reason"], "session_revoked", "{why}");
    let strange = "https://schemas.example/event-type/unheard-of";
    emit(&lab, strange, &subject(&lab, "bob"), &json!({}));
    let records = until("the records of both signals", DEADLINE, || {
        let mut records = connector.records_of(0);
        records.retain(|event| event["activity_name"] == "Signal");
        let found = |kind: &str| {
            let of_kind = |event: &&Value| event["unmapped"]["signal"]["type"] == kind;
            records.iter().find(of_kind).cloned()
        };
        found("session-revoked").zip(found("unheard-of"))
    });
    let (revoked, strange) = records;
    assert_eq!(revoked["unmapped"]["signal"]["outcome"], "applied");
    assert_eq!(revoked["actor"]["user"]["uid"], "alice");
    assert!(revoked["unmapped"]["signal"]["jti"].is_string());
    assert_eq!(strange["unmapped"]["signal"]["outcome"], "noted");
    assert!(!strange.to_string().contains("bob"), "{strange}");
    let denied = curl.get("http://wiki.corp.test/");
    assert!(
        denied.text().contains("Code: session_revoked\n"),
        "{denied:?}"
    );
    until("the acknowledgement", DEADLINE, || {
        let stream = lab.look("signals")[0].clone();
        (stream["waiting"] == json!([])).then_some(())
    });
    let log_dir = connector.path("log").display().to_string();
    let (exit, verified) = connector.ask(&["audit", "verify", "--log-dir", &log_dir]);
    assert_eq!(exit, 0, "{verified}");
    connector.process().kill();
    connector.start();
    connector.wait_until_measured();
    let (_, why) = connector.ask(&["why", "wiki.corp.test"]);
    assert_eq!(why["decision"]["reason"], "signed_out", "{why}");
}

#[test]
fn silence_ends_everything_and_a_word_restores_it() {
    let scene = Scene::new("silence");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    lab.pull("signals/lease", &json!(5));
    wait_until_verified(&lab);
    let mut download = curl.download(Form::Absolute, ENDLESS);
    download.wait_for(100_000, DEADLINE);

    lab.pull("signals/mute", &json!(true));
    let muted = Instant::now();
    assert_ne!(download.wait(DEADLINE), 0);
    scene.figure(
        "from the last word to the end, with a lease of 5 s",
        muted.elapsed(),
    );
    let denied = curl.get("http://wiki.corp.test/");
    assert!(
        denied.text().contains("Code: signals_silent\n"),
        "{denied:?}"
    );

    lab.pull("signals/mute", &json!(false));
    until("access to return", DEADLINE, || {
        (curl.get("http://wiki.corp.test/").status == 200).then_some(())
    });
}

#[test]
fn a_device_that_does_not_comply_loses_what_needs_a_good_state_until_it_complies_again() {
    let scene = Scene::new("comply");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    wait_until_verified(&lab);
    let host = lab.look("signals")[0]["host"].clone();
    let device = json!({"format": "complex", "device": {"format": "opaque", "id": host}});
    let compliance = |status: &str| {
        let members = json!({"previous_status": "compliant", "current_status": status});
        emit(&lab, "device-compliance-change", &device, &members);
    };

    // The machine that this runs on may have failings of its own.
    let before = unmet(&connector.read(&["status"]));

    compliance("not-compliant");
    let status = connector.wait_for("the finding", |status| unmet(status) == before + 1);
    assert_eq!(status["trust_level"], "low");
    connector.process().kill();
    connector.start();
    connector.wait_until_measured();
    connector.wait_for("the finding again", |status| unmet(status) == before + 1);

    compliance("compliant");
    connector.wait_for("the finding to go", |status| unmet(status) == before);
}

#[test]
fn tokens_that_are_not_for_this_stream_are_refused_and_change_nothing() {
    let scene = Scene::new("hostile-sets");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    wait_until_verified(&lab);
    let alice = subject(&lab, "alice");

    for (claims, error) in [
        (json!({"iss": "https://evil.test"}), "invalid_issuer"),
        (json!({"aud": "somebody-else"}), "invalid_audience"),
        (json!({"exp": 4_000_000_000_u64}), "invalid_request"),
        (json!({"sub": "alice"}), "invalid_request"),
        (json!({"jti": "another"}), "invalid_request"),
        (json!({"events": {}}), "invalid_request"),
        (json!({"sub_id": "alice"}), "invalid_request"),
    ] {
        let sent = lab.pull(
            "signals",
            &json!({"event": "session-revoked", "subject": alice, "claims": claims}),
        );
        let jti = sent["jti"].as_str().unwrap().to_owned();
        let refused = until("the refusal", DEADLINE, || {
            let refused = lab.look("signals")[0]["refused"][&jti].clone();
            (!refused.is_null()).then_some(refused)
        });
        assert_eq!(refused["err"], error, "{claims}: {refused}");
    }

    let curl = Curl::through(&scene, &connector.proxy());
    assert_eq!(curl.get("http://wiki.corp.test/").status, 200);
    connector.process().signal("TERM");
    connector.process().wait(DEADLINE);
    let mut rejected = connector.records_of(0);
    rejected.retain(|event| event["activity_name"] == "Reject");
    let first = &rejected[0]["unmapped"]["rejected"];
    assert_eq!(first["document"], "security_event", "{first}");
    assert_eq!(first["error"], "invalid_issuer", "{first}");
    let counts = rejected
        .iter()
        .map(|event| event["count"].as_u64().unwrap_or(1));
    assert_eq!(counts.sum::<u64>(), 7, "each is told of once: {rejected:?}");
}

fn unmet(status: &Value) -> u64 {
    status["checks_unmet"].as_u64().unwrap()
}

fn emit(lab: &Lab, event: &str, subject: &Value, members: &Value) {
    let sent = lab.pull(
        "signals",
        &json!({"event": event, "subject": subject, "members": members}),
    );
    assert!(sent["jti"].is_string(), "{sent}");
}

fn subject(lab: &Lab, login: &str) -> Value {
    json!({"format": "iss_sub", "iss": lab.ready("issuer"), "sub": login})
}

/// The connector listens once it has acknowledged the verification that it asked for.
fn wait_until_verified(lab: &Lab) {
    until("the stream to be verified", Duration::from_secs(40), || {
        let stream = lab.look("signals")[0].clone();
        (stream["acknowledged"].as_u64() >= Some(1) && stream["waiting"] == json!([])).then_some(())
    });
}

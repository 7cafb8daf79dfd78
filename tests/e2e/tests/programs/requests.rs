//! Asking for access, and getting it for a time.

use e2e::curl::{Curl, Form};
use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};
use serde_json::{Value, json};

const WIKI: &str = "http://wiki.corp.test/";

/// The wiki is for people in finance, and alice is not.
fn narrow(lab: &Lab) {
    let rules = json!([{"id": "finance-wiki", "groups": ["finance"], "resources": ["wiki"],
        "checks": ["demo-tool"], "requestable": "finance-leads"}]);
    lab.pull("rules", &rules);
}

#[test]
fn what_was_asked_for_opens_when_it_is_approved_and_ends_on_time() {
    opens_and_ends_on_time("requests-remote", "remote");
}

#[test]
fn what_was_asked_for_opens_on_a_device_that_decides_by_itself_too() {
    opens_and_ends_on_time("requests-near", "proximity");
}

fn opens_and_ends_on_time(name: &'static str, mode: &str) {
    let scene = Scene::new(name);
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", mode]);
    narrow(&lab);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    until("the refusal", DEADLINE, || {
        let why = connector.ask(&["why", "wiki.corp.test"]).1;
        (why["decision"]["requestable"] == "finance-leads").then_some(())
    });
    assert_eq!(curl.get(WIKI).status, 403);
    let told = connector.ztna(&["why", "wiki.corp.test"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("ztna request wiki.corp.test"), "{told}");

    let asked = ask(&connector, "wiki.corp.test", "5s");
    assert_eq!(asked["status"], "pending", "{asked}");
    assert_eq!(asked["approver"], "finance-leads", "{asked}");
    let recorded = until("the record of the request", DEADLINE, || {
        let records = connector.records_of(3005);
        Some(records.first()?["unmapped"]["access_request"].clone())
    });
    assert_eq!(recorded["id"], asked["id"], "{recorded}");
    assert_eq!(recorded["reason"], "Pay day", "{recorded}");
    assert_eq!(state_of(&connector, &asked), "pending");
    assert_eq!(curl.get(WIKI).status, 403);

    pull(&lab, &asked, "approve");
    until("access", DEADLINE, || {
        (curl.get(WIKI).status == 200).then_some(())
    });
    assert_eq!(state_of(&connector, &asked), "approved");
    let mut download = curl.download(
        Form::Absolute,
        "http://wiki.corp.test/download?rate=1000000",
    );
    download.wait_for(100_000, DEADLINE);
    let until_then = lab.look("requests")[0]["expires_at"].as_u64().unwrap() * 1000;

    assert_ne!(download.wait(DEADLINE), 0);
    assert_eq!(curl.get(WIKI).status, 403);
    let late = revoked_at(&connector).checked_sub(until_then);
    assert!(late.is_some_and(|late| late < 3_000), "{late:?} ms late");
    until("the end of the request", DEADLINE, || {
        (state_of(&connector, &asked) == "expired").then_some(())
    });
    let records = until("the record of the end", DEADLINE, || {
        let records = connector.records_of(3005);
        (records.len() >= 3).then_some(records)
    });
    let states = records
        .iter()
        .map(|record| &record["unmapped"]["access_request"]);
    let states: Vec<&Value> = states.map(|request| &request["state"]).collect();
    assert_eq!(states, ["pending", "approved", "expired"]);
    let permitted = permitted_records(&connector);
    let request = &permitted[0]["unmapped"]["request"];
    assert_eq!(request["id"], asked["id"], "{request}");
    if mode == "remote" {
        assert_eq!(request["reason"], "Pay day", "{request}");
    }
}

#[test]
fn what_was_denied_or_taken_back_does_not_open() {
    let scene = Scene::new("requests-denied");
    let lab = Lab::start(&scene);
    narrow(&lab);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());

    let denied = ask(&connector, "wiki.corp.test", "1h");
    pull(&lab, &denied, "deny");
    assert_eq!(state_of(&connector, &denied), "denied");
    assert_eq!(curl.get(WIKI).status, 403);

    let second = ask(&connector, "wiki.corp.test", "1h");
    refused(&connector, "wiki.corp.test", "1h", "asked already");
    pull(&lab, &second, "approve");
    until("access", DEADLINE, || {
        (curl.get(WIKI).status == 200).then_some(())
    });
    let mut download = curl.download(
        Form::Absolute,
        "http://wiki.corp.test/download?rate=1000000",
    );
    download.wait_for(100_000, DEADLINE);
    pull(&lab, &second, "deny");
    assert_ne!(download.wait(DEADLINE), 0);
    until("the refusal", DEADLINE, || {
        (curl.get(WIKI).status == 403).then_some(())
    });

    refused(&connector, "nowhere.corp.test", "1h", "no protected");
    refused(&connector, "wiki.corp.test:22", "1h", "not offered");
    refused(&connector, "wiki.corp.test", "13h", "43200 seconds");
    refused(&connector, "echo.corp.test", "1h", "Nobody can approve");
    let listed = connector.read(&["requests"]);
    assert_eq!(listed["requests"].as_array().unwrap().len(), 2, "{listed}");
    until("the record of the denial", DEADLINE, || {
        let records = connector.records_of(3005);
        let mut requests = records
            .iter()
            .map(|record| &record["unmapped"]["access_request"]);
        requests
            .any(|it| it["id"] == denied["id"] && it["state"] == "denied")
            .then_some(())
    });
}

fn ask(connector: &Connector<'_>, host: &str, time: &str) -> Value {
    connector.read(&["request", host, "--reason", "Pay day", "--for", time])
}

fn refused(connector: &Connector<'_>, host: &str, time: &str, expected: &str) {
    let output = connector.ztna(&["request", host, "--reason", "Pay day", "--for", time]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(expected), "{expected} in {told}");
}

fn pull(lab: &Lab, request: &Value, verb: &str) {
    let id = request["id"].as_str().expect("the request's id");
    let task = lab.pull(&format!("requests/{id}/{verb}"), &json!({}));
    assert_eq!(task["id"], request["id"], "{task}");
    let listed = lab.look("requests");
    assert_eq!(listed[0]["person"], "alice", "{listed}");
}

fn state_of(connector: &Connector<'_>, request: &Value) -> Value {
    let listed = connector.read(&["requests"]);
    let mut all = listed["requests"].as_array().unwrap().iter();
    let found = all.find(|listed| listed["id"] == request["id"]);
    found.unwrap_or_else(|| panic!("{listed}"))["status"].clone()
}

/// Returns when the open connection was cut, in milliseconds since 1970.
fn revoked_at(connector: &Connector<'_>) -> u64 {
    let mut events = connector.decision_log().into_iter();
    let revoked = events.find(|event| event["authorizations"][0]["decision"] == "revoked");
    let time = revoked.expect("a record of the cut")["time"].as_u64();
    time.expect("its time")
}

fn permitted_records(connector: &Connector<'_>) -> Vec<Value> {
    let mut events = connector.decision_log();
    events.retain(|event| event["authorizations"][0]["decision"] == "permitted");
    events
}

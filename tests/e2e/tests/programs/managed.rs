//! What the administrator manages: it counts at once, it locks, and there is a way out.

use std::net::TcpListener;
use std::time::Instant;

use e2e::curl::Curl;
use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::{Connector, has_active_gateway};
use e2e::wait::{DEADLINE, until};
use serde_json::{Value, json};

const WIKI: &str = "http://wiki.corp.test/";

#[test]
fn what_the_administrator_locks_on_stays_on_and_a_code_of_the_company_opens_it_once() {
    let scene = Scene::new("always-on");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    assert_eq!(curl.get(WIKI).status, 200);
    assert!(connector.ztna(&["down"]).status.success());
    assert_eq!(connector.read(&["status"])["standing"], "paused");

    connector.manage("[always_on]\nenabled = true\n\n[managed]\nby = \"Corp IT\"\n");
    // What was off is on again, without anybody's doing.
    connector.wait_for("the connector to be on again", |status| {
        status["managed"]["always_on"] == true && status["standing"] != "paused"
    });
    down_is_refused(&connector);

    let challenge = connector.read(&["override"]);
    assert_eq!(challenge["schema"], "ztna.override/1", "{challenge}");
    let code = code(&lab, &challenge, 30);
    a_foreign_code_is_refused(&connector, &lab, &challenge);
    // The code works without the company.
    let redeemed = connector.read(&["override", "redeem", &code, "--reason", "Hotel network"]);
    assert_eq!(redeemed["by"], "Help desk", "{redeemed}");
    let status = connector.read(&["status"]);
    assert_eq!(status["standing"], "paused", "{status}");
    assert!(status["paused_until"].is_string(), "{status}");
    assert_eq!(curl.get(WIKI).status, 403);

    assert!(connector.ztna(&["up"]).status.success());
    until("the wiki again", DEADLINE, || {
        (curl.get(WIKI).status == 200).then_some(())
    });
    down_is_refused(&connector);
    replay_is_refused(&connector, &code, "used already");
    it_is_written_down_and_reported(&connector, &lab);

    connector.process().signal("TERM");
    assert!(connector.process().wait(DEADLINE).0.success());
    connector.start();
    connector.wait_for("the device to be known", |status| {
        status["configuration_version"].is_u64()
    });
    let _fresh = connector.read(&["override"]);
    replay_is_refused(&connector, &code, "has lapsed");
    down_is_refused(&connector);
}

fn down_is_refused(connector: &Connector<'_>) {
    let refused = connector.ztna(&["down", "--for", "15m", "--reason", "I want to"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(9), "{words}");
    assert!(words.contains("Corp IT has decided"), "{words}");
    assert!(words.contains("ztna override"), "{words}");
}

fn a_foreign_code_is_refused(connector: &Connector<'_>, lab: &Lab, challenge: &Value) {
    let mut other = challenge.clone();
    other["device"] = "somebody-elses".into();
    for code in [code(lab, &other, 30), "a.b.c".into()] {
        let refused = connector.ztna(&["override", "redeem", &code, "--reason", "Hotel"]);
        assert_eq!(refused.status.code(), Some(9), "{refused:?}");
    }
    assert_ne!(connector.read(&["status"])["standing"], "paused");
}

fn replay_is_refused(connector: &Connector<'_>, code: &str, words: &str) {
    let refused = connector.ztna(&["override", "redeem", code, "--reason", "Again"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(9), "{said}");
    assert!(said.contains(words), "{said}");
    assert_ne!(connector.read(&["status"])["standing"], "paused");
}

fn it_is_written_down_and_reported(connector: &Connector<'_>, lab: &Lab) {
    let records = connector.records_of(0);
    let changes: Vec<&Value> = records
        .iter()
        .map(|event| &event["unmapped"]["protection"])
        .filter(|protection| protection.is_object())
        .collect();
    let words: Vec<&str> = changes
        .iter()
        .filter_map(|protection| protection["change"].as_str())
        .collect();
    assert_eq!(
        words,
        [
            "paused",
            "settings_changed",
            "resumed",
            "override_refused",
            "override_refused",
            "overridden",
            "resumed",
            "override_refused",
        ]
    );
    assert_eq!(
        changes[1]["keys"],
        json!(["always_on.enabled", "managed.by"])
    );
    assert_eq!(changes[2]["by"], "administrator");
    let overridden = changes[5];
    assert_eq!(overridden["reason"], "Hotel network");
    assert_eq!(overridden["allowed_for"], "Hotel without Wi-Fi");
    assert_eq!(overridden["by"], "Help desk");
    let jti = overridden["code"].as_str().unwrap();
    until("the company to have the record", DEADLINE, || {
        lab.look("records").to_string().contains(jti).then_some(())
    });
}

/// Makes a code, as the help desk does.
fn code(lab: &Lab, challenge: &Value, minutes: u32) -> String {
    let made = lab.pull(
        "overrides",
        &json!({
            "device": challenge["device"],
            "challenge": challenge["challenge"],
            "minutes": minutes,
            "reason": "Hotel without Wi-Fi",
        }),
    );
    made["code"].as_str().unwrap().to_owned()
}

#[test]
fn managed_settings_count_within_seconds_and_broken_ones_change_nothing() {
    let scene = Scene::new("managed");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    assert!(connector.read(&["status"])["managed"].is_null());

    connector.manage(
        "[pause]\nlimit = 10\nreason_required = true\n\n[support]\naddress = \"help@corp.test\"\n\n[log]\nlevel = \"debug\"\n",
    );
    let status = connector.wait_for("the new settings", |status| {
        status["managed"]["reason_required"] == true
    });
    assert_eq!(status["support"], "help@corp.test");
    until("lines of the new level", DEADLINE, || {
        connector.log().contains("DEBUG").then_some(())
    });
    let settings = connector.read(&["config"]);
    let settings = settings["settings"].as_array().unwrap();
    let limit = settings.iter().find(|one| one["key"] == "pause.limit");
    let limit = limit.unwrap();
    assert_eq!(
        (&limit["value"], &limit["locked"]),
        (&json!("10"), &json!(true))
    );

    let silent = connector.ztna(&["down"]);
    assert_eq!(silent.status.code(), Some(9), "{silent:?}");
    let said = connector.ztna(&["down", "--for", "8h", "--reason", "Backup"]);
    assert!(said.status.success(), "{said:?}");
    let words = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(words.contains("min)"), "the limit is told: {words}");
    assert!(connector.ztna(&["up"]).status.success());

    connector.manage("[pause]\nlimit = \"ten\"\n");
    let status = connector.wait_for("the problem", |status| {
        status["managed"]["problem"].is_string()
    });
    assert_eq!(status["managed"]["pause_limit"], 10, "{status}");
    let problem = status["managed"]["problem"].as_str().unwrap();
    assert!(problem.contains("managed.toml, line 2"), "{problem}");
    let diagnosis = connector.read(&["doctor"]);
    let examined = diagnosis["examined"].as_array().unwrap();
    let one = examined
        .iter()
        .find(|one| one["code"] == "managed-settings");
    assert_eq!(one.unwrap()["condition"], "warning", "{diagnosis}");
}

#[test]
fn what_the_service_is_built_with_changes_while_it_runs_and_back_where_it_cannot() {
    let scene = Scene::new("anew");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);

    let begun = Instant::now();
    connector.manage(&format!(
        "[proxy]\nlisten = {listen:?}\n\n[log]\nformat = \"json\"\n\n[managed]\nby = \"Corp IT\"\n"
    ));
    until("the proxy at its new place", DEADLINE, || {
        let status = connector.status_if_up()?;
        (status["proxy"]["listen"] == listen.as_str()).then_some(())
    });
    let status = connector.wait_for("a gateway", has_active_gateway);
    scene.figure("until changed settings are in force", begun.elapsed());
    assert_eq!(status["identity"]["subject"], "alice", "{status}");
    assert_eq!(status["managed"]["changes"], 1, "{status}");
    let curl = Curl::through(&scene, &connector.proxy());
    assert_eq!(curl.get(WIKI).status, 200);
    let log = connector.log();
    let last = log.lines().last().unwrap();
    serde_json::from_str::<Value>(last).unwrap_or_else(|error| panic!("{last}: {error}"));
    let records = connector.records_of(0);
    let changes: Vec<&Value> = records
        .iter()
        .map(|event| &event["unmapped"]["protection"])
        .filter(|protection| protection["change"] == "settings_changed")
        .collect();
    let keys = json!(["managed.by", "proxy.listen", "log.format"]);
    assert!(
        changes.len() == 1 && changes[0]["keys"] == keys,
        "{changes:?}"
    );

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    connector.manage(&format!(
        "[proxy]\nlisten = \"{}\"\n",
        taken.local_addr().unwrap()
    ));
    let status = until("the problem", DEADLINE, || {
        let status = connector.status_if_up()?;
        status["managed"]["problem"].is_string().then_some(status)
    });
    let problem = status["managed"]["problem"].as_str().unwrap();
    assert!(problem.contains("Failed to listen at"), "{problem}");
    assert_eq!(status["proxy"]["listen"], listen.as_str(), "{status}");
    connector.wait_for("a gateway", has_active_gateway);
    assert_eq!(curl.get(WIKI).status, 200);

    // Asked to end, it does so for good.
    connector.process().signal("TERM");
    assert!(connector.process().wait(DEADLINE).0.success());
}

#[test]
fn a_device_is_moved_to_another_control_plane_without_a_hand_on_it() {
    let scene = Scene::new("moved");
    let (lab, other) = (
        Lab::start(&scene),
        Lab::start_with(&scene, "other-lab", &[]),
    );
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");

    connector.write("other-token", other.ready("enrolment_token"));
    connector.manage(&format!(
        "[control_plane]\nurl = {:?}\npolicy_key = {:?}\nenrolment_token_file = {:?}\n",
        other.ready("control_plane"),
        other.ready("policy_key"),
        connector.path("other-token"),
    ));

    let status = until("the other company's configuration", DEADLINE, || {
        let status = connector.status_if_up()?;
        let there = status["control_plane"] == other.ready("control_plane");
        (there && status["configuration_version"].is_u64()).then_some(status)
    });
    assert_eq!(status["managed"]["problem"], Value::Null, "{status}");
    connector.sign_in("alice");
    connector.wait_for("a gateway", has_active_gateway);
    let curl = Curl::through(&scene, &connector.proxy());
    assert_eq!(curl.get(WIKI).status, 200);
}

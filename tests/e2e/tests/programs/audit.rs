//! The decision log: whole, delivered, and not to be edited unnoticed.

use std::fs;

use e2e::curl::Curl;
use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::wait::DEADLINE;
use serde_json::Value;

#[test]
fn the_log_is_delivered_and_whoever_edits_it_is_found_out() {
    let scene = Scene::new("audit");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    assert_eq!(curl.get("http://wiki.corp.test/").status, 200);
    assert_eq!(curl.get("http://payroll.corp.test/").status, 403);

    connector.process().kill();
    connector.start();
    connector.wait_for("the same person", |status| {
        status["identity"]["subject"] == "alice"
    });
    connector.process().signal("TERM");
    let _ended = connector.process().wait(DEADLINE);
    connector.start();
    connector.wait_for("all is delivered", |status| {
        let records = &status["records"];
        records["written"].as_u64() > Some(5) && records["delivered"] == records["written"]
    });

    // The kill is told of, by the host's own signature, here and at the control plane.
    let told = "the last run did not end in order";
    let collected = lab.look("records")[0].clone();
    assert_eq!(collected["flaws"], Value::Array(vec![]), "{collected}");
    assert!(collected["gaps"].to_string().contains(told), "{collected}");
    let anchor = scene.path("anchor");
    fs::write(&anchor, collected["checkpoint"].as_str().unwrap()).unwrap();
    let (log_dir, anchor) = (connector.path("log"), anchor.display().to_string());
    let log_dir = log_dir.display().to_string();
    let verify = || {
        connector.ask(&[
            "audit",
            "verify",
            "--log-dir",
            &log_dir,
            "--anchor",
            &anchor,
        ])
    };
    let (exit, report) = verify();
    assert_eq!((exit, &report["anchored"]), (0, &1.into()), "{report}");
    assert_eq!(report["gaps"][0]["cause"]["kind"], "unclean");

    // Somebody with the user's rights makes a refusal look like a permit.
    let log = connector.path("log/decisions.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(
        &log,
        text.replacen(r#""decision":"denied""#, r#""decision":"permitted""#, 1),
    )
    .unwrap();
    let (exit, edited) = verify();
    let kept = text.lines().take(4).map(|line| format!("{line}\n"));
    fs::write(&log, kept.collect::<String>()).unwrap();
    let (cut_exit, cut) = verify();

    assert_eq!((exit, &edited["flaws"][0]["kind"]), (1, &"changed".into()));
    assert_eq!((cut_exit, &cut["flaws"][0]["kind"]), (1, &"missing".into()));
}

#[test]
fn decisions_made_while_the_collector_is_away_wait_and_that_is_said() {
    let scene = Scene::new("collector");
    let state = scene.path("lab-state").display().to_string();
    let lab = Lab::start_with(&scene, "lab", &["--state", &state]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    connector.wait_for("the log is delivered", |status| {
        status["records"]["delivered"].as_u64() > Some(0)
    });
    drop(lab);

    for _ in 0..5 {
        let _refused = curl.get("http://nowhere.corp.test/");
    }
    let waiting = connector.wait_for("lines wait, and that is said", |status| {
        let records = &status["records"];
        records["problem"].is_string()
            && records["written"].as_u64() > records["delivered"].as_u64()
    });

    assert!(
        waiting["records"]["problem"]
            .as_str()
            .unwrap()
            .contains("control plane")
    );
}

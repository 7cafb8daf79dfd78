//! Policies that are decided on the device itself.

use std::time::Duration;

use e2e::curl::{Curl, Form};
use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};
use serde_json::json;

const WIKI: &str = "http://wiki.corp.test/";

#[test]
fn the_device_decides_by_itself_and_a_new_commit_ends_what_it_forbids() {
    let scene = Scene::new("proximity");
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", "proximity"]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());

    until("policies in force", DEADLINE, || {
        (curl.get(WIKI).status == 200).then_some(())
    });
    assert_eq!(curl.get("http://payroll.corp.test/").status, 403);
    let permitted = connector.last_decision("wiki.corp.test:80").unwrap();
    assert_eq!(
        permitted["decided_by"], "pdp, policy staff-tools/wiki",
        "{permitted}"
    );
    // Nobody in the network was asked.
    let counts = lab.look("decisions");
    assert_eq!(
        (&counts["permits"], &counts["denials"]),
        (&json!(0), &json!(0))
    );

    let mut download = curl.download(
        Form::Absolute,
        "http://wiki.corp.test/download?rate=1000000",
    );
    download.wait_for(100_000, DEADLINE);
    let nobody = r#"
        @id("wiki") permit(principal, action == Action::"connect", resource == Resource::"wiki");
        @id("nobody") @reason_user("Closed for today.") forbid(principal, action, resource);"#;
    lab.pull("policies", &json!({ "closed.cedar": nobody }));
    assert_ne!(download.wait(DEADLINE), 0);
    let refused = curl.get(WIKI);
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("Closed for today."), "{refused:?}");

    // What was in force is in force after a restart, without a control plane.
    drop(lab);
    connector.process().kill();
    connector.start();
    until("the kept policies", DEADLINE, || {
        connector
            .log()
            .contains("Policies are in force")
            .then_some(())
    });
}

const OFFLINE: &str = r#"
@id("lasting") @lease("20s") @offline("2m")
permit(principal, action == Action::"connect", resource == Resource::"wiki");
@id("online") @lease("20s")
permit(principal, action == Action::"connect", resource == Resource::"dev");
"#;

#[test]
fn without_the_control_plane_only_what_a_policy_lets_last_goes_on_and_for_no_longer() {
    let scene = Scene::new("proximity-offline");
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", "proximity"]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let commit = lab.pull("policies", &json!({ "all.cedar": OFFLINE }))["commit"].clone();
    until("the commit on the device", DEADLINE, || {
        let (_, why) = connector.ask(&["why", "wiki.corp.test"]);
        (why["decision"]["commit"] == commit).then_some(())
    });
    let curl = Curl::through(&scene, &connector.proxy());
    let begin = |host: &str| {
        let url = format!("http://{host}/download?rate=10000");
        let mut download = curl.download_until_closed(Form::Absolute, &url);
        download.wait_for(10_000, DEADLINE);
        download
    };
    let (mut lasting, mut online) = (begin("wiki.corp.test"), begin("www.dev.corp.test"));

    lab.pull("control-plane/away", &json!(true));
    online.wait(LONG_DEADLINE);

    let why_of = |target: &str| connector.ask(&["why", target]);
    let (exit, why) = why_of("www.dev.corp.test");
    assert_eq!(
        (exit, &why["decision"]["reason"]),
        (10, &json!("offline")),
        "{why}"
    );
    let refused = curl.get("http://www.dev.corp.test/");
    assert!(refused.text().contains("Code: offline\n"), "{refused:?}");
    let (exit, why) = why_of("wiki.corp.test");
    assert_eq!(exit, 0, "{why}");
    assert_eq!(curl.get(WIKI).status, 200);
    assert!(!lasting.has_ended(), "{}", lasting.error());

    lasting.wait(LONG_DEADLINE);
    let (exit, why) = why_of("wiki.corp.test");
    assert_eq!(
        (exit, &why["decision"]["reason"]),
        (10, &json!("offline")),
        "{why}"
    );
    for target in ["wiki.corp.test:80", "www.dev.corp.test:80"] {
        let last = connector.last_decision(target).unwrap();
        assert_eq!(last["reason"], "offline", "{last}");
    }
    let silences = silences_at_permits(&connector);
    let allowed = |silence: &u64| (90..120).contains(silence);
    assert!(
        !silences.is_empty() && silences.iter().all(allowed),
        "{silences:?}"
    );
}

/// Returns for how long the control plane had been silent, in seconds, whenever something was permitted offline.
fn silences_at_permits(connector: &Connector<'_>) -> Vec<u64> {
    let permitted = connector.decision_log().into_iter();
    let permitted = permitted.filter(|event| event["authorizations"][0]["decision"] == "permitted");
    permitted
        .filter_map(|event| event["unmapped"]["offline_seconds"].as_u64())
        .collect()
}

/// The service takes its time until it counts as offline.
const LONG_DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn policies_that_no_connector_would_take_are_refused_by_name() {
    let scene = Scene::new("proximity-bad");
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", "proximity"]);
    let broken = json!({"office.cedar": "@id(\"x\")\npermit(principal, action, resource)\nwhen { context.nonsense };"});

    let mut command = std::process::Command::new("curl");
    command.args(["--disable", "--silent", "--max-time", "10"]);
    command.args(["--header", "Content-Type: application/json"]);
    command.args(["--data", &broken.to_string()]);
    command.arg(format!("{}lab/policies", lab.ready("admin")));
    let answer = e2e::process::succeed(&mut command);

    assert!(answer.contains("office.cedar:3"), "{answer}");
    assert!(answer.contains("nonsense"), "{answer}");
}

//! Policies that are decided on the device itself.

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

//! Acting for somebody else: programs with a person's consent, people in another's context.

use std::fs;
use std::path::PathBuf;

use e2e::curl::{Curl, Form};
use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};
use serde_json::{Value, json};

use crate::posture::forbidden_program;

const WIKI: &str = "http://wiki.corp.test/";
const PAYROLL: &str = "http://payroll.corp.test/";

const STEP_UP: &str = r#"
@id("dev") permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"dev");
@id("wiki") @step_up("urn:corp:mfa")
permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki")
when { context has assurance && context.assurance.level == "urn:corp:mfa" };
"#;

const ELEVATE: [&str; 8] = [
    "elevate",
    "carol",
    "--reason",
    "Carol is ill",
    "--evidence",
    "ticket:4711",
    "--for",
    "30m",
];

#[test]
fn an_agent_acts_with_consent_within_its_scope_and_with_its_content_alone() {
    let scene = Scene::new("delegation");
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", "proximity"]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let proxy = connector.proxy();
    let program = agent(&scene);
    let path = program.display().to_string();
    let agent = Curl::through(&scene, &proxy).run_from(&program);
    until("policies in force", DEADLINE, || {
        (Curl::through(&scene, &proxy).get(WIKI).status == 200).then_some(())
    });

    // Without a consent.
    let refused = agent.get(WIKI);
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.text().contains("delegation_needed"), "{refused:?}");
    let why = connector.ztna(&["why", "wiki.corp.test", "--as", &path]);
    let told = String::from_utf8_lossy(&why.stdout).into_owned();
    assert_eq!(why.status.code(), Some(5), "{told}");
    let verb = format!("ztna delegate {path} --to wiki.corp.test");
    assert!(told.contains(&verb), "{verb} in {told}");

    // With one, and for nothing else.
    let consent = ["delegate", &path, "--to", "wiki.corp.test", "--for", "1h"];
    let granted = connector.read(&consent);
    let id = granted["id"].as_str().unwrap().to_owned();
    assert_eq!(granted["program"], path.as_str(), "{granted}");
    assert_eq!(granted["policy"], "consent-to-agents", "{granted}");
    assert_eq!(agent.get(WIKI).status, 200);
    assert_eq!(agent.get("http://www.dev.corp.test/").status, 403);
    let listed = connector.read(&["delegations"]);
    assert_eq!(listed["delegations"][0], without_schema(&granted));
    let permitted = connector.decision_log().into_iter().rev().find(|event| {
        event["authorizations"][0]["decision"] == "permitted"
            && event["actor"]["process"]["file"]["path"] == path.as_str()
    });
    assert_eq!(permitted.unwrap()["unmapped"]["delegation"], id.as_str());

    // Taken back: at once, for what is open as well.
    let mut download = agent.download(
        Form::Absolute,
        "http://wiki.corp.test/download?rate=1000000",
    );
    download.wait_for(100_000, DEADLINE);
    assert!(
        connector
            .ztna(&["delegate", "--revoke", &id])
            .status
            .success()
    );
    assert_ne!(download.wait(DEADLINE), 0);
    assert_eq!(agent.get(WIKI).status, 403);

    // It ends by itself.
    grant(
        &connector,
        &["delegate", &path, "--to", "wiki", "--for", "2s"],
    );
    assert_eq!(agent.get(WIKI).status, 200);
    until("the consent's end", DEADLINE, || {
        (agent.get(WIKI).status == 403).then_some(())
    });

    // Another content is another program.
    grant(
        &connector,
        &["delegate", &path, "--to", "wiki", "--for", "1h"],
    );
    assert_eq!(agent.get(WIKI).status, 200);
    let mut content = fs::read(&program).unwrap();
    content.extend(b"more");
    fs::write(&program, content).unwrap();
    assert_eq!(agent.get(WIKI).status, 403);

    let outcomes = outcomes(&connector);
    for expected in ["granted", "ended revoked", "ended time_over"] {
        assert!(outcomes.iter().any(|it| it == expected), "{outcomes:?}");
    }
    verifies(&connector);
}

#[test]
fn a_consent_that_the_policy_does_not_permit_is_refused_and_written_down() {
    let scene = Scene::new("delegation-refused");
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", "proximity"]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let path = agent(&scene).display().to_string();
    let script = scene.write("agents/script", "#!/bin/sh\n");
    let script = script.display().to_string();
    until("a consent", DEADLINE, || {
        let consented = connector.ztna(&["delegate", &path, "--to", "wiki"]);
        consented.status.success().then_some(())
    });

    for (program, scope, time, exit, expected) in [
        ("/bin/sh", "wiki", "1h", 5, "Staff may let agents"),
        (&*path, "wiki,payroll", "1h", 5, "Staff may let agents"),
        (&*path, "wiki", "3h", 5, "Staff may let agents"),
        (&*path, "nowhere.corp.test", "1h", 1, "no protected"),
        (&*script, "wiki", "1h", 1, "is a script"),
    ] {
        let refused = connector.ztna(&["delegate", program, "--to", scope, "--for", time]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(
            refused.status.code(),
            Some(exit),
            "{program} {scope}: {told}"
        );
        assert!(told.contains(expected), "{expected} in {told}");
    }
    let unknown = connector.ztna(&["delegate", "--revoke", "d-0"]);
    assert_eq!(unknown.status.code(), Some(1));

    let refused = outcomes(&connector);
    let refused = refused.iter().filter(|it| *it == "refused policy_denied");
    assert_eq!(refused.count(), 3);
    verifies(&connector);
}

#[test]
fn a_person_acts_in_the_context_of_another_while_the_policy_permits_it() {
    let scene = Scene::new("elevation");
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", "proximity"]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("dave");
    let curl = Curl::through(&scene, &connector.proxy());
    until("policies in force", DEADLINE, || {
        (curl.get(WIKI).status == 200).then_some(())
    });
    assert_eq!(curl.get(PAYROLL).status, 403);

    // Not without a ticket, and not as anybody.
    refused(
        &connector,
        &["elevate", "carol", "--reason", "Pay day"],
        "with a ticket",
    );
    let boss = refused(
        &connector,
        &["elevate", "alice", "--reason", "x"],
        "no such thing",
    );
    let nobody = refused(
        &connector,
        &["elevate", "nobody", "--reason", "x"],
        "no such thing",
    );
    assert_eq!(boss, nobody);

    let granted = connector.read(&ELEVATE);
    let id = granted["id"].as_str().unwrap().to_owned();
    assert_eq!(granted["policy"], "act-as-carol", "{granted}");
    assert_eq!(curl.get(PAYROLL).status, 200);
    let permitted = connector.decision_log().into_iter().rev().find(|event| {
        event["authorizations"][0]["decision"] == "permitted"
            && event["unmapped"]["resource"] == "payroll"
    });
    let permitted = permitted.unwrap();
    assert_eq!(permitted["actor"]["user"]["uid"], "dave", "{permitted}");
    assert_eq!(permitted["unmapped"]["elevation"]["target"], "carol");
    assert_eq!(permitted["unmapped"]["elevation"]["id"], id.as_str());
    refused(&connector, &ELEVATE, "already");
    assert!(
        connector
            .ztna(&["elevate", "--revoke", &id])
            .status
            .success()
    );
    assert_eq!(curl.get(PAYROLL).status, 403);
    let outcomes = outcomes(&connector);
    for expected in [
        "refused policy_denied",
        "refused unknown_resource",
        "granted",
        "ended revoked",
    ] {
        assert!(outcomes.iter().any(|it| it == expected), "{outcomes:?}");
    }
    verifies(&connector);
}

#[test]
fn an_elevation_ends_with_the_devices_good_state_and_with_the_session() {
    let scene = Scene::new("elevation-ends");
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", "proximity"]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("dave");
    let curl = Curl::through(&scene, &connector.proxy());
    let elevated = || {
        let output = connector.ztna(&ELEVATE);
        output.status.success().then_some(())
    };
    until("an elevation", DEADLINE, elevated);
    assert_eq!(curl.get(PAYROLL).status, 200);
    let mut download = curl.download(
        Form::Absolute,
        "http://payroll.corp.test/download?rate=1000000",
    );
    download.wait_for(100_000, DEADLINE);
    let forbidden = forbidden_program(&scene);
    assert_ne!(download.wait(DEADLINE), 0);
    until("the end of the elevation", DEADLINE, || {
        let listed = connector.read(&["elevations"]);
        listed["elevations"].as_array()?.is_empty().then_some(())
    });
    drop(forbidden);
    until("another one", DEADLINE, elevated);
    assert_eq!(curl.get(PAYROLL).status, 200);

    assert!(connector.ztna(&["logout"]).status.success());
    connector.sign_in("dave");
    let listed = connector.read(&["elevations"]);
    assert_eq!(listed["elevations"].as_array().map(Vec::len), Some(0));
    let outcomes = outcomes(&connector);
    for expected in ["ended posture_unmet", "ended session_expired"] {
        assert!(outcomes.iter().any(|it| it == expected), "{outcomes:?}");
    }
    verifies(&connector);
}

#[test]
fn where_a_policy_server_decides_nobody_acts_for_somebody_else() {
    let scene = Scene::new("trust-remote");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("dave");

    for verb in [
        &["elevate", "carol", "--reason", "Pay day"][..],
        &["delegate", "/bin/sh", "--to", "wiki"][..],
    ] {
        let output = connector.ztna(verb);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("here a policy server decides"), "{told}");
    }
}

#[test]
fn a_stronger_sign_in_opens_what_wants_one_and_cuts_nothing_before_it_is_there() {
    let scene = Scene::new("step-up");
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", "proximity"]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    lab.pull("policies", &json!({ "all.cedar": STEP_UP }));
    until("the refusal", DEADLINE, || {
        let why = connector.ask(&["why", "wiki.corp.test"]).1;
        (why["decision"]["step_up"]["acr_values"] == "urn:corp:mfa").then_some(())
    });
    let told = connector.ztna(&["why", "wiki.corp.test"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("ztna login --step-up wiki.corp.test"),
        "{told}"
    );
    let session = connector.read(&["whoami"])["session_id"].clone();
    let mut download = curl.download(
        Form::Absolute,
        "http://www.dev.corp.test/download?rate=1000000",
    );
    download.wait_for(100_000, DEADLINE);

    // Given up half-way, nothing has changed.
    let given_up = connector.ztna(&[
        "login",
        "--no-browser",
        "--step-up",
        "wiki.corp.test",
        "--timeout",
        "1",
    ]);
    assert_eq!(given_up.status.code(), Some(7), "{given_up:?}");
    let so_far = download.size();
    download.wait_for(so_far + 100_000, DEADLINE);
    assert_eq!(connector.read(&["whoami"])["session_id"], session);
    assert_eq!(curl.get(WIKI).status, 403);

    connector.sign_in_with("alice", &["--step-up", "wiki.corp.test"]);
    assert_eq!(curl.get(WIKI).status, 200);
    let permitted = connector.decision_log().into_iter().rev().find(|event| {
        event["authorizations"][0]["decision"] == "permitted"
            && event["unmapped"]["resource"] == "wiki"
    });
    let permitted = permitted.unwrap();
    assert_eq!(permitted["unmapped"]["assurance"]["level"], "urn:corp:mfa");
    assert_ne!(connector.read(&["whoami"])["session_id"], session);
    let again = connector.ztna(&["login", "--no-browser", "--step-up", "wiki.corp.test"]);
    let told = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(told.contains("permitted already"), "{told}");

    // A sign-in without a second factor is as good as it says, and not better.
    connector.sign_in("alice");
    assert_eq!(curl.get(WIKI).status, 403);
}

/// Makes a program that policies take for an agent.
fn agent(scene: &Scene) -> PathBuf {
    let curl = ["/usr/bin/curl", "/bin/curl"];
    let curl = curl.into_iter().find(|path| fs::metadata(path).is_ok());
    let folder = scene.path("agents");
    fs::create_dir_all(&folder).unwrap();
    let agent = folder.canonicalize().unwrap().join("reader");
    fs::copy(curl.expect("curl"), &agent).unwrap();
    agent
}

fn grant(connector: &Connector<'_>, verb: &[&str]) {
    let granted = connector.read(verb);
    assert!(granted["id"].is_string(), "{granted}");
}

fn refused(connector: &Connector<'_>, verb: &[&str], expected: &str) -> String {
    let output = connector.ztna(verb);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains(expected), "{expected} in {told}");
    told
}

/// Returns what the decision log says of consents and elevations, with the reasons.
fn outcomes(connector: &Connector<'_>) -> Vec<String> {
    let events = connector.records_of(3005).into_iter();
    events
        .map(|event| {
            let outcome = event["unmapped"]["trust"]["outcome"].as_str();
            let outcome = outcome.unwrap_or_default();
            match event["status_code"].as_str() {
                Some(code) => format!("{outcome} {code}"),
                None => outcome.to_owned(),
            }
        })
        .collect()
}

fn verifies(connector: &Connector<'_>) {
    let log_dir = connector.path("log").display().to_string();
    let (exit, verified) = connector.ask(&["audit", "verify", "--log-dir", &log_dir]);
    assert_eq!(exit, 0, "{verified}");
}

fn without_schema(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("schema");
    }
    object
}

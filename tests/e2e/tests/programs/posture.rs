//! A device whose state changes.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::curl::{Curl, Form};
use e2e::lab::Lab;
use e2e::process::{Running, succeed};
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};

#[test]
fn a_check_that_fails_cuts_open_downloads_and_passing_again_needs_no_new_login() {
    let scene = Scene::new("posture");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let session = connector.read(&["whoami"])["session_id"].clone();
    let curl = Curl::through(&scene, &connector.proxy());
    let endless = "http://wiki.corp.test/download?rate=1000000";
    let mut downloads: Vec<_> = [Form::Absolute, Form::Connect, Form::Socks]
        .into_iter()
        .map(|form| curl.download_until_closed(form, endless))
        .collect();
    for download in &mut downloads {
        download.wait_for(100_000, DEADLINE);
    }

    let changed = Instant::now();
    let mut forbidden = forbidden_program(&scene);
    for download in &mut downloads {
        let exit = download.wait(Duration::from_secs(10));
        assert_ne!(exit, 0, "a cut download must not look whole");
    }
    scene.figure("from the change to the last byte", changed.elapsed());
    for download in &downloads {
        assert!(!download.error().is_empty());
    }

    until("a record that it was cut", DEADLINE, || {
        let decision = connector.last_decision("wiki.corp.test:80")?;
        (decision["outcome"] == "revoked").then_some(())
    });
    let revoked: Vec<_> = connector
        .decision_log()
        .into_iter()
        .filter(|event| event["authorizations"][0]["decision"] == "revoked")
        .collect();
    assert_eq!(revoked.len(), 3, "one record for each download");
    assert!(
        revoked
            .iter()
            .all(|event| event["status_code"] == "posture_unmet"),
        "{revoked:?}"
    );
    let refused = curl.get("http://wiki.corp.test/");
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.text().contains("posture_unmet"), "{refused:?}");
    let (exit, why) = connector.ask(&["why", "wiki.corp.test"]);
    assert_eq!(exit, 6, "{why}");
    let unmet = why["checks_unmet"].as_array().unwrap();
    assert!(
        unmet.iter().any(|check| check["id"] == "demo-tool"),
        "{why}"
    );

    let mended = Instant::now();
    forbidden.kill();
    until("access comes back", DEADLINE, || {
        (curl.get("http://wiki.corp.test/").status == 200).then_some(())
    });
    scene.figure("from the mending to access", mended.elapsed());
    assert_eq!(connector.read(&["whoami"])["session_id"], session);
}

/// Starts the program that the lab's check looks for.
pub(crate) fn forbidden_program(scene: &Scene) -> Running {
    let path = scene.path("ztna-demo-forbidden");
    let sleep = succeed(Command::new("sh").args(["-c", "readlink -f \"$(command -v sleep)\""]));
    std::fs::copy(sleep.trim(), &path).unwrap();
    Running::start(scene, "forbidden", Command::new(path).arg("600"))
}

//! Ends, in order and otherwise.

use std::time::{Duration, Instant};

use e2e::curl::{Curl, FORMS, Form, lab_byte};
use e2e::lab::Lab;
use e2e::process::run;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};

#[test]
fn a_killed_service_leaves_no_short_success_and_comes_back_by_itself() {
    const SIZE: usize = 50_000_000;
    let scene = Scene::new("kill");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    let sized = format!("http://wiki.corp.test/download?bytes={SIZE}&rate=2000000");
    let endless = "http://wiki.corp.test/download?rate=2000000";
    let mut downloads: Vec<_> = FORMS
        .into_iter()
        .flat_map(|form| {
            [
                curl.download(form, &sized),
                curl.download(form, endless),
                curl.download_until_closed(form, endless),
            ]
        })
        .collect();
    for download in &mut downloads {
        download.wait_for(300_000, DEADLINE);
    }

    connector.process().kill();

    for download in &mut downloads {
        let exit = download.wait(DEADLINE);
        assert_ne!(exit, 0, "a short download must not look whole");
        assert!(download.checked(lab_byte) < SIZE);
    }
    let before = connector.decision_log().len();
    assert!(before > 0);

    let restarted = Instant::now();
    connector.start();
    connector.wait_for("the same person, without a login page", |status| {
        status["identity"]["subject"] == "alice"
    });
    let curl = Curl::through(&scene, &connector.proxy());
    until("the wiki", DEADLINE, || {
        (curl.get("http://wiki.corp.test/").status == 200).then_some(())
    });
    scene.figure("from the restart to the first byte", restarted.elapsed());

    let after = connector.decision_log();
    assert!(after.len() > before);
    let shown = connector.read(&["decisions", "--limit", "10000"]);
    assert_eq!(shown["decisions"].as_array().unwrap().len(), after.len());
}

#[test]
fn asked_to_end_it_cuts_its_connections_writes_that_down_and_ends_at_once() {
    let scene = Scene::new("end");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let mut written = 0;
    for signal in ["TERM", "INT"] {
        let curl = Curl::through(&scene, &connector.proxy());
        let endless = "http://wiki.corp.test/download?rate=1000000";
        let mut downloads = FORMS.map(|form| curl.download_until_closed(form, endless));
        for download in &mut downloads {
            download.wait_for(100_000, DEADLINE);
        }

        let begun = Instant::now();
        connector.process().signal(signal);
        let (status, _) = connector.process().wait(DEADLINE);
        let took = begun.elapsed();

        scene.figure(&format!("from SIG{signal} to the end"), took);
        assert_eq!(status.code(), Some(0), "{}", connector.log());
        assert!(took < Duration::from_secs(2), "{took:?}");
        for download in &mut downloads {
            assert_ne!(
                download.wait(DEADLINE),
                0,
                "a cut download must not look whole"
            );
        }
        let log = connector.decision_log();
        let cut = log[written..]
            .iter()
            .filter(|event| event["authorizations"][0]["decision"] == "revoked")
            .collect::<Vec<_>>();
        assert_eq!(cut.len(), FORMS.len(), "one record for each connection");
        assert!(
            cut.iter().all(|event| event["status_code"] == "stopping"),
            "{cut:?}"
        );
        assert!(!connector.socket().exists(), "the endpoint is left behind");
        written = log.len();

        connector.start();
        connector.wait_for("the same person", |status| {
            status["identity"]["subject"] == "alice"
        });
    }
}

#[test]
fn a_second_service_on_the_same_state_is_refused_and_the_first_goes_on() {
    let scene = Scene::new("second");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");

    let second = run(&mut connector.command());

    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{message}");
    assert!(message.contains("already running"), "{message}");
    let curl = Curl::through(&scene, &connector.proxy());
    let wiki = curl.fetch(Form::Absolute, "http://wiki.corp.test/", &[]);
    assert_eq!(wiki.status, 200, "{wiki:?}");
}

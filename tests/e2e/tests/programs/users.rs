//! Several people on one machine: the session is its owner's.

use e2e::curl::{Curl, FORMS};
use e2e::lab::Lab;
use e2e::process::is_root;
use e2e::scene::{Scene, note};
use e2e::service::{Connector, has_active_gateway};
use e2e::wait::{DEADLINE, until};
use serde_json::Value;

const WIKI: &str = "http://wiki.corp.test/";
const ANNA: Option<u32> = Some(61_001);
const BEN: Option<u32> = Some(61_002);

/// The exit code for what somebody may not do.
const NOT_PERMITTED: i32 = 8;

/// The exit code where nobody is signed in.
const NOT_SIGNED_IN: i32 = 3;

#[test]
fn a_session_on_the_machines_service_is_its_owners_alone() {
    if !is_root() {
        note("NOT CHECKED: several users, since only root can become another user");
        return;
    }
    let scene = Scene::new("users");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab).for_everybody();
    connector.start();
    connector.wait_until_measured();
    assert_eq!(standing(&connector, ANNA), "signed_out");
    assert_eq!(exit_of(&connector, ANNA, &["decisions"]), NOT_SIGNED_IN);

    connector.sign_in_by(ANNA, "alice", &[]);
    connector.wait_for("a gateway", has_active_gateway);
    let proxy = connector.proxy();
    let by = |user| Curl::through(&scene, &proxy).run_by(user);
    for form in FORMS {
        let own = by(ANNA).fetch(form, WIKI, &[]);
        assert_eq!((own.exit, own.status), (0, 200), "{form:?}: {own:?}");
        let others = by(BEN).fetch(form, WIKI, &[]);
        assert!(!others.text().contains("Welcome"), "{form:?}: {others:?}");
        assert_ne!(others.status, 200, "{form:?}: {others:?}");
    }

    // The other one learns that the service runs, and nothing else.
    let (exit, seen) = connector.ask_by(BEN, &["status"]);
    assert_eq!(
        (exit, &seen["standing"]),
        (0, &Value::from("in_use")),
        "{seen}"
    );
    for secret in [
        "alice",
        "wiki",
        "hq",
        "100.64.",
        "Corp",
        "corp.test",
        "127.0.0.1",
    ] {
        assert!(!seen.to_string().contains(secret), "{secret}: {seen}");
    }
    for verb in [
        vec!["whoami"],
        vec!["resources"],
        vec!["posture"],
        vec!["decisions"],
        vec!["why", "wiki.corp.test"],
        vec!["config"],
        vec!["policy", "log"],
        vec!["down"],
        vec!["up"],
        vec!["logout"],
        vec!["login", "--no-browser"],
    ] {
        let answer = connector.ztna_by(BEN, &verb);
        assert_eq!(
            answer.status.code(),
            Some(NOT_PERMITTED),
            "{verb:?}: {answer:?}"
        );
        assert!(answer.stdout.is_empty(), "{verb:?}: {answer:?}");
    }
    assert_eq!(exit_of(&connector, ANNA, &["whoami"]), 0);
    assert_eq!(
        exit_of(&connector, ANNA, &["policy", "replay"]),
        NOT_PERMITTED
    );

    // What the other one tried is in the log, for the administrator, and not for the owner.
    let refused = |user| {
        let (exit, decisions) = connector.ask_by(user, &["decisions", "--denied"]);
        assert_eq!(exit, 0, "{decisions}");
        let all = decisions["decisions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        all.iter()
            .filter(|decision| decision["reason"] == "other_user")
            .count()
    };
    assert!(refused(None) > 0);
    assert_eq!(refused(ANNA), 0);
}

#[test]
fn the_owner_stays_the_owner_over_a_restart_and_hands_over_by_signing_out() {
    if !is_root() {
        note("NOT CHECKED: several users, since only root can become another user");
        return;
    }
    let scene = Scene::new("hand-over");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab).for_everybody();
    connector.start();
    connector.wait_until_measured();
    connector.sign_in_by(ANNA, "alice", &[]);

    connector.process().signal("TERM");
    let (status, _) = connector.process().wait(DEADLINE);
    assert!(status.success(), "{status}");
    connector.start();
    until("the session is Anna's again", DEADLINE, || {
        (exit_of(&connector, ANNA, &["whoami"]) == 0).then_some(())
    });
    assert_eq!(standing(&connector, BEN), "in_use");
    connector.wait_for("a gateway", has_active_gateway);
    assert_eq!(exit_of(&connector, ANNA, &["why", "wiki.corp.test"]), 0);

    assert_eq!(exit_of(&connector, ANNA, &["logout"]), 0);
    assert_eq!(standing(&connector, BEN), "signed_out");
    connector.sign_in_by(BEN, "bob", &[]);
    connector.wait_for("a gateway", has_active_gateway);

    let (exit, decisions) = connector.ask_by(BEN, &["decisions"]);
    assert_eq!(exit, 0, "{decisions}");
    assert!(!decisions.to_string().contains("alice"), "{decisions}");
    let proxy = connector.proxy();
    let late = Curl::through(&scene, &proxy).run_by(ANNA).get(WIKI);
    assert_ne!(late.status, 200, "{late:?}");
    assert_eq!(standing(&connector, ANNA), "in_use");
}

fn exit_of(connector: &Connector<'_>, user: Option<u32>, arguments: &[&str]) -> i32 {
    let output = connector.ztna_by(user, arguments);
    output.status.code().unwrap_or(-1)
}

fn standing(connector: &Connector<'_>, user: Option<u32>) -> String {
    let (exit, status) = connector.ask_by(user, &["status"]);
    assert_eq!(exit, 0, "{status}");
    status["standing"].as_str().unwrap_or_default().to_owned()
}

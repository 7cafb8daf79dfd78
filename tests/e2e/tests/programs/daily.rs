//! What a person does on an ordinary day.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::curl::{Curl, FORMS, Fetched, Form};
use e2e::lab::Lab;
use e2e::process::{NOBODY, is_root, run, succeed};
use e2e::scene::{Scene, note};
use e2e::service::Connector;
use serde_json::Value;

const WIKI: &str = "http://wiki.corp.test/";
const PAYROLL: &str = "http://payroll.corp.test/";

#[test]
fn a_person_signs_in_and_reaches_what_the_policy_permits_and_nothing_else() {
    let scene = Scene::new("daily");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start();
    let before = connector.wait_for("a configuration", |status| {
        status["configuration_version"].is_u64()
    });
    assert_eq!(before["standing"], "signed_out", "{before}");
    connector.wait_until_measured();
    let curl = Curl::through(&scene, &connector.proxy());
    refused(&curl.get(WIKI), 403, "signed_out");

    let signing_in = Instant::now();
    let sign_in = connector.sign_in("alice");
    let first = curl.get(WIKI);
    scene.figure("sign-in alone", sign_in);
    scene.figure(
        "from `ztna login` to the first byte of the wiki",
        signing_in.elapsed(),
    );
    assert_eq!(first.status, 200, "{first:?}");

    for form in FORMS {
        let wiki = curl.fetch(form, WIKI, &[]);
        assert_eq!((wiki.exit, wiki.status), (0, 200), "{form:?}: {wiki:?}");
        assert!(wiki.text().contains("Welcome to the wiki"), "{wiki:?}");
    }
    let host = curl.get(&format!("{WIKI}whoami"));
    let host: Value = serde_json::from_slice(&host.body).unwrap();
    assert_eq!(host["host"], "wiki.corp.test", "{host}");

    the_forbidden_application_is_refused_with_the_reason(&connector, &curl);
    every_read_verb_tells_the_truth(&connector, &lab);
    signing_out_and_switching_off_close_the_door(&connector, &curl);

    let resident = connector.process().resident();
    scene.figure("idle resident memory, MB", mb(resident));
    assert!(resident < 64_000_000, "{resident} bytes");
}

fn the_forbidden_application_is_refused_with_the_reason(
    connector: &Connector<'_>,
    curl: &Curl<'_>,
) {
    let page = curl.get(PAYROLL);
    refused(&page, 403, "policy_denied");
    assert!(page.text().contains("What to do:"), "{page:?}");
    let tunnel = curl.fetch(Form::Connect, PAYROLL, &[]);
    assert_eq!((tunnel.exit, tunnel.status), (56, 403), "{tunnel:?}");
    assert!(tunnel.headers.contains("policy_denied"), "{tunnel:?}");
    let socks = curl.fetch(Form::Socks, PAYROLL, &[]);
    assert_eq!(socks.exit, 97, "{socks:?}");
    assert!(socks.error.contains("(2)"), "SOCKS reply 2: {socks:?}");

    let (exit, why) = connector.ask(&["why", "payroll.corp.test"]);
    assert_eq!(exit, 5, "{why}");
    assert_eq!(why["schema"], "ztna.why/1");
    assert_eq!(why["decision"]["outcome"], "denied", "{why}");
    assert_eq!(why["decision"]["reason"], "policy_denied", "{why}");
    let (exit, why) = connector.ask(&["why", "wiki.corp.test"]);
    assert_eq!(exit, 0, "{why}");
    assert_eq!(why["site"], "hq", "{why}");

    let curls = succeed(Command::new("sh").args(["-c", "readlink -f \"$(command -v curl)\""]));
    for (target, outcome) in [
        ("payroll.corp.test:80", "denied"),
        ("wiki.corp.test:80", "permitted"),
    ] {
        let log = connector.decision_log();
        let event = log.iter().find(|event| {
            event["unmapped"]["target"] == target
                && event["authorizations"][0]["decision"] == outcome
        });
        let event = event.unwrap_or_else(|| panic!("no {outcome} of {target}"));
        assert_eq!(
            event["actor"]["process"]["file"]["path"],
            curls.trim(),
            "{event}"
        );
        assert_eq!(event["actor"]["user"]["uid"], "alice", "{event}");
    }
    let denied = connector.read(&["decisions", "--denied"]);
    let shown = denied["decisions"].as_array().unwrap();
    assert!(
        shown.iter().any(|decision| {
            decision["target"] == "payroll.corp.test:80"
                && decision["workload"]["path"] == curls.trim()
        }),
        "{denied}"
    );
    assert!(
        shown
            .iter()
            .all(|decision| decision["outcome"] != "permitted"),
        "{denied}"
    );
}

fn every_read_verb_tells_the_truth(connector: &Connector<'_>, lab: &Lab) {
    let status = connector.read(&["status"]);
    assert_eq!(status["schema"], "ztna.status/1");
    assert_eq!(status["organisation"], "Corp");
    assert_eq!(status["identity"]["subject"], "alice");
    assert_eq!(status["control_plane"], lab.ready("control_plane"));
    assert_eq!(status["control_plane_reachable"], true);
    assert_eq!(
        status["configuration_version"],
        lab.look("state")["version"],
        "{status}"
    );
    let gateway = &status["tunnel"]["sites"][0]["gateways"][0];
    assert_eq!(gateway["id"], "hq-1", "{status}");
    assert!(gateway["rx_bytes"].as_u64() > Some(0), "{status}");
    assert!(gateway["last_handshake"].is_string(), "{status}");

    let person = connector.read(&["whoami"]);
    assert_eq!(person["schema"], "ztna.whoami/1");
    assert_eq!(person["email"], "alice@corp.test");
    assert_eq!(person["groups"][0], "staff");
    assert_eq!(person["issuer"], lab.ready("issuer"));

    let resources = connector.read(&["resources"]);
    assert_eq!(resources["schema"], "ztna.resources/1");
    let state = |id: &str| {
        let all = resources["resources"].as_array().unwrap();
        all.iter().find(|resource| resource["id"] == id).unwrap()["state"].clone()
    };
    assert_eq!(state("wiki"), "permitted", "{resources}");
    assert_eq!(state("payroll"), "denied", "{resources}");
    assert_eq!(state("echo"), "undecided", "{resources}");

    let posture = connector.read(&["posture", "--refresh"]);
    assert_eq!(posture["schema"], "ztna.posture/1");
    let checks = posture["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 7, "{posture}");
    for check in checks {
        let finding = check["finding"].as_str().unwrap();
        assert!(["pass", "fail", "unknown"].contains(&finding), "{check}");
        assert!(!check["remedy"].as_str().unwrap().is_empty(), "{check}");
    }
    let demo = checks.iter().find(|check| check["id"] == "demo-tool");
    assert_eq!(demo.unwrap()["finding"], "pass", "{posture}");

    let config = connector.read(&["config"]);
    assert_eq!(config["schema"], "ztna.config/1");
    let version = connector.read(&["version"]);
    assert_eq!(version["schema"], "ztna.version/1");
    assert_eq!(version["service"], version["command"]);
}

fn signing_out_and_switching_off_close_the_door(connector: &Connector<'_>, curl: &Curl<'_>) {
    assert!(connector.ztna(&["down"]).status.success());
    refused(&curl.get(WIKI), 403, "paused");
    assert!(connector.ztna(&["up"]).status.success());
    assert_eq!(curl.get(WIKI).status, 200);

    assert!(connector.ztna(&["logout"]).status.success());
    refused(&curl.get(WIKI), 403, "signed_out");
    let (exit, why) = connector.ask(&["why", "wiki.corp.test"]);
    assert_eq!(exit, 3, "{why}");
    assert_eq!(connector.ztna(&["whoami"]).status.code(), Some(3));
}

#[test]
fn everything_works_for_a_user_without_any_rights() {
    let scene = Scene::new("no-root");
    // An ordinary user who runs the tests has no rights already.
    let user = is_root().then_some(NOBODY);
    let lab = Lab::start(&scene);
    let mut connector = Connector::install_for(&scene, &lab, "ztnad", user);

    connector.start_as("alice");

    let curl = Curl::through(&scene, &connector.proxy()).run_by(user);
    for form in FORMS {
        let wiki = curl.fetch(form, WIKI, &[]);
        assert_eq!((wiki.exit, wiki.status), (0, 200), "{form:?}: {wiki:?}");
    }
    refused(&curl.get(PAYROLL), 403, "policy_denied");
    let id = connector.process().id();
    let status = e2e::process::read(format!("/proc/{id}/status").as_ref());
    let line = |name: &str| {
        let found = status.lines().find(|line| line.starts_with(name)).unwrap();
        found.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_ne!(line("Uid:"), "0");
    assert_eq!(line("CapEff:"), "0000000000000000");
}

#[test]
fn a_wrong_setting_is_refused_with_file_line_and_the_nearest_right_key() {
    let scene = Scene::new("settings");
    let lab = Lab::start(&scene);
    let connector = Connector::install(&scene, &lab);
    let good = e2e::process::read(&connector.path("ztna.toml"));
    let lines = good.lines().count();

    for (added, place, words) in [
        (
            "[log]\nlevle = \"info\"",
            2,
            vec!["log.levle", "did you mean \"log.level\""],
        ),
        ("[log]\nlevel = 3", 2, vec!["log.level"]),
        (
            "[log]\nformat = \"xml\"",
            2,
            vec!["log.format", "xml", "text or json"],
        ),
        ("[log]\nlevel = ", 2, vec![]),
    ] {
        connector.write("ztna.toml", &format!("{good}{added}\n"));
        let begun = Instant::now();
        let output = run(&mut connector.command());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();

        assert_eq!(output.status.code(), Some(1), "{added}: {message}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert!(message.contains("ztna.toml"), "{message}");
        let line = (lines + place).to_string();
        assert!(message.contains(&line), "line {line}: {message}");
        for word in words {
            assert!(message.contains(word), "{word}: {message}");
        }
        note(message.trim());
    }
}

/// Checks that the proxy refused with the reason `code`, on the page and in the field.
fn refused(answer: &Fetched, status: u16, code: &str) {
    assert_eq!((answer.exit, answer.status), (0, status), "{answer:?}");
    assert!(
        answer.text().contains(&format!("Code: {code}")),
        "{answer:?}"
    );
    let field = answer
        .headers
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("proxy-status:"));
    let field = field.unwrap_or_else(|| panic!("no Proxy-Status: {answer:?}"));
    assert!(
        field.contains("http_request_denied") && field.contains(code),
        "{field}"
    );
}

fn mb(bytes: u64) -> u64 {
    bytes / 1_000_000
}

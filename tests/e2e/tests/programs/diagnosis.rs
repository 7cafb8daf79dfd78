//! Looking for what is wrong, and telling whoever helps.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use e2e::curl::Curl;
use e2e::lab::Lab;
use e2e::process::succeed;
use e2e::scene::Scene;
use e2e::service::{Connector, has_active_gateway};
use e2e::wait::{DEADLINE, until};
use serde_json::Value;

#[test]
fn the_doctor_finds_nothing_then_a_dead_gateway_then_a_dead_control_plane() {
    let scene = Scene::new("doctor");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");

    let (exit, well) = connector.ask(&["doctor"]);
    assert_eq!(exit, 0, "{well}");
    for code in ["service", "control-plane", "clock", "session", "gateway"] {
        assert_eq!(condition(&well, code), "good", "{code}: {well}");
    }
    let (exit, network) = connector.ask(&["netcheck"]);
    assert_eq!(exit, 0, "{network}");
    let gateways = network["network"]["gateways"].as_array().unwrap();
    assert!(
        gateways
            .iter()
            .any(|gateway| gateway["handshake_micros"].is_u64()),
        "{network}"
    );
    assert!(
        network["network"]["control_plane_micros"].is_u64(),
        "{network}"
    );

    let stop = |gateway| lab.pull(&format!("gateways/{gateway}/stop"), &Value::Null);
    stop("hq-2");
    let (exit, spare) = connector.ask(&["doctor"]);
    assert_eq!(
        exit, 1,
        "the gateway that is not in use is called too: {spare}"
    );
    assert_eq!(
        connector.ask(&["netcheck"]).1["network"]["gateways"][1]["state"],
        "down"
    );
    stop("hq-1");
    let curl = Curl::through(&scene, &connector.proxy());
    assert_ne!(curl.get("http://wiki.corp.test/").status, 200);
    until("the doctor misses the gateways", DEADLINE, || {
        let (exit, ill) = connector.ask(&["doctor"]);
        (exit == 1 && condition(&ill, "gateway") == "problem").then_some(())
    });

    drop(lab);
    let (exit, ill) = connector.ask(&["doctor"]);
    assert_eq!(exit, 1, "{ill}");
    assert_eq!(condition(&ill, "control-plane"), "problem", "{ill}");
    let text = connector.ztna(&["doctor"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.contains("→") && text.contains("[control-plane]"),
        "{text}"
    );

    connector.process().signal("TERM");
    connector.process().wait(DEADLINE);
    let (exit, alone) = connector.ask(&["doctor"]);
    assert_eq!(exit, 4, "{alone}");
    assert_eq!(condition(&alone, "service"), "problem", "{alone}");
    assert_eq!(condition(&alone, "rest"), "unknown", "{alone}");
    assert_eq!(alone["network"], Value::Null, "{alone}");
}

#[test]
fn a_bundle_is_the_callers_own_and_names_nobody_when_asked_not_to() {
    let scene = Scene::new("bundle");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    connector.wait_for("a gateway", has_active_gateway);
    let _decided = connector.ztna(&["why", "wiki.corp.test"]);

    let plain = scene.path("plain.tar");
    let written = connector.ztna(&["debug", "bundle", "-o", &plain.display().to_string()]);
    assert!(written.status.success(), "{written:?}");
    assert_eq!(
        fs::metadata(&plain).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let listed = succeed(Command::new("tar").arg("-tf").arg(&plain));
    for name in [
        "status.json",
        "doctor.json",
        "decisions.jsonl",
        "service.log",
    ] {
        assert!(listed.contains(&format!("ztna-debug/{name}")), "{listed}");
        let content = unpacked(&plain, name);
        assert!(
            !content.contains("unavailable") && !content.is_empty(),
            "{name}: {content}"
        );
    }
    assert!(unpacked(&plain, "status.json").contains("alice@corp.test"));

    let again = connector.ztna(&["debug", "bundle", "-o", &plain.display().to_string()]);
    assert!(!again.status.success(), "a file that is there was replaced");

    let nameless = scene.path("nameless.tar");
    let written = connector.ztna(&[
        "debug",
        "bundle",
        "--anonymize",
        "-o",
        &nameless.display().to_string(),
    ]);
    assert!(written.status.success(), "{written:?}");
    let all = succeed(Command::new("tar").arg("-xOf").arg(&nameless));
    for name in ["alice", "Alice", "corp.test", "100.64."] {
        assert!(!all.contains(name), "{name}: {all}");
    }
    assert!(all.contains("person-1") && all.contains("host-1"), "{all}");
}

fn unpacked(archive: &std::path::Path, name: &str) -> String {
    succeed(
        Command::new("tar")
            .arg("-xOf")
            .arg(archive)
            .arg(format!("ztna-debug/{name}")),
    )
}

/// The worst of what was found under a code.
fn condition(report: &Value, code: &str) -> String {
    let examined = report["examined"].as_array().into_iter().flatten();
    let of_code = examined.filter(|one| one["code"] == code);
    let conditions: Vec<&str> = of_code
        .filter_map(|one| one["condition"].as_str())
        .collect();
    let worst = conditions.iter().find(|one| **one == "problem");
    worst
        .or_else(|| conditions.first())
        .map_or_else(String::new, |one| (*one).to_owned())
}

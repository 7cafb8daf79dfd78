//! Permguard's protocol, at a server that other people's code made from its messages.

use e2e::curl::Curl;
use e2e::lab::Lab;
use e2e::peers::Permguard;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};
use serde_json::Value;

const LEDGER: &str = "273165098782/fd1ac44e4afa4fc4beec622494d3175a";

#[test]
fn permguard_decides_about_the_program_on_the_device_and_the_person_it_acts_for() {
    let scene = Scene::new("permguard");
    let permguard = Permguard::start(&scene);
    let options = ["--pdp", permguard.base(), "--permguard", LEDGER];
    let lab = Lab::start_with(&scene, "lab", &options);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());

    assert_eq!(curl.get("http://www.dev.corp.test/").status, 200);

    let decision = connector.last_decision("www.dev.corp.test:80").unwrap();
    assert_eq!(decision["outcome"], "permitted", "{decision}");
    let named = format!("permguard {}/", permguard.base());
    until("the record", DEADLINE, || {
        let log = connector.decision_log();
        let is_named = log.iter().any(|event| event["unmapped"]["pdp"] == *named);
        is_named.then_some(())
    });
    let asked = last_request(&permguard);
    let model = &asked["AuthorizationModel"];
    assert_eq!(model["ZoneID"], "273165098782", "{asked}");
    assert_eq!(model["PolicyStore"]["Kind"], "ledger", "{asked}");
    let principal = &model["Principal"];
    assert_eq!(principal["Type"], "workload", "{asked}");
    let program = principal["ID"].as_str().unwrap();
    assert!(program.ends_with("/curl"), "{asked}");
    assert!(
        principal["Source"]
            .as_str()
            .is_some_and(|device| !device.is_empty()),
        "{asked}"
    );
    assert_eq!(principal["IdentityToken"], Value::Null, "{asked}");
    assert_eq!(principal["AccessToken"], Value::Null, "{asked}");
    assert_eq!(asked["Subject"]["Type"], "user", "{asked}");
    assert_eq!(asked["Subject"]["ID"], "alice", "{asked}");
    assert_eq!(
        asked["Subject"]["Properties"]["groups"][0], "staff",
        "{asked}"
    );
    assert_eq!(asked["Resource"]["ID"], "dev", "{asked}");
    assert_eq!(asked["Resource"]["Properties"]["port"], 80, "{asked}");
    assert_eq!(asked["Action"]["Name"], "Action::connect", "{asked}");
    assert!(asked["Context"]["session_id"].is_string(), "{asked}");

    for (name, code) in [
        ("403", "policy_denied"),
        ("400", "pdp_status"),
        ("401", "pdp_status"),
        ("500", "pdp_status"),
        ("odd-yes", "pdp_malformed"),
        ("odd-parts", "pdp_malformed"),
        ("odd-two", "pdp_malformed"),
        ("odd-id", "pdp_malformed"),
        ("odd-code", "pdp_malformed"),
        ("long", "pdp_malformed"),
        ("grpc-7", "pdp_status"),
        ("grpc-14", "pdp_unreachable"),
        ("grpc-16", "pdp_status"),
        ("never", "pdp_late"),
    ] {
        let refused = curl.get(&format!("http://{name}.dev.corp.test/"));
        assert_eq!(refused.status, 403, "{name}: {refused:?}");
        let told = format!("Code: {code}\n");
        assert!(refused.text().contains(&told), "{name}: {refused:?}");
    }
    let told = curl.get("http://403.dev.corp.test/?again");
    assert!(told.text().contains("told 403"), "{told:?}");
    drop(permguard);
    let gone = curl.get("http://gone.dev.corp.test/");
    assert!(gone.text().contains("Code: pdp_unreachable\n"), "{gone:?}");
}

#[test]
fn permguard_s_no_to_a_person_is_the_policy_s_no() {
    let scene = Scene::new("permguard-guest");
    let permguard = Permguard::start(&scene);
    let options = ["--pdp", permguard.base(), "--permguard", LEDGER];
    let lab = Lab::start_with(&scene, "lab", &options);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("bob");
    let curl = Curl::through(&scene, &connector.proxy());

    let refused = curl.get("http://www.dev.corp.test/");

    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(
        refused.text().contains("Code: policy_denied\n"),
        "{refused:?}"
    );
    assert!(refused.text().contains("Staff only."), "{refused:?}");
}

fn last_request(permguard: &Permguard) -> Value {
    let requests = permguard.requests();
    requests.last().cloned().unwrap_or_default()
}

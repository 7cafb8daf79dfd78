//! What people can ask about policies, and what they do not learn.

use std::time::Duration;

use e2e::curl::{Curl, Form};
use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};
use serde_json::{Value, json};

const WIKI: &str = "http://wiki.corp.test/";

const ACTIVE: &str = r#"
@id("staff") permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki");
@id("dev") @requestable("dev-leads") @step_up("urn:example:mfa") @remedy("Use the build machine.")
permit(principal, action == Action::"connect", resource == Resource::"dev")
when { context.workload has path && context.workload.path == "/opt/build" && context.minute_of_day < 1440 };
@id("finance") permit(principal in Group::"finance", action == Action::"connect", resource == Resource::"payroll");
"#;

const TABLE: &str = r#"
# The wiki is for staff.
{"name": "staff", "person": "ann", "groups": ["staff"], "resource": "wiki", "expect": "permit", "policy": "staff"}
{"name": "guests", "person": "gil", "groups": ["guests"], "resource": "wiki", "expect": "deny"}
"#;

#[test]
fn policies_are_shown_tested_replayed_and_compared_with_a_candidate() {
    let scene = Scene::new("policies");
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", "proximity"]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    let active = in_force(&lab, &connector, "policies", ACTIVE, "active");
    assert_eq!(curl.get(WIKI).status, 200);

    let narrowed = ACTIVE.replace(r#"Group::"staff""#, r#"Group::"admins""#);
    let candidate = in_force(
        &lab,
        &connector,
        "policies/candidate",
        &narrowed,
        "candidate",
    );
    let log = connector.read(&["policy", "log"]);
    assert_eq!(log["commits"][0]["commit"], candidate, "{log}");
    assert_eq!(log["commits"][1]["commit"], active, "{log}");
    assert_eq!(log["commits"][2]["state"], "past", "{log}");
    assert_eq!(log["head"]["signed_by"], lab.ready("policy_key"), "{log}");
    let held = connector.read(&["policy", "show"]);
    assert_eq!(held["files"][0]["name"], "all.cedar", "{held}");
    let text = connector.read(&["policy", "show", "candidate", "all.cedar"]);
    assert_eq!(text["text"], narrowed.as_str(), "{text}");

    // A table that is true, and the same where it is not.
    let table = scene.write("wiki.jsonl", TABLE).display().to_string();
    let (exit, tested) = connector.ask(&["policy", "test", &table]);
    assert_eq!((exit, &tested["met"]), (0, &json!(2)), "{tested}");
    let (exit, tested) = connector.ask(&["policy", "test", &table, "--commit", "candidate"]);
    assert_eq!((exit, &tested["unmet"]), (1, &json!(1)), "{tested}");
    assert_eq!(tested["rows"][0]["name"], "staff", "{tested}");
    assert_eq!(tested["rows"][0]["got"]["permitted"], false, "{tested}");
    let broken = scene.write("broken.jsonl", "\n{\"person\": 1}\n");
    let refused = connector.ztna(&["policy", "test", &broken.display().to_string()]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && told.contains("line 2"),
        "{told}"
    );

    // What was decided before, by the candidate.
    let replay = connector.read(&["policy", "replay"]);
    assert_eq!(replay["commit"], candidate, "{replay}");
    let changes = replay["changes"].as_array().unwrap();
    let of_wiki = changes.iter().find(|change| change["resource"] == "wiki");
    let of_wiki = of_wiki.unwrap_or_else(|| panic!("{replay}"));
    assert_eq!(of_wiki["person"], "alice", "{replay}");
    assert_eq!(of_wiki["after"]["permitted"], false, "{replay}");
    assert_eq!(of_wiki["before"]["policy"], "staff", "{replay}");
    assert_eq!(replay["incomplete"], 0, "{replay}");

    // And what is decided now, in the log, once.
    for _ in 0..3 {
        assert_eq!(curl.get(WIKI).status, 200);
    }
    let differences = until("the difference in the log", DEADLINE, || {
        let found = differences(&connector);
        (!found.is_empty()).then_some(found)
    });
    assert_eq!(differences.len(), 1, "{differences:?}");
    let shadow = &differences[0]["unmapped"]["shadow"];
    assert_eq!(shadow["active"]["decision"], "permitted", "{shadow}");
    assert_eq!(shadow["candidate"]["decision"], "denied", "{shadow}");
    assert_eq!(shadow["candidate"]["commit"], candidate, "{shadow}");
    let log_dir = connector.path("log").display().to_string();
    let (exit, verified) = connector.ask(&["audit", "verify", "--log-dir", &log_dir]);
    assert_eq!(exit, 0, "{verified}");
}

#[test]
fn why_names_policy_commit_and_ways_out_and_never_what_is_hidden() {
    let scene = Scene::new("hidden");
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", "proximity"]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let active = in_force(&lab, &connector, "policies", ACTIVE, "active");

    let (exit, why) = connector.ask(&["why", "wiki.corp.test"]);
    assert_eq!(exit, 0, "{why}");
    assert_eq!(why["decision"]["decided_by"], "pdp, policy staff", "{why}");
    assert_eq!(why["decision"]["commit"], active, "{why}");

    let (exit, why) = connector.ask(&["why", "www.dev.corp.test"]);
    assert_eq!(exit, 5, "{why}");
    let decision = &why["decision"];
    assert_eq!(decision["requestable"], "dev-leads", "{why}");
    assert_eq!(
        decision["step_up"]["acr_values"], "urn:example:mfa",
        "{why}"
    );
    assert_eq!(decision["remedy"], "Use the build machine.", "{why}");
    assert!(decision["valid_until"].is_string(), "{why}");
    let (exit, why) = connector.ask(&["why", "www.dev.corp.test", "--as", "/opt/build"]);
    assert_eq!(exit, 0, "{why}");
    assert_eq!(why["decision"]["workload"]["path"], "/opt/build", "{why}");
    assert_eq!(why["decision"]["hypothetical"], true, "{why}");

    // Payroll is there, on port 80, and only for finance.
    for port in ["", ":80", ":22"] {
        for program in [&[] as &[&str], &["--as", "/usr/bin/firefox"]] {
            let hidden = asked(&connector, "payroll", port, program);
            let nowhere = asked(&connector, "nowhere", port, program);
            assert_eq!(hidden, nowhere, "{port} {program:?}");
            assert_eq!(nowhere["decision"]["reason"], "unknown_resource");
        }
    }
    let resources = connector.read(&["resources"]);
    assert!(!resources.to_string().contains("payroll"), "{resources}");
    let curl = Curl::through(&scene, &connector.proxy());
    let page = |name: &str, port: &str| {
        let answer = curl.get(&format!("http://{name}.corp.test{port}/"));
        (answer.status, answer.text().replace(name, "NAME"))
    };
    for port in ["", ":22"] {
        assert_eq!(page("payroll", port), page("nowhere", port), "{port}");
    }
    assert_ne!(page("wiki", ":22"), page("nowhere", ":22"));
    let pac_url = format!("http://{}/proxy.pac", connector.proxy());
    let pac = Curl::direct(&scene).get(&pac_url).text();
    assert!(pac.contains("wiki.corp.test"), "{pac}");
    assert!(!pac.contains("payroll"), "{pac}");
    let decisions = connector.read(&["decisions"]);
    let decisions = decisions["decisions"].as_array().unwrap();
    for decision in decisions {
        if decision["target"].as_str().unwrap().starts_with("payroll") {
            assert_eq!(decision["resource"], Value::Null, "{decision}");
            assert_eq!(decision["reason"], "unknown_resource", "{decision}");
        }
    }
}

#[test]
fn what_a_hostile_control_plane_offers_is_not_followed_and_written_down() {
    let scene = Scene::new("misled");
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", "proximity"]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());

    for (number, (how, problem)) in MISLEADING.into_iter().enumerate() {
        // Each is another commit, so that a good one lies between the wrong ones.
        let text = format!("// {number}\n{ACTIVE}");
        let active = in_force(&lab, &connector, "policies", &text, "active");
        let log = connector.read(&["policy", "log"]);
        assert_eq!(log["not_followed"], Value::Null, "{how}: {log}");

        lab.pull("policies/mislead", &json!(how));
        let log = until(how, LONG_DEADLINE, || {
            let log = connector.read(&["policy", "log"]);
            log["not_followed"].is_object().then_some(log)
        });

        let told = log["not_followed"]["problem"].as_str().unwrap();
        assert!(told.contains(problem), "{how}: {told}");
        let still = log["commits"].as_array().unwrap().iter();
        let mut still = still.filter(|commit| commit["state"] == "active");
        assert_eq!(still.next().unwrap()["commit"], active, "{how}: {log}");
        assert_eq!(curl.get(WIKI).status, 200, "{how}");
    }

    connector.process().signal("TERM");
    connector.process().wait(DEADLINE);
    let mut rejected = connector.records_of(0);
    rejected.retain(|event| event["activity_name"] == "Reject");
    let of = |event: &Value| event["count"].as_u64().unwrap_or(1);
    let first = &rejected[0]["unmapped"]["rejected"];
    assert_eq!(first["document"], "policies", "{first}");
    assert!(
        first["problem"].as_str().unwrap().contains(MISLEADING[0].1),
        "{first}"
    );
    let count: u64 = rejected.iter().map(of).sum();
    assert!(count >= MISLEADING.len() as u64, "{rejected:?}");
    // A line at once, one for each minute after it, and one for the rest.
    assert!(rejected.len() < MISLEADING.len(), "{rejected:?}");
}

#[test]
fn wherever_it_is_decided_the_record_is_the_same() {
    let remote = recorded_with("same-remote", "remote");
    for (name, mode) in [
        ("same-proximity", "proximity"),
        ("same-both", "proximity-then-remote"),
    ] {
        let here = recorded_with(name, mode);
        for (record, expected) in here.iter().zip(&remote) {
            assert_eq!(record, expected, "{mode}");
        }
    }
}

/// Makes the same requests for access, and returns their records without what [`strip`] takes out.
fn recorded_with(name: &'static str, mode: &str) -> Vec<Value> {
    let scene = Scene::new(name);
    let lab = Lab::start_with(&scene, "lab", &["--policy-mode", mode]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    // Until the policies are there, the service decides that nobody can decide.
    until("something that can decide", DEADLINE, || {
        let (exit, _) = connector.ask(&["why", "echo.corp.test:7"]);
        (exit == 0).then_some(())
    });

    assert_eq!(curl.get(WIKI).status, 200);
    for refused in ["payroll", "nowhere"] {
        let url = format!("http://{refused}.corp.test/");
        assert_ne!(curl.get(&url).status, 200, "{mode}: {refused}");
    }
    let targets = ["wiki", "payroll", "nowhere"].map(|name| format!("{name}.corp.test:80"));
    let decided_here = mode != "remote";
    until("a record of each", DEADLINE, || {
        let records = connector.decision_log();
        let of = |target: &String| {
            let mut records = records.iter();
            records.find(|record| record["unmapped"]["target"] == **target)
        };
        let mut found = Vec::new();
        for target in &targets {
            found.push(of(target)?.clone());
        }
        let commit = &found[0]["unmapped"]["commit"];
        assert_eq!(commit.is_string(), decided_here, "{mode}: {found:?}");
        found.iter_mut().for_each(strip);
        Some(found)
    })
}

/// Takes out of a record who decided, how long that took, ids and times.
fn strip(record: &mut Value) {
    // The lab's server explains by the person's groups; Cedar has the words that stand in a policy.
    let in_its_words = if record["unmapped"]["decided_by"] == "pdp" {
        ["/status_detail", "/unmapped/reason_admin"].as_slice()
    } else {
        &[]
    };
    let varying = [
        "/time",
        "/start_time",
        "/end_time",
        "/metadata",
        "/device/uid",
        "/actor/session",
        "/actor/process/pid",
        "/authorizations/0/policy",
        "/unmapped/chain",
        "/unmapped/commit",
        "/unmapped/configuration_version",
        "/unmapped/latency_micros",
        "/unmapped/pdp",
    ];
    for varying in varying.iter().chain(in_its_words) {
        let (parent, member) = varying.rsplit_once('/').unwrap();
        if let Some(parent) = record.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.remove(member);
        }
    }
}

#[test]
fn a_server_that_takes_several_questions_gets_them_together() {
    let scene = Scene::new("together");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    // More at a time than there are connections to the server, which takes its time.
    lab.pull("pdp", &json!({"delay_ms": 200}));

    let mut round = 0;
    until("several questions in one request", LONG_DEADLINE, || {
        round += 1;
        let url = format!("http://r{round}-[1-60].dev.corp.test/");
        let at_once = ["--parallel", "--parallel-immediate", "--parallel-max", "60"];
        let _answers = curl.fetch(Form::Absolute, &url, &at_once);
        (lab.look("decisions")["together"].as_u64()? > 0).then_some(())
    });

    let decisions = connector.read(&["decisions", "--limit", "1000"]);
    let of_last = format!("r{round}-");
    let decided = decisions["decisions"].as_array().unwrap().iter();
    let mut decided: Vec<&Value> = decided
        .filter(|it| it["target"].as_str().unwrap().starts_with(&of_last))
        .collect();
    assert_eq!(decided.len(), 60, "{decided:?}");
    decided.retain(|it| it["decided_by"] != "pdp, policy staff-tools");
    assert_eq!(decided, [] as [&Value; 0]);
}

/// What is wrong, and what people read of it.
const MISLEADING: [(&str, &str); 8] = [
    ("stranger", "signature"),
    ("older", "is older than"),
    ("expired", "is not good now"),
    ("garbage", "head"),
    ("missing", "are missing"),
    ("altered", "was not asked for"),
    ("invalid", "wrong.cedar:3"),
    ("endless", "longer than"),
];

/// Between two tries the service waits longer and longer.
const LONG_DEADLINE: Duration = Duration::from_secs(30);

/// Has the lab commit policies, and waits until the device knows them.
fn in_force(lab: &Lab, connector: &Connector<'_>, lever: &str, text: &str, state: &str) -> Value {
    let commit = lab.pull(lever, &json!({"all.cedar": text}))["commit"].clone();
    until("the commit on the device", DEADLINE, || {
        let log = connector.read(&["policy", "log"]);
        let commits = log["commits"].as_array()?;
        let mut known = commits.iter();
        known
            .any(|known| known["commit"] == commit && known["state"] == state)
            .then_some(())
    });
    commit
}

/// Asks about a name, and returns the answer without the name, and without what differs from
/// one answer to the next.
fn asked(connector: &Connector<'_>, name: &str, port: &str, program: &[&str]) -> Value {
    let target = format!("{name}.corp.test{port}");
    let (exit, mut why) = connector.ask(&[&["why", &target], program].concat());
    assert_eq!(exit, 5, "{why}");
    for varying in ["id", "time"] {
        why["decision"][varying] = Value::Null;
    }
    if let Some(last) = why.as_object_mut().unwrap().remove("last_refused") {
        panic!("no program tried: {last}");
    }
    let text = why.to_string().replace(name, "NAME");
    serde_json::from_str(&text).unwrap()
}

fn differences(connector: &Connector<'_>) -> Vec<Value> {
    let mut events = connector.decision_log();
    events.retain(|event| event["authorizations"][0]["decision"] == "differs");
    events
}

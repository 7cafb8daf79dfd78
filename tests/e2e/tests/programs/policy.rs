//! Decision points that misbehave, and sessions that are taken away.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use e2e::curl::{Curl, Fetched};
use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::stub::{Stub, field, response};
use e2e::wait::{DEADLINE, until};
use serde_json::{Value, json};

/// What the decision point answers next.
type Script = Arc<Mutex<Answer>>;

enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A yes, but only when the test is over.
    WhenReleased(Arc<(Mutex<bool>, Condvar)>),
}

const YES: &[u8] = br#"{"decision":true}"#;
const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn whatever_a_decision_point_answers_but_a_plain_yes_is_a_denial_with_its_own_reason() {
    let scene = Scene::new("pdp");
    let script: Script = Arc::new(Mutex::new(Answer::Bytes(response("200 OK", JSON, YES))));
    let (pdp, asked) = decision_point(&script);
    let lab = Lab::start_with(&scene, "lab", &["--pdp", &pdp.base()]);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());

    // A yes is a yes, so that the rest proves something.
    assert_eq!(curl.get("http://www.dev.corp.test/").status, 200);
    let request = asked.lock().unwrap().clone();
    assert_eq!(request["subject"]["id"], "alice", "{request}");
    assert_eq!(request["resource"]["id"], "dev", "{request}");
    let before = connector.process().resident();

    // Where a redirect would lead, if it were followed.
    let elsewhere = Stub::start("127.0.0.1:0", |_| response("200 OK", JSON, YES));
    for (number, (what, bytes, code)) in misbehaviours(&elsewhere.base()).into_iter().enumerate() {
        *script.lock().unwrap() = Answer::Bytes(bytes);
        let name = format!("case-{number}.dev.corp.test");
        let answer = curl.get(&format!("http://{name}/"));
        denied(&connector, &answer, &name, code, what);
    }
    let grown = connector.process().resident().saturating_sub(before);
    assert!(grown < 16_000_000, "grew by {grown} bytes");

    let released = Arc::new((Mutex::new(false), Condvar::new()));
    *script.lock().unwrap() = Answer::WhenReleased(Arc::clone(&released));
    let late = curl.get("http://late.dev.corp.test/");
    scene.figure(
        "a decision point that never answers is a denial after",
        late.took,
    );
    denied(&connector, &late, "late.dev.corp.test", "pdp_late", "never");
    assert!(late.took < Duration::from_millis(1500), "{:?}", late.took);
    *released.0.lock().unwrap() = true;
    released.1.notify_all();

    drop(pdp);
    let refused = curl.get("http://gone.dev.corp.test/");
    denied(
        &connector,
        &refused,
        "gone.dev.corp.test",
        "pdp_unreachable",
        "gone",
    );
    let (exit, why) = connector.ask(&["why", "unasked.dev.corp.test"]);
    assert_eq!(exit, 10, "{why}");
    // Who was permitted before goes on for as long as the lease runs.
    assert_eq!(curl.get("http://www.dev.corp.test/").status, 200);
}

fn decision_point(script: &Script) -> (Stub, Arc<Mutex<Value>>) {
    let asked = Arc::new(Mutex::new(Value::Null));
    let (script, last) = (Arc::clone(script), Arc::clone(&asked));
    let stub = Stub::start("127.0.0.1:0", move |request| {
        if request.head.starts_with("GET ") {
            return response("404 Not Found", "", b"");
        }
        assert!(field(&request.head, "x-request-id").is_some());
        *last.lock().unwrap() = serde_json::from_slice(&request.body).unwrap();
        let released = match &*script.lock().unwrap() {
            Answer::Bytes(bytes) => return bytes.clone(),
            Answer::WhenReleased(released) => Arc::clone(released),
        };
        let (lock, changed) = &*released;
        drop(changed.wait_while(lock.lock().unwrap(), |released| !*released));
        response("200 OK", JSON, YES)
    });
    (stub, asked)
}

fn misbehaviours(elsewhere: &str) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let location = format!("{JSON}Location: {elsewhere}/access/v1/evaluation\r\n");
    let long = format!(
        r#"{{"decision":true,"context":{{"x":"{}"}}}}"#,
        "x".repeat(10_000_000)
    );
    let obliged = br#"{"decision":true,"context":{"obligations":[{"type":"step-up"}]}}"#;
    let json = |body: &[u8]| response("200 OK", JSON, body);
    let mut cut = response("200 OK", JSON, YES);
    cut.truncate(cut.len() - 3);
    vec![
        ("status 500", response("500 Oh No", JSON, YES), "pdp_status"),
        (
            "status 201",
            response("201 Created", JSON, YES),
            "pdp_status",
        ),
        (
            "status 204",
            response("204 No Content", JSON, b""),
            "pdp_status",
        ),
        (
            "a redirect",
            response("302 Found", &location, YES),
            "pdp_status",
        ),
        (
            "a redirect that keeps the method",
            response("307 Over There", &location, YES),
            "pdp_status",
        ),
        (
            "HTML",
            response("200 OK", "Content-Type: text/html\r\n", YES),
            "pdp_malformed",
        ),
        ("no type", response("200 OK", "", YES), "pdp_malformed"),
        (
            "half an object",
            json(br#"{"decision":true"#),
            "pdp_malformed",
        ),
        ("a body that breaks off", cut, "pdp_unreachable"),
        ("10 MB", json(long.as_bytes()), "pdp_malformed"),
        (
            "a text for a truth",
            json(br#"{"decision":"true"}"#),
            "pdp_malformed",
        ),
        (
            "a number for a truth",
            json(br#"{"decision":1}"#),
            "pdp_malformed",
        ),
        ("nothing", json(b""), "pdp_malformed"),
        ("an empty object", json(b"{}"), "pdp_malformed"),
        (
            "two answers",
            json(br#"{"decision":false,"decision":true}"#),
            "pdp_malformed",
        ),
        ("obligations", json(obliged), "pdp_malformed"),
        (
            "no HTTP",
            b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
            "pdp_unreachable",
        ),
        (
            "a plain no",
            json(br#"{"decision":false}"#),
            "policy_denied",
        ),
    ]
}

/// Checks the answer, the record, and that the service is there for others.
fn denied(connector: &Connector<'_>, answer: &Fetched, name: &str, code: &str, what: &str) {
    assert_eq!((answer.exit, answer.status), (0, 403), "{what}: {answer:?}");
    assert!(
        answer.text().contains(&format!("Code: {code}\n")),
        "{what}: {answer:?}"
    );
    let begun = Instant::now();
    let decision = connector.last_decision(&format!("{name}:80"));
    assert!(begun.elapsed() < Duration::from_secs(1), "{what}: slow");
    let decision = decision.unwrap_or_else(|| panic!("{what}: not recorded"));
    assert_eq!(decision["outcome"], "denied", "{what}: {decision}");
    assert_eq!(decision["reason"], code, "{what}: {decision}");
    let events = connector.decision_log();
    let target = format!("{name}:80");
    assert!(
        events
            .iter()
            .any(|event| event["unmapped"]["target"] == *target && event["status_code"] == code),
        "{what}: not in the log"
    );
}

#[test]
fn a_session_that_the_company_ends_reaches_nothing_more() {
    let scene = Scene::new("revoke");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    assert_eq!(curl.get("http://wiki.corp.test/").status, 200);

    let session = connector.read(&["whoami"])["session_id"].clone();
    lab.pull(
        &format!("sessions/{}/revoke", session.as_str().unwrap()),
        &Value::Null,
    );

    let denied = curl.get("http://www.dev.corp.test/");
    assert_eq!(denied.status, 403, "{denied:?}");
    // This one was permitted before; the gateways no longer know the key.
    let options = ["--max-time", "3"];
    let cut = curl.fetch(
        e2e::curl::Form::Absolute,
        "http://wiki.corp.test/",
        &options,
    );
    assert_ne!(cut.status, 200, "{cut:?}");
    let status = connector.read(&["status"]);
    assert_eq!(status["schema"], "ztna.status/1");
}

#[test]
fn a_rule_that_is_taken_away_cuts_what_rests_on_it() {
    let scene = Scene::new("rules");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    let endless = "http://wiki.corp.test/download?rate=1000000";
    let mut download = curl.download(e2e::curl::Form::Absolute, endless);
    download.wait_for(100_000, DEADLINE);

    let changed = Instant::now();
    lab.pull("rules", &json!([]));
    assert_ne!(download.wait(DEADLINE), 0);
    scene.figure(
        "from the rule's removal to the last byte",
        changed.elapsed(),
    );

    until("a record that it was cut", DEADLINE, || {
        let decision = connector.last_decision("wiki.corp.test:80")?;
        (decision["outcome"] == "revoked").then_some(())
    });
    assert_eq!(curl.get("http://wiki.corp.test/").status, 403);
}

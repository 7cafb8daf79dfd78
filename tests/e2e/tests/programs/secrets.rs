//! What must not be seen anywhere.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use e2e::curl::{Curl, FORMS};
use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::stub::{Stub, response};
use e2e::wait::{DEADLINE, until};
use serde_json::Value;

#[test]
fn no_secret_is_in_logs_arguments_environment_or_what_front_ends_are_told() {
    no_secret_is_anywhere("secrets", &[]);
}

#[test]
fn no_secret_is_anywhere_either_where_the_device_decides() {
    no_secret_is_anywhere("secrets-proximity", &["--policy-mode", "proximity"]);
}

fn no_secret_is_anywhere(name: &'static str, options: &[&str]) {
    let scene = Scene::new(name);
    let collector = Collector::start();
    let lab = Lab::start_with(&scene, "lab", options);
    let mut connector = Connector::install(&scene, &lab);
    connector.configure(&format!(
        "[log]\nlevel = \"trace\"\n\n[telemetry]\notlp_endpoint = {:?}\n",
        collector.stub.base()
    ));
    connector.start_as("alice");
    use_everything(&Curl::through(&scene, &connector.proxy()));
    // A second sign-in by the stored token shows refreshing as well.
    connector.process().signal("TERM");
    let _ended = connector.process().wait(DEADLINE);
    connector.start();
    connector.wait_for("the same person", |status| {
        status["identity"]["subject"] == "alice"
    });

    let log = connector.log();
    assert!(
        log.contains("TRACE"),
        "the log says too little to prove anything"
    );
    let id = connector.process().id();
    let mut places = vec![
        ("the log".to_owned(), log.into_bytes()),
        ("arguments".to_owned(), proc(id, "cmdline")),
        ("environment".to_owned(), proc(id, "environ")),
    ];
    for file in ["log/decisions.jsonl", "state/signals.json"] {
        places.push((file.to_owned(), bytes(&connector.path(file))));
    }
    places.extend(shown(&scene, &connector));
    until("the log at the control plane", DEADLINE, || {
        (lab.look("records")[0]["lines"].as_u64()? > 3).then_some(())
    });
    let collected = lab.look("records").to_string().into_bytes();
    places.push(("what the control plane collected".to_owned(), collected));
    let collected = until("the log at the collector", DEADLINE, || {
        let bodies = collector.bodies();
        contains(&bodies, b"payroll.corp.test").then_some(bodies)
    });
    places.push(("what the collector got".to_owned(), collected));
    let secrets = secrets(&connector, &lab);
    for (place, content) in &places {
        assert!(!content.is_empty(), "{place} is empty");
        for (secret, text) in &secrets {
            assert!(!contains(content, text), "{secret} is in {place}");
        }
    }
    let policies = files(&connector.path("state/policy"));
    assert!(policies.len() > 1, "{policies:?}");
    for (place, content) in policies {
        // The head is a JWS itself.
        for (secret, text) in secrets.iter().filter(|(secret, _)| secret != TOKEN) {
            assert!(!contains(&content, text), "{secret} is in {place}");
        }
    }
}

/// Sends what must not be kept, where it is permitted and where it is not.
fn use_everything(curl: &Curl<'_>) {
    until("the wiki", DEADLINE, || {
        (curl.get("http://wiki.corp.test/").status == 200).then_some(())
    });
    for form in FORMS {
        assert_eq!(curl.fetch(form, "http://wiki.corp.test/", &[]).status, 200);
    }
    assert_eq!(curl.get("http://payroll.corp.test/").status, 403);
    for host in ["wiki", "payroll"] {
        let url =
            format!("http://{host}.corp.test/?code_verifier={CANARY}-query#{CANARY}-fragment");
        let headers = [
            "-H",
            "Authorization: Bearer canary-7f3a91-token",
            "-H",
            "Cookie: session=canary-7f3a91-cookie",
            "-H",
            "Proxy-Authorization: Basic canary-7f3a91-proxy",
        ];
        let _answer = curl.fetch(FORMS[0], &url, &headers);
    }
}

/// Returns what the command tells, exports and bundles.
fn shown(scene: &Scene, connector: &Connector<'_>) -> Vec<(String, Vec<u8>)> {
    let mut places = Vec::new();
    for verb in [
        "status",
        "whoami",
        "resources",
        "posture",
        "decisions",
        "config",
        "version",
    ] {
        let shown = connector.read(&[verb]).to_string();
        places.push((format!("ztna {verb}"), shown.into_bytes()));
    }
    let log_dir = connector.path("log").display().to_string();
    let exported = connector.ztna(&["audit", "export", "--log-dir", &log_dir]);
    places.push(("the exported log".to_owned(), exported.stdout));
    let bundle = scene.path("bundle.tar");
    let written = connector.ztna(&["debug", "bundle", "--output", &bundle.display().to_string()]);
    assert!(written.status.success(), "{written:?}");
    places.push(("the debug bundle".to_owned(), bytes(&bundle)));
    places
}

/// A collector of OpenTelemetry logs that keeps all that it is sent.
struct Collector {
    stub: Stub,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    fn start() -> Self {
        let received = Arc::new(Mutex::default());
        let kept = Arc::clone(&received);
        let stub = Stub::start("127.0.0.1:0", move |request| {
            let mut kept: MutexGuard<'_, Vec<u8>> = kept.lock().unwrap();
            kept.extend(request.head.as_bytes());
            kept.extend(request.body);
            response("200 OK", "Content-Type: application/json\r\n", b"{}")
        });
        Self { stub, received }
    }

    fn bodies(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }
}

/// Returns every file of a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), bytes(&path)))
        .collect()
}

/// Every secret, in each form in which it could be written.
fn secrets(connector: &Connector<'_>, lab: &Lab) -> Vec<(String, Vec<u8>)> {
    let stored: Value =
        serde_json::from_slice(&bytes(&connector.path("state/sign-in.json"))).unwrap();
    let refresh = stored["refresh_token"].as_str().unwrap();
    let token = lab.ready("enrolment_token");
    assert!(refresh.len() > 10 && token.len() > 10);
    let mut secrets = vec![
        ("what a program sent".to_owned(), CANARY.as_bytes().to_vec()),
        ("the refresh token".to_owned(), refresh.as_bytes().to_vec()),
        ("the enrolment token".to_owned(), token.as_bytes().to_vec()),
        // Every JWS begins like this: ID tokens, assertions, proofs.
        (TOKEN.to_owned(), b"eyJ".to_vec()),
    ];
    let key = bytes(&connector.path("state/host.key"));
    assert_eq!(key.len(), 32);
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    for form in [
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        STANDARD
            .encode(&key)
            .trim_end_matches('=')
            .as_bytes()
            .to_vec(),
        URL_SAFE_NO_PAD.encode(&key).into_bytes(),
        format!("{key:?}")
            .trim_matches(['[', ']'])
            .as_bytes()
            .to_vec(),
        key,
    ] {
        secrets.push(("the host's key".to_owned(), form));
    }
    secrets
}

const TOKEN: &str = "a token";

/// Stands in for the token, the cookie and the code verifier that a program sends.
const CANARY: &str = "canary-7f3a91";

fn contains(content: &[u8], text: &[u8]) -> bool {
    content.windows(text.len()).any(|window| window == text)
}

fn proc(id: u32, name: &str) -> Vec<u8> {
    bytes(Path::new(&format!("/proc/{id}/{name}")))
}

fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

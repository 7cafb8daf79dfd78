//! Other people's peers: oidc-provider, Cerbos, wireguard-go, curl.

use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use e2e::curl::{Curl, Download, FORMS, Form, behind_byte};
use e2e::lab::Lab;
use e2e::peers::{APPLICATION, Cerbos, Gateway, Provider, inside_own_network, resign};
use e2e::process::{Running, succeed};
use e2e::scene::Scene;
use e2e::service::{Connector, active_gateway};
use e2e::stub::{Request, Stub, field, response};
use e2e::wait::{DEADLINE, until};
use serde_json::{Value, json};

const WIKI: &str = "http://wiki.corp.test/";

/// Everybody, started.
struct Company {
    lab: Lab,
    provider: Provider,
    cerbos: Cerbos,
    gateways: Vec<Gateway>,
}

impl Company {
    fn start(scene: &Scene, gateways: u8) -> Self {
        let (provider, cerbos) = (Provider::start(scene), Cerbos::start(scene));
        let gateways: Vec<Gateway> = (1..=gateways).map(|n| Gateway::start(scene, n)).collect();
        let lab = Self::start_lab(scene, &provider, &cerbos, &gateways, "127.0.0.1:0");
        Self {
            lab,
            provider,
            cerbos,
            gateways,
        }
    }

    fn start_lab(
        scene: &Scene,
        provider: &Provider,
        cerbos: &Cerbos,
        gateways: &[Gateway],
        listen: &str,
    ) -> Lab {
        let company = scene.write("company.toml", include_str!("company.toml"));
        let (company, state) = (company.display().to_string(), scene.path("lab-state"));
        let state = state.display().to_string();
        let gateways: Vec<String> = gateways.iter().map(Gateway::option).collect();
        let mut options = vec![
            "--company",
            &company,
            "--state",
            &state,
            "--listen",
            listen,
            "--issuer",
            provider.issuer(),
            "--pdp",
            cerbos.base(),
            "--site-resolver",
            APPLICATION,
        ];
        for gateway in &gateways {
            options.extend(["--external-gateway", gateway]);
        }
        Lab::start_with(scene, "lab", &options)
    }

    fn start_lab_again(&mut self, scene: &Scene, listen: &str) {
        self.lab = Self::start_lab(scene, &self.provider, &self.cerbos, &self.gateways, listen);
    }
}

#[test]
fn sign_in_policy_tunnel_and_client_work_with_programs_of_others() {
    if !inside_own_network("peers::sign_in_policy_tunnel_and_client_work_with_programs_of_others") {
        return;
    }
    const SIZE: usize = 50_000_000;
    let scene = Scene::new("peers");
    let company = Company::start(&scene, 1);
    let gateway = &company.gateways[0];
    let out_of_reach = || {
        let url = format!("http://{APPLICATION}/");
        let direct = Curl::direct(&scene).fetch(Form::Absolute, &url, &["--max-time", "1"]);
        assert_ne!(direct.exit, 0, "reached without the tunnel: {direct:?}");
    };
    out_of_reach();
    // The positive control: it is there, where the gateway is.
    let there = format!("http://{APPLICATION}/");
    let mut beside = Command::new(e2e::scene::peer_scripts().join("net/gateway.sh"));
    assert_eq!(
        succeed(beside.args(["exec", "1", "curl", "-s", &there])),
        "wiki\n"
    );

    let mut connector = Connector::install(&scene, &company.lab);
    connector.start();
    connector.wait_until_measured();
    let begun = Instant::now();
    connector.sign_in("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    let first = curl.get(WIKI);
    scene.figure("from `ztna login` to the first byte", begun.elapsed());
    assert_eq!(
        (first.status, first.text().as_str()),
        (200, "wiki\n"),
        "{first:?} {}",
        connector.log()
    );
    for form in FORMS {
        let wiki = curl.fetch(form, WIKI, &[]);
        assert_eq!(
            (wiki.exit, wiki.text().as_str()),
            (0, "wiki\n"),
            "{form:?}: {wiki:?}"
        );
    }
    assert!(gateway.latest_handshake() > 0);
    assert!(
        gateway.seen().contains(r#""dns":"wiki.corp.test""#),
        "{}",
        gateway.seen()
    );
    assert_eq!(
        connector.read(&["whoami"])["issuer"],
        company.provider.issuer()
    );
    let other = curl.get("http://other.corp.test/");
    assert_eq!(other.status, 403, "{other:?}");

    let begun = Instant::now();
    let mut download = curl.download(Form::Connect, &format!("{WIKI}bytes/{SIZE}"));
    assert_eq!(
        download.wait(Duration::from_secs(60)),
        0,
        "{}",
        download.error()
    );
    assert_eq!(download.checked(behind_byte), SIZE);
    scene.figure(
        "50 MB through wireguard-go (unoptimised build)",
        begun.elapsed(),
    );

    cerbos_denies_a_device_in_bad_state(&scene, &connector, &curl);
    out_of_reach();
}

fn cerbos_denies_a_device_in_bad_state(scene: &Scene, connector: &Connector<'_>, curl: &Curl<'_>) {
    let mut drip = curl.download(Form::Absolute, &format!("{WIKI}drip"));
    drip.wait_for(10, DEADLINE);
    let sleep = succeed(Command::new("sh").args(["-c", "readlink -f \"$(command -v sleep)\""]));
    let forbidden = scene.path("ztna-demo-forbidden");
    std::fs::copy(sleep.trim(), &forbidden).unwrap();
    let begun = Instant::now();
    let mut forbidden = Running::start(scene, "forbidden", Command::new(forbidden).arg("600"));
    assert_ne!(drip.wait(DEADLINE), 0);
    scene.figure(
        "from the posture change to the last byte, by Cerbos",
        begun.elapsed(),
    );
    let denied = curl.get(WIKI);
    assert_eq!(denied.status, 403, "{denied:?}");
    let (exit, why) = connector.ask(&["why", "wiki.corp.test"]);
    assert_eq!(exit, 5, "{why}");
    assert_eq!(why["decision"]["decided_by"], "pdp", "{why}");
    forbidden.kill();
    until("access comes back", DEADLINE, || {
        (curl.get(WIKI).status == 200).then_some(())
    });
}

#[test]
fn the_second_gateway_takes_over_when_the_first_dies() {
    if !inside_own_network("peers::the_second_gateway_takes_over_when_the_first_dies") {
        return;
    }
    let scene = Scene::new("failover");
    let company = Company::start(&scene, 2);
    let mut connector = Connector::install(&scene, &company.lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    assert_eq!(curl.get(WIKI).text(), "wiki\n");
    assert!(company.gateways[0].seen().contains(r#""url":"/""#));
    assert!(!company.gateways[1].seen().contains(r#""url":"/""#));

    company.gateways[0].kill();
    let killed = Instant::now();
    until(
        "the wiki through the other gateway",
        Duration::from_secs(10),
        || {
            let wiki = curl.fetch(Form::Absolute, WIKI, &["--max-time", "5"]);
            (wiki.text() == "wiki\n").then_some(())
        },
    );
    let gap = killed.elapsed();
    scene.figure("from the gateway's death to a new request's answer", gap);
    assert!(gap < Duration::from_secs(5), "{gap:?}");
    assert!(company.gateways[1].seen().contains(r#""url":"/""#));
    let status = connector.read(&["status"]);
    assert_eq!(active_gateway(&status).as_deref(), Some("gw-2"), "{status}");
}

#[test]
fn a_control_plane_that_is_away_or_lies_changes_nothing_that_is_in_force() {
    if !inside_own_network(
        "peers::a_control_plane_that_is_away_or_lies_changes_nothing_that_is_in_force",
    ) {
        return;
    }
    let scene = Scene::new("control");
    let mut company = Company::start(&scene, 1);
    let mut connector = Connector::install(&scene, &company.lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    let stored = || e2e::process::read(&connector.path("state/configuration.jws"));
    let version = |status: &Value| status["configuration_version"].as_u64();
    let old = stored();
    let published = company.lab.pull("configuration", &Value::Null);
    let newest = published["version"].as_u64().unwrap();
    connector.wait_for("the next version", |status| version(status) == Some(newest));
    let good = stored();
    let mut drip = curl.download(Form::Absolute, &format!("{WIKI}drip"));
    drip.wait_for(10, DEADLINE);

    let address = company
        .lab
        .ready("control_plane")
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    company.lab.process.kill();
    connector.wait_for("the loss to be noticed", |status| {
        status["control_plane_reachable"] == false
    });
    goes_on(&curl, &mut drip);

    let served = Arc::new(Served::default());
    served.set(&good);
    let liar = Stub::start(&address, serve(&served));
    connector.wait_for("the stand-in to be believed", is_reachable);
    for (what, document, problem) in lies(&scene, &good, &old, newest) {
        let logged = connector.log().len();
        served.set(&document);
        until(&format!("{what} to be refused"), DEADLINE, || {
            connector.log()[logged..].contains(problem).then_some(())
        });
        let status = connector.wait_for(what, |status| !is_reachable(status));
        assert_eq!(version(&status), Some(newest), "{what}: {status}");
        assert_eq!(stored(), good, "{what} was stored");
        goes_on(&curl, &mut drip);
        served.set(&good);
        connector.wait_for("the good document again", is_reachable);
    }

    // The same way brings a good document in, so that the refusals prove something.
    let seed = scene.path("lab-state/policy-key");
    served.set(&resign(&seed, &good, &json!({"version": newest + 1})));
    connector.wait_for("a good document", |status| {
        version(status) == Some(newest + 1)
    });
    served.set("");
    drop(liar);
    company.start_lab_again(&scene, &address);
    connector.wait_for("the control plane to be back", |status| {
        is_reachable(status) && version(status) > Some(newest + 1)
    });
    goes_on(&curl, &mut drip);
}

fn is_reachable(status: &Value) -> bool {
    status["control_plane_reachable"] == true
}

/// Documents that must not come into force, and what the log says about each.
fn lies(
    scene: &Scene,
    good: &str,
    old: &str,
    newest: u64,
) -> Vec<(&'static str, String, &'static str)> {
    let company_key = scene.path("lab-state/policy-key");
    let other_key = scene.write("other-key", [7; 32]);
    let later = |more: Value| {
        let mut claims = json!({"version": newest + 5});
        if let (Some(claims), Some(more)) = (claims.as_object_mut(), more.as_object()) {
            claims.extend(more.clone());
        }
        claims
    };
    let flipped = good.replacen('.', ".A", 1);
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    let sign = |claims: Value| resign(&company_key, good, &claims);
    vec![
        (
            "another key's",
            resign(&other_key, good, &later(json!({}))),
            "configuration is refused",
        ),
        ("a changed one", flipped, "configuration is refused"),
        (
            "an unsigned one",
            format!("{unsigned}."),
            "configuration is refused",
        ),
        ("an older one", old.to_owned(), "versions never go back"),
        (
            "an expired one",
            sign(later(json!({"expires_at": 1_000_000_000}))),
            "expired",
        ),
        (
            "one for the whole internet",
            sign(later(json!({"resources": [{
            "id": "all", "title": "All", "names": ["www.example.com"], "ports": {"tcp": ["443"]},
            "site": "hq", "lease_seconds": 300}]}))),
            "not acceptable",
        ),
        (
            "no document",
            "<html>502</html>".to_owned(),
            "configuration is refused",
        ),
        ("a long one", "x".repeat(9_000_000), "longer than"),
    ]
}

/// What a stand-in for the control plane serves, and how often that has changed.
#[derive(Default)]
struct Served {
    document: Mutex<(u32, String)>,
    changed: Condvar,
}

impl Served {
    fn set(&self, document: &str) {
        let mut served = self.document.lock().unwrap();
        *served = (served.0 + 1, document.to_owned());
        self.changed.notify_all();
    }
}

/// Serves the configuration, also to those who wait for the next one; everything else is away.
fn serve(served: &Arc<Served>) -> impl Fn(Request) -> Vec<u8> + use<> {
    let served = Arc::clone(served);
    move |request| {
        if !request.head.starts_with("GET /v1/configuration") {
            return response("503 Busy", "", b"");
        }
        let known = field(&request.head, "if-none-match");
        let is_known = |now: &mut (u32, String)| known == Some(&format!("\"{}\"", now.0));
        let now = served.document.lock().unwrap();
        let (number, document) = served.changed.wait_while(now, is_known).unwrap().clone();
        if document.is_empty() {
            return response("503 Busy", "", b"");
        }
        let fields = format!("Content-Type: application/jose\r\nETag: \"{number}\"\r\n");
        response("200 OK", &fields, document.as_bytes())
    }
}

/// What was permitted before goes on, and new connections are decided as before.
fn goes_on(curl: &Curl<'_>, drip: &mut Download) {
    let wiki = curl.get(WIKI);
    assert_eq!((wiki.exit, wiki.text().as_str()), (0, "wiki\n"), "{wiki:?}");
    assert_eq!(curl.get("http://other.corp.test/").status, 403);
    drip.wait_for(drip.size() + 1, DEADLINE);
}

//! Measures embedded decisions and the activation of a big store, and prints one line of JSON.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_core::access::{Destination, Flow, Program, Protocol, Workload};
use connector_core::authzen::AccessRequest;
use connector_core::catalogue::{Ports, Resource};
use connector_core::identity::Person;
use connector_core::jws::PublicKey;
use connector_core::posture::Verdict;
use connector_core::time::WallTime;
use connector_policy::author::{self, Draft, Signature};
use connector_policy::evaluation::{Circumstances, DecisionPoint};
use connector_policy::head::{Head, Sequence};
use connector_policy::store::{Effect, Store};
use ed25519_dalek::SigningKey;

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() -> Result<(), Box<dyn Error>> {
    let (p50, p99) = decisions(1000)?;
    let mut stores = (0..ROUNDS)
        .map(|_| store())
        .collect::<Result<Vec<_>, _>>()?;
    stores.sort_unstable();
    let store = stores[ROUNDS / 2];
    println!(
        "{}",
        serde_json::json!({
            "embedded1000_p50_us": micros(p50),
            "embedded1000_p99_us": micros(p99),
            "store10k_ms": micros(store) / 1000.0,
        })
    );
    Ok(())
}

/// Decides about each of as many resources as there are policies, in turn.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn decisions(policies: usize) -> Result<(Duration, Duration), Box<dyn Error>> {
    let text: String = (0..policies).map(policy).collect();
    let snapshot = author::check([("all.cedar", &*text)])?;
    let mut point = DecisionPoint::new(Arc::new(snapshot), None);
    let requests: Vec<AccessRequest> = (0..policies).map(request).collect();

    let mut took = Vec::new();
    for round in 0..20 {
        for request in &requests {
            let begun = Instant::now();
            let decision = point.decide(request, &Circumstances::default());
            let elapsed = begun.elapsed();
            if decision.outcome.is_err() {
                return Err(format!("denied: {decision:?}").into());
            }
            if round > 0 {
                took.push(elapsed);
            }
        }
    }
    took.sort_unstable();
    Ok((took[took.len() / 2], took[took.len() * 99 / 100]))
}

/// Verifies and activates a store of 10 000 objects.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn store() -> Result<Duration, Box<dyn Error>> {
    // A commit, its manifest, its tree and the schema are beside the policies.
    let files: Vec<(String, String)> = (0..9_996)
        .map(|number| (format!("{number}.cedar"), policy(number)))
        .collect();
    let files = files.iter().map(|(name, text)| (&**name, &**text));
    let draft = Draft::of(files, None, &Signature::default());
    let key = SigningKey::from_bytes(&[1; 32]);
    let now = WallTime::from_unix_millis(1_000_000_000);
    let head = Head {
        ledger: "bench".into(),
        commit: draft.commit,
        sequence: Sequence(1),
        issued_at: now,
        expires_at: now + Duration::from_secs(60),
        shadow: None,
        reset: false,
    };
    let signed = head.sign(&key)?;
    let objects: Vec<Vec<u8>> = draft.objects.into_iter().map(|(_, bytes)| bytes).collect();
    if objects.len() != 10_000 {
        return Err(format!("{} objects", objects.len()).into());
    }

    let mut store = Store::new(PublicKey::of(&key), "bench".into());
    let begun = Instant::now();
    store.handle_head(&signed, now)?;
    store.handle_objects(objects)?;
    let took = begun.elapsed();
    let activated = std::iter::from_fn(|| store.poll())
        .any(|effect| matches!(effect, Effect::Activate(active) if active.head == head));
    if activated {
        Ok(took)
    } else {
        Err("the store is not active".into())
    }
}

/// One policy in ten has a window of time, whose edges have to be found.
fn policy(number: usize) -> String {
    let window = if number.is_multiple_of(10) {
        " && context.minute_of_day < 1440"
    } else {
        ""
    };
    format!(
        "@id(\"app-{number}\")\n@lease(\"5m\")\npermit(\n  principal in Group::\"team-{}\",\n  \
         action == Action::\"connect\",\n  resource == Resource::\"app-{number}\"\n)\nwhen {{\n  \
         context.trust_level >= 1 && context.workload.known{window}\n}};\n",
        number % 10
    )
}

fn request(number: usize) -> AccessRequest {
    AccessRequest {
        person: Arc::new(Person {
            issuer: "https://id.example".into(),
            subject: "ann".into(),
            name: None,
            email: Some("ann@example.com".into()),
            groups: (0..10).map(|team| format!("team-{team}").into()).collect(),
        }),
        session: "session".into(),
        assurance: None,
        host: Some("laptop".into()),
        verdict: Verdict::default(),
        network: connector_core::network::NetworkKind::Unknown,
        flow: Flow {
            destination: Destination::Address([10, 0, 0, 1].into()),
            protocol: Protocol::Tcp(443),
            workload: Workload::Known(Arc::new(Program {
                path: "/usr/bin/curl".into(),
                user: Some(1000),
                sha256: None,
                ancestors: vec!["/usr/bin/bash".into()],
            })),
        },
        acting: connector_core::trust::Acting::Oneself,
        resource: Arc::new(Resource {
            id: format!("app-{number}").as_str().into(),
            title: "App".into(),
            names: vec![],
            prefixes: vec![],
            ports: Ports::default(),
            site: "hq".into(),
            lease: Duration::from_secs(300),
        }),
        time: WallTime::from_unix_millis(1_795_305_600_000),
    }
}

const ROUNDS: usize = 5;

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

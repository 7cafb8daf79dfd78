//! The gateways decide again: what a client without an enforcer of its own gets at.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use connector_core::access::{Destination, Flow, Protocol, Workload};
use connector_core::catalogue::{Catalogue, Endpoint, Gateway, Ports, Resource, Site};
use connector_core::configuration::DOCUMENT_TYPE;
use connector_core::control::SessionGrant;
use connector_core::jws::PublicKey;
use connector_core::testing::Company as Decisions;
use connector_core::time::Moment;
use lab::clock::Clock;
use lab::running::Lab;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel::userspace::{FlowStream, Plan, Settings, Userspace};
use tunnel_proto::keys::PrivateKey;

use crate::support::{DEADLINE, Device, client, id_token, json_of, options, post_json};

const WIKI: &str = "10.20.0.10";
const PAYROLL: &str = "10.20.0.12";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_an_enforcer_reaches_what_its_groups_may_and_nothing_beside_it() {
    let office = Office::open().await;
    let alice = office.sign_in("alice").await;
    let carol = office.sign_in("carol").await;

    assert!(alice.reaches(WIKI, 80).await);
    assert!(carol.reaches(PAYROLL, 80).await);
    assert!(!alice.reaches(PAYROLL, 80).await);
    // The same application, at a port that no rule speaks of.
    assert!(!alice.reaches(WIKI, 22).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_no_group_reaches_nothing() {
    let office = Office::open().await;
    let bob = office.sign_in("bob").await;
    let alice = office.sign_in("alice").await;

    assert!(alice.reaches(WIKI, 80).await, "the gateway works");
    assert!(!bob.reaches(WIKI, 80).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_count_from_the_next_packet_on() {
    let office = Office::open().await;
    let alice = office.sign_in("alice").await;
    let mut download = alice.download().await;

    let rules = json!([{"id": "finance", "groups": ["staff"], "resources": ["payroll"]}]);
    office.pull("rules", &rules).await;

    assert!(ends(&mut download).await);
    assert!(!alice.reaches(WIKI, 80).await);
    assert!(alice.reaches(PAYROLL, 80).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_for_a_revoked_session_whose_client_goes_on() {
    let office = Office::open().await;
    for revocation in ["lever", "signal"] {
        let alice = office.sign_in("alice").await;
        let carol = office.sign_in("carol").await;
        let mut download = alice.download().await;

        if revocation == "lever" {
            office
                .pull(&format!("sessions/{}/revoke", alice.session), &json!({}))
                .await;
        } else {
            let issuer = &office.lab.ready().issuer;
            let subject = json!({"format": "iss_sub", "iss": issuer, "sub": "alice"});
            let event = json!({"event": "session-revoked", "subject": subject});
            office.pull("signals", &event).await;
        }

        assert!(ends(&mut download).await, "{revocation}");
        assert!(!alice.reaches(WIKI, 80).await, "{revocation}");
        assert!(carol.reaches(WIKI, 80).await, "{revocation}: others go on");
    }
}

/// Whether a download that never ends by itself falls silent.
async fn ends(download: &mut FlowStream) -> bool {
    let mut buffer = vec![0; 64 * 1024];
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        // What was on its way arrives; then the endless stream is silent for longer than any hiccup.
        let read = tokio::time::timeout(SILENCE, download.read(&mut buffer)).await;
        match read {
            Err(_) | Ok(Err(_) | Ok(0)) => return true,
            Ok(Ok(_)) => {}
        }
    }
    false
}

struct Office {
    lab: Lab,
}

impl Office {
    async fn open() -> Self {
        let lab = Lab::start(options());
        Self {
            lab: lab.await.unwrap(),
        }
    }

    async fn pull(&self, lever: &str, body: &Value) {
        let url = format!("{}lab/{lever}", self.lab.ready().admin);
        let response = post_json(&url, body).await;
        assert!(response.status().is_success(), "{lever}: {response:?}");
    }

    /// Opens a session on a device of its own, as a connector does.
    async fn sign_in(&self, login: &str) -> Rogue {
        let mut device = Device::new();
        let base = self.lab.ready().control_plane.clone();
        let url = format!("{}lab/enrolment-tokens", self.lab.ready().admin);
        let token = json_of(post_json(&url, &json!({})).await).await;
        let enrolment = device.enrolment_at(&base, token["token"].as_str()).await;
        let enrolled = post_json(&format!("{base}v1/hosts"), &enrolment).await;
        device.host_id = json_of(enrolled).await["host_id"]
            .as_str()
            .unwrap()
            .to_owned();

        let key = PrivateKey::from_bytes(lab::random::bytes());
        device.wireguard_key = *key.public_key().as_bytes();
        let id_token = id_token(&self.lab.ready().issuer, login).await;
        let response = client()
            .post(format!("{base}v1/sessions"))
            .header("authorization", assertion(&device, &base))
            .header("content-type", "application/json")
            .body(device.session_request(&id_token).to_string())
            .send()
            .await
            .unwrap();
        let grant: SessionGrant = serde_json::from_value(json_of(response).await).unwrap();
        Rogue::connect(&self.configuration(&base, &device).await, key, grant)
    }

    async fn configuration(&self, base: &str, device: &Device) -> Value {
        let response = client()
            .get(format!("{base}v1/configuration"))
            .header("authorization", assertion(device, base))
            .send()
            .await
            .unwrap();
        let text = response.text().await.unwrap();
        let key: PublicKey = self.lab.ready().policy_key.parse().unwrap();
        let payload = key.verify(&text, DOCUMENT_TYPE).unwrap();
        serde_json::from_slice(&payload).unwrap()
    }
}

/// A client with the session's key and addresses, and an access map that permits everything.
struct Rogue {
    session: String,
    tunnel: Userspace,
    permits: tokio::sync::Mutex<Decisions>,
}

impl Rogue {
    fn connect(configuration: &Value, key: PrivateKey, grant: SessionGrant) -> Self {
        let gateway = &configuration["sites"][0]["gateways"][0];
        let text = |member: &str| gateway[member].as_str().unwrap();
        let endpoint: SocketAddr = text("endpoint").parse().unwrap();
        let public_key: tunnel_proto::keys::PublicKey = text("public_key").parse().unwrap();
        let any = vec![1..=u16::MAX];
        let resources = vec![Resource {
            id: "everything".into(),
            title: "Everything".into(),
            names: vec![],
            prefixes: vec!["10.20.0.0/16".parse().unwrap()],
            ports: Ports {
                tcp: any.clone(),
                udp: any,
            },
            site: "hq".into(),
            lease: Duration::from_secs(3600),
        }];
        let sites = vec![Site {
            id: "hq".into(),
            resolvers: vec![],
            gateways: vec![Gateway {
                id: "hq-1".into(),
                endpoint: Endpoint::Address(endpoint),
                public_key: *public_key.as_bytes(),
                allowed_sources: vec!["10.20.0.0/16".parse().unwrap()],
            }],
        }];
        let mut settings = Settings::new(now, Arc::new(|_| {}));
        settings.connect_limit = SILENCE;
        let tunnel = Userspace::start(settings);
        tunnel.configure(Some(Plan {
            private_key: key,
            addresses: grant.addresses.clone(),
            catalogue: Arc::new(Catalogue::new(resources.clone(), sites.clone())),
        }));
        let company = Decisions::new(resources, sites, grant.addresses, now());
        Self {
            session: grant.session_id,
            tunnel,
            permits: company.into(),
        }
    }

    async fn dial(&self, address: &str, port: u16) -> Option<FlowStream> {
        let flow = Flow {
            destination: Destination::Address(address.parse::<IpAddr>().unwrap()),
            protocol: Protocol::Tcp(port),
            workload: Workload::Unknown,
        };
        let permit = self.permits.lock().await.permit(&flow, now()).unwrap();
        self.tunnel.dial(permit).await.ok()
    }

    /// Returns whether an application answers.
    async fn reaches(&self, address: &str, port: u16) -> bool {
        let Some(mut stream) = self.dial(address, port).await else {
            return false;
        };
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 5];
        let read = tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer)).await;
        matches!(read, Ok(Ok(_))) && answer == *b"HTTP/"
    }

    /// Returns a download that has begun and never ends by itself.
    async fn download(&self) -> FlowStream {
        let mut stream = self.dial(WIKI, 80).await.unwrap();
        stream
            .write_all(b"GET /download?rate=1000000 HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut begun = vec![0; 100_000];
        stream.read_exact(&mut begun).await.unwrap();
        stream
    }
}

fn assertion(device: &Device, base: &str) -> String {
    device.sign(&device.claims_at(base, Clock::default().unix_seconds()))
}

fn now() -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    Moment::from_boot(Duration::from_secs(1000) + start.elapsed())
}

/// Longer than a handshake and a round trip on a machine under load.
const SILENCE: Duration = Duration::from_secs(3);

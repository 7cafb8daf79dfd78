//! The transmitter of security events, as a receiver sees it.

use connector_core::control::{ASSERTION_TYPE, Assertion};
use connector_core::jws;
use connector_core::signals::{KeySet, Signal, SignatureChecks, TokenVerifier};
use connector_core::time::WallTime;
use ed25519_dalek::SigningKey;
use lab::clock::Clock;
use lab::control_plane::ControlPlane;
use lab::ssf::{Emission, Transmitter};
use reqwest::Response;
use serde_json::{Map, Value, json};

use crate::support::{Corp, Device, client, json_of, listener};

#[tokio::test]
async fn an_event_is_sent_until_it_is_acknowledged_and_verifies() {
    let receiver = Receiver::start().await;
    let jti = receiver.transmitter.emit(&revoked());

    let first = json_of(receiver.poll(json!({"returnImmediately": true})).await).await;
    let again = json_of(receiver.poll(json!({})).await).await;
    let after = json_of(
        receiver
            .poll(json!({"returnImmediately": true, "ack": [jti]}))
            .await,
    )
    .await;

    assert_eq!(first, again);
    assert_eq!(after["sets"], json!({}));
    let keys = client().get(receiver.at("jwks")).send().await.unwrap();
    let keys = KeySet::parse(&keys.bytes().await.unwrap(), SignatureChecks::NONE).unwrap();
    let issuer = receiver.issuer.parse().unwrap();
    let verifier = TokenVerifier::new(&issuer, vec![receiver.host.clone()], vec![]);
    let now = WallTime::from_unix_millis(Clock::default().unix_millis());
    let event = verifier
        .verify(first["sets"][&jti].as_str().unwrap(), &keys, now)
        .unwrap();
    assert_eq!(event.signal, Signal::SessionRevoked);
}

#[tokio::test]
async fn a_poll_waits_for_the_next_event() {
    let receiver = Receiver::start().await;

    let (answer, jti) = tokio::join!(
        async { json_of(receiver.poll(json!({})).await).await },
        async {
            tokio::task::yield_now().await;
            receiver.transmitter.emit(&revoked())
        }
    );

    assert!(answer["sets"][&jti].is_string());
}

#[tokio::test]
async fn a_host_has_one_stream_and_nobody_elses_assertion_opens_it() {
    let receiver = Receiver::start().await;

    let twice = receiver.post("streams", json!({})).await;
    let anonymous = client().post(receiver.at("poll")).body("{}").send();
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let forged = client()
        .post(receiver.at("poll"))
        .bearer_auth(receiver.assertion_by(&stranger))
        .body("{}")
        .send();

    assert_eq!(twice.status(), 409);
    assert_eq!(anonymous.await.unwrap().status(), 401);
    assert_eq!(forged.await.unwrap().status(), 401);
}

/// A host with a stream.
struct Receiver {
    transmitter: Transmitter,
    issuer: String,
    host: String,
    device: Device,
    _company: Corp,
}

impl Receiver {
    async fn start() -> Self {
        let company = Corp::start().await;
        let device = company.device().await;
        let listener = listener().await;
        let issuer = Transmitter::issuer_at(&listener).unwrap().to_string();
        let hosts: std::sync::Arc<ControlPlane> = std::sync::Arc::clone(&company.plane);
        let transmitter = Transmitter::start(listener, hosts, company.clock.clone()).unwrap();
        let receiver = Self {
            transmitter,
            issuer,
            host: device.host_id.clone(),
            device,
            _company: company,
        };
        assert_eq!(receiver.post("streams", json!({})).await.status(), 201);
        receiver
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.issuer)
    }

    async fn poll(&self, request: Value) -> Response {
        let response = self.post("poll", request).await;
        assert_eq!(response.status(), 200);
        response
    }

    async fn post(&self, name: &str, body: Value) -> Response {
        client()
            .post(self.at(name))
            .bearer_auth(self.assertion_by(&self.device.key))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap()
    }

    fn assertion_by(&self, key: &SigningKey) -> String {
        let now = Clock::default().unix_seconds();
        let claims = Assertion {
            iss: self.host.clone(),
            aud: self.issuer.clone(),
            iat: now,
            exp: now + 60,
            jti: lab::random::identifier(),
        };
        jws::sign(key, ASSERTION_TYPE, &claims).unwrap()
    }
}

fn revoked() -> Emission {
    Emission {
        event: "session-revoked".to_owned(),
        subject: json!({"format": "opaque", "id": "session-1"}),
        members: Map::new(),
        host: None,
        claims: Map::new(),
    }
}

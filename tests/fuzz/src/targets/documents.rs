//! JSON from elsewhere: answers of policy servers, configurations, the decision log, security events.

use std::fmt::Debug;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connector_core::audit::verification::{Expected, Place, Verifier};
use connector_core::authzen;
use connector_core::configuration::{DOCUMENT_TYPE, Trust, Version};
use connector_core::control::{
    Discovery, Enrolled, GrantAnswer, GrantTasks, Problem, SessionGrant,
};
use connector_core::identity::HostId;
use connector_core::jws::{self, PublicKey};
use connector_core::overriding::{CODE_TYPE, NONCE_LENGTH, Overrides};
use connector_core::signals::{
    KeySet, PollAnswer, Revocation, SignatureChecks, StreamConfiguration, TokenVerifier,
    Transmitter,
};
use connector_core::time::{Moment, Now, WallTime};
use ed25519_dalek::{Signer, SigningKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Answers of a policy server; the first byte says how many questions it was asked.
pub(super) fn authzen(input: &[u8]) {
    let _ = authzen::parse_decision(input);
    if let Some((asked, body)) = input.split_first() {
        let asked = usize::from(*asked % 4);
        if let Ok(answers) = authzen::parse_evaluations(body, asked) {
            assert_eq!(answers.len(), asked, "no answer is given away");
        }
    }
    let base = url("https://pdp.corp.test/");
    let _ = authzen::Endpoints::parse(&base, input);
}

/// What the control plane says about requests for access: nobody is told more than was said.
pub(super) fn access_requests(input: &[u8]) {
    if let Ok(answer) = serde_json::from_slice::<GrantAnswer>(input) {
        is_read_as_written(&answer);
    }
    if let Ok(tasks) = serde_json::from_slice::<GrantTasks>(input) {
        is_read_as_written(&tasks);
    }
}

/// What the control plane says of itself, of this host and of a session.
pub(super) fn control(input: &[u8]) {
    if let Ok(found) = serde_json::from_slice::<Discovery>(input) {
        is_read_as_written(&found);
    }
    if let Ok(enrolled) = serde_json::from_slice::<Enrolled>(input) {
        is_read_as_written(&enrolled);
    }
    if let Ok(grant) = serde_json::from_slice::<SessionGrant>(input) {
        is_read_as_written(&grant);
    }
    if let Ok(problem) = serde_json::from_slice::<Problem>(input) {
        is_read_as_written(&problem);
    }
}

/// Revocations that an earlier run kept: what is not damaged is read as it was written.
pub(super) fn revocations(input: &[u8]) {
    let Ok(raw) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    let all = raw.as_array().map_or(&[][..], Vec::as_slice);
    for raw in all.iter().chain([&raw]) {
        if let Some(kept) = Revocation::parse(raw) {
            assert_eq!(Revocation::parse(&kept.to_json()), Some(kept));
        }
    }
}

fn is_read_as_written<T>(read: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let written = serde_json::to_vec(read).ok();
    let again = written.and_then(|text| serde_json::from_slice(&text).ok());
    assert_eq!(again.as_ref(), Some(read));
}

/// Configurations: as they come, and as the payload of one that is signed.
pub(super) fn configuration(input: &[u8]) {
    let trust = Trust {
        key: PublicKey::of(&key()),
        suffixes: "corp.test".parse().into_iter().collect(),
    };
    if let Ok(text) = str::from_utf8(input) {
        assert!(
            trust.accept(text, Version(1), now()).is_err(),
            "nobody else can sign"
        );
    }
    if let Ok(payload) = serde_json::from_slice::<Value>(input)
        && let Ok(signed) = jws::sign(&key(), DOCUMENT_TYPE, &payload)
        && let Ok(accepted) = trust.accept(&signed, Version(1), now())
    {
        assert!(accepted.version >= Version(1) && accepted.expires_at > now().moment);
    }
}

/// Codes that switch the connector off: what the company signed, and what nobody did.
pub(super) fn override_code(input: &[u8]) {
    let public = PublicKey::of(&key());
    let device = HostId::from("host-1");
    let now = Moment::default();
    let mut overrides = Overrides::default();
    let nonce = overrides.challenge(&[1; NONCE_LENGTH], now).nonce.clone();
    let raw = String::from_utf8_lossy(input);
    assert!(overrides.redeem(&raw, &public, &device, now).is_err());
    let Ok(claims) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    let Ok(code) = jws::sign(&key(), CODE_TYPE, &claims) else {
        return;
    };
    if let Ok(grant) = overrides.redeem(&code, &public, &device, now) {
        assert_eq!(claims["device"], "host-1");
        assert_eq!(nonce.as_str(), "1111-1111-1111");
        assert!(grant.length.as_secs() <= 86_400);
        assert!(overrides.redeem(&code, &public, &device, now).is_err());
    }
}

/// The lines of a decision log that somebody may have edited.
pub(super) fn decision_log(input: &[u8]) {
    let mut verifier = Verifier::new(Expected {
        whole: true,
        ..Expected::default()
    });
    for (number, line) in (1..).zip(input.split_inclusive(|byte| *byte == b'\n')) {
        let place = Place {
            file: "log".into(),
            line: number,
        };
        verifier.line(place, line);
    }
    let _ = verifier.finish();
}

/// Security events: as they come, and as the claims of one that is signed.
pub(super) fn signals(input: &[u8]) {
    let Ok(keys) = KeySet::parse(key_set().as_bytes(), SignatureChecks::NONE) else {
        return;
    };
    let verifier = TokenVerifier::new(&issuer(), vec!["host-1".to_owned()], vec![]);
    if let Ok(text) = str::from_utf8(input) {
        let _ = verifier.verify(text, &keys, now().wall);
    }
    let header = json!({"alg": "EdDSA", "kid": "k", "typ": "secevent+jwt"}).to_string();
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(input)
    );
    let signature = URL_SAFE_NO_PAD.encode(key().sign(signed.as_bytes()).to_bytes());
    if let Ok(event) = verifier.verify(&format!("{signed}.{signature}"), &keys, now().wall) {
        assert!(
            event.happened_at <= event.issued_at + Duration::from_secs(1),
            "nothing has happened before it did"
        );
    }
}

/// What a transmitter says of itself, of its keys and streams, and sends.
pub(super) fn transmitter(input: &[u8]) {
    let issuer = issuer();
    if let Ok(found) = Transmitter::parse(input, &issuer) {
        assert_eq!(found.streams.scheme(), "https", "no secret goes in clear");
    }
    if let Ok(stream) = StreamConfiguration::parse(input, &issuer) {
        assert!(!stream.audience.is_empty());
    }
    let _ = KeySet::parse(input, SignatureChecks::NONE);
    if let Ok(answer) = PollAnswer::parse(input) {
        assert!(answer.sets.len() <= input.len());
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn key_set() -> String {
    let x = URL_SAFE_NO_PAD.encode(key().verifying_key().as_bytes());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]}).to_string()
}

fn issuer() -> url::Url {
    url("https://t.test/")
}

#[expect(clippy::unwrap_used, reason = "the texts are written above")]
fn url(text: &str) -> url::Url {
    text.parse().unwrap()
}

fn now() -> Now {
    Now {
        moment: Moment::from_boot(Duration::from_secs(1000)),
        wall: WallTime::from_unix_millis(1_000_000),
    }
}

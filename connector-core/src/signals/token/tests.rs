use ed25519_dalek::{Signer, SigningKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::json;

use super::*;
use crate::signals::event_type::SESSION_REVOKED;
use crate::signals::{Local, SignatureChecks};

#[test]
fn a_signed_token_becomes_an_event() {
    let event = verify(&sign(&header(), &claims())).unwrap();

    assert_eq!(event.id.as_str(), "event-1");
    assert_eq!(event.signal, Signal::SessionRevoked);
    assert_eq!(event.issued_at.unix_seconds(), NOW);
    assert_eq!(event.happened_at.unix_seconds(), NOW - 5);
    assert_eq!(event.reason_user.as_deref(), Some("Your laptop was lost"));
}

#[test]
fn events_of_one_second_are_told_apart_and_none_comes_from_the_future() {
    for (timestamp, expected) in [
        (json!(NOW), NOW * 1000),
        (json!(1_794_999_999.25), NOW * 1000 - 750),
        (json!(1_795_000_000.25), NOW * 1000 + 250),
        (json!(NOW + 60), NOW * 1000 + 999),
        (json!(-1), NOW * 1000),
        (json!(1e300), NOW * 1000),
        (json!("1795000000"), NOW * 1000),
    ] {
        let mut claims = claims();
        claims["events"][SESSION_REVOKED]["event_timestamp"] = timestamp.clone();

        let event = verify(&sign(&header(), &claims)).unwrap();

        assert_eq!(event.happened_at.unix_millis(), expected, "{timestamp}");
    }
}

#[test]
fn signatures_made_by_another_implementation_are_accepted_and_a_short_key_is_not() {
    for vector in vectors() {
        let name = vector["name"].as_str().unwrap();
        let keys = json!({"keys": [vector["key"]]}).to_string();
        let keys = KeySet::parse(keys.as_bytes(), checks()).unwrap();
        let token = vector["token"].as_str().unwrap();

        let verified = verifier().verify(token, &keys, now());

        match name {
            "RSA1024" => assert_eq!(verified, Err(RefusedToken::UnknownKey(name.to_owned()))),
            _ => assert_eq!(verified.unwrap().signal, Signal::SessionRevoked, "{name}"),
        }
    }
}

#[test]
fn a_key_is_used_with_its_own_algorithm_only() {
    let vectors = vectors();
    let token = vectors[0]["token"].as_str().unwrap();
    for (number, other) in vectors.iter().enumerate().skip(1) {
        let mut key = other["key"].clone();
        key["kid"] = vectors[0]["key"]["kid"].clone();
        let keys = json!({"keys": [key]}).to_string();
        let keys = KeySet::parse(keys.as_bytes(), checks()).unwrap();

        let verified = verifier().verify(token, &keys, now());

        assert!(
            matches!(
                verified,
                Err(RefusedToken::UnknownKey(_) | RefusedToken::WrongSignature)
            ),
            "{number}"
        );
    }
}

#[test]
fn a_header_that_is_not_for_event_tokens_is_refused_even_if_signed() {
    for (member, value) in [
        ("typ", json!("JWT")),
        ("typ", json!("at+jwt")),
        ("typ", json!(null)),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("eddsa")),
        ("kid", json!("other")),
        ("kid", json!(null)),
        ("crit", json!(["b64"])),
    ] {
        let mut header = header();
        header[member] = value.clone();

        assert!(
            verify(&sign(&header, &claims())).is_err(),
            "{member}: {value}"
        );
    }
    let mut header = header();
    header["typ"] = json!("application/SECEVENT+jwt");
    header["jku"] = json!("https://evil.test/jwks");
    assert!(verify(&sign(&header, &claims())).is_ok());
}

#[test]
fn claims_that_are_not_this_streams_are_refused_and_say_why_to_the_transmitter() {
    for (member, value, error) in [
        ("iss", json!("https://evil.test/"), Some("invalid_issuer")),
        ("iss", json!(null), Some("invalid_request")),
        ("aud", json!("host-2"), Some("invalid_audience")),
        ("aud", json!([]), Some("invalid_audience")),
        ("aud", json!(7), Some("invalid_request")),
        ("iat", json!(NOW + 121), None),
        ("iat", json!(u64::MAX), None),
        ("iat", json!("now"), Some("invalid_request")),
        ("iat", json!(-1), Some("invalid_request")),
        ("jti", json!(""), Some("invalid_request")),
        ("jti", json!("a\nb"), Some("invalid_request")),
        ("jti", json!("x".repeat(257)), Some("invalid_request")),
        ("exp", json!(NOW + 60), Some("invalid_request")),
        ("exp", json!(null), Some("invalid_request")),
        ("sub", json!("alice"), Some("invalid_request")),
        ("sub_id", json!(null), Some("invalid_request")),
        (
            "sub_id",
            json!({"format": "email"}),
            Some("invalid_request"),
        ),
        ("events", json!({}), Some("invalid_request")),
        ("events", json!({"a": {}, "b": {}}), Some("invalid_request")),
        (
            "events",
            json!({SESSION_REVOKED: 1}),
            Some("invalid_request"),
        ),
    ] {
        let mut claims = claims();
        claims[member] = value.clone();

        let refused = verify(&sign(&header(), &claims)).unwrap_err();

        assert_eq!(refused.set_error(), error, "{member}: {value}: {refused}");
    }
}

#[test]
fn clocks_may_differ_a_little() {
    let mut claims = claims();
    claims["iat"] = json!(NOW + 120);

    assert!(verify(&sign(&header(), &claims)).is_ok());
}

#[test]
fn every_known_event_is_read_and_a_torn_one_refused() {
    let caep = "https://schemas.openid.net/secevent/caep/event-type";
    for (name, payload, is_read) in [
        ("session-revoked", json!({}), true),
        (
            "token-claims-change",
            json!({"claims": {"groups": ["a"], "x": 1}}),
            true,
        ),
        ("token-claims-change", json!({}), false),
        (
            "token-claims-change",
            json!({"claims": {"groups": "a"}}),
            false,
        ),
        (
            "credential-change",
            json!({"credential_type": "password", "change_type": "revoke"}),
            true,
        ),
        (
            "credential-change",
            json!({"credential_type": "password"}),
            false,
        ),
        (
            "assurance-level-change",
            json!({"namespace": "NIST-AAL", "current_level": "nist-aal1", "previous_level": "nist-aal2"}),
            true,
        ),
        (
            "assurance-level-change",
            json!({"namespace": "NIST-AAL"}),
            false,
        ),
        (
            "assurance-level-change",
            json!({"namespace": "\n", "current_level": "x"}),
            false,
        ),
        (
            "device-compliance-change",
            json!({"previous_status": "compliant", "current_status": "not-compliant"}),
            true,
        ),
        (
            "device-compliance-change",
            json!({"current_status": "fine"}),
            false,
        ),
        ("device-compliance-change", json!({}), false),
        ("risk-level-change", json!({"anything": []}), true),
    ] {
        let mut claims = claims();
        claims["events"] = json!({format!("{caep}/{name}"): payload.clone()});

        let event = verify(&sign(&header(), &claims));

        assert_eq!(event.is_ok(), is_read, "{name} {payload}: {event:?}");
        if let Ok(event) = event {
            assert_eq!(event.signal.as_str(), name);
        }
    }
}

#[test]
fn any_changed_byte_and_anything_that_is_no_token_is_refused() {
    let token = sign(&header(), &claims());
    for index in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(verify(&changed).is_err(), "byte {index}");
    }
    let long = format!("{token}{}", "A".repeat(40_000));
    for bad in [
        "",
        ".",
        "..",
        "a.b.c",
        "\u{0}.\u{0}.\u{0}",
        &long,
        &token[..token.len() - 1],
    ] {
        assert!(verify(bad).is_err(), "{bad:.20}");
    }
}

#[test]
fn the_subject_decides_whom_it_is_about() {
    let event = verify(&sign(&header(), &claims())).unwrap();
    let host = "host-1".into();
    let local = Local {
        host: Some(&host),
        session: None,
        restored_from: None,
    };

    assert!(!event.subject.concerns(local));
    assert!(event.subject.is_stream("session-1"));
}

fn verify(token: &str) -> Result<SecurityEvent, RefusedToken> {
    verifier().verify(token, &keys(), now())
}

fn verifier() -> TokenVerifier {
    let issuer = "https://t.test/".parse().unwrap();
    TokenVerifier::new(&issuer, vec!["host-1".into()], vec![])
}

fn keys() -> KeySet {
    let x = URL_SAFE_NO_PAD.encode(key().verifying_key().as_bytes());
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]});
    KeySet::parse(keys.to_string().as_bytes(), checks()).unwrap()
}

fn checks() -> SignatureChecks {
    SignatureChecks {
        es256: |point, signed, signature| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(signed, signature)
                .is_ok()
        },
        rs256: |key, signed, signature| {
            let key = RsaPublicKeyComponents {
                n: &key.modulus,
                e: &key.exponent,
            };
            key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
                .is_ok()
        },
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn sign(header: &Value, claims: &Value) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let signature = key().sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "k", "typ": "secevent+jwt"})
}

fn claims() -> Value {
    json!({
        "iss": "https://t.test/",
        "aud": "host-1",
        "iat": NOW,
        "jti": "event-1",
        "sub_id": {"format": "opaque", "id": "session-1"},
        "events": {SESSION_REVOKED: {
            "event_timestamp": NOW - 5,
            "initiating_entity": "admin",
            "reason_user": {"en": "Your laptop\n was lost"},
        }},
    })
}

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn now() -> WallTime {
    WallTime::from_unix_millis(NOW * 1000)
}

/// Within the skew of the vectors' `iat`.
const NOW: u64 = 1_795_000_000;

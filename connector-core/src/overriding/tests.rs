use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::json;

use super::*;
use crate::jws;

#[test]
fn a_code_that_answers_the_challenge_opens_once() {
    let mut overrides = Overrides::default();
    let code = code(&claims(&mut overrides));

    let grant = redeem(&mut overrides, &code, at(60)).unwrap();

    assert_eq!(grant.length, Duration::from_secs(1800));
    assert_eq!((&*grant.by, &*grant.reason), ("Help desk", "Hotel network"));
    assert_eq!(
        redeem(&mut overrides, &code, at(61)),
        Err(OverrideRefused::Used)
    );
}

#[test]
fn a_code_opens_nothing_after_a_restart() {
    let mut overrides = Overrides::default();
    let code = code(&claims(&mut overrides));
    redeem(&mut overrides, &code, at(1)).unwrap();

    let mut restarted = Overrides::default();
    restarted.challenge(&[9; NONCE_LENGTH], at(2));

    assert_eq!(
        redeem(&mut restarted, &code, at(3)),
        Err(OverrideRefused::Lapsed)
    );
}

#[test]
fn a_challenge_lapses_and_asking_again_keeps_it_until_then() {
    let mut overrides = Overrides::default();
    let late = code(&claims(&mut overrides));
    let first = overrides.challenge(&[1; NONCE_LENGTH], at(0)).clone();

    assert_eq!(
        overrides.challenge(&[2; NONCE_LENGTH], at(899)).nonce,
        first.nonce
    );
    assert_eq!(
        redeem(&mut overrides, &late, at(900)),
        Err(OverrideRefused::Lapsed)
    );
    assert_ne!(
        overrides.challenge(&[2; NONCE_LENGTH], at(900)).nonce,
        first.nonce
    );
    assert_eq!(
        redeem(&mut overrides, &late, at(901)),
        Err(OverrideRefused::Lapsed)
    );
}

#[test]
fn what_the_help_desk_types_differently_and_mail_programs_break_is_the_same() {
    let mut overrides = Overrides::default();
    let mut claims = claims(&mut overrides);
    claims.nonce = claims.nonce.replace('-', " ").to_lowercase();
    let code = code(&claims);
    let (one, two) = code.split_at(80);

    assert!(redeem(&mut overrides, &format!(" {one}\r\n{two}\n"), at(1)).is_ok());
}

#[test]
fn hostile_codes_are_refused_each_with_its_words() {
    let mut overrides = Overrides::default();
    let good = claims(&mut overrides);
    let other_device = OverrideClaims {
        device: "host-2".into(),
        ..good.clone()
    };
    let other_challenge = OverrideClaims {
        nonce: "0000-0000-0000".into(),
        ..good.clone()
    };
    let for_ever = OverrideClaims {
        minutes: MAX_MINUTES + 1,
        ..good.clone()
    };
    let no_time = OverrideClaims {
        minutes: 0,
        ..good.clone()
    };
    let two_lines = OverrideClaims {
        reason: "a\nb".into(),
        ..good.clone()
    };
    let more = json!({"jti": "j", "device": "host-1", "nonce": good.nonce, "minutes": 1,
        "reason": "r", "by": "b", "crit": 1});
    let foreign = jws::sign(&SigningKey::from_bytes(&[2; 32]), CODE_TYPE, &good).unwrap();
    let other_kind = jws::sign(&key(), "ztna-configuration+jws", &good).unwrap();
    for (code, words) in [
        (code(&other_device), "for another device"),
        (code(&other_challenge), "has lapsed"),
        (code(&for_ever), "for 1441 minutes"),
        (code(&no_time), "for 0 minutes"),
        (code(&two_lines), "member reason"),
        (
            jws::sign(&key(), CODE_TYPE, &more).unwrap(),
            "cannot be read",
        ),
        (
            jws::sign(&key(), CODE_TYPE, &json!([])).unwrap(),
            "cannot be read",
        ),
        (foreign, "does not match the pinned key"),
        (other_kind, "of type"),
        (without_algorithm(&good), "not made by the company"),
        ("x".repeat(1 << 20), "longer than 4096"),
        (String::new(), "not a JWS"),
        ("a.b.c".into(), "not made by the company"),
        ("\u{0}.\u{202e}.ä".into(), "not made by the company"),
    ] {
        // Each with attempts of its own.
        overrides.attempts.clear();

        let refused = redeem(&mut overrides, &code, at(1)).unwrap_err();

        assert!(refused.to_string().contains(words), "{refused}: {words}");
        assert!(!refused.remedy().is_empty());
    }
    overrides.attempts.clear();
    assert!(redeem(&mut overrides, &code(&good), at(2)).is_ok());
}

#[test]
fn a_changed_byte_anywhere_is_refused() {
    let mut overrides = Overrides::default();
    let code = code(&claims(&mut overrides));
    for index in 0..code.len() {
        let mut changed = code.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        overrides.attempts.clear();

        let changed = String::from_utf8(changed).unwrap();

        assert!(redeem(&mut overrides, &changed, at(1)).is_err(), "{index}");
    }
}

#[test]
fn whoever_tries_many_codes_has_to_wait() {
    let mut overrides = Overrides::default();
    let good = code(&claims(&mut overrides));
    for second in 0..5 {
        assert!(redeem(&mut overrides, "x", at(second)).is_err());
    }

    assert_eq!(
        redeem(&mut overrides, "x", at(5)),
        Err(OverrideRefused::TooOften)
    );
    assert!(redeem(&mut overrides, &good, at(5)).is_ok());
}

fn redeem(
    overrides: &mut Overrides,
    code: &str,
    now: Moment,
) -> Result<OverrideGrant, OverrideRefused> {
    overrides.redeem(code, &PublicKey::of(&key()), &"host-1".into(), now)
}

/// Opens a challenge and answers it.
fn claims(overrides: &mut Overrides) -> OverrideClaims {
    OverrideClaims {
        jti: "code-1".into(),
        device: "host-1".into(),
        nonce: overrides
            .challenge(&[1; NONCE_LENGTH], at(0))
            .nonce
            .to_string(),
        minutes: 30,
        reason: "Hotel network".into(),
        by: "Help desk".into(),
    }
}

fn code(claims: &OverrideClaims) -> String {
    jws::sign(&key(), CODE_TYPE, claims).unwrap()
}

/// Signs it well, and names no algorithm.
fn without_algorithm(claims: &OverrideClaims) -> String {
    let header = json!({"alg": "none", "typ": CODE_TYPE}).to_string();
    let payload = serde_json::to_vec(claims).unwrap();
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = key().sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn at(seconds: u64) -> Moment {
    Moment::from_boot(Duration::from_secs(seconds))
}

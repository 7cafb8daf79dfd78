//! Signed documents and assertions: JWS compact serialisation (RFC 7515) with
//! Ed25519 (RFC 8037) and nothing else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// The public half of a signing key, written as 43 characters of base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Returns the public half of `key`.
    #[must_use]
    pub fn of(key: &SigningKey) -> Self {
        Self(key.verifying_key())
    }

    /// Returns the payload of `jws` if this key signed it as a document of `kind`.
    ///
    /// The payload is returned as bytes: whatever parses them sees only what
    /// was signed.
    ///
    /// # Errors
    ///
    /// [`InvalidSignature`] if the text is no JWS, names another algorithm or
    /// type, or was not signed by this key.
    pub fn verify(&self, jws: &str, kind: &str) -> Result<Vec<u8>, InvalidSignature> {
        let (signed, signature) = jws.rsplit_once('.').ok_or(InvalidSignature::NotJws)?;
        let (header, payload) = signed.split_once('.').ok_or(InvalidSignature::NotJws)?;

        let signature = decode(signature)?;
        let signature =
            Signature::from_slice(&signature).map_err(|_| InvalidSignature::WrongKey)?;
        self.0
            .verify_strict(signed.as_bytes(), &signature)
            .map_err(|_| InvalidSignature::WrongKey)?;

        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| InvalidSignature::NotJws)?;
        if header.alg != ALGORITHM {
            return Err(InvalidSignature::WrongAlgorithm(header.alg));
        }
        if header.typ != kind {
            return Err(InvalidSignature::WrongType {
                found: header.typ,
                expected: kind.to_owned(),
            });
        }

        decode(payload)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        let bytes: [u8; 32] = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| InvalidPublicKey(text.chars().take(64).collect()))?;
        VerifyingKey::from_bytes(&bytes)
            .ok()
            .filter(|key| !key.is_weak())
            .map(Self)
            .ok_or_else(|| InvalidPublicKey(text.to_owned()))
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.as_bytes()))
    }
}

/// Signs `payload` as a document of `kind`.
///
/// # Errors
///
/// Fails only if `payload` cannot be written as JSON.
pub fn sign(
    key: &SigningKey,
    kind: &str,
    payload: &impl Serialize,
) -> Result<String, serde_json::Error> {
    let header = Header {
        alg: ALGORITHM.to_owned(),
        typ: kind.to_owned(),
    };
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?),
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(payload)?),
    );
    let signature = key.sign(signed.as_bytes());

    Ok(format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(signature.to_bytes())
    ))
}

/// Why a signed document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSignature {
    /// The text is not a JWS in compact serialisation.
    #[error("the document is not a JWS in compact serialisation")]
    NotJws,
    /// Another algorithm than Ed25519.
    #[error("the document is signed with {0:?}; only EdDSA is accepted")]
    WrongAlgorithm(String),
    /// Somebody else signed it, or it was changed since.
    #[error("the signature does not match the pinned key")]
    WrongKey,
    /// A document of another type.
    #[error("the document is of type {found:?}, expected {expected:?}")]
    WrongType {
        /// The type in its header.
        found: String,
        /// The type that was asked for.
        expected: String,
    },
}

/// A text that is no Ed25519 public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an Ed25519 public key: expected 32 bytes as 43 characters of base64url")]
pub struct InvalidPublicKey(String);

/// The header that both sides agree on; any other member is refused, `crit` among them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
}

fn decode(part: &str) -> Result<Vec<u8>, InvalidSignature> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| InvalidSignature::NotJws)
}

const ALGORITHM: &str = "EdDSA";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KIND: &str = "test+jws";

    #[test]
    fn what_a_key_signed_its_public_half_accepts() {
        let jws = sign(&key(1), KIND, &json!({"version": 1})).unwrap();

        let payload = PublicKey::of(&key(1)).verify(&jws, KIND).unwrap();

        assert_eq!(payload, br#"{"version":1}"#);
    }

    #[test]
    fn another_key_another_type_and_any_changed_byte_are_refused() {
        let jws = sign(&key(1), KIND, &json!({"version": 1})).unwrap();
        let public = PublicKey::of(&key(1));

        assert_eq!(
            PublicKey::of(&key(2)).verify(&jws, KIND),
            Err(InvalidSignature::WrongKey)
        );
        assert!(matches!(
            public.verify(&jws, "other+jws"),
            Err(InvalidSignature::WrongType { .. })
        ));
        for index in 0..jws.len() {
            let mut changed = jws.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(public.verify(&changed, KIND).is_err(), "byte {index}");
        }
    }

    #[test]
    fn a_header_with_another_algorithm_or_member_is_refused_even_if_signed() {
        for header in [
            r#"{"alg":"none","typ":"test+jws"}"#,
            r#"{"alg":"HS256","typ":"test+jws"}"#,
            r#"{"alg":"EdDSA","typ":"test+jws","crit":["b64"]}"#,
            r#"{"alg":"EdDSA","typ":"test+jws","jwk":{}}"#,
        ] {
            let signed = format!(
                "{}.{}",
                URL_SAFE_NO_PAD.encode(header),
                URL_SAFE_NO_PAD.encode("{}")
            );
            let signature = key(1).sign(signed.as_bytes());
            let jws = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()));

            assert!(
                PublicKey::of(&key(1)).verify(&jws, KIND).is_err(),
                "{header}"
            );
        }
    }

    #[test]
    fn what_is_no_jws_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "\u{0}.\u{0}.\u{0}",
        ] {
            assert!(
                PublicKey::of(&key(1)).verify(text, KIND).is_err(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn public_keys_are_parsed_strictly() {
        let text = PublicKey::of(&key(1)).to_string();

        assert_eq!(text.parse(), Ok(PublicKey::of(&key(1))));
        let zero = URL_SAFE_NO_PAD.encode([0; 32]);
        for bad in ["", "abc", &text[1..], &format!("{text}="), &zero] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad:?}");
        }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }
}

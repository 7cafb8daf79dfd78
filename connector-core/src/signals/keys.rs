use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use serde::Deserialize;
use serde_json::Value;

use crate::authzen::printable;

/// An issuer's public keys, by key id (RFC 7517).
///
/// A key says itself with which algorithm it is used; what a token's header
/// says is only compared with that. Keys of other kinds are left out, so that a
/// token that names one is a token by an unknown key.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: BTreeMap<String, Key>,
    checks: SignatureChecks,
}

/// How signatures are checked that need arithmetic which this crate does not have:
/// whoever brings a key set brings these along. Ed25519 needs none.
#[derive(Debug, Clone, Copy)]
pub struct SignatureChecks {
    /// Checks ES256 by an uncompressed point on P-256: `(point, signed, signature)`.
    pub es256: fn(&[u8], &[u8], &[u8]) -> bool,
    /// Checks RS256: `(key, signed, signature)`.
    pub rs256: fn(&RsaKey, &[u8], &[u8]) -> bool,
}

/// An RSA key of 2048 to 8192 bits, in big-endian integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey {
    /// The modulus, without leading zeros.
    pub modulus: Vec<u8>,
    /// The exponent, without leading zeros.
    pub exponent: Vec<u8>,
}

impl SignatureChecks {
    /// Accepts nothing but Ed25519.
    pub const NONE: Self = Self {
        es256: |_, _, _| false,
        rs256: |_, _, _| false,
    };
}

#[derive(Debug, Clone)]
enum Key {
    Ed25519(VerifyingKey),
    /// An uncompressed point.
    P256(Vec<u8>),
    Rsa(RsaKey),
}

impl KeySet {
    /// Reads a JWK set.
    ///
    /// # Errors
    ///
    /// [`InvalidKeySet`] if it is none, has more keys than anybody needs, or two
    /// under one name.
    pub fn parse(document: &[u8], checks: SignatureChecks) -> Result<Self, InvalidKeySet> {
        let raw: RawKeySet =
            serde_json::from_slice(document).map_err(|error| InvalidKeySet::Malformed {
                error: printable(&error.to_string()).to_string(),
            })?;
        if raw.keys.len() > MAX_KEYS {
            return Err(InvalidKeySet::TooMany(raw.keys.len()));
        }
        let mut keys = BTreeMap::new();
        for raw in raw.keys {
            // A key of a kind that is not known here must not spoil the others.
            let Ok(raw) = RawKey::deserialize(raw) else {
                continue;
            };
            let Some(id) = raw.kid.clone().filter(|_| raw.is_for_signatures()) else {
                continue;
            };
            let Some(key) = raw.parse() else {
                continue;
            };
            if keys.insert(id.clone(), key).is_some() {
                return Err(InvalidKeySet::Ambiguous(id.chars().take(64).collect()));
            }
        }
        Ok(Self { keys, checks })
    }

    /// Returns whether there is a key of this name.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.keys.contains_key(id)
    }

    /// Returns whether the key `id`, used with `algorithm`, made `signature` over
    /// `signed`; nothing if there is no such key.
    pub(super) fn verify(
        &self,
        id: &str,
        algorithm: &str,
        signed: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let key = self.keys.get(id)?;
        Some(algorithm == key.algorithm() && key.verify(self.checks, signed, signature))
    }
}

impl Key {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    fn verify(&self, checks: SignatureChecks, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
            Self::P256(point) => (checks.es256)(point, signed, signature),
            Self::Rsa(key) => (checks.rs256)(key, signed, signature),
        }
    }
}

/// Why an issuer's keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeySet {
    /// Two keys of one name.
    #[error("the key set has two keys {0:?}; a key id must name one")]
    Ambiguous(String),
    /// No JWK set.
    #[error("the key set cannot be read: {error}")]
    Malformed {
        /// What the JSON parser says.
        error: String,
    },
    /// More keys than anybody needs.
    #[error("the key set has {0} keys; {MAX_KEYS} are the limit")]
    TooMany(usize),
}

#[derive(Debug, Deserialize)]
struct RawKeySet {
    keys: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl RawKey {
    fn is_for_signatures(&self) -> bool {
        self.purpose
            .as_deref()
            .is_none_or(|purpose| purpose == "sig")
    }

    fn parse(&self) -> Option<Key> {
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => {
                let bytes = fixed(self.x.as_deref()?)?;
                let key = VerifyingKey::from_bytes(&bytes).ok()?;
                (!key.is_weak()).then_some(Key::Ed25519(key))?
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (fixed(self.x.as_deref()?)?, fixed(self.y.as_deref()?)?);
                Key::P256([&[0x04][..], &x, &y].concat())
            }
            ("RSA", None) => {
                let modulus = integer(self.n.as_deref()?)?;
                let exponent = integer(self.e.as_deref()?)?;
                RSA_BITS
                    .contains(&bits(&modulus))
                    .then_some(Key::Rsa(RsaKey { modulus, exponent }))?
            }
            _ => return None,
        };
        let told = self.alg.as_deref();
        told.is_none_or(|told| told == key.algorithm())
            .then_some(key)
    }
}

fn fixed(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Reads a big-endian integer; some issuers write a leading zero byte.
fn integer(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[start..].to_vec())
}

fn bits(integer: &[u8]) -> usize {
    let unused = integer.first().map_or(0, |byte| byte.leading_zeros());
    integer.len() * 8 - usize::try_from(unused).unwrap_or(0)
}

/// What CAEP's interoperability profile demands, and the most that is worth checking.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// Issuers have two or three: the one in use, the next and the last.
const MAX_KEYS: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_cannot_be_used_are_left_out_and_do_not_spoil_the_others() {
        let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "kid": "good", "x": X});
        for other in [
            json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0"}),
            json!({"kty": "OKP", "crv": "X25519", "kid": "k", "x": X}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": X}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": X, "use": "enc"}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": X, "alg": "HS256"}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AAAA"}),
            json!({"kty": "RSA", "kid": "k", "n": "", "e": "AQAB"}),
            json!({"kty": "EC", "crv": "P-521", "kid": "k", "x": X, "y": X}),
            json!({"kid": "k"}),
            json!(17),
        ] {
            let set = json!({"keys": [other.clone(), ed25519.clone()]}).to_string();

            let keys = parse(set.as_bytes()).unwrap();

            assert!(keys.contains("good"), "{other}");
            assert!(!keys.contains("k"), "{other}");
        }
    }

    #[test]
    fn two_keys_of_one_name_and_too_many_keys_are_refused() {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": X});

        let twice = json!({"keys": [key.clone(), key.clone()]}).to_string();
        let many = json!({"keys": vec![key; 65]}).to_string();

        assert_eq!(
            parse(twice.as_bytes()).unwrap_err(),
            InvalidKeySet::Ambiguous("k".into())
        );
        assert_eq!(
            parse(many.as_bytes()).unwrap_err(),
            InvalidKeySet::TooMany(65)
        );
        assert!(parse(b"{}").is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }

    fn parse(document: &[u8]) -> Result<KeySet, InvalidKeySet> {
        KeySet::parse(document, SignatureChecks::NONE)
    }

    /// RFC 8037, appendix A.2.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
}

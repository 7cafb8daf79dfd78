//! The key that signs ID tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::random;

/// An Ed25519 key under its thumbprint (RFC 7638) as key id.
#[derive(Debug)]
pub(super) struct IdTokenKey {
    key: SigningKey,
    id: String,
}

impl IdTokenKey {
    pub(super) fn generate() -> Self {
        let key = SigningKey::from_bytes(&random::bytes());
        let thumbprint = format!(
            r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
            coordinate(&key)
        );
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(thumbprint));
        Self { key, id }
    }

    /// Returns the public half as a JSON Web Key (RFC 8037).
    pub(super) fn public_jwk(&self) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": coordinate(&self.key),
            "kid": self.id,
            "use": "sig",
            "alg": "EdDSA",
        })
    }

    /// Signs `claims` as a JWT.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "kid": self.id, "typ": "JWT"});
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

fn coordinate(key: &SigningKey) -> String {
    URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes())
}

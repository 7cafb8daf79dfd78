//! Signatures that issuers make with other keys than Ed25519, checked by ring.

use connector_core::signals::{RsaKey, SignatureChecks};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

/// What ring can check.
pub(super) const CHECKS: SignatureChecks = SignatureChecks { es256, rs256 };

fn es256(point: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed, signature)
        .is_ok()
}

/// Refuses keys of less than 2048 bits.
fn rs256(key: &RsaKey, signed: &[u8], signature: &[u8]) -> bool {
    let key = RsaPublicKeyComponents {
        n: &key.modulus,
        e: &key.exponent,
    };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
        .is_ok()
}

//! What the company says about people and devices after it let them in: OpenID
//! Shared Signals Framework 1.0 and CAEP 1.0, as security event tokens (RFC 8417)
//! that are polled for (RFC 8936).
//!
//! But for the level of assurance, a signal only ever narrows what is permitted. That is why these tokens need not
//! be signed by the company's policy key: the signed configuration names the issuer,
//! and nobody else's count.

mod event;
mod keys;
mod poll;
mod revocation;
mod seen;
mod subject;
mod token;
mod transmitter;

pub use self::event::{SecurityEvent, Signal};
pub use self::keys::{InvalidKeySet, KeySet, RsaKey, SignatureChecks};
pub use self::poll::{InvalidAnswer, PollAnswer, PollRequest, SetError};
pub use self::revocation::Revocation;
pub use self::seen::{EventId, Seen};
pub use self::subject::{Identifier, Local, Member, Subject};
pub use self::token::{RefusedToken, TokenVerifier};
pub use self::transmitter::{
    Delivery, InvalidTransmitter, StreamConfiguration, StreamRequest, Transmitter, metadata_url,
};

/// Every event that is acted upon or told apart, by its type URI.
pub mod event_type {
    pub use super::event::{
        ASSURANCE_LEVEL_CHANGE, CREDENTIAL_CHANGE, DEVICE_COMPLIANCE_CHANGE, SESSION_REVOKED,
        STREAM_UPDATED, TOKEN_CLAIMS_CHANGE, VERIFICATION,
    };
}

use std::net::IpAddr;
use std::sync::Arc;

use connector_core::time::Moment;

use super::{
    Control, HANDSHAKE_INITIATION, Packet, Peer, PeerConfig, RateLimiter, Rejected, SessionIndex,
    TunnResult, check_outside, control, parse_handshake_anon, unlimited, x25519,
};
use crate::keys::{PrivateKey, PublicKey};

/// What stands between the outside and a responder's peers: checks the first
/// proof of every handshake message, and asks for cookies under load.
pub(super) struct Doorkeeper {
    secret: x25519::StaticSecret,
    public: x25519::PublicKey,
    limiter: Arc<RateLimiter>,
    /// boringtun checks each message again inside the peer, where the limit
    /// must not count it twice.
    inner_limiter: Arc<RateLimiter>,
}

pub(super) enum Admitted {
    Initiation(PublicKey),
    Session(SessionIndex),
}

pub(super) enum Refused {
    Cookie(Box<Control>),
    Rejected(Rejected),
}

impl Doorkeeper {
    pub(super) fn new(private_key: &PrivateKey) -> Self {
        let secret = x25519::StaticSecret::from(*private_key.expose());
        let public = x25519::PublicKey::from(&secret);
        Self {
            limiter: Arc::new(RateLimiter::new(&public, HANDSHAKES_PER_SECOND)),
            inner_limiter: unlimited(&public),
            secret,
            public,
        }
    }

    /// Never asks for cookies.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn relaxed(mut self) -> Self {
        self.limiter = unlimited(&self.public);
        self
    }

    pub(super) fn admit(&self, datagram: &[u8], from: IpAddr) -> Result<Admitted, Refused> {
        check_outside(datagram).map_err(Refused::Rejected)?;
        let mut cookie = [0; HANDSHAKE_INITIATION];
        match self
            .limiter
            .verify_packet(Some(from), datagram, &mut cookie)
        {
            Ok(Packet::HandshakeInit(initiation)) => {
                let half = parse_handshake_anon(&self.secret, &self.public, &initiation)
                    .map_err(|error| Refused::Rejected(error.into()))?;
                Ok(Admitted::Initiation(PublicKey::from_bytes(
                    half.peer_static_public,
                )))
            }
            Ok(
                Packet::HandshakeResponse(_) | Packet::PacketCookieReply(_) | Packet::PacketData(_),
            ) => SessionIndex::of(datagram)
                .map(Admitted::Session)
                .ok_or(Refused::Rejected(Rejected::Malformed)),
            Err(TunnResult::WriteToNetwork(reply)) => {
                Err(Refused::Cookie(Box::new(control(reply))))
            }
            Err(TunnResult::Err(error)) => Err(Refused::Rejected(error.into())),
            Err(
                TunnResult::Done
                | TunnResult::WriteToTunnelV4(..)
                | TunnResult::WriteToTunnelV6(..),
            ) => Err(Refused::Rejected(Rejected::Malformed)),
        }
    }

    pub(super) fn peer(&self, config: PeerConfig, now: Moment) -> Peer {
        Peer::with_limiter(config, Some(Arc::clone(&self.inner_limiter)), now)
    }

    pub(super) fn handle_timeout(&self) {
        self.limiter.reset_count();
    }
}

/// Beyond this a responder asks for cookies; a gateway's clients each shake
/// hands every two minutes, so this serves thousands.
pub(super) const HANDSHAKES_PER_SECOND: u64 = 100;

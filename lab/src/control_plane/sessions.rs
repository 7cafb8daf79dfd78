//! Open sessions, and their keys at the gateways.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::Context;
use axum::http::StatusCode;
use connector_core::control::{SessionGrant, is_assignable};
use connector_core::jws;
use connector_core::network::Prefix;
use serde::Serialize;
use tokio::sync::Mutex;
use tunnel_proto::keys::PublicKey;

use crate::clock::Clock;
use crate::company::SessionTerms;
use crate::peers::{Guest, PeerTables};
use crate::problem::Refusal;
use crate::random;

/// Opens and ends sessions; one host has one at a time.
///
/// The lock is held while gateways are told, so that what they know never
/// falls behind what is open.
#[derive(Debug)]
pub struct Sessions {
    open: Mutex<Open>,
    gateways: Arc<PeerTables>,
    absolute_seconds: u64,
    clock: Clock,
}

#[derive(Debug)]
struct Open {
    by_id: BTreeMap<String, Session>,
    addresses: AddressPool,
}

#[derive(Debug, Clone)]
struct Session {
    host: String,
    subject: String,
    session_key: jws::PublicKey,
    wireguard_key: PublicKey,
    address: Ipv4Addr,
    expires_at: u64,
}

/// A verified request for a session.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) host: String,
    pub(super) subject: String,
    pub(super) groups: BTreeSet<String>,
    pub(super) session_key: jws::PublicKey,
    pub(super) wireguard_key: PublicKey,
}

/// A session, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionView {
    /// Names the session.
    pub id: String,
    /// The host that it is on.
    pub host: String,
    /// The person's subject identifier.
    pub subject: String,
    /// Its inner address.
    pub address: Ipv4Addr,
    /// Its key at the gateways.
    pub wireguard_key: String,
    /// When it ends, in Unix seconds.
    pub expires_at: u64,
}

impl Sessions {
    /// Returns an empty set of sessions under `terms`.
    ///
    /// # Errors
    ///
    /// Fails if the address pool is none.
    pub fn new(
        terms: &SessionTerms,
        gateways: Arc<PeerTables>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            open: Mutex::new(Open {
                by_id: BTreeMap::new(),
                addresses: AddressPool::parse(&terms.addresses)?,
            }),
            gateways,
            absolute_seconds: terms.absolute_seconds,
            clock,
        })
    }

    pub(super) async fn open(&self, opening: Opening) -> Result<SessionGrant, Refusal> {
        let mut open = self.open.lock().await;
        let foreign = |session: &Session| {
            session.host != opening.host
                && (session.wireguard_key == opening.wireguard_key
                    || session.session_key == opening.session_key)
        };
        if open.by_id.values().any(foreign) {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "The key is in use",
                "Another device has a session with this key; make fresh keys for each session.",
            ));
        }

        let before: Vec<String> = open.ids_of(|session| session.host == opening.host);
        for id in before {
            self.remove(&mut open, &id).await;
        }
        let address = open.addresses.assign().ok_or_else(|| {
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "No address is free",
                "Every inner address is in use; try again when a session has ended.",
            )
        })?;
        let guest = Guest {
            addresses: vec![IpAddr::V4(address)],
            person: opening.subject.clone(),
            groups: opening.groups,
        };
        if let Err(error) = self.gateways.add(opening.wireguard_key, guest).await {
            open.addresses.release(address);
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "No gateway can be told",
                error.to_string(),
            ));
        }

        let session_id = format!("session-{}", random::identifier());
        let session = Session {
            host: opening.host,
            subject: opening.subject,
            session_key: opening.session_key,
            wireguard_key: opening.wireguard_key,
            address,
            expires_at: self.clock.unix_seconds() + self.absolute_seconds,
        };
        tracing::info!(session = session_id, host = session.host, "session opened");
        open.by_id.insert(session_id.clone(), session);
        Ok(SessionGrant {
            session_id,
            addresses: vec![IpAddr::V4(address)],
            expires_in: self.absolute_seconds,
        })
    }

    /// Ends a session and takes its key out of every gateway.
    ///
    /// # Errors
    ///
    /// [`NoSuchSession`] if it is not open.
    pub async fn end(&self, id: &str) -> Result<(), NoSuchSession> {
        let mut open = self.open.lock().await;
        if self.remove(&mut open, id).await {
            Ok(())
        } else {
            Err(NoSuchSession)
        }
    }

    /// Ends every session of a person.
    pub async fn end_all_of(&self, subject: &str) {
        let mut open = self.open.lock().await;
        for id in open.ids_of(|session| session.subject == subject) {
            self.remove(&mut open, &id).await;
        }
    }

    /// Ends every session.
    pub async fn end_all(&self) {
        let mut open = self.open.lock().await;
        for id in open.ids_of(|_| true) {
            self.remove(&mut open, &id).await;
        }
    }

    /// Returns every open session.
    pub async fn list(&self) -> Vec<SessionView> {
        let open = self.open.lock().await;
        open.by_id
            .iter()
            .map(|(id, session)| SessionView {
                id: id.clone(),
                host: session.host.clone(),
                subject: session.subject.clone(),
                address: session.address,
                wireguard_key: session.wireguard_key.to_string(),
                expires_at: session.expires_at,
            })
            .collect()
    }

    /// Ends the sessions whose time is over.
    pub(super) async fn end_expired(&self) {
        let now = self.clock.unix_seconds();
        let mut open = self.open.lock().await;
        for id in open.ids_of(|session| session.expires_at <= now) {
            self.remove(&mut open, &id).await;
        }
    }

    pub(super) async fn belongs_to(&self, id: &str, host: &str) -> bool {
        let open = self.open.lock().await;
        open.by_id
            .get(id)
            .is_some_and(|session| session.host == host)
    }

    /// Returns whose session it is.
    pub(super) async fn person_of(&self, id: &str) -> Option<String> {
        let open = self.open.lock().await;
        open.by_id.get(id).map(|session| session.subject.clone())
    }

    pub(super) async fn key_of(&self, id: &str) -> Option<jws::PublicKey> {
        let now = self.clock.unix_seconds();
        let open = self.open.lock().await;
        open.by_id
            .get(id)
            .filter(|session| now < session.expires_at)
            .map(|session| session.session_key)
    }

    async fn remove(&self, open: &mut Open, id: &str) -> bool {
        let Some(session) = open.by_id.remove(id) else {
            return false;
        };
        self.gateways.remove(session.wireguard_key).await;
        open.addresses.release(session.address);
        tracing::info!(session = id, host = session.host, "session ended");
        true
    }
}

impl Open {
    fn ids_of(&self, wanted: impl Fn(&Session) -> bool) -> Vec<String> {
        self.by_id
            .iter()
            .filter(|(_, session)| wanted(session))
            .map(|(id, _)| id.clone())
            .collect()
    }
}

/// There is no open session of this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such session")]
pub struct NoSuchSession;

/// Addresses to give out, in turn, so that one is not used again at once.
#[derive(Debug)]
struct AddressPool {
    first: u32,
    count: u32,
    next: u32,
    used: BTreeSet<Ipv4Addr>,
}

impl AddressPool {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let prefix: Prefix = text.parse().context("session.addresses")?;
        let (IpAddr::V4(first), 8..=30) = (prefix.address(), prefix.length()) else {
            anyhow::bail!("session.addresses: {text:?} is no IPv4 prefix of 8 to 30 bits");
        };
        anyhow::ensure!(
            is_assignable(IpAddr::V4(first)),
            "session.addresses: {text:?} is reserved; use one below 100.64.0.0/10"
        );
        Ok(Self {
            // The first and the last address of a prefix have meanings of their own.
            first: first.to_bits() + 1,
            count: (1 << (32 - prefix.length())) - 2,
            next: 0,
            used: BTreeSet::new(),
        })
    }

    fn assign(&mut self) -> Option<Ipv4Addr> {
        if self.used.len() >= usize::try_from(self.count).ok()? {
            return None;
        }
        loop {
            let address = Ipv4Addr::from_bits(self.first + self.next);
            self.next = (self.next + 1) % self.count;
            if self.used.insert(address) {
                return Some(address);
            }
        }
    }

    fn release(&mut self, address: Ipv4Addr) {
        self.used.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_given_out_once_and_come_back() {
        let mut pool = AddressPool::parse("100.64.0.0/30").unwrap();
        let (first, second) = (pool.assign().unwrap(), pool.assign().unwrap());

        assert_eq!(first, Ipv4Addr::new(100, 64, 0, 1));
        assert_eq!(second, Ipv4Addr::new(100, 64, 0, 2));
        assert_eq!(pool.assign(), None);
        pool.release(second);
        assert_eq!(pool.assign(), Some(second));
    }

    #[test]
    fn a_pool_that_cannot_be_assigned_from_is_refused() {
        for text in [
            "",
            "100.64.0.0/31",
            "127.0.0.0/16",
            "fd00::/64",
            "0.0.0.0/8",
        ] {
            assert!(AddressPool::parse(text).is_err(), "{text}");
        }
    }
}

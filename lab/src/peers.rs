//! The gateways' peer tables: who may speak WireGuard to the company.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use serde::Serialize;
use tunnel_proto::keys::PublicKey;

use crate::company::{Grant, Rule};
use crate::entitlements::Entitlements;
use crate::http_server::BoxFuture;

/// One or more gateways whose peers can be set.
pub trait PeerTable: std::fmt::Debug + Send + Sync {
    /// Returns what people call it.
    fn name(&self) -> &str;

    /// Admits `key` with `addresses` and no others.
    fn add<'a>(
        &'a self,
        key: PublicKey,
        addresses: &'a [IpAddr],
    ) -> BoxFuture<'a, Result<(), PeerError>>;

    /// Opens to `key` what `guest` is entitled to, and shuts everything else; from its next packet on.
    ///
    /// Plain WireGuard cannot tell one destination from another: there, nothing changes.
    fn open(&self, _key: PublicKey, _guest: &Guest, _entitlements: &Entitlements) {}

    /// Shuts `key` out; one that is not there is no error.
    fn remove(&self, key: PublicKey) -> BoxFuture<'_, Result<(), PeerError>>;
}

/// Every gateway of the company.
#[derive(Debug, Default)]
pub struct PeerTables {
    tables: Vec<Box<dyn PeerTable>>,
    admitted: Mutex<Admitted>,
}

/// Who is in, and what follows from that.
#[derive(Debug, Default)]
struct Admitted {
    entitlements: Entitlements,
    guests: BTreeMap<PublicKey, Guest>,
}

/// A session, as gateways see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// Its inner addresses.
    pub addresses: Vec<IpAddr>,
    /// The subject identifier of the person.
    pub person: String,
    /// The groups that the identity provider vouched for.
    pub groups: BTreeSet<String>,
}

/// An admitted peer, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerView {
    /// Its public key in base64.
    pub public_key: String,
    /// Its inner addresses.
    pub addresses: Vec<IpAddr>,
}

impl PeerTables {
    /// Returns the union of `tables`.
    #[must_use]
    pub fn new(tables: Vec<Box<dyn PeerTable>>) -> Self {
        Self {
            tables,
            admitted: Mutex::default(),
        }
    }

    /// Decides what sessions may reach, those that are open included.
    pub fn set_entitlements(&self, entitlements: Entitlements) {
        self.change_entitlements(|current| *current = entitlements);
    }

    /// Decides by other rules what sessions may reach, those that are open included.
    pub fn set_rules(&self, rules: &[Rule]) {
        self.change_entitlements(|entitlements| entitlements.set_rules(rules));
    }

    /// Opens to single people, for now, what was granted to them.
    pub fn set_grants(&self, grants: &[Grant]) {
        self.change_entitlements(|entitlements| entitlements.set_grants(grants));
    }

    fn change_entitlements(&self, change: impl FnOnce(&mut Entitlements)) {
        let mut admitted = self.admitted();
        change(&mut admitted.entitlements);
        for (key, guest) in &admitted.guests {
            self.open(*key, guest, &admitted.entitlements);
        }
    }

    fn open(&self, key: PublicKey, guest: &Guest, entitlements: &Entitlements) {
        for table in &self.tables {
            table.open(key, guest, entitlements);
        }
    }

    /// Admits `key` everywhere, and opens to it what it is entitled to.
    ///
    /// # Errors
    ///
    /// The last gateway's error if none of them can be told. One that cannot
    /// while another can is logged; it learns of the peer in the next session.
    pub async fn add(&self, key: PublicKey, guest: Guest) -> Result<(), PeerError> {
        let mut failure = None;
        let mut told = 0_usize;
        for table in &self.tables {
            match table.add(key, &guest.addresses).await {
                Ok(()) => told += 1,
                Err(error) => {
                    tracing::warn!(gateway = table.name(), %error, "peer not admitted");
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(error) if told == 0 => Err(error),
            Some(_) | None => {
                let mut admitted = self.admitted();
                self.open(key, &guest, &admitted.entitlements);
                admitted.guests.insert(key, guest);
                Ok(())
            }
        }
    }

    /// Shuts `key` out everywhere. A gateway that cannot be told is logged.
    pub async fn remove(&self, key: PublicKey) {
        for table in &self.tables {
            if let Err(error) = table.remove(key).await {
                tracing::error!(gateway = table.name(), %error, "peer not removed");
            }
        }
        self.admitted().guests.remove(&key);
    }

    /// Returns every admitted peer.
    #[must_use]
    pub fn list(&self) -> Vec<PeerView> {
        self.admitted()
            .guests
            .iter()
            .map(|(key, guest)| PeerView {
                public_key: key.to_string(),
                addresses: guest.addresses.clone(),
            })
            .collect()
    }

    fn admitted(&self) -> MutexGuard<'_, Admitted> {
        self.admitted
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A gateway that could not be told.
#[derive(Debug, thiserror::Error)]
#[error("the gateway {gateway} cannot be told: {problem}")]
pub struct PeerError {
    /// What people call it.
    pub gateway: String,
    /// What went wrong.
    pub problem: String,
}

//! The gateways' peer tables: who may speak WireGuard to the company.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use serde::Serialize;
use tunnel_proto::keys::PublicKey;

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

    /// Shuts `key` out; one that is not there is no error.
    fn remove(&self, key: PublicKey) -> BoxFuture<'_, Result<(), PeerError>>;
}

/// Every gateway of the company.
#[derive(Debug, Default)]
pub struct PeerTables {
    tables: Vec<Box<dyn PeerTable>>,
    admitted: Mutex<BTreeMap<PublicKey, Vec<IpAddr>>>,
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

    /// Admits `key` everywhere.
    ///
    /// # Errors
    ///
    /// The last gateway's error if none of them can be told. One that cannot
    /// while another can is logged; it learns of the peer in the next session.
    pub async fn add(&self, key: PublicKey, addresses: &[IpAddr]) -> Result<(), PeerError> {
        let mut failure = None;
        let mut told = 0_usize;
        for table in &self.tables {
            match table.add(key, addresses).await {
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
                self.admitted().insert(key, addresses.to_vec());
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
        self.admitted().remove(&key);
    }

    /// Returns every admitted peer.
    #[must_use]
    pub fn list(&self) -> Vec<PeerView> {
        self.admitted()
            .iter()
            .map(|(key, addresses)| PeerView {
                public_key: key.to_string(),
                addresses: addresses.clone(),
            })
            .collect()
    }

    fn admitted(&self) -> MutexGuard<'_, BTreeMap<PublicKey, Vec<IpAddr>>> {
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

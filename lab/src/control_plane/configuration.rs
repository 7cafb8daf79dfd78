//! The signed configuration, and whoever waits for the next one.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use connector_core::catalogue::Catalogue;
use connector_core::configuration::{DOCUMENT_TYPE, Document, Rejected, Trust, Version};
use connector_core::jws::{self, PublicKey};
use connector_core::name::DomainName;
use connector_core::time::{Moment, Now, WallTime};
use ed25519_dalek::SigningKey;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::overrides;

/// Signs configurations and hands them out.
///
/// Versions are milliseconds since the Unix epoch, so that they never go back,
/// not even when the lab is started again without a memory.
#[derive(Debug)]
pub struct Feed {
    key: SigningKey,
    suffixes: Vec<DomainName>,
    lifetime: Duration,
    clock: Clock,
    document: Mutex<Document>,
    catalogue: Mutex<Arc<Catalogue>>,
    published: watch::Sender<Published>,
}

/// A signed document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Published {
    version: u64,
    pub(super) jws: String,
}

impl Published {
    pub(super) fn new(version: u64, jws: String) -> Self {
        Self { version, jws }
    }

    /// Returns the document in force, or the next one if the caller has that and
    /// it comes within `wait`.
    pub(super) async fn newer_than(
        mut published: watch::Receiver<Self>,
        known: Option<&str>,
        wait: Duration,
    ) -> Self {
        let newer = published.wait_for(|now| !known.is_some_and(|known| now.matches(known)));
        if let Ok(Ok(newer)) = tokio::time::timeout(wait, newer).await {
            return newer.clone();
        }
        published.borrow().clone()
    }

    /// Returns the entity tag.
    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", self.version)
    }

    /// Returns whether an `If-None-Match` field names this version (RFC 9110 §13.1.2).
    pub(super) fn matches(&self, if_none_match: &str) -> bool {
        let own = self.etag();
        if_none_match
            .split(',')
            .map(|tag| tag.trim())
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own)
    }
}

impl Feed {
    /// Publishes the first configuration. Its version and times are set here.
    ///
    /// # Errors
    ///
    /// [`NotPublished`] if no connector would accept it.
    pub fn new(
        key: SigningKey,
        suffixes: Vec<DomainName>,
        lifetime: Duration,
        clock: Clock,
        document: Document,
    ) -> Result<Self, NotPublished> {
        let feed = Self {
            key,
            suffixes,
            lifetime,
            clock,
            document: Mutex::new(document.clone()),
            catalogue: Mutex::default(),
            published: watch::Sender::new(Published {
                version: 0,
                jws: String::new(),
            }),
        };
        feed.publish(&mut feed.document(), document)?;
        Ok(feed)
    }

    /// Returns the key that connectors have to be given.
    #[must_use]
    pub fn policy_key(&self) -> PublicKey {
        PublicKey::of(&self.key)
    }

    /// Makes a code that switches a connector off for a time.
    ///
    /// # Errors
    ///
    /// Fails only if the code cannot be written as JSON.
    pub fn make_override(&self, wanted: overrides::Wanted) -> anyhow::Result<String> {
        overrides::sign(&self.key, wanted)
    }

    /// Returns the resources and sites in force, as connectors read them.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.lock_catalogue())
    }

    /// Returns the version in force.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.published.borrow().version
    }

    /// Changes the configuration and returns the new version.
    ///
    /// # Errors
    ///
    /// [`NotPublished`] if no connector would accept it; the one in force stays.
    pub fn change(&self, change: impl FnOnce(&mut Document)) -> Result<u64, NotPublished> {
        let mut current = self.document();
        let mut document = current.clone();
        change(&mut document);
        self.publish(&mut current, document)
    }

    /// Signs the configuration afresh once half of its lifetime is over.
    ///
    /// # Errors
    ///
    /// [`NotPublished`] as for [`Self::change`].
    pub fn renew_if_due(&self) -> Result<(), NotPublished> {
        let mut current = self.document();
        let age = self.clock.unix_seconds().saturating_sub(current.issued_at);
        if Duration::from_secs(age) >= self.lifetime / 2 {
            let document = current.clone();
            self.publish(&mut current, document)?;
        }
        Ok(())
    }

    /// Returns the configuration in force, and the ones to come.
    pub(super) fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    fn publish(&self, current: &mut Document, next: Document) -> Result<u64, NotPublished> {
        let millis = self.clock.unix_millis();
        let next = Document {
            version: millis.max(self.version() + 1),
            issued_at: millis / 1000,
            expires_at: millis / 1000 + self.lifetime.as_secs(),
            ..next
        };
        let published = Published {
            version: next.version,
            jws: jws::sign(&self.key, DOCUMENT_TYPE, &next)?,
        };

        let trust = Trust {
            key: self.policy_key(),
            suffixes: self.suffixes.clone(),
        };
        let now = Now {
            moment: Moment::default(),
            wall: WallTime::from_unix_millis(millis),
        };
        let accepted = trust.accept(&published.jws, Version(next.version), now)?;

        *self.lock_catalogue() = accepted.catalogue;
        *current = next;
        let version = published.version;
        self.published.send_replace(published);
        tracing::info!(version, "configuration published");
        Ok(version)
    }

    fn lock_catalogue(&self) -> MutexGuard<'_, Arc<Catalogue>> {
        self.catalogue
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn document(&self) -> MutexGuard<'_, Document> {
        self.document
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A configuration that was not published.
#[derive(Debug, thiserror::Error)]
pub enum NotPublished {
    /// Connectors would refuse it.
    #[error("connectors would refuse this configuration: {0}")]
    Rejected(#[from] Rejected),
    /// It cannot be written as JSON.
    #[error("the configuration cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
}

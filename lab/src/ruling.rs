//! Who may reach what, in one place: the rules, and what was granted on request. Everybody who decides by them hears of
//! a change.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::http::StatusCode;
use connector_core::control::GrantTask;

use crate::clock::Clock;
use crate::company::Rule;
use crate::control_plane::{Feed, NotCommitted, NotPublished, Policies};
use crate::pdp::Pdp;
use crate::peers::PeerTables;
use crate::problem::Refusal;
use crate::requests::{Plea, RequestView, Requests};

/// The rules and the requests for access of a company.
#[derive(Debug)]
pub struct Ruling {
    subordinates: Subordinates,
    known: Mutex<Known>,
}

/// Who decides by the rules.
#[derive(Debug)]
pub struct Subordinates {
    /// The time.
    pub clock: Clock,
    /// The configuration: a new version has connectors ask again.
    pub feed: Arc<Feed>,
    /// The gateways.
    pub peers: Arc<PeerTables>,
    /// The decision point, unless somebody else's is used.
    pub pdp: Option<Arc<Pdp>>,
    /// The policies that connectors decide by themselves.
    pub policies: Arc<Policies>,
}

#[derive(Debug)]
struct Known {
    rules: Vec<Rule>,
    requests: Requests,
}

impl Ruling {
    /// Starts with `rules`, which everybody knows already, and without requests.
    #[must_use]
    pub fn new(subordinates: Subordinates, rules: Vec<Rule>) -> Self {
        Self {
            subordinates,
            known: Mutex::new(Known {
                rules,
                requests: Requests::default(),
            }),
        }
    }

    /// Returns the signed configuration.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed> {
        &self.subordinates.feed
    }

    /// Returns the policies that connectors decide by themselves.
    #[must_use]
    pub fn policies(&self) -> &Arc<Policies> {
        &self.subordinates.policies
    }

    /// Returns the gateways.
    #[must_use]
    pub fn peers(&self) -> &Arc<PeerTables> {
        &self.subordinates.peers
    }

    /// Returns the decision point, unless it is somebody else's.
    #[must_use]
    pub fn pdp(&self) -> Option<Arc<Pdp>> {
        self.subordinates.pdp.clone()
    }

    /// Replaces the rules; returns the new version of the configuration.
    ///
    /// # Errors
    ///
    /// [`NotRuled`] if no connector would accept what follows.
    pub fn set_rules(&self, rules: Vec<Rule>) -> Result<u64, NotRuled> {
        let mut known = self.known();
        self.subordinates.policies.commit_rules(&rules)?;
        self.subordinates.peers.set_rules(&rules);
        if let Some(pdp) = &self.subordinates.pdp {
            pdp.change_rules(|book| book.set_rules(rules.clone()));
        }
        known.rules = rules;
        self.tell(&known)
    }

    /// Takes a request for access.
    ///
    /// # Errors
    ///
    /// A refusal that says what to ask for instead.
    pub fn ask(&self, plea: Plea) -> Result<GrantTask, Refusal> {
        let known = &mut *self.known();
        known.requests.ask(plea, &known.rules, self.now())
    }

    /// Agrees to a request: access opens everywhere.
    ///
    /// # Errors
    ///
    /// A refusal if it does not wait, or if connectors would not accept what follows.
    pub fn approve(&self, id: &str) -> Result<GrantTask, Refusal> {
        let mut known = self.known();
        let task = known.requests.approve(id, self.now())?;
        self.tell_or_refuse(&known)?;
        Ok(task)
    }

    /// Refuses a request, or takes back that it was agreed to: access ends everywhere.
    ///
    /// # Errors
    ///
    /// A refusal if it is over, or if connectors would not accept what follows.
    pub fn deny(&self, id: &str) -> Result<GrantTask, Refusal> {
        let mut known = self.known();
        let task = known.requests.deny(id, self.now())?;
        self.tell_or_refuse(&known)?;
        Ok(task)
    }

    /// Ends the access whose time is over.
    pub fn end_lapsed(&self) {
        let mut known = self.known();
        if known.requests.end_lapsed(self.now()) {
            self.tell_or_log(&known);
        }
    }

    /// Returns a person's requests, the latest first.
    #[must_use]
    pub fn requests_of(&self, person: &str) -> Vec<GrantTask> {
        let mut known = self.known();
        if known.requests.end_lapsed(self.now()) {
            self.tell_or_log(&known);
        }
        known.requests.of(person)
    }

    /// Returns every request, the latest first.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestView> {
        self.known().requests.list()
    }

    fn tell_or_refuse(&self, known: &Known) -> Result<(), Refusal> {
        let told = self.tell(known).map(drop);
        told.map_err(|error| {
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Not everybody could be told",
                error.to_string(),
            )
        })
    }

    fn tell_or_log(&self, known: &Known) {
        if let Err(error) = self.tell(known) {
            tracing::error!(%error, "what is granted on request could not be told to connectors");
        }
    }

    /// Tells everybody what is granted; the gateways first, so that they do not refuse what a connector permits.
    fn tell(&self, known: &Known) -> Result<u64, NotRuled> {
        let grants = known.requests.grants(&known.rules);
        self.subordinates.peers.set_grants(&grants);
        if let Some(pdp) = &self.subordinates.pdp {
            pdp.change_rules(|book| book.set_grants(grants.clone()));
        }
        self.subordinates.policies.set_grants(&grants)?;
        Ok(self.subordinates.feed.change(|_| {})?)
    }

    fn now(&self) -> u64 {
        self.subordinates.clock.unix_seconds()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Rules that connectors were not told.
#[derive(Debug, thiserror::Error)]
pub enum NotRuled {
    /// The policies that they amount to were not committed.
    #[error(transparent)]
    Committed(#[from] NotCommitted),
    /// The configuration was not published.
    #[error(transparent)]
    Published(#[from] NotPublished),
}

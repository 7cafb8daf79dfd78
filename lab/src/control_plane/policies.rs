//! The policy store that connectors follow: commits of Cedar files, and the
//! signed head that says which is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use connector_core::time::WallTime;
use connector_policy::author::{self, Draft, Signature};
use connector_policy::head::{Head, LedgerId, Sequence};
use connector_policy::oid::Oid;
use connector_policy::pack;
use connector_policy::policy::InvalidPolicy;
use ed25519_dalek::SigningKey;
use tokio::sync::watch;

use super::configuration::Published;
use crate::clock::Clock;
use crate::company::{Grant, Level, Rule};

/// Signs policies and hands them out.
#[derive(Debug)]
pub struct Policies {
    pub(super) key: SigningKey,
    pub(super) lifetime: Duration,
    pub(super) clock: Clock,
    /// The company's own files, beside what the rules amount to.
    own: BTreeMap<String, String>,
    written: Mutex<Written>,
    published: watch::Sender<Published>,
}

#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) commit: Option<Oid>,
    /// Evaluated beside the commit, until there is another.
    candidate: Option<Oid>,
    pub(super) sequence: u64,
    signed_at: u64,
    /// The files of the commit, but for what was granted on request.
    files: Vec<(String, String)>,
    /// What was granted on request, as a file's text.
    grants: String,
    pub(super) objects: BTreeMap<String, Vec<u8>>,
}

impl Policies {
    /// Starts with the policies that `rules` amount to, and with the files `own`.
    ///
    /// # Errors
    ///
    /// [`NotCommitted`] if no connector would accept them.
    pub fn new(
        key: SigningKey,
        lifetime: Duration,
        clock: Clock,
        rules: &[Rule],
        own: &BTreeMap<String, String>,
    ) -> Result<Self, NotCommitted> {
        let policies = Self {
            key,
            lifetime,
            clock,
            own: own.clone(),
            written: Mutex::default(),
            published: watch::Sender::new(Published::default()),
        };
        policies.commit_rules(rules)?;
        Ok(policies)
    }

    /// Commits the policies that `rules` amount to with the company's own, and returns the commit.
    ///
    /// # Errors
    ///
    /// [`NotCommitted`] if no connector would accept them; those in force stay.
    pub fn commit_rules(&self, rules: &[Rule]) -> Result<String, NotCommitted> {
        let mut files = vec![("rules.cedar".to_owned(), in_cedar(rules))];
        let own = self.own.iter();
        files.extend(own.map(|(name, text)| (name.clone(), text.clone())));
        self.commit(&files, "rules of the lab")
    }

    /// Commits `files` of Cedar, and returns the commit.
    ///
    /// # Errors
    ///
    /// [`NotCommitted`] if no connector would accept them; those in force stay.
    pub fn commit(
        &self,
        files: &[(String, String)],
        message: &str,
    ) -> Result<String, NotCommitted> {
        let mut written = self.written();
        let commit = self.put_in_force(&mut written, files, message)?;
        written.files = files.to_vec();
        written.candidate = None;
        self.sign(&mut written)?;
        tracing::info!(%commit, "policies committed");
        Ok(commit.to_string())
    }

    /// Commits what was granted on request beside the policies in force, unless it is there already.
    ///
    /// # Errors
    ///
    /// [`NotCommitted`] if no connector would accept it; what is in force stays.
    pub fn set_grants(&self, grants: &[Grant]) -> Result<(), NotCommitted> {
        let mut written = self.written();
        let before = std::mem::replace(
            &mut written.grants,
            grants.iter().map(grant_in_cedar).collect(),
        );
        if written.grants == before {
            return Ok(());
        }
        let files = written.files.clone();
        let message = "what was granted on request";
        if let Err(error) = self.put_in_force(&mut written, &files, message) {
            written.grants = before;
            return Err(error);
        }
        self.sign(&mut written)
    }

    fn put_in_force(
        &self,
        written: &mut Written,
        files: &[(String, String)],
        message: &str,
    ) -> Result<Oid, NotCommitted> {
        let mut files = files.to_vec();
        if !written.grants.is_empty() {
            files.push((GRANTS.to_owned(), written.grants.clone()));
        }
        author::check(files.iter().map(|(name, text)| (&**name, &**text)))?;
        let commit = self.add(written, &files, message);
        written.commit = Some(commit);
        Ok(commit)
    }

    /// Has `files` of Cedar evaluated beside the commit in force, and returns their commit.
    ///
    /// # Errors
    ///
    /// [`NotCommitted`] if no connector would accept them.
    pub fn propose(
        &self,
        files: &[(String, String)],
        message: &str,
    ) -> Result<String, NotCommitted> {
        author::check(files.iter().map(|(name, text)| (&**name, &**text)))?;
        let mut written = self.written();
        let candidate = self.add(&mut written, files, message);
        written.candidate = Some(candidate);
        self.sign(&mut written)?;
        tracing::info!(%candidate, "policies proposed");
        Ok(candidate.to_string())
    }

    pub(super) fn add(
        &self,
        written: &mut Written,
        files: &[(String, String)],
        message: &str,
    ) -> Oid {
        let signature = Signature {
            author: "ztna-lab".to_owned(),
            time: WallTime::from_unix_millis(self.clock.unix_millis()),
            message: message.to_owned(),
        };
        let files = files.iter().map(|(name, text)| (&**name, &**text));
        let draft = Draft::of(files, written.commit, &signature);
        let objects = draft.objects.into_iter();
        written
            .objects
            .extend(objects.map(|(oid, bytes)| (oid.to_string(), bytes)));
        draft.commit
    }

    /// Signs the head afresh once half of its lifetime is over.
    ///
    /// # Errors
    ///
    /// Fails only if the head cannot be written.
    pub fn renew_if_due(&self) -> Result<(), NotCommitted> {
        let mut written = self.written();
        let age = self.clock.unix_seconds().saturating_sub(written.signed_at);
        if Duration::from_secs(age) >= self.lifetime / 2 {
            self.sign(&mut written)?;
        }
        Ok(())
    }

    /// Returns the head in force, and the ones to come.
    pub(super) fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Returns the objects of these names, as a pack; those that nobody knows are left out.
    pub(super) fn objects(&self, names: &[String]) -> Vec<u8> {
        let written = self.written();
        pack::write(names.iter().filter_map(|name| written.objects.get(name)))
    }

    fn sign(&self, written: &mut Written) -> Result<(), NotCommitted> {
        let millis = self.clock.unix_millis();
        // Numbers that do not go back, not even when the lab forgets everything.
        written.sequence = millis.max(written.sequence + 1);
        written.signed_at = millis / 1000;
        let head = Head {
            ledger: LedgerId::from(LEDGER),
            commit: written.commit.unwrap_or(Oid::ZERO),
            sequence: Sequence(written.sequence),
            issued_at: WallTime::from_unix_millis(written.signed_at * 1000),
            expires_at: WallTime::from_unix_millis(written.signed_at * 1000) + self.lifetime,
            shadow: written.candidate,
            // A lab that was started again knows nothing of the commits before.
            reset: true,
        };
        self.publish(Published::new(written.sequence, head.sign(&self.key)?));
        Ok(())
    }

    pub(super) fn publish(&self, head: Published) {
        self.published.send_replace(head);
    }

    pub(super) fn written(&self) -> MutexGuard<'_, Written> {
        self.written
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Writes rules as policies, one for each rule and application.
#[must_use]
pub fn in_cedar(rules: &[Rule]) -> String {
    rules.iter().map(rule_in_cedar).collect()
}

fn rule_in_cedar(rule: &Rule) -> String {
    let groups: Vec<String> = rule
        .groups
        .iter()
        .map(|group| format!("Group::{}", quoted(group)))
        .collect();
    let mut conditions = vec![format!("principal in [{}]", groups.join(", "))];
    conditions.extend(device_in_cedar(&rule.checks, rule.trust_level));
    if let Some(target) = &rule.acting_as {
        let target = quoted(target);
        conditions.push(format!(
            "context has acting_as && context.acting_as == Person::{target}"
        ));
    }
    let requestable = rule.requestable.as_ref();
    let requestable = requestable.map(|who| format!(" @requestable({})", quoted(who)));
    let several = rule.resources.len() > 1;
    rule.resources
        .iter()
        .map(|resource| {
            let id = if several {
                format!("{}/{resource}", rule.id)
            } else {
                rule.id.clone()
            };
            format!(
                "@id({}){}\npermit(principal, action == Action::\"connect\", resource == Resource::{})\nwhen {{ {} }};\n\n",
                quoted(&id),
                requestable.as_deref().unwrap_or_default(),
                quoted(resource),
                conditions.join(" && "),
            )
        })
        .collect()
}

/// Writes a grant as a policy that ends by itself. The reason stays out of it: every device has the policies.
fn grant_in_cedar(grant: &Grant) -> String {
    let until = WallTime::from_unix_millis(grant.until * 1000);
    let mut conditions = vec![format!("context.time < datetime(\"{until}\")")];
    conditions.extend(device_in_cedar(&grant.checks, grant.trust_level));
    format!(
        "@id({}) @request({})\npermit(principal == Person::{}, action == Action::\"connect\", resource == Resource::{})\nwhen {{ {} }};\n\n",
        quoted(&grant.id),
        quoted(&grant.request),
        quoted(&grant.person),
        quoted(&grant.resource),
        conditions.join(" && "),
    )
}

/// Writes what is asked of the device as conditions.
fn device_in_cedar(checks: &BTreeSet<String>, level: Level) -> Vec<String> {
    let mut conditions = Vec::new();
    if !checks.is_empty() {
        let checks: Vec<String> = checks.iter().map(|check| quoted(check)).collect();
        conditions.push(format!(
            "context has device && context.device.passed.containsAll([{}])",
            checks.join(", ")
        ));
    }
    let least = match level {
        Level::Low => None,
        Level::Medium => Some(2),
        Level::High => Some(3),
    };
    conditions.extend(least.map(|least| format!("context.trust_level >= {least}")));
    conditions
}

/// Cedar's strings are JSON's, but for escapes that no name here has.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Policies that were not committed.
#[derive(Debug, thiserror::Error)]
pub enum NotCommitted {
    /// Connectors would refuse them.
    #[error("connectors would refuse these policies: {0}")]
    Invalid(#[from] InvalidPolicy),
    /// The head cannot be written as JSON.
    #[error("the head cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
}

/// The file of what was granted on request.
const GRANTS: &str = "granted-on-request.cedar";

/// The store whose heads decide about connections.
pub(super) const LEDGER: &str = "connector";

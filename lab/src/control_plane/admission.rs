//! Which host keys are admitted: challenges, one-time tokens, hosts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connector_core::control::{ENROLMENT_TYPE, Enrolment, EnrolmentProof};
use connector_core::jws::PublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::expiring::{Expiring, Full};
use crate::problem::Refusal;
use crate::random;
use crate::state_file;

/// Where admitted hosts are remembered.
#[derive(Debug, Clone, Default)]
pub enum HostStore {
    /// In a file, for the next run.
    File(PathBuf),
    /// Nowhere.
    #[default]
    Memory,
}

/// Admits host keys.
#[derive(Debug)]
pub(super) struct Admission {
    challenges: Expiring<()>,
    tokens: Expiring<()>,
    hosts: BTreeMap<String, Host>,
    store: HostStore,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Host {
    public_key: String,
    name: String,
    os: String,
    /// The hash of the token that admitted it.
    admitted_by: String,
}

impl Admission {
    pub(super) fn open(store: HostStore) -> anyhow::Result<Self> {
        let hosts = match &store {
            HostStore::File(path) => state_file::read(path)?
                .map(|text| serde_json::from_slice(&text))
                .transpose()
                .with_context(|| format!("Failed to read the hosts in {}", path.display()))?
                .unwrap_or_default(),
            HostStore::Memory => BTreeMap::new(),
        };
        Ok(Self {
            challenges: Expiring::new(CHALLENGE_CAPACITY),
            tokens: Expiring::new(TOKEN_CAPACITY),
            hosts,
            store,
        })
    }

    pub(super) fn make_challenge(&mut self, now: u64) -> Result<String, Full> {
        let challenge = random::token();
        self.challenges
            .insert(challenge.clone(), (), now + CHALLENGE_LIFETIME, now)?;
        Ok(challenge)
    }

    pub(super) fn make_token(&mut self, now: u64) -> Result<String, Full> {
        let token = random::token();
        self.tokens
            .insert(token.clone(), (), now + TOKEN_LIFETIME, now)?;
        Ok(token)
    }

    /// Returns the key of an admitted host.
    pub(super) fn key_of(&self, host_id: &str) -> Option<PublicKey> {
        self.hosts.get(host_id)?.public_key.parse().ok()
    }

    /// Admits the key of `enrolment` and returns its host id.
    pub(super) fn enrol(
        &mut self,
        enrolment: &Enrolment,
        base: &str,
        now: u64,
    ) -> Result<String, Refusal> {
        let key: PublicKey = enrolment
            .public_key
            .parse()
            .map_err(|error| Refusal::malformed(format!("public_key: {error}")))?;
        check_text("name", &enrolment.name, 255)?;
        check_text("os", &enrolment.os, 64)?;
        self.check_proof(&key, &enrolment.proof, base, now)?;

        let token = enrolment.token.as_deref().unwrap_or_default();
        let token_hash = hash(token);
        let host_id = host_id(&key);
        match self.hosts.get(&host_id) {
            Some(host) if host.admitted_by == token_hash => return Ok(host_id),
            Some(_) if self.tokens.find(token, now).is_some() => return Ok(host_id),
            Some(_) | None => {}
        }
        if self.hosts.len() >= HOST_CAPACITY {
            return Err(Full.into());
        }
        if self.tokens.take(token, now).is_none() {
            return Err(refused(
                "The enrolment token is not accepted",
                "It is unknown, was used by another device, or is older than ten minutes; ask the administrator for a new one.",
            ));
        }
        let host = Host {
            public_key: enrolment.public_key.clone(),
            name: enrolment.name.clone(),
            os: enrolment.os.clone(),
            admitted_by: token_hash,
        };
        self.hosts.insert(host_id.clone(), host);
        self.save();
        Ok(host_id)
    }

    /// Checks that whoever asks holds the key, right now, and asks this server.
    fn check_proof(
        &mut self,
        key: &PublicKey,
        proof: &str,
        base: &str,
        now: u64,
    ) -> Result<(), Refusal> {
        let title = "The proof is not accepted";
        let payload = key
            .verify(proof, ENROLMENT_TYPE)
            .map_err(|error| refused(title, error.to_string()))?;
        let proof: EnrolmentProof =
            serde_json::from_slice(&payload).map_err(|error| refused(title, error.to_string()))?;
        let fresh = self.challenges.take(&proof.challenge, now).is_some();
        if proof.aud != base {
            return Err(refused(
                title,
                format!("it was made for {:?}; this is {base:?}", proof.aud),
            ));
        }
        if !fresh {
            return Err(refused(
                title,
                "the challenge is unknown, was used already, or has lapsed; ask for a new one",
            ));
        }
        Ok(())
    }

    /// Remembers the hosts. A host that is not remembered has to enrol again
    /// after a restart, which is no reason to refuse it now.
    fn save(&self) {
        let HostStore::File(path) = &self.store else {
            return;
        };
        let saved = serde_json::to_vec_pretty(&self.hosts)
            .map_err(anyhow::Error::from)
            .and_then(|text| state_file::write(path, &text));
        if let Err(error) = saved {
            tracing::error!(error = format!("{error:#}"), "hosts are not remembered");
        }
    }
}

fn refused(title: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, title, detail)
}

fn check_text(member: &str, text: &str, limit: usize) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > limit || text.chars().any(char::is_control) {
        let detail = format!("{member}: use 1 to {limit} bytes without control characters");
        return Err(Refusal::malformed(detail));
    }
    Ok(())
}

/// Names a host after its key, so that the same key is always the same host.
fn host_id(key: &PublicKey) -> String {
    let digest = Sha256::digest(key.to_string());
    format!("host-{}", URL_SAFE_NO_PAD.encode(&digest[..16]))
}

fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}

/// Seconds that a challenge is good for.
pub(super) const CHALLENGE_LIFETIME: u64 = 300;

/// Seconds that an enrolment token is good for: a token that lies about is a risk.
const TOKEN_LIFETIME: u64 = 600;

const CHALLENGE_CAPACITY: usize = 4096;
const TOKEN_CAPACITY: usize = 1024;
const HOST_CAPACITY: usize = 10_000;

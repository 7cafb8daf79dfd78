//! The way out of what the administrator locked: challenges, and the codes that answer them.

use std::sync::{Arc, Mutex, PoisonError};

use connector_core::authzen::printable;
use connector_core::connector::Event;
use connector_core::control::is_reason;
use connector_core::jws::PublicKey;
use connector_core::overriding::{NONCE_LENGTH, OverrideGrant, OverrideRefused, Overrides};
use connector_ipc::{FailureKind, OverrideChallengeReport, OverrideReport, Reply};
use connector_platform::clock;

use super::{Answering, failed, trusting};
use crate::adapters::keys;
use crate::view::convert;

/// The codes of the company.
#[derive(Debug)]
pub(super) struct Codes {
    /// Signs them.
    key: PublicKey,
    overrides: Mutex<Overrides>,
}

impl Codes {
    pub(super) fn new(key: PublicKey) -> Self {
        Self {
            key,
            overrides: Mutex::default(),
        }
    }
}

/// Shows what a code has to answer.
pub(super) fn challenge(answering: &Answering) -> Reply {
    let view = &answering.view;
    let snapshot = Arc::clone(&view.snapshot.borrow());
    let Some(device) = &snapshot.host else {
        return not_enrolled();
    };
    let Ok(random) = keys::random::<NONCE_LENGTH>() else {
        let message = "the system gives no randomness";
        return failed(FailureKind::Internal, message, None);
    };
    let now = clock::now();
    let mut overrides = lock(&answering.codes);
    let challenge = overrides.challenge(&random, now.moment);
    Reply::OverrideChallenge(OverrideChallengeReport {
        device: device.to_string(),
        challenge: challenge.nonce.to_string(),
        expires_at: convert::ahead(challenge.lapses_at, now),
        support: view.support(&snapshot),
    })
}

/// Switches off for as long as a code allows.
pub(super) async fn redeem(answering: &Answering, code: &str, reason: &str) -> Reply {
    if !is_reason(reason) {
        return trusting::bad_reason();
    }
    let Some(device) = answering.view.snapshot.borrow().host.clone() else {
        return not_enrolled();
    };
    let now = clock::now();
    let redeemed = lock(&answering.codes).redeem(code, &answering.codes.key, &device, now.moment);
    match redeemed {
        Ok(grant) => open(answering, grant, reason).await,
        Err(refused) => refuse(answering, &refused).await,
    }
}

async fn open(answering: &Answering, grant: OverrideGrant, reason: &str) -> Reply {
    tracing::warn!(
        code = &*grant.code,
        by = &*grant.by,
        minutes = grant.length.as_secs() / 60,
        "A code of the company switches the connector off"
    );
    let now = clock::now();
    let report = OverrideReport {
        code: grant.code.to_string(),
        by: grant.by.to_string(),
        until: convert::ahead(now.moment + grant.length, now),
    };
    let overridden = Event::Overridden {
        grant,
        reason: reason.into(),
    };
    let reply = answering.switch(overridden).await;
    if matches!(reply, Reply::Done) {
        return Reply::Overridden(report);
    }
    reply
}

async fn refuse(answering: &Answering, refused: &OverrideRefused) -> Reply {
    let problem: Arc<str> = printable(&refused.to_string());
    tracing::warn!(%problem, "A code to switch the connector off was refused");
    if *refused != OverrideRefused::TooOften {
        let problem = Arc::clone(&problem);
        // A driver that has ended writes nothing.
        let _ = answering
            .events
            .send(Event::OverrideRefused { problem })
            .await;
    }
    failed(FailureKind::Locked, &problem, Some(refused.remedy()))
}

fn not_enrolled() -> Reply {
    let message = "this device is not known to the company yet, so no code can be made for it";
    let remedy =
        "Connect to the company's control plane once; `ztna status` shows whether it answers.";
    failed(FailureKind::Offline, message, Some(remedy))
}

fn lock(codes: &Codes) -> std::sync::MutexGuard<'_, Overrides> {
    codes
        .overrides
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

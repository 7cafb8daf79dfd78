//! The way out of what the administrator locked: a code of the company that switches the
//! connector off for a time.
//!
//! The device makes a challenge, a person reads it to the help desk, the company signs a code
//! that answers it. A challenge is answered once, lapses on the boot clock, and does not outlive
//! the service: no clock that anybody can set, and no list of codes that were used, has to be
//! relied on.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control::is_reason;
use crate::identity::HostId;
use crate::jws::{InvalidSignature, PublicKey};
use crate::time::Moment;

/// The `typ` of a code.
pub const CODE_TYPE: &str = "ztna-override+jwt";

/// What a code says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideClaims {
    /// Names the code, in records.
    pub jti: String,
    /// The device that it is for, as the control plane names it.
    pub device: String,
    /// The challenge that it answers.
    pub nonce: String,
    /// For how long the connector may be off.
    pub minutes: u32,
    /// Why the company allows it.
    pub reason: String,
    /// Who allows it.
    pub by: String,
}

/// What a good code allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideGrant {
    /// Names the code.
    pub code: Arc<str>,
    /// Who allows it.
    pub by: Arc<str>,
    /// Why the company allows it.
    pub reason: Arc<str>,
    /// For how long.
    pub length: Duration,
}

/// The challenges of this device, and the codes that answer them.
#[derive(Debug, Default)]
pub struct Overrides {
    open: Option<Challenge>,
    answered: VecDeque<Nonce>,
    attempts: VecDeque<Moment>,
}

/// What a code has to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The value that the code has to repeat.
    pub nonce: Nonce,
    /// When it lapses.
    pub lapses_at: Moment,
}

/// A value that was never used before, short enough to be read out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(Arc<str>);

impl Nonce {
    /// Makes one of random bytes, as three groups of four letters and digits that nobody mishears.
    #[must_use]
    pub fn from_random(random: &[u8; NONCE_LENGTH]) -> Self {
        let mut text = String::new();
        for (index, byte) in random.iter().enumerate() {
            if index > 0 && index % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(LETTERS[usize::from(byte % 32)]));
        }
        Self(text.into())
    }

    /// Returns the value as it is read out.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether `text` is this value, however it was typed.
    fn is(&self, text: &str) -> bool {
        let plain = |text: &str| -> String {
            text.chars()
                .filter(char::is_ascii_alphanumeric)
                .map(|letter| match letter.to_ascii_uppercase() {
                    // Heard or seen so; the letters themselves never occur.
                    'I' | 'L' => '1',
                    'O' => '0',
                    letter => letter,
                })
                .collect()
        };
        plain(&self.0) == plain(text)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Overrides {
    /// Returns the challenge that is open, or opens one with `random`. Whoever asks again does
    /// not take back what somebody has just read out.
    pub fn challenge(&mut self, random: &[u8; NONCE_LENGTH], now: Moment) -> &Challenge {
        self.open.take_if(|open| open.lapses_at <= now);
        self.open.get_or_insert_with(|| Challenge {
            nonce: Nonce::from_random(random),
            lapses_at: now + CHALLENGE_LIFETIME,
        })
    }

    /// Redeems a code: what it allows is allowed once.
    ///
    /// # Errors
    ///
    /// [`OverrideRefused`] if the company did not make it for this device and for the challenge
    /// that is open.
    pub fn redeem(
        &mut self,
        code: &str,
        key: &PublicKey,
        device: &HostId,
        now: Moment,
    ) -> Result<OverrideGrant, OverrideRefused> {
        // What the company has signed is not held up by what anybody else has tried.
        let claims = match read(code, key) {
            Ok(claims) => claims,
            Err(refused) => {
                self.count_attempt(now)?;
                return Err(refused);
            }
        };
        if claims.device != device.as_str() {
            return Err(OverrideRefused::OtherDevice);
        }
        if self.answered.iter().any(|nonce| nonce.is(&claims.nonce)) {
            return Err(OverrideRefused::Used);
        }
        let open = self.open.as_ref();
        if !open.is_some_and(|open| open.nonce.is(&claims.nonce) && now < open.lapses_at) {
            return Err(OverrideRefused::Lapsed);
        }
        let grant = grant(claims)?;
        if let Some(open) = self.open.take() {
            if self.answered.len() >= MAX_ANSWERED {
                self.answered.pop_front();
            }
            self.answered.push_back(open.nonce);
        }
        self.attempts.clear();
        Ok(grant)
    }

    fn count_attempt(&mut self, now: Moment) -> Result<(), OverrideRefused> {
        self.attempts
            .retain(|before| now.since(*before) < ATTEMPTS_SPAN);
        if self.attempts.len() >= MAX_ATTEMPTS {
            return Err(OverrideRefused::TooOften);
        }
        self.attempts.push_back(now);
        Ok(())
    }
}

/// Returns what a code says, if the company signed it.
fn read(code: &str, key: &PublicKey) -> Result<OverrideClaims, OverrideRefused> {
    if code.len() > MAX_CODE {
        return Err(OverrideRefused::TooLong);
    }
    // Mail programs break long lines.
    let code: String = code.split_whitespace().collect();
    let payload = key.verify(&code, CODE_TYPE)?;
    serde_json::from_slice(&payload).map_err(|error| OverrideRefused::Unreadable(error.to_string()))
}

/// Returns what a code allows, within what any code can.
fn grant(claims: OverrideClaims) -> Result<OverrideGrant, OverrideRefused> {
    if !(1..=MAX_MINUTES).contains(&claims.minutes) {
        return Err(OverrideRefused::BadLength(claims.minutes));
    }
    let texts = [
        ("jti", &claims.jti),
        ("reason", &claims.reason),
        ("by", &claims.by),
    ];
    if let Some((member, _)) = texts.iter().find(|(_, text)| !is_reason(text)) {
        return Err(OverrideRefused::BadText(member));
    }
    Ok(OverrideGrant {
        code: claims.jti.into(),
        by: claims.by.into(),
        reason: claims.reason.into(),
        length: Duration::from_secs(60) * claims.minutes,
    })
}

/// Why a code opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideRefused {
    /// It allows less than a minute, or more than a day.
    #[error("the code is for {0} minutes; one is good for 1 to {MAX_MINUTES}")]
    BadLength(u32),
    /// A member is empty, too long, or has more than one line.
    #[error("the code's member {0} is not one line of text")]
    BadText(&'static str),
    /// The company did not sign it as a code.
    #[error("the code was not made by the company: {0}")]
    Forged(#[from] InvalidSignature),
    /// The challenge that it answers has lapsed, or is none of this run of the service.
    #[error("the code answers a challenge that has lapsed, or that this device did not make")]
    Lapsed,
    /// It is another device's.
    #[error("the code is for another device")]
    OtherDevice,
    /// It is longer than any code.
    #[error("the code is longer than {MAX_CODE} characters")]
    TooLong,
    /// Too many codes were tried.
    #[error("too many codes were tried; wait {} minutes", ATTEMPTS_SPAN.as_secs() / 60)]
    TooOften,
    /// It says something else than a code does.
    #[error("the code cannot be read: {0}")]
    Unreadable(String),
    /// It was redeemed before.
    #[error("the code was used already; each is good for once")]
    Used,
}

impl OverrideRefused {
    /// Returns what the person can do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::TooOften => {
                "Then ask the help desk for a code that answers what `ztna override` shows."
            }
            Self::Lapsed | Self::Used => {
                "Run `ztna override` again, and ask the help desk for a code that answers what it shows now."
            }
            Self::OtherDevice => {
                "Read the device and the challenge that `ztna override` shows to the help desk."
            }
            Self::BadLength(_)
            | Self::BadText(_)
            | Self::Forged(_)
            | Self::TooLong
            | Self::Unreadable(_) => {
                "Take the whole code, as the help desk gave it, and nothing else; a file can be read with `ztna override redeem - --reason TEXT < FILE`."
            }
        }
    }
}

/// How many random bytes a challenge takes; 60 bits are never drawn twice.
pub const NONCE_LENGTH: usize = 12;

/// Crockford's letters: none is mistaken for another.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Long enough for a call to the help desk.
pub const CHALLENGE_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// A code has a few hundred characters.
pub const MAX_CODE: usize = 4096;

/// A day: whoever needs more needs other settings.
pub const MAX_MINUTES: u32 = 24 * 60;

/// A signature is not guessed; more attempts only fill the log.
const MAX_ATTEMPTS: usize = 5;
const ATTEMPTS_SPAN: Duration = Duration::from_secs(5 * 60);

/// Enough to say of a code that it was used; one that is forgotten has lapsed all the same.
const MAX_ANSWERED: usize = 16;

#[cfg(test)]
mod tests;

//! What a policy says beyond Cedar, in its annotations.

use std::sync::Arc;
use std::time::Duration;

/// What a policy says beyond Cedar.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// `@reason_user`: what the person reads when it refuses.
    pub reason_user: Option<Arc<str>>,
    /// `@reason_admin`: what the administrator reads.
    pub reason_admin: Option<Arc<str>>,
    /// `@remedy`: what the person can do about it.
    pub remedy: Option<Arc<str>>,
    /// `@lease`: how long one permission may be relied on.
    pub lease: Option<Duration>,
    /// `@offline`: how long it still counts without the control plane.
    pub offline: Option<Duration>,
    /// `@step_up`: the authentication contexts that would help (RFC 9470).
    pub step_up: Option<Arc<str>>,
    /// `@requestable`: who can approve a request for access.
    pub requestable: Option<Arc<str>>,
    /// `@request`: the approved request for access that it carries out.
    pub request: Option<Arc<str>>,
}

/// Reads a policy's annotations; those that nobody knows are refused, since a
/// misspelt lease would otherwise be no lease.
pub(super) fn read(
    policy: &cedar_policy::Policy,
) -> Result<(Arc<str>, Annotations), InvalidAnnotation> {
    let mut id: Option<Arc<str>> = None;
    let mut read = Annotations::default();
    for (name, value) in policy.annotations() {
        match name {
            "id" => id = Some(text(name, value, MAX_ID)?),
            "lease" => read.lease = Some(duration(name, value, MAX_LEASE)?),
            "offline" => read.offline = Some(duration(name, value, MAX_OFFLINE)?),
            "reason_admin" => read.reason_admin = Some(text(name, value, MAX_TEXT)?),
            "reason_user" => read.reason_user = Some(text(name, value, MAX_TEXT)?),
            "remedy" => read.remedy = Some(text(name, value, MAX_TEXT)?),
            "request" => read.request = Some(text(name, value, MAX_ID)?),
            "requestable" => read.requestable = Some(text(name, value, MAX_ID)?),
            "step_up" => read.step_up = Some(text(name, value, MAX_TEXT)?),
            _ => return Err(InvalidAnnotation::Unknown(name.to_owned())),
        }
    }
    let id = id.ok_or(InvalidAnnotation::NoId)?;
    let is_permit = policy.effect() == cedar_policy::Effect::Permit;
    let of_permits = read.lease.is_some() || read.offline.is_some() || read.request.is_some();
    if !is_permit && of_permits {
        return Err(InvalidAnnotation::OnForbid);
    }
    Ok((id, read))
}

fn text(name: &str, value: &str, longest: usize) -> Result<Arc<str>, InvalidAnnotation> {
    let fits = (1..=longest).contains(&value.len()) && !value.chars().any(char::is_control);
    fits.then(|| value.into())
        .ok_or_else(|| InvalidAnnotation::Text {
            name: name.to_owned(),
            longest,
        })
}

/// Reads a number with a unit, as in `300s`, `5m`, `2h` or `1d`.
fn duration(name: &str, value: &str, longest: Duration) -> Result<Duration, InvalidAnnotation> {
    let seconds = || {
        let (number, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = number.parse().ok().filter(|_| digits)?;
        number.checked_mul(unit)
    };
    seconds()
        .map(Duration::from_secs)
        .filter(|duration| !duration.is_zero() && *duration <= longest)
        .ok_or_else(|| InvalidAnnotation::Duration {
            name: name.to_owned(),
            value: value.chars().take(80).collect(),
            longest: longest.as_secs(),
        })
}

/// Why an annotation is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnnotation {
    /// Not a number with a unit, or too long.
    #[error(
        "@{name}({value:?}) is no duration of up to {longest} seconds: write a number with s, m, h or d, as in \"300s\""
    )]
    Duration {
        /// The annotation.
        name: String,
        /// What it says.
        value: String,
        /// How many seconds it may say.
        longest: u64,
    },
    /// The policy has no id.
    #[error("the policy has no @id: give it one, so that decisions can name it")]
    NoId,
    /// A forbidding policy grants something.
    #[error("@lease, @offline and @request belong to permit: a forbid grants nothing")]
    OnForbid,
    /// Empty, too long, or not to be shown on one line.
    #[error("@{name} has to have 1 to {longest} characters on one line")]
    Text {
        /// The annotation.
        name: String,
        /// How many characters it may have.
        longest: usize,
    },
    /// Nobody knows this annotation.
    #[error(
        "@{0} is not known: use id, lease, offline, reason_admin, reason_user, remedy, request, requestable or step_up"
    )]
    Unknown(String),
}

const MAX_ID: usize = 128;
const MAX_TEXT: usize = 500;
/// A day's work; whoever leaves the company is out by tomorrow at the latest.
const MAX_LEASE: Duration = Duration::from_secs(86_400);
/// A week's journey.
const MAX_OFFLINE: Duration = Duration::from_secs(7 * 86_400);

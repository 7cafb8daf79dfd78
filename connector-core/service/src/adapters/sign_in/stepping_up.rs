//! Whether a sign-in amounts to what was asked for: a provider need not do it, and says in the
//! ID token what it did (RFC 9470 §4, OpenID Connect Core §3.1.2.1).

use connector_core::authzen::StepUp;
use connector_core::identity::Assurance;
use connector_core::time::WallTime;

/// Checks what the provider says against what was wanted.
pub(super) fn check(
    wanted: &StepUp,
    assurance: Option<&Assurance>,
    auth_time: Option<u64>,
    now: WallTime,
) -> Result<(), TooWeak> {
    let level = assurance.map(|assurance| &*assurance.level);
    let is_good = contexts(wanted).any(|context| Some(context) == level);
    if wanted.acr_values.is_some() && !is_good {
        return Err(TooWeak::Context {
            wanted: wanted.acr_values.as_deref().unwrap_or_default().to_owned(),
            found: level.unwrap_or("nothing").to_owned(),
        });
    }
    let Some(age) = wanted.max_age else {
        return Ok(());
    };
    let allowed = age.as_secs().saturating_add(CLOCK_LEEWAY);
    let oldest = now.unix_seconds().saturating_sub(allowed);
    match auth_time {
        Some(time) if time >= oldest => Ok(()),
        Some(_) | None => Err(TooWeak::Age),
    }
}

/// Returns the authentication contexts, of which one is needed.
pub(super) fn contexts(wanted: &StepUp) -> impl Iterator<Item = &str> {
    let values = wanted.acr_values.as_deref();
    values.unwrap_or_default().split_whitespace()
}

/// What a provider says is less than was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooWeak {
    #[error(
        "the identity provider does not say that you showed who you are just now; the session stays as it was"
    )]
    Age,
    #[error(
        "the identity provider signed you in by {found:?}, and one of {wanted:?} is needed; the session stays as it was"
    )]
    Context { wanted: String, found: String },
}

/// Seconds by which the provider's clock may be behind ours.
const CLOCK_LEEWAY: u64 = 60;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_of_the_wanted_contexts_is_enough_and_silence_is_not() {
        let wanted = StepUp {
            acr_values: Some("urn:mfa urn:hardware".into()),
            max_age: None,
        };
        let found = |level: Option<&str>| {
            let assurance = level.map(|level| Assurance {
                namespace: "RFC6711".into(),
                level: level.into(),
            });
            check(&wanted, assurance.as_ref(), None, WallTime::default()).is_ok()
        };

        assert!(found(Some("urn:mfa")));
        assert!(found(Some("urn:hardware")));
        for other in [
            Some("urn:password"),
            Some("urn:mfa urn:hardware"),
            Some(""),
            None,
        ] {
            assert!(!found(other), "{other:?}");
        }
    }

    #[test]
    fn a_sign_in_that_is_too_old_or_of_no_age_is_not_enough() {
        let wanted = StepUp {
            acr_values: None,
            max_age: Some(Duration::from_secs(300)),
        };
        let now = WallTime::from_unix_millis(10_000_000);
        let at = |time| check(&wanted, None, time, now);

        assert_eq!(at(Some(9_700)), Ok(()));
        assert_eq!(at(Some(9_640)), Ok(()));
        assert_eq!(at(Some(9_639)), Err(TooWeak::Age));
        assert_eq!(at(None), Err(TooWeak::Age));
    }
}

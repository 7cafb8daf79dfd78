//! What the administrator fixed about switching the connector off.

use std::sync::Arc;
use std::time::Duration;

/// When the connector may be switched off; by default, always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PauseRules {
    /// The connector stays on; only a code of the company switches it off.
    pub is_always_on: bool,
    /// People may not switch the connector off.
    pub is_forbidden: bool,
    /// Whoever switches the connector off has to say why.
    pub needs_reason: bool,
    /// The longest pause; the connector is then on again.
    pub limit: Option<Duration>,
    /// Who fixed this, for people.
    pub managed_by: Option<Arc<str>>,
}

impl PauseRules {
    /// Returns how long a pause lasts that is asked for with this length and reason; none if
    /// only a person ends it.
    ///
    /// # Errors
    ///
    /// [`PauseRefused`] if the administrator does not let it happen.
    pub fn judge(
        &self,
        wanted: Option<Duration>,
        reason: Option<&str>,
    ) -> Result<Option<Duration>, PauseRefused> {
        let refused = |cause| PauseRefused {
            cause,
            managed_by: self.managed_by.clone(),
        };
        if self.is_always_on {
            return Err(refused(RefusalCause::AlwaysOn));
        }
        if self.is_forbidden {
            return Err(refused(RefusalCause::Forbidden));
        }
        if self.needs_reason && reason.is_none_or(|reason| reason.trim().is_empty()) {
            return Err(refused(RefusalCause::NoReason));
        }
        Ok(match (wanted, self.limit) {
            (Some(wanted), Some(limit)) => Some(wanted.min(limit)),
            (wanted, limit) => wanted.or(limit),
        })
    }
}

/// A pause that the administrator does not let happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {}", who(.managed_by.as_deref()), .cause.words())]
pub struct PauseRefused {
    /// Why not.
    pub cause: RefusalCause,
    /// Who decided so.
    pub managed_by: Option<Arc<str>>,
}

impl PauseRefused {
    /// Returns what the person can do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self.cause {
            RefusalCause::AlwaysOn | RefusalCause::Forbidden => {
                "If you have to, run `ztna override` and read what it shows to the help desk: they can give you a code that switches it off for a time."
            }
            RefusalCause::NoReason => {
                "Say why: `ztna down --reason TEXT`. The reason is written into the decision log."
            }
        }
    }
}

/// Why a pause is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCause {
    /// The connector is always on.
    AlwaysOn,
    /// People may not switch it off.
    Forbidden,
    /// No reason was given.
    NoReason,
}

impl RefusalCause {
    const fn words(self) -> &'static str {
        match self {
            Self::AlwaysOn => "has decided that the connector is always on here",
            Self::Forbidden => "has decided that the connector is not switched off by people here",
            Self::NoReason => "wants to know why the connector is switched off",
        }
    }
}

fn who(managed_by: Option<&str>) -> &str {
    managed_by.unwrap_or("the administrator")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn without_rules_a_pause_lasts_as_long_as_it_is_asked_for() {
        let rules = PauseRules::default();

        assert_eq!(rules.judge(None, None), Ok(None));
        assert_eq!(rules.judge(Some(MINUTE), None), Ok(Some(MINUTE)));
    }

    #[test]
    fn a_limit_shortens_a_pause_and_ends_one_that_has_no_end() {
        let rules = PauseRules {
            limit: Some(MINUTE * 10),
            ..PauseRules::default()
        };

        assert_eq!(rules.judge(None, None), Ok(Some(MINUTE * 10)));
        assert_eq!(rules.judge(Some(MINUTE * 60), None), Ok(Some(MINUTE * 10)));
        assert_eq!(rules.judge(Some(MINUTE), None), Ok(Some(MINUTE)));
    }

    #[test]
    fn whoever_is_refused_reads_who_decided_and_what_can_be_done() {
        for (rules, cause) in [
            (
                PauseRules {
                    is_always_on: true,
                    ..managed()
                },
                RefusalCause::AlwaysOn,
            ),
            (
                PauseRules {
                    is_forbidden: true,
                    ..managed()
                },
                RefusalCause::Forbidden,
            ),
            (
                PauseRules {
                    needs_reason: true,
                    ..managed()
                },
                RefusalCause::NoReason,
            ),
        ] {
            let refused = rules.judge(Some(MINUTE), Some(" ")).unwrap_err();
            assert_eq!(
                refused.cause,
                if rules.needs_reason {
                    RefusalCause::NoReason
                } else {
                    cause
                }
            );
            assert!(refused.to_string().starts_with("Corp IT "), "{refused}");
            assert!(refused.remedy().contains("ztna "));
        }
        let rules = PauseRules {
            needs_reason: true,
            ..managed()
        };
        assert_eq!(rules.judge(None, Some("Maintenance")), Ok(None));
    }

    fn managed() -> PauseRules {
        PauseRules {
            managed_by: Some("Corp IT".into()),
            ..PauseRules::default()
        }
    }
}

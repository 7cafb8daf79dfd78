//! What state this device is in, and what that adds up to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::time::Moment;

/// One thing to find out about the device, and how to mend it.
///
/// The query speaks osquery's schema. Its first row's column `pass` is the
/// finding (`1` pass, `0` fail, anything else unknown); an optional column
/// `evidence` is shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Names the check in policies and records.
    pub id: CheckId,
    /// What people see, as a statement that should be true.
    pub title: Arc<str>,
    /// The query for each platform; none means unknown there.
    pub sql: BTreeMap<Platform, Arc<str>>,
    /// What the person does when the check fails.
    pub remedy: Arc<str>,
    /// How often it is measured.
    pub interval: Duration,
    /// How long a finding is relied on before it becomes unknown.
    pub max_age: Duration,
}

impl Check {
    /// Returns a check that cannot be measured here; its finding is always unknown.
    #[must_use]
    pub fn unavailable(id: CheckId) -> Self {
        Self {
            title: Arc::clone(&id.0),
            id,
            sql: BTreeMap::new(),
            remedy: "This version of the connector does not know the check; update it.".into(),
            interval: Duration::from_secs(3600),
            max_age: Duration::from_secs(7200),
        }
    }
}

/// Names a check, as in `disk-encryption`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(Arc<str>);

impl CheckId {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for CheckId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An operating system that checks are written for, under osquery's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// macOS.
    Darwin,
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

impl Platform {
    /// Returns the platform that `std::env::consts::OS` names, if checks exist for it.
    #[must_use]
    pub fn from_os(os: &str) -> Option<Self> {
        match os {
            "linux" => Some(Self::Linux),
            "macos" => Some(Self::Darwin),
            "windows" => Some(Self::Windows),
            _ => None,
        }
    }
}

/// The outcome of one check. Only [`Finding::Pass`] satisfies a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// The device was measured and does not comply.
    Fail,
    /// The device was measured and complies.
    Pass,
    /// The device could not be measured.
    Unknown,
}

impl Finding {
    /// Returns the word used in policies, records and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Pass => "pass",
            Self::Unknown => "unknown",
        }
    }
}

/// One check's outcome and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// The outcome.
    pub finding: Finding,
    /// What was seen, or why nothing was, in words.
    pub evidence: Arc<str>,
    /// When the measurement was taken.
    pub taken_at: Moment,
}

/// Everything measured about the device, by check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    measurements: BTreeMap<CheckId, Measurement>,
}

impl Facts {
    /// Adds or replaces the measurement of one check.
    pub fn insert(&mut self, check: CheckId, measurement: Measurement) {
        self.measurements.insert(check, measurement);
    }

    /// Returns what was measured for `check`, fresh or not.
    #[must_use]
    pub fn measurement(&self, check: &CheckId) -> Option<&Measurement> {
        self.measurements.get(check)
    }

    /// Returns the finding for `check` that may be relied on at `now`; a check
    /// that never ran, or ran too long ago, is unknown.
    #[must_use]
    pub fn finding(&self, check: &Check, now: Moment) -> Finding {
        self.measurements
            .get(&check.id)
            .filter(|measurement| now < measurement.taken_at + check.max_age)
            .map_or(Finding::Unknown, |measurement| measurement.finding)
    }

    /// Returns when the next finding of `checks` lapses.
    #[must_use]
    pub fn next_lapse(&self, checks: &[Check], now: Moment) -> Option<Moment> {
        checks
            .iter()
            .filter_map(|check| Some(self.measurements.get(&check.id)?.taken_at + check.max_age))
            .filter(|lapse| *lapse > now)
            .min()
    }

    /// Returns what the findings add up to at `now`.
    #[must_use]
    pub fn verdict(&self, checks: &[Check], now: Moment) -> Verdict {
        let findings = checks
            .iter()
            .map(|check| (check.id.clone(), self.finding(check, now)));
        Verdict {
            findings: Arc::new(findings.collect()),
        }
    }
}

/// What all findings say at one moment; decisions rest on it as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verdict {
    /// Shared, since every question and every record carries it.
    findings: Arc<BTreeMap<CheckId, Finding>>,
}

impl Verdict {
    /// Adds what somebody else found wrong; it can only make the verdict worse.
    pub(crate) fn fail(&mut self, check: CheckId) {
        Arc::make_mut(&mut self.findings).insert(check, Finding::Fail);
    }

    /// Returns each check's finding.
    pub fn findings(&self) -> impl Iterator<Item = (&CheckId, Finding)> {
        self.findings.iter().map(|(id, finding)| (id, *finding))
    }

    /// Returns the checks that do not pass.
    #[must_use]
    pub fn unmet(&self) -> BTreeSet<&CheckId> {
        self.findings()
            .filter(|(_, finding)| *finding != Finding::Pass)
            .map(|(id, _)| id)
            .collect()
    }

    /// Returns the level that the findings add up to.
    #[must_use]
    pub fn trust_level(&self) -> TrustLevel {
        if self.findings.is_empty() {
            return TrustLevel::Low;
        }
        match self.unmet().len() {
            0 => TrustLevel::High,
            _ if self
                .findings
                .values()
                .any(|finding| *finding == Finding::Fail) =>
            {
                TrustLevel::Low
            }
            _ => TrustLevel::Medium,
        }
    }
}

/// How far the device's state can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustLevel {
    /// A check fails, or nothing was measured.
    Low,
    /// Nothing fails, but something could not be measured.
    Medium,
    /// Every check passes.
    High,
}

impl TrustLevel {
    /// Returns the word used in policies, records and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Low => "low",
            Self::Medium => "medium",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_never_ran_is_unknown() {
        let facts = Facts::default();

        assert_eq!(facts.finding(&check("a"), at(0)), Finding::Unknown);
    }

    #[test]
    fn a_finding_lapses_into_unknown() {
        let mut facts = Facts::default();
        facts.insert("a".into(), measured(Finding::Pass, at(10)));

        assert_eq!(facts.finding(&check("a"), at(69)), Finding::Pass);
        assert_eq!(facts.finding(&check("a"), at(70)), Finding::Unknown);
        assert_eq!(facts.next_lapse(&[check("a")], at(11)), Some(at(70)));
    }

    #[test]
    fn unknown_lowers_the_trust_level_and_fail_lowers_it_further() {
        let checks = [check("a"), check("b")];
        for (a, b, level) in [
            (Finding::Pass, Finding::Pass, TrustLevel::High),
            (Finding::Pass, Finding::Unknown, TrustLevel::Medium),
            (Finding::Fail, Finding::Unknown, TrustLevel::Low),
        ] {
            let mut facts = Facts::default();
            facts.insert("a".into(), measured(a, at(0)));
            facts.insert("b".into(), measured(b, at(0)));

            assert_eq!(facts.verdict(&checks, at(1)).trust_level(), level);
        }
        assert_eq!(Verdict::default().trust_level(), TrustLevel::Low);
    }

    fn check(id: &str) -> Check {
        Check {
            id: id.into(),
            title: id.into(),
            sql: BTreeMap::new(),
            remedy: "mend it".into(),
            interval: Duration::from_secs(30),
            max_age: Duration::from_secs(60),
        }
    }

    fn measured(finding: Finding, taken_at: Moment) -> Measurement {
        Measurement {
            finding,
            evidence: "seen".into(),
            taken_at,
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_boot(Duration::from_secs(seconds))
    }
}

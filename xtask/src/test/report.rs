//! What ran, how it ended, how long it took.

use std::fmt;
use std::time::Duration;

/// How a stage ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It ran and found something, or could not run.
    Failed(String),
    /// It ran and found nothing.
    Passed,
    /// It did not run, for this reason; counts as a failure.
    Skipped(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Failed(_) => "FAILED",
            Self::Passed => "ok",
            Self::Skipped(_) => "SKIPPED",
        })
    }
}

/// The stages that ran, in their order; displays as the table that ends a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    stage: &'static str,
    verdict: Verdict,
    took: Duration,
}

impl Report {
    /// Notes how a stage ended.
    pub(crate) fn add(&mut self, stage: &'static str, verdict: Verdict, took: Duration) {
        self.entries.push(Entry {
            stage,
            verdict,
            took,
        });
    }

    /// How many stages did not pass.
    pub(crate) fn failures(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.verdict != Verdict::Passed)
            .count()
    }

    /// Whether the stage ran and did not pass.
    pub(crate) fn has_failed(&self, stage: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.stage == stage && entry.verdict != Verdict::Passed)
    }

    /// Whether at least one stage ran and every stage that ran passed.
    pub(crate) fn passed(&self) -> bool {
        !self.entries.is_empty() && self.failures() == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<10} {:<8} {:>8}", "stage", "result", "seconds")?;
        for Entry {
            stage,
            verdict,
            took,
        } in &self.entries
        {
            write!(f, "{stage:<10} {verdict:<8} {:>8.1}", took.as_secs_f64())?;
            match verdict {
                Verdict::Failed(why) | Verdict::Skipped(why) => {
                    writeln!(f, "  {}", first_line(why))?
                }
                Verdict::Passed => writeln!(f)?,
            }
        }
        let total: Duration = self.entries.iter().map(|entry| entry.took).sum();
        let verdict = if self.passed() { "ok" } else { "FAILED" };
        write!(
            f,
            "{:<10} {verdict:<8} {:>8.1}",
            "total",
            total.as_secs_f64()
        )
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[(&'static str, Verdict)]) -> Report {
        let mut report = Report::default();
        for (stage, verdict) in verdicts {
            report.add(stage, verdict.clone(), Duration::from_millis(1500));
        }
        report
    }

    #[test]
    fn shows_every_stage_its_result_its_seconds_and_why_it_failed() {
        let report = report(&[
            ("fmt", Verdict::Passed),
            (
                "clippy",
                Verdict::Failed("`cargo clippy` ended with 101\nmore".to_owned()),
            ),
        ]);

        assert_eq!(
            report.to_string(),
            "stage      result    seconds\n\
             fmt        ok            1.5\n\
             clippy     FAILED        1.5  `cargo clippy` ended with 101\n\
             total      FAILED        3.0"
        );
    }

    #[test]
    fn passes_only_if_something_ran_and_nothing_failed() {
        assert!(report(&[("fmt", Verdict::Passed)]).passed());
        assert!(!report(&[]).passed());
        assert!(
            !report(&[
                ("fmt", Verdict::Passed),
                ("e2e", Verdict::Failed(String::new()))
            ])
            .passed()
        );
    }

    #[test]
    fn a_skipped_stage_is_a_failure() {
        let report = report(&[("e2e", Verdict::Skipped("`peers` failed".to_owned()))]);

        assert!(!report.passed());
        assert!(report.has_failed("e2e"));
        assert_eq!(report.failures(), 1);
    }
}

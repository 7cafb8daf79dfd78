//! `cargo xtask test`: installs what the checks need, runs them all, and ends with what ran.

mod report;
mod stages;
pub(crate) mod tools;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use clap::Args;

use self::report::{Report, Verdict};
use self::stages::{STAGES, Stage};
use crate::process::say;
use crate::workspace::Workspace;

/// Which checks to run.
#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// Only what is quick: formatting, repository rules, clippy, unit tests
    #[arg(long)]
    quick: bool,

    /// Only the named stages (with --list: which there are)
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,

    /// Prints the stages and what each proves, and runs nothing
    #[arg(long)]
    list: bool,
}

/// Runs the wanted stages, whichever of them fail, and ends with a table; succeeds when every stage did.
///
/// # Errors
/// Fails when a stage is named that does not exist.
pub(crate) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let wanted = wanted(args)?;
    if args.list {
        for stage in wanted {
            say(&format!("{:<10} {}", stage.name, stage.proves));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = Workspace::locate()?;
    if let Some(free) = workspace.free_gigabytes()
        && free < NEEDED
    {
        say(&format!(
            "{free} GB are free below {}; everything from nothing takes {NEEDED}, so a stage may fail for want of space",
            workspace.target().display()
        ));
    }
    let mut report = Report::default();
    for stage in wanted {
        say(&format!("\n== {}: {}", stage.name, stage.proves));
        let started = Instant::now();
        let verdict = judge(stage, &workspace, &report);
        if let Verdict::Failed(why) | Verdict::Skipped(why) = &verdict {
            say(&format!("== {}: {verdict}: {why}", stage.name));
        }
        report.add(stage.name, verdict, started.elapsed());
    }
    say(&format!("\n{report}"));
    Ok(if report.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What all stages together write below the target directory, and what they install, in GB.
const NEEDED: u64 = 16;

fn wanted(args: &TestArgs) -> anyhow::Result<Vec<&'static Stage>> {
    for name in &args.stages {
        if !STAGES.iter().any(|stage| stage.name == name) {
            let known = STAGES
                .iter()
                .map(|stage| stage.name)
                .collect::<Vec<_>>()
                .join(", ");
            bail!("there is no stage `{name}`; there are {known}");
        }
    }
    Ok(STAGES
        .iter()
        .filter(|stage| args.stages.is_empty() || args.stages.iter().any(|name| name == stage.name))
        .filter(|stage| stage.quick || !args.quick)
        .collect())
}

/// Runs one stage, unless one that it stands on failed before.
fn judge(stage: &Stage, workspace: &Workspace, so_far: &Report) -> Verdict {
    if let Some(ground) = stage.needs.iter().find(|name| so_far.has_failed(name)) {
        return Verdict::Skipped(format!("`{ground}` failed, which it needs"));
    }
    match (stage.run)(workspace) {
        Ok(()) => Verdict::Passed,
        Err(error) => Verdict::Failed(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(quick: bool, stages: &[&str]) -> TestArgs {
        let stages = stages.iter().map(|&name| name.to_owned()).collect();
        TestArgs {
            quick,
            stages,
            list: false,
        }
    }

    fn names(args: &TestArgs) -> Vec<&'static str> {
        wanted(args)
            .unwrap()
            .iter()
            .map(|stage| stage.name)
            .collect()
    }

    #[test]
    fn everything_runs_unless_told_otherwise() {
        assert_eq!(names(&args(false, &[])).len(), STAGES.len());
    }

    #[test]
    fn quick_is_formatting_repository_rules_clippy_and_unit_tests() {
        assert_eq!(names(&args(true, &[])), ["fmt", "tidy", "clippy", "unit"]);
    }

    #[test]
    fn named_stages_run_in_the_usual_order() {
        assert_eq!(names(&args(false, &["unit", "fmt"])), ["fmt", "unit"]);
    }

    #[test]
    fn an_unknown_stage_is_refused_and_the_known_ones_are_named() {
        let refusal = wanted(&args(false, &["typo"])).unwrap_err().to_string();

        assert!(
            refusal.contains("`typo`") && refusal.contains("clippy"),
            "{refusal}"
        );
    }

    #[test]
    fn a_stage_stands_only_on_stages_before_it() {
        for (place, stage) in STAGES.iter().enumerate() {
            for ground in stage.needs {
                assert!(
                    STAGES[..place].iter().any(|before| before.name == *ground),
                    "{ground} before {}",
                    stage.name
                );
            }
        }
    }

    #[test]
    fn a_stage_is_skipped_when_what_it_stands_on_failed() {
        let stage = Stage {
            name: "upper",
            proves: "",
            quick: false,
            needs: &["lower"],
            run: |_| Ok(()),
        };
        let mut so_far = Report::default();
        so_far.add(
            "lower",
            Verdict::Failed("broken".to_owned()),
            std::time::Duration::ZERO,
        );

        let verdict = judge(&stage, &Workspace::locate().unwrap(), &so_far);

        assert_eq!(
            verdict,
            Verdict::Skipped("`lower` failed, which it needs".to_owned())
        );
    }

    #[test]
    fn a_failing_stage_says_why() {
        let stage = Stage {
            name: "bad",
            proves: "",
            quick: false,
            needs: &[],
            run: |_| bail!("no"),
        };

        let verdict = judge(&stage, &Workspace::locate().unwrap(), &Report::default());

        assert_eq!(verdict, Verdict::Failed("no".to_owned()));
    }
}

//! `ztna posture`: this device's checks.

use connector_client::{Service, ServiceError};
use connector_ipc::{CheckReport, Finding, PostureReport, Reply, Request};
use serde_json::json;

use crate::command::PostureArgs;
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::status::trust_level;
use crate::table::{Cell, Table};
use crate::text::{Screen, Tone, plural};

/// Shows the checks, measured again if that is wanted.
pub(crate) async fn run(
    service: &Service,
    args: &PostureArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = Request::Posture {
        refresh: args.refresh,
    };
    let Reply::Posture(posture) = service.ask(&request).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match args.format.json {
        true => printer.json("ztna.posture/1", json!(posture))?,
        false => printer.print(&render(&posture, printer.screen()))?,
    }
    Ok(Exit::Success)
}

/// Adds a check to `table`: finding, title and evidence, and below how to mend it.
pub(crate) fn add_check(table: &mut Table, check: &CheckReport) {
    let (finding, tone) = match check.finding {
        Finding::Fail => ("✗ fail", Tone::Bad),
        Finding::Pass => ("✓ pass", Tone::Good),
        Finding::Unknown => ("? unknown", Tone::Warning),
    };
    table.row([
        Cell::toned(finding, tone),
        Cell::new(&check.title),
        Cell::new(&check.evidence),
    ]);
    if check.finding != Finding::Pass && !check.remedy.is_empty() {
        table.row([
            Cell::new(""),
            Cell::new(""),
            Cell::new(format!("→ {}", check.remedy)),
        ]);
    }
}

fn render(posture: &PostureReport, screen: Screen) -> String {
    let passed = posture
        .checks
        .iter()
        .filter(|check| check.finding == Finding::Pass)
        .count();
    let mut text = format!(
        "Trust {}: {} of {} passed\n",
        trust_level(posture.trust_level),
        passed,
        plural(posture.checks.len(), "check"),
    );
    if !posture.checks.is_empty() {
        text.push('\n');
    }
    let mut table = Table::default();
    for check in &posture.checks {
        add_check(&mut table, check);
    }
    text.push_str(&table.render(screen));
    text
}

#[cfg(test)]
mod tests {
    use connector_ipc::TrustLevel;

    use super::*;

    #[test]
    fn what_does_not_pass_comes_with_how_to_mend_it() {
        let posture = PostureReport {
            trust_level: TrustLevel::Low,
            checks: vec![
                check("Disk is encrypted", Finding::Pass),
                check("Firewall is on", Finding::Fail),
                check("Screen locks", Finding::Unknown),
            ],
        };

        assert_eq!(
            render(&posture, SCREEN),
            "\
Trust low: 1 of 3 checks passed

✓ pass     Disk is encrypted  what was seen
✗ fail     Firewall is on     what was seen
                              → Mend it.
? unknown  Screen locks       what was seen
                              → Mend it.
"
        );
    }

    #[test]
    fn a_device_that_was_not_measured_is_not_shown_as_healthy() {
        let posture = PostureReport {
            trust_level: TrustLevel::Low,
            checks: Vec::new(),
        };

        assert_eq!(
            render(&posture, SCREEN),
            "Trust low: 0 of 0 checks passed\n"
        );
    }

    const SCREEN: Screen = Screen {
        width: usize::MAX,
        color: false,
        now: 0,
    };

    fn check(title: &str, finding: Finding) -> CheckReport {
        CheckReport {
            id: "x".into(),
            title: title.into(),
            finding,
            evidence: "what was seen".into(),
            remedy: "Mend it.".into(),
            measured_at: None,
        }
    }
}

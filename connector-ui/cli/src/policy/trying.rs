//! `ztna policy test` and `replay`: what policies decide, and would.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use connector_client::{Service, ServiceError};
use connector_ipc::{
    PolicyReplayReport, PolicyTestReport, ReplayChange, Reply, Request, RowReport, VerdictReport,
};
use serde_json::json;

use crate::command::{ReplayArgs, TestArgs};
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::{Cell, Table, flow};
use crate::text::{Screen, Tone, paragraph, plural};
use crate::time;

/// Puts a table to a commit; the exit code tells whether all of it is true.
pub(super) async fn test(
    service: &Service,
    args: &TestArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = Request::PolicyTest {
        commit: args.commit.clone(),
        table: read(&args.file)?,
    };
    let Reply::PolicyTest(report) = service.ask(&request).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match args.format.json {
        true => printer.json("ztna.policy_test/1", json!(report))?,
        false => printer.print(&render_test(&report, printer.screen()))?,
    }
    Ok(match report.unmet {
        0 => Exit::Success,
        _ => Exit::General,
    })
}

/// Puts the recorded decisions to a commit.
pub(super) async fn replay(
    service: &Service,
    args: &ReplayArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = Request::PolicyReplay {
        commit: args.commit.clone(),
        since: args.since,
    };
    let Reply::PolicyReplay(report) = service.ask(&request).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match args.format.json {
        true => printer.json("ztna.policy_replay/1", json!(report))?,
        false => printer.print(&render_replay(&report, printer.screen()))?,
    }
    Ok(Exit::Success)
}

fn read(path: &Path) -> Result<String, Failure> {
    let wrong = |problem: &dyn std::fmt::Display| {
        Failure::Input(format!(
            "cannot read the table {}: {problem}",
            path.display()
        ))
    };
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let mut text = String::new();
    let read = file.take(LONGEST_TABLE + 1).read_to_string(&mut text);
    let length = read.map_err(|error| wrong(&error))?;
    if length as u64 > LONGEST_TABLE {
        let problem = format!("it has more than {LONGEST_TABLE} bytes; split it");
        return Err(wrong(&problem));
    }
    Ok(text)
}

fn render_test(report: &PolicyTestReport, screen: Screen) -> String {
    let mut text = String::new();
    for row in &report.rows {
        text.push_str(&render_row(row, screen));
    }
    let shown = report.rows.len();
    if report.unmet > shown {
        text.push_str(&format!("  and {} more\n", report.unmet - shown));
    }
    let answers = plural(report.met + report.unmet, "answer");
    let (verdict, tone) = match report.unmet {
        0 => (format!("✓ {answers}, all as expected"), Tone::Good),
        unmet => (format!("✗ {answers}, {unmet} not as expected"), Tone::Bad),
    };
    let cells = [
        Cell::toned(verdict, tone),
        Cell::toned(format!("commit {}", report.commit), Tone::Dim),
    ];
    text.push_str(&flow(0, &cells, &[], screen));
    text
}

fn render_row(row: &RowReport, screen: Screen) -> String {
    let mut text = Tone::Bad.paint("✗", screen);
    text.push_str(&paragraph(" ", &row.name, screen));
    let mut table = Table::indented(2);
    table.field("expected", verdict(&row.expected));
    let got = match &row.reason {
        Some(reason) => format!("{} ({reason})", verdict(&row.got)),
        None => verdict(&row.got),
    };
    table.field("got", got);
    text.push_str(&table.render(screen));
    text
}

fn verdict(verdict: &VerdictReport) -> String {
    let word = match verdict.permitted {
        true => "permit",
        false => "deny",
    };
    match &verdict.policy {
        Some(policy) => format!("{word} by {policy}"),
        None => word.to_owned(),
    }
}

fn render_replay(report: &PolicyReplayReport, screen: Screen) -> String {
    let mut text = String::new();
    for change in &report.changes {
        text.push_str(&render_change(change, screen));
    }
    if report.more > 0 {
        text.push_str(&format!("  and {} decisions more\n", report.more));
    }
    if text.is_empty() {
        text.push_str("Nothing would be decided otherwise.\n");
    }
    text.push('\n');
    let mut table = Table::default();
    table.field("Commit", &report.commit);
    table.field("Replayed", report.replayed.to_string());
    table.field("Same", report.same.to_string());
    table.field(
        "Otherwise",
        (report.replayed - report.same.min(report.replayed)).to_string(),
    );
    if report.not_asked > 0 {
        let why = "no policy decided them, or nothing was to be opened";
        table.field("Left out", format!("{}: {why}", report.not_asked));
    }
    if report.incomplete > 0 {
        let why = "the record lacks what policies rest on";
        table.field("Incomplete", format!("{}: {why}", report.incomplete));
    }
    text.push_str(&table.render(screen));
    text
}

fn render_change(change: &ReplayChange, screen: Screen) -> String {
    let (word, tone) = match change.after.permitted {
        true => ("✓ would be permitted", Tone::Good),
        false => ("✗ would be denied", Tone::Bad),
    };
    let cells = [
        Cell::toned(word, tone),
        Cell::new(format!("{} ×", change.count)),
        Cell::new(&change.person),
        Cell::new(&change.resource),
        Cell::new(change.program.as_deref().unwrap_or("unknown program")),
    ];
    let mut text = flow(0, &cells, &[20], screen);
    let last = time::utc(&change.last);
    let (before, after) = (verdict(&change.before), verdict(&change.after));
    let told = format!("was {before}, would be {after}; last {last}");
    text.push_str(&paragraph("    ", &told, screen));
    text
}

/// The longest table, in bytes; written as JSON it has to fit a frame of the local endpoint.
const LONGEST_TABLE: u64 = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_not_as_expected_say_what_was_expected_and_what_came() {
        let report = PolicyTestReport {
            commit: "ba".into(),
            met: 2,
            unmet: 2,
            rows: vec![RowReport {
                name: "guests".into(),
                expected: said(true, Some("wiki")),
                got: said(false, None),
                reason: Some("policy_denied".into()),
            }],
        };

        assert_eq!(
            render_test(&report, SCREEN),
            "\
✗ guests
  expected  permit by wiki
  got       deny (policy_denied)
  and 1 more
✗ 4 answers, 2 not as expected  commit ba
"
        );
    }

    #[test]
    fn a_table_that_is_true_is_one_line() {
        let report = PolicyTestReport {
            commit: "ba".into(),
            met: 1,
            unmet: 0,
            rows: vec![],
        };

        assert_eq!(
            render_test(&report, SCREEN),
            "✓ 1 answer, all as expected  commit ba\n"
        );
    }

    #[test]
    fn what_would_change_is_told_with_how_often_and_by_what() {
        let report = PolicyReplayReport {
            commit: "bc".into(),
            replayed: 10,
            same: 7,
            not_asked: 1,
            incomplete: 2,
            changes: vec![ReplayChange {
                person: "ann".into(),
                resource: "wiki".into(),
                program: None,
                before: said(true, Some("staff")),
                after: said(false, None),
                count: 3,
                first: "2026-11-22T09:00:00Z".into(),
                last: "2026-11-22T10:00:00Z".into(),
            }],
            more: 0,
        };

        assert_eq!(
            render_replay(&report, SCREEN),
            "\
✗ would be denied     3 ×  ann  wiki  unknown program
    was permit by staff, would be deny; last 2026-11-22 10:00:00 UTC

Commit      bc
Replayed    10
Same        7
Otherwise   3
Left out    1: no policy decided them, or nothing was to be opened
Incomplete  2: the record lacks what policies rest on
"
        );
    }

    fn said(permitted: bool, policy: Option<&str>) -> VerdictReport {
        VerdictReport {
            permitted,
            policy: policy.map(str::to_owned),
        }
    }

    const SCREEN: Screen = Screen {
        width: usize::MAX,
        color: false,
        now: 0,
    };
}

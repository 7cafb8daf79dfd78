//! `ztna policy`: the policies on this device.

mod trying;

use connector_client::{ONE_ANSWER, Service, ServiceError};
use connector_ipc::{
    CommitReport, CommitState, PolicyCommitReport, PolicyLogReport, Reply, Request,
};
use serde_json::json;

use crate::command::{Format, PolicyVerb, ShowArgs};
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::{Cell, Table, flow};
use crate::text::{Screen, Tone, bytes, clean, paragraph};
use crate::time;

/// Shows the policies.
pub(crate) async fn run(
    service: &Service,
    verb: &PolicyVerb,
    printer: &Printer,
) -> Result<Exit, Failure> {
    match verb {
        PolicyVerb::Log(format) => log(service, *format, printer).await,
        PolicyVerb::Replay(args) => trying::replay(service, args, printer).await,
        PolicyVerb::Show(args) => show(service, args, printer).await,
        PolicyVerb::Test(args) => trying::test(service, args, printer).await,
    }
}

async fn log(service: &Service, format: Format, printer: &Printer) -> Result<Exit, Failure> {
    let Reply::PolicyLog(report) = service.ask(&Request::PolicyLog).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match format.json {
        true => printer.json("ztna.policy_log/1", json!(report))?,
        false => printer.print(&render_log(&report, printer.screen()))?,
    }
    Ok(Exit::Success)
}

async fn show(service: &Service, args: &ShowArgs, printer: &Printer) -> Result<Exit, Failure> {
    let request = Request::PolicyShow {
        commit: args.commit.clone(),
        file: args.file.clone(),
    };
    let Some(file) = &args.file else {
        let Reply::PolicyCommit(report) = service.ask(&request).await? else {
            return Err(ServiceError::Unexpected.into());
        };
        match args.format.json {
            true => printer.json("ztna.policy_commit/1", json!(report))?,
            false => printer.print(&render_commit(&report, printer.screen()))?,
        }
        return Ok(Exit::Success);
    };

    let text = file_text(service, &request).await?;
    match args.format.json {
        true => printer.json("ztna.policy_file/1", json!({ "name": file, "text": text }))?,
        false => printer.print(&render_text(&text))?,
    }
    Ok(Exit::Success)
}

async fn file_text(service: &Service, request: &Request) -> Result<String, Failure> {
    let mut replies = service.open(request, ONE_ANSWER).await?;
    let mut text = String::new();
    loop {
        let reply = replies.next().await?;
        if matches!(reply, Reply::Done) {
            return Ok(text);
        }
        let Reply::PolicyText { text: part } = reply else {
            return Err(ServiceError::Unexpected.into());
        };
        if text.len() >= LONGEST_FILE {
            return Err(ServiceError::Unexpected.into());
        }
        text.push_str(&part);
    }
}

fn render_log(report: &PolicyLogReport, screen: Screen) -> String {
    let Some(head) = &report.head else {
        let text = "No policies are in force on this device. `ztna status` tells whether the control plane is reached.";
        return paragraph("", text, screen) + &render_not_followed(report, screen);
    };
    let mut text: String = report
        .commits
        .iter()
        .map(|commit| render_line(commit, screen))
        .collect();
    text.push('\n');
    let mut table = Table::default();
    table.field("Head", head.sequence.to_string());
    table.field("Signed by", &head.signed_by);
    table.field("Signed", time::with_distance(&head.issued_at, screen.now));
    table.field("Expires", time::with_distance(&head.expires_at, screen.now));
    text.push_str(&table.render(screen));
    text + &render_not_followed(report, screen)
}

fn render_not_followed(report: &PolicyLogReport, screen: Screen) -> String {
    let Some(offered) = &report.not_followed else {
        return String::new();
    };
    let text = format!(
        "What the control plane offered at {} is not followed: {}",
        time::utc(&offered.offered_at),
        offered.problem
    );
    format!("\n{}", paragraph("! ", &text, screen))
}

fn render_line(commit: &CommitReport, screen: Screen) -> String {
    let (word, tone) = state(commit.state);
    let cells = [
        Cell::toned(word, tone),
        Cell::new(&commit.commit),
        Cell::toned(time::utc(&commit.committed_at), Tone::Dim),
        Cell::new(&commit.author),
        Cell::new(&commit.message),
    ];
    flow(0, &cells, &[11], screen)
}

fn render_commit(report: &PolicyCommitReport, screen: Screen) -> String {
    let commit = &report.commit;
    let (word, tone) = state(commit.state);
    let heading = [Cell::toned(word, tone), Cell::new(&commit.commit)];
    let mut text = flow(0, &heading, &[], screen);
    if let Some(problem) = &report.problem {
        text.push_str(&paragraph("  → ", problem, screen));
    }
    text.push('\n');
    let mut table = Table::default();
    table.field("Author", &commit.author);
    table.field("Committed", time::utc(&commit.committed_at));
    table.field("Message", &commit.message);
    text.push_str(&table.render(screen));

    text.push_str("\nFiles:\n");
    let mut table = Table::indented(2);
    for file in &report.files {
        table.row([
            Cell::new(&file.name),
            Cell::toned(&file.language, Tone::Dim),
            Cell::toned(bytes(file.bytes), Tone::Dim),
        ]);
    }
    text.push_str(&table.render(screen));
    if report.more_files > 0 {
        text.push_str(&format!("  and {} more\n", report.more_files));
    }
    text
}

/// Returns the text without what could steer the terminal, line by line.
fn render_text(text: &str) -> String {
    text.lines().map(|line| clean(line) + "\n").collect()
}

fn state(state: CommitState) -> (&'static str, Tone) {
    match state {
        CommitState::Active => ("● active", Tone::Good),
        CommitState::Candidate => ("○ candidate", Tone::Warning),
        CommitState::Past => ("· past", Tone::Dim),
    }
}

/// An object of the store has at most 5 MiB, of which a replacement may make three times as many.
const LONGEST_FILE: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use connector_ipc::{HeadReport, NotFollowedReport, PolicyFileReport};

    use super::*;

    #[test]
    fn a_log_marks_what_decides_and_says_who_signed_it() {
        let report = PolicyLogReport {
            head: Some(HeadReport {
                sequence: 7,
                issued_at: "1970-01-01T00:00:00Z".into(),
                expires_at: "1970-01-01T01:00:00Z".into(),
                signed_by: "KEY".into(),
            }),
            not_followed: None,
            commits: vec![
                commit("bc", CommitState::Candidate),
                commit("ba", CommitState::Active),
                commit("bp", CommitState::Past),
            ],
        };

        assert_eq!(
            render_log(&report, SCREEN),
            "\
○ candidate  bc  2026-11-22 10:00:00 UTC  ann  Why not
● active     ba  2026-11-22 10:00:00 UTC  ann  Why not
· past       bp  2026-11-22 10:00:00 UTC  ann  Why not

Head       7
Signed by  KEY
Signed     1970-01-01 00:00:00 UTC (in 0 s)
Expires    1970-01-01 01:00:00 UTC (in 1 h 0 min)
"
        );
    }

    #[test]
    fn without_policies_the_log_says_so() {
        let report = PolicyLogReport {
            head: None,
            not_followed: None,
            commits: vec![],
        };

        assert!(render_log(&report, SCREEN).starts_with("No policies are in force"));
    }

    #[test]
    fn what_was_offered_last_and_is_not_followed_is_shown_with_its_reason() {
        let report = PolicyLogReport {
            head: None,
            not_followed: Some(NotFollowedReport {
                offered_at: "2026-11-22T10:00:00Z".into(),
                problem: "wiki.cedar:3: there is no\u{1b} such attribute".into(),
            }),
            commits: vec![],
        };

        let text = render_log(&report, SCREEN).replace("\n  ", " ");

        let expected = "What the control plane offered at 2026-11-22 10:00:00 UTC is not followed: wiki.cedar:3:";
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_commit_lists_its_files_and_why_it_cannot_decide() {
        let report = PolicyCommitReport {
            commit: commit("bc", CommitState::Candidate),
            files: vec![PolicyFileReport {
                name: "wiki.cedar".into(),
                language: "cedar".into(),
                bytes: 17,
            }],
            more_files: 2,
            problem: Some("It is refused.".into()),
        };

        let text = render_commit(&report, SCREEN);

        assert!(text.starts_with("○ candidate  bc\n  → It is refused.\n"));
        assert!(text.ends_with("  wiki.cedar  cedar  17 B\n  and 2 more\n"));
    }

    #[test]
    fn a_text_keeps_its_lines_and_steers_no_terminal() {
        assert_eq!(
            render_text("permit(\n\x1b[2Jprincipal"),
            "permit(\n\u{fffd}[2Jprincipal\n"
        );
    }

    fn commit(name: &str, state: CommitState) -> CommitReport {
        CommitReport {
            commit: name.into(),
            state,
            author: "ann".into(),
            committed_at: "2026-11-22T10:00:00Z".into(),
            message: "Why not".into(),
        }
    }

    const SCREEN: Screen = Screen {
        width: usize::MAX,
        color: false,
        now: 0,
    };
}

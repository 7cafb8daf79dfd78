//! `ztna audit`: the decision log itself, without the service that writes it.

use std::io;
use std::path::{Path, PathBuf};

use connector_platform::decision_log::{
    self, ANCHOR, Entry, Expected, Flaw, Gap, LogError, Report, Source,
};
use connector_platform::paths::{self, Paths};
use serde_json::{Value, json};

use crate::command::{AuditVerb, ExportArgs, VerifyArgs};
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::Table;
use crate::text::{Screen, Tone, paragraph, plural};

/// Verifies the log, or prints it.
pub(crate) fn run(verb: &AuditVerb, printer: &Printer) -> Result<Exit, Failure> {
    match verb {
        AuditVerb::Export(args) => export(args, printer),
        AuditVerb::Verify(args) => verify(args, printer),
    }
}

fn export(args: &ExportArgs, printer: &Printer) -> Result<Exit, Failure> {
    let dir = match &args.log_dir {
        Some(dir) => dir.clone(),
        None => installed()?.log_dir,
    };
    decision_log::export(&Source::Directory(dir), |line| {
        printer.print(&String::from_utf8_lossy(line))
    })?;
    Ok(Exit::Success)
}

fn verify(args: &VerifyArgs, printer: &Printer) -> Result<Exit, Failure> {
    let mut anchors = match &args.anchor {
        Some(path) => decision_log::anchors(path)?,
        None => Vec::new(),
    };
    let source = if !args.files.is_empty() {
        Source::Files(args.files.clone())
    } else if let Some(dir) = &args.log_dir {
        Source::Directory(dir.clone())
    } else {
        let installed = installed()?;
        anchors.extend(own_anchor(&installed.state_dir)?);
        Source::Directory(installed.log_dir)
    };
    let expected = Expected {
        key: args.key,
        anchors,
        whole: matches!(source, Source::Directory(_)),
    };
    let is_key_given = expected.key.is_some();
    let report = decision_log::verify(&source, expected)?;

    match args.format.json {
        true => printer.json(SCHEMA, document(&report, is_key_given))?,
        false => printer.print(&render(&report, is_key_given, printer.screen()))?,
    }
    Ok(if report.is_intact() {
        Exit::Success
    } else {
        Exit::General
    })
}

/// Returns where this installation's files are: the system's for the administrator.
fn installed() -> Result<Paths, Failure> {
    if paths::is_system_service() {
        return Ok(Paths::system());
    }
    Paths::user().map_err(|error| Failure::Repair(error.to_string()))
}

/// Returns the checkpoint that the service keeps apart from the log, if there is one.
fn own_anchor(state: &Path) -> Result<Vec<Entry>, LogError> {
    let path: PathBuf = state.join(ANCHOR);
    match decision_log::anchors(&path) {
        Err(error) if error.problem.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        outcome => outcome,
    }
}

fn render(report: &Report, is_key_given: bool, screen: Screen) -> String {
    let mut text = verdict(report, screen);
    for flaw in &report.flaws {
        text.push_str(&paragraph("  ", &flaw.to_string(), screen));
    }
    if report.more_flaws > 0 {
        text.push_str(&format!("  and {} more\n", report.more_flaws));
    }
    if let Some(torn) = &report.torn {
        let torn = format!(
            "{torn}: the last line is not whole: the service is writing it, or was killed; it tells of that when it starts"
        );
        text.push_str(&paragraph("  ", &torn, screen));
    }
    text.push('\n');
    text.push_str(&fields(report, is_key_given, screen));
    if !report.gaps.is_empty() {
        text.push_str("\nWhat the service itself says is not in the log:\n");
        for gap in &report.gaps {
            let told = format!("{} ({}): {}", gap.time, gap.place, gap.cause);
            text.push_str(&paragraph("  ", &told, screen));
        }
    }
    text
}

fn verdict(report: &Report, screen: Screen) -> String {
    let (heading, tone, sentence) = match (report.is_intact(), report.first, report.last) {
        (true, Some(first), Some(last)) => (
            "✓ Intact",
            Tone::Good,
            format!("Records {first} to {last} follow each other."),
        ),
        (true, _, _) => ("○ Empty", Tone::Plain, "There is no record.".to_owned()),
        (false, _, _) => {
            let count = u64::try_from(report.flaws.len()).unwrap_or(u64::MAX);
            let flaws = counted(count.saturating_add(report.more_flaws), "flaw");
            (
                "✗ Not as it was written",
                Tone::Bad,
                format!("{flaws} found."),
            )
        }
    };
    let mut text = tone.paint(heading, screen);
    text.push('\n');
    text.push_str(&paragraph("  ", &sentence, screen));
    text
}

fn fields(report: &Report, is_key_given: bool, screen: Screen) -> String {
    let mut table = Table::default();
    if let Some(log) = &report.log {
        table.field("Log", log.to_string());
    }
    table.field(
        "Checkpoints",
        match report.checkpoints {
            0 => "none: nothing is signed".to_owned(),
            count => format!("{count} signed"),
        },
    );
    if let Some(key) = &report.key {
        table.field("Signed by", key.to_string());
        if !is_key_given {
            table.field(
                "",
                "as the log itself says; --key takes what the control plane knows",
            );
        }
    }
    if let Some((sequence, time)) = report.sealed {
        table.field("Sealed", format!("up to record {sequence}, at {time}"));
    }
    if report.unsealed() > 0 {
        table.field(
            "Not sealed",
            format!(
                "{} at the end: chained, but not signed yet",
                counted(report.unsealed(), "record")
            ),
        );
    }
    table.field(
        "Kept elsewhere",
        match report.anchored {
            0 => "no checkpoint to compare with; --anchor takes one".to_owned(),
            count => format!("{} found in place", counted(count, "checkpoint")),
        },
    );
    table.render(screen)
}

fn counted(count: u64, word: &str) -> String {
    plural(usize::try_from(count).unwrap_or(usize::MAX), word)
}

fn document(report: &Report, is_key_given: bool) -> Value {
    let text = |value: Option<String>| value.map_or(Value::Null, Value::String);
    let flaw = |flaw: &Flaw| {
        let mut value = json!({"kind": flaw.kind.token(), "message": flaw.kind.to_string()});
        if let Some(place) = &flaw.place {
            value["file"] = (*place.file).into();
            value["line"] = place.line.into();
        }
        value
    };
    let gap = |gap: &Gap| {
        json!({
            "cause": gap.cause,
            "file": &*gap.place.file,
            "line": gap.place.line,
            "message": gap.cause.to_string(),
            "time": gap.time.to_string(),
        })
    };
    json!({
        "intact": report.is_intact(),
        "log": text(report.log.as_ref().map(ToString::to_string)),
        "key": text(report.key.as_ref().map(ToString::to_string)),
        "key_given": is_key_given,
        "first": report.first,
        "last": report.last,
        "lines": report.lines,
        "checkpoints": report.checkpoints,
        "sealed": report.sealed.map(|(sequence, _)| sequence),
        "sealed_at": text(report.sealed.map(|(_, time)| time.to_string())),
        "unsealed": report.unsealed(),
        "anchored": report.anchored,
        "torn": report.torn.is_some(),
        "gaps": report.gaps.iter().map(gap).collect::<Vec<_>>(),
        "flaws": report.flaws.iter().map(flaw).collect::<Vec<_>>(),
        "more_flaws": report.more_flaws,
    })
}

const SCHEMA: &str = "ztna.audit/1";

//! The only place that prints.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::time::SystemTime;

use clap_complete::Shell;
use serde_json::Value;

use crate::command::ColorWhen;
use crate::exit::{Exit, Failure};
use crate::text::{NARROWEST, Screen, clean, paragraph};

/// Writes answers to the standard output.
#[derive(Debug)]
pub(crate) struct Printer {
    quiet: bool,
    width: usize,
    color: bool,
    /// Whether the screen can be redrawn.
    is_live: bool,
}

impl Printer {
    /// Returns the printer that suits where the standard output goes.
    pub(crate) fn for_stdout(quiet: bool, color: ColorWhen) -> Self {
        let is_live = io::stdout().is_terminal() && understands_escapes();
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            quiet,
            width: columns(),
            color: match color {
                ColorWhen::Always => true,
                ColorWhen::Auto => is_live && !no_color,
                ColorWhen::Never => false,
            },
            is_live,
        }
    }

    /// Returns what there is to write on, at this moment.
    pub(crate) fn screen(&self) -> Screen {
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Screen {
            width: self.width,
            color: self.color,
            now: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// Writes `text`, which ends with a line break, unless told to be quiet.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        write_all(text)
    }

    /// Writes `text` even if told to be quiet: nothing goes on without it.
    pub(crate) fn insist(&self, text: &str) -> Result<(), Failure> {
        write_all(text)
    }

    /// Writes `text` in place of what is on the screen, where that is possible.
    pub(crate) fn redraw(&self, text: &str) -> Result<(), Failure> {
        match self.is_live {
            true => self.print(&format!("{HOME_AND_CLEAR}{text}")),
            false => self.print(&format!("{text}\n")),
        }
    }

    /// Writes `value` as one object, laid out for the eye.
    pub(crate) fn json(&self, schema: &str, value: Value) -> Result<(), Failure> {
        self.print(&format!("{:#}\n", document(schema, value)))
    }

    /// Writes `value` as one object on one line.
    pub(crate) fn json_line(&self, schema: &str, value: Value) -> Result<(), Failure> {
        self.print(&format!("{}\n", document(schema, value)))
    }
}

/// Tells the person why the verb was not carried out.
pub(crate) fn fail(failure: &Failure) -> Exit {
    if failure.exit() != Exit::OutputClosed {
        complain(&failure_text(failure));
    }
    failure.exit()
}

/// Writes clap's help or what it has to say about the arguments.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    let text = error.render().to_string();
    if error.use_stderr() {
        complain(&text);
        return Exit::Usage;
    }
    match write_all(&text) {
        Ok(()) => Exit::Success,
        Err(failure) => fail(&failure),
    }
}

/// Writes the completion script for `shell`.
pub(crate) fn completion(
    shell: Shell,
    command: &mut clap::Command,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "ztna", &mut script);
    printer.insist(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Success)
}

/// Adds the `schema` member that tells programs what they read.
fn document(schema: &str, mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.insert("schema".into(), schema.into());
    }
    value
}

fn failure_text(failure: &Failure) -> String {
    let screen = Screen {
        width: usize::MAX,
        color: false,
        now: 0,
    };
    let mut text = format!("ztna: {}\n", clean(&failure.to_string()));
    if let Some(remedy) = failure.remedy() {
        text.push_str(&paragraph("  → ", remedy, screen));
    }
    text
}

fn write_all(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                Failure::OutputClosed
            } else {
                Failure::Output(error)
            }
        })
}

fn complain(text: &str) {
    // There is nobody left to tell if this fails; the exit code still does.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// A terminal names itself in `TERM`; that of Windows in `WT_SESSION`.
fn understands_escapes() -> bool {
    match env::var_os("TERM") {
        Some(term) => term != OsStr::new("dumb") && !term.is_empty(),
        None => env::var_os("WT_SESSION").is_some(),
    }
}

/// Returns the terminal's width; what is not a terminal gets lines as long as they are.
fn columns() -> usize {
    let told = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let seen = || terminal_size::terminal_size_of(io::stdout());
    told.or_else(|| seen().map(|(width, _)| usize::from(width.0)))
        .map_or(usize::MAX, |columns: usize| columns.max(NARROWEST))
}

const HOME_AND_CLEAR: &str = "\x1b[H\x1b[2J";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_names_its_schema() {
        assert_eq!(
            document("ztna.x/1", json!({"a": 1})),
            json!({"schema": "ztna.x/1", "a": 1})
        );
    }

    #[test]
    fn a_failure_says_what_and_what_to_do_and_cannot_steer_the_terminal() {
        let failure = Failure::from(connector_client::ServiceError::Refused(
            connector_ipc::Failure {
                kind: connector_ipc::FailureKind::Offline,
                message: "no \x1b[31m network".into(),
                remedy: Some("Plug\nit in.".into()),
            },
        ));

        assert_eq!(
            failure_text(&failure),
            "ztna: no \u{fffd}[31m network\n  → Plug it in.\n"
        );
    }
}

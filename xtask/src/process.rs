//! Running other programs: shown before they run, and named when they fail.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Runs a command with its output passed through.
///
/// # Errors
/// Names the command line and how it ended.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = command_line(command);
    say(&format!("$ {line}"));
    finish(command, &line)
}

/// Runs a command with all its output on standard error, for commands whose own output is a result.
///
/// # Errors
/// Names the command line and how it ended.
pub(crate) fn run_aside(command: &mut Command) -> anyhow::Result<()> {
    let line = command_line(command);
    note(&format!("$ {line}"));
    finish(command.stdout(std::io::stderr()), &line)
}

fn finish(command: &mut Command, line: &str) -> anyhow::Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs a command for what it prints; `None` when it cannot be started or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then_some(())?;
    String::from_utf8(output.stdout).ok()
}

/// Whether a command runs and succeeds, silently.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    output(command).is_some()
}

/// The cargo that runs us, without what it told us about this package: build
/// scripts that look at it would otherwise run anew, and everything above them.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let about_us = [
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PRIMARY_",
    ];
    for (name, _) in std::env::vars_os() {
        let is_about_us = name
            .to_str()
            .is_some_and(|name| about_us.iter().any(|start| name.starts_with(start)));
        if is_about_us {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Prints one line for the developer.
#[expect(
    clippy::print_stdout,
    reason = "the one place where this program talks"
)]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Prints one line about what went wrong.
pub(crate) fn complain(line: &str) {
    note(line);
}

/// Prints one line about what happens meanwhile, beside the output.
#[expect(
    clippy::print_stderr,
    reason = "where this program talks of what is no result"
)]
pub(crate) fn note(line: &str) {
    eprintln!("{line}");
}

/// The command as a person would type it, with the variables it sets.
fn command_line(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.display(), value?.display())));
    let program = command.get_program();
    let program = match program.to_str().map(std::path::Path::new) {
        Some(path) if path.file_name() == Some(OsStr::new("cargo")) => "cargo".to_owned(),
        Some(_) | None => program.display().to_string(),
    };
    let arguments = command
        .get_args()
        .map(|argument| argument.display().to_string());
    variables
        .chain([program])
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_with_its_arguments_and_variables() {
        let error = run(Command::new("sh").args(["-c", "exit 3"]).env("WHY", "test")).unwrap_err();

        let text = format!("{error:#}");
        assert!(text.contains("WHY=test sh -c exit 3"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn a_missing_program_is_an_error_that_names_it() {
        let error = run(&mut Command::new("no-such-program-anywhere")).unwrap_err();

        assert!(format!("{error:#}").contains("cannot start `no-such-program-anywhere`"));
    }

    #[test]
    fn asking_a_missing_program_is_no_answer() {
        assert_eq!(output(&mut Command::new("no-such-program-anywhere")), None);
    }
}

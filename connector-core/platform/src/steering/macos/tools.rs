//! The system's own programs, for what has no documented interface: by absolute
//! path, with an empty environment, and without arguments from outside.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

/// A program that waits for its input.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    command: String,
}

impl Running {
    pub(super) fn start(program: &str, arguments: &[&str]) -> io::Result<Self> {
        let command = format!("{program} {}", arguments.join(" "));
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|problem| io::Error::new(problem.kind(), format!("{command}: {problem}")))?;
        Ok(Self { child, command })
    }

    /// Returns the number of the process.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Ends the program before it has read anything.
    pub(super) fn abandon(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Gives the program its input and waits for its end.
    pub(super) fn finish(mut self, input: &str) -> io::Result<Said> {
        if let Some(mut stdin) = self.child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = self.child.wait_with_output()?;
        let said = Said {
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        if output.status.success() {
            return Ok(said);
        }
        Err(io::Error::other(format!(
            "{}: {}: {}",
            self.command,
            output.status,
            said.errors.trim()
        )))
    }
}

/// What a program has written.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) output: String,
    pub(super) errors: String,
}

pub(super) fn pfctl(arguments: &[&str], input: &str) -> io::Result<Said> {
    Running::start(PFCTL, arguments)?.finish(input)
}

pub(super) fn scutil(commands: &str) -> io::Result<String> {
    let said = Running::start("/usr/sbin/scutil", &[])?.finish(commands)?;
    Ok(said.output)
}

/// Makes programs ask anew for names that they have been told of before.
pub(super) fn forget_cached_names() -> io::Result<()> {
    Running::start("/usr/bin/dscacheutil", &["-flushcache"])?
        .finish("")
        .map(drop)
}

pub(super) const PFCTL: &str = "/sbin/pfctl";

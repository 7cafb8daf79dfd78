//! Programs that end with their owner.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::scene::Scene;
use crate::wait::{DEADLINE, until};

/// A running program; it is killed when dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    out: PathBuf,
    log: PathBuf,
    /// Programs that end with their standard input do so even if the test is killed.
    stdin: Option<ChildStdin>,
}

impl Running {
    /// Starts `command`; what it writes goes to `NAME.out` and `NAME.log`, behind what an earlier one wrote.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(scene: &Scene, name: &str, command: &mut Command) -> Self {
        let (out, log) = (
            scene.path(&format!("{name}.out")),
            scene.path(&format!("{name}.log")),
        );
        let mut child = clean(command)
            .stdin(Stdio::piped())
            .stdout(appending(&out))
            .stderr(appending(&log))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            out,
            log,
        }
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it and its predecessors wrote to standard output.
    #[must_use]
    pub fn out(&self) -> String {
        read(&self.out)
    }

    /// Returns what it and its predecessors wrote to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Waits for its first whole line on standard output.
    ///
    /// # Panics
    ///
    /// If it ends, or writes none in time.
    pub fn first_line(&mut self, limit: Duration) -> String {
        let name = self.name.clone();
        until(&format!("a line from {name}"), limit, || {
            if let Some((line, _)) = self.out().split_once('\n') {
                return Some(line.to_owned());
            }
            assert!(!self.has_ended(), "{name} has ended: {}", self.log());
            None
        })
    }

    /// Writes a line to its standard input and returns the line that it answers with.
    ///
    /// # Panics
    ///
    /// If it answers nothing.
    pub fn ask(&mut self, line: &str) -> String {
        let before = self.out().len();
        let stdin = self.stdin.as_mut().expect("its standard input");
        writeln!(stdin, "{line}").unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let what = format!("an answer of {} to {line:?}", self.name);
        until(&what, DEADLINE, || {
            let out = self.out();
            out[before..]
                .split_once('\n')
                .map(|(answer, _)| answer.to_owned())
        })
    }

    /// Sends a signal, as in `TERM`.
    pub fn signal(&self, signal: &str) {
        let sent = run(Command::new("kill").args(["-s", signal, &self.id().to_string()]));
        assert!(sent.status.success(), "{sent:?}");
    }

    /// Tells whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for its end; returns how it ended, and how long that took.
    ///
    /// # Panics
    ///
    /// If it goes on.
    pub fn wait(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        let what = format!("the end of {}", self.name);
        let status = until(&what, limit, || self.child.try_wait().ok().flatten());
        (status, begun.elapsed())
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }

    /// Returns its resident memory in bytes.
    ///
    /// # Panics
    ///
    /// If it has ended.
    #[must_use]
    pub fn resident(&self) -> u64 {
        let status = read(Path::new(&format!("/proc/{}/status", self.id())));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("{} has ended", self.name)) * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `command` to its end.
///
/// # Panics
///
/// If it cannot be started.
pub fn run(command: &mut Command) -> Output {
    clean(command)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Runs `command` and returns what it printed.
///
/// # Panics
///
/// If it fails.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Wraps `program` so that it runs as `user`, who has nothing but that.
#[must_use]
pub fn as_user(user: Option<u32>, program: &Path) -> Command {
    let Some(user) = user else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={user}"))
        .args(["--clear-groups", "--no-new-privs", "--"])
        .arg(program);
    command
}

/// Wraps `program` so that it runs as `user` with these capabilities, as in `+net_admin,+sys_ptrace`.
#[must_use]
pub fn as_user_with(user: u32, capabilities: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={user}"))
        .args(["--clear-groups", "--no-new-privs"]);
    for set in ["inh", "ambient", "bounding"] {
        let flag = match set {
            "bounding" => "--bounding-set".to_owned(),
            _ => format!("--{set}-caps"),
        };
        command.arg(format!("{flag}=-all,{capabilities}"));
    }
    command.arg("--").arg(program);
    command
}

/// The user `nobody`.
pub const NOBODY: u32 = 65534;

/// Tells whether the tests may become another user.
#[must_use]
pub fn is_root() -> bool {
    succeed(Command::new("id").arg("-u")).trim() == "0"
}

/// Nothing of the developer's own set-up reaches the programs.
fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars() {
        let is_ours = name.starts_with("ZTNA_") && !name.starts_with("ZTNA_E2E_");
        if is_ours || name.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}

fn appending(path: &Path) -> File {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns a file's text; a program may have written anything.
#[must_use]
pub fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

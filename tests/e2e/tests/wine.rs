//! The programs for Windows, run by Wine: `cargo xtask test windows` builds them and makes the Windows they run in.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

#[test]
fn the_service_is_installed_starts_answers_on_its_pipe_stops_and_leaves_no_registration() {
    let Some(machine) = Machine::find() else {
        return;
    };
    machine.put_settings(
        "[control_plane]\nurl = \"http://127.0.0.1:9/\"\n\
         policy_key = \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"\n\
         dns_suffixes = [\"corp.example\"]\n",
    );

    let absent = machine.ztna(["service", "status", "--json"]);
    machine.expect(["service", "install"]);
    let installed = machine.json(["service", "status", "--json"]);
    let source = machine.registry(EVENT_SOURCE);
    machine.expect(["service", "start"]);
    let status = machine.json_within(["status", "--json", "--socket", PIPE]);
    let running = machine.json(["service", "status", "--json"]);
    let config = machine.json(["config", "--json", "--socket", PIPE]);
    machine.expect(["service", "stop"]);
    let silent = machine.ztna(["status", "--json", "--socket", PIPE]);
    machine.expect(["service", "uninstall"]);
    let gone = machine.ztna(["service", "status", "--json"]);

    assert_eq!(parse(&absent)["installed"], false);
    assert_eq!(installed["installed"], true);
    assert_eq!(installed["starts_at_boot"], true);
    assert!(source.contains("EventCreate.exe"), "{source}");
    assert_eq!(running["running"], true);
    assert!(
        status["schema"]
            .as_str()
            .is_some_and(|schema| schema.starts_with("ztna.status/")),
        "{status}"
    );
    assert!(
        config.to_string().contains(r"C:\\ProgramData\\ZTNA"),
        "{config}"
    );
    assert_eq!(silent.status.code(), Some(NOT_RUNNING), "{silent:?}");
    assert_eq!(parse(&gone)["installed"], false);
    let left = machine.registry(EVENT_SOURCE);
    assert!(left.is_empty(), "{left}");
}

#[test]
fn a_service_that_cannot_start_says_so_and_the_command_does_not_wait_for_it() {
    let Some(machine) = Machine::find() else {
        return;
    };
    machine.put_settings("[control_plane]\nurl = \"ftp://nowhere/\"\n");

    machine.expect(["service", "install"]);
    let started = machine.ztna(["service", "start"]);
    machine.expect(["service", "uninstall"]);

    assert!(!started.status.success());
    let told = String::from_utf8_lossy(&started.stderr);
    assert!(told.contains("event log"), "{told}");
}

/// A Windows of Wine's, in which the programs lie.
struct Machine {
    prefix: PathBuf,
    /// Somebody who is logged in: Wine shuts its Windows down when the last one goes, and boots
    /// it, with its services, for the next.
    _somebody: Somebody,
}

/// A shell that waits for its input.
struct Somebody(Child);

impl Somebody {
    fn log_in(prefix: &Path) -> Self {
        let shell = wine(prefix, "300")
            .arg("cmd")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Self(shell.expect("Wine cannot be run; install it"))
    }
}

impl Drop for Somebody {
    fn drop(&mut self) {
        // Without input it ends.
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}

impl Machine {
    /// Returns nothing where nobody has made one: these tests are for the stage that does.
    fn find() -> Option<Self> {
        let prefix = PathBuf::from(std::env::var_os("ZTNA_E2E_WINE")?);
        let built = PathBuf::from(std::env::var_os("ZTNA_E2E_WINDOWS_BIN")?);
        let machine = Self {
            _somebody: Somebody::log_in(&prefix),
            prefix,
        };
        fs::create_dir_all(machine.path(PROGRAMS)).expect("the machine's disk");
        for program in ["ztnad.exe", "ztna.exe"] {
            fs::copy(built.join(program), machine.path(PROGRAMS).join(program))
                .expect("the programs are built");
        }
        // What a test that failed has left.
        drop(machine.ztna(["service", "uninstall"]));
        Some(machine)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.prefix.join("drive_c").join(below)
    }

    fn put_settings(&self, text: &str) {
        let folder = self.path("ProgramData/ZTNA");
        fs::create_dir_all(&folder).expect("the machine's disk");
        fs::write(folder.join("config.toml"), text).expect("the machine's disk");
    }

    /// Returns what the registry's own tool says of a key; nothing if there is none.
    fn registry(&self, key: &str) -> String {
        let told = self.run("reg", ["query", key]);
        if !told.status.success() {
            return String::new();
        }
        String::from_utf8_lossy(&told.stdout).trim().to_owned()
    }

    fn ztna<const N: usize>(&self, arguments: [&str; N]) -> Output {
        self.run(self.path(PROGRAMS).join("ztna.exe"), arguments)
    }

    fn expect<const N: usize>(&self, arguments: [&str; N]) {
        let told = self.ztna(arguments);
        assert!(told.status.success(), "ztna {arguments:?}: {told:?}");
    }

    fn json<const N: usize>(&self, arguments: [&str; N]) -> Value {
        parse(&self.ztna(arguments))
    }

    /// Asks until the service answers.
    fn json_within<const N: usize>(&self, arguments: [&str; N]) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = self.ztna(arguments);
            if told.status.code() != Some(NOT_RUNNING) {
                return parse(&told);
            }
            assert!(
                Instant::now() < deadline,
                "the service does not answer: {told:?}"
            );
        }
    }

    fn run<const N: usize>(&self, program: impl AsRef<OsStr>, arguments: [&str; N]) -> Output {
        wine(&self.prefix, "60")
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("Wine cannot be run; install it")
    }
}

/// Wine, for so many seconds at most.
fn wine(prefix: &Path, limit: &str) -> Command {
    let mut command = Command::new("timeout");
    command
        .args([limit, "wine"])
        .env("WINEPREFIX", prefix)
        .env("WINEDEBUG", "-all")
        .current_dir(Path::new("/"));
    command
}

fn parse(told: &Output) -> Value {
    serde_json::from_slice(&told.stdout).unwrap_or_else(|problem| panic!("{problem}: {told:?}"))
}

const PROGRAMS: &str = "Program Files/ZTNA Connector";
const PIPE: &str = r"\\.\pipe\ZTNA\service";
const EVENT_SOURCE: &str =
    r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\ZTNA Connector";

/// What `ztna` ends with when no service answers.
const NOT_RUNNING: i32 = 4;

const PATIENCE: Duration = Duration::from_secs(60);

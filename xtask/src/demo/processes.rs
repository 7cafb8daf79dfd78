//! The programs that the demo runs, and the folder that they run in.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

/// Where the programs were built.
pub(super) struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    pub(super) fn below(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir
            .join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }
}

/// A folder of the demo's own, away from any installed connector's files.
pub(super) struct Place {
    dir: PathBuf,
}

impl Place {
    pub(super) fn create() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("ztna-demo-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("{}", dir.display()))?;
        Ok(Self { dir })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns where the service listens; a pipe's name where sockets have no path.
    pub(super) fn socket(&self) -> PathBuf {
        if std::env::consts::OS == "windows" {
            return format!(r"\\.\pipe\ztna-demo-{}", std::process::id()).into();
        }
        self.path("run").join("ztnad.sock")
    }

    pub(super) fn remove(&self) {
        // What is left in the temporary folder does no harm.
        let _ = fs::remove_dir_all(&self.dir);
    }

    fn log(&self, name: &str) -> anyhow::Result<File> {
        let path = self.path(&format!("{name}.log"));
        File::create(&path).with_context(|| format!("Failed to create {}", path.display()))
    }
}

/// A program that ends with the demo.
pub(super) struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    /// Returns an error if the program has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => anyhow::bail!("{} has ended ({status})", self.name),
            None => Ok(()),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Closes the program's input and waits for it to end; ends it if it does not.
    pub(super) fn end(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts the company and returns what it says about itself.
pub(super) fn start_lab(binaries: &Binaries, place: &Place) -> anyhow::Result<(Running, Value)> {
    let mut child = Command::new(binaries.path("ztna-lab"))
        .arg("--end-with-stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(place.log("ztna-lab")?)
        .spawn()
        .context("Failed to start ztna-lab")?;
    let stdout = child.stdout.take().context("ztna-lab has no output")?;
    let running = Running {
        name: "ztna-lab",
        child,
    };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let ready = serde_json::from_str(&line)
        .with_context(|| format!("ztna-lab said {line:?}; its log tells why"))?;
    Ok((running, ready))
}

/// Starts the service, enrolled to the company that `ready` describes.
pub(super) fn start_service(
    binaries: &Binaries,
    place: &Place,
    ready: &Value,
) -> anyhow::Result<Running> {
    let token = place.path("enrolment-token");
    fs::write(&token, text(ready, "/enrolment_token")?)?;
    let config = place.path("ztna.toml");
    fs::write(&config, configuration(place, ready, &token))?;

    let child = Command::new(binaries.path("ztnad"))
        .arg("--userspace")
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(place.log("ztnad")?)
        .spawn()
        .context("Failed to start ztnad")?;
    Ok(Running {
        name: "ztnad",
        child,
    })
}

fn configuration(place: &Place, ready: &Value, token: &Path) -> String {
    // JSON's texts and lists are TOML's as well.
    let path = |path: &Path| Value::from(path.display().to_string());
    format!(
        "[control_plane]\nurl = {}\npolicy_key = {}\ndns_suffixes = {}\nenrolment_token_file = {}\n\n\
         [service]\nstate_dir = {}\nlog_dir = {}\nsocket = {}\nkey_store = \"files\"\n\n[proxy]\nlisten = \"127.0.0.1:0\"\n",
        ready["control_plane"],
        ready["policy_key"],
        ready["suffixes"],
        path(token),
        path(&place.path("state")),
        path(&place.path("log")),
        path(&place.socket()),
    )
}

/// Runs `ztna` as a person would.
pub(super) struct Ztna {
    program: PathBuf,
    socket: PathBuf,
}

impl Ztna {
    pub(super) fn new(binaries: &Binaries, place: &Place) -> Self {
        Self {
            program: binaries.path("ztna"),
            socket: place.socket(),
        }
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("ZTNA_SOCKET", &self.socket)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.command(arguments)
            .output()
            .with_context(|| format!("Failed to run ztna {}", arguments.join(" ")))
    }

    /// Returns what `ztna … --json` prints.
    pub(super) fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.run(&[arguments, &["--json"]].concat())?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "ztna {} --json: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// Returns what the service says of itself, once it answers.
    pub(super) fn status(&self) -> Option<Value> {
        self.json(&["status"]).ok()
    }
}

/// Starts a program whose name a posture check forbids: this one, renamed, doing nothing.
pub(super) fn start_forbidden(place: &Place) -> anyhow::Result<Running> {
    let program = place.path(&format!(
        "ztna-demo-forbidden{}",
        std::env::consts::EXE_SUFFIX
    ));
    if !program.exists() {
        fs::copy(std::env::current_exe()?, &program)?;
    }
    let child = Command::new(&program)
        .args(["idle"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("Failed to start the forbidden program")?;
    Ok(Running {
        name: "ztna-demo-forbidden",
        child,
    })
}

/// Returns a text from a JSON document.
pub(super) fn text<'a>(document: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    document
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("there is no text at {pointer} in {document}"))
}

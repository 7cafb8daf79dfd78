//! The service and the command, as a user runs them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::Lab;
use crate::person;
use crate::process::{Running, as_user, as_user_with, read, run, succeed};
use crate::scene::{Scene, program};
use crate::wait::{DEADLINE, until};

/// An installation of the connector: its folders, and the service while it runs.
#[derive(Debug)]
pub struct Connector<'a> {
    scene: &'a Scene,
    name: String,
    folder: PathBuf,
    programs: PathBuf,
    user: Option<u32>,
    /// What the service may do beyond an ordinary user, as in `+net_admin`.
    capabilities: Vec<String>,
    /// Whether it opens a network device.
    is_transparent: bool,
    environment: Vec<(&'static str, String)>,
    process: Option<Running>,
}

impl<'a> Connector<'a> {
    /// Prepares an installation for the company of `lab`.
    #[must_use]
    pub fn install(scene: &'a Scene, lab: &Lab) -> Self {
        Self::install_for(scene, lab, "ztnad", None)
    }

    /// Prepares an installation under another name, for another user.
    ///
    /// # Panics
    ///
    /// If its files cannot be written.
    #[must_use]
    pub fn install_for(scene: &'a Scene, lab: &Lab, name: &str, user: Option<u32>) -> Self {
        let folder = scene.path(&format!("{name}.d"));
        fs::create_dir_all(&folder).expect("a folder for the installation");
        let mut programs = program("ztnad");
        programs.pop();
        let connector = Self {
            scene,
            name: name.to_owned(),
            folder,
            programs,
            user,
            capabilities: Vec::new(),
            is_transparent: false,
            environment: vec![],
            process: None,
        };
        connector.write("enrolment-token", lab.ready("enrolment_token"));
        connector.write("ztna.toml", &connector.settings(lab));
        connector.with_owner()
    }

    /// Adds a variable to the service's environment.
    pub fn set(&mut self, variable: &'static str, value: String) {
        self.environment.push((variable, value));
    }

    /// Makes it open a network device and steer the machine; only in a network of the test's own.
    ///
    /// # Panics
    ///
    /// Anywhere else.
    #[must_use]
    pub fn transparent(mut self) -> Self {
        assert!(
            std::env::var_os("ZTNA_E2E_NET").is_some(),
            "this would change the machine: call `inside_own_network` first"
        );
        self.is_transparent = true;
        self
    }

    /// Gives the service these capabilities and no other, as in `CAP_NET_ADMIN`.
    #[must_use]
    pub fn with_capabilities(mut self, names: &[&str]) -> Self {
        let short = |name: &&str| format!("+{}", name.trim_start_matches("CAP_").to_lowercase());
        self.capabilities = names.iter().map(short).collect();
        self
    }

    /// Puts the programs where every user of the machine can run them; they may not see where
    /// the programs were built.
    ///
    /// # Panics
    ///
    /// If they cannot be copied.
    #[must_use]
    pub fn for_everybody(mut self) -> Self {
        for name in ["ztnad", "ztna"] {
            fs::copy(program(name), self.folder.join(name)).expect("a copy of the program");
        }
        self.programs.clone_from(&self.folder);
        self
    }

    fn with_owner(self) -> Self {
        let Some(user) = self.user else {
            return self;
        };
        let this = self.for_everybody();
        succeed(
            Command::new("chown")
                .args(["-R", &user.to_string()])
                .arg(&this.folder),
        );
        this
    }

    fn settings(&self, lab: &Lab) -> String {
        format!(
            "[control_plane]\nurl = {:?}\npolicy_key = {:?}\ndns_suffixes = [\"corp.test\"]\nenrolment_token_file = {:?}\n\n\
             [service]\nstate_dir = {:?}\nlog_dir = {:?}\nsocket = {:?}\nkey_store = \"files\"\n\n\
             [proxy]\nlisten = \"127.0.0.1:0\"\n\n[device]\nname = \"e2e\"\n",
            lab.ready("control_plane"),
            lab.ready("policy_key"),
            self.path("enrolment-token"),
            self.path("state"),
            self.path("log"),
            self.socket(),
        )
    }

    /// Returns a path in the installation.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns where the service listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("run/ztnad.sock")
    }

    /// Writes a file of the installation.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Adds settings.
    pub fn configure(&self, more: &str) {
        let settings = read(&self.path("ztna.toml"));
        self.write("ztna.toml", &format!("{settings}\n{more}"));
    }

    /// Writes the administrator's settings, which nobody else may write.
    ///
    /// # Panics
    ///
    /// If that is not possible.
    pub fn manage(&self, settings: &str) {
        self.write(MANAGED, settings);
        succeed(Command::new("chmod").arg("0644").arg(self.path(MANAGED)));
        succeed(Command::new("chmod").arg("go-w").arg(&self.folder));
    }

    /// Returns the command that starts the service.
    #[must_use]
    pub fn command(&self) -> Command {
        let program = self.programs.join("ztnad");
        let mut command = match self.user {
            Some(user) if !self.capabilities.is_empty() => {
                as_user_with(user, &self.capabilities.join(","), &program)
            }
            Some(_) | None => as_user(self.user, &program),
        };
        if !self.is_transparent {
            command.arg("--userspace");
        }
        command
            .envs(self.environment.iter().cloned())
            .arg("--managed")
            .arg(self.path(MANAGED))
            .arg("--config")
            .arg(self.path("ztna.toml"))
            .current_dir(&self.folder);
        command
    }

    /// Starts the service and waits until it answers.
    pub fn start(&mut self) {
        let mut process = Running::start(self.scene, &self.name, &mut self.command());
        until("the service answers", DEADLINE, || {
            assert!(!process.has_ended(), "ztnad has ended: {}", process.log());
            let live = self.ztna(&["status", "--check", "live"]);
            live.status.success().then_some(())
        });
        self.process = Some(process);
    }

    /// Starts the service, signs `login` in, and waits for the tunnel.
    pub fn start_as(&mut self, login: &str) {
        self.start();
        self.wait_until_measured();
        self.sign_in(login);
        self.wait_for("a gateway", has_active_gateway);
    }

    /// Waits for a configuration, and until every check that it names has been measured: a first finding that comes
    /// later would make the service ask the policy anew.
    pub fn wait_until_measured(&self) {
        self.wait_for("a configuration", |status| {
            status["configuration_version"].is_u64()
        });
        until("every check to be measured", DEADLINE, || {
            let posture = self.read(&["posture"]);
            let checks = posture["checks"].as_array()?;
            let all = checks.iter().all(|check| check["measured_at"].is_string());
            (all && !checks.is_empty()).then_some(())
        });
    }

    /// Tells whether the service was started, whatever has become of it.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.process.is_some()
    }

    /// Returns the running service.
    ///
    /// # Panics
    ///
    /// If it was not started.
    pub fn process(&mut self) -> &mut Running {
        self.process.as_mut().expect("the service was started")
    }

    /// Returns what the service has logged.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.scene.path(&format!("{}.log", self.name)))
    }

    /// Signs `login` in, by `ztna login` and the provider's pages. Returns how long that took.
    ///
    /// # Panics
    ///
    /// If nobody is signed in afterwards.
    pub fn sign_in(&self, login: &str) -> Duration {
        self.sign_in_by(self.user, login, &[])
    }

    /// Signs `login` in with further options of `ztna login`.
    ///
    /// # Panics
    ///
    /// If nobody is signed in afterwards.
    pub fn sign_in_with(&self, login: &str, options: &[&str]) -> Duration {
        self.sign_in_by(self.user, login, options)
    }

    /// The same, by a user of the machine.
    ///
    /// # Panics
    ///
    /// If nobody is signed in afterwards.
    pub fn sign_in_by(&self, user: Option<u32>, login: &str, options: &[&str]) -> Duration {
        let begun = Instant::now();
        let login_verb: &[&str] = &["login", "--no-browser"];
        let mut command = self.ztna_command(user, &[login_verb, options].concat());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ztna starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let page = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.trim_start().starts_with("http"));
        if let Some(page) = page {
            person::sign_in(self.scene, page.trim(), login);
        }
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let output = child.wait_with_output().expect("ztna ends");
        assert!(output.status.success(), "{output:?} {rest:?}");
        let is_page = |line: &String| line.trim_start().starts_with("http");
        assert!(!rest.iter().any(is_page), "told twice: {rest:?}");
        begun.elapsed()
    }

    /// Runs `ztna`.
    #[must_use]
    pub fn ztna(&self, arguments: &[&str]) -> Output {
        self.ztna_by(self.user, arguments)
    }

    /// Runs `ztna` as a user of the machine.
    #[must_use]
    pub fn ztna_by(&self, user: Option<u32>, arguments: &[&str]) -> Output {
        run(&mut self.ztna_command(user, arguments))
    }

    /// Runs `ztna VERB … --json` and returns its exit code and what it printed.
    ///
    /// # Panics
    ///
    /// If that is no JSON.
    #[must_use]
    pub fn ask(&self, arguments: &[&str]) -> (i32, Value) {
        self.ask_by(self.user, arguments)
    }

    /// The same, by a user of the machine.
    ///
    /// # Panics
    ///
    /// If that is no JSON.
    #[must_use]
    pub fn ask_by(&self, user: Option<u32>, arguments: &[&str]) -> (i32, Value) {
        let arguments = [arguments, &["--json"]].concat();
        let output = run(&mut self.ztna_command(user, &arguments));
        let value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("ztna {arguments:?}: {error}: {output:?}"));
        (output.status.code().unwrap_or(-1), value)
    }

    /// Runs `ztna VERB … --json`, which must succeed, and returns what it printed.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[must_use]
    pub fn read(&self, arguments: &[&str]) -> Value {
        let (exit, value) = self.ask(arguments);
        assert_eq!(exit, 0, "ztna {arguments:?}: {value}");
        value
    }

    /// Returns the status, if the service answers just now.
    #[must_use]
    pub fn status_if_up(&self) -> Option<Value> {
        let output = self.ztna(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until the status is as `wanted` says, and returns it.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        until(what, DEADLINE, || {
            last = self.read(&["status"]);
            wanted(&last).then_some(())
        });
        last
    }

    /// Returns the proxy's address and port.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    #[must_use]
    pub fn proxy(&self) -> String {
        let status = self.read(&["status"]);
        let listen = status["proxy"]["listen"].as_str();
        listen
            .unwrap_or_else(|| panic!("no proxy: {status}"))
            .to_owned()
    }

    /// Returns every decision in the log, checking that each line is whole and that their numbers, with those of the
    /// checkpoints between them, have neither gap nor repetition.
    ///
    /// # Panics
    ///
    /// If they have.
    #[must_use]
    pub fn decision_log(&self) -> Vec<Value> {
        self.records_of(4001)
    }

    /// Returns every record of an OCSF class, checking the log as [`decision_log`](Self::decision_log) does.
    ///
    /// # Panics
    ///
    /// If it is not whole.
    #[must_use]
    pub fn records_of(&self, class: u64) -> Vec<Value> {
        let log = read(&self.path("log/decisions.jsonl"));
        let mut events: Vec<Value> = log
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect();
        for (number, event) in (1_u64..).zip(&events) {
            assert_eq!(event["metadata"]["sequence"], number, "{event}");
        }
        events.retain(|event| event["class_uid"] == class);
        events
    }

    /// Returns the latest decision about `target`, as `ztna decisions` shows it.
    #[must_use]
    pub fn last_decision(&self, target: &str) -> Option<Value> {
        let decisions = self.read(&["decisions", "--limit", "1000"]);
        let all = decisions["decisions"].as_array().cloned();
        let of_target = |decision: &Value| decision["target"] == target;
        all.unwrap_or_default().into_iter().rfind(of_target)
    }

    fn ztna_command(&self, user: Option<u32>, arguments: &[&str]) -> Command {
        let mut command = as_user(user, &self.programs.join("ztna"));
        command
            .args(arguments)
            .arg("--socket")
            .arg(self.socket())
            .current_dir(Path::new("/"));
        command
    }
}

const MANAGED: &str = "managed.toml";

/// Tells whether a gateway carries traffic.
#[must_use]
pub fn has_active_gateway(status: &Value) -> bool {
    active_gateway(status).is_some()
}

/// Returns the gateway that carries the traffic.
#[must_use]
pub fn active_gateway(status: &Value) -> Option<String> {
    let sites = status["tunnel"]["sites"].as_array()?;
    sites
        .iter()
        .flat_map(|site| site["gateways"].as_array().into_iter().flatten())
        .find(|gateway| gateway["state"] == "active")
        .and_then(|gateway| Some(gateway["id"].as_str()?.to_owned()))
}

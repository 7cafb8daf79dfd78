//! The story, step by step; each step fails if what it shows does not hold.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::client::{self, Form};
use super::login;
use super::processes::{
    Binaries, Place, Running, Ztna, start_forbidden, start_lab, start_service, text,
};
use super::terminal::Terminal;

/// The running company and connector.
pub(super) struct Demo<'a> {
    terminal: &'a Terminal,
    place: &'a Place,
    ztna: Ztna,
    // Ends before the company that it talks to.
    service: Running,
    lab: Running,
    /// Where the company can be changed while it runs.
    levers: String,
    proxy: SocketAddr,
    signed_in_at: Instant,
}

impl<'a> Demo<'a> {
    /// Steps 1 and the first half of 2: everything runs, the host is enrolled.
    pub(super) fn start(
        terminal: &'a Terminal,
        binaries: &Binaries,
        place: &'a Place,
    ) -> anyhow::Result<Self> {
        terminal.step(
            1,
            "A company starts: ztna-lab, one process on loopback, real protocols on every wire",
        );
        let (lab, ready) = start_lab(binaries, place)?;
        terminal.done(&format!(
            "identity provider   {}  (OpenID Connect)",
            text(&ready, "/issuer")?
        ));
        terminal.done(&format!(
            "control plane       {}",
            text(&ready, "/control_plane")?
        ));
        terminal.done(&format!(
            "policy server       {}  (AuthZEN 1.0)",
            text(&ready, "/pdp")?
        ));
        for gateway in ready["gateways"]
            .as_array()
            .context("the lab has no gateways")?
        {
            terminal.done(&format!(
                "gateway {}        udp {}  (WireGuard)",
                text(gateway, "/id")?,
                text(gateway, "/endpoint")?
            ));
        }
        terminal.done("behind the gateways: wiki.corp.test, echo.corp.test, payroll.corp.test; no other way leads there");

        terminal.step(
            2,
            "The connector starts as an ordinary process, enrols this device, and Alice signs in",
        );
        let mut service = start_service(binaries, place, &ready)?;
        let ztna = Ztna::new(binaries, place);
        let status = terminal.wait("the service enrols this device", STARTING, || {
            service.check()?;
            Ok(ztna
                .status()
                .filter(|status| !status["configuration_version"].is_null()))
        })?;
        terminal.done(&format!(
            "ztnad --userspace runs as process {}; host key enrolled, configuration {} verified",
            service.id(),
            status["configuration_version"]
        ));
        let proxy = text(&status, "/proxy/listen")?.parse()?;
        Ok(Self {
            terminal,
            place,
            ztna,
            service,
            lab,
            levers: text(&ready, "/admin")?.to_owned(),
            proxy,
            signed_in_at: Instant::now(),
        })
    }

    /// Plays everything else.
    pub(super) fn play(&mut self, browser: bool) -> anyhow::Result<()> {
        self.sign_in(browser).context("Step 2, signing in")?;
        self.show_posture().context("Step 3, the device's state")?;
        self.show_tunnel().context("Step 4, the tunnel")?;
        self.reach_the_wiki().context("Step 5, reaching the wiki")?;
        self.be_refused().context("Step 5, being refused")?;
        self.lose_and_regain_access()
            .context("Step 6, losing and regaining access")?;
        self.show_status().context("Step 7, the status")
    }

    fn sign_in(&mut self, browser: bool) -> anyhow::Result<()> {
        let arguments: &[&str] = if browser {
            &["login"]
        } else {
            &["login", "--no-browser"]
        };
        let command = if browser {
            "ztna login"
        } else {
            "ztna login --no-browser"
        };
        self.terminal.command(command);
        let mut login = self
            .ztna
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(login.stdout.take().context("ztna has no output")?);
        let mut line = String::new();
        let url = loop {
            line.clear();
            if output.read_line(&mut line)? == 0 {
                let mut problem = String::new();
                if let Some(mut stderr) = login.stderr.take() {
                    stderr.read_to_string(&mut problem)?;
                }
                bail!("ztna login gave up: {problem}");
            }
            if let Some(at) = line.find("http") {
                break line[at..].trim().to_owned();
            }
        };
        if browser {
            self.terminal
                .note(&format!("Sign in as alice, with any password, at {url}"));
        } else {
            login::walk(&url, "alice")?;
        }
        let limit = if browser { PERSON } else { STARTING };
        let status = self
            .terminal
            .wait("the sign-in", limit, || Ok(login.try_wait()?))?;
        ensure!(status.success(), "ztna login ended with {status}");
        self.signed_in_at = Instant::now();

        let identity = self.ztna.json(&["whoami"])?;
        self.terminal.done(&format!(
            "{} ({}) is signed in; groups {}; authorization code with PKCE on a loopback redirect",
            text(&identity, "/name")?,
            text(&identity, "/email")?,
            identity["groups"],
        ));
        Ok(())
    }

    fn show_posture(&self) -> anyhow::Result<()> {
        self.terminal.step(3, "What state is this very machine in?");
        self.terminal.command("ztna posture");
        let posture = self.terminal.wait("the measurements", STARTING, || {
            let posture = self.ztna.json(&["posture"])?;
            let checks = checks(&posture)?;
            let measured = checks.iter().all(|check| check["measured_at"].is_string());
            Ok(measured.then_some(posture))
        })?;
        ensure!(!checks(&posture)?.is_empty(), "no check was measured");
        self.show_ztna(&["posture"])
    }

    fn show_tunnel(&mut self) -> anyhow::Result<()> {
        self.terminal.step(4, "The tunnel comes up");
        let (gateway, status) = self.terminal.wait("the handshake", STARTING, || {
            self.service.check()?;
            let status = self.ztna.json(&["status"])?;
            let gateways = find(&status, "/tunnel/sites/0/gateways")?.as_array();
            let active = gateways
                .into_iter()
                .flatten()
                .find(|gateway| gateway["state"] == "active");
            Ok(active.cloned().map(|gateway| (gateway, status.clone())))
        })?;
        let micros = gateway["handshake_micros"]
            .as_u64()
            .context("no handshake was timed")?;
        self.terminal.done(&format!(
            "WireGuard handshake with {} at {} in {}.{:03} ms; this device is {}",
            text(&gateway, "/id")?,
            text(&gateway, "/endpoint")?,
            micros / 1000,
            micros % 1000,
            find(&status, "/tunnel/addresses/0")?,
        ));
        Ok(())
    }

    fn reach_the_wiki(&self) -> anyhow::Result<()> {
        self.terminal.step(5, "http://wiki.corp.test/ through the local proxy; its name is resolved behind the tunnel");
        ensure!(
            std::net::ToSocketAddrs::to_socket_addrs(&("wiki.corp.test", 80)).is_err(),
            "wiki.corp.test resolves on this machine without the tunnel"
        );
        for (form, name) in [
            (Form::Absolute, "HTTP proxy"),
            (Form::Connect, "CONNECT"),
            (Form::Socks, "SOCKS5"),
        ] {
            self.terminal
                .command(&format!("{} http://wiki.corp.test/", form.curl(self.proxy)));
            let asked = Instant::now();
            let response = client::ask_through(self.proxy, form, "wiki.corp.test", "/")?;
            ensure!(
                response.status == 200,
                "{name}: {} {}",
                response.status,
                response.body
            );
            self.terminal.done(&format!(
                "{name}: 200, {} bytes in {:.1} ms",
                response.body.len(),
                asked.elapsed().as_secs_f64() * 1000.0
            ));
            if matches!(form, Form::Absolute) {
                self.terminal.note(&format!(
                    "signed in to first page: {:.2} s, most of it these steps",
                    self.signed_in_at.elapsed().as_secs_f64()
                ));
            }
        }
        Ok(())
    }

    fn be_refused(&self) -> anyhow::Result<()> {
        self.terminal.command(&format!(
            "{} http://payroll.corp.test/",
            Form::Absolute.curl(self.proxy)
        ));
        let response = client::ask_through(self.proxy, Form::Absolute, "payroll.corp.test", "/")?;
        ensure!(
            response.status == 403,
            "payroll answered {}",
            response.status
        );
        ensure!(
            response
                .header("proxy-status")
                .is_some_and(|status| status.contains("http_request_denied")),
            "the refusal has no Proxy-Status"
        );
        self.terminal.output(&response.body);
        self.terminal
            .done("refused by the policy, and the refusal says why");

        self.terminal.command("ztna why payroll.corp.test");
        let why = self.ztna.run(&["why", "payroll.corp.test"])?;
        ensure!(
            why.status.code() == Some(5),
            "ztna why ended with {}",
            why.status
        );
        self.terminal.output(&String::from_utf8_lossy(&why.stdout));
        self.terminal.command("ztna decisions --denied");
        let decisions = self.ztna.run(&["decisions", "--denied"])?;
        let decisions = String::from_utf8_lossy(&decisions.stdout).into_owned();
        ensure!(
            decisions.contains("payroll.corp.test"),
            "the refusal was not recorded"
        );
        self.terminal.output(&decisions);
        Ok(())
    }

    fn lose_and_regain_access(&self) -> anyhow::Result<()> {
        self.terminal.step(
            6,
            "A check fails while a download runs: the forbidden program ztna-demo-forbidden starts",
        );
        let reader = client::download(self.proxy, "wiki.corp.test", "/download?rate=20000000")?;
        let download = Download::start(reader);
        self.terminal.wait("the first bytes", STARTING, || {
            Ok((download.bytes() > 1_000_000).then_some(()))
        })?;

        let changed_at = Instant::now();
        let mut forbidden = start_forbidden(self.place)?;
        let end = self
            .terminal
            .wait("the cut", CUTTING, || Ok(download.ended()))?;
        ensure!(
            end.error.is_some(),
            "the download ended as if it were complete"
        );
        self.terminal.done(&format!(
            "the download was cut after {:.1} MB: {:.2} s from the program's start to the last byte (the check runs every second)",
            end.bytes_mb,
            end.last_byte.saturating_duration_since(changed_at).as_secs_f64()
        ));
        let response = client::ask_through(self.proxy, Form::Absolute, "wiki.corp.test", "/")?;
        ensure!(
            response.status == 403,
            "the wiki answered {} all the same",
            response.status
        );
        self.terminal.output(&response.body);

        forbidden.end();
        let ended_at = Instant::now();
        self.terminal.wait("access to return", CUTTING, || {
            let response = client::ask_through(self.proxy, Form::Absolute, "wiki.corp.test", "/")?;
            Ok((response.status == 200).then_some(()))
        })?;
        self.terminal.done(&format!(
            "the program ended; {:.2} s later the wiki answers 200 again, without a new login",
            ended_at.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    fn show_status(&self) -> anyhow::Result<()> {
        self.terminal.step(7, "Where everything stands");
        self.terminal.command("ztna status");
        self.show_ztna(&["status"])
    }

    fn show_ztna(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = self.ztna.run(arguments)?;
        ensure!(
            output.status.success(),
            "ztna {} ended with {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        self.terminal
            .output(&String::from_utf8_lossy(&output.stdout));
        Ok(())
    }

    /// Says what was shown to hold.
    pub(super) fn proved(&self, took: Duration) {
        self.terminal.title(&format!(
            "Held, in {:.1} s: enrolled, signed in, measured; permitted traffic went through WireGuard by three ways; \
             what policy forbids was refused with its reason; a failing check cut a live download, and access came back by itself.",
            took.as_secs_f64()
        ));
    }

    /// Leaves everything running until the person ends it.
    pub(super) fn keep(mut self) -> anyhow::Result<()> {
        let socket = self.place.socket();
        self.terminal
            .line("Everything keeps running. In another terminal:\n");
        let target = std::env::current_exe()?;
        let bin = target
            .parent()
            .context("this program is nowhere")?
            .display()
            .to_string();
        for command in [
            format!("export ZTNA_SOCKET={} PATH={bin}:$PATH", socket.display()),
            "ztna status --watch".to_owned(),
            "ztna resources".to_owned(),
            format!("curl -x http://{} http://wiki.corp.test/", self.proxy),
            format!("curl -x http://{} http://payroll.corp.test/", self.proxy),
            "ztna why payroll.corp.test".to_owned(),
            "ztna request payroll.corp.test --reason 'To try it' --for 1h".to_owned(),
            format!(
                "curl -X POST {}lab/requests/REQUEST/approve    # as `ztna requests` names it; more in docs/lab.md",
                self.levers
            ),
            "ztna decisions --follow".to_owned(),
            "ztna down; ztna up".to_owned(),
            "ztna logout; ztna login".to_owned(),
        ] {
            self.terminal.line(&format!("  {command}"));
        }
        self.terminal.line(&format!(
            "\nThe logs are in {}. Ctrl-C ends everything.",
            self.place.dir().display()
        ));
        loop {
            self.service.check()?;
            self.lab.check()?;
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A download in the background, and how it ended.
struct Download {
    bytes: std::sync::Arc<std::sync::atomic::AtomicU64>,
    end: std::cell::RefCell<Option<JoinHandle<End>>>,
}

struct End {
    last_byte: Instant,
    bytes_mb: f64,
    error: Option<std::io::Error>,
}

impl Download {
    fn start(mut reader: BufReader<std::net::TcpStream>) -> Self {
        let bytes = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = std::sync::Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            let mut last_byte = Instant::now();
            let error = loop {
                match reader.read(&mut buffer) {
                    Ok(0) => break None,
                    Ok(count) => {
                        last_byte = Instant::now();
                        counted.fetch_add(count as u64, std::sync::atomic::Ordering::Relaxed);
                    }
                    Err(error) => break Some(error),
                }
            };
            let bytes = counted.load(std::sync::atomic::Ordering::Relaxed);
            End {
                last_byte,
                bytes_mb: Duration::from_micros(bytes).as_secs_f64(),
                error,
            }
        });
        Self {
            bytes,
            end: std::cell::RefCell::new(Some(thread)),
        }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Returns how the download ended, once it has; only once.
    fn ended(&self) -> Option<End> {
        let finished = self
            .end
            .borrow()
            .as_ref()
            .is_some_and(JoinHandle::is_finished);
        let thread = finished.then(|| self.end.borrow_mut().take()).flatten()?;
        thread.join().ok()
    }
}

fn checks(posture: &Value) -> anyhow::Result<&Vec<Value>> {
    posture["checks"]
        .as_array()
        .with_context(|| format!("no checks in {posture}"))
}

fn find<'a>(document: &'a Value, pointer: &str) -> anyhow::Result<&'a Value> {
    document
        .pointer(pointer)
        .with_context(|| format!("nothing is at {pointer} in {document}"))
}

const STARTING: Duration = Duration::from_secs(20);
const CUTTING: Duration = Duration::from_secs(15);
const PERSON: Duration = Duration::from_secs(280);

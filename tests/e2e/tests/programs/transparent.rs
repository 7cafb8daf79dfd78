//! The transparent tunnel: unmodified programs on a laptop, a hostile network around it, somebody else's gateway.

mod cut;
mod everyday;
mod hostile;
mod leaks;
mod machine;
mod rights;
mod rough;
mod watching;

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use e2e::curl::{Curl, Fetched, Form};
use e2e::lab::Lab;
use e2e::peers::{APPLICATION, Gateway};
use e2e::process::{Running, run, succeed};
use e2e::scene::{Scene, installed_peers};
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};
use e2e::world::World;

const WIKI: &str = "http://wiki.corp.test/";
const FORBIDDEN: &str = "http://forbidden.corp.test/";
/// A second site, whose addresses are those of the first.
const BRANCH: &str = r#"
[[sites]]
id = "branch"
prefixes = ["10.88.0.0/16"]
resolver = "10.88.0.10"

[[resources]]
id = "branch"
title = "The wiki of the branch"
names = ["branch.corp.test"]
ports.tcp = ["80", "7"]
site = "branch"
lease_seconds = 300

[[rules]]
id = "staff-branch"
groups = ["staff"]
resources = ["branch"]
"#;
/// In the prefix of a resource that has no name.
const FILES: &str = "10.88.5.10";

/// A laptop with the connector, in its world.
///
/// The order is that of ending: the connector before what it stands on.
struct Office<'a> {
    connector: Connector<'a>,
    lab: Lab,
    _files: Option<Running>,
    world: World<'a>,
    scene: &'a Scene,
}

impl<'a> Office<'a> {
    /// Starts everything but the connector.
    fn open(scene: &'a Scene, gateways: u8) -> Self {
        Self::open_with(scene, gateways, &[], Gateway::option)
    }

    /// Starts everything but the connector; `option` says how the lab is told of a gateway.
    fn open_with(
        scene: &'a Scene,
        gateways: u8,
        more: &[&str],
        option: impl Fn(&Gateway) -> String,
    ) -> Self {
        let world = World::start(scene, gateways);
        let first = world.gateways.first();
        let files = first.map(|gateway| gateway.start_application(scene, FILES, "files.corp.test"));
        let gateways: Vec<String> = world.gateways.iter().map(option).collect();
        let mut company = include_str!("transparent.toml").to_owned();
        if gateways.iter().any(|option| option.contains("site=branch")) {
            company += BRANCH;
        }
        let company = scene.write("company.toml", company);
        let company = company.display().to_string();
        let mut options = vec!["--company", &company, "--site-resolver", APPLICATION];
        for gateway in &gateways {
            options.extend(["--external-gateway", gateway]);
        }
        options.extend(more);
        let lab = Lab::start_with(scene, "lab", &options);
        Self {
            connector: Connector::install(scene, &lab).transparent(),
            lab,
            _files: files,
            world,
            scene,
        }
    }

    /// Starts the connector, signs alice in, and waits until applications can be reached.
    fn start(&mut self) {
        self.connector.start_as("alice");
        self.wait_until_steered();
        until("the wiki", DEADLINE, || {
            (self.wiki().text() == "wiki\n").then_some(())
        });
    }

    /// Waits until the traffic of programs is taken.
    fn wait_until_steered(&self) {
        self.connector.wait_for("programs to be taken", |status| {
            status["interception"]["state"] == "up"
        });
    }

    /// The name of the tunnel's device, and its own IPv4 address.
    fn device(&self) -> (String, IpAddr) {
        let status = self.connector.read(&["status"]);
        let interception = &status["interception"];
        let addresses = interception["addresses"].as_array().into_iter().flatten();
        let mut addresses = addresses.filter_map(|address| address.as_str()?.parse().ok());
        let address = addresses.find(IpAddr::is_ipv4);
        let name = interception["device"].as_str();
        (
            name.unwrap_or_else(|| panic!("no device: {status}"))
                .to_owned(),
            address.unwrap_or_else(|| panic!("no address: {status}")),
        )
    }

    /// curl, that knows nothing of proxies and tunnels.
    fn curl(&self) -> Curl<'a> {
        Curl::direct(self.scene)
    }

    fn wiki(&self) -> Fetched {
        self.get(WIKI)
    }

    fn get(&self, url: &str) -> Fetched {
        self.curl()
            .fetch(Form::Absolute, url, &["--max-time", "10"])
    }

    fn files(&self) -> Fetched {
        self.get(&format!("http://{FILES}/"))
    }
}

/// What the system's own resolver says that `name` is, if anything.
fn address_of(name: &str) -> Option<IpAddr> {
    let output = run(Command::new("getent").args(["ahostsv4", name]));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next()?.parse().ok()
}

/// `nc`, with a line to send; returns its exit code and what came back.
fn nc(host: &str, port: &str, line: &str) -> (i32, String) {
    let script = r#"printf '%s\n' "$3" | timeout 10 "$0" nc -w 5 "$1" "$2" 2>&1"#;
    let busybox = installed_peers().join("bin/busybox");
    let output = run(Command::new("sh")
        .args(["-c", script])
        .arg(busybox)
        .args([host, port, line]));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

/// `wget`, that knows nothing of proxies either; returns its exit code and what it fetched.
fn wget(url: &str) -> (i32, String) {
    let output = run(Command::new("wget").args([
        "--no-config",
        "--quiet",
        "--tries=1",
        "--timeout=10",
        "-O",
        "-",
        url,
    ]));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

/// The program that the shell would run.
fn path_of(program: &str) -> String {
    let script = format!("readlink -f \"$(command -v {program})\"");
    succeed(Command::new("sh").args(["-c", &script]))
        .trim()
        .to_owned()
}

/// At once, for a busy machine: far less than any program's own patience.
const AT_ONCE: Duration = Duration::from_secs(2);

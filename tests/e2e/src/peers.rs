//! Other people's programs: Cerbos, oidc-provider, a server of Permguard's protocol, and wireguard-go in namespaces of its own.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::process::{Running, run, succeed};
use crate::scene::{Scene, installed_peers, note, peer_scripts};
use crate::wait::{DEADLINE, until};

/// Tells whether this process is inside a network of its own. If not, runs the test `name` there.
///
/// # Panics
///
/// If the test failed there, or no such network can be made.
#[must_use]
pub fn inside_own_network(name: &str) -> bool {
    inside(name, &[])
}

/// As [`inside_own_network`], for root: other users exist inside, whom programs can run as.
///
/// # Panics
///
/// If the test failed there.
#[must_use]
pub fn inside_own_network_with_users(name: &str) -> bool {
    inside(name, &[("ZTNA_E2E_USERS", "1")])
}

fn inside(name: &str, environment: &[(&str, &str)]) -> bool {
    if std::env::var_os("ZTNA_E2E_NET").is_some() {
        return true;
    }
    let own = std::env::current_exe().expect("this test's program");
    let status = Command::new(peer_scripts().join("net/enter.sh"))
        .arg(own)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .envs(environment.iter().copied())
        .status()
        .expect("enter.sh runs");
    assert!(status.success(), "the test failed in its network: {status}");
    false
}

/// The Cerbos policy decision point with the policy of `peers/cerbos`.
#[derive(Debug)]
pub struct Cerbos {
    _process: Running,
}

impl Cerbos {
    /// Starts it.
    #[must_use]
    pub fn start(scene: &Scene) -> Self {
        let peers = installed_peers();
        let mut command = Command::new(peers.join("bin/cerbos"));
        command
            .args(["server", "--config=config.yaml", "--debug-listen-addr="])
            .current_dir(peers.join("cerbos"));
        let mut process = Running::start(scene, "cerbos", &mut command);
        until("Cerbos serves", DEADLINE, || {
            assert!(!process.has_ended(), "Cerbos ended: {}", process.log());
            let health = run(Command::new("curl").args([
                "--disable",
                "--silent",
                "--max-time",
                "1",
                &format!("{CERBOS}/_cerbos/health"),
            ]));
            String::from_utf8_lossy(&health.stdout)
                .contains("SERVING")
                .then_some(())
        });
        Self { _process: process }
    }

    /// Returns its base URL.
    #[must_use]
    pub fn base(&self) -> &'static str {
        CERBOS
    }
}

/// As in `peers/cerbos/config.yaml`; nobody else is in the test's network.
const CERBOS: &str = "http://127.0.0.1:3592";

/// A decision point that speaks Permguard's protocol.
#[derive(Debug)]
pub struct Permguard {
    process: Running,
    base: String,
}

impl Permguard {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it does not say where it listens.
    #[must_use]
    pub fn start(scene: &Scene) -> Self {
        let mut command = Command::new("node");
        command
            .args(["pdp.mjs", "--end-with-stdin"])
            .current_dir(installed_peers().join("permguard"));
        let mut process = Running::start(scene, "permguard", &mut command);
        let line = process.first_line(DEADLINE);
        let ready: Value = serde_json::from_str(&line).expect("its first line");
        let base = ready["pdp"].as_str().expect("its URL").to_owned();
        Self { process, base }
    }

    /// Returns its base URL.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the requests that it has understood.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        let out = self.process.out();
        let lines = out.lines().skip(1);
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

/// The OpenID provider.
#[derive(Debug)]
pub struct Provider {
    _process: Running,
    issuer: String,
}

impl Provider {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it does not say where it listens.
    #[must_use]
    pub fn start(scene: &Scene) -> Self {
        let mut command = Command::new("node");
        command
            .args(["op.mjs", "--end-with-stdin"])
            .current_dir(installed_peers().join("oidc"));
        let mut process = Running::start(scene, "oidc-provider", &mut command);
        let line = process.first_line(DEADLINE);
        let ready: Value = serde_json::from_str(&line).expect("oidc-provider's first line");
        let issuer = ready["issuer"].as_str().expect("its issuer").to_owned();
        Self {
            _process: process,
            issuer,
        }
    }

    /// Returns the issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// wireguard-go in a namespace of its own, with an application and a name server behind it.
#[derive(Debug)]
pub struct Gateway {
    number: u8,
    space: Option<&'static str>,
    public_key: String,
    behind: Running,
}

impl Gateway {
    /// Starts gateway `number` beside this namespace.
    #[must_use]
    pub fn start(scene: &Scene, number: u8) -> Self {
        Self::start_beside(scene, number, None)
    }

    /// Starts gateway `number` beside the namespace `space`, which is its way out.
    #[must_use]
    pub fn start_in(scene: &Scene, number: u8, space: &'static str) -> Self {
        let gateway = Self::start_beside(scene, number, Some(space));
        let router = format!("198.18.{number}.1");
        gateway.succeed(&[
            "exec",
            &number.to_string(),
            "ip",
            "route",
            "add",
            "default",
            "via",
            &router,
        ]);
        gateway
    }

    fn start_beside(scene: &Scene, number: u8, space: Option<&'static str>) -> Self {
        let wg = installed_peers().join("bin/wg");
        let key = succeed(Command::new(&wg).arg("genkey"));
        let file = scene.write(&format!("gateway-{number}.key"), &key);
        let public_key = succeed(Command::new("sh").args([
            "-c",
            "\"$0\" pubkey < \"$1\"",
            &wg.display().to_string(),
            &file.display().to_string(),
        ]));
        let n = number.to_string();
        let gateway = |arguments: &[&str]| succeed(gateway(space).args(arguments));
        gateway(&["up", &n, &file.display().to_string()]);
        let clients = format!("wg{n}");
        gateway(&["exec", &n, "ip", "route", "add", CLIENTS, "dev", &clients]);
        let names: Vec<String> = NAMES
            .iter()
            .map(|name| format!("{name}={APPLICATION}"))
            .collect();
        let behind = start_behind(scene, number, space, APPLICATION, &names);
        Self {
            number,
            space,
            public_key: public_key.trim().to_owned(),
            behind,
        }
    }

    /// Starts another application behind it, at `address`.
    #[must_use]
    pub fn start_application(&self, scene: &Scene, address: &str, name: &str) -> Running {
        let names = [format!("{name}={address}")];
        start_behind(scene, self.number, self.space, address, &names)
    }

    /// Returns the command that runs `program` where the gateway is.
    #[must_use]
    pub fn runs(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        crate::world::in_space(&format!("gw{}", self.number), program)
    }

    /// Returns the name of its WireGuard interface.
    #[must_use]
    pub fn interface(&self) -> String {
        format!("wg{}", self.number)
    }

    /// Lets its only client be sent packets to any address and from any: a hostile gateway keeps to nothing.
    pub fn forget_allowed_addresses(&self) {
        let wg = installed_peers().join("bin/wg");
        let interface = self.interface();
        let peer = succeed(self.runs(&wg).args(["show", &interface, "peers"]));
        succeed(self.runs(&wg).args([
            "set",
            &interface,
            "peer",
            peer.trim(),
            "allowed-ips",
            "0.0.0.0/0,::/0",
        ]));
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        succeed(gateway(self.space).args(arguments))
    }

    /// Returns what `ztna-lab --external-gateway` has to be told.
    #[must_use]
    pub fn option(&self) -> String {
        let (n, key) = (self.number, &self.public_key);
        format!(
            "id=gw-{n},endpoint=198.18.{n}.2:51820,public-key={key},uapi=/run/wireguard/wg{n}.sock"
        )
    }

    /// Returns the requests and name queries that the application and name server have seen.
    #[must_use]
    pub fn seen(&self) -> String {
        self.behind.out()
    }

    /// Returns when the latest handshake was, in Unix seconds; 0 for never.
    #[must_use]
    pub fn latest_handshake(&self) -> u64 {
        let dump = self.succeed(&["show", &self.number.to_string()]);
        let peer = dump.lines().nth(1).unwrap_or_default();
        let field = peer.split('\t').nth(4).unwrap_or_default();
        field.parse().unwrap_or(0)
    }

    /// Kills wireguard-go.
    pub fn kill(&self) {
        let file = PathBuf::from(format!("/run/gateway/gw{}.pid", self.number));
        let pid = crate::process::read(&file);
        let _killed = succeed(Command::new("kill").args(["-s", "KILL", pid.trim()]));
        note(&format!("gateway {} is dead", self.number));
    }
}

fn start_behind(
    scene: &Scene,
    number: u8,
    space: Option<&str>,
    address: &str,
    names: &[String],
) -> Running {
    let n = number.to_string();
    succeed(gateway(space).args(["behind", &n, &format!("{address}/32")]));
    let mut command = gateway(space);
    command
        .args(["exec", &n, "node"])
        .arg(peer_scripts().join("net/behind.mjs"))
        .arg(address)
        .args(names);
    let mut behind = Running::start(scene, &format!("behind-{n}-{address}"), &mut command);
    let _listening = behind.first_line(DEADLINE);
    behind
}

fn gateway(space: Option<&str>) -> Command {
    let script = peer_scripts().join("net/gateway.sh");
    space.map_or_else(
        || Command::new(&script),
        |space| crate::world::in_space(space, &script),
    )
}

/// Signs a document anew: `claims` replace those of `jws`, `key` is a file with an Ed25519 seed.
#[must_use]
pub fn resign(key: &std::path::Path, jws: &str, claims: &Value) -> String {
    let signed = succeed(
        Command::new("node")
            .arg(peer_scripts().join("jws/resign.mjs"))
            .arg(key)
            .args([jws, &claims.to_string()]),
    );
    signed.trim().to_owned()
}

/// Where the application behind every gateway is.
pub const APPLICATION: &str = "10.88.0.10";

/// What its name server knows the application as.
const NAMES: [&str; 5] = [
    "wiki.corp.test",
    "tools.corp.test",
    "forbidden.corp.test",
    "api.dev.corp.test",
    "branch.corp.test",
];

/// Where the lab takes the connectors' inner addresses from.
const CLIENTS: &str = "100.64.0.0/16";

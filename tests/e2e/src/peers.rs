//! Other people's programs: Cerbos, oidc-provider, and wireguard-go in namespaces of its own.

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
    if std::env::var_os("ZTNA_E2E_NET").is_some() {
        return true;
    }
    let own = std::env::current_exe().expect("this test's program");
    let status = Command::new(peer_scripts().join("net/enter.sh"))
        .arg(own)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
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
    public_key: String,
    behind: Running,
}

impl Gateway {
    /// Starts gateway `number`.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[must_use]
    pub fn start(scene: &Scene, number: u8) -> Self {
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
        gateway(&["up", &n, &file.display().to_string()]);
        gateway(&["behind", &n, &format!("{APPLICATION}/32")]);
        let clients = format!("wg{n}");
        gateway(&["exec", &n, "ip", "route", "add", CLIENTS, "dev", &clients]);

        let mut command = Command::new(peer_scripts().join("net/gateway.sh"));
        command
            .args(["exec", &n, "node"])
            .arg(peer_scripts().join("net/behind.mjs"))
            .args([APPLICATION, &format!("wiki.corp.test={APPLICATION}")]);
        let mut behind = Running::start(scene, &format!("behind-{n}"), &mut command);
        let _listening = behind.first_line(DEADLINE);
        Self {
            number,
            public_key: public_key.trim().to_owned(),
            behind,
        }
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
        let dump = gateway(&["show", &self.number.to_string()]);
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

fn gateway(arguments: &[&str]) -> String {
    succeed(Command::new(peer_scripts().join("net/gateway.sh")).args(arguments))
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

/// Where the lab takes the connectors' inner addresses from.
const CLIENTS: &str = "100.64.0.0/16";

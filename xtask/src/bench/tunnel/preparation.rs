//! What has to be on the machine before anything is measured: programs, a world to run them in, our release build.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::variant::{End, Variant};
use crate::bench::namespaces::{self, in_a_world, search_path};
use crate::process::{cargo, note, output, run_aside, succeeds};
use crate::workspace::Workspace;

/// A machine that is ready.
#[derive(Debug)]
pub(super) struct Prepared {
    ours: PathBuf,
    peers: PathBuf,
    is_root: bool,
    has_ours: bool,
}

impl Prepared {
    /// The folder of our release programs.
    pub(super) fn ours(&self) -> &Path {
        &self.ours
    }

    /// The folder of the peers' programs.
    pub(super) fn peers(&self) -> &Path {
        &self.peers
    }

    /// The program that times a flow's look-up, if ours is measured at all.
    pub(super) fn flow_lookup(&self) -> Option<PathBuf> {
        self.has_ours
            .then(|| self.ours.join("examples/flow_lookup"))
    }

    /// A command to which a program is to be added: it runs in new network, mount and process namespaces, and with
    /// it ends everything that it started.
    pub(super) fn in_a_world(&self) -> Command {
        in_a_world(self.is_root)
    }
}

/// Installs and builds what the variants need, and says what it installs.
///
/// # Errors
/// Says what is missing and how to get it.
pub(super) fn prepare(workspace: &Workspace, variants: &[Variant]) -> anyhow::Result<Prepared> {
    let is_root = namespaces::is_root();
    File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("/dev/net/tun cannot be opened; as root: modprobe tun; chmod 0666 /dev/net/tun (what udev does on most systems)")?;
    install_packages(is_root)?;
    let refusal = in_a_world(is_root)
        .arg("true")
        .stdin(Stdio::null())
        .output()
        .context("cannot start unshare")?;
    ensure!(
        refusal.status.success(),
        "this kernel refuses new namespaces: {}. Run it as root, or see sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone",
        String::from_utf8_lossy(&refusal.stderr).trim()
    );
    let peers = install_peers(workspace)?;
    build(workspace, variants)?;
    Ok(Prepared {
        ours: workspace.target().join("release"),
        peers,
        is_root,
        has_ours: ours_at_either_end(variants),
    })
}

fn install_packages(is_root: bool) -> anyhow::Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let sudo: &[&str] = if is_root {
        &[]
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        &["sudo", "-n"]
    } else {
        bail!(
            "the packages {0} are missing and need root: run  apt-get install {0}",
            missing.join(" ")
        );
    };
    note(&format!(
        "bench: installing the Debian packages {}, which make and measure the traffic",
        missing.join(" ")
    ));
    let apt = |arguments: &[&str]| {
        let line = [
            sudo,
            &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"],
            arguments,
        ]
        .concat();
        run_aside(Command::new(line[0]).args(&line[1..]))
    };
    apt(&["update"])?;
    apt(&[
        &["install", "--yes", "--no-install-recommends"],
        missing.as_slice(),
    ]
    .concat())
}

fn install_peers(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let root = workspace.target().join("peers");
    let peers = root.join("bin");
    let wireguard_go = peers.join("wireguard-go");
    if !(wireguard_go.exists() && peers.join("wg").exists()) {
        note(
            "bench: installing the peers of the end-to-end tests, wireguard-go among them, below target/peers",
        );
        run_aside(Command::new(workspace.root().join("tests/e2e/peers/install.sh")).arg(&root))?;
    }
    let version = output(Command::new(&wireguard_go).arg("--version")).unwrap_or_default();
    ensure!(
        is_worth_comparing(&version),
        "{} is {:?}: versions before 2023 are half as fast, and a comparison with them flatters",
        wireguard_go.display(),
        version.lines().next().unwrap_or_default()
    );
    Ok(peers)
}

/// Whether wireguard-go has vectored system calls and offloads. Debian 13's 0.0.20231211 calls itself 0.0.20230223.
fn is_worth_comparing(version: &str) -> bool {
    version
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v0.0.")?.parse::<u32>().ok())
        .is_some_and(|date| date >= 20_230_223)
}

fn build(workspace: &Workspace, variants: &[Variant]) -> anyhow::Result<()> {
    let mut wanted: Vec<&[&str]> = Vec::new();
    if variants.iter().any(|variant| is_ours(variant.gateway())) {
        wanted.push(&["--package", "lab", "--bin", "ztna-lab"]);
    }
    if variants.iter().any(|variant| is_ours(variant.client())) {
        wanted.push(&["--package", "tunnel", "--example", "transparent_peer"]);
    }
    if ours_at_either_end(variants) {
        wanted.push(&["--package", "tunnel-proto", "--example", "flow_lookup"]);
    }
    for target in wanted {
        run_aside(
            cargo()
                .args(["build", "--release", "--locked", "--quiet"])
                .args(target)
                .current_dir(workspace.root()),
        )?;
    }
    Ok(())
}

fn ours_at_either_end(variants: &[Variant]) -> bool {
    variants
        .iter()
        .any(|variant| is_ours(variant.client()) || is_ours(variant.gateway()))
}

fn is_ours(end: End) -> bool {
    matches!(end, End::Ours { .. })
}

fn is_installed(program: &str) -> bool {
    std::env::split_paths(&search_path()).any(|folder| folder.join(program).is_file())
}

/// What the measurement calls, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("iperf3", "iperf3"),
    ("nsenter", "util-linux"),
    ("ping", "iputils-ping"),
    ("unshare", "util-linux"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wireguard_go_with_offloads_is_compared_with() {
        assert!(is_worth_comparing(
            "wireguard-go v0.0.20230223\n\nUserspace …"
        ));
        assert!(is_worth_comparing("wireguard-go v0.0.20250522\n"));
        assert!(!is_worth_comparing("wireguard-go v0.0.20220316\n"));
        assert!(!is_worth_comparing(""));
    }

    #[test]
    fn nothing_of_ours_is_built_for_the_peer_alone() {
        assert!(!ours_at_either_end(&[Variant::WireguardGo]));
        assert!(ours_at_either_end(&[Variant::WireguardGo, Variant::Mixed]));
    }
}

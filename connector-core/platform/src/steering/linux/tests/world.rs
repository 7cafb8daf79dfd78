//! A small world of a test's own, without root: namespaces for users, networks,
//! mounts and processes, with an `/etc` and a `/run` of its own.

use std::fs;
use std::future::Future;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::super::nft;
use crate::private::PrivateDir;
use crate::steering::{Dns, Plan};

/// Runs `body` in such a world: the test's process starts itself once more inside.
///
/// Where there is no such world to be had, or a program is missing, the test is
/// skipped, unless the environment says that it must not be.
pub(super) fn inside(test: &str, body: impl FnOnce()) {
    if std::env::var_os(WORLD).is_some() {
        return body();
    }
    if let Some(missing) = missing() {
        assert!(std::env::var_os(REQUIRED).is_none(), "{missing}");
        let _ = writeln!(std::io::stderr(), "skipped: {missing}");
        return;
    }
    let peer = PEER;
    let enter = format!(
        r#"
        set -eu
        mount -t tmpfs tmpfs /run
        mkdir -p /run/netns
        mount -t tmpfs tmpfs /etc
        ip link set lo up
        peer={peer}
        if ! [ -e /usr/sbin/nft ] && [ -e "$peer" ]; then
            mount -t tmpfs tmpfs /usr/local/sbin
            ln -s "$(realpath "$peer")" /usr/local/sbin/nft
        fi
        "$@"
        "#
    );
    let own = std::env::current_exe().unwrap();
    let name = format!("steering::linux::tests::{test}");
    let output = unshare(&["sh", "-c", &enter, "sh"])
        .arg(own)
        .args([&name, "--exact", "--nocapture", "--include-ignored"])
        .env(WORLD, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns what a world would lack on this machine.
fn missing() -> Option<&'static str> {
    let is_possible = unshare(&["sh", "-c", ": <>/dev/net/tun"])
        .output()
        .is_ok_and(|output| output.status.success());
    let has_program = |name: &str| Command::new(name).arg("-V").output().is_ok();
    if !is_possible {
        Some("no user namespaces, or no /dev/net/tun")
    } else if nft::program().is_err() && !Path::new(PEER).exists() {
        Some("no nft: install nftables")
    } else if !has_program("ip") {
        Some("no ip: install iproute2")
    } else if !has_program("strace") {
        Some("no strace: install strace")
    } else {
        None
    }
}

fn unshare(command: &[&str]) -> Command {
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--user", "--map-root-user", "--net", "--mount", "--pid"])
        .args(["--fork", "--kill-child", "--mount-proc"])
        .args(command);
    unshare
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

/// Runs one command line; it must succeed.
pub(super) fn run(line: &str) -> String {
    let output = try_run(line);
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn try_run(line: &str) -> Output {
    let line = line.replace("nft ", &format!("{} ", nft::program().unwrap()));
    Command::new("sh").args(["-c", &line]).output().unwrap()
}

/// Makes the tunnel's device.
pub(super) fn make_device() {
    run("ip tuntap add dev ztna0 mode tun
         ip address add 198.18.0.1/32 dev ztna0
         ip address add fd7a::1/128 dev ztna0 nodad
         ip link set ztna0 up");
}

/// Makes another machine, `peer`, and a cable to it: 10.9.0.1 and 10.9.0.2.
pub(super) fn make_peer() {
    run("ip netns add peer
         ip link add eth0 type veth peer name eth0 netns peer
         ip address add 10.9.0.1/24 dev eth0
         ip address add fd09::1/64 dev eth0 nodad
         ip link set eth0 up
         ip -n peer address add 10.9.0.2/24 dev eth0
         ip -n peer address add fd09::2/64 dev eth0 nodad
         ip -n peer link set lo up
         ip -n peer link set eth0 up
         ip route add default via 10.9.0.2
         ip -6 route add default via fd09::2");
    wait_until("the link-local addresses", || {
        let addresses = run("ip -6 address show dev eth0; ip -n peer -6 address show dev eth0");
        addresses.matches("scope link").count() == 2 && !addresses.contains("tentative")
    });
}

pub(super) fn peer_udp(address: &str) -> UdpSocket {
    let address: SocketAddr = address.parse().unwrap();
    let socket = in_peer(move || UdpSocket::bind(address).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub(super) fn peer_tcp(address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().unwrap();
    in_peer(move || TcpListener::bind(address).unwrap())
}

/// Does something in the peer's network; its sockets stay there.
fn in_peer<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let inside = std::thread::spawn(|| {
        let namespace = fs::File::open("/run/netns/peer").unwrap();
        move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&namespace),
            Some(LinkNameSpaceType::Network),
        )
        .unwrap();
        work()
    });
    inside.join().unwrap()
}

pub(super) fn plan() -> Plan {
    Plan {
        device: "ztna0".to_owned(),
        device_addresses: vec!["198.18.0.1".parse().unwrap(), "fd7a::1".parse().unwrap()],
        prefixes: ["198.18.0.0/16", "10.20.0.0/24", "fd7a::/64"]
            .map(|text| text.parse().unwrap())
            .to_vec(),
        dns: Dns {
            servers: vec!["198.18.0.1".parse().unwrap()],
            suffixes: ["corp.example", "git.bigcompany.com"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
        },
    }
}

pub(super) fn state() -> PrivateDir {
    PrivateDir::open(Path::new("/run/state")).unwrap()
}

/// Returns all that steering changes, as people see it.
pub(super) fn snapshot() -> String {
    [
        run("ip -d route show table all; ip -6 -d route show table all"),
        run("ip -d rule; ip -6 -d rule"),
        run("nft list ruleset"),
        resolv_conf(),
        run("ls -A /etc /run/resolver 2>/dev/null || true"),
    ]
    .join("---\n")
}

/// Fails if two snapshots differ, with the lines that do.
pub(super) fn assert_same(now: &str, before: &str, after_what: &str) {
    let missing = |from: &str, other: &str| -> String {
        let lines = from
            .lines()
            .filter(|line| !other.lines().any(|l| l == *line));
        lines.fold(String::new(), |all, line| all + "\n    " + line)
    };
    assert!(
        now == before,
        "{after_what}:\n  came:{}\n  went:{}",
        missing(now, before),
        missing(before, now)
    );
}

fn resolv_conf() -> String {
    let path = Path::new("/etc/resolv.conf");
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return "nothing\n".to_owned();
    };
    let text = fs::read_to_string(path).unwrap_or_default();
    if metadata.is_symlink() {
        return format!("{:?}\n{text}", fs::read_link(path).unwrap());
    }
    let mode = metadata.permissions().mode();
    format!("{mode:o} {}:{}\n{text}", metadata.uid(), metadata.gid())
}

/// Waits for a condition.
pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain for {what}");
        std::thread::yield_now();
    }
}

/// Set where the tests must not be skipped.
const REQUIRED: &str = "ZTNA_TEST_WORLDS";

/// Where the end-to-end tests keep an `nft` of their own.
const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/peers/bin/nft");

/// Set in a world.
pub(super) const WORLD: &str = "ZTNA_TEST_WORLD";

/// Far longer than anything takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

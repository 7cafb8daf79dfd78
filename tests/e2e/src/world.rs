//! A laptop's whole surroundings, in network namespaces of this test's own.
//!
//! ```text
//!  here: the laptop            link                       outside: the internet            gwN: a site
//!  up0 192.0.2.2/24 ═ veth ═ near ─ e2e-wire link ─ far ═ veth ═ lan0 192.0.2.1/24
//!      2001:db8:1::2/64                                          2001:db8:1::1/64
//!  up1 198.51.100.2/24 ═══════════════ veth ═════════════════ lan1 198.51.100.1/24
//!                                                           lo   203.0.113.80 web, name server, echo
//!                                                           toN 198.18.N.1 ═ veth ═ 198.18.N.2 wireguard-go
//! ```
//!
//! `up0` is the way out; `up1` is another network that the laptop may move to. What is captured on `near` has left
//! the laptop. The emulated link forwards frames and nothing else: it answers to nobody.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::capture::Capture;
use crate::peers::Gateway;
use crate::process::{Running, run, succeed};
use crate::scene::{Scene, installed_peers, kit, note, peer_scripts};
use crate::wait::{DEADLINE, until};

/// The laptop's surroundings, running.
#[derive(Debug)]
pub struct World<'a> {
    scene: &'a Scene,
    /// The sites' gateways.
    pub gateways: Vec<Gateway>,
    link: Running,
    public: Running,
}

impl<'a> World<'a> {
    /// Makes the world with so many gateways of one site.
    #[must_use]
    pub fn start(scene: &'a Scene, gateways: u8) -> Self {
        assert_own_network();
        make_networks();
        write_resolver(Resolver::File);
        let seed = seed();
        note(&format!(
            "the link's seed is {seed}; ZTNA_E2E_SEED={seed} repeats it"
        ));
        let arguments = ["link", "near", "far", &seed.to_string()].map(str::to_owned);
        let link = start_in(scene, "link", LINK, kit(), &arguments);
        let behind = peer_scripts().join("net/behind.mjs");
        let mut arguments = vec![behind.display().to_string(), PUBLIC.to_owned()];
        arguments.extend(PUBLIC_NAMES.map(|(name, address)| format!("{name}={address}")));
        let public = start_in(scene, "public", OUTSIDE, Path::new("node"), &arguments);
        let gateways = (1..=gateways)
            .map(|number| Gateway::start_in(scene, number, OUTSIDE))
            .collect();
        Self {
            scene,
            gateways,
            link,
            public,
        }
    }

    /// Changes the link, as in `loss 30%`, and waits until it has changed.
    ///
    /// # Panics
    ///
    /// If it is no change.
    pub fn change_link(&mut self, change: &str) {
        let answer = self.link.ask(change);
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        assert_eq!(answer["applied"], change, "{answer}");
    }

    /// Returns what became of the frames that came from the laptop (`near`) and from outside (`far`).
    ///
    /// # Panics
    ///
    /// If the link has ended.
    pub fn link_counts(&mut self) -> Value {
        serde_json::from_str(&self.link.ask("counts")).expect("the link's counts")
    }

    /// Pulls the cable of `up0`, or plugs it in: the laptop sees its carrier go and come.
    pub fn plug(&self, is_plugged_in: bool) {
        let state = if is_plugged_in { "up" } else { "down" };
        ip(&format!("-n link link set near {state}"));
    }

    /// Captures what leaves the laptop by `up0`.
    #[must_use]
    pub fn capture_leaving(&self, needles: &[&str]) -> Capture {
        Capture::start(self.scene, Some(LINK), "near", needles)
    }

    /// Captures what leaves the laptop by `up1`.
    #[must_use]
    pub fn capture_second_network(&self, needles: &[&str]) -> Capture {
        Capture::start(self.scene, Some(OUTSIDE), "lan1", needles)
    }

    /// Returns what the public web site, name server and echo were asked.
    #[must_use]
    pub fn public_seen(&self) -> String {
        self.public.out()
    }

    /// Moves the laptop from `up0` to `up1`: another network, other addresses, another way out.
    pub fn move_to_second_network(&self) {
        ip("link set up1 up");
        ip("address add 198.51.100.2/24 dev up1");
        ip("link set up0 down");
        ip("route replace default via 198.51.100.1");
    }

    /// Starts a DHCP server outside that hands out these routes (option 121), as in `10.0.0.0/8 192.0.2.1`.
    #[must_use]
    pub fn start_dhcp(&self, routes: &[&str]) -> Running {
        let configuration = format!(
            "start 192.0.2.100\nend 192.0.2.120\ninterface lan0\nlease_file /run/udhcpd.leases\nopt subnet \
             255.255.255.0\nopt router {ROUTER}\nopt dns {PUBLIC}\nopt lease 600\nopt staticroutes {}\n",
            routes.join(",")
        );
        let file = self.scene.write("udhcpd.conf", configuration);
        self.scene.write("udhcpd.leases", "");
        succeed(
            Command::new("cp")
                .arg(self.scene.path("udhcpd.leases"))
                .arg("/run/udhcpd.leases"),
        );
        let mut command = in_space(OUTSIDE, installed_peers().join("bin/busybox"));
        Running::start(
            self.scene,
            "udhcpd",
            command.args(["udhcpd", "-f"]).arg(file),
        )
    }

    /// Takes a lease on `up0`, as the laptop's DHCP client does, with the routes that come with it.
    pub fn take_lease(&self) {
        let script = peer_scripts().join("net/lease.sh");
        let mut command = Command::new(installed_peers().join("bin/busybox"));
        command.args([
            "udhcpc",
            "-f",
            "-q",
            "-n",
            "-t",
            "10",
            "-T",
            "1",
            "-i",
            "up0",
            "-O",
            "staticroutes",
            "-s",
        ]);
        succeed(command.arg(script));
    }

    /// Gives the laptop another address in the same network and takes the old one.
    pub fn change_address(&self, old: &str, new: &str) {
        ip(&format!("address delete {old}/24 dev up0"));
        ip(&format!("address add {new}/24 dev up0"));
        ip(&format!("route replace default via {ROUTER} dev up0"));
    }
}

/// How the laptop's `/etc/resolv.conf` is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolver {
    /// A file.
    File,
    /// A link to a file elsewhere, as systemd-resolved and resolvconf make it.
    Link,
    /// A file that is mounted, as in containers: it cannot be replaced, only written.
    Mount,
}

/// Writes the laptop's `/etc/resolv.conf`, which names the public name server.
///
/// # Panics
///
/// If this is not a network of the test's own.
pub fn write_resolver(kind: Resolver) {
    assert_own_network();
    let path = Path::new("/etc/resolv.conf");
    let elsewhere = Path::new("/run/resolver/resolv.conf");
    let text = format!(
        "# of the test\nsearch example.org\nnameserver {PUBLIC}\noptions timeout:1 attempts:2\n"
    );
    let remove = || match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        // Mounted by `enter.sh`, where the kernel has no overlay for users.
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {}
        Err(error) => panic!("{}: {error}", path.display()),
    };
    fs::create_dir_all("/run/resolver").expect("a folder");
    let written = match kind {
        Resolver::File => {
            remove();
            fs::write(path, text)
        }
        Resolver::Link => {
            remove();
            succeed(Command::new("ln").arg("-s").args([elsewhere, path]));
            fs::write(elsewhere, text)
        }
        Resolver::Mount => {
            remove();
            let written = fs::write(path, "").and_then(|()| fs::write(elsewhere, text));
            succeed(Command::new("mount").arg("--bind").args([elsewhere, path]));
            written
        }
    };
    written.expect("the laptop's resolv.conf");
}

/// Returns the command that runs `program` in a namespace.
#[must_use]
pub fn in_space(space: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/run/netns/{space}"))
        .arg("--")
        .arg(program);
    command
}

/// Runs `ip` with the arguments in `line`; it must succeed.
pub fn ip(line: &str) -> String {
    succeed(Command::new("ip").args(line.split_whitespace()))
}

fn assert_own_network() {
    assert!(
        std::env::var_os("ZTNA_E2E_NET").is_some(),
        "this would change the machine: call `inside_own_network` first"
    );
}

fn make_networks() {
    for space in [LINK, OUTSIDE] {
        ip(&format!("netns add {space}"));
        ip(&format!("-n {space} link set lo up"));
    }
    ip("link add up0 type veth peer name near netns link");
    ip("-n link link add far type veth peer name lan0 netns outside");
    ip("link add up1 type veth peer name lan1 netns outside");
    for (space, interface) in [
        (None, "up0"),
        (None, "up1"),
        (Some(LINK), "near"),
        (Some(LINK), "far"),
        (Some(OUTSIDE), "lan0"),
        (Some(OUTSIDE), "lan1"),
    ] {
        without_surprises(space, interface);
    }
    sysctl(Some(LINK), "net.ipv6.conf.all.disable_ipv6=1");
    sysctl(Some(OUTSIDE), "net.ipv4.ip_forward=1");
    sysctl(Some(OUTSIDE), "net.ipv6.conf.all.forwarding=1");
    // As most systems set it: everybody may ping.
    sysctl(None, "net.ipv4.ping_group_range=0 0");
    // Without `nodad`, an IPv6 address is of no use for a second.
    for line in [
        "address add 192.0.2.2/24 dev up0",
        "address add 2001:db8:1::2/64 dev up0 nodad",
        "-n outside address add 192.0.2.1/24 dev lan0",
        "-n outside address add 2001:db8:1::1/64 dev lan0 nodad",
        "-n outside address add 198.51.100.1/24 dev lan1",
        "-n outside address add 203.0.113.80/32 dev lo",
        "-n outside address add 2001:db8:3::80/128 dev lo nodad",
        "-n link link set near up",
        "-n link link set far up",
        "-n outside link set lan0 up",
        "-n outside link set lan1 up",
        "link set up0 up",
    ] {
        ip(line);
    }
    until("the way out", DEADLINE, || {
        ip("link show up0").contains("state UP").then_some(())
    });
    ip("route add default via 192.0.2.1");
    ip("-6 route add default via 2001:db8:1::1");
}

/// Whole, finished frames only: a packet socket cannot pass on what a driver is meant to finish. And no addresses but
/// those that the test gives.
fn without_surprises(space: Option<&str>, interface: &str) {
    let ethtool = installed_peers().join("bin/ethtool");
    let mut command =
        space.map_or_else(|| Command::new(&ethtool), |space| in_space(space, &ethtool));
    command.args([
        "-K", interface, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off",
    ]);
    succeed(&mut command);
    for quiet in ["accept_ra=0", "router_solicitations=0", "accept_dad=0"] {
        sysctl(space, &format!("net.ipv6.conf.{interface}.{quiet}"));
    }
}

fn sysctl(space: Option<&str>, setting: &str) {
    let (name, value) = setting.split_once('=').unwrap_or_default();
    let script = format!("echo '{value}' >/proc/sys/{}", name.replace('.', "/"));
    let mut command = space.map_or_else(|| Command::new("sh"), |space| in_space(space, "sh"));
    succeed(command.args(["-c", &script]));
}

fn start_in(
    scene: &Scene,
    name: &str,
    space: &str,
    program: impl AsRef<Path>,
    arguments: &[String],
) -> Running {
    let mut command = in_space(space, program.as_ref());
    let mut running = Running::start(scene, name, command.args(arguments));
    let _ready = running.first_line(DEADLINE);
    running
}

/// Drawn anew each time, unless told.
fn seed() -> u64 {
    let told = std::env::var("ZTNA_E2E_SEED").ok();
    told.and_then(|told| told.parse().ok()).unwrap_or_else(|| {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::from(since.subsec_nanos())
    })
}

/// Runs `program` in the laptop's namespace to its end, without a proxy: returns its exit code and what it printed.
#[must_use]
pub fn laptop_runs(program: &str, arguments: &[&str]) -> (i32, String) {
    let output = run(Command::new(program).args(arguments));
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// The namespace of the emulated link.
pub const LINK: &str = "link";
/// The namespace of the internet.
pub const OUTSIDE: &str = "outside";
/// The laptop's first address.
pub const LAPTOP: &str = "192.0.2.2";
/// The router in front of `up0`.
pub const ROUTER: &str = "192.0.2.1";
/// A public web site, name server and echo.
pub const PUBLIC: &str = "203.0.113.80";
/// What the public name server knows. The last is a lie: the address is one of an application.
const PUBLIC_NAMES: [(&str, &str); 3] = [
    ("www.example.org", PUBLIC),
    ("gateway.example.org", "198.18.1.2"),
    ("liar.example.org", "10.88.5.10"),
];

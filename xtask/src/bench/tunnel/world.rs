//! Two network namespaces with a cable between them, and a tunnel whose ends stand in them.
//!
//! ```text
//! near: 10.77.0.1/24 cable ═ veth ═ cable 10.77.0.2/24 :far
//!       10.78.0.1/24 near0 ═ tunnel ═ far0 10.78.0.2/24
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::OnceArgs;
use super::variant::End;

/// The namespaces and the programs in them.
#[derive(Debug)]
pub(super) struct World {
    peers: PathBuf,
    ours: PathBuf,
}

/// One of the two namespaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Far,
    Near,
}

/// A program that runs in a namespace; dropping it ends it.
#[derive(Debug)]
pub(super) struct Running {
    name: &'static str,
    log: PathBuf,
    child: Child,
}

/// Both keys of one end.
struct Keys {
    private: PathBuf,
    public: String,
}

impl World {
    /// Makes the namespaces and the cable. Must be called as the only one in namespaces of its own.
    ///
    /// # Errors
    /// Says which command failed.
    pub(super) fn make(args: &OnceArgs) -> anyhow::Result<Self> {
        fs::create_dir_all(FOLDER).context("cannot make a folder below /run")?;
        for side in ["near", "far"] {
            ip(&format!("netns add {side}"))?;
            ip(&format!("-n {side} link set lo up"))?;
        }
        ip("link add cable netns near type veth peer name cable netns far")?;
        for (side, address) in [("near", OUTSIDE_NEAR), ("far", OUTSIDE_FAR)] {
            ip(&format!("-n {side} address add {address}/24 dev cable"))?;
            ip(&format!("-n {side} link set cable up"))?;
        }
        Ok(Self {
            peers: args.peers.clone(),
            ours: args.ours.clone(),
        })
    }

    /// Starts both ends of the tunnel and waits until a packet went through; returns the gateway and the client.
    ///
    /// # Errors
    /// Says which end did not come up, with what it wrote.
    pub(super) fn connect(&self, client: End, gateway: End) -> anyhow::Result<(Running, Running)> {
        let (near, far) = (self.keys("near")?, self.keys("far")?);
        let mut gateway = match gateway {
            End::Ours { .. } => self.our_gateway(&far, &near)?,
            End::WireguardGo => self.wireguard_go(
                Side::Far,
                &far,
                &format!(
                    "listen-port {PORT} peer {} allowed-ips {INSIDE_NEAR}/32",
                    near.public
                ),
            )?,
        };
        await_link(Side::Far, &mut gateway)?;
        let mut client = match client {
            End::Ours { enforcer } => self.our_client(&near, &far, enforcer)?,
            End::WireguardGo => self.wireguard_go(
                Side::Near,
                &near,
                &format!(
                    "peer {} endpoint {OUTSIDE_FAR}:{PORT} allowed-ips {INSIDE_FAR}/32",
                    far.public
                ),
            )?,
        };
        await_link(Side::Near, &mut client)?;
        await_answer(&mut client, &gateway)?;
        Ok((gateway, client))
    }

    /// Gives the near side another address outside, as a laptop that changes its network.
    ///
    /// # Errors
    /// Says which command failed.
    pub(super) fn roam(&self) -> anyhow::Result<()> {
        // In one process: starting a second one would be part of the gap.
        let orders = Path::new(FOLDER).join("roam");
        let text = format!(
            "address del {OUTSIDE_NEAR}/24 dev cable\naddress add {OUTSIDE_MOVED}/24 dev cable\n"
        );
        fs::write(&orders, text).context("cannot write below /run")?;
        ip(&format!("-n near -batch {}", orders.display()))
    }

    fn our_gateway(&self, own: &Keys, peer: &Keys) -> anyhow::Result<Running> {
        let mut command = Side::Far.command(self.ours.join("ztna-lab"));
        command
            .arg("gateway")
            .args(["--device", Side::Far.device()])
            .args(["--address", &format!("{INSIDE_FAR}/24")])
            .args(["--listen", &format!("{OUTSIDE_FAR}:{PORT}")])
            .arg("--private-key-file")
            .arg(&own.private)
            .args(["--peer", &format!("{}={INSIDE_NEAR}/32", peer.public)]);
        Running::start("ztna-lab-gateway", &mut command)
    }

    fn our_client(&self, own: &Keys, peer: &Keys, enforcer: bool) -> anyhow::Result<Running> {
        let mut command = Side::Near.command(self.ours.join("examples/transparent_peer"));
        command
            .args(["--device", Side::Near.device()])
            .args(["--address", &format!("{INSIDE_NEAR}/24")])
            .arg("--private-key-file")
            .arg(&own.private)
            .args([
                "--gateway",
                &format!("{}@{OUTSIDE_FAR}:{PORT}", peer.public),
            ])
            .args(["--route", &format!("{INSIDE_FAR}/32")]);
        if !enforcer {
            command.arg("--no-enforcer");
        }
        Running::start("transparent-peer", &mut command)
    }

    fn wireguard_go(&self, side: Side, own: &Keys, settings: &str) -> anyhow::Result<Running> {
        let device = side.device();
        let mut command = side.command(self.peers.join("wireguard-go"));
        command
            .args(["--foreground", device])
            .env("LOG_LEVEL", "error");
        let name = match side {
            Side::Far => "wireguard-go-far",
            Side::Near => "wireguard-go-near",
        };
        let mut running = Running::start(name, &mut command)?;
        let socket = PathBuf::from(format!("/run/wireguard/{device}.sock"));
        running.wait("its control socket", || Ok(socket.exists()))?;
        let mut set = side.command(self.peers.join("wg"));
        set.args(["set", device, "private-key"])
            .arg(&own.private)
            .args(settings.split(' '));
        succeed(&mut set)?;
        let (space, address) = (side.name(), side.inside());
        ip(&format!("-n {space} address add {address}/24 dev {device}"))?;
        ip(&format!("-n {space} link set {device} mtu {MTU} up"))?;
        Ok(running)
    }

    fn keys(&self, name: &str) -> anyhow::Result<Keys> {
        let wg = self.peers.join("wg");
        let private = Path::new(FOLDER).join(format!("{name}.key"));
        let file = File::create(&private)
            .with_context(|| format!("cannot create {}", private.display()))?;
        let made = Command::new(&wg)
            .arg("genkey")
            .stdout(file)
            .status()
            .with_context(|| format!("cannot start {}", wg.display()))?;
        ensure!(made.success(), "`wg genkey` ended with {made}");
        let output = Command::new(&wg)
            .arg("pubkey")
            .stdin(File::open(&private)?)
            .output()?;
        ensure!(
            output.status.success(),
            "`wg pubkey` ended with {}",
            output.status
        );
        Ok(Keys {
            private,
            public: String::from_utf8(output.stdout)?.trim().to_owned(),
        })
    }
}

impl Side {
    /// A command in this namespace.
    pub(super) fn command(self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name()))
            .arg("--")
            .arg(program.as_ref())
            .stdin(Stdio::null());
        command
    }

    fn name(self) -> &'static str {
        match self {
            Self::Far => "far",
            Self::Near => "near",
        }
    }

    /// Different on both sides: wireguard-go's control socket is named after it.
    fn device(self) -> &'static str {
        match self {
            Self::Far => "far0",
            Self::Near => "near0",
        }
    }

    fn inside(self) -> &'static str {
        match self {
            Self::Far => INSIDE_FAR,
            Self::Near => INSIDE_NEAR,
        }
    }
}

impl Running {
    /// Starts a program whose output goes to a file.
    ///
    /// # Errors
    /// Says what could not be started.
    pub(super) fn start(name: &'static str, command: &mut Command) -> anyhow::Result<Self> {
        let log = Path::new(FOLDER).join(format!("{name}.log"));
        let file =
            File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let child = command
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, log, child })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a condition, as long as the program runs and [`LIMIT`] has not passed.
    ///
    /// # Errors
    /// Says what was waited for, with what the program wrote.
    pub(super) fn wait(
        &mut self,
        what: &str,
        mut done: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIMIT;
        while !done()? {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.last_words());
            }
            if Instant::now() > deadline {
                bail!(
                    "{}: no {what} within {} s:\n{}",
                    self.name,
                    LIMIT.as_secs(),
                    self.last_words()
                );
            }
            sleep(POLL);
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the device is there and up.
fn await_link(side: Side, program: &mut Running) -> anyhow::Result<()> {
    let line = format!(
        "-n {} -oneline address show up dev {}",
        side.name(),
        side.device()
    );
    let address = format!("inet {}/24", side.inside());
    program.wait(
        &format!("device {} with its address", side.device()),
        || {
            let shown = ip_command(&line).output().context("cannot start ip")?;
            Ok(String::from_utf8_lossy(&shown.stdout).contains(&address))
        },
    )
}

fn await_answer(client: &mut Running, gateway: &Running) -> anyhow::Result<()> {
    let answered = client.wait("answer through the tunnel", || {
        let mut ping = Side::Near.command("ping");
        ping.args(["-q", "-n", "-c", "1", "-W", "1", INSIDE_FAR]);
        Ok(ping.output().context("cannot start ping")?.status.success())
    });
    answered.with_context(|| {
        format!(
            "the gateway, {}, wrote:\n{}",
            gateway.name,
            gateway.last_words()
        )
    })
}

fn ip(line: &str) -> anyhow::Result<()> {
    succeed(&mut ip_command(line))
}

fn ip_command(line: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(line.split(' '));
    command
}

/// Runs a command to its end; what it wrote is told only if it failed.
fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

const OUTSIDE_NEAR: &str = "10.77.0.1";
const OUTSIDE_MOVED: &str = "10.77.0.3";
const OUTSIDE_FAR: &str = "10.77.0.2";
const INSIDE_NEAR: &str = "10.78.0.1";

/// The far end's address inside the tunnel.
pub(super) const INSIDE_FAR: &str = "10.78.0.2";

const PORT: u16 = 51820;

/// WireGuard's usual one, and the default of our own programs.
const MTU: u32 = 1420;

/// Below the world's own `/run`, which is gone with it.
const FOLDER: &str = "/run/bench";

/// Whatever is waited for takes milliseconds, on a slow machine a second.
const LIMIT: Duration = Duration::from_secs(15);

const POLL: Duration = Duration::from_millis(10);

const LAST_LINES: usize = 20;

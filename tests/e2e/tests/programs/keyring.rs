//! A person's key store: a real GNOME Keyring on a session bus of its own.

use std::path::Path;
use std::time::Duration;

use e2e::lab::Lab;
use e2e::process::{NOBODY, Running, as_user, is_root, read, succeed};
use e2e::scene::Scene;
use e2e::service::{Connector, has_active_gateway};
use e2e::wait::{DEADLINE, until};

#[test]
fn a_sign_in_is_sealed_by_the_persons_key_store_and_waits_while_that_is_away() {
    let scene = Scene::new("keyring");
    let user = is_root().then_some(NOBODY);
    let lab = Lab::start(&scene);
    let mut connector = Connector::install_for(&scene, &lab, "ztnad", user);
    let desktop = Desktop::start(&scene, &connector, user);
    let mut keyring = desktop.unlock(&scene, "keyring");
    connector.set("DBUS_SESSION_BUS_ADDRESS", desktop.bus.clone());
    connector.set("ZTNA_KEY_STORE", "system".to_owned());

    connector.start_as("alice");
    let stored = std::fs::read(connector.path("state/sign-in.json")).unwrap();
    assert!(
        stored.starts_with(b"ztna sealed 1\n"),
        "{:?}",
        String::from_utf8_lossy(&stored)
    );
    let (_, doctor) = connector.ask(&["doctor"]);
    assert!(doctor.to_string().contains("Secret Service"), "{doctor}");

    restart(&mut connector);
    connector.wait_for("the same person", |status| {
        status["identity"]["subject"] == "alice"
    });
    connector.wait_for("a gateway", has_active_gateway);

    keyring.kill();
    restart(&mut connector);
    connector.wait_until_measured();
    assert_eq!(connector.ztna(&["whoami"]).status.code(), Some(3));
    assert!(
        connector.path("state/sign-in.json").exists(),
        "what cannot be opened now was thrown away"
    );

    let _keyring = desktop.unlock(&scene, "keyring-again");
    until(
        "the same person, once the key store is open",
        DEADLINE.max(Duration::from_secs(40)),
        || {
            let whoami = connector.ztna(&["whoami"]);
            whoami.status.success().then_some(())
        },
    );
}

fn restart(connector: &mut Connector<'_>) {
    connector.process().signal("TERM");
    let (status, _) = connector.process().wait(DEADLINE);
    assert!(status.success(), "{status}");
    connector.start();
}

/// The configuration of a bus for one user (`dbus-daemon(1)`).
const BUS: &str = "<busconfig><type>session</type><listen>ADDRESS</listen><policy context=\"default\">\
<allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>";

/// A session bus, and a home.
struct Desktop {
    bus: String,
    home: std::path::PathBuf,
    user: Option<u32>,
    _daemon: Running,
}

impl Desktop {
    fn start(scene: &Scene, connector: &Connector<'_>, user: Option<u32>) -> Self {
        let home = connector.path("home");
        let mut mkdir = as_user(user, Path::new("mkdir"));
        succeed(mkdir.args(["-p", "-m", "0700"]).arg(&home));
        let socket = home.join("bus");
        let bus = format!("unix:path={}", socket.display());
        // A bus that starts nothing by itself, so that no key store comes back locked.
        let config = scene.write("bus.conf", BUS.replace("ADDRESS", &bus));
        let mut command = as_user(user, Path::new("dbus-daemon"));
        command
            .args(["--nofork", "--nopidfile"])
            .arg(format!("--config-file={}", config.display()))
            .env("HOME", &home)
            .env("XDG_RUNTIME_DIR", &home);
        let daemon = Running::start(scene, "dbus", &mut command);
        until("the session bus", DEADLINE, || {
            socket.exists().then_some(())
        });
        Self {
            bus,
            home,
            user,
            _daemon: daemon,
        }
    }

    /// Starts the key store with its password, in place of one that is locked.
    fn unlock(&self, scene: &Scene, name: &str) -> Running {
        let script = "exec gnome-keyring-daemon --replace --unlock --foreground --components=secrets <\"$0\"";
        let password = scene.write("password", "secret");
        let mut command = as_user(self.user, Path::new("sh"));
        command
            .args(["-c", script])
            .arg(password)
            .env("DBUS_SESSION_BUS_ADDRESS", &self.bus)
            .env("HOME", &self.home)
            .env("XDG_RUNTIME_DIR", &self.home)
            .env("XDG_DATA_HOME", self.home.join("data"));
        let running = Running::start(scene, name, &mut command);
        let log = scene.path(&format!("{name}.log"));
        until("the key store", DEADLINE, || {
            let mut ask = as_user(self.user, Path::new("dbus-send"));
            ask.args([
                "--session",
                "--print-reply",
                "--dest=org.freedesktop.secrets",
            ])
            .args(["/org/freedesktop/secrets/aliases/default"])
            .args(["org.freedesktop.DBus.Properties.Get"])
            .args(["string:org.freedesktop.Secret.Collection", "string:Locked"])
            .env("DBUS_SESSION_BUS_ADDRESS", &self.bus)
            .env("HOME", &self.home);
            let answer = e2e::process::run(&mut ask);
            let text = String::from_utf8_lossy(&answer.stdout).into_owned();
            assert!(!read(&log).contains("couldn't"), "{}", read(&log));
            text.contains("boolean false").then_some(())
        });
        running
    }
}

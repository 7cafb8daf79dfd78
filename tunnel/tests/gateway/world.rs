//! A network namespace for one test.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use connector_core::time::Moment;

/// Runs `test` in a new network namespace: this process runs itself anew there,
/// for the test called `name` only.
pub(crate) fn in_a_world(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status()
            .expect("the tests need iproute2");
        assert!(up.success(), "loopback cannot be brought up");
        test();
        return;
    }
    if std::env::consts::OS != "linux" {
        // Nothing to run: these worlds are Linux's.
        return;
    }
    assert!(
        std::path::Path::new("/dev/net/tun").exists(),
        "the tests need /dev/net/tun: as root, modprobe tun"
    );
    let own = std::env::current_exe().expect("a process has a file");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(own)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("the tests need util-linux");
    assert!(
        output.status.success(),
        "in the namespace:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("1 passed"),
        "no test is called {name}: {text}"
    );
}

/// The boot clock of the tests.
pub(crate) fn now() -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    Moment::from_boot(Duration::from_secs(1000) + START.get_or_init(Instant::now).elapsed())
}

/// Set within the namespace.
const INSIDE: &str = "ZTNA_TEST_IN_WORLD";

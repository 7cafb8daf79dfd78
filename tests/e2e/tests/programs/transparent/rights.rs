//! The service as its unit starts it: a user of its own, with a few capabilities.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;

use e2e::machine::Machine;
use e2e::peers::inside_own_network_with_users;
use e2e::process::{is_root, read, run, succeed};
use e2e::scene::{Scene, program};
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};
use e2e::world::{Resolver, write_resolver};

use super::{Office, WIKI, path_of};

#[test]
fn the_units_own_user_and_capabilities_are_enough_for_everything() {
    if !is_root()
        || !inside_own_network_with_users(
            "transparent::rights::the_units_own_user_and_capabilities_are_enough_for_everything",
        )
    {
        return;
    }
    let scene = Scene::new("rights");
    let mut office = Office::open(&scene, 1);
    office.connector = Connector::install_for(&scene, &office._lab, "ztnad", Some(USER))
        .transparent()
        .with_capabilities(&capabilities());
    open_the_device_to_everybody();
    start_deputies();
    for kind in [Resolver::File, Resolver::Mount] {
        write_resolver(kind);
        let before = Machine::now();
        if office.connector.has_started() {
            assert!(office.connector.ztna(&["up"]).status.success());
            office.wait_until_steered();
        } else {
            office.start();
            assert_has_no_other_rights(office.connector.process().id());
        }

        // Another user's program, root's, is told apart like the service's own.
        assert_eq!(office.wiki().text(), "wiki\n", "{kind:?}");
        let decision = office.connector.last_decision("wiki.corp.test:80");
        let decision = decision.unwrap_or_else(|| panic!("no decision about {WIKI}"));
        assert_eq!(decision["workload"]["path"], path_of("curl"), "{decision}");
        assert_eq!(office.get("http://www.example.org/").text(), "www\n");

        assert!(office.connector.ztna(&["down"]).status.success());
        until("the machine to be as it was", DEADLINE, || {
            before.difference(&Machine::now()).is_empty().then_some(())
        });
    }
}

#[test]
fn root_repairs_what_a_service_without_root_left_behind() {
    if !is_root()
        || !inside_own_network_with_users(
            "transparent::rights::root_repairs_what_a_service_without_root_left_behind",
        )
    {
        return;
    }
    let scene = Scene::new("rights-repair");
    let mut office = Office::open(&scene, 1);
    office.connector = Connector::install_for(&scene, &office._lab, "ztnad", Some(USER))
        .transparent()
        .with_capabilities(&capabilities());
    open_the_device_to_everybody();
    start_deputies();
    let before = Machine::now();
    office.start();
    office.connector.process().kill();
    assert!(Machine::now().part("firewall").contains("ztna"));

    let repaired = run(Command::new(program("ztna"))
        .args(["repair", "--state-dir"])
        .arg(office.connector.path("state")));

    assert!(repaired.status.success(), "{repaired:?}");
    before.assert_unchanged("after a repair");
    // Nothing in there has become root's.
    office.connector.start();
    office.wait_until_steered();
}

/// What the unit gives.
fn capabilities() -> Vec<&'static str> {
    let unit = include_str!("../../../../../installers/linux/ztnad.service");
    let given = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key));
        line.map(|names| names.split_whitespace().collect::<Vec<_>>())
    };
    let ambient = given("AmbientCapabilities=").expect("capabilities in the unit");
    assert_eq!(given("CapabilityBoundingSet="), Some(ambient.clone()));
    ambient
}

/// As udev makes it; here it may be root's alone.
fn open_the_device_to_everybody() {
    let script = "mknod -m 0666 /run/tun c 10 200 && mount --bind /run/tun /dev/net/tun";
    succeed(Command::new("sh").args(["-c", script]));
}

/// As `ztna-resolver.socket` starts them: one of root's for each request of the service.
fn start_deputies() {
    let listener = UnixListener::bind(DEPUTY).expect("the deputies' socket");
    fs::set_permissions(DEPUTY, fs::Permissions::from_mode(0o600)).expect("a private socket");
    chown(DEPUTY, Some(USER), Some(USER)).expect("the service's socket");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let input = OwnedFd::from(stream.try_clone().expect("the other direction"));
            let deputy = Command::new(program("ztnad"))
                .arg("--resolver-file")
                .stdin(Stdio::from(input))
                .stdout(Stdio::from(OwnedFd::from(stream)))
                .status();
            assert!(deputy.expect("a deputy").success());
        }
    });
}

#[track_caller]
fn assert_has_no_other_rights(process: u32) {
    let status = read(format!("/proc/{process}/status").as_ref());
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).unwrap_or_default().to_owned()
    };
    assert_eq!(field("Uid:"), format!("{USER}\t{USER}\t{USER}\t{USER}"));
    let bits = |name: &str| u64::from_str_radix(&field(name), 16).unwrap_or(u64::MAX);
    assert_eq!(bits("CapEff:").count_ones() as usize, capabilities().len());
    assert_eq!(bits("CapBnd:"), bits("CapEff:"));
}

/// Nobody's number on a usual machine.
const USER: u32 = 64_321;

/// Where the service looks for a deputy.
const DEPUTY: &str = "/run/ztna-resolver.sock";

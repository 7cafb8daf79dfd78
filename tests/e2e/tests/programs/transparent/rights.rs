//! The service as its unit starts it: a user of its own, with a few capabilities, and deputies.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use e2e::machine::Machine;
use e2e::peers::{Gateway, inside_own_network_with_users};
use e2e::process::{as_user_with, is_root, read, run, succeed};
use e2e::scene::{Scene, program};
use e2e::service::Connector;
use e2e::stub::Stub;
use e2e::wait::{DEADLINE, until};
use e2e::world::{Resolver, write_resolver};
use serde_json::Value;

use super::everyday::decide_by_program;
use super::{Office, WIKI, path_of, wget};

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
    office.install_as_the_unit_does();
    let _programs = Programs::start(&office.connector.path("ztnad"));
    for kind in [Resolver::File, Resolver::Mount] {
        write_resolver(kind);
        let before = Machine::now();
        if office.connector.has_started() {
            assert!(office.connector.ztna(&["up"]).status.success());
            office.wait_until_steered();
        } else {
            office.start();
            assert_has_no_other_rights(office.connector.process().id(), USER, SERVICE);
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
    office.install_as_the_unit_does();
    let _programs = Programs::start(&office.connector.path("ztnad"));
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

#[test]
fn a_service_that_may_look_into_no_process_tells_programs_apart_by_a_deputy() {
    if !is_root()
        || !inside_own_network_with_users(
            "transparent::rights::a_service_that_may_look_into_no_process_tells_programs_apart_by_a_deputy",
        )
    {
        return;
    }
    let scene = Scene::new("rights-programs");
    let curl = path_of("curl");
    let permitted = curl.clone();
    let pdp = Stub::start("127.0.0.1:0", move |request| {
        decide_by_program(&request, &permitted)
    });
    let mut office = Office::open_with(&scene, 1, &["--pdp", &pdp.base()], Gateway::option);
    office.install_as_the_unit_does();
    let mut programs = Programs::start(&office.connector.path("ztnad"));
    office.start();
    let deputy = programs.process();
    assert_has_no_other_rights(deputy, DEPUTY_USER, PROGRAMS);
    let network = |process: u32| fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
    assert_ne!(network(deputy), network(std::process::id()));

    assert_eq!(office.get(TOOLS).text(), "wiki\n");
    assert_eq!(office.path_in_record(), curl);
    assert_eq!(wget(TOOLS).0, 4, "wget is refused");
    assert_eq!(office.path_in_record(), path_of("wget"));

    for round in 0..5 {
        // systemd starts another for the next question.
        programs.kill_one();
        assert_eq!(office.get(TOOLS).text(), "wiki\n", "round {round}");
        assert_eq!(wget(TOOLS).0, 4, "round {round}: wget is refused");
    }

    programs.stop();
    let refused = office.get(TOOLS);
    assert_eq!(refused.exit, 7, "{refused:?}");
    assert_eq!(office.path_in_record(), Value::Null);

    let _programs = Programs::start(&office.connector.path("ztnad"));
    assert_eq!(office.get(TOOLS).text(), "wiki\n");
    assert_eq!(wget(TOOLS).0, 4, "wget is refused");
}

impl Office<'_> {
    fn install_as_the_unit_does(&mut self) {
        self.connector = Connector::install_for(self.scene, &self.lab, "ztnad", Some(USER))
            .transparent()
            .with_capabilities(&capabilities(SERVICE));
        open_the_device_to_everybody();
        start_resolver_deputies();
    }

    /// Which program the latest decision about the tools was for.
    fn path_in_record(&self) -> Value {
        let decision = self.connector.last_decision("tools.corp.test:80");
        decision.expect("a decision")["workload"]["path"].clone()
    }
}

/// What a unit gives.
fn capabilities(unit: &'static str) -> Vec<&'static str> {
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

/// As systemd listens for deputies of the service.
fn listen(place: &str) -> UnixListener {
    let _none = fs::remove_file(place);
    let listener = UnixListener::bind(place).expect("the deputies' socket");
    fs::set_permissions(place, fs::Permissions::from_mode(0o600)).expect("a private socket");
    chown(place, Some(USER), Some(USER)).expect("the service's socket");
    listener
}

/// As `ztna-programs.socket` starts them: one at a time, another when that has ended, with what
/// `ztna-programs.service` gives.
struct Programs {
    started: Receiver<u32>,
    latest: u32,
    is_over: Sender<()>,
    supervisor: Option<JoinHandle<()>>,
}

impl Programs {
    fn start(program: &Path) -> Self {
        let listener = listen("/run/ztna-programs.sock");
        let (starts, started) = channel();
        let (is_over, over) = channel::<()>();
        let program = program.to_owned();
        let supervisor = thread::spawn(move || {
            loop {
                let mut deputy = deputy(&program, &listener).spawn().expect("a deputy");
                let _nobody = starts.send(deputy.id());
                deputy.wait().expect("the deputy's end");
                if over.try_recv().is_ok() {
                    return;
                }
            }
        });
        let latest = started.recv().expect("the first");
        Self {
            started,
            latest,
            is_over,
            supervisor: Some(supervisor),
        }
    }

    /// Returns the deputy that is there, once it is one.
    fn process(&self) -> u32 {
        let name = format!("/proc/{}/comm", self.latest);
        until("the deputy runs", DEADLINE, || {
            (read(name.as_ref()).trim() == "ztnad").then_some(self.latest)
        })
    }

    fn kill_one(&mut self) {
        succeed(Command::new("kill").args(["-KILL", &self.process().to_string()]));
        self.latest = self.started.recv_timeout(DEADLINE).expect("another");
    }

    /// Ends the deputy, and its socket.
    fn stop(&mut self) {
        let Some(supervisor) = self.supervisor.take() else {
            return;
        };
        self.is_over.send(()).expect("a supervisor");
        let _ = run(Command::new("kill").args(["-KILL", &self.latest.to_string()]));
        supervisor.join().expect("its end");
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.stop();
    }
}

fn deputy(program: &Path, listener: &UnixListener) -> Command {
    let given = capabilities(PROGRAMS).into_iter();
    let given: Vec<String> = given
        .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    let confined = as_user_with(DEPUTY_USER, &given.join(","), program);
    let mut command = Command::new("unshare");
    command
        .arg("--net")
        .arg(confined.get_program())
        .args(confined.get_args())
        .arg("--programs")
        .stdin(OwnedFd::from(listener.try_clone().expect("the socket")));
    command
}

/// As `ztna-resolver.socket` starts them: one of root's for each request of the service.
fn start_resolver_deputies() {
    let listener = listen("/run/ztna-resolver.sock");
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
fn assert_has_no_other_rights(process: u32, user: u32, unit: &'static str) {
    let status = read(format!("/proc/{process}/status").as_ref());
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).unwrap_or_default().to_owned()
    };
    assert_eq!(field("Uid:"), format!("{user}\t{user}\t{user}\t{user}"));
    let bits = |name: &str| u64::from_str_radix(&field(name), 16).unwrap_or(u64::MAX);
    let given = capabilities(unit).len();
    assert_eq!(bits("CapEff:").count_ones() as usize, given);
    assert_eq!(bits("CapBnd:"), bits("CapEff:"));
}

/// Nobody's numbers on a usual machine.
const USER: u32 = 64_321;
const DEPUTY_USER: u32 = 64_322;

const SERVICE: &str = include_str!("../../../../../installers/linux/ztnad.service");
const PROGRAMS: &str = include_str!("../../../../../installers/linux/ztna-programs.service");

/// Permitted to one program only.
const TOOLS: &str = "http://tools.corp.test/";

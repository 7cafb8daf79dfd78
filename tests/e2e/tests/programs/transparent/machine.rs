//! What the connector does to the machine, and that nothing of it is left.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use e2e::lab::Lab;
use e2e::machine::Machine;
use e2e::peers::inside_own_network;
use e2e::process::{Running, run, succeed};
use e2e::scene::{Scene, installed_peers, note};
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};
use e2e::world::{PUBLIC, Resolver, World, ip, write_resolver};

use super::{Office, address_of};

#[test]
fn switching_off_leaves_the_machine_byte_for_byte_as_it_was() {
    if !inside_own_network(
        "transparent::machine::switching_off_leaves_the_machine_byte_for_byte_as_it_was",
    ) {
        return;
    }
    let scene = Scene::new("down");
    let mut office = Office::open(&scene, 1);
    for kind in [Resolver::File, Resolver::Link, Resolver::Mount] {
        write_resolver(kind);
        others_settings();
        let before = Machine::now();
        if office.connector.has_started() {
            assert!(office.connector.ztna(&["up"]).status.success());
            office.wait_until_steered();
        } else {
            office.start();
        }
        let steered = before.difference(&Machine::now());
        for part in [
            "IPv4 routes",
            "IPv6 routes",
            "IPv4 rules",
            "IPv6 rules",
            "firewall",
            "resolver",
        ] {
            assert!(
                steered.contains(&format!("{part}:\n")),
                "{kind:?}: {part} is as before:\n{steered}"
            );
        }
        let steered = without_resolver(&steered);
        assert!(
            !steered.contains("\n  - "),
            "{kind:?}: something of others is gone:\n{steered}"
        );
        assert_eq!(office.wiki().text(), "wiki\n", "{kind:?}");

        let begun = Instant::now();
        assert!(office.connector.ztna(&["down"]).status.success());
        until("the machine to be as it was", DEADLINE, || {
            before.difference(&Machine::now()).is_empty().then_some(())
        });
        scene.figure(
            &format!("{kind:?}: until the machine is as it was"),
            begun.elapsed(),
        );
        assert_ne!(office.wiki().exit, 0, "{kind:?}");
        assert_eq!(
            office.get("http://www.example.org/").text(),
            "www\n",
            "{kind:?}"
        );
    }
    let status = office.connector.read(&["status"]);
    assert_eq!(status["standing"], "paused", "{status}");
}

#[test]
fn repair_after_a_crash_leaves_the_machine_as_it_was_and_a_restart_needs_none() {
    if !inside_own_network(
        "transparent::machine::repair_after_a_crash_leaves_the_machine_as_it_was_and_a_restart_needs_none",
    ) {
        return;
    }
    let scene = Scene::new("repair");
    let mut office = Office::open(&scene, 1);
    others_settings();
    let before = Machine::now();
    office.start();
    office.connector.process().kill();
    let dead = Machine::now();
    assert!(
        dead.part("firewall").contains("ztna"),
        "the guard stays: {}",
        dead.part("firewall")
    );

    let nowhere = scene.path("elsewhere").display().to_string();
    let elsewhere = office.connector.ztna(&["repair", "--state-dir", &nowhere]);
    let told = String::from_utf8_lossy(&elsewhere.stderr);
    assert!(
        told.contains("still steered") && told.contains("--state-dir"),
        "{told}"
    );
    assert!(!elsewhere.status.success());

    let dry = repair(&office.connector, true);
    let told = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(dry.status.success(), "{dry:?}");
    assert!(told.lines().count() >= 3, "{told}");
    dead.assert_unchanged("after a dry run");
    note(&format!("a dry run tells:\n{told}"));
    let done = repair(&office.connector, false);
    assert!(done.status.success(), "{done:?}");
    before.assert_unchanged("after a repair");
    assert_eq!(office.get("http://www.example.org/").text(), "www\n");
    assert!(
        repair(&office.connector, false).status.success(),
        "a second one finds nothing"
    );
    before.assert_unchanged("after a second repair");

    office.connector.start();
    office.wait_until_steered();
    office.connector.process().kill();
    let begun = Instant::now();
    office.connector.start();
    until("the wiki", DEADLINE, || {
        (office.wiki().exit == 0).then_some(())
    });
    scene.figure(
        "from the restart after a crash to the wiki",
        begun.elapsed(),
    );
    assert!(office.connector.ztna(&["down"]).status.success());
    until("the machine to be as it was", DEADLINE, || {
        before.difference(&Machine::now()).is_empty().then_some(())
    });
}

#[test]
fn killed_at_any_step_of_up_or_down_the_machine_can_be_repaired() {
    if !inside_own_network(
        "transparent::machine::killed_at_any_step_of_up_or_down_the_machine_can_be_repaired",
    ) {
        return;
    }
    let scene = Scene::new("sweep");
    let mut office = Office::open(&scene, 1);
    let before = Machine::now();
    office.start();
    assert!(office.connector.ztna(&["down"]).status.success());
    until("the machine to be as it was", DEADLINE, || {
        before.difference(&Machine::now()).is_empty().then_some(())
    });

    let mut deaths = 0;
    for verb in ["up", "down"] {
        for calls in SWEPT {
            for step in 1..=MOST_STEPS {
                let died = killed_at(&mut office, verb, calls, step);
                note(&format!(
                    "{verb}, to be killed at number {step} of {calls}: {died}"
                ));
                if died {
                    deaths += 1;
                    let half = Machine::now();
                    let repaired = repair(&office.connector, false);
                    assert!(
                        repaired.status.success(),
                        "{verb}, {calls} {step}: {repaired:?}"
                    );
                    let when = format!(
                        "killed at {calls} number {step} of `{verb}` and repaired, from\n{}",
                        before.difference(&half)
                    );
                    before.assert_unchanged(&when);
                }
                office.connector.start();
                assert!(office.connector.ztna(&["down"]).status.success());
                until("the machine to be as it was", DEADLINE, || {
                    before.difference(&Machine::now()).is_empty().then_some(())
                });
                if !died {
                    break;
                }
            }
        }
    }
    note(&format!("killed at {deaths} points"));
    assert!(deaths >= 10, "the sweep hit only {deaths} points");
}

#[test]
fn what_others_undo_is_mended_within_a_second_and_shown() {
    if !inside_own_network(
        "transparent::machine::what_others_undo_is_mended_within_a_second_and_shown",
    ) {
        return;
    }
    let scene = Scene::new("mend");
    let mut office = Office::open(&scene, 1);
    office.start();
    let nft = installed_peers().join("bin/nft").display().to_string();
    let in_force = Machine::now();
    let table = in_force
        .part("firewall")
        .lines()
        .find_map(|line| line.strip_prefix("table inet ")?.strip_suffix(" {"))
        .unwrap()
        .to_owned();
    let rule = in_force
        .part("IPv4 rules")
        .lines()
        .find(|line| line.contains("fwmark"))
        .unwrap()
        .to_owned();
    let number = rule.split(':').next().unwrap().to_owned();
    let lookup = rule
        .split("lookup ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();
    let mut logged = office.connector.log().len();
    for (what, script) in [
        ("a route", format!("ip route flush table {lookup}")),
        (
            "the IPv6 routes",
            format!("ip -6 route flush table {lookup}"),
        ),
        ("the rule", format!("ip rule del pref {number}")),
        ("the guard", format!("{nft} delete table inet {table}")),
        ("every table", format!("{nft} flush ruleset")),
        (
            "the resolver's file",
            format!("echo nameserver {PUBLIC} >/etc/resolv.conf"),
        ),
        (
            "the resolver's file, by replacing it",
            format!("echo nameserver {PUBLIC} >/etc/new && mv /etc/new /etc/resolv.conf"),
        ),
    ] {
        let begun = Instant::now();
        succeed(Command::new("sh").args(["-c", &script]));
        until(&format!("{what} to be mended"), DEADLINE, || {
            steered_like(&in_force).then_some(())
        });
        let took = begun.elapsed();
        scene.figure(&format!("{what} is mended after"), took);
        assert!(took < Duration::from_secs(1), "{what}: {took:?}");
        assert_eq!(office.wiki().text(), "wiki\n", "{what}");
        until(&format!("a word about {what}"), DEADLINE, || {
            let log = office.connector.log();
            let said = log[logged..].contains("another program changed");
            said.then(|| logged = log.len())
        });
        let status = office.connector.read(&["status"]);
        let shown = status["interception"]["mended"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(
            shown.contains("another program changed"),
            "{what}: {status}"
        );
    }
    assert_eq!(address_of("www.example.org"), PUBLIC.parse().ok());
}

/// Settings of somebody else that look like ours.
fn others_settings() {
    let script = "nft=$0; $nft list table inet others >/dev/null 2>&1 && exit 0; \
                  $nft 'add table inet others; add chain inet others out { type filter hook output priority 0; }; \
                        add rule inet others out udp dport 9999 counter drop' && \
                  ip rule add pref 90 to 198.51.100.99 lookup 90 && ip route add 198.51.100.99 via 192.0.2.1 table 90";
    succeed(
        Command::new("sh")
            .args(["-c", script])
            .arg(installed_peers().join("bin/nft")),
    );
}

/// The resolver's lines are meant to change.
fn without_resolver(difference: &str) -> String {
    difference
        .split("resolver:\n")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Whether the machine is steered as before; counters count on and the resolver's file may be another one.
fn steered_like(in_force: &Machine) -> bool {
    let now = Machine::now();
    let rules = |machine: &Machine| {
        let firewall = machine.part("firewall").lines();
        let words = firewall.map(|line| {
            line.split(" packets ")
                .next()
                .unwrap_or_default()
                .to_owned()
        });
        words
            .filter(|line| !line.contains("others"))
            .collect::<Vec<_>>()
    };
    let servers = |machine: &Machine| {
        let lines = machine.part("resolver").lines();
        lines
            .filter(|line| line.starts_with("nameserver"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    ["IPv4 routes", "IPv6 routes", "IPv4 rules", "IPv6 rules"]
        .into_iter()
        .all(|part| now.part(part) == in_force.part(part))
        && rules(&now) == rules(in_force)
        && servers(&now) == servers(in_force)
}

/// Undoes what a dead service left.
fn repair(connector: &Connector<'_>, dry_run: bool) -> Output {
    let state = connector.path("state").display().to_string();
    let mut arguments = vec!["repair", "--state-dir", &state];
    if dry_run {
        arguments.push("--dry-run");
    }
    connector.ztna(&arguments)
}

/// Has the running service killed when it makes the `step`th of these system calls after `verb`; tells whether it died.
fn killed_at(office: &mut Office<'_>, verb: &str, calls: &str, step: u32) -> bool {
    if verb == "down" {
        assert!(office.connector.ztna(&["up"]).status.success());
        office.wait_until_steered();
    }
    let id = office.connector.process().id().to_string();
    let inject = format!("inject={calls}:signal=SIGKILL:when={step}");
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-e",
        &format!("trace={calls}"),
        "-e",
        &inject,
        "-p",
        &id,
    ]);
    let mut strace = Running::start(office.scene, "strace", &mut strace);
    until("strace to be attached", DEADLINE, || {
        let status = e2e::process::read(std::path::Path::new(&format!("/proc/{id}/status")));
        let tracer = status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"))?;
        (tracer.trim() != "0").then_some(())
    });
    let said = office.connector.ztna(&[verb]);
    if !said.status.success() {
        // Cut off: it is dead, or dying.
        let (how, _) = office.connector.process().wait(DEADLINE);
        assert!(!how.success(), "{verb}: {said:?}");
    }
    let steered = verb == "up";
    let died = until(
        "the verb to be done or the service to be dead",
        DEADLINE,
        || {
            if office.connector.process().has_ended() {
                return Some(true);
            }
            let routes = run(Command::new("ip").args(["rule"]));
            let is_steered = String::from_utf8_lossy(&routes.stdout).contains("fwmark");
            let resolves = address_of("wiki.corp.test").is_some();
            (is_steered == steered && resolves == steered).then_some(false)
        },
    );
    if died {
        strace.kill();
        office.connector.process().kill();
    } else {
        strace.signal("INT");
        let _ended = strace.wait(DEADLINE);
        let _log = strace.log();
        office.connector.process().kill();
        let _repaired = repair(&office.connector, false);
    }
    died
}

/// What commits to the journal, starts `nft`, speaks to the kernel, and replaces files.
const SWEPT: [&str; 4] = [
    "fsync,fdatasync",
    "clone,clone3,vfork",
    "sendto,sendmsg",
    "rename,renameat,renameat2,unlink,unlinkat,ftruncate",
];
/// In each thread; a sweep ends where the service lives on.
const MOST_STEPS: u32 = 12;

#[test]
fn a_world_without_the_connector_is_not_touched_by_its_presence() {
    if !inside_own_network(
        "transparent::machine::a_world_without_the_connector_is_not_touched_by_its_presence",
    ) {
        return;
    }
    let scene = Scene::new("userspace");
    let _world = World::start(&scene, 0);
    let before = Machine::now();
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    before.assert_unchanged("with a service in user space");
    let _links = ip("link");
}

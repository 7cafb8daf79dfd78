//! The tray, as a panel and a person see it.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::curl::Curl;
use e2e::desktop::{Desktop, Tray};
use e2e::lab::Lab;
use e2e::person;
use e2e::process::{Running, run, succeed};
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::wait::DEADLINE;
use serde_json::Value;

#[test]
fn a_person_gets_through_a_day_with_the_tray_alone() {
    let scene = Scene::new("tray");
    let lab = start_lab(&scene);
    let mut connector = Connector::install(&scene, &lab);
    let desktop = Desktop::start(&scene);
    let tray = desktop.start_tray(&scene, &connector);
    assert_eq!(tray.state(), NOT_RUNNING);
    let (_, without) = tray.icon();

    connector.start();
    tray.wait_for("Signed out", DEADLINE);
    connector.wait_until_measured();
    sign_in(&scene, &connector, &desktop, &tray);
    tray.wait_for("Connected", DEADLINE);
    assert_eq!(tray.menu()[1].label, "Corp");
    let (words, with) = tray.icon();
    assert!(words.starts_with("Connected"), "{words}");
    assert_ne!(with, without, "another shape");

    let curl = Curl::through(&scene, &connector.proxy());
    assert_eq!(curl.get("http://payroll.corp.test/").status, 403);
    let refused = desktop.wait_for_message("“payroll.corp.test:80” was refused");
    assert!(!refused.body.is_empty());
    assert!(tray.wait_for_line("payroll.corp.test:80").enabled);
    tray.wait_for_line("Asked for by curl");

    let mut forbidden = forbidden_program(&scene);
    tray.wait_for("Connected, with restrictions", DEADLINE);
    let lost = desktop.wait_for_message("This device needs your attention");
    assert!(lost.body.contains("What to do: "), "{lost:?}");
    assert_eq!(lost.buttons, ["Check again"]);
    tray.wait_for_line("✗ ");
    forbidden.kill();
    tray.wait_for("Connected", DEADLINE);
    desktop.wait_for_message("This device is in order again");

    // There is no window beside the programs that are tested here.
    tray.choose("Open the window");
    let missing = desktop.wait_for_message("The window is not installed");
    assert!(missing.body.contains("ztna status"), "{missing:?}");

    tray.choose("For 15 minutes");
    tray.wait_for("Switched off", DEADLINE);
    tray.wait_for_line("It switches itself on at ");
    tray.choose("Switch on");
    tray.wait_for("Connected", DEADLINE);

    tray.choose("Sign out");
    tray.wait_for("Signed out", DEADLINE);
    let titles: Vec<String> = desktop
        .messages()
        .into_iter()
        .map(|one| one.title)
        .collect();
    assert!(
        !titles.contains(&"You are signed out".to_owned()),
        "{titles:?}"
    );
}

#[test]
fn a_service_that_hangs_is_not_called_connected_on_its_last_word() {
    let scene = Scene::new("tray-hang");
    let lab = start_lab(&scene);
    let mut connector = Connector::install(&scene, &lab);
    let desktop = Desktop::start(&scene);
    connector.start_as("alice");
    let tray = desktop.start_tray(&scene, &connector);
    tray.wait_for("Connected", DEADLINE);

    let stopped = Instant::now();
    connector.process().signal("STOP");
    tray.wait_for(NOT_RUNNING, Duration::from_secs(12));
    scene.figure("until the tray says so", stopped.elapsed());

    connector.process().signal("CONT");
    tray.wait_for("Connected", DEADLINE);
}

#[test]
fn a_service_that_dies_is_seen_within_a_second_and_one_that_comes_back_too() {
    let scene = Scene::new("tray-kill");
    let lab = start_lab(&scene);
    let mut connector = Connector::install(&scene, &lab);
    let desktop = Desktop::start(&scene);
    connector.start_as("alice");
    let tray = desktop.start_tray(&scene, &connector);
    tray.wait_for("Connected", DEADLINE);

    let killed = Instant::now();
    connector.process().kill();
    tray.wait_for(NOT_RUNNING, Duration::from_secs(1));
    scene.figure("until the tray says so", killed.elapsed());

    connector.start();
    let answers = Instant::now();
    tray.wait_for_line("Help");
    scene.figure("from the service's answer to the tray's", answers.elapsed());
    assert!(answers.elapsed() < Duration::from_secs(1));
    tray.wait_for("Connected", DEADLINE);
    assert!(tray.process.resident() < 40 << 20);
}

#[test]
fn a_gateway_that_dies_is_seen_though_nobody_uses_it() {
    let scene = Scene::new("tray-gateway");
    let lab = start_lab(&scene);
    let mut connector = Connector::install(&scene, &lab);
    let desktop = Desktop::start(&scene);
    connector.start_as("alice");
    let tray = desktop.start_tray(&scene, &connector);
    tray.wait_for("Connected", DEADLINE);

    let stopped = Instant::now();
    for gateway in ["hq-1", "hq-2"] {
        lab.pull(&format!("gateways/{gateway}/stop"), &Value::Null);
    }
    while tray.state() == "Connected" {
        assert!(
            stopped.elapsed() < Duration::from_secs(13),
            "{:?}",
            tray.menu()
        );
    }
    scene.figure("until it is no longer called connected", stopped.elapsed());
    tray.wait_for("Blocked: your company's network does not answer", DEADLINE);
    scene.figure("until it is called dead", stopped.elapsed());

    for gateway in ["hq-1", "hq-2"] {
        lab.pull(&format!("gateways/{gateway}/start"), &Value::Null);
    }
    tray.wait_for("Connected", DEADLINE);
}

#[test]
fn there_is_one_tray_in_a_session_and_none_without_a_bus() {
    let scene = Scene::new("tray-one");
    let lab = start_lab(&scene);
    let connector = Connector::install(&scene, &lab);
    let desktop = Desktop::start(&scene);
    let mut tray = desktop.start_tray(&scene, &connector);

    let second = run(&mut desktop.tray_command(&connector));
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("is there already"), "{said}");
    let alone = run(desktop
        .tray_command(&connector)
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent"));
    let said = String::from_utf8_lossy(&alone.stderr).into_owned();
    assert!(said.contains("ztna status"), "{said}");

    tray.choose("Remove this icon");
    assert!(tray.process.wait(DEADLINE).0.success());
}

#[test]
fn the_administrators_word_ends_the_tray_of_the_login_and_locks_the_switch() {
    let scene = Scene::new("tray-managed");
    let lab = start_lab(&scene);
    let mut connector = Connector::install(&scene, &lab);
    let desktop = Desktop::start(&scene);
    connector.manage(
        "[tray]\nautostart = false\n\n[always_on]\nenabled = true\n\n[managed]\nby = \"Corp IT\"\n",
    );
    connector.start_as("alice");

    let at_login = run(desktop.tray_command(&connector).arg("--at-login"));
    assert!(at_login.status.success(), "{at_login:?}");

    let tray = desktop.start_tray(&scene, &connector);
    tray.wait_for_line("Switch off (locked)");
    tray.wait_for_line("Managed by Corp IT");
    connector.manage("[managed]\nby = \"Corp IT\"\n");
    let message = desktop.wait_for_message("Settings changed");
    assert!(message.body.contains("Corp IT"), "{}", message.body);
    tray.wait_for_line("For 15 minutes");
}

/// Starts the built-in company with the one check that this machine is sure to pass.
fn start_lab(scene: &Scene) -> Lab {
    let company: String = include_str!("../../../../lab/company.toml")
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("builtin = "))
        .collect();
    let company = scene.write("company.toml", company);
    Lab::start_with(scene, "lab", &["--company", &company.display().to_string()])
}

/// Signs alice in, at the page that the tray names since it has no browser here.
/// Signs in while the service changes; the page must not be opened again at each change.
fn sign_in(scene: &Scene, connector: &Connector<'_>, desktop: &Desktop, tray: &Tray<'_>) {
    const OPENED: &str = "Your browser cannot be opened";

    tray.choose("Sign in…");
    let message = desktop.wait_for_message(OPENED);
    succeed_with(connector, "down");
    succeed_with(connector, "up");
    let (_, page) = message.body.split_once("http").unwrap();
    let page = format!("http{page}").replace("&amp;", "&");
    person::sign_in(scene, &page, "alice");
    tray.wait_for("Connected", DEADLINE);
    let pages = desktop.messages().into_iter();
    assert_eq!(pages.filter(|message| message.title == OPENED).count(), 1);
}

fn succeed_with(connector: &Connector<'_>, verb: &str) {
    let output = connector.ztna(&[verb]);
    assert!(output.status.success(), "{output:?}");
}

/// Starts the program that the lab's check looks for.
fn forbidden_program(scene: &Scene) -> Running {
    let path = scene.path("ztna-demo-forbidden");
    let sleep = succeed(Command::new("sh").args(["-c", "readlink -f \"$(command -v sleep)\""]));
    std::fs::copy(sleep.trim(), &path).unwrap();
    Running::start(scene, "forbidden", Command::new(path).arg("600"))
}

const NOT_RUNNING: &str = "The connector is not running";

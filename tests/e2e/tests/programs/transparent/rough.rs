//! Bad links, moving laptops, dying gateways.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::curl::{Download, Form, behind_byte, lab_byte};
use e2e::lab::Lab;
use e2e::machine::Machine;
use e2e::peers::inside_own_network;
use e2e::process::{Running, read};
use e2e::scene::Scene;
use e2e::service::{Connector, active_gateway};
use e2e::wait::{DEADLINE, until};
use e2e::world::{LAPTOP, ip, laptop_runs};
use serde_json::Value;

use super::{Office, WIKI};

#[test]
fn ten_megabytes_arrive_whole_over_a_link_that_loses_a_third() {
    if !inside_own_network(
        "transparent::rough::ten_megabytes_arrive_whole_over_a_link_that_loses_a_third",
    ) {
        return;
    }
    const SIZE: usize = 10_000_000;
    let scene = Scene::new("lossy");
    let mut office = Office::open(&scene, 1);
    office.start();
    for change in ["loss 30%", "reorder 10%", "duplicate 5%"] {
        office.world.change_link(change);
    }
    let begun = Instant::now();
    let mut download = office
        .curl()
        .download(Form::Absolute, &format!("{WIKI}bytes/{SIZE}"));
    assert_eq!(
        download.wait(Duration::from_secs(150)),
        0,
        "{} bytes, {}",
        download.size(),
        download.error()
    );
    scene.figure(
        "10 MB at 30 % loss, 10 % reordered, 5 % twice",
        begun.elapsed(),
    );
    assert_eq!(download.checked(behind_byte), SIZE);
}

#[test]
fn a_new_tunnel_comes_up_over_a_bad_link_and_damage_does_no_harm() {
    if !inside_own_network(
        "transparent::rough::a_new_tunnel_comes_up_over_a_bad_link_and_damage_does_no_harm",
    ) {
        return;
    }
    const SIZE: usize = 2_000_000;
    let scene = Scene::new("damaged");
    let mut office = Office::open(&scene, 1);
    for change in [
        "delay 20ms",
        "jitter 30ms",
        "loss 20%",
        "duplicate 30%",
        "reorder 10%",
        "corrupt 5%",
    ] {
        office.world.change_link(change);
    }
    let begun = Instant::now();
    office.start();
    scene.figure(
        "from the start to the wiki over the bad link",
        begun.elapsed(),
    );
    office.world.change_link("loss 1%");
    let mut download = office
        .curl()
        .download(Form::Absolute, &format!("{WIKI}bytes/{SIZE}"));
    assert_eq!(
        download.wait(Duration::from_secs(90)),
        0,
        "{}",
        download.error()
    );
    assert_eq!(download.checked(behind_byte), SIZE);
    let log = office.connector.log();
    assert!(
        log.lines().count() < 500,
        "a storm in the log: {} lines",
        log.lines().count()
    );
}

#[test]
fn a_running_download_survives_a_change_of_address_and_of_network() {
    if !inside_own_network(
        "transparent::rough::a_running_download_survives_a_change_of_address_and_of_network",
    ) {
        return;
    }
    const SIZE: usize = 30_000_000;
    let scene = Scene::new("roam");
    let mut office = Office::open(&scene, 1);
    office.start();
    // Slow enough to be under way for the whole test.
    office.world.change_link("rate 20mbit");
    let mut download = office
        .curl()
        .download(Form::Absolute, &format!("{WIKI}bytes/{SIZE}"));
    download.wait_for(2_000_000, DEADLINE);

    let changed = Instant::now();
    office.world.change_address(LAPTOP, "192.0.2.77");
    let gap = goes_on(&mut download, changed);
    scene.figure("the gap when the address changes", gap);
    assert!(gap < Duration::from_secs(2), "{gap:?}");

    let changed = Instant::now();
    office.world.move_to_second_network();
    let gap = goes_on(&mut download, changed);
    scene.figure("the gap when the network changes", gap);
    assert!(gap < Duration::from_secs(2), "{gap:?}");
    assert_eq!(
        download.wait(Duration::from_secs(60)),
        0,
        "{}",
        download.error()
    );
    assert_eq!(download.checked(behind_byte), SIZE);
    assert_eq!(office.get("http://203.0.113.80/").text(), "www\n");
}

#[test]
fn a_link_that_flaps_costs_neither_the_download_nor_the_settings_nor_the_processor() {
    if !inside_own_network(
        "transparent::rough::a_link_that_flaps_costs_neither_the_download_nor_the_settings_nor_the_processor",
    ) {
        return;
    }
    const SIZE: usize = 20_000_000;
    let scene = Scene::new("flap");
    let mut office = Office::open(&scene, 1);
    office.start();
    let steered = Machine::now();
    office.world.change_link("rate 20mbit");
    let mut download = office
        .curl()
        .download(Form::Absolute, &format!("{WIKI}bytes/{SIZE}"));
    download.wait_for(1_000_000, DEADLINE);

    let (begun, before) = (Instant::now(), processor_time(&mut office.connector));
    let mut flaps = 0;
    while begun.elapsed() < Duration::from_secs(5) {
        for is_plugged_in in [false, true] {
            office.world.plug(is_plugged_in);
            let due =
                begun + Duration::from_millis(50) * (2 * flaps + 1 + u32::from(is_plugged_in));
            until("the next flap", DEADLINE, || {
                (Instant::now() >= due).then_some(())
            });
        }
        flaps += 1;
    }
    let busy = processor_time(&mut office.connector).saturating_sub(before);
    let last = Instant::now();
    let gap = goes_on(&mut download, last);
    scene.figure("from the last flap to the next bytes", gap);
    scene.figure("the service's processor time during 5 s of flapping", busy);
    assert!(gap < Duration::from_secs(5), "{gap:?}");
    assert!(busy < Duration::from_millis(1500), "{busy:?}");
    assert_eq!(
        download.wait(Duration::from_secs(60)),
        0,
        "{}",
        download.error()
    );
    assert_eq!(download.checked(behind_byte), SIZE);
    for part in ["IPv4 routes", "IPv4 rules", "IPv6 rules", "resolver"] {
        assert_eq!(
            Machine::now().part(part),
            steered.part(part),
            "{part} after {flaps} flaps"
        );
    }
}

#[test]
fn a_path_that_narrows_in_silence_does_not_stop_what_runs() {
    if !inside_own_network(
        "transparent::rough::a_path_that_narrows_in_silence_does_not_stop_what_runs",
    ) {
        return;
    }
    const SIZE: usize = 5_000_000;
    let scene = Scene::new("narrow");
    let mut office = Office::open(&scene, 1);
    office.start();
    let content: Vec<u8> = (0..SIZE).map(behind_byte).collect();
    let file = scene.write("upload", &content);
    let curl = office.curl();
    let echo = || {
        let upload = format!("@{}", file.display());
        let url = format!("{WIKI}echo");
        let options = ["--data-binary", &upload, "--limit-rate", "2M"];
        curl.fetch(Form::Absolute, &url, &options)
    };

    let echoed = std::thread::scope(|scope| {
        let running = scope.spawn(echo);
        until("the upload to be under way", DEADLINE, || {
            let open = office.connector.read(&["status"])["tunnel"]["open_flows"].as_u64();
            (open > Some(0)).then_some(())
        });
        office.world.change_link(NARROW);
        running.join().unwrap()
    });

    assert_eq!(echoed.exit, 0, "{}", echoed.error);
    assert!(
        echoed.body == content,
        "{} bytes came back",
        echoed.body.len()
    );
    scene.figure("5 MB there and back while the path narrows", echoed.took);
}

#[test]
fn a_narrow_path_without_complaints_carries_what_begins_on_it() {
    if !inside_own_network(
        "transparent::rough::a_narrow_path_without_complaints_carries_what_begins_on_it",
    ) {
        return;
    }
    const SIZE: usize = 5_000_000;
    let scene = Scene::new("narrow-new");
    let mut office = Office::open(&scene, 1);
    office.start();
    office.world.change_link(NARROW);
    let content: Vec<u8> = (0..SIZE).map(behind_byte).collect();
    let file = scene.write("upload", &content);

    let url = format!("{WIKI}bytes/{SIZE}");
    let download = office.curl().fetch(Form::Absolute, &url, &[]);
    let upload = format!("@{}", file.display());
    let url = format!("{WIKI}echo");
    let echoed = office
        .curl()
        .fetch(Form::Absolute, &url, &["--data-binary", &upload]);

    assert_eq!(download.exit, 0, "{}", download.error);
    assert!(download.body == content, "{} bytes", download.body.len());
    assert_eq!(echoed.exit, 0, "{}", echoed.error);
    assert!(
        echoed.body == content,
        "{} bytes came back",
        echoed.body.len()
    );
    scene.figure("the first 5 MB over the narrow path", download.took);
    scene.figure("the next 5 MB, there and back", echoed.took);
}

#[test]
fn the_doctor_says_how_long_packets_may_be_and_where_long_ones_vanish() {
    if !inside_own_network(
        "transparent::rough::the_doctor_says_how_long_packets_may_be_and_where_long_ones_vanish",
    ) {
        return;
    }
    let scene = Scene::new("lengths");
    let mut office = Office::open(&scene, 1);
    office.start();
    let told = |office: &Office<'_>, words: &str| {
        until(words, DEADLINE, || {
            let (_, diagnosis) = office.connector.ask(&["netcheck"]);
            let examined = diagnosis["examined"].as_array()?.iter();
            let mtu = examined.clone().find(|one| one["code"] == "mtu")?;
            let finding = mtu["finding"].as_str()?;
            finding.contains(words).then(|| mtu["condition"].clone())
        })
    };
    assert_eq!(told(&office, "Packets of 1500 bytes"), "good");

    office.world.change_link("mtu 1280 icmp");
    assert_eq!(told(&office, "at most 1280 bytes"), "warning");

    // Else the system divides what is too long for what it remembers.
    ip("route flush cache");
    office.world.change_link(NARROW);
    let content: Vec<u8> = (0..200_000).map(behind_byte).collect();
    let upload = format!("@{}", scene.write("upload", &content).display());
    let url = format!("{WIKI}echo");
    let options = ["--data-binary", &upload];
    let echoed = office.curl().fetch(Form::Absolute, &url, &options);
    assert!(echoed.body == content, "{}", echoed.error);
    assert_eq!(told(&office, "vanish on the way"), "warning");
}

#[test]
fn the_second_gateway_takes_over_under_load() {
    if !inside_own_network("transparent::rough::the_second_gateway_takes_over_under_load") {
        return;
    }
    let scene = Scene::new("takeover");
    let mut office = Office::open(&scene, 2);
    office.start();
    let curl = office.curl();
    let content = scene.write("load", vec![7; 200_000_000]);
    let mut load = Command::new("curl");
    load.args([
        "--disable",
        "--silent",
        "--limit-rate",
        "10M",
        "--output",
        "/dev/null",
        "--data-binary",
    ]);
    load.arg(format!("@{}", content.display()))
        .arg(format!("{WIKI}echo"));
    let mut load = Running::start(&scene, "load", &mut load);
    let sent = || {
        office.connector.read(&["status"])["tunnel"]["sites"][0]["gateways"][0]["tx_bytes"].as_u64()
    };
    until("the load to be under way", DEADLINE, || {
        (sent() > Some(2_000_000)).then_some(())
    });

    office.world.gateways[0].kill();
    let killed = Instant::now();
    until("the wiki through the other gateway", DEADLINE, || {
        let wiki = curl.fetch(Form::Absolute, WIKI, &["--max-time", "3"]);
        (wiki.text() == "wiki\n").then_some(())
    });
    let gap = killed.elapsed();
    scene.figure("from the gateway's death to a new request's answer", gap);
    assert!(gap < Duration::from_secs(5), "{gap:?}");
    // The application behind the other gateway is another machine's: it knows nothing of the upload, and says so.
    let (status, _) = load.wait(Duration::from_secs(10));
    assert!(!status.success(), "cut, not stuck and not whole");
    office
        .connector
        .wait_for("the other gateway to be shown", |status| {
            active_gateway(status).as_deref() == Some("gw-2")
        });
}

#[test]
fn programs_are_told_when_no_gateway_answers_and_served_when_one_does() {
    if !inside_own_network(
        "transparent::rough::programs_are_told_when_no_gateway_answers_and_served_when_one_does",
    ) {
        return;
    }
    let scene = Scene::new("unreachable");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab).transparent();
    connector.start_as("alice");
    until("the machine to be steered", DEADLINE, || {
        super::address_of("wiki.corp.test")
    });
    let curl = e2e::curl::Curl::direct(&scene);
    assert_eq!(curl.fetch(Form::Absolute, WIKI, &[]).status, 200);

    let (exit, ping) = laptop_runs("ping", &["-c", "1", "-W", "5", "wiki.corp.test"]);
    assert_eq!(exit, 0, "{ping}");

    for gateway in ["hq-1", "hq-2"] {
        lab.pull(&format!("gateways/{gateway}/stop"), &Value::Null);
    }
    let told = until("a program to be told", DEADLINE, || {
        let refused = curl.fetch(Form::Absolute, WIKI, &["--max-time", "5"]);
        (refused.exit == COULD_NOT_CONNECT).then_some(refused)
    });
    let again = curl.fetch(Form::Absolute, WIKI, &["--max-time", "5"]);
    scene.figure(
        "what a program waits for while no gateway answers",
        again.took,
    );
    assert_eq!(again.exit, COULD_NOT_CONNECT, "{told:?} {again:?}");
    assert!(again.took < Duration::from_secs(2), "{again:?}");

    let (_, why) = connector.ask(&["why", "wiki.corp.test:80"]);
    assert_eq!(why["is_site_silent"], true, "{why}");

    lab.pull("gateways/hq-2/start", &Value::Null);
    until(
        "the wiki through the gateway that is back",
        DEADLINE,
        || {
            let wiki = curl.fetch(Form::Absolute, WIKI, &["--max-time", "5"]);
            (wiki.status == 200).then_some(())
        },
    );
}

#[test]
fn a_running_download_survives_the_death_of_its_gateway() {
    if !inside_own_network(
        "transparent::rough::a_running_download_survives_the_death_of_its_gateway",
    ) {
        return;
    }
    const SIZE: usize = 20_000_000;
    let scene = Scene::new("death");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab).transparent();
    connector.start_as("alice");
    until("the machine to be steered", DEADLINE, || {
        super::address_of("wiki.corp.test")
    });
    let curl = e2e::curl::Curl::direct(&scene);
    let url = format!("{WIKI}download?bytes={SIZE}&rate=2500000");
    let mut download = curl.download(Form::Absolute, &url);
    download.wait_for(2_000_000, DEADLINE);

    let stopped = Instant::now();
    lab.pull("gateways/hq-1/stop", &Value::Null);
    connector.wait_for("the other gateway", |status| {
        active_gateway(status).as_deref() == Some("hq-2")
    });
    scene.figure("until the other gateway is active", stopped.elapsed());
    let gap = goes_on(&mut download, stopped);
    scene.figure("the gap", gap);
    assert!(gap < Duration::from_secs(5), "{gap:?}");
    assert_eq!(
        download.wait(Duration::from_secs(40)),
        0,
        "{}",
        download.error()
    );
    assert_eq!(download.checked(lab_byte), SIZE);
}

/// Follows the download until it has brought another megabyte; returns the longest time without a byte since `since`.
fn goes_on(download: &mut Download, since: Instant) -> Duration {
    let (end, mut last) = (download.size() + 1_000_000, (download.size(), since));
    let mut longest = Duration::ZERO;
    until("the download to go on", Duration::from_secs(30), || {
        let size = download.size();
        let now = Instant::now();
        longest = longest.max(now - last.1);
        if size > last.0 {
            last = (size, now);
        }
        assert!(
            size >= end || !download.has_ended(),
            "it has ended: {}",
            download.error()
        );
        (size >= end).then_some(())
    });
    longest
}

/// The way out drops what is longer than 1360 bytes from now on, and says nothing: enough for the least that a tunnel
/// carries, 1280 bytes in 60 of WireGuard's.
const NARROW: &str = "mtu 1360 drop";

/// As `curl` says that there is no way to a host (EXIT CODES in curl(1)).
const COULD_NOT_CONNECT: i32 = 7;

/// The time that the service has computed so far.
fn processor_time(connector: &mut Connector<'_>) -> Duration {
    let stat = read(Path::new(&format!(
        "/proc/{}/stat",
        connector.process().id()
    )));
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: u64 = [11, 12]
        .iter()
        .filter_map(|field| fields.get(*field)?.parse::<u64>().ok())
        .sum();
    // 100 a second, as on every Linux.
    Duration::from_millis(ticks * 10)
}

//! The tests' own world: what the others rest on is shown to be so.

use std::time::{Duration, Instant};

use e2e::curl::{Curl, Form, behind_byte};
use e2e::machine::Machine;
use e2e::peers::inside_own_network;
use e2e::scene::Scene;
use e2e::wait::{DEADLINE, until};
use e2e::world::{PUBLIC, World, ip, laptop_runs};

#[test]
fn a_capture_sees_what_leaves_and_nothing_else() {
    if !inside_own_network("kit::a_capture_sees_what_leaves_and_nothing_else") {
        return;
    }
    let scene = Scene::new("capture");
    let world = World::start(&scene, 1);
    let needles = [
        "towards=203.0.113.80/32",
        "label=example.org",
        "arp=192.0.2.77",
        "from=192.0.2.2/32",
    ];
    let mut capture = world.capture_leaving(&needles);
    capture.expect_nothing_of(&["label=example.org", "arp=192.0.2.77"]);

    let page = Curl::direct(&scene).get("http://www.example.org/");
    let _nobody = laptop_runs("ping", &["-c", "1", "-W", "1", "192.0.2.77"]);

    assert_eq!(page.text(), "www\n", "{page:?}");
    capture.expect_all();
    capture.expect_nothing_of(&["arp=192.0.2.99", "label=example.org"]);
    assert!(world.public_seen().contains(r#""dns":"www.example.org""#));
    let gateway = laptop_runs("ping", &["-c", "1", "-W", "2", "198.18.1.2"]);
    assert_eq!(gateway.0, 0, "{gateway:?}");
}

#[test]
fn the_link_does_to_real_traffic_what_it_is_told() {
    if !inside_own_network("kit::the_link_does_to_real_traffic_what_it_is_told") {
        return;
    }
    const SIZE: usize = 2_000_000;
    let scene = Scene::new("link");
    let mut world = World::start(&scene, 0);
    let round_trip = || {
        let begun = Instant::now();
        let (exit, text) = laptop_runs("ping", &["-c", "1", "-W", "2", PUBLIC]);
        (exit == 0).then(|| begun.elapsed()).ok_or(text)
    };
    assert!(round_trip().is_ok());

    world.change_link("delay 100ms");
    let slow = round_trip().unwrap();
    assert!(slow >= Duration::from_millis(200), "{slow:?}");
    world.change_link("perfect");
    world.change_link("down");
    assert!(round_trip().is_err());
    world.change_link("up");
    assert!(round_trip().is_ok());
    world.plug(false);
    assert!(ip("link show up0").contains("NO-CARRIER"));
    world.plug(true);
    until("the link to be back", DEADLINE, || round_trip().ok());

    for change in [
        "delay 2ms",
        "jitter 3ms",
        "loss 3%",
        "duplicate 5%",
        "reorder 5%",
        "corrupt 1%",
    ] {
        world.change_link(change);
    }
    let curl = Curl::direct(&scene);
    let mut download = curl.download(Form::Absolute, &format!("http://{PUBLIC}/bytes/{SIZE}"));
    assert_eq!(
        download.wait(Duration::from_secs(40)),
        0,
        "{}",
        download.error()
    );
    assert_eq!(download.checked(behind_byte), SIZE);
    let counts = world.link_counts();
    for count in ["lost", "duplicated", "reordered", "corrupted"] {
        assert!(counts["far"][count].as_u64() > Some(0), "{counts}");
    }
}

#[test]
fn a_lease_with_routes_draws_traffic_to_the_network_that_gave_it() {
    if !inside_own_network("kit::a_lease_with_routes_draws_traffic_to_the_network_that_gave_it") {
        return;
    }
    let scene = Scene::new("lease");
    let world = World::start(&scene, 0);
    let before = Machine::now();
    let _server = world.start_dhcp(&["0.0.0.0/0 192.0.2.1", "10.88.0.0/25 192.0.2.1"]);

    world.take_lease();

    let routes = ip("route");
    assert!(
        routes.contains("10.88.0.0/25 via 192.0.2.1 dev up0"),
        "{routes}"
    );
    let difference = before.difference(&Machine::now());
    assert!(
        difference.contains("+ unicast 10.88.0.0/25"),
        "{difference}"
    );
    let mut capture = world.capture_leaving(&["towards=10.88.0.0/16"]);
    let _unanswered = laptop_runs("ping", &["-c", "1", "-W", "1", "10.88.0.10"]);
    capture.expect_all();
    assert_eq!(
        Curl::direct(&scene).get("http://www.example.org/").text(),
        "www\n"
    );
}

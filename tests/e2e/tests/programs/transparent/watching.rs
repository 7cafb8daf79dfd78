//! What somebody who looks at the state is shown of the gateways.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::lab::Lab;
use e2e::peers::{APPLICATION, inside_own_network};
use e2e::process::{Running, succeed};
use e2e::scene::{Scene, program};
use e2e::service::{Connector, has_active_gateway};
use e2e::wait::{DEADLINE, until};
use serde_json::Value;

use super::Office;

#[test]
fn a_gateway_that_dies_while_nobody_uses_it_is_not_called_alive_to_who_watches() {
    if !inside_own_network(
        "transparent::watching::a_gateway_that_dies_while_nobody_uses_it_is_not_called_alive_to_who_watches",
    ) {
        return;
    }
    let scene = Scene::new("watched");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab).transparent();
    connector.start_as("alice");
    let watch = Watch::start(&scene, &connector);
    // Without anybody who watches, this would not be asked.
    until("an answer from behind the gateway", DEADLINE, || {
        (watch.last_behind()? == "answers").then_some(())
    });

    let stopped = Instant::now();
    for gateway in ["hq-1", "hq-2"] {
        lab.pull(&format!("gateways/{gateway}/stop"), &Value::Null);
    }
    until("the loss to be shown", Duration::from_secs(8), || {
        (!has_active_gateway(&watch.last()?)).then_some(())
    });
    scene.figure("until it is shown", stopped.elapsed());
}

#[test]
fn a_gateway_that_is_cut_off_from_what_is_behind_it_is_said_to_be() {
    if !inside_own_network(
        "transparent::watching::a_gateway_that_is_cut_off_from_what_is_behind_it_is_said_to_be",
    ) {
        return;
    }
    let scene = Scene::new("cut-off");
    let mut office = Office::open(&scene, 1);
    office.start();
    let watch = Watch::start(&scene, &office.connector);
    until("an answer from behind the gateway", DEADLINE, || {
        (watch.last_behind()? == "answers").then_some(())
    });

    let gateway = &office.world.gateways[0];
    let address = |verb: &str| {
        let address = format!("{APPLICATION}/32");
        succeed(
            gateway
                .runs("ip")
                .args(["address", verb, &address, "dev", "lo"]),
        );
    };
    address("del");
    let stopped = Instant::now();
    // What the wiki sent last counts for half a minute.
    until("the loss to be shown", Duration::from_secs(60), || {
        (watch.last_behind()? == "silent").then_some(())
    });
    scene.figure("until it is shown", stopped.elapsed());
    let told = office.connector.ztna(&["doctor"]);
    assert!(
        String::from_utf8_lossy(&told.stdout).contains("but nothing behind it does"),
        "{told:?}"
    );

    address("add");
    let mended = Instant::now();
    until("the way to be shown again", DEADLINE, || {
        (watch.last_behind()? == "answers").then_some(())
    });
    scene.figure("until it is shown again", mended.elapsed());
}

/// `ztna status --watch`.
struct Watch(Running);

impl Watch {
    fn start(scene: &Scene, connector: &Connector<'_>) -> Self {
        let mut watch = Command::new(program("ztna"));
        watch.args(["status", "--watch", "--json", "--socket"]);
        Self(Running::start(
            scene,
            "watch",
            watch.arg(connector.socket()),
        ))
    }

    fn last(&self) -> Option<Value> {
        let out = self.0.out();
        let line = out.lines().rfind(|line| line.ends_with('}'))?;
        serde_json::from_str(line).ok()
    }

    /// What is known of what is behind the preferred gateway, which is active.
    fn last_behind(&self) -> Option<String> {
        let status = self.last().filter(has_active_gateway)?;
        let gateway = &status["tunnel"]["sites"][0]["gateways"][0];
        Some(gateway["behind"]["state"].as_str()?.to_owned())
    }
}

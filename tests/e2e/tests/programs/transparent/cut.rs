//! How long packets go on after the company takes access back: on the wire, with a thousand flows.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use e2e::capture::{Capture, Matches};
use e2e::flows::Flows;
use e2e::peers::inside_own_network;
use e2e::scene::Scene;
use e2e::wait::{DEADLINE, until};
use serde_json::{Value, json};

use super::Office;

#[test]
fn a_revocation_ends_a_thousand_flows_on_the_wire() {
    if !inside_own_network("transparent::cut::a_revocation_ends_a_thousand_flows_on_the_wire") {
        return;
    }
    let scene = Scene::new("cut");
    let mut office = Office::open(&scene, 1);
    office.start();
    let mut flows = Flows::new(SOCKETS, destinations(), ECHO);
    let mut cuts = Vec::new();

    for round in 1..=rounds() {
        if round > 1 {
            office.connector.sign_in("alice");
        }
        office.wait_until_heard();
        let mut leaving = office.world.capture_leaving(&[DATA]);
        let mut arriving = Capture::start(&scene, None, "lo", &[ORDERED, RECEIVED]);
        wait_until_all_live(&flows, &mut leaving);

        let going_on = flows.go_on(PAUSE);
        let begun = going_on.rounds();
        until("every flow to be sent in again", DEADLINE, || {
            (going_on.rounds() > begun + 1).then_some(())
        });
        office.revoke("alice");
        let order = until("the order on the wire", DEADLINE, || {
            arriving.matches(ORDERED)
        });
        let event = until("the event on the wire", DEADLINE, || {
            arriving.matches(RECEIVED)
        });
        until("the session to be over", DEADLINE, || {
            let (_, why) = office.connector.ask(&["why", "wiki.corp.test"]);
            (why["decision"]["reason"] == "session_revoked").then_some(())
        });
        let last = leaving.matches(DATA).expect("packets before the cut");
        let cut = going_on.rounds();
        until("every flow to be tried twice more", DEADLINE, || {
            (going_on.rounds() > cut + 2).then_some(())
        });
        leaving.wait_for_marker();

        let after = leaving.matches(DATA).expect("packets before the cut");
        assert_eq!(after, last, "packets go on after the session is over");
        flows = going_on.stop();
        let cut = Cut::between(&order, &event, &last);
        assert!(cut.ordered >= cut.received, "{cut:?}");
        scene.figure(
            "from the order on the wire to the last packet, ms",
            cut.ordered,
        );
        scene.figure(
            "from the event on the wire to the last packet, ms",
            cut.received,
        );
        cuts.push(cut);
    }
    if let Some(file) = std::env::var_os("ZTNA_E2E_FIGURES") {
        let cuts: Vec<Value> = cuts.iter().map(Cut::told).collect();
        let figures = json!({"flows": flows.count(), "cuts": cuts});
        std::fs::write(file, figures.to_string()).expect("a file for the figures");
    }
}

/// One revocation, in milliseconds; nothing if the last packet was sent before.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// From the order to the transmitter.
    ordered: f64,
    /// From the segment that brought the event.
    received: f64,
}

impl Cut {
    fn between(order: &Matches, event: &Matches, last: &Matches) -> Self {
        let since = |begin: f64| ((last.last - begin) * 1000.0).max(0.0);
        Self {
            ordered: since(order.first),
            received: since(event.first),
        }
    }

    fn told(&self) -> Value {
        json!({"ordered_ms": self.ordered, "received_ms": self.received})
    }
}

/// Sends one datagram in each flow until all of them leave the laptop.
fn wait_until_all_live(flows: &Flows, leaving: &mut Capture) {
    until("every flow to be carried", DEADLINE, || {
        let before = leaving.matches(DATA).map_or(0, |found| found.count);
        let _refused = flows.send_round(Duration::from_micros(100));
        leaving.wait_for_marker();
        let after = leaving.matches(DATA).map_or(0, |found| found.count);
        (after - before >= flows.count()).then_some(())
    });
}

impl Office<'_> {
    /// Waits until the connector listens for events.
    fn wait_until_heard(&self) {
        until("the stream to be verified", Duration::from_secs(40), || {
            let stream = self.lab.look("signals")[0].clone();
            (stream["acknowledged"].as_u64() >= Some(1) && stream["waiting"] == json!([]))
                .then_some(())
        });
    }

    fn revoke(&self, login: &str) {
        let subject = json!({"format": "iss_sub", "iss": self.lab.ready("issuer"), "sub": login});
        let sent = self.lab.pull(
            "signals",
            &json!({"event": "session-revoked", "subject": subject}),
        );
        assert!(sent["jti"].is_string(), "{sent}");
    }
}

fn destinations() -> impl Iterator<Item = IpAddr> {
    (1..=250).map(|host| Ipv4Addr::new(10, 88, 5, host).into())
}

/// More for `cargo xtask bench revocation` than for a test.
fn rounds() -> u32 {
    let told = std::env::var("ZTNA_E2E_ROUNDS").ok();
    told.and_then(|told| told.parse().ok()).unwrap_or(1)
}

/// With 250 destinations, a thousand flows.
const SOCKETS: usize = 4;
const ECHO: u16 = 7;
/// Datagrams of the flows are the only ones that long.
const DATA: &str = "longer=700";
/// The order to the transmitter.
const ORDERED: &str = "text=POST /lab/signals";
/// An answer to a poll that is not empty (RFC 8936 §2.2).
const RECEIVED: &str = r#"text="sets":{""#;
/// After each datagram.
const PAUSE: Duration = Duration::from_micros(100);

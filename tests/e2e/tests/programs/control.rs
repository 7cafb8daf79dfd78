//! Control planes that do not keep to the rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::stub::{Stub, response};

#[test]
fn a_control_plane_that_always_answers_at_once_is_not_flooded() {
    for (name, fields) in [("no-etag", ""), ("etag", "ETag: \"1\"\r\n")] {
        let scene = Scene::new(name);
        let mut lab = Lab::start(&scene);
        let mut connector = Connector::install(&scene, &lab);
        connector.start();
        connector.wait_for("a configuration", |status| {
            status["configuration_version"].is_u64()
        });
        let document = e2e::process::read(&connector.path("state/configuration.jws"));
        let address = lab.ready("control_plane").trim_start_matches("http://");
        let address = address.trim_end_matches('/').to_owned();
        lab.process.kill();
        connector.wait_for("the loss to be noticed", |status| {
            status["control_plane_reachable"] == false
        });

        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let _always = Stub::start(&address, move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            response("200 OK", fields, document.as_bytes())
        });
        connector.wait_for("the stand-in to be believed", |status| {
            status["control_plane_reachable"] == true
        });
        let before = asked.load(Ordering::Relaxed);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            assert!(connector.ztna(&["status"]).status.success());
        }
        let often = asked.load(Ordering::Relaxed) - before;

        scene.figure("asked in 2 s", often);
        assert!(often <= 4, "asked {often} times in 2 s");
    }
}

//! Control planes that do not keep to the rules.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::stub::{Request, Stub, response};

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

        let asked = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
        let counted = Arc::clone(&asked);
        let _always = Stub::start(&address, move |request| {
            *counted
                .lock()
                .expect("the count")
                .entry(what_is_asked(&request))
                .or_default() += 1;
            response("200 OK", fields, document.as_bytes())
        });
        connector.wait_for("the stand-in to be believed", |status| {
            status["control_plane_reachable"] == true
        });
        asked.lock().expect("the count").clear();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            assert!(connector.ztna(&["status"]).status.success());
        }
        let asked = asked.lock().expect("the count").clone();
        // Once a second, and what was under way at either end.
        let most = begun.elapsed().as_secs() + 2;

        scene.figure("asked in 2 s", format!("{asked:?}"));
        assert!(!asked.is_empty(), "nothing was asked any more");
        for (what, often) in asked {
            assert!(often <= most, "{what} was asked {often} times in 2 s");
        }
    }
}

/// Method and path; questions of one kind count together whatever their query.
fn what_is_asked(request: &Request) -> String {
    let line = request.head.lines().next().unwrap_or_default();
    line.split(['?', ' ']).take(2).collect::<Vec<_>>().join(" ")
}

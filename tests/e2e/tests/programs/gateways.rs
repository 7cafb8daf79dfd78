//! Gateways that die.

use std::time::{Duration, Instant};

use e2e::curl::{Curl, Form, lab_byte};
use e2e::lab::Lab;
use e2e::scene::Scene;
use e2e::service::{Connector, active_gateway};
use serde_json::Value;

#[test]
fn a_download_survives_the_death_of_its_gateway() {
    const SIZE: usize = 20_000_000;
    let scene = Scene::new("survive");
    let lab = Lab::start(&scene);
    let mut connector = Connector::install(&scene, &lab);
    connector.start_as("alice");
    let curl = Curl::through(&scene, &connector.proxy());
    let url = format!("http://wiki.corp.test/download?bytes={SIZE}&rate=2500000");
    let mut download = curl.download(Form::Absolute, &url);
    download.wait_for(2_000_000, Duration::from_secs(20));

    let stopped = Instant::now();
    lab.pull("gateways/hq-1/stop", &Value::Null);
    connector.wait_for("the other gateway", |status| {
        active_gateway(status).as_deref() == Some("hq-2")
    });
    scene.figure("until the other gateway is active", stopped.elapsed());
    let before = download.size();
    download.wait_for(before + 1, Duration::from_secs(20));
    scene.figure(
        "until bytes arrive through the other gateway",
        stopped.elapsed(),
    );

    assert_eq!(
        download.wait(Duration::from_secs(40)),
        0,
        "{}",
        download.error()
    );
    assert_eq!(download.checked(lab_byte), SIZE);
}

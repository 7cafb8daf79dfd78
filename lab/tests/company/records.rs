//! Decision logs that hosts hand over.

use connector_core::audit::chain::{Chain, Link, LogId};
use connector_core::audit::seal::Cause;
use connector_core::time::WallTime;
use ed25519_dalek::SigningKey;
use reqwest::Response;
use serde_json::Value;

use crate::support::{Corp, Device, client, json_of};

#[tokio::test]
async fn lines_are_taken_once_and_verified() {
    let corp = Corp::start().await;
    let device = corp.device().await;
    let lines = lines(&device.key, 6);

    let first = accept(&corp, &device, 0, &lines[..4]).await;
    let again = accept(&corp, &device, 2, &lines[2..]).await;

    assert_eq!(
        (first["through"].as_u64(), again["through"].as_u64()),
        (Some(4), Some(6))
    );
    let view = corp.plane.records().remove(0);
    assert_eq!((view.host, view.through), (device.host_id, 6));
    assert_eq!((view.lines, view.checkpoints, view.rewritten), (6, 6, 0));
    assert_eq!(view.flaws, [""; 0]);
    assert_eq!(view.checkpoint.as_deref(), lines.last().map(String::as_str));
}

#[tokio::test]
async fn a_hole_is_taken_only_if_nothing_is_there_any_more_and_is_told() {
    let corp = Corp::start().await;
    let device = corp.device().await;
    let lines = lines(&device.key, 9);
    accept(&corp, &device, 0, &lines[..2]).await;

    let early = accept(&corp, &device, 5, &lines[5..]).await;
    let gone = accept(&corp, &device, 2, &lines[5..]).await;

    assert_eq!(early["through"], 2);
    assert_eq!(gone["through"], 9);
    let flaws = &corp.plane.records()[0].flaws;
    assert_eq!(flaws.len(), 1);
    assert!(flaws[0].contains("records 3 to 5 are missing"), "{flaws:?}");
}

#[tokio::test]
async fn another_story_and_a_strange_key_are_told() {
    let corp = Corp::start().await;
    let (device, other) = (corp.device().await, corp.device().await);
    let story = lines(&device.key, 3);
    accept(&corp, &device, 0, &story).await;

    accept(&corp, &device, 0, &lines(&other.key, 3)).await;
    accept(&corp, &other, 0, &story).await;

    let views = corp.plane.records();
    let of = |device: &Device| {
        views
            .iter()
            .find(|view| view.host == device.host_id)
            .unwrap()
    };
    assert_eq!(of(&device).rewritten, 3);
    assert_eq!(of(&other).checkpoints, 0);
    assert_eq!(of(&other).flaws.len(), 3);
}

#[tokio::test]
async fn what_are_no_lines_of_a_log_is_refused() {
    let corp = Corp::start().await;
    let device = corp.device().await;
    let line = lines(&device.key, 1).concat();
    let kind = "application/x-ndjson";
    for (query, kind, body, status) in [
        ("?after=0", kind, String::new(), 400),
        ("?after=0", kind, "{}\n".to_owned(), 400),
        ("?after=0", kind, line.trim_end().to_owned(), 400),
        ("?after=0", kind, format!("{line}\u{0}\n"), 400),
        ("?after=-1", kind, line.clone(), 400),
        ("", kind, line.clone(), 400),
        ("?after=0", "application/json", line.clone(), 415),
        ("?after=0", kind, "x".repeat(1024 * 1024 + 1), 413),
    ] {
        let response = client()
            .post(corp.url(&format!("v1/records{query}")))
            .header("authorization", device.host_assertion(&corp))
            .header("content-type", kind)
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{query} {kind}");
    }
    let unproven = client()
        .post(corp.url("v1/records?after=0"))
        .body(line)
        .send();
    assert_eq!(unproven.await.unwrap().status(), 401);
    assert!(corp.plane.records().is_empty());
}

async fn accept(corp: &Corp, device: &Device, after: u64, lines: &[String]) -> Value {
    let response: Response = client()
        .post(corp.url(&format!("v1/records?after={after}")))
        .header("authorization", device.host_assertion(corp))
        .header("content-type", "application/x-ndjson")
        .body(lines.concat())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    json_of(response).await
}

/// Returns the lines of a log that says nothing but that it is there.
fn lines(key: &SigningKey, count: u64) -> Vec<String> {
    let mut chain = Chain::new(Link::first(LogId::from_random(&[5; 16])), "0.1.0");
    let mut line = |millis| {
        let line = chain.seal(Cause::Due, 1, WallTime::from_unix_millis(millis), key);
        String::from_utf8(line.unwrap().bytes).unwrap()
    };
    (0..count).map(&mut line).collect()
}

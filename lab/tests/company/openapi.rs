//! The document and the server say the same.

use std::collections::BTreeSet;

use connector_core::control::DISCOVERY_PATH;
use lab::control_plane::ROUTES;
use reqwest::Method;

use crate::support::{Corp, client};

const DOCUMENT: &str = include_str!("../../../docs/control-plane.openapi.yaml");

#[test]
fn every_served_route_is_described_and_every_described_one_is_served() {
    let served: BTreeSet<(String, String)> = ROUTES
        .iter()
        .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
        .collect();

    assert_eq!(described(), served);
    assert_eq!(ROUTES[0].1, format!("/{DISCOVERY_PATH}"));
}

#[tokio::test]
async fn the_server_knows_the_described_methods_and_no_others() {
    let corp = Corp::start().await;
    let paths: BTreeSet<String> = described().into_iter().map(|(_, path)| path).collect();

    for path in paths {
        for method in ["get", "post", "put", "delete", "patch"] {
            let url = corp.url(path.replace("{id}", "x").trim_start_matches('/'));
            let verb = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();

            let status = client()
                .request(verb, url)
                .send()
                .await
                .unwrap()
                .status()
                .as_u16();

            let known = described().contains(&(method.to_owned(), path.clone()));
            assert_eq!(status != 405, known, "{method} {path}: {status}");
            assert_ne!(status, 404, "{method} {path}");
        }
    }
    let elsewhere = client().get(corp.url("v1/elsewhere")).send().await.unwrap();
    assert_eq!(elsewhere.status(), 404);
    assert_eq!(
        elsewhere.headers()["content-type"],
        "application/problem+json"
    );
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    for reference in DOCUMENT.split("$ref: \"#/").skip(1) {
        let name = reference.split('"').next().unwrap();
        let last = name.rsplit('/').next().unwrap();

        assert!(DOCUMENT.contains(&format!("\n    {last}:\n")), "{name}");
    }
}

/// Reads the paths and methods off the document's indentation.
fn described() -> BTreeSet<(String, String)> {
    let paths = DOCUMENT.split_once("\npaths:\n").unwrap().1;
    let paths = paths.split_once("\ncomponents:\n").unwrap().0;
    let mut path = "";
    let mut found = BTreeSet::new();
    for line in paths.lines() {
        let Some(key) = line.trim().strip_suffix(':') else {
            continue;
        };
        match line.len() - line.trim_start().len() {
            2 => path = key,
            4 if ["get", "put", "post", "delete", "patch"].contains(&key) => {
                found.insert((key.to_owned(), path.to_owned()));
            }
            _ => {}
        }
    }
    found
}

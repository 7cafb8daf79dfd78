use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::catalogue::Endpoint;
use crate::configuration::{Configuration, DOCUMENT_TYPE, Rejected, Trust, Version};
use crate::jws::{self, PublicKey};
use crate::time::{Moment, Now, WallTime};

#[test]
fn a_signed_document_becomes_a_configuration() {
    let configuration = accept(&document()).unwrap();

    assert_eq!(configuration.version, Version(7));
    assert_eq!(configuration.catalogue.resources().count(), 1);
    assert_eq!(
        configuration.expires_at,
        Moment::from_boot(std::time::Duration::from_secs(100))
    );
}

#[test]
fn members_that_are_not_known_yet_are_ignored() {
    let mut document = document();
    document["later"] = json!({"anything": 1});

    assert!(accept(&document).is_ok());
}

#[test]
fn versions_never_go_back_but_the_same_one_may_come_again() {
    let jws = sign(&document());

    assert!(trust().accept(&jws, Version(7), now()).is_ok());
    assert_eq!(
        trust().accept(&jws, Version(8), now()),
        Err(Rejected::OlderVersion {
            version: Version(7),
            floor: Version(8)
        })
    );
}

#[test]
fn an_expired_document_is_rejected() {
    let mut document = document();
    document["expires_at"] = json!(1000);

    assert_eq!(
        accept(&document),
        Err(Rejected::Expired {
            version: Version(7)
        })
    );
}

#[test]
fn a_document_signed_by_another_key_is_never_parsed() {
    let jws = jws::sign(
        &SigningKey::from_bytes(&[9; 32]),
        DOCUMENT_TYPE,
        &json!("no document"),
    )
    .unwrap();

    assert!(matches!(
        trust().accept(&jws, Version(0), now()),
        Err(Rejected::Signature(_))
    ));
}

#[test]
fn even_a_signed_document_cannot_lift_the_ceilings_for_resources() {
    for (pointer, value, path) in [
        (
            "/resources/0/names/0",
            json!("www.bank.example"),
            "resources[wiki].names",
        ),
        (
            "/resources/0/names/0",
            json!("*.test"),
            "resources[wiki].names",
        ),
        (
            "/resources/0/prefixes",
            json!(["0.0.0.0/0"]),
            "resources[wiki].prefixes",
        ),
        (
            "/resources/0/prefixes",
            json!(["127.0.0.0/8"]),
            "resources[wiki].prefixes",
        ),
        (
            "/resources/0/prefixes",
            json!(["169.254.169.254"]),
            "resources[wiki].prefixes",
        ),
        (
            "/resources/0/prefixes",
            json!(["ff02::1"]),
            "resources[wiki].prefixes",
        ),
        (
            "/resources/0/ports/tcp",
            json!(["0"]),
            "resources[wiki].ports.tcp",
        ),
        (
            "/resources/0/ports/tcp",
            json!(["90-80"]),
            "resources[wiki].ports.tcp",
        ),
        (
            "/resources/0/site",
            json!("nowhere"),
            "resources[wiki].site",
        ),
        (
            "/resources/0/lease_seconds",
            json!(0),
            "resources[wiki].lease_seconds",
        ),
    ] {
        refuses(pointer, &value, path);
    }
}

#[test]
fn even_a_signed_document_cannot_lift_the_ceilings_for_anything_else() {
    for (pointer, value, path) in [
        ("/sites/0/gateways", json!([]), "sites[hq]"),
        (
            "/sites/0/gateways/0/public_key",
            json!("AAAA"),
            "sites[hq].gateways[hq-1].public_key",
        ),
        (
            "/sites/0/gateways/0/id",
            json!("hq 1"),
            "sites[hq].gateways",
        ),
        (
            "/sites/0/gateways/0/endpoint",
            json!("gateway.corp.test"),
            "sites[hq].gateways[hq-1].endpoint",
        ),
        (
            "/sites/0/gateways/0/allowed_ips",
            json!(["0.0.0.0/0"]),
            "sites[hq].gateways[hq-1].allowed_ips",
        ),
        (
            "/sites/0/resolvers",
            json!(["127.0.0.1"]),
            "sites[hq].resolvers",
        ),
        (
            "/identity/issuer",
            json!("http://idp.example"),
            "identity.issuer",
        ),
        ("/policy/pdp", json!("ftp://pdp.example"), "policy.pdp"),
        ("/session/idle_seconds", json!(0), "session.idle_seconds"),
        (
            "/posture/checks",
            json!([{"id": "x", "title": "", "sql": {"plan9": ""}, "remedy": "", "interval_seconds": 1, "max_age_seconds": 2}]),
            "posture.checks[x].sql",
        ),
        ("/posture/builtin", json!(["a", "a"]), "posture"),
        ("/posture/builtin", json!(["a b"]), "posture"),
    ] {
        refuses(pointer, &value, path);
    }
}

#[test]
fn a_gateway_may_be_named_instead_of_numbered() {
    let mut document = document();
    document["sites"][0]["gateways"][0]["endpoint"] = json!("Gateway.corp.test:51820");

    let configuration = accept(&document).unwrap();

    let site = configuration.catalogue.site(&"hq".into()).unwrap();
    assert_eq!(
        site.gateways[0].endpoint,
        Endpoint::Name {
            host: "gateway.corp.test".parse().unwrap(),
            port: 51820
        }
    );
}

fn refuses(pointer: &str, value: &Value, path: &str) {
    let mut document = document();
    *document.pointer_mut(pointer).unwrap() = value.clone();

    match accept(&document) {
        Err(Rejected::Invalid { path: found, .. }) => assert_eq!(found, path, "{value}"),
        other => panic!("{pointer} = {value}: {other:?}"),
    }
}

fn accept(document: &Value) -> Result<Configuration, Rejected> {
    trust().accept(&sign(document), Version(0), now())
}

fn sign(document: &Value) -> String {
    jws::sign(&key(), DOCUMENT_TYPE, document).unwrap()
}

fn trust() -> Trust {
    Trust {
        key: PublicKey::of(&key()),
        suffixes: vec!["corp.test".parse().unwrap()],
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn now() -> Now {
    Now {
        moment: Moment::default(),
        wall: WallTime::from_unix_millis(1_000_000),
    }
}

fn document() -> Value {
    json!({
        "version": 7,
        "issued_at": 900,
        "expires_at": 1100,
        "organisation": {"name": "Corp", "support": "help@corp.test"},
        "identity": {"issuer": "https://idp.corp.test", "client_id": "ztna-connector", "scopes": ["openid"]},
        "policy": {"pdp": "http://127.0.0.1:4000"},
        "session": {"idle_seconds": 3600, "absolute_seconds": 36000},
        "sites": [{
            "id": "hq",
            "resolvers": ["10.20.0.53"],
            "gateways": [{
                "id": "hq-1",
                "endpoint": "127.0.0.1:51820",
                "public_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                "allowed_ips": ["10.20.0.0/16"],
            }],
        }],
        "resources": [{
            "id": "wiki",
            "title": "Wiki",
            "names": ["wiki.corp.test"],
            "prefixes": [],
            "ports": {"tcp": ["80", "8000-8099"]},
            "site": "hq",
            "lease_seconds": 300,
        }],
        "posture": {"builtin": ["disk-encryption"], "checks": []},
    })
}

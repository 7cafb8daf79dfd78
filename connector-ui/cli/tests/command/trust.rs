//! Acting for somebody else, from the command line.

use connector_ipc::{DelegationReport, FailureKind, Reply, Request};

use crate::examples::failed;
use crate::fake::{FakeService, ztna};

#[test]
fn a_consent_is_asked_for_with_program_scope_and_time() {
    let service = FakeService::answering([Reply::Delegation(delegation())]);

    let ended = service.run(&[
        "delegate",
        "/opt/agents/reader",
        "--to",
        "wiki,mail",
        "--for",
        "2h",
        "--reason",
        "Report",
        "--json",
    ]);

    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.json()["schema"], "ztna.delegation/1");
    assert_eq!(ended.json()["id"], "d-1");
    let expected = Request::Delegate {
        program: "/opt/agents/reader".into(),
        scope: vec!["wiki".into(), "mail".into()],
        seconds: 7200,
        reason: Some("Report".into()),
    };
    assert_eq!(service.requests(), [expected]);
}

#[test]
fn an_elevation_that_the_policy_denies_exits_with_the_code_for_that() {
    let service = FakeService::answering([failed(FailureKind::Denied)]);

    let ended = service.run(&[
        "elevate",
        "carol",
        "--reason",
        "Pay day",
        "--evidence",
        "a",
        "--evidence",
        "b",
    ]);

    assert_eq!(ended.code, Some(5), "{}", ended.stderr);
    let expected = Request::Elevate {
        target: "carol".into(),
        reason: "Pay day".into(),
        evidence: vec!["a".into(), "b".into()],
        seconds: 1800,
    };
    assert_eq!(service.requests(), [expected]);
}

#[test]
fn what_is_taken_back_is_named_by_its_id_alone() {
    let service = FakeService::answering([Reply::Done]);

    let ended = service.run(&["delegate", "--revoke", "d-1"]);

    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let expected = Request::RevokeDelegation { id: "d-1".into() };
    assert_eq!(service.requests(), [expected]);
    for wrong in [
        &["delegate"][..],
        &["delegate", "/bin/sh"],
        &["delegate", "/bin/sh", "--revoke", "d-1"],
        &["elevate", "carol"],
        &["elevate", "carol", "--revoke", "e-1"],
    ] {
        let ended = ztna(wrong).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn lists_that_are_empty_say_what_to_do() {
    for (verb, reply, expected) in [
        ("delegations", Reply::Delegations(vec![]), "ztna delegate"),
        ("elevations", Reply::Elevations(vec![]), "ztna elevate"),
    ] {
        let service = FakeService::answering([reply]);

        let ended = service.run(&[verb]);

        assert_eq!(ended.code, Some(0));
        assert!(ended.stdout.contains(expected), "{}", ended.stdout);
    }
}

fn delegation() -> DelegationReport {
    DelegationReport {
        id: "d-1".into(),
        program: "/opt/agents/reader".into(),
        sha256: "ab".into(),
        scope: vec!["wiki".into(), "mail".into()],
        reason: Some("Report".into()),
        expires_at: "2026-11-22T10:00:00Z".into(),
        policy: None,
        commit: None,
    }
}

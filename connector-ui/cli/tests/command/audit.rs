//! `ztna audit`, which needs no service.

use std::fs;

use serde_json::Value;

use crate::fake::{Outcome, ztna};

/// A log of four lines as a service wrote it: started, a denial, a permit, stopped.
const LOG: &str = include_str!("decisions.jsonl");

#[test]
fn a_log_as_it_was_written_is_intact_and_one_that_was_edited_is_not() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().display().to_string();
    let log = root.path().join("decisions.jsonl");
    let verify = |text: &str| -> (Option<i32>, String, Value) {
        fs::write(&log, text).unwrap();
        let text = run(&["audit", "verify", "--log-dir", &dir]);
        let json = run(&["audit", "verify", "--log-dir", &dir, "--json"]);
        assert_eq!(text.code, json.code);
        (
            text.code,
            text.stdout,
            serde_json::from_str(&json.stdout).unwrap(),
        )
    };

    let (exit, text, json) = verify(LOG);
    assert_eq!(exit, Some(0), "{text}");
    assert!(
        text.starts_with("✓ Intact\n  Records 1 to 4 follow each other.\n"),
        "{text}"
    );
    assert_eq!(json["schema"], "ztna.audit/1");
    assert_eq!(
        (&json["intact"], &json["checkpoints"]),
        (&true.into(), &2.into())
    );
    assert_eq!(
        (&json["unsealed"], &json["key_given"]),
        (&0.into(), &false.into())
    );

    let (exit, text, json) =
        verify(&LOG.replace(r#""decision":"denied""#, r#""decision":"permitted""#));
    assert_eq!(exit, Some(1));
    assert!(
        text.contains("decisions.jsonl:2: record 2 was changed"),
        "{text}"
    );
    assert_eq!(json["flaws"][0]["kind"], "changed");
    assert_eq!(json["flaws"][0]["line"], 2);

    let without: String = LOG.split_inclusive('\n').skip(1).collect();
    assert_eq!(verify(&without).0, Some(1));
}

#[test]
fn another_key_and_another_checkpoint_are_found_out() {
    let root = tempfile::tempdir().unwrap();
    let (log, anchor) = (root.path().join("log"), root.path().join("anchor"));
    fs::write(&log, LOG).unwrap();
    fs::write(&anchor, LOG.lines().last().unwrap()).unwrap();
    let cut: String = LOG.split_inclusive('\n').take(2).collect();
    let (log, anchor) = (log.display().to_string(), anchor.display().to_string());

    let strange = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let forged = run(&["audit", "verify", &log, "--key", strange]);
    let anchored = run(&["audit", "verify", &log, "--anchor", &anchor]);
    fs::write(&log, cut).unwrap();
    let missing = run(&["audit", "verify", &log, "--anchor", &anchor]);

    assert_eq!(forged.code, Some(1));
    assert!(forged.stdout.contains("is not signed by this host's key"));
    assert_eq!(anchored.code, Some(0), "{}", anchored.stdout);
    assert!(anchored.stdout.contains("1 checkpoint found in place"));
    assert_eq!(missing.code, Some(1));
    assert!(missing.stdout.contains("records 3 to 4 are missing"));
}

#[test]
fn what_is_exported_is_what_is_in_the_files_in_order() {
    let root = tempfile::tempdir().unwrap();
    let (older, newer) = LOG.split_at(LOG.find('\n').unwrap() + 1);
    fs::write(root.path().join("decisions.jsonl.1"), older).unwrap();
    fs::write(root.path().join("decisions.jsonl"), newer).unwrap();

    let exported = run(&[
        "audit",
        "export",
        "--log-dir",
        &root.path().display().to_string(),
    ]);

    assert_eq!((exported.code, exported.stdout.as_str()), (Some(0), LOG));
}

#[test]
fn a_log_that_is_not_there_and_a_key_that_is_none_are_told() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().display().to_string();

    let missing = run(&["audit", "verify", "--log-dir", &dir]);
    let no_key = run(&["audit", "verify", "--log-dir", &dir, "--key", "abc"]);

    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("--log-dir"), "{}", missing.stderr);
    assert_eq!(no_key.code, Some(2));
    assert!(no_key.stderr.contains("Ed25519"), "{}", no_key.stderr);
}

fn run(arguments: &[&str]) -> Outcome {
    ztna(arguments).output().unwrap().into()
}

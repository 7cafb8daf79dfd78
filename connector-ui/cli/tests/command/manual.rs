//! The manual, `docs/cli.md`, tells what the command does.

use crate::fake::{Outcome, ztna};

#[test]
fn the_manual_names_every_verb() {
    let manual = manual();
    let help: Outcome = ztna(&["--help"]).output().unwrap().into();
    let verbs: Vec<&str> = help
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();

    assert_eq!(verbs.len(), 25, "{}", help.stdout);
    for verb in verbs {
        assert!(manual.contains(&format!("| `{verb}")), "{verb}");
    }
}

#[test]
fn the_manual_names_every_schema() {
    let manual = manual();
    for verb in [
        "audit",
        "repair",
        "status",
        "whoami",
        "resources",
        "why",
        "posture",
        "decisions",
        "decision",
        "policy_log",
        "policy_commit",
        "policy_file",
        "policy_test",
        "policy_replay",
        "request",
        "requests",
        "delegation",
        "delegations",
        "elevation",
        "elevations",
        "config",
        "doctor",
        "netcheck",
        "version",
    ] {
        assert!(manual.contains(&format!("`ztna.{verb}/1`")), "{verb}");
    }
}

fn manual() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    std::fs::read_to_string(path).unwrap()
}

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

    assert_eq!(verbs.len(), 27, "{}", help.stdout);
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
        "service",
        "config",
        "override",
        "overridden",
        "doctor",
        "netcheck",
        "version",
    ] {
        assert!(manual.contains(&format!("`ztna.{verb}/1`")), "{verb}");
    }
}

#[test]
fn every_verb_has_a_page_in_roff() {
    let names: Outcome = ztna(&["manual"]).output().unwrap().into();
    let names: Vec<&str> = names.stdout.lines().collect();

    assert_eq!(names.first(), Some(&"ztna"));
    for verb in ["ztna-status", "ztna-policy-test"] {
        assert!(names.contains(&verb), "{names:?}");
    }
    assert!(
        !names
            .iter()
            .any(|name| name.ends_with("-manual") || name.ends_with("-help"))
    );
    for name in names {
        let page: Outcome = ztna(&["manual", name]).output().unwrap().into();
        assert!(page.stdout.contains(&format!(".TH {name} 1")), "{name}");
    }
    let unknown: Outcome = ztna(&["manual", "ztna-fly"]).output().unwrap().into();
    assert!(unknown.stderr.contains("ztna-fly"), "{}", unknown.stderr);
}

fn manual() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    std::fs::read_to_string(path).unwrap()
}

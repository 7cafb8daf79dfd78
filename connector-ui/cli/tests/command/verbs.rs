//! Each verb, when all is well.

use connector_ipc::{
    AccessRequestReport, AccessRequestStatus, FailureKind, Outcome, PolicyReplayReport,
    PolicyTestReport, Reply, Request, Standing,
};
use serde_json::json;

use crate::examples::{access, alice, decision, failed, posture, resources, settings, status};
use crate::fake::{FakeService, Outcome as Ended, ztna};

#[test]
fn status_is_one_screen_or_one_object() {
    let service = FakeService::answering([status(Standing::Connected)]);

    let text = service.run(&["status"]);
    let json = service.run(&["status", "--json"]);

    assert_eq!((text.code, text.stderr.as_str()), (Some(0), ""));
    for part in [
        "● Connected · Example Corp",
        "Alice",
        "hq-1",
        "12.5 MiB",
        "127.0.0.1:3128",
    ] {
        assert!(text.stdout.contains(part), "{part} in {}", text.stdout);
    }
    assert!(!text.stdout.contains('\x1b'));
    assert_eq!(json.code, Some(0));
    assert_eq!(
        json.json(),
        json!({
            "schema": "ztna.status/1",
            "standing": "connected",
            "summary": {"message": "The gateway hq-1 answers."},
            "organisation": "Example Corp",
            "support": null,
            "identity": identity(),
            "trust_level": "high",
            "checks_unmet": 0,
            "tunnel": {
                "addresses": ["100.64.0.2"],
                "dropped": 0,
                "open_flows": 1,
                "sites": [{"id": "hq", "gateways": [{
                    "id": "hq-1",
                    "endpoint": "192.0.2.1:51820",
                    "state": "active",
                    "last_handshake": "2026-11-22T09:59:48Z",
                    "handshake_micros": 1310,
                    "rx_bytes": 13_107_200,
                    "tx_bytes": 1024,
                }], "in_use": true}],
            },
            "proxy": {"listen": "127.0.0.1:3128", "pac_url": "http://127.0.0.1:3128/proxy.pac"},
            "control_plane": "https://control.corp.test",
            "control_plane_reachable": true,
            "configuration_version": 17,
            "version": "9.8.7",
        })
    );
    assert_eq!(
        service.requests(),
        [
            Request::Status { follow: false },
            Request::Status { follow: false }
        ]
    );
}

#[test]
fn a_probe_prints_nothing_and_exits_with_zero_or_one() {
    for (standing, live, ready) in [
        (Standing::Connected, 0, 0),
        (Standing::Restricted, 0, 0),
        (Standing::SignedOut, 0, 1),
        (Standing::Degraded, 0, 1),
        (Standing::Paused, 0, 1),
    ] {
        let service = FakeService::answering([status(standing)]);
        for (check, code) in [("live", live), ("ready", ready)] {
            let outcome = service.run(&["status", "--check", check]);
            assert_eq!(outcome.code, Some(code), "{standing:?} {check}");
            assert_eq!(
                (outcome.stdout, outcome.stderr),
                (String::new(), String::new())
            );
        }
    }

    let nobody = ztna(&["status", "--check", "live"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(nobody.stdout.is_empty() && nobody.stderr.is_empty());
}

#[test]
fn whoami_shows_the_identity() {
    let service = FakeService::answering([Reply::Identity(alice())]);

    let text = service.run(&["whoami"]);
    let json = service.run(&["whoami", "--json"]);

    assert!(
        text.stdout.contains("Alice <alice@corp.test>"),
        "{}",
        text.stdout
    );
    let mut expected = identity();
    expected["schema"] = "ztna.whoami/1".into();
    assert_eq!((json.code, json.json()), (Some(0), expected));
}

#[test]
fn resources_are_listed() {
    let service = FakeService::answering([resources()]);

    let text = service.run(&["resources"]);
    let json = service.run(&["networks", "--json"]);

    assert!(
        text.stdout
            .contains("✓ permitted  Company wiki  wiki.corp.test"),
        "{}",
        text.stdout
    );
    assert_eq!(
        json.json(),
        json!({"schema": "ztna.resources/1", "resources": [{
            "id": "wiki",
            "title": "Company wiki",
            "names": ["wiki.corp.test"],
            "ports": ["tcp/443"],
            "site": "hq",
            "state": "permitted",
        }]})
    );
}

#[test]
fn why_answers_with_its_exit_code_too() {
    for (outcome, reason, code) in [
        (Outcome::Permitted, "policy_permitted", 0),
        (Outcome::Denied, "policy_denied", 5),
        (Outcome::Denied, "posture_unmet", 6),
        (Outcome::Denied, "signed_out", 3),
        (Outcome::Denied, "pdp_late", 7),
        (Outcome::Denied, "pdp_unreachable", 10),
    ] {
        let service = FakeService::answering([access(outcome, reason)]);

        let text = service.run(&["why", "https://Wiki.corp.test/page"]);
        let quiet = service.run(&["why", "-q", "[2001:db8::7]:22"]);

        assert_eq!(
            (text.code, text.stderr.as_str()),
            (Some(code), ""),
            "{reason}"
        );
        assert!(text.stdout.contains("→ Ask Bob.") && text.stdout.contains(reason));
        assert!(text.stdout.contains("→ Turn it on."));
        assert_eq!((quiet.code, quiet.stdout.as_str()), (Some(code), ""));
        assert_eq!(
            service.requests(),
            [
                Request::Why {
                    host: "wiki.corp.test".into(),
                    port: Some(443),
                    program: None,
                },
                Request::Why {
                    host: "2001:db8::7".into(),
                    port: Some(22),
                    program: None,
                },
            ]
        );
    }
}

#[test]
fn why_has_a_schema() {
    let service = FakeService::answering([access(Outcome::Denied, "policy_denied")]);

    let json = service.run(&["why", "wiki.corp.test", "--json"]);

    assert_eq!(json.code, Some(5));
    assert_eq!(
        json.json(),
        json!({
            "schema": "ztna.why/1",
            "decision": decision_json(),
            "title": "Company wiki",
            "site": "hq",
            "lease_seconds": null,
            "checks_unmet": [check_json()],
        })
    );
}

#[test]
fn posture_is_measured_again_on_request() {
    let service = FakeService::answering([posture()]);

    let text = service.run(&["posture"]);
    let json = service.run(&["posture", "--refresh", "--json"]);

    assert_eq!(text.code, Some(0));
    assert!(
        text.stdout.contains("✗ fail  Firewall is on  no rules"),
        "{}",
        text.stdout
    );
    assert_eq!(
        json.json(),
        json!({"schema": "ztna.posture/1", "trust_level": "low", "checks": [check_json()]})
    );
    assert_eq!(
        service.requests(),
        [
            Request::Posture { refresh: false },
            Request::Posture { refresh: true }
        ]
    );
}

#[test]
fn decisions_are_lines_or_one_object() {
    let service = FakeService::answering([
        Reply::Decision(decision(Outcome::Denied, "policy_denied")),
        Reply::Done,
    ]);

    let text = service.run(&["decisions"]);
    let json = service.run(&["decisions", "--denied", "-n", "7", "--json"]);

    assert_eq!(text.stdout.lines().count(), 1);
    assert!(
        text.stdout.contains("✗ denied     wiki.corp.test:443"),
        "{}",
        text.stdout
    );
    assert_eq!(
        json.json(),
        json!({"schema": "ztna.decisions/1", "decisions": [decision_json()]})
    );
    assert_eq!(
        service.requests(),
        [
            Request::Decisions {
                follow: false,
                denied: false,
                limit: 20
            },
            Request::Decisions {
                follow: false,
                denied: true,
                limit: 7
            },
        ]
    );
}

#[test]
fn config_shows_settings_and_on_request_their_origin() {
    let service = FakeService::answering([settings()]);

    let text = service.run(&["config"]);
    let origin = service.run(&["config", "--show-origin"]);
    let json = service.run(&["config", "--json"]);

    assert_eq!(text.stdout, "proxy.listen  \"127.0.0.1:3128\"\n");
    assert_eq!(origin.stdout, "proxy.listen  \"127.0.0.1:3128\"  default\n");
    assert_eq!(
        json.json(),
        json!({"schema": "ztna.config/1", "settings": [
            {"key": "proxy.listen", "value": "\"127.0.0.1:3128\"", "origin": "default",
                "locked": false, "description": "Where the local proxy listens."},
        ]})
    );
}

#[test]
fn version_answers_with_and_without_a_service() {
    let service = FakeService::answering([]);

    let with = service.run(&["version", "--json"]);
    let without = ztna(&["version"]).output().unwrap();

    assert_eq!(
        with.json(),
        json!({
            "schema": "ztna.version/1",
            "command": env!("CARGO_PKG_VERSION"),
            "protocol": 1,
            "service": "9.8.7",
        })
    );
    assert_eq!(without.status.code(), Some(0));
    let text = String::from_utf8(without.stdout).unwrap();
    assert!(text.contains("unknown: no service answers"), "{text}");
}

#[test]
fn orders_are_carried_out_and_confirmed() {
    for (verb, request, confirmation) in [
        ("up", Request::Up, "Switched on."),
        ("down", down(None, None), "Switched off."),
        (
            "down --for 15m",
            down(Some(900), None),
            "Switched off. Protected applications cannot be reached for 15 min",
        ),
        (
            "down --reason Hotel",
            down(None, Some("Hotel")),
            "Switched off.",
        ),
        ("logout", Request::Logout, "Signed out."),
    ] {
        let service = FakeService::answering([Reply::Done]);

        let words: Vec<&str> = verb.split(' ').collect();
        let loud = service.run(&words);
        let quiet = service.run(&[&words[..], &["--quiet"]].concat());

        assert_eq!(loud.code, Some(0));
        assert!(loud.stdout.starts_with(confirmation), "{}", loud.stdout);
        assert_eq!((quiet.code, quiet.stdout.as_str()), (Some(0), ""));
        let mut requests = service.requests();
        requests.retain(|request| !matches!(request, Request::Status { .. }));
        assert_eq!(requests, [request.clone(), request]);
    }
}

fn down(seconds: Option<u64>, reason: Option<&str>) -> Request {
    Request::Down {
        seconds,
        reason: reason.map(str::to_owned),
    }
}

#[test]
fn login_prints_the_address_and_waits_for_the_person() {
    let page = Reply::SignInPage { url: PAGE.into() };
    let service = FakeService::answering([page, Reply::Identity(alice())]);

    let loud = service.run(&["login", "--no-browser"]);
    let quiet = service.run(&["login", "--no-browser", "-q"]);

    assert_eq!(loud.code, Some(0));
    assert!(
        loud.stdout.starts_with(&format!("Sign in at\n  {PAGE}\n")),
        "{}",
        loud.stdout
    );
    assert!(
        loud.stdout
            .contains("Signed in as Alice <alice@corp.test>.")
    );
    assert_eq!(quiet.stdout, format!("Sign in at\n  {PAGE}\n"));
}

#[test]
fn a_page_that_takes_the_place_of_another_is_shown() {
    let page = |url: &str| Reply::SignInPage { url: url.into() };
    let other = "https://idp.corp.test/authorize?state=y";
    let service = FakeService::answering([
        page(PAGE),
        page(PAGE),
        page(other),
        Reply::Identity(alice()),
    ]);

    let outcome = service.run(&["login", "--no-browser", "-q"]);

    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        outcome.stdout,
        format!("Sign in at\n  {PAGE}\nThe page has changed. Sign in at\n  {other}\n")
    );
}

#[test]
fn who_signs_in_while_switched_off_is_told_so() {
    for (standing, is_told) in [(Standing::Paused, true), (Standing::Connected, false)] {
        let service =
            FakeService::in_turn([vec![Reply::Identity(alice())], vec![status(standing)]]);

        let outcome = service.run(&["login"]);

        assert_eq!(outcome.code, Some(0));
        let told = outcome
            .stdout
            .ends_with("\nStill switched off; run `ztna up`.\n");
        assert_eq!(told, is_told, "{}", outcome.stdout);
        assert_eq!(
            service.requests(),
            [Request::Login, Request::Status { follow: false }]
        );
    }
}

#[test]
fn a_page_that_is_no_web_address_is_neither_opened_nor_shown() {
    let page = Reply::SignInPage {
        url: "file:///etc/\x1b[2Jpasswd".into(),
    };
    let service = FakeService::answering([page, Reply::Identity(alice())]);

    let outcome = service.run(&["login"]);

    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    assert!(
        outcome.stderr.contains("no web address"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains("passwd"));
}

#[test]
fn a_refused_sign_in_is_reported() {
    let page = Reply::SignInPage { url: PAGE.into() };
    let service = FakeService::answering([page, failed(FailureKind::SignInRefused)]);

    let outcome = service.run(&["login", "--no-browser"]);

    assert_eq!(outcome.code, Some(3));
    assert_eq!(outcome.stderr, "ztna: It went wrong.\n");
}

#[test]
fn every_shell_has_a_completion_script() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = ztna(&["completion", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(
            script.contains("resources") && script.contains("show-origin"),
            "{shell}"
        );
    }
}

#[test]
fn colour_is_used_only_where_it_is_welcome() {
    let service = FakeService::answering([status(Standing::Connected)]);
    let is_colored = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = service.command(arguments);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        output.stdout.contains(&0x1b)
    };

    assert!(!is_colored(&["status"], &[("TERM", "xterm")]));
    assert!(is_colored(
        &["status", "--color", "always"],
        &[("NO_COLOR", "1")]
    ));
    assert!(!is_colored(&["--color=never", "status"], &[]));
}

#[test]
fn text_is_as_wide_as_columns_says() {
    let service = FakeService::answering([status(Standing::Connected)]);

    let output = service
        .command(&["status"])
        .env("COLUMNS", "60")
        .output()
        .unwrap();

    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        assert!(line.chars().count() <= 60, "{line}");
    }
}

fn identity() -> serde_json::Value {
    json!({
        "subject": "u-1",
        "name": "Alice",
        "email": "alice@corp.test",
        "groups": ["staff"],
        "issuer": "https://idp.corp.test",
        "session_id": "s-1",
        "expires_at": "2999-11-22T18:00:00Z",
    })
}

fn decision_json() -> serde_json::Value {
    json!({
        "id": "d-1",
        "time": "2026-11-22T10:00:00Z",
        "target": "wiki.corp.test:443",
        "resource": "wiki",
        "outcome": "denied",
        "reason": "policy_denied",
        "message": "So says the policy.",
        "remedy": "Ask Bob.",
        "workload": {"path": "/usr/bin/curl", "user": 1000},
        "subject": "u-1",
        "decided_by": "pdp",
        "latency_micros": 900,
        "count": 1,
        "is_mixed": false,
    })
}

fn check_json() -> serde_json::Value {
    json!({
        "id": "firewall",
        "title": "Firewall is on",
        "finding": "fail",
        "evidence": "no rules",
        "remedy": "Turn it on.",
        "measured_at": null,
    })
}

const PAGE: &str = "https://idp.corp.test/authorize?client_id=ztna&state=x";

#[test]
fn a_file_of_a_commit_is_put_together_from_its_parts() {
    let part = |text: &str| Reply::PolicyText { text: text.into() };
    let service = FakeService::answering([part("permit(\n"), part("principal\n"), Reply::Done]);

    let text = service.run(&["policy", "show", "candidate", "wiki.cedar"]);
    let json = service.run(&["policy", "show", "active", "wiki.cedar", "--json"]);

    assert_eq!(
        (text.code, text.stdout.as_str()),
        (Some(0), "permit(\nprincipal\n")
    );
    assert_eq!(
        json.json(),
        json!({"schema": "ztna.policy_file/1", "name": "wiki.cedar", "text": "permit(\nprincipal\n"})
    );
    assert_eq!(
        service.requests()[0],
        Request::PolicyShow {
            commit: "candidate".into(),
            file: Some("wiki.cedar".into()),
        }
    );
}

#[test]
fn a_table_is_sent_whole_and_a_row_that_is_not_as_expected_makes_the_command_fail() {
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("wiki.jsonl");
    std::fs::write(&table, "# first\n{}\n").unwrap();
    let table = table.to_str().unwrap();
    let report = |unmet| {
        Reply::PolicyTest(PolicyTestReport {
            commit: "bafy".into(),
            met: 1,
            unmet,
            rows: vec![],
        })
    };

    let good = FakeService::answering([report(0)]);
    let bad = FakeService::answering([report(1)]);

    assert_eq!(good.run(&["policy", "test", table]).code, Some(0));
    let failed = bad.run(&["policy", "test", table, "--commit", "candidate", "--json"]);
    assert_eq!(failed.code, Some(1));
    assert_eq!(
        failed.json(),
        json!({"schema": "ztna.policy_test/1", "commit": "bafy", "met": 1, "unmet": 1, "rows": []})
    );
    assert_eq!(
        bad.requests(),
        [Request::PolicyTest {
            commit: "candidate".into(),
            table: "# first\n{}\n".into(),
        }]
    );
}

#[test]
fn a_table_that_is_not_there_or_too_long_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("long.jsonl");
    std::fs::write(&long, "#".repeat(128 * 1024 + 1)).unwrap();
    let service = FakeService::answering([]);

    let gone = service.run(&["policy", "test", "/nonexistent/table.jsonl"]);
    let long = service.run(&["policy", "test", long.to_str().unwrap()]);

    assert_eq!((gone.code, long.code), (Some(1), Some(1)));
    assert!(gone.stderr.contains("/nonexistent/table.jsonl"));
    assert!(long.stderr.contains("split it"), "{}", long.stderr);
    assert!(service.requests().is_empty());
}

#[test]
fn a_replay_names_a_commit_and_an_age_only_if_they_are_given() {
    let report = PolicyReplayReport {
        commit: "bafy".into(),
        replayed: 2,
        same: 2,
        not_asked: 0,
        incomplete: 0,
        changes: vec![],
        more: 0,
    };
    let service = FakeService::answering([Reply::PolicyReplay(report)]);

    let plain = service.run(&["policy", "replay"]);
    let json = service.run(&[
        "policy", "replay", "--commit", "active", "--since", "2h", "--json",
    ]);

    assert!(
        plain
            .stdout
            .starts_with("Nothing would be decided otherwise.")
    );
    assert_eq!(json.json()["schema"], "ztna.policy_replay/1");
    assert_eq!(
        service.requests(),
        [
            Request::PolicyReplay {
                commit: None,
                since: None,
            },
            Request::PolicyReplay {
                commit: Some("active".into()),
                since: Some(7200),
            },
        ]
    );
}

#[test]
fn access_is_asked_for_and_what_became_of_it_is_listed() {
    let report = AccessRequestReport {
        id: "request-7".into(),
        status: AccessRequestStatus::Pending,
        resource: "payroll".into(),
        title: Some("Payroll".into()),
        reason: "Pay day".into(),
        seconds: 7200,
        requested_at: "2026-11-22T10:00:00Z".into(),
        until: None,
        approver: Some("finance-leads".into()),
    };
    let service = FakeService::in_turn([
        vec![Reply::AccessRequest(report.clone())],
        vec![Reply::AccessRequests(vec![report])],
    ]);
    let arguments = [
        "request",
        "payroll.corp.test:80",
        "--reason",
        "Pay day",
        "--for",
        "2h",
    ];

    let asked = service.run(&arguments);
    let listed = service.run(&["requests", "--json"]);

    assert_eq!((asked.code, asked.stderr.as_str()), (Some(0), ""));
    assert!(asked.stdout.contains("· pending"), "{}", asked.stdout);
    assert_eq!(listed.json()["schema"], "ztna.requests/1");
    assert_eq!(listed.json()["requests"][0]["status"], "pending");
    assert_eq!(
        service.requests(),
        [
            Request::RequestAccess {
                host: "payroll.corp.test".into(),
                port: Some(80),
                reason: "Pay day".into(),
                seconds: 7200,
            },
            Request::AccessRequests,
        ]
    );
}

#[test]
fn nothing_is_asked_for_without_a_reason_or_for_a_time_that_is_none() {
    let host = "payroll.corp.test";
    for arguments in [
        &["request", host][..],
        &["request", "--reason", "Pay day"],
        &["request", host, "--reason", "Pay day", "--for", "2"],
        &["request", host, "--reason", "Pay day", "--for", "soon"],
    ] {
        let output: Ended = ztna(arguments).output().unwrap().into();
        assert_eq!(output.code, Some(2), "{arguments:?}: {}", output.stderr);
    }
}

//! What goes wrong ends in a clear message and its own exit code.

use std::time::{Duration, Instant};

use connector_ipc::{Failure, FailureKind, Outcome, Reply, Standing, VERSION, frame};

use crate::examples::{decision, failed, status};
use crate::fake::{FakeService, Outcome as Run, Then, welcome, ztna};

#[test]
fn without_a_service_every_verb_says_how_to_start_it() {
    for verb in [
        &["status"][..],
        &["status", "--json"],
        &["whoami"],
        &["resources"],
        &["posture"],
        &["decisions", "--follow"],
        &["config"],
        &["up"],
        &["down"],
        &["login"],
        &["logout"],
        &["why", "wiki.corp.test"],
    ] {
        let outcome: Run = ztna(verb).output().unwrap().into();
        assert_eq!(outcome.code, Some(4), "{verb:?}");
        assert_eq!(outcome.stdout, "", "{verb:?}");
        assert!(
            outcome.stderr.contains("/nonexistent/ztnad.sock"),
            "{}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains("ztnad --userspace"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn the_socket_can_be_named_on_the_command_line() {
    let outcome: Run = ztna(&["--socket", "/elsewhere/sock", "status"])
        .output()
        .unwrap()
        .into();

    assert_eq!(outcome.code, Some(4));
    assert!(
        outcome.stderr.contains("/elsewhere/sock"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn what_the_service_refuses_has_its_code_and_advice() {
    for (kind, code, advice) in [
        (FailureKind::NotSignedIn, 3, "ztna login"),
        (FailureKind::Offline, 10, "ztna status"),
        (FailureKind::PermissionDenied, 8, "sudo ztna"),
        (FailureKind::TimedOut, 7, "It went wrong."),
        (FailureKind::Internal, 1, "log"),
        (FailureKind::BadRequest, 1, "It went wrong."),
    ] {
        let outcome = FakeService::answering([failed(kind)]).run(&["whoami", "--json"]);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(code), ""),
            "{kind:?}"
        );
        assert!(
            outcome.stderr.contains(advice),
            "{kind:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn other_versions_are_named_and_the_older_side_is_to_be_updated() {
    let newer = FakeService::speaking(&welcome(VERSION + 8), [], Then::Close).run(&["status"]);
    let refusal = Reply::Failed(Failure {
        kind: FailureKind::VersionMismatch,
        message: "this service speaks version 9, you speak 1".into(),
        remedy: None,
    });
    let refused = FakeService::speaking(&refusal, [], Then::Close).run(&["status"]);

    assert_eq!((newer.code, refused.code), (Some(1), Some(1)));
    assert!(
        newer
            .stderr
            .contains("version 1 of the protocol, the service version 9")
    );
    assert!(
        newer.stderr.contains("Update this command"),
        "{}",
        newer.stderr
    );
    assert!(refused.stderr.contains("speaks version 9"));
    assert!(
        refused.stderr.contains("Update ztna and ztnad"),
        "{}",
        refused.stderr
    );
}

#[test]
fn garbage_ends_in_a_clear_error() {
    let hello = frame::encode(&welcome(VERSION)).unwrap();
    let deep = [&[0, 1, 0, 0][..], &[b'['; 65_536]].concat();
    for (greeting, replies) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), vec![]),
        (vec![0xff; 64], vec![]),
        (vec![0, 0, 0, 0], vec![]),
        (vec![0, 0, 0, 2, b'{', 0xfe], vec![]),
        (hello.clone(), vec![0x00, 0x04, 0x00, 0x01]),
        (hello.clone(), deep),
        (
            hello.clone(),
            b"\0\0\0\x14{\"reply\":\"newthing\"}".to_vec(),
        ),
        (hello.clone(), frame::encode(&Reply::Done).unwrap()),
        (hello, frame::encode(&welcome(VERSION)).unwrap()),
    ] {
        let outcome = FakeService::blurting(greeting, replies.clone(), Then::Wait).run(&["status"]);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(1), ""),
            "{replies:?}"
        );
        assert!(
            outcome.stderr.starts_with("ztna: the service"),
            "{}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains("ztna version"),
            "{}",
            outcome.stderr
        );
        assert!(outcome.stderr.len() < 1000, "{}", outcome.stderr);
    }
}

#[test]
fn a_service_that_hangs_up_has_not_answered() {
    let hello = frame::encode(&welcome(VERSION)).unwrap();
    let answer = frame::encode(&status(Standing::Connected)).unwrap();
    for (greeting, replies) in [
        (vec![], vec![]),
        (vec![0, 0], vec![]),
        (hello[..20].to_vec(), vec![]),
        (hello.clone(), vec![]),
        (hello, answer[..100].to_vec()),
    ] {
        let outcome = FakeService::blurting(greeting, replies, Then::Close).run(&["status"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(4), ""));
        assert!(
            outcome.stderr.contains("ended the connection"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn a_service_that_says_nothing_is_not_waited_for_without_end() {
    let hello = frame::encode(&welcome(VERSION)).unwrap();
    for greeting in [vec![], hello] {
        let service = FakeService::blurting(greeting, vec![], Then::Wait);
        let started = Instant::now();

        let outcome = service.run(&["status", "--timeout", "1"]);

        assert_eq!(outcome.code, Some(7));
        assert!(
            outcome.stderr.contains("within 1 second\n"),
            "{}",
            outcome.stderr
        );
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn a_sign_in_that_takes_too_long_is_given_up() {
    let page = Reply::SignInPage {
        url: "https://idp.corp.test/".into(),
    };
    let service = FakeService::following([page]);

    let outcome = service.run(&["login", "--no-browser", "--timeout", "1"]);

    assert_eq!(outcome.code, Some(7));
    assert!(outcome.stdout.contains("https://idp.corp.test/"));
    assert!(
        outcome
            .stderr
            .contains("you did not finish signing in within 1 second\n"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn more_decisions_than_were_asked_for_are_not_collected() {
    let decisions = || Reply::Decision(decision(Outcome::Denied, "policy_denied"));
    let service = FakeService::answering([decisions(), decisions(), Reply::Done]);

    let outcome = service.run(&["decisions", "--limit", "1"]);

    assert_eq!(outcome.code, Some(1), "{outcome:?}");
}

#[test]
fn wrong_usage_has_its_own_code_and_a_hint() {
    for (arguments, hint) in [
        (&["statu"][..], "status"),
        (&["login", "--no-brower"], "--no-browser"),
        (&["up", "--json"], "--json"),
        (&["why"], "HOST[:PORT]"),
        (&["why", "a:99999"], "from 1 to 65535"),
        (&["why", "bücher.test"], "no host name"),
        (&["status", "--timeout", "0"], "from 1 to 86400"),
        (
            &["status", "--timeout", "abc"],
            "`abc` is no number of seconds",
        ),
        (&["decisions", "--limit", "10001"], "from 0 to 10000"),
        (&["status", "--check", "alive"], "live"),
        (&["completion", "tcsh"], "bash"),
        (&[], "Usage"),
    ] {
        let outcome: Run = ztna(arguments).output().unwrap().into();
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(
            outcome.stderr.contains(hint),
            "{arguments:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn help_is_an_answer() {
    for arguments in [
        &["--help"][..],
        &["help", "why"],
        &["status", "--help"],
        &["-h"],
    ] {
        let outcome: Run = ztna(arguments).output().unwrap().into();
        assert_eq!(
            (outcome.code, outcome.stderr.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
        assert!(outcome.stdout.contains("Examples:"), "{}", outcome.stdout);
    }
}

#[test]
fn the_help_of_a_verb_does_not_repeat_what_all_verbs_accept() {
    let short: Run = ztna(&["up", "-h"]).output().unwrap().into();
    let long: Run = ztna(&["up", "--help"]).output().unwrap().into();

    assert!(!short.stdout.contains("--socket"), "{}", short.stdout);
    assert!(short.stdout.contains("see more with '--help'"));
    assert!(long.stdout.contains("Global options:"), "{}", long.stdout);
    assert!(long.stdout.contains("--socket"));
}

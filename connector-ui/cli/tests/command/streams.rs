//! Output that goes on, and output that nobody reads.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use connector_ipc::{Outcome, Reply, Request, Standing};
use serde_json::Value;

use crate::examples::{decision, status};
use crate::fake::{FakeService, ztna};

#[test]
fn each_change_of_the_status_is_one_line_of_json_at_once() {
    let service =
        FakeService::following([status(Standing::Connecting), status(Standing::Connected)]);
    let mut command = service.command(&["status", "--watch", "--json", "--timeout", "1"]);
    let mut child = Running(command.stdout(Stdio::piped()).spawn().unwrap());

    let lines = child.lines(2);

    for (line, standing) in lines.iter().zip(["connecting", "connected"]) {
        let object: Value = serde_json::from_str(line).unwrap();
        assert_eq!(object["schema"], "ztna.status/1");
        assert_eq!(object["standing"], standing);
    }
    assert_eq!(service.requests(), [Request::Status { follow: true }]);
    assert!(child.0.try_wait().unwrap().is_none(), "it goes on");
}

#[test]
fn decisions_are_shown_as_they_are_made() {
    let service = FakeService::following([
        Reply::Decision(decision(Outcome::Permitted, "policy_permitted")),
        Reply::Decision(decision(Outcome::Denied, "policy_denied")),
    ]);
    let mut command = service.command(&["decisions", "-f"]);
    let mut text = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let lines = text.lines(2);
    drop(text);
    let mut command = service.command(&["decisions", "--follow", "--json"]);
    let mut json = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let objects = json.lines(2);

    assert!(
        lines[0].contains("✓ permitted") && lines[1].contains("✗ denied"),
        "{lines:?}"
    );
    let object: Value = serde_json::from_str(&objects[1]).unwrap();
    assert_eq!(object["schema"], "ztna.decision/1");
    assert_eq!(object["outcome"], "denied");
}

#[test]
fn following_ends_with_the_service() {
    let service = FakeService::answering([status(Standing::Connected)]);

    let outcome = service.run(&["status", "--watch"]);

    assert_eq!(outcome.code, Some(4));
    assert!(outcome.stdout.contains("Connected"));
    assert!(
        outcome.stderr.contains("ended the connection"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn ctrl_c_gives_up_the_sign_in_cleanly() {
    let page = Reply::SignInPage {
        url: "https://idp.corp.test/".into(),
    };
    let service = FakeService::following([page]);
    let mut command = service.command(&["login", "--no-browser"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    child.lines(3);

    // Only some systems have this command, and signals.
    let id = child.0.id().to_string();
    let Ok(sent) = Command::new("kill").args(["-INT", &id]).status() else {
        return;
    };
    assert!(sent.success());
    let mut complaint = String::new();
    let mut stderr = child.0.stderr.take().unwrap();
    stderr.read_to_string(&mut complaint).unwrap();

    assert_eq!(complaint, "ztna: interrupted; you are not signed in\n");
    assert_eq!(child.0.wait().unwrap().code(), Some(130));
}

#[test]
fn a_reader_who_leaves_is_no_reason_to_complain() {
    let endless = || (0..100).map(|_| status(Standing::Connected));
    let service = FakeService::following(endless());
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["status", "--watch"],
        &["completion", "bash"],
        &["--help"],
    ] {
        let mut command = service.command(arguments);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = command
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = Running(child);
        // The pipe's end in this process would keep the service's writes alive.
        drop(command);

        let mut complaint = String::new();
        let mut stderr = child.0.stderr.take().unwrap();
        stderr.read_to_string(&mut complaint).unwrap();

        assert_eq!(complaint, "", "{arguments:?}");
        assert_eq!(child.0.wait().unwrap().code(), Some(141), "{arguments:?}");
    }
}

#[test]
fn the_probe_does_not_need_an_output() {
    let service = FakeService::answering([status(Standing::Connected)]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);

    let code = service
        .command(&["status", "--check", "ready"])
        .stdout(writer)
        .status()
        .unwrap();

    assert_eq!(code.code(), Some(0));
}

#[test]
fn a_full_disk_is_reported() {
    // Only some systems have a device that is always full; Linux does.
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        assert_ne!(std::env::consts::OS, "linux", "/dev/full cannot be opened");
        return;
    };

    let output = ztna(&["completion", "bash"]).stdout(full).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.starts_with("ztna: cannot write the output"),
        "{complaint}"
    );
}

/// A child that does not outlive its test.
struct Running(Child);

impl Running {
    /// Returns the first `count` lines of the output.
    fn lines(&mut self, count: usize) -> Vec<String> {
        let stdout = self.0.stdout.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        (0..count)
            .map(|_| {
                let left = deadline.saturating_duration_since(Instant::now());
                receiver.recv_timeout(left).unwrap()
            })
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

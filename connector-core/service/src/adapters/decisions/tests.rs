use std::time::Duration;

use connector_core::access::{Destination, Flow, Protocol, Reason, Workload};
use connector_core::audit::{DecidedBy, Outcome};
use connector_core::posture::Verdict;
use connector_core::time::WallTime;

use super::*;

#[test]
fn decisions_are_numbered_on_across_restarts_and_a_torn_line() {
    let root = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open(&root.path().join("log")).unwrap();
    write(&dir, 2);
    let mut torn = dir.append(LOG).unwrap();
    torn.write_all(br#"{"class_uid":4001,"metad"#).unwrap();

    let reports = write(&dir, 1);

    let ids: Vec<&str> = reports.iter().map(|report| report.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    let lines = String::from_utf8(dir.read(LOG).unwrap().unwrap()).unwrap();
    assert_eq!(lines.lines().count(), 4);
    assert!(serde_json::from_str::<Value>(lines.lines().last().unwrap()).is_ok());
}

#[test]
fn a_full_log_is_set_aside_and_the_numbering_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open(&root.path().join("log")).unwrap();
    let mut file = LogFile::open(dir.clone(), &Recent::new()).unwrap();
    file.append(&record()).unwrap();
    file.rotate().unwrap();
    drop(file);

    let reopened = LogFile::open(dir.clone(), &Recent::new()).unwrap();

    assert_eq!(reopened.next, 2);
    assert!(dir.path("decisions.jsonl.1").exists());
}

#[test]
fn a_log_that_somebody_moved_costs_no_older_one() {
    let root = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open(&root.path().join("log")).unwrap();
    let mut file = LogFile::open(dir.clone(), &Recent::new()).unwrap();
    file.append(&record()).unwrap();
    file.rotate().unwrap();
    file.append(&record()).unwrap();

    for _ in 0..3 {
        std::fs::remove_file(dir.path(LOG)).unwrap();
        file.rotate().unwrap();
        file.append(&record()).unwrap();
    }

    assert!(dir.path("decisions.jsonl.1").exists());
    assert!(!dir.path("decisions.jsonl.2").exists());
    assert_eq!(file.next, 6);
}

#[test]
fn what_is_shown_is_what_was_written() {
    let event = record().to_ocsf(7, "0.1.0");

    let report = from_ocsf(&event).unwrap();

    assert_eq!(report.id, "7");
    assert_eq!(report.target, "wiki.corp.test:80");
    assert_eq!(report.reason, "signed_out");
    assert_eq!(report.decided_by, "local");
    assert!(report.remedy.unwrap().contains("ztna login"));
}

fn write(dir: &PrivateDir, count: usize) -> Vec<DecisionReport> {
    let (events, _receiver) = mpsc::channel(16);
    let log = DecisionLog::open(dir.clone(), events).unwrap();
    for _ in 0..count {
        log.write(None, Box::new(record()));
    }
    let recent = log.recent();
    log.close();
    recent.follow().0
}

fn record() -> Record {
    Record {
        time: WallTime::from_unix_millis(1),
        flow: Flow {
            destination: Destination::Name("wiki.corp.test".parse().unwrap()),
            protocol: Protocol::Tcp(80),
            workload: Workload::Unknown,
        },
        process: None,
        resource: None,
        outcome: Outcome::Denied(Reason::SignedOut.into()),
        decided_by: DecidedBy::Local,
        latency: Duration::ZERO,
        session: None,
        host: None,
        verdict: Verdict::default(),
        configuration: None,
    }
}

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use connector_core::access::{Destination, Flow, Protocol, Reason, Workload};
use connector_core::audit::chain::{Link, LogId};
use connector_core::audit::seal::Cause;
use connector_core::audit::{DecidedBy, Outcome, Record};
use connector_core::posture::Verdict;
use connector_core::time::WallTime;
use connector_platform::decision_log::{self, Expected, LOG, Report, Source};
use connector_platform::private::PrivateDir;
use ed25519_dalek::SigningKey;
use tokio::sync::mpsc;

use super::*;

#[test]
fn decisions_are_numbered_on_across_restarts_and_a_torn_line() {
    let world = World::new();
    world.write(2);
    let mut torn = world.log.append(LOG).unwrap();
    torn.write_all(br#"{"class_uid":4001,"metad"#).unwrap();

    let reports = world.write(1);

    let ids: Vec<&str> = reports.iter().map(|report| report.id.as_str()).collect();
    // Checkpoints have numbers as well: start, stop, torn, not in order, start.
    assert_eq!(ids, ["2", "3", "7"]);
    let report = world.verify();
    assert!(report.is_intact(), "{:?}", report.flaws);
    assert_eq!(gaps(&report), [Cause::Torn { bytes: 24 }]);
    assert_eq!(report.anchored, 1);
}

#[test]
fn wherever_a_killed_service_left_its_file_the_next_start_makes_it_whole_and_says_so() {
    let world = World::new();
    let mut log = world.open();
    append(&mut log, 3);
    drop(log);
    let whole = world.log.read(LOG).unwrap().unwrap();
    let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;

    for length in (first_line..whole.len()).step_by(97) {
        std::fs::write(world.log.path(LOG), &whole[..length]).unwrap();
        drop(world.open());

        let report = world.verify();

        assert!(report.is_intact(), "{length}: {:?}", report.flaws);
        assert!(gaps(&report).contains(&Cause::Unclean), "{length}");
        let torn = whole[..length].last() != Some(&b'\n');
        let told = gaps(&report)
            .iter()
            .any(|gap| matches!(gap, Cause::Torn { .. }));
        assert_eq!(told, torn, "{length}");
        world.forget_anchor();
    }
}

#[test]
fn an_end_that_was_cut_off_while_the_service_was_stopped_is_found_after_its_start() {
    let world = World::new();
    world.write(5);
    let lines = world.lines();
    std::fs::write(world.log.path(LOG), lines[..3].concat()).unwrap();

    world.write(1);

    let report = world.verify();
    let flaws: Vec<String> = report
        .flaws
        .iter()
        .map(|flaw| flaw.kind.to_string())
        .collect();
    assert_eq!(
        flaws,
        ["records 4 to 7 had been sealed, and were gone or changed when the service started"]
    );
}

#[test]
fn a_log_that_was_removed_or_replaced_is_found_and_no_number_is_given_twice() {
    let world = World::new();
    world.write(2);
    std::fs::remove_file(world.log.path(LOG)).unwrap();
    let other = World::new();
    other.write(9);

    world.write(1);
    let removed = world.verify();
    std::fs::copy(other.log.path(LOG), world.log.path(LOG)).unwrap();
    world.write(1);
    let replaced = world.verify();

    assert_eq!(removed.first, Some(5));
    assert_eq!(removed.flaws[0].kind.token(), "sealed_gone");
    assert!(!replaced.is_intact());
    assert!(replaced.last.unwrap() > removed.last.unwrap());
}

#[test]
fn rotation_keeps_the_chain_and_what_it_drops_untaken_is_told() {
    let world = World::new().with_limit(6_000);
    let mut log = world.open();
    while world.files() < 4 {
        append(&mut log, 1);
    }
    let early = world.verify();
    while gaps(&world.verify()).is_empty() {
        append(&mut log, 1);
    }

    let report = world.verify();

    assert!(early.is_intact(), "{:?}", early.flaws);
    assert_eq!((early.first, world.files()), (Some(1), 6));
    assert!(report.is_intact(), "{:?}", report.flaws);
    let first = report.first.unwrap();
    assert_eq!(
        gaps(&report),
        [Cause::Dropped {
            from: 1,
            through: first - 1
        }]
    );
    let oldest = world.log.path("decisions.jsonl.5");
    std::fs::remove_file(oldest).unwrap();
    assert_eq!(world.verify().flaws[0].kind.token(), "missing");
}

#[test]
fn what_was_taken_is_dropped_without_a_word() {
    let world = World::new().with_limit(3_000);
    world.delivered.set(u64::MAX);
    let mut log = world.open();
    while world.verify().first == Some(1) {
        append(&mut log, 1);
    }

    assert_eq!(gaps(&world.verify()), []);
}

#[test]
fn a_log_that_somebody_moved_costs_no_older_one() {
    let world = World::new().with_limit(1);
    let mut log = world.open();
    append(&mut log, 1);

    for _ in 0..3 {
        std::fs::remove_file(world.log.path(LOG)).unwrap();
        append(&mut log, 1);
    }

    assert!(world.log.path("decisions.jsonl.1").exists());
    assert!(!world.log.path("decisions.jsonl.3").exists());
}

#[test]
fn decisions_that_a_full_disk_did_not_take_are_told_of_once_it_does_again() {
    let world = World::new();
    let mut log = world.open();
    append(&mut log, 1);
    if !Path::new("/dev/full").exists() {
        assert_ne!(std::env::consts::OS, "linux", "there is no /dev/full");
        return;
    }
    log.files().fill();

    for millis in [1_000, 2_000] {
        let now = WallTime::from_unix_millis(millis);
        assert!(log.append(&[record(), record()], now).is_err());
    }
    assert!(world.shown(|written| written.problem.is_some()));
    log.files().mend();
    // Nothing is to be decided; it is told all the same.
    log.settle(
        Instant::now() + Duration::from_secs(2),
        WallTime::from_unix_millis(9_000),
    );
    append(&mut log, 1);

    let lost = Lost {
        count: 4,
        since: 1_000,
        until: 2_000,
    };
    let report = world.verify();
    assert!(report.is_intact(), "{:?}", report.flaws);
    assert_eq!(gaps(&report), [Cause::Unwritten(lost)]);
    assert!(world.shown(|written| written.problem.is_none()));
}

#[test]
fn decisions_that_found_the_queue_full_are_told_of() {
    let world = World::new();
    let mut log = world.open();
    let lost = Lost {
        count: 2,
        since: 5,
        until: 7,
    };
    log.overflowed(lost);
    log.overflowed(lost);

    log.settle(Instant::now(), WallTime::from_unix_millis(9));

    let report = world.verify();
    assert_eq!(gaps(&report), [Cause::Overflow(Lost { count: 4, ..lost })]);
}

#[test]
fn checkpoints_come_after_many_decisions_and_after_a_while() {
    let world = World::new();
    let mut log = world.open();
    assert!(log.pause(Instant::now()) > Duration::from_secs(60));

    append(&mut log, 255);
    let few = world.verify();
    append(&mut log, 1);
    let many = world.verify();
    append(&mut log, 1);
    assert!(log.pause(Instant::now()) <= Duration::from_secs(1));
    log.settle(
        Instant::now() + Duration::from_secs(2),
        WallTime::from_unix_millis(1),
    );
    let later = world.verify();

    let sealed = |report: &Report| (report.checkpoints, report.unsealed());
    assert_eq!(sealed(&few), (1, 255));
    assert_eq!(sealed(&many), (2, 0));
    assert_eq!(sealed(&later), (3, 0));
    assert_eq!(later.anchored, 1);
}

#[test]
fn what_is_shown_is_what_was_written() {
    let link = Link {
        sequence: 7,
        ..Link::first(LogId::from_random(&[1; 16]))
    };
    let event = record().to_ocsf(&link, "0.1.0");

    let report = from_ocsf(&event).unwrap();

    assert_eq!(report.id, "7");
    assert_eq!(report.target, "wiki.corp.test:80");
    assert_eq!(report.reason, "signed_out");
    assert_eq!(report.decided_by, "local");
    assert!(report.remedy.unwrap().contains("ztna login"));
}

#[test]
#[ignore = "a measurement: run it with --run-ignored and --no-capture"]
#[expect(clippy::print_stderr, reason = "a measurement is for people")]
fn how_many_decisions_are_written_in_a_second() {
    const COUNT: usize = 100_000;
    for batch in [1, 16, BATCH] {
        let world = World::new().with_limit(FILE_LIMIT);
        let mut log = world.open();
        let records: Vec<_> = (0..batch).map(|_| record()).collect();
        let begun = Instant::now();
        for _ in 0..COUNT / batch {
            log.append(&records, WallTime::from_unix_millis(1)).unwrap();
            log.settle(Instant::now(), WallTime::from_unix_millis(1));
        }
        let rate = COUNT as f64 / begun.elapsed().as_secs_f64();
        eprintln!("{rate:.0} decisions a second, {batch} in a write");
    }
}

struct World {
    _root: tempfile::TempDir,
    log: PrivateDir,
    state: PrivateDir,
    delivered: Delivered,
    limit: u64,
    shown: Mutex<Option<watch::Receiver<Written>>>,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self {
            log: PrivateDir::open(&root.path().join("log")).unwrap(),
            state: PrivateDir::open(&root.path().join("state")).unwrap(),
            _root: root,
            delivered: Delivered::default(),
            limit: FILE_LIMIT,
            shown: Mutex::default(),
        }
    }

    fn with_limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    fn config(&self) -> Config {
        Config {
            dir: self.log.clone(),
            state: self.state.clone(),
            key: SigningKey::from_bytes(&[1; 32]),
            delivered: vec![self.delivered.clone()],
            file_limit: self.limit,
        }
    }

    /// Opens the log without its thread.
    fn open(&self) -> Log {
        let (sender, shown) = watch::channel(Written::default());
        *lock(&self.shown) = Some(shown);
        Log::open(self.config(), &Recent::new(), sender).unwrap()
    }

    /// Runs the log for `count` decisions, and ends it in order.
    fn write(&self, count: usize) -> Vec<DecisionReport> {
        let (events, _receiver) = mpsc::channel(16);
        let log = DecisionLog::open(self.config(), events).unwrap();
        for _ in 0..count {
            log.write(None, record());
        }
        let recent = log.recent();
        log.close();
        recent.follow().0
    }

    fn verify(&self) -> Report {
        let anchors = decision_log::anchors(&self.state.path(decision_log::ANCHOR));
        let expected = Expected {
            anchors: anchors.unwrap_or_default(),
            whole: true,
            ..Expected::default()
        };
        decision_log::verify(&Source::Directory(self.log.path("")), expected).unwrap()
    }

    fn forget_anchor(&self) {
        self.state.remove(decision_log::ANCHOR).unwrap();
    }

    fn files(&self) -> usize {
        decision_log::open(&self.log.path("")).unwrap().len()
    }

    fn lines(&self) -> Vec<Vec<u8>> {
        let bytes = self.log.read(LOG).unwrap().unwrap();
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines.map(<[u8]>::to_vec).collect()
    }

    fn shown(&self, is: impl Fn(&Written) -> bool) -> bool {
        is(&lock(&self.shown).as_ref().unwrap().borrow())
    }
}

fn gaps(report: &Report) -> Vec<Cause> {
    report.gaps.iter().map(|gap| gap.cause.clone()).collect()
}

fn append(log: &mut Log, count: usize) {
    let records: Vec<_> = (0..count).map(|_| record()).collect();
    log.append(&records, WallTime::from_unix_millis(1)).unwrap();
}

fn record() -> Matter {
    Matter::from(Record {
        time: WallTime::from_unix_millis(1),
        flow: Flow {
            destination: Destination::Name("wiki.corp.test".parse().unwrap()),
            protocol: Protocol::Tcp(80),
            workload: Workload::Unknown,
        },
        acting: connector_core::trust::Acting::Oneself,
        process: None,
        resource: None,
        outcome: Outcome::Denied(Reason::SignedOut.into()),
        decided_by: DecidedBy::Local,
        latency: Duration::ZERO,
        session: None,
        host: None,
        verdict: Verdict::default(),
        network: connector_core::network::NetworkKind::Unknown,
        configuration: None,
        repetition: None,
    })
}

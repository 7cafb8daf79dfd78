use std::time::Duration;

use ed25519_dalek::SigningKey;

use super::*;
use crate::access::Reason;
use crate::audit::chain::{Chain, Link};
use crate::audit::seal::Lost;
use crate::audit::{DecidedBy, Outcome, Record};
use crate::catalogue::fixture::wiki;
use crate::posture::Verdict;

#[test]
fn a_log_as_it_was_written_is_intact() {
    let log = Log::with(9, 4);

    let report = verify(&log.lines);

    assert!(report.is_intact(), "{:?}", report.flaws);
    assert_eq!((report.first, report.last), (Some(1), Some(12)));
    assert_eq!((report.lines, report.checkpoints), (12, 3));
    assert_eq!(report.unsealed(), 0);
    assert_eq!(report.key, Some(PublicKey::of(&key())));
}

#[test]
fn any_changed_byte_before_the_last_checkpoint_is_found() {
    let log = Log::with(5, 3);
    let whole = log.lines.concat();
    let sealed = whole.len() - log.lines.last().unwrap().len();
    let mut random = Random::new();

    for index in 0..sealed {
        let mut changed = whole.clone();
        let other = random.below(255);
        changed[index] = changed[index].wrapping_add(1 + u8::try_from(other).unwrap());

        let report = verify(&split(&changed));

        assert!(!report.is_intact(), "byte {index} of {}", random.seed);
    }
}

#[test]
fn any_line_that_is_missing_doubled_or_elsewhere_is_found() {
    let log = Log::with(12, 5);
    let sealed = log.lines.len() - 1;
    for index in 0..sealed {
        let mut missing = log.lines.clone();
        missing.remove(index);
        assert!(!verify(&missing).is_intact(), "without line {index}");

        let mut doubled = log.lines.clone();
        doubled.insert(index, log.lines[index].clone());
        assert!(!verify(&doubled).is_intact(), "line {index} twice");

        for other in index + 1..sealed {
            let mut swapped = log.lines.clone();
            swapped.swap(index, other);
            assert!(!verify(&swapped).is_intact(), "{index} and {other} swapped");
        }
    }
}

#[test]
fn random_edits_before_the_last_checkpoint_are_found() {
    let log = Log::with(40, 7);
    let sealed = log.lines.len() - 1;
    let mut random = Random::new();
    for round in 0..500 {
        let mut edited = log.lines.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(sealed.min(edited.len() - 1));
            match random.below(4) {
                0 => drop(edited.remove(at)),
                1 => {
                    let to = random.below(edited.len() - 1);
                    let line = edited.remove(at);
                    edited.insert(to, line);
                }
                2 => {
                    let line = &mut edited[at];
                    let byte = random.below(line.len());
                    line[byte] ^= 1 << random.below(8);
                }
                _ => {
                    let line = edited[at].clone();
                    edited.insert(at, line);
                }
            }
        }
        let is_same = edited == log.lines;

        let report = verify(&split(&edited.concat()));

        assert_eq!(
            report.is_intact(),
            is_same,
            "round {round} of {}",
            random.seed
        );
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_nothing_else_is() {
    let log = Log::with(6, 3);
    let flaws = |lines: &[Vec<u8>]| -> Vec<String> {
        verify(lines)
            .flaws
            .iter()
            .map(ToString::to_string)
            .collect()
    };

    let mut changed = log.lines.clone();
    changed[1] = replace(&changed[1], "wiki.corp.test", "wikj.corp.test");
    assert_eq!(
        flaws(&changed),
        ["log:2: record 2 was changed: the record after it was written after another one"]
    );
    let mut missing = log.lines.clone();
    missing.drain(2..4);
    assert_eq!(flaws(&missing), ["log:3: records 3 to 4 are missing"]);
    let mut swapped = log.lines.clone();
    swapped.swap(2, 3);
    assert_eq!(
        flaws(&swapped),
        [
            "log:3: record 3 is missing",
            "log:4: record 3 stands after record 4"
        ]
    );
    let mut garbled = log.lines.clone();
    garbled[2] = b"{}\n".to_vec();
    assert_eq!(flaws(&garbled).len(), 1, "{:?}", flaws(&garbled));
    assert_eq!(flaws(&log.lines[..4]), [""; 0]);
}

#[test]
fn a_log_that_somebody_else_made_anew_is_forged_at_each_checkpoint() {
    let mut log = Log::new(&SigningKey::from_bytes(&[9; 32]));
    log.write(3);
    log.seal(Cause::Due);
    let mine = Expected {
        key: Some(PublicKey::of(&key())),
        ..Expected::default()
    };

    let report = verify_as(&log.lines, mine);

    assert_eq!(report.checkpoints, 0);
    assert!(matches!(
        report.flaws[0].kind,
        FlawKind::Forged { sequence: 4, .. }
    ));
}

#[test]
fn lines_chained_anew_from_the_middle_on_do_not_fit_the_checkpoint_after_them() {
    let log = Log::with(6, 6);
    let mut forged: Vec<Vec<u8>> = log.lines[..3].to_vec();
    let mut chain = Chain::new(Entry::parse(&log.lines[2]).unwrap().following(), "0.1.0");
    while forged.len() < 6 {
        let mut other = record();
        other.time = WallTime::from_unix_millis(2);
        forged.push(chain.append(&other.into()).bytes);
    }
    // The old signature under the new hash.
    let hash = |line: &[u8]| Entry::parse(line).unwrap().link.previous.to_string();
    let stale = hash(&log.lines[6]);
    forged.push(replace(
        &log.lines[6],
        &stale,
        &chain.next().previous.to_string(),
    ));

    let report = verify(&forged);

    assert_eq!(report.flaws.len(), 1);
    assert!(matches!(
        report.flaws[0].kind,
        FlawKind::Forged { sequence: 7, .. }
    ));
}

#[test]
fn a_checkpoint_kept_elsewhere_shows_a_cut_end_and_a_log_made_anew() {
    let log = Log::with(6, 3);
    let anchor = Entry::parse(log.lines.last().unwrap()).unwrap();
    let expected = || Expected {
        anchors: vec![anchor.clone()],
        ..Expected::default()
    };

    let cut = verify_as(&log.lines[..4], expected());
    let anew = verify_as(&Log::with(6, 2).lines, expected());

    assert_eq!(verify_as(&log.lines, expected()).anchored, 1);
    assert!(verify_as(&log.lines, expected()).is_intact());
    assert_eq!(cut.flaws[0].to_string(), "records 5 to 8 are missing");
    assert!(!anew.is_intact());
}

#[test]
fn a_log_without_its_beginning_is_whole_only_if_a_checkpoint_says_so() {
    let mut log = Log::with(4, 2);
    let whole = || Expected {
        whole: true,
        ..Expected::default()
    };

    let report = verify_as(&log.lines[3..], whole());
    assert_eq!(report.flaws[0].to_string(), "records 1 to 3 are missing");

    log.oldest = 4;
    log.seal(Cause::Rotated);
    assert!(verify_as(&log.lines[3..], whole()).is_intact());
}

#[test]
fn a_torn_end_is_no_flaw_but_a_torn_middle_is() {
    let mut log = Log::with(4, 2);
    let mut end = log.lines.clone();
    end.push(br#"{"metadata":{"seq"#.to_vec());
    log.lines.insert(2, b"{".to_vec());

    let report = verify(&end);

    assert!(report.is_intact());
    assert_eq!(report.torn.unwrap().to_string(), "log:7");
    assert!(!verify(&log.lines).is_intact());
}

#[test]
fn gaps_that_the_service_tells_of_are_listed_and_what_was_cut_is_a_flaw() {
    let mut log = Log::new(&key());
    log.write(2);
    let lost = Lost::and(None, 7, WallTime::from_unix_millis(5));
    log.seal(Cause::Unwritten(lost));
    log.write(1);
    log.jump(9);
    log.seal(Cause::Cut {
        from: 5,
        through: 8,
    });
    log.write(1);
    log.seal(Cause::Stopped);

    let report = verify(&log.lines);

    assert_eq!(report.gaps.len(), 1);
    assert!(report.gaps[0].cause.to_string().contains("record: 7 from"));
    let kinds: Vec<&str> = report.flaws.iter().map(|flaw| flaw.kind.token()).collect();
    assert_eq!(kinds, ["sealed_gone"]);
}

#[test]
fn a_log_that_is_never_sealed_is_told() {
    let mut log = Log::new(&key());
    log.write(LONGEST_UNSEALED + 20);

    let report = verify(&log.lines);

    assert_eq!(report.flaws.len(), 1);
    assert_eq!(report.flaws[0].kind, FlawKind::Unsealed { from: 1 });
}

#[test]
fn a_log_of_something_else_costs_bounded_memory() {
    let lines = vec![b"[]\n".to_vec(); 1000];

    let report = verify(&lines);

    assert_eq!(report.flaws.len(), MAX_FLAWS);
    assert_eq!(report.more_flaws, 900);
}

#[test]
fn a_line_holds_no_token_and_its_hash_is_that_of_its_bytes() {
    let log = Log::with(1, 1);
    let first = &log.lines[0];

    let second = Entry::parse(&log.lines[1]).unwrap();

    assert_eq!(second.link.previous, LineHash::of(first));
    let text = String::from_utf8(log.lines.concat()).unwrap();
    assert!(!text.contains("eyJ"), "{text}");
}

struct Log {
    chain: Chain,
    key: SigningKey,
    oldest: u64,
    lines: Vec<Vec<u8>>,
}

impl Log {
    fn new(key: &SigningKey) -> Self {
        let first = Link::first(LogId::from_random(&[1; 16]));
        Self {
            chain: Chain::new(first, "0.1.0"),
            key: key.clone(),
            oldest: 1,
            lines: Vec::new(),
        }
    }

    /// Returns `records` records, with a checkpoint after each `every` and at the end.
    fn with(records: u64, every: u64) -> Self {
        let mut log = Self::new(&key());
        for written in 1..=records {
            log.write(1);
            if written % every == 0 && written < records {
                log.seal(Cause::Due);
            }
        }
        log.seal(Cause::Stopped);
        log
    }

    fn write(&mut self, count: u64) {
        for _ in 0..count {
            self.lines.push(self.chain.append(&record().into()).bytes);
        }
    }

    fn seal(&mut self, cause: Cause) {
        let time = WallTime::from_unix_millis(1);
        let line = self
            .chain
            .seal(cause, self.oldest, time, &self.key)
            .unwrap();
        self.lines.push(line.bytes);
    }

    fn jump(&mut self, sequence: u64) {
        let next = Link {
            sequence,
            ..self.chain.next().clone()
        };
        self.chain = Chain::new(next, "0.1.0");
    }
}

fn verify(lines: &[Vec<u8>]) -> Report {
    let whole = Expected {
        whole: true,
        ..Expected::default()
    };
    verify_as(lines, whole)
}

fn verify_as(lines: &[Vec<u8>], expected: Expected) -> Report {
    let mut verifier = Verifier::new(expected);
    for (index, line) in lines.iter().enumerate() {
        let place = Place {
            file: "log".into(),
            line: index as u64 + 1,
        };
        verifier.line(place, line);
    }
    verifier.finish()
}

fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

fn replace(line: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(line.to_vec()).unwrap();
    assert!(text.contains(from));
    text.replace(from, to).into_bytes()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn record() -> Record {
    Record {
        time: WallTime::from_unix_millis(1),
        flow: wiki(80),
        acting: crate::trust::Acting::Oneself,
        process: None,
        resource: None,
        outcome: Outcome::Denied(Reason::SignedOut.into()),
        decided_by: DecidedBy::Local,
        latency: Duration::ZERO,
        session: None,
        host: None,
        verdict: Verdict::default(),
        network: crate::network::NetworkKind::Unknown,
        configuration: None,
        repetition: None,
    }
}

/// SplitMix64; the seed is printed by whoever fails.
struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    fn new() -> Self {
        let seed = std::process::id().into();
        Self { seed, state: seed }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

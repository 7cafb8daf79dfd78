//! What people may see of the policies in force.

use std::path::Path;
use std::sync::Arc;

use connector_core::authzen::printable;
use connector_core::time::WallTime;
use connector_ipc::{
    CommitReport, CommitState, FailureKind, HeadReport, NotFollowedReport, PolicyCommitReport,
    PolicyFileReport, PolicyLogReport, PolicyReplayReport, PolicyTestReport, ReplayChange, Reply,
    RowReport, VerdictReport,
};
use connector_platform::clock;
use connector_platform::decision_log::{self, LogError, Source};
use connector_policy::snapshot::Snapshot;
use connector_policy::store::{Known, NotThere, Standing, Store};
use connector_policy::table::{self, Change, Expected, Replay, Replayed, Seen, Unmet};
use serde_json::Value;

use super::failed;
use crate::adapters::policies::Shelf;

/// Lists the commits.
pub(super) fn log(shelf: &Shelf) -> Reply {
    let key = shelf.key().to_string();
    shelf.look(|store| {
        let head = store.active().map(|active| HeadReport {
            sequence: active.head.sequence.0,
            issued_at: active.head.issued_at.to_string(),
            expires_at: active.head.expires_at.to_string(),
            signed_by: key,
        });
        Reply::PolicyLog(PolicyLogReport {
            head,
            not_followed: shelf.not_followed().map(|offered| NotFollowedReport {
                offered_at: offered.at.to_string(),
                problem: offered.problem.to_string(),
            }),
            commits: store.commits().iter().map(report).collect(),
        })
    })
}

/// Describes one commit and lists its files.
pub(super) fn commit(shelf: &Shelf, name: &str) -> Reply {
    shelf.look(|store| match describe(store, name) {
        Ok(report) => Reply::PolicyCommit(report),
        Err(error) => refused(&error),
    })
}

/// Answers with a file's text, in parts that fit a frame each.
pub(super) fn text(shelf: &Shelf, commit: &str, name: &str) -> Vec<Reply> {
    let found = shelf.look(|store| {
        let known = store.find(commit)?;
        let files = store.files(&known)?;
        let file = files.iter().find(|file| file.name == name);
        Ok((known.oid, file.map(|file| parts(&file.text()))))
    });
    match found {
        Ok((_, Some(parts))) => {
            let texts = parts.into_iter().map(|text| Reply::PolicyText { text });
            texts.chain([Reply::Done]).collect()
        }
        Ok((commit, None)) => {
            let message = format!("the commit {commit} has no file {:?}", printable(name));
            let remedy = "`ztna policy show COMMIT` lists its files.";
            vec![failed(FailureKind::BadRequest, &message, Some(remedy))]
        }
        Err(error) => vec![refused(&error)],
    }
}

/// Puts a table of requests to a commit.
pub(super) fn test(shelf: &Shelf, commit: &str, table: &str) -> Reply {
    let policies = match policies(shelf, commit) {
        Ok(policies) => policies,
        Err(error) => return refused(&error),
    };
    let cases = match table::read(table) {
        Ok(cases) => cases,
        Err(error) => {
            let remedy = "docs/policy.md says what a line has.";
            return failed(FailureKind::BadRequest, &error.to_string(), Some(remedy));
        }
    };
    let report = table::run(&policies, &cases);
    Reply::PolicyTest(PolicyTestReport {
        commit: policies.commit().to_string(),
        met: report.met,
        unmet: report.unmet.len(),
        rows: report.unmet.iter().take(MAX_ROWS).map(row).collect(),
    })
}

/// Puts the recorded decisions to a commit: the candidate, unless another is meant.
pub(super) fn replay(
    shelf: &Shelf,
    commit: Option<&str>,
    since: Option<u64>,
    log_dir: &Path,
) -> Reply {
    let policies = match commit {
        Some(commit) => policies(shelf, commit),
        None => policies(shelf, "candidate").or_else(|error| match error {
            NotThere::NoCandidate => policies(shelf, "active"),
            NotThere::Ambiguous(_)
            | NotThere::Commit(_)
            | NotThere::Content(_)
            | NotThere::NoPolicies
            | NotThere::Refused { .. } => Err(error),
        }),
    };
    let policies = match policies {
        Ok(policies) => policies,
        Err(error) => return refused(&error),
    };

    let now = clock::now().wall.unix_millis();
    let since = since.map_or(0, |since| now.saturating_sub(since.saturating_mul(1000)));
    let mut replay = Replay::new(&policies);
    let read = decision_log::export(&Source::Directory(log_dir.to_owned()), |line| {
        // Checkpoints and what is torn are no decisions.
        if let Ok(event) = serde_json::from_slice::<Value>(line)
            && event["class_uid"] == NETWORK_ACTIVITY
            && event["time"].as_u64().is_some_and(|time| time >= since)
        {
            replay.take(&event);
        }
        Ok::<(), LogError>(())
    });
    match read {
        Ok(()) => Reply::PolicyReplay(replayed(&policies, &replay.finish())),
        Err(error) => failed(FailureKind::Internal, &error.to_string(), None),
    }
}

fn policies(shelf: &Shelf, commit: &str) -> Result<Arc<Snapshot>, NotThere> {
    shelf.look(|store| store.policies(store.find(commit)?.oid))
}

fn row(unmet: &Unmet) -> RowReport {
    let denial = unmet.found.outcome.as_ref().err();
    RowReport {
        name: short(&unmet.name),
        expected: verdict(&unmet.expected),
        got: verdict(&Expected::of(&unmet.found)),
        reason: denial.map(|denial| denial.reason.code().to_owned()),
    }
}

fn verdict(expected: &Expected) -> VerdictReport {
    VerdictReport {
        permitted: expected.permitted,
        policy: expected.policy.as_deref().map(short),
    }
}

fn replayed(policies: &Snapshot, report: &Replayed) -> PolicyReplayReport {
    let mut changes: Vec<(&Change, &Seen)> = report.changes.iter().collect();
    changes.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.count));
    let left_out = changes.iter().skip(MAX_ROWS).map(|(_, seen)| seen.count);
    PolicyReplayReport {
        commit: policies.commit().to_string(),
        replayed: report.replayed,
        same: report.same,
        not_asked: report.not_asked,
        incomplete: report.incomplete,
        more: report.more + left_out.sum::<u64>(),
        changes: changes
            .iter()
            .take(MAX_ROWS)
            .map(|(change, seen)| ReplayChange {
                person: short(&change.person),
                resource: short(&change.resource),
                program: change.program.as_deref().map(short),
                before: VerdictReport {
                    permitted: change.was_permitted,
                    policy: change.before.as_deref().map(short),
                },
                after: VerdictReport {
                    permitted: !change.was_permitted,
                    policy: change.after.as_deref().map(short),
                },
                count: seen.count,
                first: seen.first.to_string(),
                last: seen.last.to_string(),
            })
            .collect(),
    }
}

/// Says why the store cannot show something.
pub(super) fn refused(error: &NotThere) -> Reply {
    let remedy = match error {
        NotThere::NoPolicies => Some("`ztna status` tells whether the control plane is reached."),
        NotThere::Ambiguous(_)
        | NotThere::Commit(_)
        | NotThere::Content(_)
        | NotThere::NoCandidate
        | NotThere::Refused { .. } => None,
    };
    failed(FailureKind::BadRequest, &error.to_string(), remedy)
}

fn describe(store: &Store, name: &str) -> Result<PolicyCommitReport, NotThere> {
    let known = store.find(name)?;
    let files = store.files(&known)?;
    let shown = files.iter().take(MAX_FILES).map(|file| PolicyFileReport {
        name: file.name.to_owned(),
        language: file.language().to_owned(),
        bytes: file.length() as u64,
    });
    Ok(PolicyCommitReport {
        commit: report(&known),
        files: shown.collect(),
        more_files: files.len().saturating_sub(MAX_FILES),
        problem: store
            .policies(known.oid)
            .err()
            .map(|error| error.to_string()),
    })
}

fn report(known: &Known<'_>) -> CommitReport {
    // What a commit says of itself is shown and nothing else; it may say anything.
    let seconds = known.commit.committed_at.clamp(0, LAST_SECOND);
    let millis = seconds.unsigned_abs() * 1000;
    CommitReport {
        commit: known.oid.to_string(),
        state: match known.standing {
            Standing::Active => CommitState::Active,
            Standing::Candidate => CommitState::Candidate,
            Standing::Past => CommitState::Past,
        },
        author: short(&known.commit.author),
        committed_at: WallTime::from_unix_millis(millis).to_string(),
        message: short(&known.commit.message),
    }
}

fn short(text: &str) -> String {
    printable(text).chars().take(MAX_SHORT).collect()
}

fn parts(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > MAX_PART {
        let mut end = MAX_PART;
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (part, after) = rest.split_at(end);
        parts.push(part.to_owned());
        rest = after;
    }
    parts.push(rest.to_owned());
    parts
}

/// Files in one reply: names have up to 255 bytes, of which JSON may make twice as many.
const MAX_FILES: usize = 300;

/// Rows and changes in one reply, with five short texts each.
const MAX_ROWS: usize = 80;

/// What decisions are recorded as; checkpoints are something else.
const NETWORK_ACTIVITY: u64 = 4001;

/// Characters of a text that others wrote, of four bytes at most; a hundred commits fit one reply.
const MAX_SHORT: usize = 120;

/// A part of a text, in bytes; JSON may make six of one.
const MAX_PART: usize = 32 * 1024;

/// The end of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_loses_nothing() {
        let text = "ä\u{1}".repeat(60_000);

        let parts = parts(&text);

        assert!(parts.len() > 1);
        assert_eq!(parts.concat(), text);
        for part in parts {
            let frame = connector_ipc::frame::encode(&Reply::PolicyText { text: part });
            assert!(frame.is_ok());
        }
    }
}

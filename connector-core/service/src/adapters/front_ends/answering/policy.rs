//! What people may see of the policies in force.

use connector_core::authzen::printable;
use connector_core::time::WallTime;
use connector_ipc::{
    CommitReport, CommitState, FailureKind, HeadReport, PolicyCommitReport, PolicyFileReport,
    PolicyLogReport, Reply,
};
use connector_policy::store::{Known, NotThere, Standing, Store};

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

/// Returns a file's text in parts that fit a frame each.
pub(super) fn text(shelf: &Shelf, commit: &str, name: &str) -> Result<Vec<String>, Reply> {
    shelf.look(|store| {
        let known = store.find(commit).map_err(|error| refused(&error))?;
        let files = store.files(&known).map_err(|error| refused(&error))?;
        let file = files.iter().find(|file| file.name == name);
        let file = file.ok_or_else(|| {
            let message = format!("the commit {} has no file {:?}", known.oid, printable(name));
            let remedy = "`ztna policy show COMMIT` lists its files.";
            failed(FailureKind::BadRequest, &message, Some(remedy))
        })?;
        Ok(parts(&file.text()))
    })
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

/// Characters of what a commit says about itself; a hundred commits fit one reply.
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

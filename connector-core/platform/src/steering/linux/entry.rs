//! What the journal tells of this machine, and undoing it.

use std::io;

use serde::{Deserialize, Serialize};

use super::resolver::file::Config;
use super::routes::Table;
use super::{guard, nft, resolver};
use crate::private::PrivateDir;
use crate::steering::journal::Journal;
use crate::steering::{Change, RepairError};

/// A change to this machine, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub(super) enum Entry {
    /// The guard's tables.
    Guard,
    /// A link's name servers in systemd-resolved.
    Link {
        /// Its number.
        index: u32,
        /// Its name: numbers are given out again.
        name: String,
    },
    /// The resolver's file.
    ResolvConf {
        /// What was there.
        original: Config,
        /// What was written.
        ours: Vec<u8>,
    },
    /// Our routing table and the rules that lead to it.
    Routes {
        /// Its number.
        table: Table,
    },
}

impl Entry {
    pub(super) const fn is_file(&self) -> bool {
        matches!(self, Self::ResolvConf { .. })
    }

    /// Undoes the change, or only looks; returns whether it was there.
    async fn undo(&self, dry_run: bool) -> io::Result<bool> {
        match self {
            Self::Guard => {
                let is_there = nft::is_there()?;
                if is_there && !dry_run {
                    blocking(|| nft::run(&guard::clear())).await?;
                }
                Ok(is_there)
            }
            Self::Link { index, name } => resolver::revert_link(*index, name, dry_run).await,
            Self::ResolvConf { original, ours } if dry_run => {
                resolver::is_file_ours(original, ours)
            }
            Self::ResolvConf { original, ours } => resolver::restore(original, ours),
            Self::Routes { table } => {
                let is_there = table.is_in_use()?;
                if is_there && !dry_run {
                    table.clear()?;
                }
                Ok(is_there)
            }
        }
    }

    fn describe(&self) -> Change {
        Change(match self {
            Self::Guard => {
                "the guard against leaks in the packet filter (nftables tables `inet ztna` and `arp ztna`)".to_owned()
            }
            Self::Link { name, .. } => {
                format!("the name server for protected names on {name} (systemd-resolved)")
            }
            Self::ResolvConf { .. } => {
                "the name servers in /etc/resolv.conf".to_owned()
            }
            Self::Routes { table } => {
                format!("the routes to protected applications (routing table {table} and its rules)")
            }
        })
    }
}

pub(super) fn open(state: PrivateDir) -> Result<Journal<Entry>, RepairError> {
    Journal::open(state)
        .map_err(|problem| RepairError::new("read what was changed on this machine", problem))
}

/// Undoes the newest change first. What cannot be undone stays in the journal
/// and keeps nothing else from being undone; the first problem is told.
pub(super) async fn undo_all(
    journal: &mut Journal<Entry>,
    dry_run: bool,
) -> Result<Vec<Change>, RepairError> {
    let mut changes = Vec::new();
    let mut first_problem = None;
    let entries: Vec<Entry> = journal.entries().iter().rev().cloned().collect();
    for entry in entries {
        let outcome = match entry.undo(dry_run).await {
            Ok(was_there) => {
                changes.extend(was_there.then(|| entry.describe()));
                if dry_run {
                    Ok(())
                } else {
                    journal.forget(|other| *other == entry)
                }
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = outcome {
            first_problem.get_or_insert_with(|| {
                RepairError::new(format!("undo this: {}", entry.describe()), problem)
            });
        }
    }
    match first_problem {
        None => Ok(changes),
        Some(problem) => Err(problem),
    }
}

/// See [`crate::steering::repair`].
pub(crate) fn repair(state: &PrivateDir, dry_run: bool) -> Result<Vec<Change>, RepairError> {
    let mut journal = open(state.clone())?;
    if journal.entries().is_empty() {
        return Ok(Vec::new());
    }
    // On a thread of its own: the caller may be within another runtime.
    let outcome = std::thread::scope(|scope| {
        let repair = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|problem| RepairError::new("start the repair", problem))?;
            runtime.block_on(undo_all(&mut journal, dry_run))
        });
        repair.join()
    });
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| Err(io::Error::other(error)))
}

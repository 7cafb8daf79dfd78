//! What the store can show: its commits, their files, and what they decide.

use std::borrow::Cow;
use std::sync::Arc;

use super::compile::{self, PROFILE};
use super::{Refused, Store, graph};
use crate::object::{Blob, Commit, Metadata, Object};
use crate::oid::Oid;
use crate::snapshot::Snapshot;

/// A commit that the store knows.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The commit's name.
    pub oid: Oid,
    /// What it says about itself.
    pub commit: &'a Commit,
    /// What it is to this device.
    pub standing: Standing,
}

/// What a commit is to this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It decides.
    Active,
    /// It is evaluated beside the one that decides.
    Candidate,
    /// It is among the ancestors of the one that decides; its files are not kept.
    Past,
}

/// One file of a commit.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// The file's name.
    pub name: &'a str,
    blob: &'a Blob,
}

impl<'a> File<'a> {
    /// Returns how many bytes it has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.blob.data.len()
    }

    /// Returns what it is in, as one word.
    #[must_use]
    pub fn language(&self) -> &'static str {
        let code_type = self.blob.metadata.number(Metadata::CODE_TYPE);
        let language = self.blob.metadata.number(Metadata::LANGUAGE);
        match (code_type, language) {
            (Some(Metadata::SCHEMA), _) => "schema",
            (_, Some(Metadata::CEDAR)) => "cedar",
            (_, Some(Metadata::CEDAR_JSON)) => "cedar-json",
            _ => "unknown",
        }
    }

    /// Returns its text; what is no text in UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(&self.blob.data)
    }
}

impl Store {
    /// Returns the commits that this device knows: the candidate, unless it is one of the
    /// others, then the one in force and its ancestors, newest first.
    #[must_use]
    pub fn commits(&self) -> Vec<Known<'_>> {
        let Some(active) = &self.active else {
            return vec![];
        };
        let candidate = active.head.shadow;
        let standing = |oid: Oid| match oid {
            oid if oid == active.head.commit => Standing::Active,
            oid if Some(oid) == candidate => Standing::Candidate,
            _ => Standing::Past,
        };
        let mut known: Vec<Known<'_>> = self
            .log()
            .map(|(oid, commit)| Known {
                oid,
                commit,
                standing: standing(oid),
            })
            .take(graph::MAX_HISTORY)
            .collect();
        if let Some(oid) = candidate
            && !known.iter().any(|known| known.oid == oid)
            && let Some(Object::Commit(commit)) = self.objects.get(&oid)
        {
            let standing = Standing::Candidate;
            known.insert(
                0,
                Known {
                    oid,
                    commit,
                    standing,
                },
            );
        }
        known
    }

    /// Finds a commit by `active`, `candidate`, or the beginning of its name.
    ///
    /// # Errors
    ///
    /// [`NotThere`] if there is none, or more than one.
    pub fn find(&self, name: &str) -> Result<Known<'_>, NotThere> {
        let commits = self.commits();
        if commits.is_empty() {
            return Err(NotThere::NoPolicies);
        }
        let candidate = self.active.as_ref().and_then(|active| active.head.shadow);
        let is_meant = |known: &&Known<'_>| match name {
            "active" => known.standing == Standing::Active,
            "candidate" => Some(known.oid) == candidate,
            _ => known.oid.to_string().starts_with(name),
        };
        let mut found = commits.iter().filter(is_meant);
        match (found.next(), found.next()) {
            (Some(known), None) => Ok(*known),
            (Some(_), Some(_)) => Err(NotThere::Ambiguous(shown(name))),
            (None, _) if name == "candidate" => Err(NotThere::NoCandidate),
            (None, _) => Err(NotThere::Commit(shown(name))),
        }
    }

    /// Returns the files of a commit that connectors follow, in the order of their names.
    ///
    /// # Errors
    ///
    /// [`NotThere`] if they are not kept on this device.
    pub fn files(&self, known: &Known<'_>) -> Result<Vec<File<'_>>, NotThere> {
        let gone = || NotThere::Content(known.oid);
        let ours = known.commit.profiles.iter().find(|(key, _)| key == PROFILE);
        let (_, ours) = ours.ok_or_else(gone)?;
        let tree = compile::tree(&self.objects, *ours).map_err(|_| gone())?;
        let mut files = Vec::with_capacity(tree.entries.len());
        for entry in &tree.entries {
            files.push(File {
                name: &entry.name,
                blob: compile::blob(&self.objects, entry.oid).map_err(|_| gone())?,
            });
        }
        files.sort_by_key(|file| file.name);
        Ok(files)
    }

    /// Returns the policies of a commit, ready to decide.
    ///
    /// # Errors
    ///
    /// [`NotThere`] if they are not kept on this device, or were refused.
    pub fn policies(&self, oid: Oid) -> Result<Arc<Snapshot>, NotThere> {
        let active = self.active.as_ref().ok_or(NotThere::NoPolicies)?;
        if oid == active.head.commit {
            return Ok(Arc::clone(&active.snapshot));
        }
        match &active.shadow {
            Some(Ok(shadow)) if shadow.commit() == oid => Ok(Arc::clone(shadow)),
            Some(Err(refused)) if active.head.shadow == Some(oid) => Err(NotThere::Refused {
                commit: oid,
                refused: refused.clone(),
            }),
            Some(_) | None => Err(NotThere::Content(oid)),
        }
    }
}

/// Why the store cannot show something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotThere {
    /// Several commits begin like this.
    #[error("several commits begin with {0:?}; write more of the name")]
    Ambiguous(String),
    /// No commit begins like this.
    #[error("this device knows no commit {0:?}; `ztna policy log` lists those that it knows")]
    Commit(String),
    /// Only what is in force, and the candidate, are kept with their files.
    #[error(
        "the files of the commit {0} are not on this device; it keeps those of the active commit and of the candidate"
    )]
    Content(Oid),
    /// The head names no candidate.
    #[error("no candidate is evaluated beside the active commit")]
    NoCandidate,
    /// There is no store, or its head expired.
    #[error("no policies are in force on this device")]
    NoPolicies,
    /// The candidate cannot be evaluated.
    #[error("the commit {commit} is refused: {refused}")]
    Refused {
        /// The commit.
        commit: Oid,
        /// Why.
        refused: Refused,
    },
}

/// Takes as much of a given name as an error message should carry.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

//! Makes a snapshot of a commit whose objects are all here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Refused;
use crate::manifest::Manifest;
use crate::object::{Blob, Commit, Entry, Metadata, Object, Tree};
use crate::oid::Oid;
use crate::policy::{self, Policy};
use crate::snapshot::Snapshot;

/// Reads policies, and remembers those of files that did not change.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    read: BTreeMap<(Oid, String), Vec<Arc<Policy>>>,
}

impl Compiler {
    pub(super) fn compile(
        &mut self,
        objects: &BTreeMap<Oid, Object>,
        oid: Oid,
    ) -> Result<Snapshot, Refused> {
        let commit = commit(objects, oid)?;
        let manifest = blob(objects, commit.manifest)?;
        let manifest = Manifest::parse(&manifest.data)?;
        for (profile, oid) in &commit.profiles {
            let tree = tree(objects, *oid)?;
            if !manifest.describes(profile, &tree.partition) {
                return Err(Refused::NotDescribed {
                    profile: profile.clone(),
                    partition: tree.partition.clone(),
                });
            }
        }

        let ours = commit.profiles.iter().find(|(key, _)| key == PROFILE);
        let (_, ours) = ours.ok_or(Refused::NoProfile(oid))?;
        let mut entries: Vec<&Entry> = tree(objects, *ours)?.entries.iter().collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let mut files = Vec::new();
        for entry in entries {
            files.push((entry, blob(objects, entry.oid)?));
        }
        self.read(&files)?;
        let policies = files
            .iter()
            .filter_map(|(entry, _)| self.read.get(&key(entry)));
        Ok(Snapshot::new(oid, policies.flatten().map(Arc::clone))?)
    }

    /// Forgets the files of objects that are not kept.
    pub(super) fn retain(&mut self, kept: &BTreeSet<Oid>) {
        self.read.retain(|(oid, _), _| kept.contains(oid));
    }

    /// Reads the files that were not read before. One that is not understood
    /// might be the one that forbids, so it is not left out.
    fn read(&mut self, files: &[(&Entry, &Blob)]) -> Result<(), Refused> {
        let mut sources = Vec::new();
        for (entry, blob) in files {
            if self.read.contains_key(&key(entry)) {
                continue;
            }
            match language(entry, blob)? {
                Language::Cedar => sources.push((*entry, &*blob.data)),
                Language::CedarJson => {
                    let policy = policy::read_json(&entry.name, &blob.data)?;
                    self.read.insert(key(entry), vec![Arc::new(policy)]);
                }
                Language::Schema => {}
            }
        }
        let named: Vec<(&str, &[u8])> = sources
            .iter()
            .map(|(entry, data)| (&*entry.name, *data))
            .collect();
        let read = policy::read_sources(&named)?;
        for ((entry, _), policies) in sources.iter().zip(read) {
            let policies = policies.into_iter().map(Arc::new);
            self.read.insert(key(entry), policies.collect());
        }
        Ok(())
    }
}

/// What a file is in.
enum Language {
    Cedar,
    CedarJson,
    /// Policies are validated against the schema of this version, which is what
    /// requests are made of here; one that travels along is for others.
    Schema,
}

fn language(entry: &Entry, blob: &Blob) -> Result<Language, Refused> {
    let code_type = blob.metadata.number(Metadata::CODE_TYPE);
    let language = blob.metadata.number(Metadata::LANGUAGE);
    match (code_type, language) {
        (Some(Metadata::SCHEMA), _) => Ok(Language::Schema),
        (Some(Metadata::POLICIES), Some(Metadata::CEDAR)) => Ok(Language::Cedar),
        (Some(Metadata::POLICIES), Some(Metadata::CEDAR_JSON)) => Ok(Language::CedarJson),
        _ => Err(Refused::UnknownLanguage(entry.name.clone())),
    }
}

fn key(entry: &Entry) -> (Oid, String) {
    (entry.oid, entry.name.clone())
}

fn commit(objects: &BTreeMap<Oid, Object>, oid: Oid) -> Result<&Commit, Refused> {
    match found(objects, oid)? {
        Object::Commit(commit) => Ok(commit),
        other @ (Object::Blob(_) | Object::Tree(_)) => Err(wrong(oid, "commit", other)),
    }
}

pub(super) fn tree(objects: &BTreeMap<Oid, Object>, oid: Oid) -> Result<&Tree, Refused> {
    match found(objects, oid)? {
        Object::Tree(tree) => Ok(tree),
        other @ (Object::Blob(_) | Object::Commit(_)) => Err(wrong(oid, "tree", other)),
    }
}

pub(super) fn blob(objects: &BTreeMap<Oid, Object>, oid: Oid) -> Result<&Blob, Refused> {
    match found(objects, oid)? {
        Object::Blob(blob) => Ok(blob),
        other @ (Object::Commit(_) | Object::Tree(_)) => Err(wrong(oid, "blob", other)),
    }
}

fn found(objects: &BTreeMap<Oid, Object>, oid: Oid) -> Result<&Object, Refused> {
    objects.get(&oid).ok_or(Refused::Incomplete(1))
}

fn wrong(oid: Oid, expected: &'static str, object: &Object) -> Refused {
    Refused::WrongKind {
        oid,
        expected,
        found: object.kind(),
    }
}

/// The profile whose policies connectors follow.
pub(crate) const PROFILE: &str = "ztas_app/";

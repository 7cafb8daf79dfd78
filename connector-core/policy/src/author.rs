//! The writer's side: files into commits.

use connector_core::time::WallTime;

use crate::manifest::Manifest;
use crate::object::{Blob, Commit, Entry, Metadata, Object, Plain, Tree};
use crate::oid::Oid;
use crate::policy::{self, InvalidPolicy};
use crate::schema;
use crate::snapshot::Snapshot;
use crate::store::PROFILE;

/// A commit and everything that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The commit's name.
    pub commit: Oid,
    /// The objects, whatever names another before it.
    pub objects: Vec<(Oid, Vec<u8>)>,
}

/// What people say about a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// Who wrote it.
    pub author: String,
    /// When.
    pub time: WallTime,
    /// Why.
    pub message: String,
}

impl Draft {
    /// Makes a commit of `files`, which are names and contents of files of
    /// policies; our schema is put beside them.
    ///
    /// Nothing is checked: [`check`] does that.
    #[must_use]
    pub fn of<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        predecessor: Option<Oid>,
        signature: &Signature,
    ) -> Self {
        let mut blobs = vec![file("schema.cedarschema", schema::SOURCE, Metadata::SCHEMA)];
        let files = files.into_iter();
        blobs.extend(files.map(|(name, text)| file(name, text, Metadata::POLICIES)));

        let entries = blobs.iter().map(|(name, blob, bytes)| Entry {
            oid: Oid::of(bytes),
            name: name.clone(),
            datatype: Entry::POLICY,
            metadata: blob.metadata.clone(),
        });
        let mut entries: Vec<Entry> = entries.collect();
        entries.sort_by_key(|entry| entry.oid);
        let tree = Object::Tree(Tree {
            entries,
            partition: "/".into(),
        });
        let manifest = Manifest::of_profile(PROFILE.trim_end_matches('/'), "policies");
        let manifest = Object::Blob(Blob {
            datatype: Blob::MANIFEST,
            metadata: Metadata::default(),
            data: serde_json::to_vec(&manifest).unwrap_or_default(),
        });
        let (tree, manifest) = (tree.encode(), manifest.encode());
        let seconds = i64::try_from(signature.time.unix_seconds()).unwrap_or(i64::MAX);
        let commit = Object::Commit(Commit {
            profiles: vec![(PROFILE.to_owned(), Oid::of(&tree))],
            predecessor: predecessor.unwrap_or(Oid::ZERO),
            author: signature.author.clone(),
            authored_at: seconds,
            committer: signature.author.clone(),
            committed_at: seconds,
            message: signature.message.clone(),
            manifest: Oid::of(&manifest),
        });
        let commit = commit.encode();
        let bytes = [commit.clone(), manifest, tree].into_iter();
        let bytes = bytes.chain(blobs.into_iter().map(|(_, _, bytes)| bytes));
        let mut objects: Vec<(Oid, Vec<u8>)> = Vec::new();
        for bytes in bytes {
            let oid = Oid::of(&bytes);
            if !objects.iter().take(3).any(|(known, _)| *known == oid) {
                objects.push((oid, bytes));
            }
        }
        Self {
            commit: Oid::of(&commit),
            objects,
        }
    }
}

/// Checks files of policies as a device would, and makes a snapshot of them to try out.
///
/// # Errors
///
/// The first [`InvalidPolicy`].
pub fn check<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Snapshot, InvalidPolicy> {
    let files = files.into_iter();
    let files: Vec<(&str, &[u8])> = files.map(|(name, text)| (name, text.as_bytes())).collect();
    let policies = policy::read_sources(&files)?.into_iter().flatten();
    Snapshot::new(Oid::ZERO, policies.map(std::sync::Arc::new))
}

fn file(name: &str, text: &str, code_type: i64) -> (String, Blob, Vec<u8>) {
    let blob = Blob {
        datatype: Blob::SOURCE,
        metadata: Metadata::from([
            ("code-id", Plain::Text(name.to_owned())),
            (Metadata::CODE_TYPE, Plain::Number(code_type)),
            (Metadata::LANGUAGE, Plain::Number(Metadata::CEDAR)),
            ("partition", Plain::Text("/".into())),
        ]),
        data: text.as_bytes().to_vec(),
    };
    let bytes = Object::Blob(blob.clone()).encode();
    (name.to_owned(), blob, bytes)
}

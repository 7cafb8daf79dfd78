//! Objects of the policy store: blobs, trees and commits, in Permguard's form.
//!
//! An object is an envelope `{1: kind, 2: content}` in canonical CBOR. What is
//! read here is written back to the same bytes, so an object has one name.

use std::collections::BTreeMap;

pub use crate::cbor::NotCanonical;
use crate::cbor::{MAX_ITEMS, Reader, Writer};
use crate::oid::Oid;

/// One object of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A manifest, a file of policies, or a schema.
    Blob(Blob),
    /// One version of all policies.
    Commit(Commit),
    /// The files of one profile.
    Tree(Tree),
}

impl Object {
    /// Reads an object from its envelope.
    ///
    /// # Errors
    ///
    /// [`InvalidObject`] if the bytes are too many or not the canonical form of an object.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidObject> {
        if bytes.len() > MAX_OBJECT {
            return Err(InvalidObject::TooLarge(bytes.len()));
        }
        let mut envelope = Reader::new(bytes);
        envelope.form(2)?;
        envelope.key(1)?;
        let kind = envelope.text()?;
        envelope.key(2)?;
        let content = Reader::new(envelope.bytes()?);
        envelope.end()?;
        match kind {
            BLOB => Blob::read(content).map(Self::Blob),
            COMMIT => Commit::read(content).map(Self::Commit),
            TREE => Tree::read(content).map(Self::Tree),
            _ => Err(InvalidObject::Kind(shown(kind))),
        }
    }

    /// Writes the object's envelope.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, content) = match self {
            Self::Blob(blob) => (BLOB, blob.write()),
            Self::Commit(commit) => (COMMIT, commit.write()),
            Self::Tree(tree) => (TREE, tree.write()),
        };
        let mut envelope = Writer::default();
        envelope.map(2).unsigned(1).text(kind);
        envelope.unsigned(2).bytes(&content);
        envelope.finish()
    }

    /// Returns what kind of object this is, in one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Blob(_) => BLOB,
            Self::Commit(_) => COMMIT,
            Self::Tree(_) => TREE,
        }
    }
}

/// Bytes with a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What the bytes are: see [`Blob::MANIFEST`] and its neighbours.
    pub datatype: u32,
    /// What else is known about them.
    pub metadata: Metadata,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Blob {
    /// The datatype of a manifest.
    pub const MANIFEST: u32 = 1;
    /// The datatype of a parsed policy.
    pub const SYNTAX_TREE: u32 = 2;
    /// The datatype of source text.
    pub const SOURCE: u32 = 3;

    fn read(mut content: Reader<'_>) -> Result<Self, InvalidObject> {
        content.form(3)?;
        content.key(1)?;
        let datatype = number(content.unsigned()?)?;
        content.key(2)?;
        let metadata = Metadata::read(&mut content)?;
        content.key(3)?;
        let data = content.bytes()?.to_vec();
        content.end()?;
        Ok(Self {
            datatype,
            metadata,
            data,
        })
    }

    fn write(&self) -> Vec<u8> {
        let mut content = Writer::default();
        content.map(3).unsigned(1).unsigned(self.datatype.into());
        content.unsigned(2);
        self.metadata.write(&mut content);
        content.unsigned(3).bytes(&self.data);
        content.finish()
    }
}

/// The files of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The files in the order of their objects' names.
    pub entries: Vec<Entry>,
    /// The manifest's partition that describes them.
    pub partition: String,
}

/// One file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The blob.
    pub oid: Oid,
    /// The file's name.
    pub name: String,
    /// What the file is: 2 for whatever belongs to policies.
    pub datatype: u32,
    /// What else is known about it.
    pub metadata: Metadata,
}

impl Entry {
    /// The datatype of a file that belongs to policies.
    pub const POLICY: u32 = 2;
}

impl Tree {
    fn read(mut content: Reader<'_>) -> Result<Self, InvalidObject> {
        content.form(2)?;
        content.key(1)?;
        let length = content.array()?;
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..length {
            let entry = Entry::read(&mut content)?;
            if entries.last().is_some_and(|last| last.oid > entry.oid) {
                return Err(InvalidObject::Unsorted(entry.oid));
            }
            entries.push(entry);
        }
        content.key(2)?;
        let partition = name(content.text()?)?;
        content.end()?;

        let mut names: Vec<&str> = entries.iter().map(|entry| &*entry.name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(InvalidObject::NameTwice(twice[0].to_owned()));
        }
        Ok(Self { entries, partition })
    }

    fn write(&self) -> Vec<u8> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| entry.oid);
        let mut content = Writer::default();
        content.map(2).unsigned(1).array(entries.len());
        for entry in entries {
            content.map(5).unsigned(1).text(BLOB);
            content.unsigned(2).text(&entry.oid.to_string());
            content.unsigned(3).text(&entry.name);
            content.unsigned(4).unsigned(entry.datatype.into());
            content.unsigned(5);
            entry.metadata.write(&mut content);
        }
        content.unsigned(2).text(&self.partition);
        content.finish()
    }
}

impl Entry {
    fn read(content: &mut Reader<'_>) -> Result<Self, InvalidObject> {
        content.form(5)?;
        content.key(1)?;
        let kind = content.text()?;
        if kind != BLOB {
            return Err(InvalidObject::EntryKind(shown(kind)));
        }
        content.key(2)?;
        let oid = oid(content.text()?)?;
        content.key(3)?;
        let name = name(content.text()?)?;
        content.key(4)?;
        let datatype = number(content.unsigned()?)?;
        content.key(5)?;
        let metadata = Metadata::read(content)?;
        Ok(Self {
            oid,
            name,
            datatype,
            metadata,
        })
    }
}

/// One version of all policies, and the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Each profile's tree, by the profile's key, as in `ztas_app/`.
    pub profiles: Vec<(String, Oid)>,
    /// The version before; [`Oid::ZERO`] for the first.
    pub predecessor: Oid,
    /// Who wrote it. Nothing proves this: only a head is signed.
    pub author: String,
    /// When, in seconds since 1970.
    pub authored_at: i64,
    /// Who put it into the store.
    pub committer: String,
    /// When, in seconds since 1970.
    pub committed_at: i64,
    /// Why.
    pub message: String,
    /// The manifest's blob.
    pub manifest: Oid,
}

impl Commit {
    fn read(mut content: Reader<'_>) -> Result<Self, InvalidObject> {
        content.form(8)?;
        content.key(1)?;
        let length = content.array()?;
        let mut profiles: Vec<(String, Oid)> = Vec::new();
        for _ in 0..length {
            content.form(2)?;
            content.key(1)?;
            let key = name(content.text()?)?;
            content.key(2)?;
            let tree = oid(content.text()?)?;
            if profiles.iter().any(|(known, _)| *known == key) {
                return Err(InvalidObject::NameTwice(key));
            }
            if profiles.len() >= MAX_PROFILES {
                return Err(InvalidObject::TooManyProfiles(length));
            }
            profiles.push((key, tree));
        }
        content.key(2)?;
        let predecessor = oid(content.text()?)?;
        content.key(3)?;
        let author = content.text()?.to_owned();
        content.key(4)?;
        let authored_at = content.signed()?;
        content.key(5)?;
        let committer = content.text()?.to_owned();
        content.key(6)?;
        let committed_at = content.signed()?;
        content.key(7)?;
        let message = content.text()?.to_owned();
        content.key(8)?;
        let manifest = oid(content.text()?)?;
        content.end()?;
        Ok(Self {
            profiles,
            predecessor,
            author,
            authored_at,
            committer,
            committed_at,
            message,
            manifest,
        })
    }

    fn write(&self) -> Vec<u8> {
        let mut content = Writer::default();
        content.map(8).unsigned(1).array(self.profiles.len());
        for (key, tree) in &self.profiles {
            content.map(2).unsigned(1).text(key);
            content.unsigned(2).text(&tree.to_string());
        }
        content.unsigned(2).text(&self.predecessor.to_string());
        content.unsigned(3).text(&self.author);
        content.unsigned(4).signed(self.authored_at);
        content.unsigned(5).text(&self.committer);
        content.unsigned(6).signed(self.committed_at);
        content.unsigned(7).text(&self.message);
        content.unsigned(8).text(&self.manifest.to_string());
        content.finish()
    }
}

/// What is known about a blob, by name; values are plain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(pub BTreeMap<String, Plain>);

/// A plain value of metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plain {
    /// Yes or no.
    Boolean(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl Metadata {
    /// The member that tells the language: see [`Metadata::CEDAR`].
    pub const LANGUAGE: &'static str = "language-id";
    /// The language of Cedar's policies as people write them.
    pub const CEDAR: i64 = 1;
    /// The language of Cedar's policies as JSON.
    pub const CEDAR_JSON: i64 = 2;
    /// The member that tells schemas from policies.
    pub const CODE_TYPE: &'static str = "code-type-id";
    /// A schema.
    pub const SCHEMA: i64 = 1;
    /// One or more policies.
    pub const POLICIES: i64 = 2;

    /// Returns the number that a member has.
    #[must_use]
    pub fn number(&self, member: &str) -> Option<i64> {
        match self.0.get(member)? {
            Plain::Number(number) => Some(*number),
            Plain::Boolean(_) | Plain::Text(_) => None,
        }
    }

    fn read(content: &mut Reader<'_>) -> Result<Self, InvalidObject> {
        let length = content.map()?;
        let mut members: BTreeMap<String, Plain> = BTreeMap::new();
        let mut last: Option<&str> = None;
        for _ in 0..length {
            let key = content.text()?;
            if last.is_some_and(|last| (last.len(), last) >= (key.len(), key)) {
                return Err(NotCanonical::Order(shown(key)).into());
            }
            last = Some(key);
            let value = if let Some(value) = content.boolean() {
                Plain::Boolean(value)
            } else if content.at_text() {
                Plain::Text(content.text()?.to_owned())
            } else {
                Plain::Number(content.signed()?)
            };
            members.insert(key.to_owned(), value);
        }
        Ok(Self(members))
    }

    fn write(&self, content: &mut Writer) {
        if self.0.is_empty() {
            content.null();
            return;
        }
        let mut members: Vec<(&String, &Plain)> = self.0.iter().collect();
        members.sort_by_key(|(key, _)| (key.len(), *key));
        content.map(members.len());
        for (key, value) in members {
            content.text(key);
            match value {
                Plain::Boolean(value) => content.boolean(*value),
                Plain::Number(number) => content.signed(*number),
                Plain::Text(text) => content.text(text),
            };
        }
    }
}

impl<const N: usize> From<[(&str, Plain); N]> for Metadata {
    fn from(members: [(&str, Plain); N]) -> Self {
        let members = members.into_iter();
        Self(
            members
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }
}

/// Why bytes are no object of the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObject {
    /// A tree names something else than blobs.
    #[error("a tree has an entry of kind {0:?}; only blobs may be in it")]
    EntryKind(String),
    /// Neither blob nor commit nor tree.
    #[error("the object is of kind {0:?}; expected blob, commit or tree")]
    Kind(String),
    /// A name that cannot be shown, or is too long.
    #[error("the name {0:?} is not acceptable: use 1 to 255 characters that can be printed")]
    Name(String),
    /// Two files or profiles of one name.
    #[error("the name {0:?} occurs twice")]
    NameTwice(String),
    /// Not the canonical form.
    #[error("the object is not in its canonical form: {0}")]
    NotCanonical(#[from] NotCanonical),
    /// A number that is too big for its place.
    #[error("the number {0} is too big for its place")]
    Number(u64),
    /// A reference that is no object's name.
    #[error(transparent)]
    Oid(#[from] crate::oid::InvalidOid),
    /// More bytes than an object may have.
    #[error("the object has {0} bytes; the limit is 5 MiB")]
    TooLarge(usize),
    /// More profiles than a commit may have.
    #[error("the commit has {0} profiles; the limit is 16")]
    TooManyProfiles(usize),
    /// A tree's entries are out of order.
    #[error("the tree's entry {0} is out of order")]
    Unsorted(Oid),
}

fn number(value: u64) -> Result<u32, InvalidObject> {
    u32::try_from(value).map_err(|_| InvalidObject::Number(value))
}

fn oid(text: &str) -> Result<Oid, InvalidObject> {
    Ok(text.parse()?)
}

fn name(text: &str) -> Result<String, InvalidObject> {
    let printable = !text.chars().any(char::is_control);
    if printable && (1..=MAX_NAME).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(InvalidObject::Name(shown(text)))
    }
}

/// Takes as much of a stranger's text as an error message should carry.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

const BLOB: &str = "blob";
const COMMIT: &str = "commit";
const TREE: &str = "tree";

/// The most bytes of an object, as in Permguard.
pub const MAX_OBJECT: usize = 5 * 1024 * 1024;

/// The most files of a tree, as in Permguard.
pub const MAX_ENTRIES: usize = MAX_ITEMS;

/// A connector uses one profile; others of the company's may be beside it.
const MAX_PROFILES: usize = 16;

/// As long as file systems let names be.
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests;

//! The list of changes that were made to the machine and are yet to be undone.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::private::PrivateDir;

/// Entries in the order in which they were made; each is on the disk before the
/// change that it describes is made.
#[derive(Debug)]
pub(super) struct Journal<Entry> {
    dir: PrivateDir,
    entries: Vec<Entry>,
}

impl<Entry: Serialize + DeserializeOwned + Clone + PartialEq> Journal<Entry> {
    /// Reads what an earlier process has left; no journal is an empty one.
    pub(super) fn open(dir: PrivateDir) -> io::Result<Self> {
        let entries = match dir.read(FILE).map_err(io::Error::other)? {
            None => Vec::new(),
            Some(content) => parse(&content)?,
        };
        Ok(Self { dir, entries })
    }

    /// Returns the entries, the oldest first.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds an entry, unless it is there already, before its change is made.
    pub(super) fn record(&mut self, entry: Entry) -> io::Result<()> {
        self.replace(|_| false, entry)
    }

    /// Puts an entry in the place of those that `is_old`, before its change is made.
    pub(super) fn replace(
        &mut self,
        is_old: impl Fn(&Entry) -> bool,
        entry: Entry,
    ) -> io::Result<()> {
        if self.entries.contains(&entry) {
            return Ok(());
        }
        let before = self.entries.clone();
        self.entries.retain(|entry| !is_old(entry));
        self.entries.push(entry);
        self.save().inspect_err(|_| self.entries = before)
    }

    /// Removes the entries that `is_undone` after their changes were undone.
    pub(super) fn forget(&mut self, is_undone: impl Fn(&Entry) -> bool) -> io::Result<()> {
        let before = self.entries.len();
        self.entries.retain(|entry| !is_undone(entry));
        if self.entries.len() == before {
            return Ok(());
        }
        self.save()
    }

    fn save(&self) -> io::Result<()> {
        if self.entries.is_empty() {
            return self.dir.remove(FILE).map_err(io::Error::other);
        }
        let journal = RawJournal {
            version: VERSION,
            entries: &self.entries,
        };
        let content = serde_json::to_vec(&journal)?;
        self.dir.write(FILE, &content).map_err(io::Error::other)
    }
}

fn parse<Entry: DeserializeOwned>(content: &[u8]) -> io::Result<Vec<Entry>> {
    let version: RawVersion = serde_json::from_slice(content).map_err(unreadable)?;
    if version.version != VERSION {
        return Err(io::Error::other(format!(
            "the journal {FILE} is of version {}, this program knows version {VERSION}: repair with the program that wrote it",
            version.version
        )));
    }
    let journal: RawJournal<Vec<Entry>> = serde_json::from_slice(content).map_err(unreadable)?;
    Ok(journal.entries)
}

fn unreadable(problem: serde_json::Error) -> io::Error {
    io::Error::other(format!(
        "the journal {FILE} cannot be read ({problem}): compare the machine's routes, packet filter and resolver by hand, then remove the file"
    ))
}

#[derive(serde::Deserialize)]
struct RawVersion {
    version: u32,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct RawJournal<Entries> {
    version: u32,
    entries: Entries,
}

const FILE: &str = "steering.json";

/// The version of the file's format.
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_back_in_their_order_until_they_are_undone() {
        let root = tempfile::tempdir().unwrap();
        let mut journal = open(root.path()).unwrap();
        journal.record("one".to_owned()).unwrap();
        journal.record("two".to_owned()).unwrap();
        journal.record("one".to_owned()).unwrap();
        journal
            .replace(|entry| entry == "one", "three".to_owned())
            .unwrap();

        assert_eq!(open(root.path()).unwrap().entries(), ["two", "three"]);

        journal.forget(|entry| entry == "two").unwrap();
        assert_eq!(open(root.path()).unwrap().entries(), ["three"]);
        journal.forget(|_| true).unwrap();
        assert!(!root.path().join("state").join(FILE).exists());
    }

    #[test]
    fn what_cannot_be_written_is_not_in_the_journal() {
        let root = tempfile::tempdir().unwrap();
        let mut journal = open(root.path()).unwrap();
        std::fs::create_dir(root.path().join("state").join(FILE)).unwrap();

        assert!(journal.record("one".to_owned()).is_err());
        assert!(journal.entries().is_empty());
    }

    #[test]
    fn a_journal_that_cannot_be_read_is_an_error_that_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&root.path().join("state")).unwrap();
        for (content, advice) in [
            (&b""[..], "by hand"),
            (b"{\"version\":1,\"entries\":[7]}", "by hand"),
            (b"{\"version\":2,\"entries\":{}}", "version 2"),
            (b"\xff\xfe", "by hand"),
        ] {
            dir.write(FILE, content).unwrap();

            let problem = open(root.path()).unwrap_err().to_string();

            assert!(problem.contains(advice), "{problem}");
        }
    }

    fn open(root: &std::path::Path) -> io::Result<Journal<String>> {
        let dir = PrivateDir::open(&root.join("state")).map_err(io::Error::other)?;
        Journal::open(dir)
    }
}

//! What a commit leads to, and what of that is here.

use std::collections::{BTreeMap, BTreeSet};

use super::Refused;
use crate::head::Head;
use crate::object::{Blob, Commit, Object};
use crate::oid::Oid;

/// Everything that a head leads to, as far as it is known.
#[derive(Debug)]
pub(super) struct Graph {
    commit: Oid,
    /// The commit that has to be among the ancestors, until it is found.
    base: Option<Oid>,
    reached: BTreeSet<(Oid, Place)>,
    missing: BTreeSet<Oid>,
    arrived: usize,
    bytes: usize,
}

/// Where an object stands, which says what it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Ancestor,
    Blob,
    Commit,
    Manifest,
    Shadow,
    Tree,
}

impl Graph {
    /// Begins at a head's commits. If there is a base, the first one has to descend from it.
    pub(super) fn of(
        commit: Oid,
        shadow: Option<Oid>,
        base: Option<Oid>,
        known: &BTreeMap<Oid, Object>,
    ) -> Result<Self, Refused> {
        let mut graph = Self {
            commit,
            base,
            reached: BTreeSet::new(),
            missing: BTreeSet::new(),
            arrived: 0,
            bytes: 0,
        };
        let shadow = shadow.map(|shadow| (shadow, Place::Shadow));
        let start = [(commit, Place::Commit)].into_iter().chain(shadow);
        graph.reach(start.collect(), known)?;
        Ok(graph)
    }

    pub(super) fn missing(&self) -> &BTreeSet<Oid> {
        &self.missing
    }

    /// Takes an object that was fetched, if it is one of those that are missing now.
    pub(super) fn arrive(
        &mut self,
        bytes: &[u8],
        known: &mut BTreeMap<Oid, Object>,
    ) -> Result<Oid, Refused> {
        self.arrived += 1;
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.arrived > MAX_OBJECTS || self.bytes > MAX_TRANSFER {
            return Err(Refused::TooMuch);
        }
        let oid = Oid::of(bytes);
        if !self.missing.remove(&oid) {
            return Err(Refused::Unasked(oid));
        }
        let object = Object::parse(bytes).map_err(|error| Refused::Object { oid, error })?;
        let places = self
            .reached
            .range((oid, Place::Ancestor)..=(oid, Place::Tree));
        let places: Vec<Place> = places.map(|(_, place)| *place).collect();
        let mut next = Vec::new();
        for place in places {
            self.descend(oid, place, &object, &mut next)?;
        }
        known.insert(oid, object);
        self.reach(next, known)?;
        Ok(oid)
    }

    /// Follows what is known, and notes what is not.
    fn reach(
        &mut self,
        mut next: Vec<(Oid, Place)>,
        known: &BTreeMap<Oid, Object>,
    ) -> Result<(), Refused> {
        while let Some((oid, place)) = next.pop() {
            if !self.reached.insert((oid, place)) {
                continue;
            }
            if self.reached.len() > MAX_OBJECTS {
                return Err(Refused::TooMuch);
            }
            match known.get(&oid) {
                Some(object) => self.descend(oid, place, object, &mut next)?,
                None => {
                    self.missing.insert(oid);
                }
            }
        }
        Ok(())
    }

    /// Checks that an object is what its place demands, and adds what it names.
    fn descend(
        &mut self,
        oid: Oid,
        place: Place,
        object: &Object,
        next: &mut Vec<(Oid, Place)>,
    ) -> Result<(), Refused> {
        match (place, object) {
            (Place::Ancestor, Object::Commit(commit)) => self.ascend(commit, next),
            (Place::Commit | Place::Shadow, Object::Commit(commit)) => {
                next.push((commit.manifest, Place::Manifest));
                let trees = commit.profiles.iter();
                next.extend(trees.map(|(_, tree)| (*tree, Place::Tree)));
                if place == Place::Commit {
                    self.ascend(commit, next)?;
                }
                Ok(())
            }
            (Place::Tree, Object::Tree(tree)) => {
                let blobs = tree.entries.iter();
                next.extend(blobs.map(|entry| (entry.oid, Place::Blob)));
                Ok(())
            }
            (Place::Blob, Object::Blob(_)) => Ok(()),
            (Place::Manifest, Object::Blob(blob)) if blob.datatype == Blob::MANIFEST => Ok(()),
            (
                Place::Ancestor
                | Place::Blob
                | Place::Commit
                | Place::Manifest
                | Place::Shadow
                | Place::Tree,
                object,
            ) => Err(Refused::WrongKind {
                oid,
                expected: place.kind(),
                found: object.kind(),
            }),
        }
    }

    /// Goes on towards the base, if it is not found yet.
    fn ascend(&mut self, commit: &Commit, next: &mut Vec<(Oid, Place)>) -> Result<(), Refused> {
        let Some(base) = self.base else {
            return Ok(());
        };
        if commit.predecessor == base {
            self.base = None;
        } else if commit.predecessor.is_zero() {
            return Err(Refused::NotDescendant {
                commit: self.commit,
                last: base,
            });
        } else {
            next.push((commit.predecessor, Place::Ancestor));
        }
        Ok(())
    }
}

impl Place {
    fn kind(self) -> &'static str {
        match self {
            Self::Ancestor | Self::Commit | Self::Shadow => "commit",
            Self::Blob => "blob",
            Self::Manifest => "manifest",
            Self::Tree => "tree",
        }
    }
}

/// Returns the commits from `newest` on, as far back as they are known.
pub(super) fn history(
    objects: &BTreeMap<Oid, Object>,
    newest: Oid,
) -> impl Iterator<Item = (Oid, &Commit)> {
    let commit = |oid: Oid| match objects.get(&oid)? {
        Object::Commit(commit) => Some((oid, commit)),
        Object::Blob(_) | Object::Tree(_) => None,
    };
    std::iter::successors(commit(newest), move |(_, newer)| commit(newer.predecessor))
}

/// Returns the objects that a head needs, and a little history.
pub(super) fn kept(objects: &BTreeMap<Oid, Object>, head: &Head) -> BTreeSet<Oid> {
    let mut kept: BTreeSet<Oid> = history(objects, head.commit)
        .take(MAX_HISTORY)
        .map(|(oid, _)| oid)
        .collect();
    if let Ok(graph) = Graph::of(head.commit, head.shadow, None, objects) {
        kept.extend(graph.reached.iter().map(|(oid, _)| *oid));
    }
    kept
}

/// The most objects of a commit, and of one transfer, as in Permguard.
pub const MAX_OBJECTS: usize = 10_000;

/// The most bytes of one transfer, as in Permguard.
pub const MAX_TRANSFER: usize = 50 * 1024 * 1024;

/// How many commits are shown as history.
pub(super) const MAX_HISTORY: usize = 100;

//! The policy store: what was verified, what is being fetched, what is in force.
//!
//! A state machine. Heads and objects go in; what to fetch, what to keep on a
//! disk and which policies are in force comes out of [`Store::poll`]. Nothing
//! becomes active before all of its commit was verified, and whatever is
//! refused leaves the commit in force as it was.

mod compile;
mod graph;
mod reading;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use connector_core::jws::PublicKey;
use connector_core::time::WallTime;

use crate::head::{Head, InvalidHead, LedgerId, Sequence};
use crate::object::{Commit, Object};
use crate::oid::Oid;
use crate::pack;
use crate::policy::InvalidPolicy;
use crate::snapshot::Snapshot;

use self::compile::Compiler;
pub(crate) use self::compile::PROFILE;
use self::graph::{Graph, MAX_HISTORY};
pub use self::graph::{MAX_OBJECTS, MAX_TRANSFER};
pub use self::reading::{File, Known, NotThere, Standing};
pub use crate::manifest::InvalidManifest;

/// The policies of one ledger, on this device.
#[derive(Debug)]
pub struct Store {
    key: PublicKey,
    ledger: LedgerId,
    /// The last head that was accepted, good or expired: no older one is.
    last: Option<Head>,
    active: Option<Activated>,
    /// Every object here was verified against its name.
    objects: BTreeMap<Oid, Object>,
    compiler: Compiler,
    fetching: Option<Fetching>,
    effects: VecDeque<Effect>,
}

/// A head whose objects are not all here yet.
#[derive(Debug)]
struct Fetching {
    head: Head,
    signed: String,
    graph: Graph,
    arrived: BTreeMap<Oid, Vec<u8>>,
}

/// Policies in force.
#[derive(Debug, Clone)]
pub struct Activated {
    /// The head that put them in force.
    pub head: Head,
    /// The policies that decide.
    pub snapshot: Arc<Snapshot>,
    /// The policies that are evaluated beside them, or why they cannot be.
    pub shadow: Option<Result<Arc<Snapshot>, Refused>>,
}

/// What the shell does for the store, in this order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Decide by these policies from now on.
    Activate(Activated),
    /// Decide by no policy: the head expired.
    Deactivate,
    /// Fetch objects, and bring them to [`Store::handle_objects`].
    Fetch(Fetch),
    /// These objects are in force no more.
    Forget(Vec<Oid>),
    /// Write what is in force to the disk.
    Keep {
        /// The objects that were not in force before.
        objects: Vec<(Oid, Vec<u8>)>,
        /// The signed head, which replaces the one before.
        head: String,
    },
}

/// Objects to fetch. Whoever serves them may send what these lead to as well, in
/// any order in which nothing comes before what names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The commit that they belong to.
    pub commit: Oid,
    /// The last commit that was accepted, which is the base of a delta.
    pub have: Option<Oid>,
    /// The objects that are known to be missing.
    pub missing: Vec<Oid>,
}

impl Store {
    /// Starts empty, for the ledger whose heads `key` signs.
    #[must_use]
    pub fn new(key: PublicKey, ledger: LedgerId) -> Self {
        Self {
            key,
            ledger,
            last: None,
            active: None,
            objects: BTreeMap::new(),
            compiler: Compiler::default(),
            fetching: None,
            effects: VecDeque::new(),
        }
    }

    /// Takes in what lies on a disk, as an earlier run kept it. All of it is
    /// verified again; what is torn or missing is fetched.
    ///
    /// # Errors
    ///
    /// [`RefusedHead`] if the head is no good. One that expired still keeps
    /// older ones out.
    pub fn restore(
        &mut self,
        signed: &str,
        objects: impl IntoIterator<Item = Vec<u8>>,
        now: WallTime,
    ) -> Result<(), RefusedHead> {
        // A crash leaves those of two commits.
        let mut left = 2 * MAX_TRANSFER;
        for bytes in objects.into_iter().take(2 * (MAX_OBJECTS + MAX_HISTORY)) {
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                break;
            }
            if let Ok(object) = Object::parse(&bytes) {
                self.objects.insert(Oid::of(&bytes), object);
            }
        }
        let head = Head::verify(&self.key, &self.ledger, signed)?;
        self.check(&head)?;
        self.last = Some(head.clone());
        self.begin(head, signed, now)
    }

    /// Takes a head from the network.
    ///
    /// # Errors
    ///
    /// [`RefusedHead`] if it is not to be followed; what is in force stays.
    pub fn handle_head(&mut self, signed: &str, now: WallTime) -> Result<(), RefusedHead> {
        let head = Head::verify(&self.key, &self.ledger, signed)?;
        self.check(&head)?;
        let in_force = self.active.as_ref().map(|active| &active.head);
        if in_force == Some(&head) {
            return Ok(());
        }
        // What was being fetched may have got lost on its way: it is asked for again.
        if let Some(fetching) = self.fetching.take_if(|fetching| fetching.head == head) {
            return Ok(self.go_on(fetching)?);
        }
        self.begin(head, signed, now)
    }

    /// Takes the objects that were fetched, in one batch.
    ///
    /// # Errors
    ///
    /// [`Refused`] if one of them is not what was asked for, if none is, or if
    /// what they make up is not acceptable. What is in force stays, and a next
    /// head starts anew.
    pub fn handle_objects(
        &mut self,
        objects: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), Refused> {
        let mut fetching = self.fetching.take().ok_or(Refused::NothingAsked)?;
        let before = fetching.graph.missing().len();
        let mut any = false;
        for bytes in objects {
            let oid = fetching.graph.arrive(&bytes, &mut self.objects)?;
            fetching.arrived.insert(oid, bytes);
            any = true;
        }
        if !any {
            return Err(Refused::Incomplete(before));
        }
        self.go_on(fetching)
    }

    /// Notices that a head expired.
    pub fn handle_timeout(&mut self, now: WallTime) {
        let expired = self.active.as_ref().is_some_and(|it| !it.head.is_good(now));
        if expired {
            self.active = None;
            self.effects.push_back(Effect::Deactivate);
        }
    }

    /// Returns the next thing to do for the store.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<WallTime> {
        let active = self.active.as_ref();
        active.map(|active| active.head.expires_at)
    }

    /// Returns the policies in force.
    #[must_use]
    pub fn active(&self) -> Option<&Activated> {
        self.active.as_ref()
    }

    /// Returns the commits that are known, newest first.
    pub fn log(&self) -> impl Iterator<Item = (Oid, &Commit)> {
        let newest = self.active.as_ref().map(|active| active.head.commit);
        graph::history(&self.objects, newest.unwrap_or(Oid::ZERO))
    }

    /// Returns all objects that are in force, as one pack.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        pack::write(self.objects.values().map(Object::encode))
    }

    /// Returns one object of those that are in force.
    #[must_use]
    pub fn object(&self, oid: &Oid) -> Option<&Object> {
        self.objects.get(oid)
    }

    /// Refuses what is older than the last head, or contradicts it.
    fn check(&self, head: &Head) -> Result<(), RefusedHead> {
        let Some(last) = &self.last else {
            return Ok(());
        };
        if head.sequence < last.sequence {
            return Err(RefusedHead::Older {
                sequence: head.sequence,
                floor: last.sequence,
            });
        }
        if head.sequence == last.sequence && head != last {
            return Err(RefusedHead::Contradicts {
                sequence: head.sequence,
            });
        }
        Ok(())
    }

    fn begin(&mut self, head: Head, signed: &str, now: WallTime) -> Result<(), RefusedHead> {
        if !head.is_good(now) {
            return Err(RefusedHead::Expired {
                sequence: head.sequence,
                expires_at: head.expires_at,
            });
        }
        let last = self.last.as_ref().map(|last| last.commit);
        let base = last.filter(|last| !head.reset && *last != head.commit);
        let graph = Graph::of(head.commit, head.shadow, base, &self.objects)?;
        let fetching = Fetching {
            head,
            signed: signed.to_owned(),
            graph,
            arrived: BTreeMap::new(),
        };
        Ok(self.go_on(fetching)?)
    }

    /// Fetches what is missing, or puts in force what is complete.
    fn go_on(&mut self, fetching: Fetching) -> Result<(), Refused> {
        let missing = fetching.graph.missing();
        if missing.is_empty() {
            return self.activate(fetching);
        }
        self.effects.push_back(Effect::Fetch(Fetch {
            commit: fetching.head.commit,
            have: self.last.as_ref().map(|last| last.commit),
            missing: missing.iter().copied().collect(),
        }));
        self.fetching = Some(fetching);
        Ok(())
    }

    fn activate(&mut self, fetching: Fetching) -> Result<(), Refused> {
        let Fetching {
            head,
            signed,
            arrived,
            ..
        } = fetching;
        let result = self.compile(&head);
        let activated = match result {
            Ok(activated) => activated,
            Err(refused) => {
                self.objects.retain(|oid, _| !arrived.contains_key(oid));
                return Err(refused);
            }
        };
        self.last = Some(head);
        self.active = Some(activated.clone());

        let kept = graph::kept(&self.objects, &activated.head);
        let known: BTreeSet<Oid> = self.objects.keys().copied().collect();
        let forgotten: Vec<Oid> = known
            .difference(&kept)
            .filter(|oid| !arrived.contains_key(oid))
            .copied()
            .collect();
        self.objects.retain(|oid, _| kept.contains(oid));
        self.compiler.retain(&kept);
        let new = arrived.into_iter().filter(|(oid, _)| kept.contains(oid));
        self.effects.push_back(Effect::Keep {
            objects: new.collect(),
            head: signed,
        });
        self.effects.push_back(Effect::Activate(activated));
        if !forgotten.is_empty() {
            self.effects.push_back(Effect::Forget(forgotten));
        }
        Ok(())
    }

    fn compile(&mut self, head: &Head) -> Result<Activated, Refused> {
        let before = self.active.as_ref();
        let known = before.filter(|active| active.head.commit == head.commit);
        let snapshot = match known {
            Some(active) => Arc::clone(&active.snapshot),
            None => Arc::new(self.compiler.compile(&self.objects, head.commit)?),
        };
        let shadow = head.shadow.map(|shadow| {
            let compiled = self.compiler.compile(&self.objects, shadow);
            compiled.map(Arc::new)
        });
        Ok(Activated {
            head: head.clone(),
            snapshot,
            shadow,
        })
    }
}

/// Why a head is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedHead {
    /// What it leads to is not acceptable.
    #[error(transparent)]
    Content(#[from] Refused),
    /// Two different heads of one number.
    #[error(
        "the policy head {sequence} was signed twice with different content; sign one with a higher number"
    )]
    Contradicts {
        /// The number.
        sequence: Sequence,
    },
    /// It expired, or is from the future.
    #[error(
        "the policy head {sequence} is not good now (it expires at {expires_at}); check this device's clock, or sign a new one"
    )]
    Expired {
        /// The head's number.
        sequence: Sequence,
        /// When it stops being good.
        expires_at: WallTime,
    },
    /// It is no head of this store.
    #[error(transparent)]
    Invalid(#[from] InvalidHead),
    /// It is older than one that was accepted before.
    #[error(
        "the policy head {sequence} is older than {floor}, which was already accepted; heads never go back"
    )]
    Older {
        /// The head's number.
        sequence: Sequence,
        /// The highest that was accepted.
        floor: Sequence,
    },
}

/// Why a commit does not become active.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody sent what is missing.
    #[error("{0} objects of the commit are missing, and none of them came")]
    Incomplete(usize),
    /// The manifest is none.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// The commit has no policies for connectors.
    #[error("the commit {0} has no profile `ztas_app/`, in which the policies of connectors are")]
    NoProfile(Oid),
    /// The commit does not follow the last one.
    #[error(
        "the commit {commit} does not descend from {last}, the last one in force; sign a head with `reset` if that is meant"
    )]
    NotDescendant {
        /// The commit.
        commit: Oid,
        /// The last one in force.
        last: Oid,
    },
    /// A tree whose partition the manifest does not have.
    #[error(
        "the manifest does not describe the partition {partition:?} of the profile {profile:?}"
    )]
    NotDescribed {
        /// The profile's key.
        profile: String,
        /// The tree's partition.
        partition: String,
    },
    /// Nothing was asked for.
    #[error("objects came that nobody asked for")]
    NothingAsked,
    /// An object is not in its form.
    #[error("the object {oid} is refused: {error}")]
    Object {
        /// The object.
        oid: Oid,
        /// Why.
        error: crate::object::InvalidObject,
    },
    /// A policy is not acceptable.
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
    /// More than a store may have.
    #[error("the commit has more than 10000 objects or 50 MiB")]
    TooMuch,
    /// An object that nobody asked for, or whose content is not what its name says.
    #[error("the object {0} was not asked for")]
    Unasked(Oid),
    /// A file in a language that is not spoken here.
    #[error("the file {0:?} is neither Cedar nor a schema; such files cannot be left out")]
    UnknownLanguage(String),
    /// An object of another kind than its place demands.
    #[error("the object {oid} is a {found}, expected a {expected}")]
    WrongKind {
        /// The object.
        oid: Oid,
        /// What its place demands.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
}

#[cfg(test)]
mod tests;

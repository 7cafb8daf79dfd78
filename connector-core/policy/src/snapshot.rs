//! One commit's policies, ready to decide.

mod index;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::oid::Oid;
use crate::policy::{InvalidPolicy, Policy, Problem};

use self::index::Index;
pub(crate) use self::index::{Action, Bucket};

/// One commit's policies, verified, validated and indexed; immutable.
#[derive(Debug)]
pub struct Snapshot {
    commit: Oid,
    commit_name: Arc<str>,
    policies: BTreeMap<Arc<str>, Arc<Policy>>,
    index: Index,
}

impl Snapshot {
    /// Indexes the policies of a commit.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`] if two of them have the same id.
    pub(crate) fn new(
        commit: Oid,
        policies: impl IntoIterator<Item = Arc<Policy>>,
    ) -> Result<Self, InvalidPolicy> {
        let mut by_id: BTreeMap<Arc<str>, Arc<Policy>> = BTreeMap::new();
        let mut index = Index::default();
        for policy in policies {
            if let Some(other) = by_id.get(&policy.id) {
                return Err(InvalidPolicy {
                    place: policy.place.clone(),
                    problem: Problem::IdTwice {
                        id: Arc::clone(&policy.id),
                        other: other.place.clone(),
                    },
                });
            }
            index.insert(&policy)?;
            by_id.insert(Arc::clone(&policy.id), policy);
        }
        Ok(Self {
            commit,
            commit_name: commit.to_string().into(),
            policies: by_id,
            index,
        })
    }

    /// Returns the commit that the policies are of.
    #[must_use]
    pub fn commit(&self) -> Oid {
        self.commit
    }

    /// Returns the same as decisions name it.
    pub(crate) fn commit_name(&self) -> Arc<str> {
        Arc::clone(&self.commit_name)
    }

    /// Returns every policy in the order of their ids.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values().map(|policy| &**policy)
    }

    /// Returns one policy.
    #[must_use]
    pub fn policy(&self, id: &str) -> Option<&Policy> {
        self.policies.get(id).map(|policy| &**policy)
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }
}

//! Finds the policies whose scope can match, without looking at the others.

use std::collections::HashMap;

use cedar_policy::{
    ActionConstraint, EntityUid, PolicySet, PrincipalConstraint, ResourceConstraint,
};

use crate::policy::{Edges, InvalidPolicy, Policy, Problem};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Connect,
    Delegate,
    Elevate,
}

impl Action {
    const ALL: [Self; 3] = [Self::Connect, Self::Delegate, Self::Elevate];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Delegate => "delegate",
            Self::Elevate => "elevate",
        }
    }
}

/// Policies by action, then by the resource or its group, then by the principal
/// or its group, as their scopes name them.
#[derive(Debug, Default)]
pub(crate) struct Index {
    connect: ByResource,
    delegate: ByResource,
    elevate: ByResource,
}

/// `None` is for scopes that name nobody.
type ByResource = HashMap<Option<EntityUid>, HashMap<Option<EntityUid>, Bucket>>;

/// Policies with the same scope.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) policies: PolicySet,
    pub(crate) edges: Edges,
    /// Whether any of them permits.
    pub(crate) has_permit: bool,
}

impl Index {
    pub(super) fn insert(&mut self, policy: &Policy) -> Result<(), InvalidPolicy> {
        let principal = match policy.cedar.principal_constraint() {
            PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::In(uid)
            | PrincipalConstraint::IsIn(_, uid) => Some(uid),
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        };
        let resource = match policy.cedar.resource_constraint() {
            ResourceConstraint::Eq(uid)
            | ResourceConstraint::In(uid)
            | ResourceConstraint::IsIn(_, uid) => Some(uid),
            ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        };
        let action = policy.cedar.action_constraint();
        for asked in Action::ALL {
            if !covers(&action, asked) {
                continue;
            }
            let by_principal = self.of_mut(asked).entry(resource.clone()).or_default();
            let bucket = by_principal.entry(principal.clone()).or_default();
            let added = bucket.policies.add(policy.cedar.clone());
            added.map_err(|error| InvalidPolicy {
                place: policy.place.clone(),
                problem: Problem::Syntax(error.to_string()),
            })?;
            bucket.edges.merge(&policy.edges);
            bucket.has_permit |= policy.is_permit();
        }
        Ok(())
    }

    /// Returns the policies whose scope matches, the ones with the narrowest
    /// resource first. `resources` and `principals` are what is asked about,
    /// followed by the groups that it is in.
    pub(crate) fn candidates<'a>(
        &'a self,
        action: Action,
        resources: &'a [EntityUid],
        principals: &'a [EntityUid],
    ) -> impl Iterator<Item = &'a Bucket> {
        let by_resource = match action {
            Action::Connect => &self.connect,
            Action::Delegate => &self.delegate,
            Action::Elevate => &self.elevate,
        };
        let keys = resources.iter().cloned().map(Some).chain([None]);
        let by_principal = keys.filter_map(|key| by_resource.get(&key));
        by_principal.flat_map(move |by_principal| {
            let keys = principals.iter().cloned().map(Some).chain([None]);
            keys.filter_map(|key| by_principal.get(&key))
        })
    }

    fn of_mut(&mut self, action: Action) -> &mut ByResource {
        match action {
            Action::Connect => &mut self.connect,
            Action::Delegate => &mut self.delegate,
            Action::Elevate => &mut self.elevate,
        }
    }
}

fn covers(constraint: &ActionConstraint, action: Action) -> bool {
    let is = |uid: &EntityUid| uid.id().unescaped() == action.name();
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => is(uid),
        ActionConstraint::In(uids) => uids.iter().any(is),
    }
}

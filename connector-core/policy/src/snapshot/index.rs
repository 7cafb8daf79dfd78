//! Finds the policies whose scope can match, without looking at the others.

use std::collections::{BTreeMap, HashMap};

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

/// Scopes name one of many resources.
#[derive(Debug, Default)]
struct ByResource {
    named: HashMap<EntityUid, ByPrincipal>,
    any: ByPrincipal,
}

/// Few scopes of one resource differ in whom they name, so that comparing is less than hashing.
#[derive(Debug, Default)]
struct ByPrincipal {
    named: BTreeMap<EntityUid, Bucket>,
    any: Option<Bucket>,
}

impl ByResource {
    fn bucket(
        &mut self,
        resource: Option<&EntityUid>,
        principal: Option<&EntityUid>,
    ) -> &mut Bucket {
        let by_principal = match resource {
            Some(resource) => self.named.entry(resource.clone()).or_default(),
            None => &mut self.any,
        };
        match principal {
            Some(principal) => by_principal.named.entry(principal.clone()).or_default(),
            None => by_principal.any.get_or_insert_default(),
        }
    }
}

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
            let of_action = self.of_mut(asked);
            let bucket = of_action.bucket(resource.as_ref(), principal.as_ref());
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
        let named = resources
            .iter()
            .filter_map(|key| by_resource.named.get(key));
        let by_principal = named.chain([&by_resource.any]);
        by_principal.flat_map(move |by_principal| {
            let named = principals.iter();
            let named = named.filter_map(|key| by_principal.named.get(key));
            named.chain(&by_principal.any)
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

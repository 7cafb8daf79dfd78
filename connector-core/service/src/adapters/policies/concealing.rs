//! What the policies on this device hide from whoever is signed in.

use std::sync::Arc;

use connector_core::access::Concealed;
use connector_core::catalogue::Catalogue;
use connector_core::configuration::PolicyMode;
use connector_core::connector::Connector;
use connector_core::identity::Person;
use connector_policy::snapshot::Snapshot;

use super::Embedded;

/// Finds out anew what is hidden when anything changes that it rests on.
#[derive(Debug)]
pub(crate) struct Concealing {
    /// Where decisions are made, if the administrator fixed that on this device.
    mode: Option<PolicyMode>,
    embedded: Embedded,
    basis: Option<Basis>,
}

/// What it rests on.
#[derive(Debug)]
struct Basis {
    mode: Option<PolicyMode>,
    person: Option<Arc<Person>>,
    catalogue: Arc<Catalogue>,
    /// The policies that are in force, or were last.
    policies: Option<Arc<Snapshot>>,
}

impl Concealing {
    pub(crate) fn new(mode: Option<PolicyMode>, embedded: Embedded) -> Self {
        Self {
            mode,
            embedded,
            basis: None,
        }
    }

    /// Returns what is hidden, if that was found out anew.
    pub(crate) fn poll(&mut self, connector: &Connector) -> Option<Concealed> {
        let configuration = connector.configuration();
        let basis = Basis {
            mode: self
                .mode
                .or_else(|| configuration.map(|known| known.policy.mode)),
            person: connector
                .session()
                .map(|session| Arc::clone(&session.person)),
            catalogue: configuration
                .map(|known| Arc::clone(&known.catalogue))
                .unwrap_or_default(),
            policies: self.embedded.last(),
        };
        if self.basis.as_ref().is_some_and(|known| known.is(&basis)) {
            return None;
        }
        let concealed = basis.concealed();
        self.basis = Some(basis);
        Some(concealed)
    }
}

impl Basis {
    fn is(&self, other: &Self) -> bool {
        let policies = self.policies.as_ref().map(Arc::as_ptr);
        self.mode == other.mode
            && self.person == other.person
            && Arc::ptr_eq(&self.catalogue, &other.catalogue)
            && policies == other.policies.as_ref().map(Arc::as_ptr)
    }

    /// Only the policies on this device can hide anything, and only where they alone decide.
    /// While it is not known who asks, or what they may know of, everything is hidden.
    fn concealed(&self) -> Concealed {
        if self.mode != Some(PolicyMode::Proximity) {
            return Concealed::default();
        }
        let resources = self.catalogue.resources();
        let hidden = resources.filter(|resource| match (&self.person, &self.policies) {
            (Some(person), Some(policies)) => policies.hides(person, resource),
            (None, Some(_) | None) | (Some(_), None) => true,
        });
        Arc::new(hidden.map(|resource| resource.id.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use connector_core::catalogue::{Ports, Resource};

    use super::super::embedded::fixture;
    use super::*;

    #[test]
    fn only_policies_that_alone_decide_hide_and_everything_is_hidden_until_they_are_known() {
        let policies = "@id(\"staff\") permit (principal in Group::\"staff\", action, resource == Resource::\"wiki\");";
        let policies = fixture::snapshot(policies);
        let staff = person(&["staff"]);
        let concealed = |mode, person: Option<&Person>, policies: Option<&Arc<Snapshot>>| {
            let basis = Basis {
                mode,
                person: person.cloned().map(Arc::new),
                catalogue: catalogue(),
                policies: policies.cloned(),
            };
            let ids = basis.concealed();
            ids.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let here = Some(PolicyMode::Proximity);

        assert_eq!(concealed(here, Some(&staff), Some(&policies)), ["payroll"]);
        let all = ["payroll", "wiki"];
        assert_eq!(concealed(here, Some(&person(&[])), Some(&policies)), all);
        assert_eq!(concealed(here, None, Some(&policies)), all);
        assert_eq!(concealed(here, Some(&staff), None), all);
        for mode in [None, Some(PolicyMode::Remote)] {
            let none: [&str; 0] = [];
            assert_eq!(concealed(mode, Some(&staff), Some(&policies)), none);
        }
    }

    fn person(groups: &[&str]) -> Person {
        Person {
            issuer: "https://idp.corp.test".into(),
            subject: "alice".into(),
            name: None,
            email: None,
            groups: groups.iter().map(|group| (*group).into()).collect(),
        }
    }

    fn catalogue() -> Arc<Catalogue> {
        let resource = |id: &str| Resource {
            id: id.into(),
            title: id.into(),
            names: vec![format!("{id}.corp.test").parse().unwrap()],
            prefixes: vec![],
            ports: Ports::default(),
            site: "hq".into(),
            lease: Duration::from_secs(300),
        };
        let resources = vec![resource("payroll"), resource("wiki")];
        Arc::new(Catalogue::new(resources, vec![]))
    }
}

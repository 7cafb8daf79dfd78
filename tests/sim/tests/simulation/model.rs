//! What should be so, told without the product's own means.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// What may pass right now.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) is_signed_in: bool,
    pub(crate) is_paused: bool,
    /// The resources that the policy permits, shared with the policy itself.
    permitted: Arc<Mutex<BTreeSet<String>>>,
    denies_everything: bool,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            is_signed_in: true,
            is_paused: false,
            permitted: Arc::new(Mutex::new(RESOURCES.map(str::to_owned).into())),
            denies_everything: false,
        }
    }

    pub(crate) fn permitted(&self) -> Arc<Mutex<BTreeSet<String>>> {
        Arc::clone(&self.permitted)
    }

    /// Switches a resource on or off.
    pub(crate) fn toggle(&self, resource: &str) {
        let mut permitted = self
            .permitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !permitted.remove(resource) {
            permitted.insert(resource.to_owned());
        }
    }

    /// Makes the model say no to everything while the policy says yes.
    pub(crate) fn deny_everything_silently(&mut self) {
        self.denies_everything = true;
    }

    /// Returns whether a packet to or from `address` at a site may pass.
    pub(crate) fn may_pass(&self, address: IpAddr) -> bool {
        let Some(resource) = resource_at(address) else {
            return false;
        };
        let permitted = self
            .permitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.is_signed_in
            && !self.is_paused
            && !self.denies_everything
            && permitted.contains(resource)
    }
}

/// Returns which resource lives at a real address.
fn resource_at(address: IpAddr) -> Option<&'static str> {
    let IpAddr::V4(v4) = address else { return None };
    match v4.octets() {
        [10, 9, 0, 10] => Some("wiki"),
        [10, 9, 0, 11] => Some("payroll"),
        [10, 9, 1, _] => Some("net"),
        [10, 8, 0, 10] => Some("branch"),
        _ => None,
    }
}

pub(crate) const RESOURCES: [&str; 4] = ["branch", "net", "payroll", "wiki"];

//! What follows from the machine's moving to another network.

use super::Connector;
use crate::network::NetworkKind;
use crate::time::Now;

impl Connector {
    /// Asks again in another network, where the policy may be out of reach for a
    /// moment: nothing ends unless it says no.
    ///
    /// What was asked from another kind of network, and is not in force yet, never is.
    pub(super) fn note_network(&mut self, kind: NetworkKind, now: Now) {
        let before = std::mem::replace(&mut self.known.network, kind);
        let has_changed = before != kind;
        if has_changed && let Some(scene) = self.known.scene(now) {
            self.trusting.review(&scene, &mut self.effects);
        }
        if let Some(grounds) = self.known.grounds(&self.trusting, now) {
            if has_changed {
                self.enforcer.put_again(&grounds, &mut self.effects);
            }
            self.enforcer.renew_all(&grounds, &mut self.effects);
        }
    }
}
